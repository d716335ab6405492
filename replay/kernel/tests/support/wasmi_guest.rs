//! A guest on wasmi, which runs memory64 modules as they are: the plainest engine under the host calls.
//!
//! Not here: lowering, gas, stack bounds. Invariant: nothing but the host calls reaches the module.

use std::fmt;

use ao_kernel::guest::{Guest, Interrupt, TrapKind, Val};
use ao_kernel::host::{HostFn, HostState, ModuleFormat, ValType, resolve};
use wasmi::errors::HostError;
use wasmi::{
    AsContext, AsContextMut, Config, Engine, Error, Extern, ExternType, Func, Instance, Linker, Memory, Module,
    Nullable, Ref, Store, StoreContextMut, Table, TrapCode,
};

/// Wasm calls that may be nested before wasmi reports a stack overflow.
const CALL_DEPTH_MAX: usize = 20_000;

/// A module that cannot be run.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// wasmi refuses it.
    Engine(Error),
    /// No host call serves this import.
    UnknownImport { module: String, name: String },
    /// It exports no memory or table.
    MissingExport(&'static str),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(error) => write!(f, "wasmi refuses the module: {error}"),
            Self::UnknownImport { module, name } => write!(f, "no host call serves {module}.{name}"),
            Self::MissingExport(what) => write!(f, "no {what} is exported"),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<Error> for LoadError {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

/// An interrupt on its way through wasmi's frames.
#[derive(Debug)]
struct Carried(Interrupt);

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl HostError for Carried {}

#[derive(Clone, Copy)]
struct Parts {
    instance: Instance,
    memory: Memory,
    table: Table,
}

struct Data {
    host: HostState,
    parts: Option<Parts>,
    depth: i32,
    gas_left: i64,
}

/// An instantiated module.
pub(crate) struct WasmiGuest {
    store: Store<Data>,
    parts: Parts,
}

impl WasmiGuest {
    /// Instantiates a module.
    pub(crate) fn new(wasm: &[u8], host: HostState) -> Result<Self, LoadError> {
        let format = host.format();
        let mut config = Config::default();
        config.set_max_recursion_depth(CALL_DEPTH_MAX).set_max_stack_height(64 << 20);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, wasm)?;
        let mut store = Store::new(&engine, Data { host, parts: None, depth: 0, gas_left: i64::MAX });
        let linker = link(&engine, &module, format)?;
        let instance = linker.instantiate_and_start(&mut store, &module)?;
        let (memory, table) = match format {
            ModuleFormat::Emscripten1 => ("E", "I"),
            _ => ("memory", "__indirect_function_table"),
        };
        let memory = instance.get_memory(&store, memory).ok_or(LoadError::MissingExport("memory"))?;
        let table = instance.get_table(&store, table).ok_or(LoadError::MissingExport("table"))?;
        let parts = Parts { instance, memory, table };
        store.data_mut().parts = Some(parts);
        Ok(Self { store, parts })
    }

    /// The guest as host calls and the driver see it.
    pub(crate) fn guest(&mut self) -> impl Guest {
        View { parts: self.parts, context: self.store.as_context_mut() }
    }
}

fn link(engine: &Engine, module: &Module, format: ModuleFormat) -> Result<Linker<Data>, LoadError> {
    let mut linker = Linker::<Data>::new(engine);
    for import in module.imports() {
        let unknown =
            || LoadError::UnknownImport { module: import.module().to_owned(), name: import.name().to_owned() };
        let ExternType::Func(ty) = import.ty() else { return Err(unknown()) };
        let types = |types: &[wasmi::ValType]| types.iter().copied().map(value_type).collect::<Option<Vec<_>>>();
        let (Some(params), Some(results)) = (types(ty.params()), types(ty.results())) else { return Err(unknown()) };
        let host = resolve(import.module(), import.name(), &params, &results, format).ok_or_else(unknown)?;
        linker
            .func_new(import.module(), import.name(), ty.clone(), move |mut caller, inputs, outputs| {
                let parts = caller.data().parts.ok_or_else(|| Error::new("a host call before instantiation"))?;
                serve(&host, &mut View { parts, context: caller.as_context_mut() }, inputs, outputs)
            })
            .map_err(|error| Error::new(error.to_string()))?;
    }
    Ok(linker)
}

fn serve(host: &HostFn, guest: &mut dyn Guest, inputs: &[wasmi::Val], outputs: &mut [wasmi::Val]) -> Result<(), Error> {
    let args: Vec<Val> = inputs.iter().map(from_wasmi).collect();
    let result = host.run(guest, &args).map_err(|interrupt| Error::host(Carried(interrupt)))?;
    if let (Some(value), [output]) = (result, outputs) {
        *output = to_wasmi(value);
    }
    Ok(())
}

struct View<'a> {
    parts: Parts,
    context: StoreContextMut<'a, Data>,
}

impl View<'_> {
    fn run(&mut self, func: Func, args: &[Val]) -> Result<Option<Val>, Interrupt> {
        let ty = func.ty(&self.context);
        let inputs: Vec<wasmi::Val> = args.iter().copied().map(to_wasmi).collect();
        let mut outputs: Vec<wasmi::Val> = ty.results().iter().map(|&ty| wasmi::Val::default_for_ty(ty)).collect();
        func.call(&mut self.context, &inputs, &mut outputs).map_err(|error| interrupt(&error))?;
        Ok(outputs.first().map(from_wasmi))
    }
}

impl Guest for View<'_> {
    fn memory(&self) -> &[u8] {
        self.parts.memory.data(self.context.as_context())
    }

    fn memory_mut(&mut self) -> &mut [u8] {
        self.parts.memory.data_mut(self.context.as_context_mut())
    }

    fn grow(&mut self, pages: u64) -> bool {
        self.parts.memory.grow(&mut self.context, pages).is_ok()
    }

    fn host(&mut self) -> &mut HostState {
        &mut self.context.data_mut().host
    }

    fn has_export(&self, name: &str) -> bool {
        matches!(self.parts.instance.get_export(&self.context, name), Some(Extern::Func(_)))
    }

    fn call(&mut self, export: &str, args: &[Val]) -> Result<Option<Val>, Interrupt> {
        match self.parts.instance.get_func(&self.context, export) {
            Some(func) => self.run(func, args),
            None => Err(Interrupt::Abort(format!("no export {export}"))),
        }
    }

    fn call_table(&mut self, index: u64, args: &[Val]) -> Result<Option<Val>, Interrupt> {
        match self.parts.table.get(&self.context, index) {
            Some(Ref::Func(Nullable::Val(func))) => self.run(func, args),
            Some(_) => Err(Interrupt::Trap(TrapKind::IndirectCallToNull)),
            None => Err(Interrupt::Trap(TrapKind::TableOutOfBounds)),
        }
    }

    fn call_depth(&mut self) -> i32 {
        self.context.data().depth
    }

    fn set_call_depth(&mut self, depth: i32) {
        self.context.data_mut().depth = depth;
    }

    fn gas_left(&mut self) -> i64 {
        self.context.data().gas_left
    }

    fn set_gas_left(&mut self, left: i64) {
        self.context.data_mut().gas_left = left;
    }
}

fn interrupt(error: &Error) -> Interrupt {
    if let Some(Carried(interrupt)) = error.downcast_ref() {
        return interrupt.clone();
    }
    Interrupt::Trap(match error.as_trap_code() {
        Some(TrapCode::UnreachableCodeReached) => TrapKind::Unreachable,
        Some(TrapCode::MemoryOutOfBounds) => TrapKind::MemoryOutOfBounds,
        Some(TrapCode::TableOutOfBounds) => TrapKind::TableOutOfBounds,
        Some(TrapCode::IndirectCallToNull) => TrapKind::IndirectCallToNull,
        Some(TrapCode::IntegerDivisionByZero) => TrapKind::DivisionByZero,
        Some(TrapCode::IntegerOverflow) => TrapKind::IntegerOverflow,
        Some(TrapCode::BadConversionToInteger) => TrapKind::BadConversionToInteger,
        Some(TrapCode::StackOverflow) => TrapKind::StackOverflow,
        Some(TrapCode::BadSignature) => TrapKind::BadSignature,
        _ => TrapKind::Other,
    })
}

fn value_type(ty: wasmi::ValType) -> Option<ValType> {
    match ty {
        wasmi::ValType::I32 => Some(ValType::I32),
        wasmi::ValType::I64 => Some(ValType::I64),
        wasmi::ValType::F32 => Some(ValType::F32),
        wasmi::ValType::F64 => Some(ValType::F64),
        _ => None,
    }
}

fn from_wasmi(value: &wasmi::Val) -> Val {
    match value {
        wasmi::Val::I32(value) => Val::I32(*value),
        wasmi::Val::I64(value) => Val::I64(*value),
        wasmi::Val::F32(value) => Val::F32(value.to_bits()),
        wasmi::Val::F64(value) => Val::F64(value.to_bits()),
        _ => unreachable!("no such value crosses a resolved signature"),
    }
}

fn to_wasmi(value: Val) -> wasmi::Val {
    match value {
        Val::I32(value) => wasmi::Val::I32(value),
        Val::I64(value) => wasmi::Val::I64(value),
        Val::F32(bits) => wasmi::Val::F32(wasmi::F32::from_bits(bits)),
        Val::F64(bits) => wasmi::Val::F64(wasmi::F64::from_bits(bits)),
    }
}

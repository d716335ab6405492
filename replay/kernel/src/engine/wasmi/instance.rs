//! One instance of a translated module: imports bound to the host calls, and `Guest` implemented for it.
//!
//! Not here: the meaning of any host call (`host`).
//! Invariant: an `Interrupt` raised by a host call reaches the outermost caller unchanged.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use corosensei::stack::DefaultStack;
use wasmi::errors::HostError;
use wasmi::{
    AsContextMut, Error, Extern, ExternType, Func, Global, Linker, Memory, Nullable, Ref, ResumableCall, Store,
    StoreContextMut, Table, TrapCode,
};

use super::Compiled;
use super::memory::Hosted;
use crate::breaker::Breaker;
use crate::engine::{self, Tables, Terms};
use crate::error::{MachineError, StartError};
use crate::guest::{Guest, Interrupt, TrapKind, Val};
use crate::host::{self, HostFn, HostState, ModuleFormat, ValType};
use crate::memory::{DirtyTracker, Image, Mapping, MemoryError, WASM_PAGE_BYTES};
use crate::profile::HOST_CALL_COST;
use crate::rewrite::{
    DEPTH_EXCEEDED, EXPORT_DEPTH, EXPORT_FUNCTION_PREFIX, EXPORT_GAS, EXPORT_GLOBAL_PREFIX, EXPORT_MEMORY,
    EXPORT_TABLE_PREFIX, HOSTED_MODULE,
};

/// Native stack of each call from outside. The values of guests lie elsewhere; but each host call that calls the guest
/// again, of which the counter admits 512, nests an interpreter.
const NATIVE_STACK_BYTES: usize = 64 << 20;
/// After how much of wasmi's fuel, some operators each, a call pauses to ask whether it was broken off. No result depends on it.
const PAUSE_FUEL: u64 = 10_000_000;

/// What host calls reach through the store.
pub(super) struct Data {
    host: HostState,
    pub(super) memory: Hosted,
    parts: Option<Arc<Parts>>,
    /// The call-depth counter of a module that was not instrumented: host calls alone are counted.
    depth: i32,
    /// Its gas counter: host calls alone charge.
    gas_left: i64,
    /// Asked at each host call and pause: nothing of the store can be changed from another thread.
    breaker: Arc<Breaker>,
}

struct Parts {
    instance: wasmi::Instance,
    memory: Memory,
    /// By guest index, without the counters of instrumentation.
    globals: BTreeMap<u32, Global>,
    /// By index.
    tables: BTreeMap<u32, Table>,
    depth: Option<Global>,
    gas: Option<Global>,
    /// Functions by index, and their indexes by identity; both empty if no instruction can change a table.
    functions: BTreeMap<u32, Func>,
    indexes: BTreeMap<String, u32>,
}

/// An instance with its store.
pub(crate) struct Instance {
    compiled: Compiled,
    format: ModuleFormat,
    /// `None` only if it could not be made again, after which this is not used.
    store: Option<Store<Data>>,
    /// What host calls and wasmi's own frames between them stand on.
    stack: DefaultStack,
}

/// The store as a `Guest`, inside and outside of host calls.
struct View<'a> {
    parts: Arc<Parts>,
    store: StoreContextMut<'a, Data>,
}

/// An `Interrupt` on its way through interpreted frames.
#[derive(Debug)]
struct Unwind(Interrupt);

impl fmt::Display for Unwind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl HostError for Unwind {}

impl Instance {
    /// Instantiates, without running anything of the guest.
    pub(crate) fn new(compiled: &Compiled, terms: Terms) -> Result<Self, StartError> {
        let Terms { format, host, pages_max } = terms;
        let memory = Hosted::new(compiled.memory_type().ok_or(StartError::NoMemory)?, pages_max)?;
        let stack = DefaultStack::new(NATIVE_STACK_BYTES).map_err(failed)?;
        let mut instance = Self { compiled: compiled.clone(), format, store: None, stack };
        instance.fill(Data { host, memory, parts: None, depth: 0, gas_left: 0, breaker: Arc::default() })?;
        Ok(instance)
    }

    /// Makes the store, with a memory of the mapping's present length.
    fn fill(&mut self, data: Data) -> Result<(), StartError> {
        let mut linker = link(&self.compiled, self.format)?;
        let mut store = Store::new(&self.compiled.engine, data);
        store.limiter(|data| &mut data.memory);
        store.set_fuel(PAUSE_FUEL).map_err(failed)?;
        let memory = Hosted::lend(&mut store).map_err(failed)?;
        linker.define(HOSTED_MODULE, EXPORT_MEMORY, memory).map_err(failed)?;
        let instance = linker.instantiate_and_start(&mut store, &self.compiled.module).map_err(failed)?;
        let parts = Parts::new(instance, memory, &store, self.compiled.tables_fixed());
        store.data_mut().parts = Some(Arc::new(parts));
        self.store = Some(store);
        Ok(())
    }

    fn store(&self) -> &Store<Data> {
        self.store.as_ref().expect(MADE)
    }

    fn store_mut(&mut self) -> &mut Store<Data> {
        self.store.as_mut().expect(MADE)
    }

    fn parts(&self) -> Arc<Parts> {
        self.store().data().parts()
    }

    /// Makes wasmi's length and the mapping's `bytes`, and loses the content: wasmi cannot shrink a memory, so the
    /// instance is made again around it.
    fn shrink_to(&mut self, bytes: u64) -> Result<(), MachineError> {
        let mut data = self.store.take().expect(MADE).into_data();
        data.memory.mapping.shrink_to(bytes)?;
        Ok(self.fill(data)?)
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StartError {
    StartError::Instantiate(Arc::new(error))
}

/// What every instance that was not given up has.
const MADE: &str = "set when the instance was made";

impl engine::Instance for Instance {
    fn run(&mut self, f: &mut dyn FnMut(&mut dyn Guest)) {
        let parts = self.parts();
        let store = self.store.as_mut().expect(MADE).as_context_mut();
        corosensei::on_stack(&mut self.stack, || f(&mut View { parts, store }));
    }

    fn mapping(&self) -> &Mapping {
        &self.store().data().memory.mapping
    }

    fn mapping_mut(&mut self) -> &mut Mapping {
        &mut self.store_mut().data_mut().memory.mapping
    }

    fn set_bytes(&mut self, bytes: u64) -> Result<(), StartError> {
        let more = bytes.checked_sub(self.mapping().len());
        let more = more.ok_or(StartError::Checkpoint("its memory is shorter than a new one"))?;
        let parts = self.parts();
        let grown = parts.memory.grow(self.store_mut(), more / WASM_PAGE_BYTES).is_ok();
        match self.take_failure() {
            Some(error) => Err(error.into()),
            None if grown && self.mapping().len() == bytes => Ok(()),
            None => Err(MemoryError::AboveMaximum { bytes, bytes_max: self.mapping().bytes_max() }.into()),
        }
    }

    fn restore(&mut self, image: &mut Image, tracker: &mut dyn DirtyTracker) -> Result<(), MachineError> {
        if image.len() < self.mapping().len() {
            self.shrink_to(image.len())?;
        }
        image.restore(self.mapping_mut(), tracker)?;
        Ok(())
    }

    fn take_failure(&mut self) -> Option<MemoryError> {
        self.store_mut().data_mut().memory.failed.take()
    }

    fn host(&mut self) -> &mut HostState {
        &mut self.store_mut().data_mut().host
    }

    fn breaker(&self) -> &Arc<Breaker> {
        &self.store().data().breaker
    }

    fn globals(&mut self) -> Vec<(u32, Val)> {
        let parts = self.parts();
        parts
            .globals
            .iter()
            .filter_map(|(index, global)| Some((*index, from_value(&global.get(self.store()))?)))
            .collect()
    }

    fn set_globals(&mut self, values: &[(u32, Val)]) {
        let parts = self.parts();
        for (index, value) in values {
            let set = parts.globals[index].set(self.store_mut(), to_value(*value));
            set.expect("the value came from this mutable global");
        }
    }

    fn tables(&self) -> Tables {
        let parts = self.parts();
        if parts.functions.is_empty() {
            return Tables(Vec::new());
        }
        let word = |entry| match entry {
            Ref::Func(Nullable::Val(function)) => parts.indexes[&identity(function)] as usize + 1,
            _ => 0,
        };
        let entries = |table: &Table| {
            let size = table.size(self.store());
            (0..size).filter_map(|at| table.get(self.store(), at)).map(word).collect()
        };
        Tables(parts.tables.values().map(entries).collect())
    }

    fn set_tables(&mut self, tables: &Tables) {
        let parts = self.parts();
        for (table, entries) in parts.tables.values().zip(&tables.0) {
            let kind = table.ty(self.store()).element();
            for (at, word) in (0..).zip(entries) {
                let entry = match word.checked_sub(1) {
                    Some(index) => Ref::Func(Nullable::Val(parts.functions[&(index as u32)])),
                    None => Ref::null(kind),
                };
                table.set(self.store_mut(), at, entry).expect("the entry came from this table, and tables never grow");
            }
        }
    }

    fn table_functions(&self, tables: &Tables) -> Vec<Vec<Option<u32>>> {
        let index = |word: &usize| word.checked_sub(1).map(|index| index as u32);
        tables.0.iter().map(|entries| entries.iter().map(index).collect()).collect()
    }

    fn set_table_functions(&mut self, tables: &[Vec<Option<u32>>]) -> bool {
        let parts = self.parts();
        let present = self.tables();
        let fits = present.0.len() == tables.len()
            && present.0.iter().zip(tables).all(|(a, b)| a.len() == b.len())
            && tables.iter().flatten().flatten().all(|index| parts.functions.contains_key(index));
        if fits {
            let word = |index: &Option<u32>| index.map_or(0, |index| index as usize + 1);
            self.set_tables(&Tables(tables.iter().map(|table| table.iter().map(word).collect()).collect()));
        }
        fits
    }
}

impl Data {
    /// # Errors
    /// The evaluation was broken off. The error does not matter: that is no outcome.
    fn go_on(&self) -> Result<(), Error> {
        self.breaker.check().map_err(|_| Error::host(Unwind(Interrupt::Trap(TrapKind::Other))))
    }

    fn parts(&self) -> Arc<Parts> {
        Arc::clone(self.parts.as_ref().expect("guests run after instantiation"))
    }
}

impl Parts {
    fn new(instance: wasmi::Instance, memory: Memory, store: &Store<Data>, tables_fixed: bool) -> Self {
        let (mut globals, mut tables, mut functions) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (mut depth, mut gas) = (None, None);
        for export in instance.exports(store) {
            let name = export.name();
            let index = |prefix| name.strip_prefix(prefix).and_then(|n: &str| n.parse::<u32>().ok());
            match export.into_extern() {
                Extern::Global(global) if name == EXPORT_DEPTH => depth = Some(global),
                Extern::Global(global) if name == EXPORT_GAS => gas = Some(global),
                Extern::Global(global) => globals.extend(index(EXPORT_GLOBAL_PREFIX).map(|i| (i, global))),
                Extern::Table(table) => tables.extend(index(EXPORT_TABLE_PREFIX).map(|i| (i, table))),
                Extern::Func(function) if !tables_fixed => {
                    functions.extend(index(EXPORT_FUNCTION_PREFIX).map(|i| (i, function)));
                }
                _ => {}
            }
        }
        let indexes = functions.iter().map(|(index, function)| (identity(*function), *index)).collect();
        Self { instance, memory, globals, tables, depth, gas, functions, indexes }
    }
}

/// What tells a function from every other one of its store, which wasmi shows in no other way.
fn identity(function: Func) -> String {
    format!("{function:?}")
}

/// Binds the imports of a module, but for its memory.
fn link(compiled: &Compiled, format: ModuleFormat) -> Result<Linker<Data>, StartError> {
    let mut linker = Linker::<Data>::new(&compiled.engine);
    // A name may be imported twice, of one type.
    linker.allow_shadowing(true);
    for import in compiled.module.imports() {
        let unknown = || StartError::Import { module: import.module().into(), name: import.name().into() };
        let ty = match import.ty() {
            ExternType::Func(ty) => ty.clone(),
            ExternType::Memory(_) if import.module() == HOSTED_MODULE => continue,
            _ => return Err(unknown()),
        };
        let call = resolve(import.module(), import.name(), &ty, format).ok_or_else(unknown)?;
        let bound = linker.func_new(import.module(), import.name(), ty, move |mut caller, inputs, outputs| {
            let parts = caller.data().parts();
            caller.data().go_on()?;
            serve(&call, &mut View { parts, store: caller.as_context_mut() }, inputs, outputs)
        });
        bound.map_err(failed)?;
    }
    Ok(linker)
}

fn resolve(module: &str, name: &str, ty: &wasmi::FuncType, format: ModuleFormat) -> Option<HostFn> {
    let types = |types: &[wasmi::ValType]| types.iter().copied().map(val_type).collect::<Option<Vec<_>>>();
    host::resolve(module, name, &types(ty.params())?, &types(ty.results())?, format)
}

fn serve(call: &HostFn, guest: &mut dyn Guest, inputs: &[wasmi::Val], outputs: &mut [wasmi::Val]) -> Result<(), Error> {
    let args: Vec<Val> = inputs.iter().filter_map(from_value).collect();
    let result = call.run(guest, &args).map_err(|interrupt| Error::host(Unwind(interrupt)))?;
    if let (Some(value), [output]) = (result, outputs) {
        *output = to_value(value);
    }
    Ok(())
}

impl View<'_> {
    fn run(&mut self, function: Func, args: &[Val]) -> Result<Option<Val>, Interrupt> {
        let depth = self.call_depth();
        if depth < HOST_CALL_COST as i32 {
            return Err(Interrupt::Trap(TrapKind::StackOverflow));
        }
        self.set_call_depth(depth - HOST_CALL_COST as i32);
        let inputs: Vec<wasmi::Val> = args.iter().copied().map(to_value).collect();
        let results = function.ty(&self.store);
        let mut outputs: Vec<wasmi::Val> = results.results().iter().map(|ty| wasmi::Val::default_for_ty(*ty)).collect();
        let call = function.call_resumable(&mut self.store, &inputs, &mut outputs);
        match self.finish(call, &mut outputs) {
            Ok(()) => {
                self.set_call_depth(depth);
                Ok(outputs.first().and_then(from_value))
            }
            Err(error) => Err(self.interrupt(&error)),
        }
    }

    /// Goes on with a call after each pause.
    fn finish(&mut self, mut call: Result<ResumableCall, Error>, outputs: &mut [wasmi::Val]) -> Result<(), Error> {
        loop {
            match call? {
                ResumableCall::Finished => return Ok(()),
                ResumableCall::HostTrap(ended) => return Err(ended.into_host_error()),
                ResumableCall::OutOfFuel(paused) => {
                    self.store.data().go_on()?;
                    self.store.set_fuel(paused.required_fuel().max(PAUSE_FUEL))?;
                    call = paused.resume(&mut self.store, outputs);
                }
            }
        }
    }

    fn interrupt(&mut self, error: &Error) -> Interrupt {
        match error.downcast_ref::<Unwind>() {
            Some(Unwind(interrupt)) => interrupt.clone(),
            None if self.call_depth() == DEPTH_EXCEEDED => Interrupt::Trap(TrapKind::StackOverflow),
            None => Interrupt::Trap(error.as_trap_code().map_or(TrapKind::Other, trap_kind)),
        }
    }
}

impl Guest for View<'_> {
    fn memory(&self) -> &[u8] {
        self.store.data().memory.mapping.as_slice()
    }

    fn memory_mut(&mut self) -> &mut [u8] {
        self.store.data_mut().memory.mapping.as_mut_slice()
    }

    fn grow(&mut self, pages: u64) -> bool {
        self.parts.memory.grow(&mut self.store, pages).is_ok()
    }

    fn host(&mut self) -> &mut HostState {
        &mut self.store.data_mut().host
    }

    fn has_export(&self, name: &str) -> bool {
        !name.starts_with(EXPORT_FUNCTION_PREFIX) && self.parts.instance.get_func(&self.store, name).is_some()
    }

    fn call(&mut self, export: &str, args: &[Val]) -> Result<Option<Val>, Interrupt> {
        let function = self.parts.instance.get_func(&self.store, export);
        let function = function.ok_or_else(|| Interrupt::Abort(format!("{export} is not exported")))?;
        self.run(function, args)
    }

    fn call_table(&mut self, index: u64, args: &[Val]) -> Result<Option<Val>, Interrupt> {
        let index = u32::try_from(index).map_err(|_| Interrupt::Trap(TrapKind::TableOutOfBounds))?;
        let table = self.parts.tables.get(&0).ok_or(Interrupt::Trap(TrapKind::TableOutOfBounds))?;
        match table.get(&self.store, u64::from(index)) {
            Some(Ref::Func(Nullable::Val(function))) => self.run(function, args),
            Some(_) => Err(Interrupt::Trap(TrapKind::IndirectCallToNull)),
            None => Err(Interrupt::Trap(TrapKind::TableOutOfBounds)),
        }
    }

    fn call_depth(&mut self) -> i32 {
        let Some(depth) = self.parts.depth else { return self.store.data().depth };
        match depth.get(&self.store) {
            wasmi::Val::I32(depth) => depth,
            _ => DEPTH_EXCEEDED,
        }
    }

    fn set_call_depth(&mut self, depth: i32) {
        match self.parts.depth {
            Some(global) => {
                global.set(&mut self.store, wasmi::Val::I32(depth)).expect("the counter is a mutable i32");
            }
            None => self.store.data_mut().depth = depth,
        }
    }

    fn gas_left(&mut self) -> i64 {
        let Some(gas) = self.parts.gas else { return self.store.data().gas_left };
        match gas.get(&self.store) {
            wasmi::Val::I64(left) => left,
            _ => i64::MIN,
        }
    }

    fn set_gas_left(&mut self, left: i64) {
        match self.parts.gas {
            Some(global) => {
                global.set(&mut self.store, wasmi::Val::I64(left)).expect("the counter is a mutable i64");
            }
            None => self.store.data_mut().gas_left = left,
        }
    }
}

fn val_type(ty: wasmi::ValType) -> Option<ValType> {
    Some(match ty {
        wasmi::ValType::I32 => ValType::I32,
        wasmi::ValType::I64 => ValType::I64,
        wasmi::ValType::F32 => ValType::F32,
        wasmi::ValType::F64 => ValType::F64,
        _ => return None,
    })
}

fn to_value(val: Val) -> wasmi::Val {
    match val {
        Val::I32(v) => wasmi::Val::I32(v),
        Val::I64(v) => wasmi::Val::I64(v),
        Val::F32(bits) => wasmi::Val::F32(wasmi::F32::from_bits(bits)),
        Val::F64(bits) => wasmi::Val::F64(wasmi::F64::from_bits(bits)),
    }
}

fn from_value(value: &wasmi::Val) -> Option<Val> {
    Some(match value {
        wasmi::Val::I32(v) => Val::I32(*v),
        wasmi::Val::I64(v) => Val::I64(*v),
        wasmi::Val::F32(v) => Val::F32(v.to_bits()),
        wasmi::Val::F64(v) => Val::F64(v.to_bits()),
        _ => return None,
    })
}

fn trap_kind(code: TrapCode) -> TrapKind {
    match code {
        TrapCode::UnreachableCodeReached => TrapKind::Unreachable,
        TrapCode::MemoryOutOfBounds => TrapKind::MemoryOutOfBounds,
        TrapCode::TableOutOfBounds => TrapKind::TableOutOfBounds,
        TrapCode::IndirectCallToNull => TrapKind::IndirectCallToNull,
        TrapCode::BadSignature => TrapKind::BadSignature,
        TrapCode::IntegerOverflow => TrapKind::IntegerOverflow,
        TrapCode::IntegerDivisionByZero => TrapKind::DivisionByZero,
        TrapCode::BadConversionToInteger => TrapKind::BadConversionToInteger,
        TrapCode::StackOverflow => TrapKind::StackOverflow,
        _ => TrapKind::Other,
    }
}

//! One instance of a compiled module: imports bound to the host calls, and `Guest` implemented for it.
//!
//! Not here: the meaning of any host call (`host`).
//! Invariant: an `Interrupt` raised by a host call reaches the outermost caller unchanged.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasmer::sys::vm::TrapCode;
use wasmer::{
    AsStoreMut, Extern, ExternType, Function, FunctionEnv, FunctionEnvMut, FunctionType, Global, Imports, RuntimeError,
    Store, StoreMut, Table, Type, Value,
};

use super::Compiled;
use super::linear::{GlobalView, GuestTunables, Linear, TableView};
use crate::breaker::{Breaker, GasCell};
use crate::engine::{self, Tables, Terms};
use crate::error::{MachineError, StartError};
use crate::guest::{Guest, Interrupt, TrapKind, Val};
use crate::host::{self, HostFn, HostState, ModuleFormat, ValType};
use crate::memory::{DirtyTracker, Image, Mapping, MemoryError};
use crate::profile::HOST_CALL_COST;
use crate::rewrite::{
    DEPTH_EXCEEDED, EXPORT_DEPTH, EXPORT_FUNCTION_PREFIX, EXPORT_GAS, EXPORT_GLOBAL_PREFIX, EXPORT_QUIET_PREFIX,
    EXPORT_QUIET_STATE, EXPORT_QUIET_TABLE, EXPORT_TABLE_PREFIX,
};

/// Native stack of each call into compiled code: 16 times what the counter admits, so that the counter runs out first.
const NATIVE_STACK_BYTES: usize = 64 << 20;

/// What host calls reach through the store.
struct Env {
    host: HostState,
    parts: Option<Parts>,
}

struct Parts {
    linear: Linear,
    code: Code,
    /// The quiet twins of all that, if the module has them, and the global that must be 0 while they run.
    quiet: Option<(Code, Global)>,
    /// Whether it is the twins that run.
    is_quiet: bool,
    /// By guest index, without the counters.
    globals: BTreeMap<u32, Global>,
    depth: Global,
    gas: GasCell,
}

/// What the host can call.
struct Code {
    functions: BTreeMap<String, Function>,
    table: Option<Table>,
    /// Entries of the table already looked up: each look-up makes a handle that lives as long as the store. Kept only
    /// while no instruction of the module can change a table.
    entries: Option<BTreeMap<u32, Function>>,
}

/// An instance with its store.
pub(crate) struct Instance {
    store: Store,
    env: FunctionEnv<Env>,
    linear: Linear,
    /// Tables that some instruction of the module can change, and what their entries can point to. Empty if none can.
    tables: Vec<TableView>,
    /// Function indexes by the address compiled code knows the function by.
    functions: BTreeMap<usize, u32>,
    breaker: Arc<Breaker>,
}

// SAFETY: everything the store points to belongs to this instance, which alone holds it: its objects, the instance they
// make up and the memory. Nothing of it is bound to a thread; what wasmer keeps per thread (signal stacks, the handler
// of a running call) it sets up at each call. No hook that could be is ever registered.
unsafe impl Send for Instance {}

/// The store as a `Guest`, inside and outside of host calls.
struct Context<'a> {
    store: StoreMut<'a>,
    env: FunctionEnv<Env>,
    linear: Linear,
}

/// An `Interrupt` on its way through compiled frames.
#[derive(Debug)]
struct Unwind(Interrupt);

impl fmt::Display for Unwind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Unwind {}

impl Instance {
    /// Instantiates, without running anything of the guest.
    pub(crate) fn new(compiled: &Compiled, terms: Terms) -> Result<Self, StartError> {
        let Terms { format, host, pages_max } = terms;
        let tables_fixed = compiled.tables_fixed();
        let (tunables, made) = GuestTunables::new(pages_max, NATIVE_STACK_BYTES);
        let mut engine = compiled.engine.clone();
        wasmer::sys::NativeEngineExt::set_tunables(&mut engine, tunables);
        let mut store = Store::new(engine);
        let env = FunctionEnv::new(&mut store, Env { host, parts: None });
        let mut imports = Imports::new();
        for import in compiled.module.imports() {
            let ExternType::Function(ty) = import.ty() else {
                return Err(StartError::Import { module: import.module().into(), name: import.name().into() });
            };
            let call = resolve(import.module(), import.name(), ty, format)
                .ok_or_else(|| StartError::Import { module: import.module().into(), name: import.name().into() })?;
            let function = host_function(&mut store, &env, ty, call);
            imports.define(import.module(), import.name(), function);
        }
        let instance = wasmer::Instance::new(&mut store, &compiled.module, &imports)
            .map_err(|error| StartError::Instantiate(Arc::new(error)))?;
        let made = std::mem::take(&mut *made.lock().expect("nothing panics while this is locked"));
        let linear = made.linear.ok_or(StartError::NoMemory)?;
        let gas = made.last_global.and_then(|last| gas_cell(&instance, &mut store, &last));
        let gas = gas.ok_or(StartError::NotInstrumented)?;
        let parts = Parts::new(&instance, linear.clone(), gas, tables_fixed)?;
        let breaker = Arc::new(Breaker::at(gas));
        let functions = if tables_fixed { BTreeMap::new() } else { function_addresses(&instance, &store) };
        let tables = if tables_fixed { Vec::new() } else { made.tables };
        env.as_mut(&mut store).parts = Some(parts);
        Ok(Self { store, env, linear, tables, functions, breaker })
    }

    fn parts(&mut self) -> &mut Parts {
        self.env.as_mut(&mut self.store).parts.as_mut().expect("set when the instance was made")
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.breaker.retire();
    }
}

impl engine::Instance for Instance {
    fn run(&mut self, f: &mut dyn FnMut(&mut dyn Guest)) {
        let linear = self.linear.clone();
        f(&mut Context { store: self.store.as_store_mut(), env: self.env.clone(), linear });
    }

    fn mapping(&self) -> &Mapping {
        self.linear.mapping()
    }

    fn mapping_mut(&mut self) -> &mut Mapping {
        self.linear.mapping_mut()
    }

    fn set_bytes(&mut self, bytes: u64) -> Result<(), StartError> {
        Ok(self.linear.set_bytes(bytes)?)
    }

    fn restore(&mut self, image: &mut Image, tracker: &mut dyn DirtyTracker) -> Result<(), MachineError> {
        image.restore(self.linear.mapping_mut(), tracker)?;
        self.linear.publish();
        Ok(())
    }

    fn take_failure(&mut self) -> Option<MemoryError> {
        self.linear.take_failure()
    }

    fn host(&mut self) -> &mut HostState {
        &mut self.env.as_mut(&mut self.store).host
    }

    fn breaker(&self) -> &Arc<Breaker> {
        &self.breaker
    }

    fn globals(&mut self) -> Vec<(u32, Val)> {
        let globals: Vec<_> = self.parts().globals.iter().map(|(i, g)| (*i, g.clone())).collect();
        globals.into_iter().filter_map(|(i, global)| Some((i, from_value(&global.get(&mut self.store))?))).collect()
    }

    fn set_globals(&mut self, values: &[(u32, Val)]) {
        for (index, value) in values {
            let global = self.parts().globals[index].clone();
            global.set(&mut self.store, to_value(*value)).expect("the value came from this mutable global");
        }
    }

    fn tables(&self) -> Tables {
        Tables(self.tables.iter().map(TableView::read).collect())
    }

    fn set_tables(&mut self, tables: &Tables) {
        for (view, entries) in self.tables.iter_mut().zip(&tables.0) {
            view.write(entries);
        }
    }

    fn table_functions(&self, tables: &Tables) -> Vec<Vec<Option<u32>>> {
        let index = |address: &usize| self.functions.get(address).copied();
        tables.0.iter().map(|entries| entries.iter().map(index).collect()).collect()
    }

    fn set_table_functions(&mut self, tables: &[Vec<Option<u32>>]) -> bool {
        let addresses: BTreeMap<u32, usize> =
            self.functions.iter().map(|(address, index)| (*index, *address)).collect();
        let address = |function: &Option<u32>| match function {
            Some(index) => addresses.get(index).copied(),
            None => Some(0),
        };
        let entries = tables.iter().map(|table| table.iter().map(address).collect::<Option<Vec<_>>>());
        let Some(entries) = entries.collect::<Option<Vec<_>>>() else { return false };
        let present = self.tables();
        let fits = present.0.len() == entries.len() && present.0.iter().zip(&entries).all(|(a, b)| a.len() == b.len());
        if fits {
            self.set_tables(&Tables(entries));
        }
        fits
    }

    fn set_quiet(&mut self, quiet: bool) {
        let state = self.parts().quiet.as_ref().map(|(_, state)| state.clone());
        let at_rest = state.is_some_and(|state| state.get(&mut self.store) == Value::I32(0));
        self.parts().is_quiet = quiet && at_rest;
    }
}

impl Parts {
    fn new(instance: &wasmer::Instance, linear: Linear, gas: GasCell, tables_fixed: bool) -> Result<Self, StartError> {
        let code = || Code { functions: BTreeMap::new(), table: None, entries: tables_fixed.then(BTreeMap::new) };
        let (mut own, mut twins, mut globals) = (code(), code(), BTreeMap::new());
        let (mut depth, mut state) = (None, None);
        for (name, export) in instance.exports.iter() {
            match export {
                Extern::Function(function) => {
                    if let Some(name) = name.strip_prefix(EXPORT_QUIET_PREFIX) {
                        twins.functions.insert(name.to_owned(), function.clone());
                    } else if !name.starts_with(EXPORT_FUNCTION_PREFIX) {
                        own.functions.insert(name.clone(), function.clone());
                    }
                }
                Extern::Global(global) if name == EXPORT_DEPTH => depth = Some(global.clone()),
                Extern::Global(global) if name == EXPORT_QUIET_STATE => state = Some(global.clone()),
                Extern::Global(global) => {
                    let index = name.strip_prefix(EXPORT_GLOBAL_PREFIX).and_then(|index| index.parse().ok());
                    globals.extend(index.map(|index: u32| (index, global.clone())));
                }
                Extern::Table(table) if name == EXPORT_QUIET_TABLE => twins.table = Some(table.clone()),
                Extern::Table(table) if name.strip_prefix(EXPORT_TABLE_PREFIX) == Some("0") => {
                    own.table = Some(table.clone());
                }
                _ => {}
            }
        }
        let depth = depth.ok_or(StartError::NotInstrumented)?;
        let quiet = state.map(|state| (twins, state));
        Ok(Self { linear, code: own, quiet, is_quiet: false, globals, depth, gas })
    }

    /// The code that runs.
    fn code(&mut self) -> &mut Code {
        match &mut self.quiet {
            Some((twins, _)) if self.is_quiet => twins,
            _ => &mut self.code,
        }
    }
}

/// The gas counter, which instrumentation puts last among the globals; `None` if it is not there.
fn gas_cell(instance: &wasmer::Instance, store: &mut Store, last: &GlobalView) -> Option<GasCell> {
    let gas = instance.exports.get_global(EXPORT_GAS).ok()?;
    // SAFETY: the place is in the instance's context and 16-byte aligned; whoever holds the cell is dropped with the
    // instance, or retired. After this function nobody uses `gas`.
    let cell = unsafe { GasCell::at(last.as_i64()) };
    for value in [0, i64::MAX] {
        gas.set(store, Value::I64(value)).ok()?;
        if cell.count().load(Ordering::Relaxed) != value {
            return None;
        }
    }
    Some(cell)
}

/// The functions that table entries can point to, by their addresses.
fn function_addresses(instance: &wasmer::Instance, store: &Store) -> BTreeMap<usize, u32> {
    let index = |name: &str| name.strip_prefix(EXPORT_FUNCTION_PREFIX).and_then(|n| n.parse().ok());
    let functions = instance.exports.iter().functions();
    functions
        .filter_map(|(name, function)| {
            let raw = Value::FuncRef(Some(function.clone())).as_raw(store);
            // SAFETY: `as_raw` of a function reference fills this field of the union.
            Some((unsafe { raw.funcref }, index(name)?))
        })
        .collect()
}

fn resolve(module: &str, name: &str, ty: &FunctionType, format: ModuleFormat) -> Option<HostFn> {
    let types = |types: &[Type]| types.iter().copied().map(val_type).collect::<Option<Vec<_>>>();
    host::resolve(module, name, &types(ty.params())?, &types(ty.results())?, format)
}

/// Metered guests call `metering.usegas` at every branch: no list of arguments is made for it.
fn gas_function(store: &mut Store, env: &FunctionEnv<Env>, ty: &FunctionType) -> Function {
    if ty.params() == [Type::I64] {
        Function::new_typed_with_env(store, env, |mut env: FunctionEnvMut<'_, Env>, amount: i64| {
            env.data_mut().host.use_wide_gas(amount).map_err(Unwind)
        })
    } else {
        Function::new_typed_with_env(store, env, |mut env: FunctionEnvMut<'_, Env>, amount: i32| {
            env.data_mut().host.use_gas(f64::from(amount)).map_err(Unwind)
        })
    }
}

fn host_function(store: &mut Store, env: &FunctionEnv<Env>, ty: &FunctionType, call: HostFn) -> Function {
    // Elsewhere the module itself calls it, and pays for that.
    if matches!(call, HostFn::UseGas) && env.as_ref(store).host.format.is_metering() {
        return gas_function(store, env, ty);
    }
    Function::new_with_env(store, env, ty, move |mut env: FunctionEnvMut<'_, Env>, args: &[Value]| {
        let handle = env.as_ref();
        let linear = env.data().parts.as_ref().expect("guests run after instantiation").linear.clone();
        let mut context = Context { store: env.as_store_mut(), env: handle, linear };
        let args: Vec<Val> = args.iter().filter_map(from_value).collect();
        match call.run(&mut context, &args) {
            Ok(result) => Ok(result.map(to_value).into_iter().collect()),
            Err(interrupt) => Err(RuntimeError::user(Box::new(Unwind(interrupt)))),
        }
    })
}

impl Context<'_> {
    fn parts(&mut self) -> &mut Parts {
        self.env.as_mut(&mut self.store).parts.as_mut().expect("guests run after instantiation")
    }

    fn run(&mut self, function: &Function, args: &[Val]) -> Result<Option<Val>, Interrupt> {
        let depth = self.call_depth();
        if depth < HOST_CALL_COST as i32 {
            return Err(Interrupt::Trap(TrapKind::StackOverflow));
        }
        self.set_call_depth(depth - HOST_CALL_COST as i32);
        let args: Vec<Value> = args.iter().copied().map(to_value).collect();
        match function.call(&mut self.store, &args) {
            Ok(results) => {
                self.set_call_depth(depth);
                Ok(results.first().and_then(from_value))
            }
            Err(error) => Err(self.interrupt(error)),
        }
    }

    fn interrupt(&mut self, error: RuntimeError) -> Interrupt {
        let code = error.clone().to_trap();
        match error.downcast::<Unwind>() {
            Ok(Unwind(interrupt)) => interrupt,
            Err(_) if self.call_depth() == DEPTH_EXCEEDED => Interrupt::Trap(TrapKind::StackOverflow),
            Err(_) => Interrupt::Trap(code.map_or(TrapKind::Other, trap_kind)),
        }
    }
}

impl Guest for Context<'_> {
    fn memory(&self) -> &[u8] {
        self.linear.mapping().as_slice()
    }

    fn memory_mut(&mut self) -> &mut [u8] {
        self.linear.mapping_mut().as_mut_slice()
    }

    fn grow(&mut self, pages: u64) -> bool {
        self.linear.grow_pages(pages).is_some()
    }

    fn host(&mut self) -> &mut HostState {
        &mut self.env.as_mut(&mut self.store).host
    }

    fn has_export(&self, name: &str) -> bool {
        let parts = self.env.as_ref(&self.store).parts.as_ref();
        parts.is_some_and(|parts| parts.code.functions.contains_key(name))
    }

    fn call(&mut self, export: &str, args: &[Val]) -> Result<Option<Val>, Interrupt> {
        let function = self.parts().code().functions.get(export).cloned();
        let function = function.ok_or_else(|| Interrupt::Abort(format!("{export} is not exported")))?;
        self.run(&function, args)
    }

    fn call_table(&mut self, index: u64, args: &[Val]) -> Result<Option<Val>, Interrupt> {
        let index = u32::try_from(index).map_err(|_| Interrupt::Trap(TrapKind::TableOutOfBounds))?;
        let code = self.parts().code();
        if let Some(function) = code.entries.as_ref().and_then(|entries| entries.get(&index)).cloned() {
            return self.run(&function, args);
        }
        let table = code.table.clone().ok_or(Interrupt::Trap(TrapKind::TableOutOfBounds))?;
        let function = match table.get(&mut self.store, index) {
            Some(Value::FuncRef(Some(function))) => function,
            Some(_) => return Err(Interrupt::Trap(TrapKind::IndirectCallToNull)),
            None => return Err(Interrupt::Trap(TrapKind::TableOutOfBounds)),
        };
        if let Some(entries) = self.parts().code().entries.as_mut() {
            entries.insert(index, function.clone());
        }
        self.run(&function, args)
    }

    fn call_depth(&mut self) -> i32 {
        let depth = self.parts().depth.clone();
        match depth.get(&mut self.store) {
            Value::I32(depth) => depth,
            _ => DEPTH_EXCEEDED,
        }
    }

    fn set_call_depth(&mut self, depth: i32) {
        let global = self.parts().depth.clone();
        global.set(&mut self.store, Value::I32(depth)).expect("the counter is a mutable i32");
    }

    fn gas_left(&mut self) -> i64 {
        self.parts().gas.count().load(Ordering::Relaxed)
    }

    fn set_gas_left(&mut self, left: i64) {
        self.parts().gas.count().store(left, Ordering::Relaxed);
    }

    fn can_unwind(&self) -> bool {
        !self.env.as_ref(&self.store).parts.as_ref().is_some_and(|parts| parts.is_quiet)
    }
}

fn val_type(ty: Type) -> Option<ValType> {
    Some(match ty {
        Type::I32 => ValType::I32,
        Type::I64 => ValType::I64,
        Type::F32 => ValType::F32,
        Type::F64 => ValType::F64,
        _ => return None,
    })
}

fn to_value(val: Val) -> Value {
    match val {
        Val::I32(v) => Value::I32(v),
        Val::I64(v) => Value::I64(v),
        Val::F32(bits) => Value::F32(f32::from_bits(bits)),
        Val::F64(bits) => Value::F64(f64::from_bits(bits)),
    }
}

fn from_value(value: &Value) -> Option<Val> {
    Some(match value {
        Value::I32(v) => Val::I32(*v),
        Value::I64(v) => Val::I64(*v),
        Value::F32(v) => Val::F32(v.to_bits()),
        Value::F64(v) => Val::F64(v.to_bits()),
        _ => return None,
    })
}

fn trap_kind(code: TrapCode) -> TrapKind {
    match code {
        TrapCode::UnreachableCodeReached => TrapKind::Unreachable,
        TrapCode::HeapAccessOutOfBounds => TrapKind::MemoryOutOfBounds,
        TrapCode::TableAccessOutOfBounds => TrapKind::TableOutOfBounds,
        TrapCode::IndirectCallToNull => TrapKind::IndirectCallToNull,
        TrapCode::BadSignature => TrapKind::BadSignature,
        TrapCode::IntegerOverflow => TrapKind::IntegerOverflow,
        TrapCode::IntegerDivisionByZero => TrapKind::DivisionByZero,
        TrapCode::BadConversionToInteger => TrapKind::BadConversionToInteger,
        TrapCode::StackOverflow => TrapKind::StackOverflow,
        _ => TrapKind::Other,
    }
}

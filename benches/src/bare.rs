//! The peer without any of our guarantees: wasmer as it comes, host calls, and nothing else.
//!
//! No stack bound, no canonical NaN, no exact address check, no image to roll back to, no hash. What a step costs beyond
//! this is what the guarantees cost.
//!
//! Not here: what host calls mean; those are the kernel's own, so that both run the same guest code.
//! Invariant: answers are those of the kernel for messages that do not fail.

use std::collections::HashMap;
use std::fmt;

use ao_kernel::guest::{Guest, Interrupt, TrapKind, Val};
use ao_kernel::host::{self, GAS_LIMIT_DEFAULT, HostFn, HostState, ValType};
use ao_kernel::rewrite::EXPORT_GAS;
use wasmer::sys::{Cranelift, CraneliftOptLevel, EngineBuilder};
use wasmer::{
    AsStoreMut, ExternType, Function, FunctionEnv, FunctionEnvMut, FunctionType, Global, Imports, Memory, Module,
    RuntimeError, Store, StoreMut, Table, Type, Value,
};

use crate::AOS_FORMAT;

struct Env {
    host: HostState,
    parts: Option<Parts>,
}

struct Parts {
    functions: HashMap<String, Function>,
    entries: HashMap<u32, Function>,
    table: Table,
    gas: Option<Global>,
    memory: Memory,
}

/// One process of a lowered module.
pub struct Bare {
    store: Store,
    env: FunctionEnv<Env>,
}

struct Context<'a> {
    store: StoreMut<'a>,
    env: FunctionEnv<Env>,
}

#[derive(Debug)]
struct Unwind(Interrupt);

impl fmt::Display for Unwind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Unwind {}

impl Bare {
    /// Compiles and instantiates.
    pub fn new(lowered: &[u8]) -> Self {
        let mut compiler = Cranelift::default();
        compiler.opt_level(CraneliftOptLevel::Speed);
        let mut store = Store::new(EngineBuilder::new(compiler));
        let module = Module::new(&store, lowered).expect("the module compiles");
        let host = HostState::new(AOS_FORMAT, GAS_LIMIT_DEFAULT, 1 << 30);
        let env = FunctionEnv::new(&mut store, Env { host, parts: None });
        let mut imports = Imports::new();
        for import in module.imports() {
            let ExternType::Function(ty) = import.ty() else { panic!("only functions are imported") };
            let types = |types: &[Type]| types.iter().copied().map(val_type).collect::<Vec<_>>();
            let call =
                host::resolve(import.module(), import.name(), &types(ty.params()), &types(ty.results()), AOS_FORMAT);
            let call = call.expect("the host has what aos imports");
            imports.define(import.module(), import.name(), host_function(&mut store, &env, ty, call));
        }
        let instance = wasmer::Instance::new(&mut store, &module, &imports).expect("the module instantiates");
        let exports = &instance.exports;
        let parts = Parts {
            functions: exports.iter().functions().map(|(name, function)| (name.clone(), function.clone())).collect(),
            entries: HashMap::new(),
            table: exports.get_table("__indirect_function_table").expect("aos exports its table").clone(),
            gas: exports.get_global(EXPORT_GAS).ok().cloned(),
            memory: exports.get_memory("memory").expect("aos exports its memory").clone(),
        };
        env.as_mut(&mut store).parts = Some(parts);
        let mut bare = Self { store, env };
        host::boot(&mut bare.context()).expect("aos starts");
        bare
    }

    /// Evaluates a message; the module's answer as JSON.
    pub fn step(&mut self, message: &str, env: &str) -> String {
        host::handle(&mut self.context(), message, env).expect("the messages of a bench do not fail")
    }

    /// Gas that `step` takes, if any is counted.
    pub fn step_gas(&mut self, message: &str, env: &str) -> u64 {
        let before = self.context().gas_left();
        self.step(message, env);
        before.abs_diff(self.context().gas_left())
    }

    fn context(&mut self) -> Context<'_> {
        Context { env: self.env.clone(), store: self.store.as_store_mut() }
    }
}

fn host_function(store: &mut Store, env: &FunctionEnv<Env>, ty: &FunctionType, call: HostFn) -> Function {
    Function::new_with_env(store, env, ty, move |mut env: FunctionEnvMut<'_, Env>, args: &[Value]| {
        let handle = env.as_ref();
        let mut context = Context { store: env.as_store_mut(), env: handle };
        let args: Vec<Val> = args.iter().map(from_value).collect();
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

    fn memory_bytes(&self) -> (*mut u8, usize) {
        let parts = self.env.as_ref(&self.store).parts.as_ref().expect("guests run after instantiation");
        let view = parts.memory.view(&self.store);
        (view.data_ptr(), view.data_size() as usize)
    }

    fn run(&mut self, function: &Function, args: &[Val]) -> Result<Option<Val>, Interrupt> {
        let args: Vec<Value> = args.iter().copied().map(to_value).collect();
        match function.call(&mut self.store, &args) {
            Ok(results) => Ok(results.first().map(from_value)),
            Err(error) => Err(match error.downcast::<Unwind>() {
                Ok(Unwind(interrupt)) => interrupt,
                Err(_) => Interrupt::Trap(TrapKind::Other),
            }),
        }
    }
}

impl Guest for Context<'_> {
    fn memory(&self) -> &[u8] {
        let (base, bytes) = self.memory_bytes();
        // SAFETY: the memory does not move or shrink while the store is borrowed, which `self` does; no guest code and
        // no `memory_mut` runs meanwhile, both need `&mut self`.
        unsafe { std::slice::from_raw_parts(base, bytes) }
    }

    fn memory_mut(&mut self) -> &mut [u8] {
        let (base, bytes) = self.memory_bytes();
        // SAFETY: as for `memory`, and `&mut self` makes this the only view.
        unsafe { std::slice::from_raw_parts_mut(base, bytes) }
    }

    fn grow(&mut self, pages: u64) -> bool {
        let memory = self.parts().memory.clone();
        u32::try_from(pages).is_ok_and(|pages| memory.grow(&mut self.store, pages).is_ok())
    }

    fn host(&mut self) -> &mut HostState {
        &mut self.env.as_mut(&mut self.store).host
    }

    fn has_export(&self, name: &str) -> bool {
        self.env.as_ref(&self.store).parts.as_ref().is_some_and(|parts| parts.functions.contains_key(name))
    }

    fn call(&mut self, export: &str, args: &[Val]) -> Result<Option<Val>, Interrupt> {
        let function = self.parts().functions.get(export).cloned();
        self.run(&function.ok_or_else(|| Interrupt::Abort(format!("{export} is not exported")))?, args)
    }

    fn call_table(&mut self, index: u64, args: &[Val]) -> Result<Option<Val>, Interrupt> {
        let index = u32::try_from(index).map_err(|_| Interrupt::Trap(TrapKind::TableOutOfBounds))?;
        if let Some(function) = self.parts().entries.get(&index).cloned() {
            return self.run(&function, args);
        }
        let table = self.parts().table.clone();
        let Some(Value::FuncRef(Some(function))) = table.get(&mut self.store, index) else {
            return Err(Interrupt::Trap(TrapKind::IndirectCallToNull));
        };
        self.parts().entries.insert(index, function.clone());
        self.run(&function, args)
    }

    fn call_depth(&mut self) -> i32 {
        0
    }

    fn set_call_depth(&mut self, _: i32) {}

    fn gas_left(&mut self) -> i64 {
        let gas = self.parts().gas.clone();
        gas.map_or(i64::MAX, |gas| gas.get(&mut self.store).i64().expect("the counter is an i64"))
    }

    fn set_gas_left(&mut self, left: i64) {
        if let Some(gas) = self.parts().gas.clone() {
            gas.set(&mut self.store, Value::I64(left)).expect("the counter is a mutable i64");
        }
    }
}

fn val_type(ty: Type) -> ValType {
    match ty {
        Type::I32 => ValType::I32,
        Type::I64 => ValType::I64,
        Type::F32 => ValType::F32,
        Type::F64 => ValType::F64,
        other => panic!("no host call takes {other}"),
    }
}

fn to_value(val: Val) -> Value {
    match val {
        Val::I32(v) => Value::I32(v),
        Val::I64(v) => Value::I64(v),
        Val::F32(bits) => Value::F32(f32::from_bits(bits)),
        Val::F64(bits) => Value::F64(f64::from_bits(bits)),
    }
}

fn from_value(value: &Value) -> Val {
    match value {
        Value::I32(v) => Val::I32(*v),
        Value::I64(v) => Val::I64(*v),
        Value::F32(v) => Val::F32(v.to_bits()),
        Value::F64(v) => Val::F64(v.to_bits()),
        other => panic!("no host call takes {other:?}"),
    }
}

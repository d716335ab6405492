//! Two engines behind one face, so that tests can ask whether they agree bit for bit.
#![allow(dead_code)]

use ao_kernel::rewrite::{EXPORT_GAS, EXPORT_GLOBAL_PREFIX, EXPORT_MEMORY};

/// A value of a call or global; a reference is known only to be null or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum V {
    I32(u32),
    I64(u64),
    F32(u32),
    F64(u64),
    V128(u128),
    Ref { null: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    Unreachable,
    Memory,
    Table,
    NullCall,
    Signature,
    Overflow,
    DivisionByZero,
    BadConversion,
    Stack,
    /// Instantiation failed.
    Instantiation,
}

pub type Outcome = Result<Vec<V>, Trap>;

pub trait Machine: Sized {
    fn start(wasm: &[u8]) -> Result<Self, Trap>;
    fn call(&mut self, export: &str, args: &[V]) -> Outcome;
    fn memory(&mut self) -> Vec<u8>;
    fn global(&mut self, export: &str) -> Option<V>;
    /// Does nothing where there is no such global.
    fn set_global(&mut self, export: &str, value: V);

    /// What is left of the gas; 0 in a module that counts none.
    fn gas_left(&mut self) -> i64 {
        match self.global(EXPORT_GAS) {
            Some(V::I64(left)) => left as i64,
            _ => 0,
        }
    }

    fn set_gas_left(&mut self, left: i64) {
        self.set_global(EXPORT_GAS, V::I64(left as u64));
    }

    /// Everything a guest can have changed.
    fn state(&mut self) -> (Vec<u8>, Vec<V>) {
        let globals = (0..200).filter_map(|index| self.global(&format!("{EXPORT_GLOBAL_PREFIX}{index}"))).collect();
        (self.memory(), globals)
    }
}

/// The production engine; it takes lowered modules only.
pub struct Wasmer {
    store: wasmer::Store,
    instance: wasmer::Instance,
}

impl Machine for Wasmer {
    fn start(wasm: &[u8]) -> Result<Self, Trap> {
        let mut store = wasmer::Store::new(wasmer::sys::Cranelift::default());
        let module = wasmer::Module::new(&store, wasm).expect("a lowered module compiles");
        let instance = wasmer::Instance::new(&mut store, &module, &wasmer::imports! {});
        Ok(Self { instance: instance.map_err(|_| Trap::Instantiation)?, store })
    }

    fn call(&mut self, export: &str, args: &[V]) -> Outcome {
        let function = self.instance.exports.get_function(export).expect("exported function").clone();
        let types = function.ty(&self.store).params().to_vec();
        let args: Vec<_> = args.iter().zip(types).map(|(arg, ty)| to_wasmer(*arg, ty)).collect();
        match function.call(&mut self.store, &args) {
            Ok(values) => Ok(values.iter().map(from_wasmer).collect()),
            Err(error) => Err(match error.clone().to_trap() {
                Some(wasmer::sys::vm::TrapCode::UnreachableCodeReached) => Trap::Unreachable,
                Some(wasmer::sys::vm::TrapCode::HeapAccessOutOfBounds) => Trap::Memory,
                Some(wasmer::sys::vm::TrapCode::TableAccessOutOfBounds) => Trap::Table,
                Some(wasmer::sys::vm::TrapCode::IndirectCallToNull) => Trap::NullCall,
                Some(wasmer::sys::vm::TrapCode::BadSignature) => Trap::Signature,
                Some(wasmer::sys::vm::TrapCode::IntegerOverflow) => Trap::Overflow,
                Some(wasmer::sys::vm::TrapCode::IntegerDivisionByZero) => Trap::DivisionByZero,
                Some(wasmer::sys::vm::TrapCode::BadConversionToInteger) => Trap::BadConversion,
                Some(wasmer::sys::vm::TrapCode::StackOverflow) => Trap::Stack,
                _ => panic!("unexpected trap: {error}"),
            }),
        }
    }

    fn memory(&mut self) -> Vec<u8> {
        let Ok(memory) = self.instance.exports.get_memory(EXPORT_MEMORY) else { return Vec::new() };
        memory.view(&self.store).copy_to_vec().expect("the view is of its own size")
    }

    fn global(&mut self, export: &str) -> Option<V> {
        let global = self.instance.exports.get_global(export).ok()?.clone();
        Some(from_wasmer(&global.get(&mut self.store)))
    }

    fn set_global(&mut self, export: &str, value: V) {
        if let Ok(global) = self.instance.exports.get_global(export) {
            let ty = global.ty(&self.store).ty;
            global.set(&mut self.store, to_wasmer(value, ty)).expect("the global is mutable and of that type");
        }
    }
}

fn to_wasmer(value: V, ty: wasmer::Type) -> wasmer::Value {
    match value {
        V::I32(v) => wasmer::Value::I32(v as i32),
        V::I64(v) => wasmer::Value::I64(v as i64),
        V::F32(v) => wasmer::Value::F32(f32::from_bits(v)),
        V::F64(v) => wasmer::Value::F64(f64::from_bits(v)),
        V::V128(v) => wasmer::Value::V128(v),
        V::Ref { .. } if ty == wasmer::Type::FuncRef => wasmer::Value::FuncRef(None),
        V::Ref { .. } => wasmer::Value::ExternRef(None),
    }
}

fn from_wasmer(value: &wasmer::Value) -> V {
    match value {
        wasmer::Value::I32(v) => V::I32(*v as u32),
        wasmer::Value::I64(v) => V::I64(*v as u64),
        wasmer::Value::F32(v) => V::F32(v.to_bits()),
        wasmer::Value::F64(v) => V::F64(v.to_bits()),
        wasmer::Value::V128(v) => V::V128(*v),
        wasmer::Value::FuncRef(v) => V::Ref { null: v.is_none() },
        wasmer::Value::ExternRef(v) => V::Ref { null: v.is_none() },
        wasmer::Value::ExceptionRef(v) => V::Ref { null: v.is_none() },
    }
}

/// The oracle: an interpreter that runs 64-bit memories as they are.
pub struct Wasmi {
    store: wasmi::Store<()>,
    instance: wasmi::Instance,
}

impl Machine for Wasmi {
    fn start(wasm: &[u8]) -> Result<Self, Trap> {
        let mut config = wasmi::Config::default();
        config.set_max_recursion_depth(100_000).set_max_stack_height(64 << 20);
        let engine = wasmi::Engine::new(&config);
        let module = wasmi::Module::new(&engine, wasm).expect("an instrumented module is valid");
        let mut store = wasmi::Store::new(&engine, ());
        let instance = wasmi::Linker::new(&engine).instantiate_and_start(&mut store, &module);
        Ok(Self { instance: instance.map_err(|_| Trap::Instantiation)?, store })
    }

    fn call(&mut self, export: &str, args: &[V]) -> Outcome {
        let function = self.instance.get_func(&self.store, export).expect("exported function");
        let ty = function.ty(&self.store);
        let args: Vec<_> = args.iter().zip(ty.params()).map(|(arg, ty)| to_wasmi(*arg, *ty)).collect();
        let mut results: Vec<_> = ty.results().iter().map(|ty| wasmi::Val::default_for_ty(*ty)).collect();
        match function.call(&mut self.store, &args, &mut results) {
            Ok(()) => Ok(results.iter().map(from_wasmi).collect()),
            Err(error) => Err(match error.as_trap_code() {
                Some(wasmi::TrapCode::UnreachableCodeReached) => Trap::Unreachable,
                Some(wasmi::TrapCode::MemoryOutOfBounds) => Trap::Memory,
                Some(wasmi::TrapCode::TableOutOfBounds) => Trap::Table,
                Some(wasmi::TrapCode::IndirectCallToNull) => Trap::NullCall,
                Some(wasmi::TrapCode::BadSignature) => Trap::Signature,
                Some(wasmi::TrapCode::IntegerOverflow) => Trap::Overflow,
                Some(wasmi::TrapCode::IntegerDivisionByZero) => Trap::DivisionByZero,
                Some(wasmi::TrapCode::BadConversionToInteger) => Trap::BadConversion,
                Some(wasmi::TrapCode::StackOverflow) => Trap::Stack,
                _ => panic!("unexpected trap: {error}"),
            }),
        }
    }

    fn memory(&mut self) -> Vec<u8> {
        let memory = self.instance.get_memory(&self.store, EXPORT_MEMORY);
        memory.map_or_else(Vec::new, |memory| memory.data(&self.store).to_vec())
    }

    fn global(&mut self, export: &str) -> Option<V> {
        let global = self.instance.get_global(&self.store, export)?;
        Some(from_wasmi(&global.get(&self.store)))
    }

    fn set_global(&mut self, export: &str, value: V) {
        if let Some(global) = self.instance.get_global(&self.store, export) {
            let ty = global.ty(&self.store).content();
            global.set(&mut self.store, to_wasmi(value, ty)).expect("the global is mutable and of that type");
        }
    }
}

fn to_wasmi(value: V, ty: wasmi::ValType) -> wasmi::Val {
    match value {
        V::I32(v) => wasmi::Val::I32(v as i32),
        V::I64(v) => wasmi::Val::I64(v as i64),
        V::F32(v) => wasmi::Val::F32(wasmi::F32::from_bits(v)),
        V::F64(v) => wasmi::Val::F64(wasmi::F64::from_bits(v)),
        V::V128(v) => wasmi::Val::V128(wasmi::V128::from(v)),
        V::Ref { .. } => wasmi::Val::default_for_ty(ty),
    }
}

fn from_wasmi(value: &wasmi::Val) -> V {
    match value {
        wasmi::Val::I32(v) => V::I32(*v as u32),
        wasmi::Val::I64(v) => V::I64(*v as u64),
        wasmi::Val::F32(v) => V::F32(v.to_bits()),
        wasmi::Val::F64(v) => V::F64(v.to_bits()),
        wasmi::Val::V128(v) => V::V128(v.as_u128()),
        wasmi::Val::FuncRef(v) => V::Ref { null: v.is_null() },
        wasmi::Val::ExternRef(v) => V::Ref { null: v.is_null() },
    }
}

/// A small generator of numbers; equal seeds give equal numbers.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

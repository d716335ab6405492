//! Exceptions of the legacy proposal (`try`, `catch`, `delegate`, `rethrow`, `throw`) as plain code.
//!
//! A thrown exception is a global, the tag's index plus one, with its payload in globals beside it; a function that it leaves
//! returns zeros, and behind each call that may throw stands a test of that global, which branches to the handler or on to the
//! caller. So an exception is nothing that an engine has to know: what unwinds frames from outside (traps, the host's own
//! interrupts) passes every handler, frames are left by returning, and two engines need no more than agree on branches.
//!
//! Functions that the host calls get a twin that turns an exception nobody caught into a trap; `dynCall_*` do not, since an
//! exception passes the host's `invoke_*` on its way to the guest's own caller.
//!
//! Not here: one body (`body`); the later form with `try_table` and exception references, which admission refuses.
//! Invariant: functions of the module that cannot throw keep their code; the guest's index spaces are only appended to.

mod body;
mod throwers;

use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{ConstExpr, ExportKind, GlobalType, ValType};
use wasmparser::ExternalKind;

use super::RewriteError;
use super::module::Module;
use body::Translation;
use throwers::Throwers;

/// Begins the names of exports through which the host calls on behalf of a caller in the guest.
const PASSING_EXPORT_PREFIX: &str = "dynCall_";

/// Takes all legacy exception handling out of a module.
///
/// # Errors
/// If the module is malformed, or a payload is no number.
///
/// # Source
/// `WebAssembly/exception-handling`, `proposals/exception-handling/legacy/Exceptions.md`.
pub fn translate_exceptions(wasm: &[u8]) -> Result<Vec<u8>, RewriteError> {
    let mut pass = Translating { exports: Vec::new() };
    let mut module = Module::read(wasm, &mut pass)?;
    let bodies = module.function_bodies();
    let throwers = Throwers::find(wasm, &module.shape, &bodies)?;
    let registers = Registers::add(&mut module)?;
    let mut translation = Translation::new(&throwers, &registers, module.shape.types.len() as u32);
    for (index, (body, type_index)) in (module.shape.imported_functions..).zip(&bodies) {
        let function = translation.body(&mut pass, &module.shape, body, index, *type_index)?;
        module.code.function(&function);
    }
    for params in translation.into_block_types() {
        module.types.ty().function(params, []);
    }
    let mut twins = Twins { throwers: &throwers, pending: registers.pending, of: Vec::new() };
    for (name, kind, index) in pass.exports {
        let (kind, index) = match kind {
            ExternalKind::Func if !name.starts_with(PASSING_EXPORT_PREFIX) => {
                (ExportKind::Func, twins.of(&mut module, index))
            }
            ExternalKind::Func | ExternalKind::FuncExact => (ExportKind::Func, index),
            ExternalKind::Table => (ExportKind::Table, index),
            ExternalKind::Memory => (ExportKind::Memory, index),
            ExternalKind::Global => (ExportKind::Global, index),
            // No host call takes a tag.
            ExternalKind::Tag => continue,
        };
        module.exports.export(&name, kind, index);
    }
    module.start = module.start.map(|start| twins.of(&mut module, start));
    Ok(module.finish())
}

struct Translating {
    exports: Vec<(String, ExternalKind, u32)>,
}

impl Reencode for Translating {
    type Error = RewriteError;

    fn parse_export(
        &mut self,
        _: &mut wasm_encoder::ExportSection,
        export: wasmparser::Export<'_>,
    ) -> Result<(), Error<RewriteError>> {
        self.exports.push((export.name.to_owned(), export.kind, export.index));
        Ok(())
    }
}

/// The globals that hold an exception on its way.
struct Registers {
    /// 0, or the tag's index plus one.
    pending: u32,
    payload: Vec<(u32, ValType)>,
    /// For each tag, which of `payload` its values are in.
    tags: Vec<Vec<usize>>,
}

impl Registers {
    fn add(module: &mut Module<'_>) -> Result<Self, RewriteError> {
        let pending = module.shape.globals.len() as u32;
        let mut registers = Self { pending, payload: Vec::new(), tags: Vec::new() };
        for tag in &module.shape.tags {
            let mut slots = Vec::new();
            for ty in module.shape.function_type(*tag).map_or(&[][..], |ty| ty.params()) {
                let ty = match ty {
                    wasmparser::ValType::I32 => ValType::I32,
                    wasmparser::ValType::I64 => ValType::I64,
                    wasmparser::ValType::F32 => ValType::F32,
                    wasmparser::ValType::F64 => ValType::F64,
                    _ => return Err(RewriteError::Unsupported { what: "payload of a tag", offset: 0 }),
                };
                slots.push(registers.slot(ty, &slots));
            }
            registers.tags.push(slots);
        }
        let zero = ConstExpr::i32_const(0);
        let global = |val_type| GlobalType { val_type, mutable: true, shared: false };
        module.globals.global(global(ValType::I32), &zero);
        for (_, ty) in &registers.payload {
            let zero = match ty {
                ValType::I64 => ConstExpr::i64_const(0),
                ValType::F32 => ConstExpr::f32_const(0.0.into()),
                ValType::F64 => ConstExpr::f64_const(0.0.into()),
                _ => zero.clone(),
            };
            module.globals.global(global(*ty), &zero);
        }
        Ok(registers)
    }

    /// The first place for a value of this type that is not `taken`, a new one if need be.
    fn slot(&mut self, ty: ValType, taken: &[usize]) -> usize {
        let mut slots = self.payload.iter().enumerate();
        if let Some((slot, _)) = slots.find(|(slot, (_, it))| *it == ty && !taken.contains(slot)) {
            return slot;
        }
        self.payload.push((self.pending + 1 + self.payload.len() as u32, ty));
        self.payload.len() - 1
    }
}

/// The functions that the host calls in place of those that may throw.
struct Twins<'t> {
    throwers: &'t Throwers,
    pending: u32,
    of: Vec<(u32, u32)>,
}

impl Twins<'_> {
    fn of(&mut self, module: &mut Module<'_>, function: u32) -> u32 {
        if !self.throwers.function(function) {
            return function;
        }
        if let Some((_, twin)) = self.of.iter().find(|(of, _)| *of == function) {
            return *twin;
        }
        let twin = (module.shape.functions.len() + self.of.len()) as u32;
        self.of.push((function, twin));
        let type_index = module.shape.functions[function as usize];
        module.functions.function(type_index);
        let mut code = wasm_encoder::Function::new([]);
        let mut out = code.instructions();
        for param in 0..module.shape.params(type_index) {
            out.local_get(param);
        }
        out.call(function).global_get(self.pending).if_(wasm_encoder::BlockType::Empty);
        out.i32_const(0).global_set(self.pending).unreachable().end().end();
        module.code.function(&code);
        twin
    }
}

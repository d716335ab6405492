//! Engine-neutral instrumentation: gas, canonical NaN, the stack bound, and exports for the host.
//!
//! Not here: what is charged where (`flow`, `gas`), which NaN (`nan`), what a frame costs (`depth`).
//! Invariant: the guest cannot observe it but by its end, which comes at the same place everywhere.

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{BlockType, ConstExpr, ExportKind, Function, GlobalType, ValType};
use wasmparser::{FunctionBody, Operator};

use super::fold::fold;
use super::gas::Charger;
use super::module::{Body, Module, Shape, bounded_memory};
use super::quiet::{SWITCHES, state_of};
use super::walk::operators;
use super::weight::Calls;
use super::{Charging, RESERVED_PREFIX, RewriteError, depth, flow, nan};

/// What [`instrument`] adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Stack budget in the units of the frame cost, each of which stands for 8 bytes of frame; `None`: unbounded.
    pub stack_limit: Option<u32>,
    /// Whether NaN results get their one canonical form.
    pub canonical_nan: bool,
    /// Where gas is charged; `None`: nowhere.
    pub gas: Option<Charging>,
}

/// Adds what `plan` says, the hidden exports, and nothing else; a memory64 module stays one.
///
/// Hidden exports are [`EXPORT_MEMORY`](super::EXPORT_MEMORY), [`EXPORT_START`](super::EXPORT_START) for the function
/// of a start section (which is removed, so that the host runs it under its own guards), one of
/// [`EXPORT_GLOBAL_PREFIX`](super::EXPORT_GLOBAL_PREFIX) per mutable global, one of
/// [`EXPORT_TABLE_PREFIX`](super::EXPORT_TABLE_PREFIX) per table, one of
/// [`EXPORT_FUNCTION_PREFIX`](super::EXPORT_FUNCTION_PREFIX) per function if the module can change a table,
/// [`EXPORT_DEPTH`](super::EXPORT_DEPTH) if there is a stack limit, and [`EXPORT_GAS`](super::EXPORT_GAS).
///
/// # Errors
/// If the module is malformed, uses a feature outside of the admitted set, begins with more than
/// [`MEMORY_PAGES_MAX`](super::MEMORY_PAGES_MAX) pages, exports a reserved name, or the limit exceeds `i32::MAX`.
pub fn instrument(wasm: &[u8], plan: &Plan) -> Result<Vec<u8>, RewriteError> {
    let mut pass = Instrumenting::default();
    let mut module = Module::read(wasm, &mut pass)?;
    export_state(&mut module);
    let depth = match plan.stack_limit {
        Some(limit) => {
            let limit = i32::try_from(limit).map_err(|_| RewriteError::StackLimit { limit })?;
            Some(add_counter(&mut module, super::EXPORT_DEPTH, ValType::I32, &ConstExpr::i32_const(limit)))
        }
        None => None,
    };
    let counter = add_counter(&mut module, super::EXPORT_GAS, ValType::I64, &ConstExpr::i64_const(i64::MAX));
    let gas = plan.gas.map(|charging| (charging, counter));
    let mut block_types = BlockTypes::default();
    let mut tables_change = false;
    let bodies = module.function_bodies();
    let asyncify = match pass.unwinds.and_then(|index| index.checked_sub(module.shape.imported_functions)) {
        Some(index) => bodies.get(index as usize).map_or(Ok(None), |(body, _)| state_of(body))?,
        None => None,
    };
    for (body, type_index) in bodies {
        tables_change |= changes_tables(&body)?;
        let job = Job { plan, depth, gas, asyncify, shape: &module.shape, type_index };
        let function = job.body(&mut pass, &mut block_types, &body)?;
        module.code.function(&function);
    }
    if tables_change {
        export_functions(&mut module);
    }
    for results in block_types.added {
        module.types.ty().function([], results);
    }
    Ok(module.finish())
}

/// Whether an instruction of the body can change a table; such a module's functions get names for the host to save by.
pub(super) fn changes_tables(body: &FunctionBody<'_>) -> Result<bool, RewriteError> {
    let mut ops = body.get_operators_reader()?;
    while !ops.eof() {
        if let Operator::TableSet { .. }
        | Operator::TableFill { .. }
        | Operator::TableCopy { .. }
        | Operator::TableInit { .. } = ops.read()?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn export_functions(module: &mut Module<'_>) {
    for index in 0..module.shape.functions.len() as u32 {
        module.exports.export(&format!("{}{index}", super::EXPORT_FUNCTION_PREFIX), ExportKind::Func, index);
    }
}

pub(super) fn export_state(module: &mut Module<'_>) {
    if !module.shape.memories.is_empty() {
        module.exports.export(super::EXPORT_MEMORY, ExportKind::Memory, 0);
    }
    for (index, global) in (0_u32..).zip(&module.shape.globals) {
        if global.mutable {
            let name = format!("{}{index}", super::EXPORT_GLOBAL_PREFIX);
            module.exports.export(&name, ExportKind::Global, index);
        }
    }
    for index in 0..module.shape.tables {
        module.exports.export(&format!("{}{index}", super::EXPORT_TABLE_PREFIX), ExportKind::Table, index);
    }
    if let Some(function) = module.start.take() {
        module.exports.export(super::EXPORT_START, ExportKind::Func, function);
    }
}

/// Appends a global that the host alone knows, and gives its index.
fn add_counter(module: &mut Module<'_>, export: &str, val_type: ValType, initial: &ConstExpr) -> u32 {
    let index = module.shape.globals.len() as u32 + module.counters;
    module.counters += 1;
    module.globals.global(GlobalType { val_type, mutable: true, shared: false }, initial);
    module.exports.export(export, ExportKind::Global, index);
    index
}

#[derive(Default)]
pub(super) struct Instrumenting {
    /// The function by which asyncify is told to unwind.
    unwinds: Option<u32>,
}

impl Reencode for Instrumenting {
    type Error = RewriteError;

    fn memory_type(&mut self, ty: wasmparser::MemoryType) -> Result<wasm_encoder::MemoryType, Error<RewriteError>> {
        let bounded = bounded_memory(ty).map_err(Error::UserError)?;
        Ok(utils::memory_type(self, bounded))
    }

    fn parse_export(
        &mut self,
        exports: &mut wasm_encoder::ExportSection,
        export: wasmparser::Export<'_>,
    ) -> Result<(), Error<RewriteError>> {
        if export.name.starts_with(RESERVED_PREFIX) {
            return Err(Error::UserError(RewriteError::ReservedExport { name: export.name.to_owned() }));
        }
        if export.name == SWITCHES[0] && export.kind == wasmparser::ExternalKind::Func {
            self.unwinds = Some(export.index);
        }
        utils::parse_export(self, exports, export)
    }
}

/// Types `[] -> results` with several results, appended to the type section for the blocks around charged bodies.
#[derive(Default)]
struct BlockTypes {
    added: Vec<Vec<ValType>>,
}

impl BlockTypes {
    fn of(&mut self, pass: &mut Instrumenting, shape: &Shape, type_index: u32) -> Result<BlockType, RewriteError> {
        let results = shape.function_type(type_index).map_or(&[][..], |ty| ty.results());
        let results = results.iter().map(|ty| pass.val_type(*ty)).collect::<Result<Vec<_>, _>>()?;
        Ok(match results[..] {
            [] => BlockType::Empty,
            [one] => BlockType::Result(one),
            _ => {
                let known = self.added.iter().position(|it| *it == results);
                let index = known.unwrap_or(self.added.len());
                if known.is_none() {
                    self.added.push(results);
                }
                BlockType::FunctionType((shape.types.len() + index) as u32)
            }
        })
    }
}

/// One function body to instrument.
struct Job<'j> {
    plan: &'j Plan,
    depth: Option<u32>,
    gas: Option<(Charging, u32)>,
    /// The global that holds asyncify's state.
    asyncify: Option<u32>,
    shape: &'j Shape,
    type_index: u32,
}

impl Job<'_> {
    fn body(
        &self,
        pass: &mut Instrumenting,
        block_types: &mut BlockTypes,
        body: &FunctionBody<'_>,
    ) -> Result<Function, RewriteError> {
        let ops = operators(body)?;
        let frame = match self.depth {
            Some(counter) => depth::charge(self.shape, body, &ops, self.type_index)?.map(|cost| (counter, cost)),
            None => None,
        };
        let calls = Calls { imported: self.shape.imported_functions, metering: self.shape.metering_import };
        let mut charger = match self.gas {
            Some((charging, counter)) => {
                let params = self.shape.params(self.type_index);
                let quiet = self.asyncify.map(|state| fold(&ops, state, params, &mut |_| Ok(()))).transpose()?;
                Some(Charger::new(counter, flow::marks(&ops, &quiet.unwrap_or_default(), &calls, charging)))
            }
            None => None,
        };
        let floats = if self.plan.canonical_nan { nan::visible_results(&ops) } else { vec![None; ops.len()] };
        let mut out = Body::new(pass, body, self.shape.params(self.type_index))?;
        if let Some(charger) = &mut charger {
            charger.before(&mut out, 0);
        }
        if let Some((counter, cost)) = frame {
            let results = block_types.of(pass, self.shape, self.type_index)?;
            depth::enter(&mut out, counter, cost, results);
        }
        let mut open_blocks = 0_u32;
        for (at, ((op, _), float)) in (0..).zip(ops.into_iter().zip(floats)) {
            match op {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => open_blocks += 1,
                Operator::End => open_blocks = open_blocks.wrapping_sub(1),
                _ => {}
            }
            if let Some(charger) = &mut charger {
                charger.before(&mut out, at);
                charger.operand(&mut out, self.shape, &op);
            }
            match op {
                // The label of the body is now that of the block around it, which ends where the charge is given back.
                Operator::Return if frame.is_some() => {
                    out.out().br(open_blocks);
                }
                _ => {
                    out.push(&pass.instruction(op.clone())?);
                }
            }
            if let Some(charger) = &mut charger {
                charger.behind(&mut out, self.shape, &op, &calls);
            }
            if let Some(float) = float {
                nan::canonicalise(&mut out, float);
            }
        }
        if let Some((counter, _)) = frame {
            depth::leave(&mut out, counter);
        }
        Ok(out.finish())
    }
}

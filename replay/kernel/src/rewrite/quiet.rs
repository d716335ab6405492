//! Quiet twins: a second copy of each function of an asyncified module, for the steps in which nothing unwinds.
//!
//! Asyncify asks a global at every call whether the stack is being unwound or rewound, and hardly any step ever does
//! either. A twin is its function with that global read as 0 and what follows from it folded away: it does the same
//! as long as the global is 0. Twins call twins, through a table of twins where they call indirectly.
//!
//! Not here: who runs which copy (`engine`), and the step that must unwind after all (`machine`).
//! Invariant: the module's own functions, table and exports stay as they are; no twin writes the global.

use wasm_encoder as enc;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasmparser::{ElementItems, ElementKind, ExternalKind, FunctionBody, Operator, TableInit};

use super::fold::fold;
use super::module::{Body, Module};
use super::walk::operators;
use super::{EXPORT_FUNCTION_PREFIX, EXPORT_QUIET_PREFIX, EXPORT_QUIET_STATE, EXPORT_QUIET_TABLE, RewriteError};

/// The functions that asyncify adds to write its state, the one that begins to unwind first.
pub(super) const SWITCHES: [&str; 4] =
    ["asyncify_start_unwind", "asyncify_stop_unwind", "asyncify_start_rewind", "asyncify_stop_rewind"];

/// Adds the twins to a module that [`instrument`](super::instrument) gave; `None` if it is not asyncified, or not in
/// the one way that is known to stay quiet: its state an `i32` global that begins at 0 and is written by the four
/// exported switches alone, which nothing in the module calls; one table, that no instruction changes.
///
/// Twins are exported under [`EXPORT_QUIET_PREFIX`] and the function's own exported name.
///
/// # Errors
/// If the module is malformed.
pub fn quieten(wasm: &[u8]) -> Result<Option<Vec<u8>>, RewriteError> {
    let mut survey = Survey::default();
    let mut module = Module::read(wasm, &mut survey)?;
    let bodies = module.function_bodies();
    let Some(state) = survey.state(&module, &bodies)? else { return Ok(None) };
    let imported = module.shape.imported_functions;
    let mut twin = Twin { imported, defined: bodies.len() as u32 };
    for (body, _) in &bodies {
        module.code.raw(body.as_bytes());
    }
    for (index, (body, type_index)) in (imported..).zip(&bodies) {
        module.functions.function(*type_index);
        let mut out = Body::new(&mut twin, body, module.shape.params(*type_index))?;
        if survey.switches.contains(&index) {
            out.out().unreachable().end();
        } else {
            _ = fold(&operators(body)?, state, module.shape.params(*type_index), &mut |op| {
                out.push(&twin.instruction(op)?);
                Ok(())
            })?;
        }
        module.code.function(&out.finish());
    }
    for (offset, functions) in &survey.segments {
        let functions: Vec<u32> = functions.iter().map(|index| twin.of(*index)).collect();
        module.elements.active(Some(1), offset, enc::Elements::Functions((&functions).into()));
    }
    if let Some(table) = survey.tables.first() {
        module.tables.table(*table);
        module.exports.export(EXPORT_QUIET_TABLE, enc::ExportKind::Table, 1);
    }
    for (name, index) in &survey.functions {
        if !survey.switches.contains(index) {
            module.exports.export(&format!("{EXPORT_QUIET_PREFIX}{name}"), enc::ExportKind::Func, twin.of(*index));
        }
    }
    module.exports.export(EXPORT_QUIET_STATE, enc::ExportKind::Global, state);
    Ok(Some(module.finish()))
}

/// What the module must be for twins to be made, looked for while it is read.
#[derive(Default)]
struct Survey {
    /// Exported functions, the module's own.
    functions: Vec<(String, u32)>,
    /// The exported functions that write the state.
    switches: Vec<u32>,
    tables: Vec<enc::TableType>,
    /// Active segments of functions for table 0: their offset and their functions.
    segments: Vec<(enc::ConstExpr, Vec<u32>)>,
    /// Something that no twin could follow.
    unfit: bool,
    /// Defined `i32` globals that begin at 0, among all globals.
    zeros: Vec<u32>,
    globals: u32,
}

impl Reencode for Survey {
    type Error = RewriteError;

    fn parse_export(
        &mut self,
        exports: &mut enc::ExportSection,
        export: wasmparser::Export<'_>,
    ) -> Result<(), Error<RewriteError>> {
        if export.kind == ExternalKind::Func {
            self.unfit |= export.name.starts_with(EXPORT_FUNCTION_PREFIX);
            self.functions.push((export.name.to_owned(), export.index));
            if SWITCHES.contains(&export.name) {
                self.switches.push(export.index);
            }
        }
        utils::parse_export(self, exports, export)
    }

    fn parse_table(
        &mut self,
        tables: &mut enc::TableSection,
        table: wasmparser::Table<'_>,
    ) -> Result<(), Error<RewriteError>> {
        self.unfit |= !matches!(table.init, TableInit::RefNull);
        let ty = self.table_type(table.ty)?;
        self.tables.push(ty);
        utils::parse_table(self, tables, table)
    }

    fn parse_global(
        &mut self,
        globals: &mut enc::GlobalSection,
        global: wasmparser::Global<'_>,
    ) -> Result<(), Error<RewriteError>> {
        let ops = global.init_expr.get_operators_reader().into_iter().collect::<Result<Vec<_>, _>>()?;
        if let [Operator::I32Const { value: 0 }, Operator::End] = ops[..] {
            self.zeros.push(self.globals);
        }
        self.globals += 1;
        utils::parse_global(self, globals, global)
    }

    fn parse_element(
        &mut self,
        elements: &mut enc::ElementSection,
        element: wasmparser::Element<'_>,
    ) -> Result<(), Error<RewriteError>> {
        match (&element.kind, &element.items) {
            (ElementKind::Active { table_index: None | Some(0), offset_expr }, ElementItems::Functions(items)) => {
                let functions = items.clone().into_iter().collect::<Result<Vec<_>, _>>()?;
                let offset = self.const_expr(offset_expr.clone())?;
                self.segments.push((offset, functions));
            }
            _ => self.unfit = true,
        }
        utils::parse_element(self, elements, element)
    }
}

impl Survey {
    /// The global that holds asyncify's state, if the module is one that twins can be made of.
    fn state(&self, module: &Module<'_>, bodies: &[(FunctionBody<'_>, u32)]) -> Result<Option<u32>, RewriteError> {
        let shape = &module.shape;
        let imports_globals = shape.globals.len() != self.globals as usize;
        let switch = self.switches.first().and_then(|index| index.checked_sub(shape.imported_functions));
        let Some((body, _)) = switch.and_then(|index| bodies.get(index as usize)) else { return Ok(None) };
        if self.unfit || imports_globals || self.switches.len() != SWITCHES.len() || shape.tables > 1 {
            return Ok(None);
        }
        let Some(state) = state_of(body)?.filter(|state| self.zeros.contains(state)) else { return Ok(None) };
        let reachable = |index: &u32| self.segments.iter().any(|(_, functions)| functions.contains(index));
        if self.switches.iter().any(reachable) {
            return Ok(None);
        }
        for (index, (body, _)) in (shape.imported_functions..).zip(bodies) {
            let is_switch = self.switches.contains(&index);
            for (op, _) in operators(body)? {
                let loud = match op {
                    Operator::GlobalSet { global_index } => global_index == state && !is_switch,
                    Operator::Call { function_index } => self.switches.contains(&function_index),
                    Operator::RefFunc { .. } => true,
                    _ => false,
                };
                if loud {
                    return Ok(None);
                }
            }
        }
        Ok(Some(state))
    }
}

/// The global that a switch, of this body, writes asyncify's state to.
pub(super) fn state_of(body: &FunctionBody<'_>) -> Result<Option<u32>, RewriteError> {
    Ok(operators(body)?.windows(2).find_map(|pair| match pair {
        [(Operator::I32Const { value: 1 | 2 }, _), (Operator::GlobalSet { global_index }, _)] => Some(*global_index),
        _ => None,
    }))
}

/// Turns what a function names into what its twin names.
struct Twin {
    imported: u32,
    defined: u32,
}

impl Twin {
    fn of(&self, function: u32) -> u32 {
        if function < self.imported { function } else { function.saturating_add(self.defined) }
    }
}

impl Reencode for Twin {
    type Error = RewriteError;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<RewriteError>> {
        Ok(self.of(function))
    }

    fn table_index(&mut self, table: u32) -> Result<u32, Error<RewriteError>> {
        Ok(table.saturating_add(1))
    }
}

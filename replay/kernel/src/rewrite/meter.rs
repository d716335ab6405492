//! Gas metering as the metering module formats have it: `GasUsed` is on the wire, so it is the reference's to the unit.
//!
//! A body is cut into segments, each ending with an operator that may branch (or grow memory). Before each segment
//! that costs anything stands a call of the imported metering function with the static cost of the segment and of that
//! call itself. Types, locals, data and imports cost nothing.
//!
//! Not here: the counter, its limit and `out of gas!`, which the host keeps; the costs (`meter_cost`).
//! Invariant: on every path the metering function is called with the same amounts in the same order as in a module
//! metered by `@permaweb/wasm-metering` 0.2.2.

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{EntityType, Function, Instruction, ValType};
use wasmparser::{BlockType, FunctionBody, Operator};

use super::RewriteError;
use super::access::access;
use super::meter_cost::{STATEMENT_COST, cost, ends_segment};
use super::module::Module;

/// Greatest offset that the reference's reader takes.
const JS_INTEGER_MAX: u64 = (1 << 53) - 1;

/// Module name of the metering import.
pub const METERING_MODULE: &str = "metering";
/// Field name of the metering import.
pub const METERING_FIELD: &str = "usegas";

/// Type of the argument of the metering function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeterType {
    /// Format `wasm32-unknown-emscripten-metering`.
    I32,
    /// Format `wasm64-unknown-emscripten-draft_2024_10_16-metering`.
    I64,
}

/// Adds the reference's metering to a module as published.
///
/// The metering function becomes the last function import, so that the index of every function defined in the module
/// goes up by one. Its type is appended to the type section.
///
/// # Errors
/// If the module is malformed, or if the reference could not have loaded it: its reader knows WebAssembly 1.0 and sign
/// extension, no bulk operators, vectors, reference types, passive segments or several results.
///
/// # Source
/// `meterJSON` and `meterCodeEntry` in `index.js` of `@permaweb/wasm-metering` 0.2.2.
pub fn meter_reference(wasm: &[u8], ty: MeterType) -> Result<Vec<u8>, RewriteError> {
    let mut pass = Metering { import: function_imports(wasm)?, offset: 0 };
    let mut module = Module::read(wasm, &mut pass)?;
    if !module.shape.tags.is_empty() {
        return Err(RewriteError::Unsupported { what: "tag section in a metered module", offset: 0 });
    }
    if module.shape.metering_import.is_some() {
        return Err(RewriteError::AlreadyMetered);
    }
    let argument = match ty {
        MeterType::I32 => ValType::I32,
        MeterType::I64 => ValType::I64,
    };
    let type_index = module.shape.types.len() as u32;
    module.types.ty().function([argument], []);
    module.imports.import(METERING_MODULE, METERING_FIELD, EntityType::Function(type_index));
    for (function, (body, _)) in (pass.import..).zip(module.function_bodies()) {
        let metered = meter_body(&mut pass, ty, &body, function)?;
        module.code.function(&metered);
    }
    Ok(module.finish())
}

fn function_imports(wasm: &[u8]) -> Result<u32, RewriteError> {
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        if let wasmparser::Payload::ImportSection(section) = payload? {
            let mut count = 0;
            for import in section.into_imports() {
                count += u32::from(matches!(import?.ty, wasmparser::TypeRef::Func(_)));
            }
            return Ok(count);
        }
    }
    Ok(0)
}

struct Metering {
    /// Index that the metering function will have.
    import: u32,
    /// Where in the module this is, for errors.
    offset: u64,
}

impl Metering {
    fn unsupported<T>(&self, what: &'static str) -> Result<T, Error<RewriteError>> {
        Err(Error::UserError(RewriteError::Unsupported { what, offset: self.offset }))
    }
}

impl Reencode for Metering {
    type Error = RewriteError;

    fn function_index(&mut self, func: u32) -> Result<u32, Error<RewriteError>> {
        Ok(if func >= self.import { func.saturating_add(1) } else { func })
    }

    fn parse_imports(
        &mut self,
        section: &mut wasm_encoder::ImportSection,
        imports: wasmparser::Imports<'_>,
    ) -> Result<(), Error<RewriteError>> {
        match &imports {
            // It takes the length of a name in UTF-16 units for that in bytes.
            wasmparser::Imports::Single(_, it) if it.module.is_ascii() && it.name.is_ascii() => {
                utils::parse_imports(self, section, imports)
            }
            _ => self.unsupported("import name in a metered module"),
        }
    }

    fn val_type(&mut self, ty: wasmparser::ValType) -> Result<ValType, Error<RewriteError>> {
        match ty {
            wasmparser::ValType::V128 | wasmparser::ValType::Ref(_) => self.unsupported("type in a metered module"),
            _ => utils::val_type(self, ty),
        }
    }

    fn func_type(&mut self, ty: wasmparser::FuncType) -> Result<wasm_encoder::FuncType, Error<RewriteError>> {
        if ty.results().len() > 1 {
            return self.unsupported("several results in a metered module");
        }
        utils::func_type(self, ty)
    }

    fn table_type(&mut self, ty: wasmparser::TableType) -> Result<wasm_encoder::TableType, Error<RewriteError>> {
        if ty.element_type != wasmparser::RefType::FUNCREF {
            return self.unsupported("type of table in a metered module");
        }
        utils::table_type(self, ty)
    }

    fn parse_data(
        &mut self,
        data: &mut wasm_encoder::DataSection,
        datum: wasmparser::Data<'_>,
    ) -> Result<(), Error<RewriteError>> {
        self.offset = datum.range.start;
        match datum.kind {
            wasmparser::DataKind::Passive => self.unsupported("passive data segment in a metered module"),
            wasmparser::DataKind::Active { .. } => utils::parse_data(self, data, datum),
        }
    }

    fn parse_element(
        &mut self,
        elements: &mut wasm_encoder::ElementSection,
        element: wasmparser::Element<'_>,
    ) -> Result<(), Error<RewriteError>> {
        self.offset = element.range.start;
        match (&element.kind, &element.items) {
            (wasmparser::ElementKind::Active { table_index: None, .. }, wasmparser::ElementItems::Functions(_)) => {
                utils::parse_element(self, elements, element)
            }
            _ => self.unsupported("kind of element segment in a metered module"),
        }
    }

    fn const_expr(&mut self, expr: wasmparser::ConstExpr<'_>) -> Result<wasm_encoder::ConstExpr, Error<RewriteError>> {
        let ops = expr.get_operators_reader().into_iter().collect::<Result<Vec<_>, _>>()?;
        if !matches!(ops[..], [ref op, Operator::End] if cost(op).is_some()) {
            return self.unsupported("constant expression in a metered module");
        }
        utils::const_expr(self, expr)
    }

    fn custom_section<'a>(
        &mut self,
        section: wasmparser::CustomSectionReader<'a>,
    ) -> Result<wasm_encoder::CustomSection<'a>, Error<RewriteError>> {
        let wasmparser::KnownCustom::Name(names) = section.as_known() else { return Ok(section.into()) };
        // The reference leaves the names one off; no result depends on them, but a reader of backtraces does.
        let mut shifted = wasm_encoder::NameSection::new();
        for subsection in names.into_iter().map_while(Result::ok) {
            if self.parse_custom_name_subsection(&mut shifted, subsection).is_err() {
                break;
            }
        }
        let data = shifted.as_custom().data.into_owned().into();
        Ok(wasm_encoder::CustomSection { name: "name".into(), data })
    }
}

fn meter_body(
    pass: &mut Metering,
    ty: MeterType,
    body: &FunctionBody<'_>,
    function: u32,
) -> Result<Function, RewriteError> {
    let mut metered = pass.new_function_with_parsed_locals(body)?;
    let mut segment: Vec<Operator<'_>> = Vec::new();
    let mut sum = 0_u64;
    let mut reader = body.get_operators_reader()?;
    while !reader.eof() {
        let (op, offset) = reader.read_with_offset()?;
        pass.offset = offset;
        let known = cost(&op).filter(|_| has_known_immediates(&op));
        sum += known.ok_or(RewriteError::Unsupported { what: "operator in a metered module", offset })?;
        let ends = ends_segment(&op);
        segment.push(op);
        if !ends {
            continue;
        }
        if sum > 0 {
            let charge = sum + STATEMENT_COST;
            metered.instruction(&match ty {
                MeterType::I32 => {
                    let overflow = RewriteError::MeterOverflow { function, cost: charge };
                    Instruction::I32Const(i32::try_from(charge).map_err(|_| overflow)?)
                }
                MeterType::I64 => Instruction::I64Const(charge as i64),
            });
            metered.instruction(&Instruction::Call(pass.import));
            sum = 0;
        }
        for op in segment.drain(..) {
            metered.instruction(&pass.instruction(op)?);
        }
    }
    Ok(metered)
}

/// Whether the reference's reader gets past the immediates of an operator that it knows.
fn has_known_immediates(op: &Operator<'_>) -> bool {
    match op {
        // It reads one byte as the type and writes what is no value type back as zero, which is right for index 0.
        Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => {
            !matches!(blockty, BlockType::FuncType(1..))
        }
        _ => access(op).is_none_or(|it| it.memarg.offset <= JS_INTEGER_MAX),
    }
}

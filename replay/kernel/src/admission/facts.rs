//! What the host needs to know of an admitted module.
//!
//! Not here: how any of it is used.
//! Invariant: describes the module as published, before any pass.

use wasmparser::{BlockType, ExternalKind, FuncType, FunctionBody, HeapType, Operator, RefType, ValType};

use super::limits::Work;
use super::{AdmissionError, AdmissionLimits, Item, refuse_exception_references};

/// Facts about an admitted module, in its own index spaces.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Function types.
    pub types: Vec<FuncType>,
    /// Imports, all of them functions.
    pub imports: Vec<ImportFact>,
    /// The memory, if there is one.
    pub memory: Option<MemoryFact>,
    /// Tables.
    pub tables: Vec<TableFact>,
    /// Globals.
    pub globals: Vec<GlobalFact>,
    /// Exports.
    pub exports: Vec<ExportFact>,
    /// Number of functions that the module defines.
    pub functions: u32,
    /// Whether code may change a table after instantiation: if not, tables are no part of the state.
    pub mutates_tables: bool,
    /// Whether it has tags or instructions of legacy exceptions.
    pub throws: bool,
    /// Whether there is a start function.
    pub has_start: bool,
    /// Names of the custom sections.
    pub custom_sections: Vec<String>,
    pub(super) imported_functions: u32,
    pub(super) bodies: u32,
    /// Type indexes of all functions, imported ones first.
    pub(super) function_types: Vec<u32>,
    /// Of all bodies so far.
    pub(super) work: Work,
    pub(super) table_entries: u64,
    pub(super) elements: u64,
}

/// An imported function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportFact {
    /// Module name.
    pub module: String,
    /// Field name.
    pub name: String,
    /// Signature.
    pub ty: FuncType,
}

/// The memory as declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryFact {
    /// Whether addresses are 64-bit.
    pub is64: bool,
    /// Initial pages of 64 KiB.
    pub initial_pages: u64,
    /// Declared maximum in pages; the passes cut it to [`MEMORY_PAGES_MAX`](crate::rewrite::MEMORY_PAGES_MAX).
    pub max_pages: Option<u64>,
}

/// A table as declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableFact {
    /// Type of its entries.
    pub element: RefType,
    /// Initial entries.
    pub initial: u64,
    /// Declared maximum.
    pub max: Option<u64>,
}

/// A global.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalFact {
    /// Type of its value.
    pub ty: ValType,
    /// Whether code may set it: then it is part of the state.
    pub mutable: bool,
}

/// An export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportFact {
    /// Its name.
    pub name: String,
    /// What is exported.
    pub kind: ExternalKind,
    /// Its index among those of its kind.
    pub index: u32,
}

/// Looks through a validated body for what the facts and limits ask.
pub(super) fn look_into(
    facts: &mut Facts,
    limits: &AdmissionLimits,
    wasm: &[u8],
    index: u32,
    body: &FunctionBody<'_>,
) -> Result<(), AdmissionError> {
    let check = |what, found: u64, max: u64| {
        let item = || Item::function(index, wasm);
        if found > max { Err(AdmissionError::FunctionTooLarge { item: item(), what, found, max }) } else { Ok(()) }
    };
    let invalid = |source: wasmparser::BinaryReaderError| AdmissionError::Invalid {
        section: "code",
        item: Item::function(index, wasm),
        offset: source.offset(),
        source,
    };
    let irreversible = |instruction| AdmissionError::Irreversible { item: Item::function(index, wasm), instruction };
    check("bytes", body.as_bytes().len() as u64, limits.function_bytes_max)?;
    let mut locals = 0;
    for group in body.get_locals_reader().map_err(invalid)? {
        let (count, ty) = group.map_err(invalid)?;
        locals += u64::from(count);
        refuse_exception_references(is_exception(ty), "code", Item::function(index, wasm))?;
    }
    check("locals", locals, limits.function_locals_max)?;
    let mut nesting = 0_u64;
    let mut ops = body.get_operators_reader().map_err(invalid)?;
    while !ops.eof() {
        let op = ops.read().map_err(invalid)?;
        facts.throws |= matches!(op, Operator::Try { .. } | Operator::Throw { .. });
        match op {
            ref op if takes_exception_references(op) => {
                refuse_exception_references(true, "code", Item::function(index, wasm))?;
            }
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } | Operator::Try { .. } => {
                nesting += 1;
                check("nested blocks", nesting, limits.function_nesting_max)?;
            }
            Operator::End | Operator::Delegate { .. } => nesting = nesting.saturating_sub(1),
            Operator::TableGrow { .. } => return Err(irreversible("table.grow")),
            Operator::ElemDrop { .. } => return Err(irreversible("elem.drop")),
            Operator::DataDrop { .. } => return Err(irreversible("data.drop")),
            Operator::TableSet { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. } => facts.mutates_tables = true,
            _ => {}
        }
    }
    Ok(())
}

/// Whether the type is one of references to exceptions.
pub(super) fn is_exception(ty: ValType) -> bool {
    use wasmparser::AbstractHeapType::{Exn, NoExn};
    matches!(ty, ValType::Ref(ty) if matches!(ty.heap_type(), HeapType::Abstract { ty: Exn | NoExn, .. }))
}

fn takes_exception_references(op: &Operator<'_>) -> bool {
    match op {
        Operator::TryTable { .. } | Operator::ThrowRef => true,
        Operator::RefNull { hty } => RefType::new(true, *hty).is_some_and(|ty| is_exception(ValType::Ref(ty))),
        Operator::TypedSelect { ty } => is_exception(*ty),
        Operator::Block { blockty: BlockType::Type(ty) }
        | Operator::Loop { blockty: BlockType::Type(ty) }
        | Operator::If { blockty: BlockType::Type(ty) }
        | Operator::Try { blockty: BlockType::Type(ty) } => is_exception(*ty),
        _ => false,
    }
}

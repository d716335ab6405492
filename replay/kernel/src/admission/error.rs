//! Why a module is refused: which section, which item, where.
//!
//! Not here: errors of the passes, which an admitted module does not meet.
//! Invariant: every message names the section.

use std::fmt;

use thiserror::Error;
use wasmparser::{BinaryReaderError, FuncType, KnownCustom, Name, Parser, Payload};

/// Why a module is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdmissionError {
    /// Malformed, invalid, or outside of the feature set.
    #[error("{section} section, {item}: {}, at offset {offset:#x}", source.message())]
    Invalid {
        /// The section.
        section: &'static str,
        /// What in it.
        item: Item,
        /// Offset in the module.
        offset: u64,
        /// What the validator says.
        source: BinaryReaderError,
    },
    /// More of something than the limits allow.
    #[error("{section} section: {found} {what}, limit {max}")]
    TooMany {
        /// The section.
        section: &'static str,
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many may be.
        max: u64,
    },
    /// More of something in one function than the limits allow.
    #[error("code section, {item}: {found} {what}, limit {max}")]
    FunctionTooLarge {
        /// The function.
        item: Item,
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many may be.
        max: u64,
    },
    /// An import that the host does not have, or not with this signature.
    #[error("import section: unknown import `{module}.{name}` of type {ty}")]
    UnknownImport {
        /// Module name.
        module: String,
        /// Field name.
        name: String,
        /// The signature asked for.
        ty: FuncType,
    },
    /// An import of something other than a function.
    #[error("import section: `{module}.{name}` is not a function")]
    ImportKind {
        /// Module name.
        module: String,
        /// Field name.
        name: String,
    },
    /// One name imported with two signatures.
    #[error("import section: `{module}.{name}` is imported with two types")]
    ImportTwice {
        /// Module name.
        module: String,
        /// Field name.
        name: String,
    },
    /// An instruction whose effect cannot be undone when its step fails.
    #[error("code section, {item}: `{instruction}` cannot be rolled back")]
    Irreversible {
        /// The function.
        item: Item,
        /// The instruction.
        instruction: &'static str,
    },
    /// A mutable global that is no number: its value can be neither saved nor hashed.
    #[error("global section: mutable global {global} has type {ty}")]
    GlobalType {
        /// Index of the global.
        global: u32,
        /// Its type.
        ty: wasmparser::ValType,
    },
    /// Exceptions of the later form, as references.
    #[error("{section} section, {item}: exception references are not supported, legacy exceptions are")]
    ExceptionReference {
        /// The section.
        section: &'static str,
        /// What in it.
        item: Item,
    },
    /// A tag whose exceptions carry something other than numbers.
    #[error("tag section: tag {tag} carries a value of type {ty}")]
    TagPayload {
        /// Index of the tag.
        tag: u32,
        /// The type.
        ty: wasmparser::ValType,
    },
    /// A table with 64-bit indexes.
    #[error("table section: table {table} has 64-bit indexes")]
    Table64 {
        /// Index of the table.
        table: u32,
    },
    /// An export whose name belongs to the host.
    #[error("export section: `{name}` is a reserved name")]
    ReservedExport {
        /// The name.
        name: String,
    },
    /// A data segment whose place depends on a global.
    #[error("data section: the offset of segment {segment} is not a constant")]
    DataOffset {
        /// Index of the segment.
        segment: u32,
    },
}

/// What in a section is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The section itself.
    Section,
    /// A function, with its name if the name section tells.
    Function {
        /// Its index.
        index: u32,
        /// Its name.
        name: Option<String>,
    },
}

impl Item {
    pub(super) fn function(index: u32, wasm: &[u8]) -> Self {
        Self::Function { index, name: function_name(index, wasm) }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Section => f.write_str("as a whole"),
            Self::Function { index, name: Some(name) } => write!(f, "function {index} `{name}`"),
            Self::Function { index, name: None } => write!(f, "function {index}"),
        }
    }
}

/// The name of a function; errors in the name section count as no name.
fn function_name(function: u32, wasm: &[u8]) -> Option<String> {
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::CustomSection(section) = payload.ok()? else { continue };
        let KnownCustom::Name(names) = section.as_known() else { continue };
        for subsection in names {
            let Name::Function(map) = subsection.ok()? else { continue };
            return map.into_iter().flatten().find(|naming| naming.index == function).map(|it| it.name.to_owned());
        }
    }
    None
}

//! Bytecode passes: what a guest module becomes before an engine sees it.
//!
//! The order is fixed: [`meter_reference`] (metering formats only, on the module as published), [`translate_exceptions`]
//! (modules with legacy exceptions only), [`instrument`] (gas, canonical NaN, stack bound, hidden exports), then for the
//! compiler's sake [`quieten`] (faster twins of asyncified functions) and last [`lower`] (memory64 to memory32). The output
//! of [`instrument`] is what two engines must agree on; [`quieten`] and [`lower`] change no result, nor does
//! [`host_memory`], for an engine that takes its memory from the host. [`expose`] stands in for [`instrument`] where a
//! module is to run as published.
//!
//! Not here: which modules are let in (`admission`), any engine, any host call.
//! Invariant: each pass is a pure function of its arguments; the guest's own index spaces are only appended to,
//! except that [`meter_reference`] inserts one function import as the reference does.

mod access;
mod depth;
mod exceptions;
mod facts;
mod flow;
mod fold;
mod gas;
mod hosted;
mod instrument;
mod lower;
mod meter;
mod meter_cost;
mod module;
mod nan;
mod quiet;
mod walk;
mod weight;

pub use depth::{FRAME_COST, LEAF_COST_MAX};
pub use exceptions::translate_exceptions;
pub use flow::Charging;
pub use hosted::{HOSTED_MODULE, expose, host_memory};
pub use instrument::{Plan, instrument};
pub use lower::lower;
pub use meter::{METERING_FIELD, METERING_MODULE, MeterType, meter_reference};
pub use quiet::quieten;
pub use weight::{BULK_BYTE, HOST_BYTE, HOST_CALL, PAGE_COST, UNWIND, WEIGHTS};

use thiserror::Error;

/// Beginning of every export name that belongs to the host; a guest may not export one.
pub const RESERVED_PREFIX: &str = "aorta:";
/// Exported name of the stack counter: a mutable `i32` global that counts down to zero.
///
/// The host sets it to the stack limit before each call from outside, and back to its value at the `invoke_*` when a
/// longjmp unwound guest frames. After an overflow it holds [`DEPTH_EXCEEDED`].
pub const EXPORT_DEPTH: &str = "aorta:depth";
/// Value of the stack counter that tells a stack overflow from the guest's own `unreachable`.
pub const DEPTH_EXCEEDED: i32 = i32::MIN;
/// Exported name of the gas counter: a mutable `i64` global that counts down.
///
/// The host sets it to what a step may use. A guest that finds it below zero ends by `unreachable`; whatever ended, it was out
/// of gas if, and only if, the counter is below zero then. It is the last of the globals.
pub const EXPORT_GAS: &str = "aorta:gas";
/// Most that one branch may cost too much, so that cheap arms need no charge of their own.
///
/// # Units
/// Gas.
pub const GAS_SLACK: u64 = 2_000;
/// Exported name of memory 0, also if the guest exports it under a name of its own.
pub const EXPORT_MEMORY: &str = "aorta:m";
/// Exported name of what was the start function; the start section is removed.
pub const EXPORT_START: &str = "aorta:start";
/// Begins the exported name of each mutable global: the prefix and the global's index in decimal.
pub const EXPORT_GLOBAL_PREFIX: &str = "aorta:g";
/// Begins the exported name of each function, in modules that can change a table: the prefix and the function's index.
pub const EXPORT_FUNCTION_PREFIX: &str = "aorta:f";
/// Begins the exported name of each table: the prefix and the table's index in decimal.
pub const EXPORT_TABLE_PREFIX: &str = "aorta:t";
/// Begins the exported name of each quiet twin: the prefix and the name of the function it is the twin of.
pub const EXPORT_QUIET_PREFIX: &str = "aorta:q:";
/// Exported name of the table that twins call through, if the module has a table.
pub const EXPORT_QUIET_TABLE: &str = "aorta:q";
/// Exported name of the `i32` global that must be 0 while twins run.
pub const EXPORT_QUIET_STATE: &str = "aorta:unwinding";

/// Most pages a rewritten memory may have: the last 64 KiB below 4 GiB are never mapped.
///
/// This is what makes address 0xFFFF_FFFF out of bounds in every state of every memory, so that a lowered access to an
/// address of 2^32 or more can trap by reading there.
pub const MEMORY_PAGES_MAX: u64 = 65535;

/// Why a pass refused a module.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// The bytes are no WebAssembly module.
    #[error("malformed module: {0}")]
    Malformed(#[from] wasmparser::BinaryReaderError),
    /// An operand stack or index that no valid module has.
    #[error("invalid module: {what} at offset {offset:#x}")]
    Invalid {
        /// What is wrong.
        what: &'static str,
        /// Offset in the module.
        offset: u64,
    },
    /// A construct outside of the admitted feature set.
    #[error("unsupported: {what} at offset {offset:#x}")]
    Unsupported {
        /// The construct.
        what: &'static str,
        /// Offset in the module.
        offset: u64,
    },
    /// The guest exports a name that belongs to the host.
    #[error("export `{name}` begins with the reserved prefix `{RESERVED_PREFIX}`")]
    ReservedExport {
        /// The export's name.
        name: String,
    },
    /// The offset of an active data segment cannot be computed without instantiating the module.
    #[error("data segment {segment}: offset is not a constant")]
    DataOffset {
        /// Index of the segment.
        segment: u32,
    },
    /// A memory that begins larger than [`MEMORY_PAGES_MAX`].
    #[error("memory begins with {pages} pages, more than {MEMORY_PAGES_MAX}")]
    MemoryTooLarge {
        /// Declared initial pages of 64 KiB.
        pages: u64,
    },
    /// A stack limit that does not fit the counter.
    #[error("stack limit {limit} does not fit a signed 32-bit counter")]
    StackLimit {
        /// The limit asked for.
        limit: u32,
    },
    /// The module imports the metering function itself, which the reference refuses too.
    #[error("module already imports `{METERING_MODULE}.{METERING_FIELD}`")]
    AlreadyMetered,
    /// The cost of one segment does not fit the argument of the metering function.
    #[error("function {function}: a segment costs {cost}, more than the metering function takes")]
    MeterOverflow {
        /// Index of the function before metering.
        function: u32,
        /// Cost of the segment.
        cost: u64,
    },
}

impl From<wasm_encoder::reencode::Error<RewriteError>> for RewriteError {
    fn from(error: wasm_encoder::reencode::Error<RewriteError>) -> Self {
        use wasm_encoder::reencode::Error;
        let what = match error {
            Error::UserError(inner) => return inner,
            Error::ParseError(inner) => return Self::Malformed(inner),
            Error::InvalidConstExpr => "constant expression",
            Error::InvalidCodeSectionSize => "code section size",
            Error::CanonicalizedHeapTypeReference => "type reference",
            _ => "section",
        };
        Self::Invalid { what, offset: 0 }
    }
}

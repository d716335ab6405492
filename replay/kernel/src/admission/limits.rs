//! The limits of admission, each with its default.
//!
//! Not here: limits of a running guest (memory, stack, gas).
//! Invariant: a default is at least ten times what the largest module in public use needs.

use super::AdmissionError;

/// How large a module may be. The defaults admit every published ao module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Bytes of the module.
    pub module_bytes_max: u64,
    /// Entries of the type section.
    pub types_max: u64,
    /// Imports.
    pub imports_max: u64,
    /// Functions that the module defines.
    pub functions_max: u64,
    /// Bytes of one function body.
    pub function_bytes_max: u64,
    /// Locals of one function, parameters not counted.
    pub function_locals_max: u64,
    /// Blocks open at once in one function.
    pub function_nesting_max: u64,
    /// Tables.
    pub tables_max: u64,
    /// Initial entries of one table.
    pub table_entries_max: u64,
    /// Initial pages of 64 KiB of the memory. A larger *declared maximum* is not refused but cut.
    pub memory_pages_max: u64,
    /// Globals.
    pub globals_max: u64,
    /// Tags of exceptions.
    pub tags_max: u64,
    /// Exports.
    pub exports_max: u64,
    /// Element segments.
    pub element_segments_max: u64,
    /// Data segments.
    pub data_segments_max: u64,
    /// Bytes of all data segments together.
    pub data_bytes_max: u64,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            module_bytes_max: 64 << 20,
            types_max: 10_000,
            imports_max: 1_000,
            functions_max: 50_000,
            function_bytes_max: 4 << 20,
            function_locals_max: 20_000,
            function_nesting_max: 2_000,
            tables_max: 16,
            table_entries_max: 100_000,
            memory_pages_max: crate::rewrite::MEMORY_PAGES_MAX,
            globals_max: 10_000,
            tags_max: 1_000,
            exports_max: 10_000,
            element_segments_max: 10_000,
            data_segments_max: 100_000,
            data_bytes_max: 64 << 20,
        }
    }
}

/// Refuses more than `max` of something.
pub(super) fn check(section: &'static str, what: &'static str, found: u64, max: u64) -> Result<(), AdmissionError> {
    if found > max { Err(AdmissionError::TooMany { section, what, found, max }) } else { Ok(()) }
}

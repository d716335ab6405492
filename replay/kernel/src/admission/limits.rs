//! The limits of admission, each with its default.
//!
//! Not here: limits of a running guest (memory, stack, gas).
//! Invariant: a default is at least four times, mostly ten times, what the largest module in public use needs.

use super::{AdmissionError, Item};

/// What code costs to compile, of one function or of a whole module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Operators.
    pub operators: u64,
    /// Of each function the square of its blocks, times one more than its parameters and locals that are set: what the
    /// compiler takes to follow values through blocks.
    pub spans: u64,
    /// For each block, the locals set inside of it: each is a new value where the block joins what is around it.
    pub joins: u64,
    /// Values handed over by calls, branches and blocks.
    pub carried: u64,
    /// Targets of `br_table`.
    pub targets: u64,
}

impl Work {
    pub(super) fn add(&mut self, other: Self) {
        self.operators += other.operators;
        self.spans = self.spans.saturating_add(other.spans);
        self.joins += other.joins;
        self.carried += other.carried;
        self.targets += other.targets;
    }

    /// The first count that is more than `max` has: what it counts, how many there are, how many may be.
    fn excess(&self, max: &Self) -> Option<(&'static str, u64, u64)> {
        [
            ("operators", self.operators, max.operators),
            ("blocks squared times locals", self.spans, max.spans),
            ("locals joined after blocks", self.joins, max.joins),
            ("values carried by calls and branches", self.carried, max.carried),
            ("branch table targets", self.targets, max.targets),
        ]
        .into_iter()
        .find(|(_, found, max)| found > max)
    }
}

/// How large a module may be. The defaults admit every published ao module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Bytes of the module.
    pub module_bytes_max: u64,
    /// Entries of the type section.
    pub types_max: u64,
    /// Parameters and results of one type together.
    pub type_values_max: u64,
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
    /// Work of one function.
    pub function_work_max: Work,
    /// Work of all functions together.
    pub module_work_max: Work,
    /// Tables.
    pub tables_max: u64,
    /// Initial entries of all tables together.
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
    /// Entries of all element segments together.
    pub elements_max: u64,
    /// Data segments.
    pub data_segments_max: u64,
    /// Bytes of all data segments together.
    pub data_bytes_max: u64,
    /// Operators of one constant expression.
    pub constant_operators_max: u64,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            module_bytes_max: 64 << 20,
            types_max: 2_500,
            type_values_max: 128,
            imports_max: 1_000,
            functions_max: 50_000,
            function_bytes_max: 4 << 20,
            function_locals_max: 20_000,
            function_nesting_max: 2_000,
            function_work_max: Work {
                operators: 500_000,
                spans: 3_200_000_000,
                joins: 64_000,
                carried: 200_000,
                targets: 100_000,
            },
            module_work_max: Work {
                operators: 16_000_000,
                spans: 16_000_000_000,
                joins: 1_500_000,
                carried: 4_000_000,
                targets: 1_000_000,
            },
            tables_max: 16,
            table_entries_max: 100_000,
            memory_pages_max: crate::rewrite::MEMORY_PAGES_MAX,
            globals_max: 10_000,
            tags_max: 1_000,
            exports_max: 10_000,
            element_segments_max: 10_000,
            elements_max: 1_000_000,
            data_segments_max: 100_000,
            data_bytes_max: 64 << 20,
            constant_operators_max: 100,
        }
    }
}

/// Refuses more than `max` of something.
pub(super) fn check(section: &'static str, what: &'static str, found: u64, max: u64) -> Result<(), AdmissionError> {
    if found > max { Err(AdmissionError::TooMany { section, what, found, max }) } else { Ok(()) }
}

/// Adds the work of function `index` to that of the module, and refuses more than `limits` allow of either.
pub(super) fn check_work(
    limits: &AdmissionLimits,
    module: &mut Work,
    function: Work,
    item: impl FnOnce() -> Item,
) -> Result<(), AdmissionError> {
    if let Some((what, found, max)) = function.excess(&limits.function_work_max) {
        return Err(AdmissionError::FunctionTooLarge { item: item(), what, found, max });
    }
    module.add(function);
    match module.excess(&limits.module_work_max) {
        Some((what, found, max)) => Err(AdmissionError::TooMany { section: "code", what, found, max }),
        None => Ok(()),
    }
}

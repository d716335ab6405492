//! What operators cost.
//!
//! The weights are fitted to time: programs of any kind take about the same gas per nanosecond on one machine (within 2×
//! of the median; `benches/GAS.md` has the measurement), some 1,000 where they were fitted. The unit is chosen so that a
//! `Compute-Limit` meant for the reference's metering stays sensible. What no count of operators can see stays unseen:
//! a load that misses the caches costs what any load costs, a mispredicted branch what any branch costs.
//!
//! Not here: where costs are charged (`flow`), by what code (`gas`).
//! Invariant: a cost depends on the operator alone, or on that and on an operand that counts bytes, pages or entries.

use wasmparser::Operator;

use super::walk::proposal;

/// Name of the table; a changed weight is another table, another profile, and other receipts.
pub const WEIGHTS: &str = "aorta-2026-11";

/// Each turn of a loop: what makes a loop of nothing end.
pub(super) const LOOP: u64 = 60;
/// Each byte that `memory.copy`, `memory.fill` and `memory.init` are asked to write.
pub const BULK_BYTE: u64 = 15;
/// Each entry that `table.copy`, `table.fill` and `table.init` are asked to write.
pub(super) const TABLE_ENTRY: u64 = 300;
/// Each page that `memory.grow` adds.
pub const PAGE_COST: u64 = 4_000_000;
/// A call of the host.
pub const HOST_CALL: u64 = 100_000;
/// What `_emscripten_throw_longjmp` costs beyond its call: unwinding the native stack is dear.
pub const UNWIND: u64 = 2_000_000;
/// Each byte that a host call moves, and each byte of a message and its answer.
pub const HOST_BYTE: u64 = 150;

/// Whom a call reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A function of the module, or whatever a table holds.
    Guest,
    /// A host call.
    Host,
    /// What `meter_reference` added; it costs nothing. One of the module's own is charged by the host call.
    Metering,
}

/// What there is to know of a module's functions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calls {
    pub(super) imported: u32,
    pub(super) metering: Option<u32>,
}

impl Calls {
    pub(super) fn target(&self, op: &Operator<'_>) -> Option<Target> {
        match op {
            Operator::Call { function_index } if Some(*function_index) == self.metering => Some(Target::Metering),
            Operator::Call { function_index } if *function_index < self.imported => Some(Target::Host),
            Operator::Call { .. } | Operator::CallIndirect { .. } => Some(Target::Guest),
            _ => None,
        }
    }
}

/// Cost of one operator, without what its operands add.
pub(super) fn of(op: &Operator<'_>, calls: &Calls) -> u64 {
    use Operator::*;
    match op {
        Call { .. } => match calls.target(op) {
            Some(Target::Host) => HOST_CALL,
            Some(Target::Metering) => 0,
            _ => 600,
        },
        CallIndirect { .. } => 900,
        Block { .. } | Loop { .. } | End | Else | Return | Unreachable | Nop | Drop => 1,
        LocalGet { .. } | LocalSet { .. } | LocalTee { .. } => 10,
        I32Const { .. } | I64Const { .. } | F32Const { .. } | F64Const { .. } | V128Const { .. } => 10,
        Br { .. } => 30,
        If { .. } | BrIf { .. } => 120,
        BrTable { .. } => 700,
        I32DivS | I32DivU | I32RemS | I32RemU => 1_200,
        I64DivS | I64DivU | I64RemS | I64RemU => 1_500,
        F32Div | F64Div | F32x4Div | F64x2Div => 1_000,
        F32Sqrt | F64Sqrt | F32x4Sqrt | F64x2Sqrt => 1_200,
        I32x4Mul | I64x2Mul => 600,
        F32Ceil | F32Floor | F32Trunc | F32Nearest | F64Ceil | F64Floor | F64Trunc | F64Nearest => 400,
        I32TruncF32S | I32TruncF32U | I32TruncF64S | I32TruncF64U | I32TruncSatF32S | I32TruncSatF32U
        | I32TruncSatF64S | I32TruncSatF64U | I64TruncF32S | I64TruncF32U | I64TruncF64S | I64TruncF64U
        | I64TruncSatF32S | I64TruncSatF32U | I64TruncSatF64S | I64TruncSatF64U => 400,
        MemorySize { .. } => 60,
        MemoryGrow { .. } => 15_000,
        MemoryCopy { .. } | MemoryFill { .. } | MemoryInit { .. } => 1_500,
        TableCopy { .. } | TableFill { .. } | TableInit { .. } => 3_000,
        TableGet { .. } | TableSet { .. } | RefFunc { .. } => 600,
        op if super::access::access(op).is_some() => 180,
        op if super::nan::is_arithmetic(op) && proposal(op) == "simd" => 900,
        op if super::nan::is_arithmetic(op) => 150,
        op if proposal(op) == "simd" => 120,
        _ => 60,
    }
}

//! The cost table of the reference's metering, operator by operator.
//!
//! Not here: where costs are charged (`meter`).
//! Invariant: never changes; `GasUsed` of every metered process hangs on it.

use wasmparser::Operator;

/// Cost of the statement that charges a segment: a constant and a call.
pub(super) const STATEMENT_COST: u64 = 1 + 90;

/// Cost of one operator; `None` if the reference's reader does not know it and fails to load the module.
///
/// The table names operators without their type, so `f64.add` costs what `i32.add` does. Whatever it has no name for
/// is free: `f64.div` (only `div_s` and `div_u` are named), float `lt`/`gt`/`le`/`ge`, all conversions.
///
/// # Source
/// `defaultCostTable.json` of `@permaweb/wasm-metering` 0.2.2; operators known: `wasm2json.js` of
/// `@permaweb/wasm-json-toolkit`.
pub(super) fn cost(op: &Operator<'_>) -> Option<u64> {
    use Operator::*;
    Some(match op {
        Unreachable | Nop | Block { .. } | Loop { .. } | If { .. } => 1,
        I32Const { .. } | I64Const { .. } | F32Const { .. } | F64Const { .. } => 1,
        End => 0,
        Else | Br { .. } | BrIf { .. } | Return | Call { .. } => 90,
        BrTable { .. } | Drop | Select => 120,
        LocalGet { .. } | LocalSet { .. } | LocalTee { .. } | GlobalGet { .. } | GlobalSet { .. } => 120,
        CallIndirect { .. } | MemoryGrow { .. } => 10_000,
        MemorySize { .. } => 100,
        I32Load { .. } | I64Load { .. } | F32Load { .. } | F64Load { .. } => 120,
        I32Load8S { .. } | I32Load8U { .. } | I32Load16S { .. } | I32Load16U { .. } => 120,
        I64Load8S { .. } | I64Load8U { .. } | I64Load16S { .. } | I64Load16U { .. } => 120,
        I64Load32S { .. } | I64Load32U { .. } => 120,
        I32Store { .. } | I64Store { .. } | F32Store { .. } | F64Store { .. } => 120,
        I32Store8 { .. } | I32Store16 { .. } | I64Store8 { .. } | I64Store16 { .. } | I64Store32 { .. } => 120,
        I32Eqz | I32Eq | I32Ne | I32LtS | I32LtU | I32GtS | I32GtU | I32LeS | I32LeU | I32GeS | I32GeU => 45,
        I64Eqz | I64Eq | I64Ne | I64LtS | I64LtU | I64GtS | I64GtU | I64LeS | I64LeU | I64GeS | I64GeU => 45,
        I32Clz | I32Ctz | I32Popcnt | I32Add | I32Sub | I32Mul | I32And | I32Or | I32Xor => 45,
        I64Clz | I64Ctz | I64Popcnt | I64Add | I64Sub | I64Mul | I64And | I64Or | I64Xor => 45,
        F32Eq | F32Ne | F32Add | F32Sub | F32Mul | F64Eq | F64Ne | F64Add | F64Sub | F64Mul => 45,
        I32DivS | I32DivU | I32RemS | I32RemU | I64DivS | I64DivU | I64RemS | I64RemU => 36_000,
        I32Shl | I32ShrS | I32ShrU | I64Shl | I64ShrS | I64ShrU => 67,
        I32Rotl | I32Rotr | I64Rotl | I64Rotr => 90,
        op if known_and_free(op) => 0,
        _ => return None,
    })
}

fn known_and_free(op: &Operator<'_>) -> bool {
    use Operator::*;
    matches!(op, F32Lt | F32Gt | F32Le | F32Ge | F64Lt | F64Gt | F64Le | F64Ge)
        || matches!(op, F32Abs | F32Neg | F32Ceil | F32Floor | F32Trunc | F32Nearest | F32Sqrt)
        || matches!(op, F64Abs | F64Neg | F64Ceil | F64Floor | F64Trunc | F64Nearest | F64Sqrt)
        || matches!(op, F32Div | F32Min | F32Max | F32Copysign | F64Div | F64Min | F64Max | F64Copysign)
        || matches!(op, I32WrapI64 | I64ExtendI32S | I64ExtendI32U | F32DemoteF64 | F64PromoteF32)
        || matches!(op, I32TruncF32S | I32TruncF32U | I32TruncF64S | I32TruncF64U)
        || matches!(op, I64TruncF32S | I64TruncF32U | I64TruncF64S | I64TruncF64U)
        || matches!(op, F32ConvertI32S | F32ConvertI32U | F32ConvertI64S | F32ConvertI64U)
        || matches!(op, F64ConvertI32S | F64ConvertI32U | F64ConvertI64S | F64ConvertI64U)
        || matches!(op, I32ReinterpretF32 | I64ReinterpretF64 | F32ReinterpretI32 | F64ReinterpretI64)
        || matches!(op, I32Extend8S | I32Extend16S | I64Extend8S | I64Extend16S | I64Extend32S)
}

/// Whether `op` ends a segment.
pub(super) fn ends_segment(op: &Operator<'_>) -> bool {
    use Operator::*;
    matches!(op, MemoryGrow { .. } | End | Br { .. } | BrTable { .. } | BrIf { .. } | If { .. } | Else | Return)
        || matches!(op, Loop { .. })
}

//! One NaN: which bits a NaN result has is the one freedom WebAssembly gives to float arithmetic, and this takes it.
//!
//! The chosen NaN is quiet, its payload zero and its *sign bit set*, which is what x86 makes of 0/0 and so what
//! guests have always printed (`-nan`).
//!
//! Not here: operators that move float bits without computing (loads, `neg`, `abs`, `copysign`, `pmin`, `select` …);
//! the specification fixes their result bit for bit.
//! Invariant: no operator but those lets bits of a NaN be seen that depend on the engine.

use wasm_encoder::{Ieee32, Ieee64, ValType};
use wasmparser::Operator;

use super::module::Body;

/// The only NaN that 64-bit float arithmetic of a guest gives.
const CANONICAL_F64: u64 = 0xFFF8_0000_0000_0000;
/// The only NaN that 32-bit float arithmetic of a guest gives.
const CANONICAL_F32: u32 = 0xFFC0_0000;

/// The shape of a float result.
#[derive(Clone, Copy)]
pub(super) enum Float {
    F32,
    F64,
    F32x4,
    F64x2,
}

impl Float {
    /// The type of the value that holds it.
    fn ty(self) -> ValType {
        match self {
            Self::F32 => ValType::F32,
            Self::F64 => ValType::F64,
            Self::F32x4 | Self::F64x2 => ValType::V128,
        }
    }
}

/// For each operator, the float result that has to be made canonical after it.
pub(super) fn visible_results(ops: &[(Operator<'_>, u64)]) -> Vec<Option<Float>> {
    let next = ops.iter().skip(1).map(|(op, _)| absorbs(op)).chain([false]);
    ops.iter().zip(next).map(|((op, _), absorbed)| result_of(op).filter(|_| !absorbed)).collect()
}

/// Whether `op` computes a float.
pub(super) fn is_arithmetic(op: &Operator<'_>) -> bool {
    result_of(op).is_some()
}

/// The float result of `op` if its NaN bits are the engine's choice.
fn result_of(op: &Operator<'_>) -> Option<Float> {
    use Operator::*;
    match op {
        F32Add | F32Sub | F32Mul | F32Div | F32Min | F32Max | F32Sqrt | F32Ceil | F32Floor | F32Trunc | F32Nearest
        | F32DemoteF64 => Some(Float::F32),
        F64Add | F64Sub | F64Mul | F64Div | F64Min | F64Max | F64Sqrt | F64Ceil | F64Floor | F64Trunc | F64Nearest
        | F64PromoteF32 => Some(Float::F64),
        F32x4Add | F32x4Sub | F32x4Mul | F32x4Div | F32x4Min | F32x4Max | F32x4Sqrt | F32x4Ceil | F32x4Floor
        | F32x4Trunc | F32x4Nearest | F32x4DemoteF64x2Zero => Some(Float::F32x4),
        F64x2Add | F64x2Sub | F64x2Mul | F64x2Div | F64x2Min | F64x2Max | F64x2Sqrt | F64x2Ceil | F64x2Floor
        | F64x2Trunc | F64x2Nearest | F64x2PromoteLowF32x4 => Some(Float::F64x2),
        _ => None,
    }
}

/// Whether `op` computes the same from every NaN on top: then the operand need not be made canonical before.
///
/// Scalars only: a vector operator may read lanes of another width than they were written with.
fn absorbs(op: &Operator<'_>) -> bool {
    use Operator::*;
    matches!(result_of(op), Some(Float::F32 | Float::F64))
        || matches!(
            op,
            F32Eq | F32Ne | F32Lt | F32Gt | F32Le | F32Ge | F64Eq | F64Ne | F64Lt | F64Gt | F64Le | F64Ge | Drop
        )
        || matches!(op, I32TruncF32S | I32TruncF32U | I32TruncF64S | I32TruncF64U)
        || matches!(op, I64TruncF32S | I64TruncF32U | I64TruncF64S | I64TruncF64U)
        || matches!(op, I32TruncSatF32S | I32TruncSatF32U | I32TruncSatF64S | I32TruncSatF64U)
        || matches!(op, I64TruncSatF32S | I64TruncSatF32U | I64TruncSatF64S | I64TruncSatF64U)
}

/// Makes the NaNs in the top operand canonical.
///
/// Scalars are compared with `x >= x`, which fails for NaN only and is a single flag on x86, unlike `==`.
pub(super) fn canonicalise(body: &mut Body, float: Float) {
    let temp = body.temp(float.ty(), 0);
    let mut out = body.out();
    out.local_tee(temp);
    match float {
        Float::F32 => {
            out.f32_const(Ieee32::new(CANONICAL_F32)).local_get(temp).local_get(temp).f32_ge().select();
        }
        Float::F64 => {
            out.f64_const(Ieee64::new(CANONICAL_F64)).local_get(temp).local_get(temp).f64_ge().select();
        }
        Float::F32x4 => {
            let lanes = u128::from(CANONICAL_F32) * 0x1_0000_0001_0000_0001_0000_0001;
            out.v128_const(lanes as i128).local_get(temp).local_get(temp).f32x4_eq().v128_bitselect();
        }
        Float::F64x2 => {
            let lanes = u128::from(CANONICAL_F64) << 64 | u128::from(CANONICAL_F64);
            out.v128_const(lanes as i128).local_get(temp).local_get(temp).f64x2_eq().v128_bitselect();
        }
    }
}

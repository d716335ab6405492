//! What memory-access operators have in common: their immediate, and the operand above the address.
//!
//! Not here: the bulk operators and `memory.size`/`memory.grow`, each of which is lowered in its own way.
//! Invariant: every admitted operator with a memory immediate is listed, so none keeps a 64-bit address by oversight.

use wasm_encoder::ValType;
use wasmparser::{MemArg, Operator};

/// A load or store.
pub(super) struct Access {
    pub(super) memarg: MemArg,
    /// The operand above the address: the stored value, or the vector whose lane is replaced.
    pub(super) above: Option<ValType>,
}

/// The access that `op` makes, if it is a load or store.
pub(super) fn access(op: &Operator<'_>) -> Option<Access> {
    use Operator::*;
    let (memarg, above) = match *op {
        I32Load { memarg }
        | I64Load { memarg }
        | F32Load { memarg }
        | F64Load { memarg }
        | I32Load8S { memarg }
        | I32Load8U { memarg }
        | I32Load16S { memarg }
        | I32Load16U { memarg }
        | I64Load8S { memarg }
        | I64Load8U { memarg }
        | I64Load16S { memarg }
        | I64Load16U { memarg }
        | I64Load32S { memarg }
        | I64Load32U { memarg }
        | V128Load { memarg }
        | V128Load8x8S { memarg }
        | V128Load8x8U { memarg }
        | V128Load16x4S { memarg }
        | V128Load16x4U { memarg }
        | V128Load32x2S { memarg }
        | V128Load32x2U { memarg }
        | V128Load8Splat { memarg }
        | V128Load16Splat { memarg }
        | V128Load32Splat { memarg }
        | V128Load64Splat { memarg }
        | V128Load32Zero { memarg }
        | V128Load64Zero { memarg } => (memarg, None),
        I32Store { memarg } | I32Store8 { memarg } | I32Store16 { memarg } => (memarg, Some(ValType::I32)),
        I64Store { memarg } | I64Store8 { memarg } | I64Store16 { memarg } | I64Store32 { memarg } => {
            (memarg, Some(ValType::I64))
        }
        F32Store { memarg } => (memarg, Some(ValType::F32)),
        F64Store { memarg } => (memarg, Some(ValType::F64)),
        V128Store { memarg }
        | V128Load8Lane { memarg, .. }
        | V128Load16Lane { memarg, .. }
        | V128Load32Lane { memarg, .. }
        | V128Load64Lane { memarg, .. }
        | V128Store8Lane { memarg, .. }
        | V128Store16Lane { memarg, .. }
        | V128Store32Lane { memarg, .. }
        | V128Store64Lane { memarg, .. } => (memarg, Some(ValType::V128)),
        _ => return None,
    };
    Some(Access { memarg, above })
}

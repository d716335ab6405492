//! The stack bound: how much of the stack budget a function takes, and the code that takes and returns it.
//!
//! A native stack overflows at a depth that depends on the compiler and the machine. So each function charges its
//! frame, measured on the bytecode, to a counter, and a guest overflows when *that* is used up.
//!
//! Cost of a frame, in units of 8 bytes: [`FRAME_COST`] + one per parameter and local (two per `v128`) + the greatest
//! height of the operand stack (twice that if the body uses vectors). A function that calls nothing and costs at most
//! [`LEAF_COST_MAX`] is not charged: it cannot be more than one frame, which the host's reserve covers.
//!
//! Not here: how many native bytes a unit may take, which is the host's choice of stack size.
//! Invariant: the cost depends on the module alone, before lowering and after metering.

use wasm_encoder::{BlockType, ValType};
use wasmparser::{FunctionBody, Operator};

use super::module::{Body, Shape};
use super::walk::{Walker, proposal};
use super::{DEPTH_EXCEEDED, RewriteError};

/// Units of every frame: return address, saved registers, frame bookkeeping.
pub const FRAME_COST: u64 = 8;
/// Dearest frame of a function without calls that is not charged.
pub const LEAF_COST_MAX: u64 = 512;
/// Bound of one frame's cost; larger than any stack limit would be pointless.
const FRAME_COST_MAX: u64 = 1 << 30;

/// The cost of the frame of a body, or `None` if it is not charged.
pub(super) fn charge(
    shape: &Shape,
    body: &FunctionBody<'_>,
    ops: &[(Operator<'_>, u64)],
    type_index: u32,
) -> Result<Option<i32>, RewriteError> {
    let mut walker: Walker<'_, ()> = Walker::new(shape, type_index);
    let mut calls = false;
    let mut vectors = false;
    for (op, offset) in ops {
        walker.step(op, *offset)?;
        calls |= match op {
            // The metering function is the host's own and never calls back.
            Operator::Call { function_index } => Some(*function_index) != shape.metering_import,
            Operator::CallIndirect { .. } => true,
            _ => false,
        };
        vectors |= is_vector(op);
    }
    let mut cost = FRAME_COST + walker.height_max() as u64 * if vectors { 2 } else { 1 };
    let params = shape.function_type(type_index).map_or(&[][..], |ty| ty.params());
    cost += params.iter().map(|ty| units(*ty)).sum::<u64>();
    for group in body.get_locals_reader()? {
        let (count, ty) = group?;
        cost += u64::from(count) * units(ty);
    }
    Ok((calls || cost > LEAF_COST_MAX).then(|| cost.min(FRAME_COST_MAX) as i32))
}

fn units(ty: wasmparser::ValType) -> u64 {
    if ty == wasmparser::ValType::V128 { 2 } else { 1 }
}

/// Whether `op` makes or takes vectors.
fn is_vector(op: &Operator<'_>) -> bool {
    proposal(op) == "simd"
}

/// Writes what a charged body begins with; the rest of it runs inside of the block that this opens.
pub(super) fn enter(body: &mut Body, counter: u32, cost: i32, results: BlockType) {
    let saved = body.temp(ValType::I32, 0);
    let mut out = body.out();
    out.global_get(counter).local_tee(saved).i32_const(cost).i32_lt_s().if_(BlockType::Empty);
    out.i32_const(DEPTH_EXCEEDED).global_set(counter).unreachable().end();
    out.local_get(saved).i32_const(cost).i32_sub().global_set(counter);
    out.block(results);
}

/// Writes what a charged body ends with, after the end of that block.
pub(super) fn leave(body: &mut Body, counter: u32) {
    let saved = body.temp(ValType::I32, 0);
    body.out().local_get(saved).global_set(counter).end();
}

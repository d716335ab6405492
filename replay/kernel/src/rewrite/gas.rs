//! The code that charges: a hidden global counts down, and below zero the guest ends.
//!
//! The global always holds the count, so that a trap, a host call or the host finds it there. A local beside it keeps
//! the last value known, for the next charge to begin with where nothing was called in between and no loop turned.
//!
//! The count is compared where a loop turns and where a function begins that calls others: a guest goes on at most for
//! one pass through a body without loops. There it ends by `unreachable` if the count is below zero. It is read anew there,
//! too, so that the host can end a step from another thread by what it writes.
//!
//! Not here: where to charge (`flow`), how much (`weight`).
//! Invariant: the count at any call, trap and return is a function of the path taken, never of the engine.

use wasm_encoder::{BlockType, ValType};
use wasmparser::Operator;

use super::flow::Mark;
use super::module::{Body, Shape};
use super::weight::{BULK_BYTE, Calls, PAGE_COST, TABLE_ENTRY};

/// More of anything than any operator can be asked for without trapping.
const COUNT_MAX: i64 = 1 << 32;

/// Charges one body.
pub(super) struct Charger {
    /// The counter, a global.
    gas: u32,
    marks: std::iter::Peekable<std::vec::IntoIter<Mark>>,
    /// Whether the local holds the count.
    cached: bool,
}

/// An operator that costs by its topmost operand.
struct Counted {
    each: u64,
    operand: ValType,
}

impl Charger {
    pub(super) fn new(gas: u32, marks: Vec<Mark>) -> Self {
        Self { gas, marks: marks.into_iter().peekable(), cached: false }
    }

    /// Writes what stands before the operator at this position.
    pub(super) fn before(&mut self, body: &mut Body, at: u32) {
        if let Some(mark) = self.marks.next_if(|mark| mark.at == at) {
            self.cached = mark.cached;
            if mark.cost > 0 {
                self.charge(body, mark.check, |out| {
                    out.i64_const(i64::try_from(mark.cost).unwrap_or(i64::MAX));
                });
            }
        }
    }

    /// Charges for the count that `op` finds on top of the stack, and leaves it there; what `memory.grow` is asked for
    /// is kept for afterwards.
    pub(super) fn operand(&mut self, body: &mut Body, shape: &Shape, op: &Operator<'_>) {
        if let Operator::MemoryGrow { mem } = op {
            let pages = body.temp(index_type(shape, *mem), 1);
            body.out().local_tee(pages);
        }
        let Some(Counted { each, operand }) = counted(shape, op) else { return };
        let count = body.temp(operand, 1);
        body.out().local_set(count);
        self.charge(body, true, |out| {
            out.local_get(count);
            match operand {
                ValType::I64 => out.i64_const(COUNT_MAX).local_get(count).i64_const(COUNT_MAX).i64_lt_u().select(),
                _ => out.i64_extend_i32_u(),
            };
            out.i64_const(each as i64).i64_mul();
        });
        body.out().local_get(count);
    }

    /// Writes what stands behind `op`.
    pub(super) fn behind(&mut self, body: &mut Body, shape: &Shape, op: &Operator<'_>, calls: &Calls) {
        if let Operator::MemoryGrow { mem } = op {
            self.grown(body, index_type(shape, *mem));
        }
        // Whoever was called may have charged.
        self.cached &= calls.target(op).is_none();
    }

    /// Charges for the pages that were asked for, if `memory.grow` gave them.
    fn grown(&mut self, body: &mut Body, ty: ValType) {
        let (pages, before) = (body.temp(ty, 1), body.temp(ty, 2));
        body.out().local_set(before);
        self.charge(body, true, |out| {
            if ty == ValType::I64 {
                out.i64_const(0).local_get(pages).local_get(before).i64_const(-1).i64_eq().select();
            } else {
                out.i32_const(0).local_get(pages).local_get(before).i32_const(-1).i32_eq().select();
                out.i64_extend_i32_u();
            }
            out.i64_const(PAGE_COST as i64).i64_mul();
        });
        body.out().local_get(before);
    }

    fn charge(&mut self, body: &mut Body, check: bool, amount: impl FnOnce(&mut wasm_encoder::InstructionSink<'_>)) {
        let local = local(body);
        let mut out = body.out();
        if self.cached {
            out.local_get(local)
        } else {
            out.global_get(self.gas)
        };
        amount(&mut out);
        out.i64_sub().local_tee(local).global_set(self.gas);
        if check {
            out.local_get(local).i64_const(0).i64_lt_s().if_(BlockType::Empty).unreachable().end();
        }
        self.cached = true;
    }
}

fn local(body: &mut Body) -> u32 {
    body.temp(ValType::I64, 0)
}

fn index_type(shape: &Shape, mem: u32) -> ValType {
    if shape.memories.get(mem as usize).is_some_and(|it| it.memory64) { ValType::I64 } else { ValType::I32 }
}

fn counted(shape: &Shape, op: &Operator<'_>) -> Option<Counted> {
    Some(match *op {
        Operator::MemoryFill { mem } => Counted { each: BULK_BYTE, operand: index_type(shape, mem) },
        Operator::MemoryCopy { dst_mem, .. } => Counted { each: BULK_BYTE, operand: index_type(shape, dst_mem) },
        Operator::MemoryInit { .. } => Counted { each: BULK_BYTE, operand: ValType::I32 },
        Operator::TableCopy { .. } | Operator::TableFill { .. } | Operator::TableInit { .. } => {
            Counted { each: TABLE_ENTRY, operand: ValType::I32 }
        }
        _ => return None,
    })
}

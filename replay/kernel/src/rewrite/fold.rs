//! Constant folding with one global known to be 0: what asyncify's checks come down to while nothing unwinds.
//!
//! Not here: whether the global is 0 (`quiet`), and any folding that the compiler does as well.
//! Invariant: with the global 0, the folded body does what the body does: same values, same effects, same traps.

use std::collections::BTreeSet;

use wasmparser::{BlockType, Operator};

use super::RewriteError;

/// Operators of the longest condition that is folded; asyncify's have some six. It keeps the work linear in the body.
const CONDITION_MAX: usize = 64;

type Sink<'s, 'a> = &'s mut dyn FnMut(Operator<'a>) -> Result<(), RewriteError>;

/// Writes the operators of a body to `sink`, folded; the first `params` locals are its parameters. Gives the positions of the
/// branches that are decided, and whether their condition holds.
pub(super) fn fold<'a>(
    ops: &[(Operator<'a>, u64)],
    zero: u32,
    params: u32,
    sink: Sink<'_, 'a>,
) -> Result<Vec<(u32, bool)>, RewriteError> {
    let zero_locals = zero_locals(ops, zero, params);
    let mut folder = Folder { sink, pending: Vec::new(), frames: Vec::new(), dead: None, at: 0, decided: Vec::new() };
    for (at, (op, _)) in (0..).zip(ops) {
        folder.at = at;
        match op {
            Operator::GlobalGet { global_index } if *global_index == zero => folder.constant(0),
            Operator::LocalGet { local_index } if zero_locals.contains(local_index) => folder.constant(0),
            _ => folder.step(op.clone())?,
        }
    }
    Ok(folder.decided)
}

/// The locals that only ever hold the global's value, which is also what locals begin with.
fn zero_locals(ops: &[(Operator<'_>, u64)], zero: u32, params: u32) -> BTreeSet<u32> {
    let (mut zeros, mut others) = (BTreeSet::new(), BTreeSet::new());
    let before = std::iter::once(None).chain(ops.iter().map(|(op, _)| Some(op)));
    for (before, (op, _)) in before.zip(ops) {
        if let Operator::LocalSet { local_index } | Operator::LocalTee { local_index } = op {
            let copies = matches!(before, Some(Operator::GlobalGet { global_index }) if *global_index == zero);
            if copies && *local_index >= params { &mut zeros } else { &mut others }.insert(*local_index);
        }
    }
    &zeros - &others
}

/// An operand that is not written yet: it reads constants and locals only, so writing it can wait, or be left.
struct Pending<'a> {
    code: Vec<Operator<'a>>,
    value: Option<i32>,
    /// Whether it is 0 or 1.
    is_bool: bool,
}

/// What became of a block, loop or conditional.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// Written as it was.
    Kept,
    /// A conditional whose first arm is always taken: a block.
    First,
    /// A conditional whose first arm is never taken: a block, empty if there is no second.
    Second,
}

struct Folder<'s, 'a> {
    sink: Sink<'s, 'a>,
    pending: Vec<Pending<'a>>,
    frames: Vec<Frame>,
    /// In code that cannot be reached: the blocks opened inside of it.
    dead: Option<u32>,
    /// Position of the operator that is read.
    at: u32,
    decided: Vec<(u32, bool)>,
}

impl<'a> Folder<'_, 'a> {
    fn constant(&mut self, value: i32) {
        if self.dead.is_none() {
            self.pending.push(Pending {
                code: vec![Operator::I32Const { value }],
                value: Some(value),
                is_bool: value & !1 == 0,
            });
        }
    }

    fn step(&mut self, op: Operator<'a>) -> Result<(), RewriteError> {
        if let Some(depth) = self.dead {
            return self.skip(op, depth);
        }
        match op {
            Operator::I32Eqz
            | Operator::I32Eq
            | Operator::I32Ne
            | Operator::I32Or
            | Operator::I32And
            | Operator::Select
                if self.pending.iter().rev().take(3).map(|it| it.code.len()).sum::<usize>() > CONDITION_MAX =>
            {
                return self.write(op);
            }
            Operator::I32Const { value } => self.constant(value),
            Operator::LocalGet { .. } => self.pending.push(Pending { code: vec![op], value: None, is_bool: false }),
            Operator::I32Eqz => match self.pending.last_mut() {
                Some(top) => top.unary(op),
                None => return self.write(op),
            },
            Operator::I32Eq | Operator::I32Ne | Operator::I32Or | Operator::I32And if self.pending.len() >= 2 => {
                self.binary(op);
            }
            Operator::Select if self.pending.len() >= 3 => self.select(op),
            Operator::Drop if !self.pending.is_empty() => {
                self.pending.pop();
            }
            Operator::If { blockty } => return self.condition(blockty),
            Operator::BrIf { relative_depth } => match self.take_constant() {
                Some(0) => {}
                Some(_) => return self.write(Operator::Br { relative_depth }),
                None => return self.write(op),
            },
            _ => return self.write(op),
        }
        Ok(())
    }

    /// Writes an operator that cannot be folded, after all that is pending.
    fn write(&mut self, op: Operator<'a>) -> Result<(), RewriteError> {
        for op in self.pending.drain(..).flat_map(|pending| pending.code) {
            (self.sink)(op)?;
        }
        match op {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => self.frames.push(Frame::Kept),
            Operator::Else if self.frames.last() == Some(&Frame::First) => {
                self.dead = Some(0);
                return Ok(());
            }
            Operator::End => {
                self.frames.pop();
            }
            Operator::Br { .. } | Operator::BrTable { .. } | Operator::Return | Operator::Unreachable => {
                self.dead = Some(0);
            }
            _ => {}
        }
        (self.sink)(op)
    }

    /// Passes over an operator that cannot be reached.
    fn skip(&mut self, op: Operator<'a>, depth: u32) -> Result<(), RewriteError> {
        match op {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => self.dead = Some(depth + 1),
            Operator::End if depth > 0 => self.dead = Some(depth - 1),
            Operator::Else if depth == 0 => match self.frames.last() {
                Some(Frame::Kept) => {
                    self.dead = None;
                    return (self.sink)(op);
                }
                Some(Frame::Second) => self.dead = None,
                _ => {}
            },
            Operator::End => {
                self.dead = None;
                self.frames.pop();
                return (self.sink)(op);
            }
            _ => {}
        }
        Ok(())
    }

    /// The value of the condition on top, if it is pending and known; it is then taken away.
    fn take_constant(&mut self) -> Option<i32> {
        let value = self.pending.last()?.value?;
        self.pending.pop();
        self.decided.push((self.at, value != 0));
        Some(value)
    }

    fn condition(&mut self, blockty: BlockType) -> Result<(), RewriteError> {
        let Some(value) = self.take_constant() else { return self.write(Operator::If { blockty }) };
        // What becomes of the arms is known at `else` or `end`; without a second arm, the parameters are the results.
        self.write(Operator::Block { blockty })?;
        let frame = if value == 0 { Frame::Second } else { Frame::First };
        if let Some(last) = self.frames.last_mut() {
            *last = frame;
        }
        self.dead = (value == 0).then_some(0);
        Ok(())
    }

    fn binary(&mut self, op: Operator<'a>) {
        let Some((right, left)) = self.pending.pop().zip(self.pending.pop()) else { return };
        let (known, both_bool) = (left.value.zip(right.value), left.is_bool && right.is_bool);
        let either = |value| left.value == Some(value) || right.value == Some(value);
        let (value, is_bool) = match op {
            Operator::I32Eq => (known.map(|(left, right)| i32::from(left == right)), true),
            Operator::I32Ne => (known.map(|(left, right)| i32::from(left != right)), true),
            Operator::I32And if either(0) => (Some(0), true),
            Operator::I32And => (known.map(|(left, right)| left & right), both_bool),
            // 1, or anything that has no other bit.
            _ if both_bool && either(1) => (Some(1), true),
            _ => (known.map(|(left, right)| left | right), both_bool),
        };
        self.pending.push(Pending { is_bool, ..Pending::joined([left, right], op, value) });
    }

    fn select(&mut self, op: Operator<'a>) {
        let Some(condition) = self.pending.pop() else { return };
        let Some((second, first)) = self.pending.pop().zip(self.pending.pop()) else { return };
        self.pending.push(match condition.value {
            Some(0) => second,
            Some(_) => first,
            None => Pending::joined([first, second, condition], op, None),
        });
    }
}

impl<'a> Pending<'a> {
    fn unary(&mut self, op: Operator<'a>) {
        self.code.push(op);
        self.is_bool = true;
        self.settle(self.value.map(|value| i32::from(value == 0)));
    }

    fn joined<const N: usize>(parts: [Self; N], op: Operator<'a>, value: Option<i32>) -> Self {
        let mut code: Vec<_> = parts.into_iter().flat_map(|part| part.code).collect();
        code.push(op);
        let mut joined = Self { code, value: None, is_bool: false };
        joined.settle(value);
        joined
    }

    fn settle(&mut self, value: Option<i32>) {
        self.value = value;
        if let Some(value) = value {
            self.code = vec![Operator::I32Const { value }];
        }
    }
}

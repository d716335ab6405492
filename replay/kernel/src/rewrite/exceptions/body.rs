//! One body without exceptions.
//!
//! A `try` with clauses becomes two blocks, one inside of the other: what throws inside branches to the end of the inner one,
//! where the clauses stand in a row; whatever ends in order branches to the end of the outer one, which is the label of the `try`.
//! One that delegates, and one without clauses, is a block: the first hands on to where its label would, the second to where
//! its surroundings would.
//!
//! Not here: who may throw (`throwers`).
//! Invariant: every branch of the guest keeps its target; no instruction but branches, tests and returns runs while an exception
//! is pending.

use wasm_encoder::reencode::Reencode;
use wasm_encoder::{BlockType, Function, Instruction, ValType};
use wasmparser::{FunctionBody, Operator};

use super::throwers::Throwers;
use super::{Registers, Translating};
use crate::rewrite::RewriteError;
use crate::rewrite::module::{Body, Shape};

/// How a `try` ends, known before it begins.
#[derive(Clone, Copy)]
enum Ending {
    /// No clause at all.
    Bare,
    /// Clauses, and whether one of them rethrows what it caught.
    Clauses { rethrown: bool },
    /// `delegate`, with its label.
    Delegate(u32),
}

/// Where in a `try` with clauses we are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// In no such `try`: a plain block.
    None,
    Body,
    /// In a clause for one tag, which has a block of its own.
    Catch,
    CatchAll,
}

/// A block of the guest. Written blocks are counted from 0, the function itself.
#[derive(Clone, Copy)]
struct Frame {
    /// The written block that is its label.
    label: u32,
    /// The written block at whose end an exception thrown here is handled.
    handler: u32,
    part: Part,
    /// Where a clause keeps what it caught, if it is rethrown.
    kept: Option<usize>,
}

/// Bodies of one module in translation.
pub(super) struct Translation<'t> {
    throwers: &'t Throwers,
    registers: &'t Registers,
    types: u32,
    /// Parameters of the types `params -> []` that were needed beyond the module's own.
    block_types: Vec<Vec<ValType>>,
}

impl<'t> Translation<'t> {
    pub(super) fn new(throwers: &'t Throwers, registers: &'t Registers, types: u32) -> Self {
        Self { throwers, registers, types, block_types: Vec::new() }
    }

    pub(super) fn into_block_types(self) -> Vec<Vec<ValType>> {
        self.block_types
    }

    pub(super) fn body(
        &mut self,
        pass: &mut Translating,
        shape: &Shape,
        body: &FunctionBody<'_>,
        index: u32,
        type_index: u32,
    ) -> Result<Function, RewriteError> {
        let mut ops = Vec::new();
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            ops.push(reader.read_with_offset()?);
        }
        let endings = endings(&ops)?;
        let out = Body::new(pass, body, shape.params(type_index))?;
        let may_throw = self.throwers.function(index);
        let job = Job { common: self, shape, out, frames: Vec::new(), open: 0, kept: 0 };
        job.run(pass, ops, endings, may_throw, type_index)
    }

    /// The type of a block that takes the parameters of `ty` and leaves nothing.
    fn handler_type(
        &mut self,
        pass: &mut Translating,
        shape: &Shape,
        ty: wasmparser::BlockType,
    ) -> Result<BlockType, RewriteError> {
        let wasmparser::BlockType::FuncType(index) = ty else { return Ok(BlockType::Empty) };
        let params = shape.function_type(index).map_or(&[][..], |ty| ty.params());
        if params.is_empty() {
            return Ok(BlockType::Empty);
        }
        let params = params.iter().map(|ty| pass.val_type(*ty)).collect::<Result<Vec<_>, _>>()?;
        let known = self.block_types.iter().position(|it| *it == params).unwrap_or_else(|| {
            self.block_types.push(params);
            self.block_types.len() - 1
        });
        Ok(BlockType::FunctionType(self.types + known as u32))
    }
}

/// The endings of all `try` of a body, in the order of their beginnings.
fn endings(ops: &[(Operator<'_>, u64)]) -> Result<Vec<Ending>, RewriteError> {
    let mut endings: Vec<Ending> = Vec::new();
    // The position of each open block's ending, if it is a `try`.
    let mut open: Vec<Option<usize>> = vec![None];
    for (op, offset) in ops {
        let invalid = || RewriteError::Invalid { what: "exception handling", offset: *offset };
        match op {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => open.push(None),
            Operator::Try { .. } => {
                open.push(Some(endings.len()));
                endings.push(Ending::Bare);
            }
            Operator::Catch { .. } | Operator::CatchAll => {
                let place = open.last().copied().flatten().ok_or_else(invalid)?;
                if matches!(endings[place], Ending::Bare) {
                    endings[place] = Ending::Clauses { rethrown: false };
                }
            }
            Operator::Rethrow { relative_depth } => {
                let place = open.len().checked_sub(*relative_depth as usize + 1).and_then(|index| open[index]);
                endings[place.ok_or_else(invalid)?] = Ending::Clauses { rethrown: true };
            }
            Operator::Delegate { relative_depth } => {
                let place = open.pop().flatten().ok_or_else(invalid)?;
                endings[place] = Ending::Delegate(*relative_depth);
            }
            Operator::End => {
                open.pop().ok_or_else(invalid)?;
            }
            _ => {}
        }
    }
    Ok(endings)
}

/// One body in translation.
struct Job<'j, 't> {
    common: &'j mut Translation<'t>,
    shape: &'j Shape,
    out: Body,
    frames: Vec<Frame>,
    /// Written blocks that are open.
    open: u32,
    /// Clauses around us that keep what they caught.
    kept: usize,
}

impl Job<'_, '_> {
    fn run(
        mut self,
        pass: &mut Translating,
        ops: Vec<(Operator<'_>, u64)>,
        endings: Vec<Ending>,
        may_throw: bool,
        type_index: u32,
    ) -> Result<Function, RewriteError> {
        if !may_throw && endings.is_empty() {
            for (op, _) in ops {
                self.out.push(&pass.instruction(op)?);
            }
            return Ok(self.out.finish());
        }
        // An exception that no handler here takes branches to the end of a block around the body.
        self.out.out().block(BlockType::Empty);
        self.frames.push(Frame { label: 0, handler: 1, part: Part::None, kept: None });
        self.open = 2;
        let mut endings = endings.into_iter();
        for (op, offset) in ops {
            let invalid = RewriteError::Invalid { what: "exception handling", offset };
            if matches!(op, Operator::Try { .. }) && self.frames.is_empty() {
                return Err(invalid);
            }
            match op {
                Operator::Try { blockty } => self.begin(pass, blockty, endings.next().ok_or(invalid)?)?,
                op => self.step(pass, op).transpose().unwrap_or(Err(invalid))?,
            }
        }
        let results = self.shape.function_type(type_index).map_or(&[][..], |ty| ty.results());
        for ty in results {
            self.zero(pass, *ty)?;
        }
        self.out.out().end();
        Ok(self.out.finish())
    }

    /// Writes one operator; `None` if the module is not valid.
    fn step(&mut self, pass: &mut Translating, op: Operator<'_>) -> Result<Option<()>, RewriteError> {
        Ok(match op {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                let handler = self.frames.last().map(|frame| frame.handler);
                self.out.push(&pass.instruction(op)?);
                handler.map(|handler| self.enter(Frame { label: self.open, handler, part: Part::None, kept: None }, 1))
            }
            Operator::Catch { tag_index } => self.clause(Some(tag_index)),
            Operator::CatchAll => self.clause(None),
            Operator::Delegate { .. } | Operator::End => self.end(),
            Operator::Throw { tag_index } => self.throw(tag_index),
            Operator::Rethrow { relative_depth } => self.rethrow(relative_depth),
            Operator::Br { relative_depth } => self.label(relative_depth).map(|label| {
                self.out.out().br(label);
            }),
            Operator::BrIf { relative_depth } => self.label(relative_depth).map(|label| {
                self.out.out().br_if(label);
            }),
            Operator::BrTable { targets } => {
                let labels =
                    targets.targets().map(|depth| Ok(self.label(depth?))).collect::<Result<Vec<_>, RewriteError>>()?;
                let labels: Option<Vec<u32>> = labels.into_iter().collect();
                labels.zip(self.label(targets.default())).map(|(labels, default)| {
                    self.out.out().br_table(labels, default);
                })
            }
            op => {
                let may_throw = match op {
                    Operator::Call { function_index } => self.common.throwers.function(function_index),
                    Operator::CallIndirect { type_index, .. } => self.common.throwers.indirect(type_index),
                    _ => false,
                };
                self.out.push(&pass.instruction(op)?);
                if may_throw { self.test() } else { Some(()) }
            }
        })
    }

    fn enter(&mut self, frame: Frame, written: u32) {
        self.frames.push(frame);
        self.open += written;
    }

    /// The label of a block of the guest, as the written code has to name it.
    fn label(&self, depth: u32) -> Option<u32> {
        let index = self.frames.len().checked_sub(depth as usize + 1)?;
        Some(self.open - 1 - self.frames[index].label)
    }

    /// Where to branch with an exception pending: out of the innermost block, or out of the `above`th around it.
    fn handler(&self, above: usize) -> Option<u32> {
        let index = self.frames.len().checked_sub(above + 1)?;
        Some(self.open - 1 - self.frames[index].handler)
    }

    /// Behind a call.
    fn test(&mut self) -> Option<()> {
        let handler = self.handler(0)?;
        self.out.out().global_get(self.common.registers.pending).br_if(handler);
        Some(())
    }

    fn begin(&mut self, pass: &mut Translating, ty: wasmparser::BlockType, ending: Ending) -> Result<(), RewriteError> {
        let invalid = RewriteError::Invalid { what: "label of delegate", offset: 0 };
        self.out.push(&Instruction::Block(pass.block_type(ty)?));
        let label = self.open;
        let above = match ending {
            Ending::Clauses { rethrown } => {
                let inner = self.common.handler_type(pass, self.shape, ty)?;
                self.out.out().block(inner);
                let kept = rethrown.then_some(self.kept);
                self.kept += usize::from(rethrown);
                self.enter(Frame { label, handler: label + 1, part: Part::Body, kept }, 2);
                return Ok(());
            }
            Ending::Bare => 0,
            Ending::Delegate(depth) => depth as usize,
        };
        let index = self.frames.len().checked_sub(above + 1).ok_or(invalid)?;
        self.enter(Frame { label, handler: self.frames[index].handler, part: Part::None, kept: None }, 1);
        Ok(())
    }

    /// Ends what came before a clause in its `try`, in order.
    fn end_part(&mut self) -> Option<()> {
        let done = self.label(0)?;
        self.out.out().br(done).end();
        self.open -= 1;
        Some(())
    }

    /// Begins a clause; `tag` is `None` for `catch_all`.
    fn clause(&mut self, tag: Option<u32>) -> Option<()> {
        self.end_part()?;
        let pending = self.common.registers.pending;
        if let Some(tag) = tag {
            self.out.out().block(BlockType::Empty);
            self.out.out().global_get(pending).i32_const(tag as i32 + 1).i32_ne().br_if(0);
            self.open += 1;
        }
        let around = self.frames.len().checked_sub(2).map(|index| self.frames[index].handler)?;
        let frame = self.frames.last_mut()?;
        frame.part = if tag.is_some() { Part::Catch } else { Part::CatchAll };
        frame.handler = around;
        if let Some(kept) = frame.kept {
            self.keep(kept);
        }
        let mut out = self.out.out();
        out.i32_const(0).global_set(pending);
        if let Some(tag) = tag {
            for slot in self.common.registers.tags.get(tag as usize)? {
                out.global_get(self.common.registers.payload[*slot].0);
            }
        }
        Some(())
    }

    /// `end`, or `delegate`, which ends just so.
    fn end(&mut self) -> Option<()> {
        let frame = *self.frames.last()?;
        if self.frames.len() == 1 {
            self.out.out().return_().end();
        } else {
            if frame.part == Part::Catch {
                // None of the tags: on to whoever is around.
                self.end_part()?;
                let around = self.handler(1)?;
                self.out.out().br(around);
            }
            self.out.out().end();
            self.kept -= usize::from(frame.kept.is_some());
        }
        self.open -= 1;
        self.frames.pop();
        Some(())
    }

    fn throw(&mut self, tag: u32) -> Option<()> {
        let handler = self.handler(0)?;
        let registers = self.common.registers;
        let mut out = self.out.out();
        for slot in registers.tags.get(tag as usize)?.iter().rev() {
            out.global_set(registers.payload[*slot].0);
        }
        out.i32_const(tag as i32 + 1).global_set(registers.pending).br(handler);
        Some(())
    }

    /// Writes the exception into the locals of a clause that rethrows it.
    fn keep(&mut self, kept: usize) {
        for (global, local) in self.places(kept) {
            self.out.out().global_get(global).local_set(local);
        }
    }

    fn rethrow(&mut self, depth: u32) -> Option<()> {
        let index = self.frames.len().checked_sub(depth as usize + 1)?;
        let kept = self.frames[index].kept?;
        for (global, local) in self.places(kept) {
            self.out.out().local_get(local).global_set(global);
        }
        let handler = self.handler(0)?;
        self.out.out().br(handler);
        Some(())
    }

    /// The globals of an exception, and the locals that keep them in the `kept`th clause from outside.
    fn places(&mut self, kept: usize) -> Vec<(u32, u32)> {
        let registers = self.common.registers;
        let mut globals = vec![(registers.pending, ValType::I32)];
        globals.extend(&registers.payload);
        let place = |(position, (global, ty)): (usize, &(u32, ValType))| {
            let same = |list: &[(u32, ValType)]| list.iter().filter(|(_, it)| it == ty).count();
            let nth = kept * same(&globals) + same(&globals[..position]);
            (*global, self.out.temp(*ty, nth))
        };
        globals.iter().enumerate().map(place).collect()
    }

    fn zero(&mut self, pass: &mut Translating, ty: wasmparser::ValType) -> Result<(), RewriteError> {
        let mut out = self.out.out();
        match pass.val_type(ty)? {
            ValType::I32 => out.i32_const(0),
            ValType::I64 => out.i64_const(0),
            ValType::F32 => out.f32_const(0.0.into()),
            ValType::F64 => out.f64_const(0.0.into()),
            ValType::V128 => out.v128_const(0),
            ValType::Ref(ty) => out.ref_null(ty.heap_type),
        };
        Ok(())
    }
}

//! What a function costs to compile beyond its length: the products that turn a small body into hours of work.
//!
//! A compiler of our kind keeps each local as a value per place where control flow joins. So a few thousand blocks over a
//! few hundred locals are millions of values, and its register allocator takes more than proportional time to them.
//!
//! Not here: the bounds themselves, and what each count is (`limits`).
//! Invariant: counts are over the body as published, and are themselves made in time near-proportional to its length.

use std::collections::BTreeSet;

use wasmparser::{BinaryReaderError, BlockType, FuncType, FunctionBody, Operator};

use super::Facts;
use super::limits::Work;

/// Weighs one validated body.
pub(super) fn weigh(facts: &Facts, function: u32, body: &FunctionBody<'_>) -> Result<Work, BinaryReaderError> {
    let mut counter = Counter::new(&facts.types, &facts.function_types, function);
    let mut ops = body.get_operators_reader()?;
    while !ops.eof() {
        counter.step(&ops.read()?);
    }
    Ok(counter.finish())
}

/// Counts one body, operator by operator.
struct Counter<'m> {
    types: &'m [FuncType],
    /// Type indexes of all functions, imported ones first.
    functions: &'m [u32],
    work: Work,
    params: u64,
    blocks: u64,
    /// Every local that was set.
    set: BTreeSet<u32>,
    open: Vec<Open>,
}

/// A block whose end is not yet read.
struct Open {
    /// Values a branch to it carries.
    arity: u64,
    /// Locals set inside so far.
    set: BTreeSet<u32>,
}

impl<'m> Counter<'m> {
    fn new(types: &'m [FuncType], functions: &'m [u32], function: u32) -> Self {
        let ty = functions.get(function as usize).and_then(|ty| types.get(*ty as usize));
        let results = ty.map_or(0, |ty| ty.results().len() as u64);
        Self {
            types,
            functions,
            work: Work::default(),
            params: ty.map_or(0, |ty| ty.params().len() as u64),
            blocks: 0,
            set: BTreeSet::new(),
            open: vec![Open { arity: results, set: BTreeSet::new() }],
        }
    }

    fn finish(self) -> Work {
        let values = self.params + self.set.len() as u64 + 1;
        Work { spans: self.blocks.saturating_mul(self.blocks).saturating_mul(values), ..self.work }
    }

    fn step(&mut self, op: &Operator<'_>) {
        self.work.operators += 1;
        match op {
            Operator::Block { blockty } | Operator::If { blockty } | Operator::Try { blockty } => {
                self.enter(*blockty, false);
            }
            Operator::Loop { blockty } => self.enter(*blockty, true),
            Operator::End | Operator::Delegate { .. } => self.leave(),
            Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => self.branch(*relative_depth),
            Operator::BrTable { targets } => {
                self.work.targets += u64::from(targets.len()) + 1;
                for target in targets.targets().flatten().chain([targets.default()]) {
                    self.branch(target);
                }
            }
            Operator::Return => self.work.carried += self.open.first().map_or(0, |body| body.arity),
            Operator::Call { function_index } => {
                if let Some(ty) = self.functions.get(*function_index as usize) {
                    self.carry(*ty);
                }
            }
            Operator::CallIndirect { type_index, .. } => self.carry(*type_index),
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                self.set.insert(*local_index);
                if let Some(innermost) = self.open.last_mut() {
                    innermost.set.insert(*local_index);
                }
            }
            _ => {}
        }
    }

    fn enter(&mut self, ty: BlockType, is_loop: bool) {
        self.blocks += 1;
        let (params, results) = match ty {
            BlockType::Empty => (0, 0),
            BlockType::Type(_) => (0, 1),
            BlockType::FuncType(index) => self.arity(index),
        };
        self.work.carried += params + results;
        self.open.push(Open { arity: if is_loop { params } else { results }, set: BTreeSet::new() });
    }

    fn leave(&mut self) {
        let Some(Open { mut set, .. }) = self.open.pop() else { return };
        let Some(around) = self.open.last_mut() else { return };
        self.work.joins += set.len() as u64;
        // The smaller into the larger, so that nesting does not make this quadratic.
        if set.len() > around.set.len() {
            std::mem::swap(&mut set, &mut around.set);
        }
        around.set.extend(set);
    }

    fn branch(&mut self, depth: u32) {
        let target = self.open.len().checked_sub(depth as usize + 1).and_then(|at| self.open.get(at));
        self.work.carried += target.map_or(0, |target| target.arity);
    }

    fn carry(&mut self, ty: u32) {
        let (params, results) = self.arity(ty);
        self.work.carried += params + results;
    }

    fn arity(&self, ty: u32) -> (u64, u64) {
        self.types.get(ty as usize).map_or((0, 0), |ty| (ty.params().len() as u64, ty.results().len() as u64))
    }
}

//! The operand and control stack of a function body, walked without full validation.
//!
//! Not here: the meaning of any operator.
//! Invariant: on a valid body the stack has the height that the validator would compute; on an invalid one it is
//! wrong but in bounds, never a panic.

use wasmparser::{BlockType, ContType, FrameKind, FuncType, FunctionBody, ModuleArity, Operator, RefType, SubType};

use super::RewriteError;
use super::module::Shape;

struct Frame {
    kind: FrameKind,
    ty: BlockType,
    /// Height of the operand stack below the block's parameters.
    base: usize,
}

/// Walks one body; `T` is what the pass wants to know of each operand, `T::default()` being "nothing".
pub(super) struct Walker<'s, T> {
    shape: &'s Shape,
    stack: Vec<T>,
    frames: Vec<Frame>,
    height_max: usize,
}

impl<'s, T: Copy + Default> Walker<'s, T> {
    /// At the beginning of a body of the function type with this index.
    pub(super) fn new(shape: &'s Shape, type_index: u32) -> Self {
        let function = Frame { kind: FrameKind::Block, ty: BlockType::FuncType(type_index), base: 0 };
        Self { shape, stack: Vec::new(), frames: vec![function], height_max: 0 }
    }

    /// What is known of the operand `below` entries under the top.
    pub(super) fn peek(&self, below: usize) -> T {
        let base = self.frames.last().map_or(0, |frame| frame.base);
        match self.stack.len().checked_sub(below + 1) {
            Some(index) if index >= base => self.stack[index],
            _ => T::default(),
        }
    }

    /// Says what is known of the top operand.
    pub(super) fn set_top(&mut self, value: T) {
        if let Some(top) = self.stack.last_mut() {
            *top = value;
        }
    }

    /// Greatest height the operand stack had so far.
    pub(super) fn height_max(&self) -> usize {
        self.height_max
    }

    /// Takes the effect of one operator.
    pub(super) fn step(&mut self, op: &Operator<'_>, offset: u64) -> Result<(), RewriteError> {
        let invalid = RewriteError::Invalid { what: "operator", offset };
        let Some((pops, pushes)) = op.operator_arity(self) else { return Err(invalid) };
        let Some(base) = self.frames.last().map(|frame| frame.base) else { return Err(invalid) };
        let rest = self.stack.len().saturating_sub(pops as usize).max(base);
        self.stack.truncate(rest);
        match op {
            Operator::Block { blockty } => self.open(FrameKind::Block, *blockty),
            Operator::Loop { blockty } => self.open(FrameKind::Loop, *blockty),
            Operator::If { blockty } => self.open(FrameKind::If, *blockty),
            Operator::Else => self.stack.truncate(base),
            Operator::End => {
                self.stack.truncate(base);
                self.frames.pop();
            }
            Operator::Br { .. } | Operator::BrTable { .. } | Operator::Return | Operator::Unreachable => {
                self.stack.truncate(base);
                return Ok(());
            }
            _ => {}
        }
        self.stack.resize(self.stack.len() + pushes as usize, T::default());
        self.height_max = self.height_max.max(self.stack.len());
        Ok(())
    }

    fn open(&mut self, kind: FrameKind, ty: BlockType) {
        self.frames.push(Frame { kind, ty, base: self.stack.len() });
    }
}

impl<T> ModuleArity for Walker<'_, T> {
    fn sub_type_at(&self, type_idx: u32) -> Option<&SubType> {
        self.shape.types.get(type_idx as usize)
    }

    fn tag_type_arity(&self, _at: u32) -> Option<(u32, u32)> {
        None
    }

    fn type_index_of_function(&self, function_idx: u32) -> Option<u32> {
        self.shape.functions.get(function_idx as usize).copied()
    }

    fn func_type_of_cont_type(&self, _c: &ContType) -> Option<&FuncType> {
        None
    }

    fn sub_type_of_ref_type(&self, _rt: &RefType) -> Option<&SubType> {
        None
    }

    fn control_stack_height(&self) -> u32 {
        self.frames.len() as u32
    }

    fn label_block(&self, depth: u32) -> Option<(BlockType, FrameKind)> {
        let index = self.frames.len().checked_sub(depth as usize + 1)?;
        let frame = &self.frames[index];
        Some((frame.ty, frame.kind))
    }
}

/// The operators of a body with their offsets, refusing those outside of the admitted feature set: no pass knows
/// their effects.
pub(super) fn operators<'a>(body: &FunctionBody<'a>) -> Result<Vec<(Operator<'a>, u64)>, RewriteError> {
    let mut ops = Vec::new();
    let mut reader = body.get_operators_reader()?;
    while !reader.eof() {
        let (op, offset) = reader.read_with_offset()?;
        let what = proposal(&op);
        match what {
            "mvp" | "sign_extension" | "saturating_float_to_int" | "bulk_memory" | "reference_types" | "simd" => {}
            _ => return Err(RewriteError::Unsupported { what, offset }),
        }
        ops.push((op, offset));
    }
    Ok(ops)
}

/// The proposal an operator came with, in the parser's spelling.
pub(super) fn proposal(op: &Operator<'_>) -> &'static str {
    macro_rules! name {
        ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
            match op {
                $(Operator::$op { .. } => stringify!($proposal),)*
                _ => "unknown operator",
            }
        };
    }
    wasmparser::for_each_operator!(name)
}

//! Lowering of memory64 to memory32, exact in results and traps.
//!
//! Values, globals and signatures stay `i64`; what changes are the memory's type, addresses, the operands of bulk
//! operators, `memory.size`/`memory.grow`, and data-segment offsets. An address that is not known to be below 2^32
//! (`facts`) and is not leads to a load at 0xFFFF_FFFF, which no memory has mapped
//! ([`MEMORY_PAGES_MAX`](super::MEMORY_PAGES_MAX)): the trap is that of every other access out of bounds.
//!
//! Not here: metering, which counts operators of the module as published and so runs before.
//! Invariant: no operator leaves here with a 64-bit address.

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{BlockType, ConstExpr, Function, MemArg, ValType};
use wasmparser::{FunctionBody, Operator};

use super::RewriteError;
use super::access::{Access, access};
use super::facts::{Facts, Outline};
use super::module::{Body, Module, Shape, bounded_memory};
use super::walk::operators;

/// Greatest 32-bit address, as an `i64` operand.
const NARROW_MAX: i64 = u32::MAX as i64;

/// Turns a module over a 64-bit memory into one over a 32-bit memory.
///
/// A module whose memory is 32-bit already comes out with its memory bounded and otherwise unchanged in meaning.
///
/// # Limits
/// A declared maximum above [`MEMORY_PAGES_MAX`](super::MEMORY_PAGES_MAX) is cut to it; growing beyond gives −1.
///
/// # Errors
/// If the module is malformed, begins with more memory than that, uses a feature outside of the admitted set, or
/// computes a data-segment offset from an imported global.
pub fn lower(wasm: &[u8]) -> Result<Vec<u8>, RewriteError> {
    let mut pass = Lowering::default();
    let mut module = Module::read(wasm, &mut pass)?;
    for (body, type_index) in module.function_bodies() {
        let function =
            if pass.wide { lower_body(&mut pass, &module.shape, &body, type_index)? } else { pass.copy(&body)? };
        module.code.function(&function);
    }
    Ok(module.finish())
}

#[derive(Default)]
struct Lowering {
    /// Whether memory 0 is 64-bit.
    wide: bool,
    data_segments: u32,
}

impl Lowering {
    fn copy(&mut self, body: &FunctionBody<'_>) -> Result<Function, RewriteError> {
        let mut function = self.new_function_with_parsed_locals(body)?;
        let mut ops = body.get_operators_reader()?;
        while !ops.eof() {
            function.instruction(&self.parse_instruction(&mut ops)?);
        }
        Ok(function)
    }
}

impl Reencode for Lowering {
    type Error = RewriteError;

    fn memory_type(&mut self, ty: wasmparser::MemoryType) -> Result<wasm_encoder::MemoryType, Error<RewriteError>> {
        self.wide |= ty.memory64;
        let narrow = wasmparser::MemoryType { memory64: false, ..bounded_memory(ty).map_err(Error::UserError)? };
        Ok(utils::memory_type(self, narrow))
    }

    fn table_type(&mut self, ty: wasmparser::TableType) -> Result<wasm_encoder::TableType, Error<RewriteError>> {
        if ty.table64 {
            return Err(Error::UserError(RewriteError::Unsupported { what: "64-bit table", offset: 0 }));
        }
        utils::table_type(self, ty)
    }

    fn parse_data(
        &mut self,
        data: &mut wasm_encoder::DataSection,
        datum: wasmparser::Data<'_>,
    ) -> Result<(), Error<RewriteError>> {
        let segment = self.data_segments;
        self.data_segments += 1;
        match datum.kind {
            wasmparser::DataKind::Active { memory_index, offset_expr } if self.wide => {
                let offset = constant(&offset_expr)?.ok_or(Error::UserError(RewriteError::DataOffset { segment }))?;
                // An offset of 2^32 or more is out of bounds even for an empty segment; so is 2^32 - 1.
                let narrow = u32::try_from(offset).unwrap_or(u32::MAX);
                data.active(memory_index, &ConstExpr::i32_const(narrow as i32), datum.data.iter().copied());
                Ok(())
            }
            _ => utils::parse_data(self, data, datum),
        }
    }
}

/// The value of an `i64` constant expression; `None` if it reads a global.
fn constant(expr: &wasmparser::ConstExpr<'_>) -> Result<Option<u64>, wasmparser::BinaryReaderError> {
    let mut ops = expr.get_operators_reader();
    let mut stack: Vec<u64> = Vec::new();
    while !ops.is_end_then_eof() {
        let op = ops.read()?;
        if let Operator::I64Const { value } = op {
            stack.push(value as u64);
            continue;
        }
        let (Some(b), Some(a)) = (stack.pop(), stack.pop()) else { return Ok(None) };
        stack.push(match op {
            Operator::I64Add => a.wrapping_add(b),
            Operator::I64Sub => a.wrapping_sub(b),
            Operator::I64Mul => a.wrapping_mul(b),
            _ => return Ok(None),
        });
    }
    Ok(if stack.len() == 1 { stack.pop() } else { None })
}

fn lower_body(
    pass: &mut Lowering,
    shape: &Shape,
    body: &FunctionBody<'_>,
    type_index: u32,
) -> Result<Function, RewriteError> {
    let ops = operators(body)?;
    let params = shape.params(type_index);
    let mut lowered = Body::new(pass, body, params)?;
    let mut facts = Facts::new(shape, type_index, params, Outline::of(&ops));
    for (op, offset) in ops {
        if let Some(it) = access(&op) {
            lower_address(&mut lowered, &mut facts, &it);
            if it.memarg.offset > u64::from(u32::MAX) {
                trap(&mut lowered);
            } else {
                lowered.push(&pass.instruction(op.clone())?);
            }
        } else if !lower_memory_operator(&mut lowered, &op) {
            lowered.push(&pass.instruction(op.clone())?);
        }
        facts.step(&op, offset)?;
    }
    Ok(lowered.finish())
}

/// Replaces the 64-bit address under `it.above` by a 32-bit one.
fn lower_address(body: &mut Body, facts: &mut Facts<'_>, it: &Access) {
    let above = it.above.map(|ty| body.temp(ty, 1));
    let below = usize::from(above.is_some());
    if let Some(above) = above {
        body.out().local_set(above);
    }
    if facts.operand(below).is_narrow() {
        body.out().i32_wrap_i64();
    } else {
        check(body);
        facts.checked(below);
    }
    if let Some(above) = above {
        body.out().local_get(above);
    }
}

/// Turns the address on top into 32 bits, or traps as an access out of bounds does.
///
/// By a branch that is never taken, which keeps the check off the path from one pointer to the next: a clamp costs two
/// cycles there, and an Eval of aos 15 %. The address is compared with its own lower half, which the access needs anyway:
/// looking at the upper half instead costs two instructions more, and that Eval 6 %.
fn check(body: &mut Body) {
    let wide = body.temp(ValType::I64, 0);
    body.out().local_tee(wide).i32_wrap_i64().i64_extend_i32_u().local_get(wide).i64_ne().if_(BlockType::Empty);
    trap(body);
    body.out().end().local_get(wide).i32_wrap_i64();
}

/// Turns the top operand into 32 bits, everything above into 0xFFFF_FFFF.
fn narrow(body: &mut Body) {
    let wide = body.temp(ValType::I64, 0);
    let mut out = body.out();
    out.local_tee(wide).i64_const(NARROW_MAX).local_get(wide).i64_const(NARROW_MAX).i64_lt_u().select().i32_wrap_i64();
}

/// Traps as an access out of bounds does, whatever is on the stack.
fn trap(body: &mut Body) {
    let memarg = MemArg { offset: 0, align: 0, memory_index: 0 };
    body.out().i32_const(-1).i32_load8_u(memarg).unreachable();
}

/// Lowers the operators that use a memory other than by an address immediate; `false` if `op` is none of them.
///
/// A narrowed 0xFFFF_FFFF is out of bounds as an address, as a length, and as pages to grow by.
fn lower_memory_operator(body: &mut Body, op: &Operator<'_>) -> bool {
    match *op {
        Operator::MemorySize { mem } => {
            body.out().memory_size(mem).i64_extend_i32_u();
        }
        Operator::MemoryGrow { mem } => {
            narrow(body);
            body.out().memory_grow(mem).i64_extend_i32_s();
        }
        Operator::MemoryFill { mem } => {
            narrow_under(body, &[ValType::I32, ValType::I64]);
            body.out().memory_fill(mem);
        }
        Operator::MemoryCopy { dst_mem, src_mem } => {
            narrow_under(body, &[ValType::I64, ValType::I64]);
            body.out().memory_copy(dst_mem, src_mem);
        }
        Operator::MemoryInit { data_index, mem } => {
            narrow_under(body, &[ValType::I32, ValType::I32]);
            body.out().memory_init(mem, data_index);
        }
        _ => return false,
    }
    true
}

/// Narrows the operand under two others, of the given types, and those of the two that are wide.
fn narrow_under(body: &mut Body, above: &[ValType; 2]) {
    let temps = [body.temp(above[0], 1), body.temp(above[1], 2)];
    body.out().local_set(temps[1]).local_set(temps[0]);
    narrow(body);
    for (temp, ty) in temps.into_iter().zip(above) {
        body.out().local_get(temp);
        if *ty == ValType::I64 {
            narrow(body);
        }
    }
}

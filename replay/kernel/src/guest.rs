//! What a host call may do to the running guest: the one seam between host semantics and engines.
//!
//! Not here: any host call (`host`), any engine (`engine`).
//! Invariant: nothing in this trait names an engine, so each host call is written once for all of them.

use crate::host::HostState;

/// A wasm value that crosses the host boundary.
///
/// Pointers are `I32` in wasm32 modules and `I64` in wasm64 modules, also when the latter are lowered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Val {
    /// 32-bit integer.
    I32(i32),
    /// 64-bit integer.
    I64(i64),
    /// Bits of a 32-bit float.
    F32(u32),
    /// Bits of a 64-bit float.
    F64(u64),
}

impl Val {
    /// The value as an unsigned address or size: `I32` zero-extended, `I64` reinterpreted, floats by their bits.
    pub fn as_u64(self) -> u64 {
        match self {
            Self::I32(v) => u64::from(v as u32),
            Self::I64(v) => v as u64,
            Self::F32(v) => u64::from(v),
            Self::F64(v) => v,
        }
    }
}

/// Why control left the guest before its function returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// A wasm trap.
    Trap(TrapKind),
    /// `_emscripten_throw_longjmp`: caught by the nearest `invoke_*`, an abort if there is none.
    LongJmp,
    /// `exit(status)` or `proc_exit(status)`.
    Exit(i32),
    /// The glue called `abort(text)`, or a JavaScript exception would have been thrown with this text.
    Abort(String),
    /// The gas limit was passed: that of every format, or in a metering format the reference's own.
    OutOfGas,
    /// Asyncify would have to unwind, which the code that runs cannot: the step is to be taken by code that can. Never
    /// an outcome.
    MustUnwind,
}

/// The kinds of wasm trap that two engines agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrapKind {
    /// `unreachable` was executed.
    Unreachable,
    /// A memory access out of bounds, also by a host call given a bad pointer.
    MemoryOutOfBounds,
    /// A table access out of bounds.
    TableOutOfBounds,
    /// `call_indirect` through a null entry.
    IndirectCallToNull,
    /// `call_indirect` with the wrong signature.
    BadSignature,
    /// Integer overflow in a signed division or a float-to-integer conversion.
    IntegerOverflow,
    /// Integer division by zero.
    DivisionByZero,
    /// Float-to-integer conversion of NaN.
    BadConversionToInteger,
    /// The deterministic call depth was exceeded.
    StackOverflow,
    /// Anything else an engine reports; never expected from an admitted module.
    Other,
}

/// The running guest, as a host call and the step driver see it.
///
/// Addresses are byte addresses in linear memory 0, at most 2^32.
pub trait Guest {
    /// The whole linear memory.
    fn memory(&self) -> &[u8];
    /// The whole linear memory, writable.
    fn memory_mut(&mut self) -> &mut [u8];
    /// Grows linear memory by `pages` of 64 KiB; `false` (and no change) if the limit forbids it.
    fn grow(&mut self, pages: u64) -> bool;
    /// The host state of this guest. Not to be held across `call*`: a nested host call uses it too.
    fn host(&mut self) -> &mut HostState;
    /// Whether a function of this name is exported.
    fn has_export(&self, name: &str) -> bool;
    /// Calls an exported function.
    ///
    /// # Errors
    /// What interrupted it; `Interrupt::Abort` if there is no such export.
    fn call(&mut self, export: &str, args: &[Val]) -> Result<Option<Val>, Interrupt>;
    /// Calls entry `index` of table 0, as `invoke_*` does.
    ///
    /// # Errors
    /// What interrupted it; a table trap if the entry is absent.
    fn call_table(&mut self, index: u64, args: &[Val]) -> Result<Option<Val>, Interrupt>;
    /// The call-depth counter of the stack bound, saved before an `invoke_*`…
    fn call_depth(&mut self) -> i32;
    /// …and restored when a longjmp unwound through it.
    fn set_call_depth(&mut self, depth: i32);
    /// What is left of the gas of this step; below zero it ran out.
    fn gas_left(&mut self) -> i64;
    /// Sets it, before a step and when a host call charges.
    fn set_gas_left(&mut self, left: i64);
    /// Whether asyncify can unwind the code that runs; not so of quiet twins.
    fn can_unwind(&self) -> bool {
        true
    }
}

//! setjmp and longjmp: `invoke_*` and what it catches.
//!
//! Not here: how an engine calls through the table. Invariant: only a longjmp is caught.

use super::format::{Export, Glue};
use super::{Outcome, call_ptr, call_unit, charge, wide_or_narrow};
use crate::guest::{Guest, Interrupt, Val};
use crate::rewrite::UNWIND;

/// One `invoke_<signature>` import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoke {
    /// `dynCall_<signature>`, which the asyncify glues go through.
    export: String,
    /// What JavaScript's `undefined` becomes when a longjmp was caught.
    caught: Option<ZeroOf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ZeroOf {
    I32,
    I64,
    F32,
    F64,
}

impl Invoke {
    /// The import of this name and result type.
    pub(super) fn new(name: &str, result: Option<super::ValType>) -> Option<Self> {
        let signature = name.strip_prefix("invoke_")?;
        let caught = result.map(|result| match result {
            super::ValType::I32 => ZeroOf::I32,
            super::ValType::I64 => ZeroOf::I64,
            super::ValType::F32 => ZeroOf::F32,
            super::ValType::F64 => ZeroOf::F64,
        });
        Some(Self { export: format!("dynCall_{signature}"), caught })
    }

    /// Calls a table entry with the rest of the arguments; a longjmp out of it ends here.
    pub(super) fn run(&self, guest: &mut dyn Guest, args: &[Val]) -> Outcome {
        let format = guest.host().format;
        let (index, rest) = args.split_first().map_or((0, args), |(index, rest)| (index.as_u64(), rest));
        let stack = call_ptr(guest, format.export(Export::StackSave), &[])?;
        let depth = guest.call_depth();
        // Through the export where there is one: it saves a frame of its own when asyncify unwinds.
        let result = if format.glue() >= Glue::E4 && guest.has_export(&self.export) {
            let mut all = Vec::with_capacity(args.len());
            all.push(Val::I32(index as i32));
            all.extend_from_slice(rest);
            guest.call(&self.export, &all)
        } else {
            guest.call_table(index, rest)
        };
        // Any other interrupt ends the evaluation, whose state is thrown away: the stack pointer may stay as it is.
        let Err(Interrupt::LongJmp) = result else { return result };
        guest.set_call_depth(depth);
        call_unit(guest, format.export(Export::StackRestore), &[stack])?;
        guest.call(format.export(Export::SetThrew), &[wide_or_narrow(format, 1), Val::I32(0)])?;
        Ok(self.caught.map(|zero| match zero {
            ZeroOf::I32 => Val::I32(0),
            ZeroOf::I64 => Val::I64(0),
            ZeroOf::F32 => Val::F32(f32::NAN.to_bits()),
            ZeroOf::F64 => Val::F64(f64::NAN.to_bits()),
        }))
    }
}

/// `_emscripten_throw_longjmp`.
pub(super) fn throw_longjmp(guest: &mut dyn Guest, _: &[Val]) -> Outcome {
    charge(guest, 1, UNWIND)?;
    Err(Interrupt::LongJmp)
}

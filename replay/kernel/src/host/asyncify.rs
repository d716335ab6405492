//! Asyncify: the loader unwinds the wasm stack at each WeaveDrive call and rewinds it when the promise is settled.
//!
//! Nothing here waits, but the unwinding shows in memory (40 MiB of stack taken from the guest's heap) and in gas, so
//! it is done as the loader does it.
//!
//! Not here: the loop around `handle` (`driver`). Invariant: idle between messages.

use serde::{Deserialize, Serialize};

use super::mem::Heap;
use super::{Outcome, abort_with, call_ptr, call_unit};
use crate::guest::{Guest, Interrupt, TrapKind, Val};

/// Bytes of saved stack. `Asyncify.StackSize` of both glues.
const STACK_BYTES: u64 = 41_943_040;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    #[default]
    Normal,
    Unwinding,
    Rewinding,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asyncify {
    phase: Phase,
    /// `Asyncify.currData`: address of the saved stack.
    data: u64,
    /// The operation that unwinds has failed: its promise is never settled.
    is_stuck: bool,
}

impl Asyncify {
    pub(crate) fn is_idle(&self) -> bool {
        *self == Self::default()
    }
}

/// `__asyncjs__weavedrive_open`: without the extension it answers null.
pub(super) fn weavedrive_open(guest: &mut dyn Guest, _: &[Val]) -> Outcome {
    sleep(guest, false)
}

/// `__asyncjs__weavedrive_read` and `_close`: without the extension their promise is rejected.
pub(super) fn weavedrive_missing(guest: &mut dyn Guest, _: &[Val]) -> Outcome {
    sleep(guest, true)
}

/// `Asyncify.handleSleep` of an operation that settles at once.
fn sleep(guest: &mut dyn Guest, is_stuck: bool) -> Outcome {
    let Asyncify { phase, data, .. } = guest.host().asyncify;
    match phase {
        Phase::Normal if !guest.can_unwind() => return Err(Interrupt::MustUnwind),
        Phase::Normal => {
            // The glue sets its phase before it asks for memory.
            guest.host().asyncify.phase = Phase::Unwinding;
            let data = allocate(guest)?;
            guest.host().asyncify = Asyncify { phase: Phase::Unwinding, data, is_stuck };
            aborting(call_unit(guest, "asyncify_start_unwind", &[data]))?;
        }
        Phase::Rewinding => {
            guest.host().asyncify.phase = Phase::Normal;
            aborting(call_unit(guest, "asyncify_stop_rewind", &[]))?;
            call_unit(guest, "free", &[data])?;
            guest.host().asyncify = Asyncify::default();
        }
        Phase::Unwinding => return Err(abort_with(guest, "invalid state: 1")),
    }
    Ok(Some(Val::I32(0)))
}

/// `Asyncify.allocateData`: a header (start and end of the stack, and which export to re-enter: the first seen,
/// `handle`), then the stack.
fn allocate(guest: &mut dyn Guest) -> Result<u64, Interrupt> {
    let word = if guest.host().format.is_wide() { 8 } else { 4 };
    let header = if word == 8 { 24 } else { 12 };
    let data = call_ptr(guest, "malloc", &[header + STACK_BYTES])?;
    let mut heap = Heap::of(guest);
    // What the guest's `malloc` answers may be anything.
    let stack = data.wrapping_add(header);
    heap.set_ptr(data as i64, stack);
    heap.set_ptr(data.wrapping_add(word) as i64, stack.wrapping_add(STACK_BYTES));
    heap.set_i32(data.wrapping_add(2 * word) as i64, 0);
    Ok(data)
}

/// `runAndAbortIfError`.
fn aborting(result: Result<(), Interrupt>) -> Result<(), Interrupt> {
    let text = match result {
        Err(Interrupt::Trap(TrapKind::Unreachable)) => "RuntimeError: unreachable",
        Err(Interrupt::Trap(_)) => "RuntimeError",
        other => return other,
    };
    Err(Interrupt::Abort(format!("Aborted({text})")))
}

/// After `handle` returned: whether it only unwound and is to be entered again, now rewinding.
pub(super) fn resume(guest: &mut dyn Guest) -> Result<bool, Interrupt> {
    let Asyncify { phase, data, is_stuck } = guest.host().asyncify;
    if phase != Phase::Unwinding {
        return Ok(false);
    }
    if data == 0 {
        let text = "Assertion failed: Tried to wait for an async operation when none is in progress.";
        return Err(abort_with(guest, text));
    }
    guest.host().asyncify.phase = Phase::Normal;
    aborting(call_unit(guest, "asyncify_stop_unwind", &[]))?;
    if is_stuck {
        return Err(Interrupt::Abort("Module2.WeaveDrive is not a function".to_owned()));
    }
    guest.host().asyncify.phase = Phase::Rewinding;
    aborting(call_unit(guest, "asyncify_start_rewind", &[data]))?;
    Ok(true)
}

//! Sealed host calls: what the reference loader's JavaScript does for a module, as functions of the state alone.
//!
//! Not here: engines, admission, the message. Each call is written once over [`Guest`].
//! Invariant: no call reads anything but its arguments, linear memory and [`HostState`], so a process never sees the
//! machine it runs on.

#![allow(clippy::unnecessary_wraps, reason = "every host call has the one signature")]

mod asyncify;
mod calendar;
mod driver;
mod fd;
mod files;
mod format;
mod heap;
mod invoke;
mod mem;
mod process;
mod resolve;
mod stat;
mod state;
mod strftime;
mod syscalls;
mod text;
mod time;
mod wasi;

pub use driver::{boot, bounded, handle};
pub use files::{FILES_BYTES_MAX, NODES_MAX};
pub use format::{ModuleFormat, UnknownFormat};
pub use invoke::Invoke;
pub use resolve::{HostFn, ValType, resolve, served};
pub use state::{CLOCK_START_MS, GAS_LIMIT_DEFAULT, HostState, StateError};

use crate::guest::{Guest, Interrupt, Val};
use format::Glue;

/// What a host call gives back.
pub(crate) type Outcome = Result<Option<Val>, Interrupt>;

/// The interrupt of the glue's `abort(text)`.
fn abort_with(guest: &mut dyn Guest, text: &str) -> Interrupt {
    let hint = match guest.host().format.glue() {
        Glue::E1 => ". Build with -sASSERTIONS for more info.",
        _ => "",
    };
    Interrupt::Abort(format!("Aborted({text}){hint}"))
}

/// Charges for so many of what costs that much `each`.
fn charge(guest: &mut dyn Guest, count: u64, each: u64) -> Result<(), Interrupt> {
    let cost = i64::try_from(count.saturating_mul(each)).unwrap_or(i64::MAX);
    let left = guest.gas_left().saturating_sub(cost);
    guest.set_gas_left(left);
    if left < 0 { Err(Interrupt::OutOfGas) } else { Ok(()) }
}

/// A pointer or size of the format's width.
fn wide_or_narrow(format: ModuleFormat, value: u64) -> Val {
    if format.is_wide() { Val::I64(value as i64) } else { Val::I32(value as i32) }
}

/// Calls an export that takes pointers and sizes only, for its result or 0 if it has none.
fn call_ptr(guest: &mut dyn Guest, export: &str, pointers: &[u64]) -> Result<u64, Interrupt> {
    let format = guest.host().format;
    let args: Vec<Val> = pointers.iter().map(|&value| wide_or_narrow(format, value)).collect();
    Ok(guest.call(export, &args)?.map_or(0, Val::as_u64))
}

/// The same for its effect.
fn call_unit(guest: &mut dyn Guest, export: &str, pointers: &[u64]) -> Result<(), Interrupt> {
    call_ptr(guest, export, pointers).map(|_| ())
}

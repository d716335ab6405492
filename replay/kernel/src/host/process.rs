//! Calls that end or describe the guest's process: exit, abort, environment, commands, temporaries.
//!
//! Not here: files. Invariant: nothing of the real host is visible.

use super::format::{Export, Glue};
use super::mem::{Args, Heap};
use super::text::utf8_to_string;
use super::{Outcome, abort_with, call_ptr};
use crate::guest::{Guest, Interrupt, Val};

/// The environment of glues 1 to 3. `_` is the path of the operator's Node script in the loader; here it is the
/// glue's own default.
const ENVIRONMENT: [&str; 7] =
    ["USER=web_user", "LOGNAME=web_user", "PATH=/", "PWD=/", "HOME=/home/web_user", "LANG=C.UTF-8", "_=./this.program"];
const ENOSYS: i32 = 52;

/// `exit`, `proc_exit`.
pub(super) fn exit(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    Err(Interrupt::Exit(Args::new(guest.host().format, args).int()))
}

/// `abort`, `_abort_js`.
pub(super) fn abort(guest: &mut dyn Guest, _: &[Val]) -> Outcome {
    let text = if guest.host().format.glue() == Glue::E1 { "" } else { "native code called abort()" };
    Err(abort_with(guest, text))
}

pub(super) fn assert_fail(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let mut args = Args::new(guest.host().format, args);
    let (condition, file, line, function) = (args.ptr(), args.ptr(), args.int(), args.ptr());
    let memory = guest.memory();
    let text = |at: i64, none: &str| if at == 0 { none.to_owned() } else { utf8_to_string(memory, at) };
    let text = format!(
        "Assertion failed: {}, at: {},{line},{}",
        utf8_to_string(memory, condition),
        text(file, "unknown filename"),
        text(function, "unknown function"),
    );
    Err(abort_with(guest, &text))
}

pub(super) fn cxa_throw(guest: &mut dyn Guest, _: &[Val]) -> Outcome {
    let text = "Assertion failed: Exception thrown, but exception catching is not enabled. Compile with \
                -sNO_DISABLE_EXCEPTION_CATCHING or -sEXCEPTION_CATCHING_ALLOWED=[..] to catch.";
    Err(abort_with(guest, text))
}

pub(super) fn dlopen(guest: &mut dyn Guest, _: &[Val]) -> Outcome {
    let text = "To use dlopen, you need enable dynamic linking, see https://github.com/emscripten-core/emscripten/wiki/Linking";
    Err(abort_with(guest, text))
}

/// Calls without effect and result.
pub(super) fn nothing(_: &mut dyn Guest, _: &[Val]) -> Outcome {
    Ok(None)
}

/// Calls without effect that answer 0.
pub(super) fn success(_: &mut dyn Guest, _: &[Val]) -> Outcome {
    Ok(Some(Val::I32(0)))
}

/// Glue 1 has no files.
pub(super) fn unsupported(_: &mut dyn Guest, _: &[Val]) -> Outcome {
    Ok(Some(Val::I32(ENOSYS)))
}

/// Glue 1's `fd_seek`.
pub(super) fn not_seekable(_: &mut dyn Guest, _: &[Val]) -> Outcome {
    Ok(Some(Val::I32(70)))
}

/// `system`: no shell. Glue 4 would run the command on the operator's machine; here it claims to have one and
/// refuses every command, as the others do.
pub(super) fn system(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let format = guest.host().format;
    let command = Args::new(format, args).ptr();
    let answer = match format.glue() {
        Glue::E4 if command == 0 => 1,
        Glue::E4 if utf8_to_string(guest.memory(), command).is_empty() => 0,
        _ if command == 0 => 0,
        Glue::E1 | Glue::E2 => {
            let errno = call_ptr(guest, format.export(Export::ErrnoLocation), &[])?;
            Heap::of(guest).set_i32(errno as i64, ENOSYS);
            -1
        }
        _ => -ENOSYS,
    };
    Ok(Some(Val::I32(answer)))
}

fn environment(glue: Glue) -> &'static [&'static str] {
    if glue <= Glue::E3 { &ENVIRONMENT } else { &[] }
}

pub(super) fn environ_get(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let format = guest.host().format;
    let mut args = Args::new(format, args);
    let (list, mut text) = (args.ptr(), args.ptr());
    let mut heap = Heap::of(guest);
    let word = if heap.is_wide() { 8 } else { 4 };
    for (i, entry) in (0_i64..).zip(environment(format.glue())) {
        heap.set_ptr(list.saturating_add(i * word), text as u64);
        for byte in entry.bytes().chain([0]) {
            heap.set_u8(text, byte);
            text = text.saturating_add(1);
        }
    }
    Ok(Some(Val::I32(0)))
}

pub(super) fn environ_sizes_get(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let format = guest.host().format;
    let mut args = Args::new(format, args);
    let (count, size) = (args.ptr(), args.ptr());
    let entries = environment(format.glue());
    let mut heap = Heap::of(guest);
    heap.set_ptr(count, entries.len() as u64);
    heap.set_ptr(size, entries.iter().map(|entry| entry.len() as u64 + 1).sum());
    Ok(Some(Val::I32(0)))
}

pub(super) fn get_temp_ret0(guest: &mut dyn Guest, _: &[Val]) -> Outcome {
    Ok(Some(Val::I32(guest.host().temp_ret0)))
}

pub(super) fn set_temp_ret0(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let value = Args::new(guest.host().format, args).int();
    guest.host().temp_ret0 = value;
    Ok(None)
}

/// `metering_gasUsed`.
pub(super) fn gas_used(guest: &mut dyn Guest, _: &[Val]) -> Outcome {
    Ok(Some(Val::F64(guest.host().gas_used().to_bits())))
}

/// The same where the module declares it an integer: JavaScript's `ToInt32`, which wraps.
pub(super) fn gas_used_int(guest: &mut dyn Guest, _: &[Val]) -> Outcome {
    Ok(Some(Val::I32(guest.host().gas_used() as i64 as i32)))
}

/// Glue 1's `fd_write`: everything is taken, nothing is kept.
pub(super) fn discard(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let mut args = Args::new(guest.host().format, args);
    let (_, vectors, count, total) = (args.int(), args.ptr(), args.ptr(), args.ptr());
    let mut heap = Heap::of(guest);
    let mut sum = 0_u64;
    for i in 0..count {
        let len = heap.ptr(vectors.saturating_add(8 * i + 4))?;
        sum = sum.wrapping_add(len);
    }
    heap.set_i32(total, sum as i32);
    Ok(Some(Val::I32(0)))
}

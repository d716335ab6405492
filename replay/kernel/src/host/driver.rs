//! The glue around the module: instantiation and the call of `handle`.
//!
//! Not here: the JSON that goes in and comes out. Invariant: every store into memory and every call of an export in
//! the glue's order; between messages the host state is at rest.

use super::asyncify;
use super::files::Fail;
use super::format::{Export, Glue, ModuleFormat};
use super::mem::Heap;
use super::text::{string_to_utf8, utf8_to_string};
use super::{abort_with, call_ptr, call_unit, charge, wasi};
use crate::guest::{Guest, Interrupt, Val};
use crate::rewrite::HOST_BYTE;

const COOKIE: [u32; 2] = [0x0213_5467, 0x89ba_cdfe];
/// Magic at address 0, "ecms".
const COOKIE_AT_ZERO: u32 = 0x6373_6d65;

/// What the loader does between instantiation and the first message.
///
/// # Errors
/// What interrupted the module's constructors or its `main`; the module is then unusable.
pub fn boot(guest: &mut dyn Guest) -> Result<(), Interrupt> {
    let format = guest.host().format;
    let glue = format.glue();
    if format.is_standalone() {
        return wasi::boot(guest);
    }
    if glue != Glue::E1 {
        call_unit(guest, "emscripten_stack_init", &[])?;
        write_stack_cookie(guest)?;
        let host = guest.host();
        stop(host.files.create_standard_streams(&mut host.clock))?;
    }
    call_unit(guest, format.export(Export::Ctors), &[])?;
    if glue <= Glue::E3 {
        run_main(guest, format)?;
    } else {
        // The loader's `FS_createPath("/", "data")`.
        let host = guest.host();
        stop(host.files.make_directory("/data", 0o777, &mut host.clock))?;
    }
    if glue != Glue::E1 {
        check_stack_cookie(guest)?;
    }
    Ok(())
}

/// The tree at boot is fixed, so an error number here cannot be; it would be a fault of this crate.
pub(super) fn stop(result: Result<(), Fail>) -> Result<(), Interrupt> {
    result.map_err(|fail| match fail {
        Fail::Stop(interrupt) => interrupt,
        Fail::Errno(errno) => Interrupt::Abort(format!("errno {} at boot", errno.0)),
    })
}

fn stack_end(guest: &mut dyn Guest) -> Result<i64, Interrupt> {
    Ok(call_ptr(guest, "emscripten_stack_get_end", &[])?.max(4) as i64)
}

fn write_stack_cookie(guest: &mut dyn Guest) -> Result<(), Interrupt> {
    let end = stack_end(guest)?;
    let mut heap = Heap::of(guest);
    heap.set_i32(end, COOKIE[0] as i32);
    heap.set_i32(end.saturating_add(4), COOKIE[1] as i32);
    heap.set_i32(0, COOKIE_AT_ZERO as i32);
    Ok(())
}

fn check_stack_cookie(guest: &mut dyn Guest) -> Result<(), Interrupt> {
    let end = stack_end(guest)?;
    let heap = Heap::of(guest);
    let found = [heap.i32(end)? as u32, heap.i32(end.saturating_add(4))? as u32];
    let zero = heap.i32(0)? as u32;
    if found != COOKIE {
        let text = format!(
            "Stack overflow! Stack cookie has been overwritten at 0x{end:08x}, expected hex dwords 0x89BACDFE and \
             0x2135467, but received 0x{:08x} 0x{:08x}",
            found[1], found[0]
        );
        return Err(abort_with(guest, &text));
    }
    if zero != COOKIE_AT_ZERO {
        let text = "Runtime error: The application has corrupted its heap memory area (address zero)!";
        return Err(abort_with(guest, text));
    }
    Ok(())
}

/// `callMain` of glues 1 to 3. Glue 2 passes the path and arguments of the operator's Node script, left on the stack;
/// here they are the glue's default name and none.
fn run_main(guest: &mut dyn Guest, format: ModuleFormat) -> Result<(), Interrupt> {
    const PROGRAM: &str = "./this.program";
    let (mut count, mut list) = (0, 0);
    if format.glue() == Glue::E2 {
        count = 1;
        list = call_ptr(guest, format.export(Export::StackAlloc), &[8])?;
        let name = stack_string(guest, format, PROGRAM, PROGRAM.len() as u64 + 1)?;
        let mut heap = Heap::of(guest);
        heap.set_ptr(list as i64, name);
        heap.set_ptr((list as i64).saturating_add(4), 0);
    }
    match guest.call(format.export(Export::Main), &[Val::I32(count), Val::I32(list as i32)]) {
        // The glue looks for unflushed output and throws its own exit status, which it then catches.
        Ok(_) if format.glue() != Glue::E1 && guest.has_export("fflush") => {
            match guest.call("fflush", &[Val::I32(0)]) {
                Err(Interrupt::OutOfGas) => Err(Interrupt::OutOfGas),
                _ => Ok(()),
            }
        }
        Ok(_) | Err(Interrupt::Exit(_)) => Ok(()),
        Err(interrupt) => Err(interrupt),
    }
}

/// Runs a step, or what comes before the first, within the limit on gas.
///
/// # Errors
/// What interrupted it; [`Interrupt::OutOfGas`] if more was used than the limit, however it ended: but for
/// [`Interrupt::MustUnwind`], which is no end, and where the same step on other code uses more.
pub fn bounded<T>(
    guest: &mut dyn Guest,
    step: impl FnOnce(&mut dyn Guest) -> Result<T, Interrupt>,
) -> Result<T, Interrupt> {
    let limit = guest.host().compute_max();
    guest.set_gas_left(limit as i64);
    let answer = step(guest);
    match answer {
        Err(Interrupt::MustUnwind) => answer,
        _ if guest.gas_left() < 0 => Err(Interrupt::OutOfGas),
        _ => answer,
    }
}

/// Copies a string to the wasm stack.
fn stack_string(guest: &mut dyn Guest, format: ModuleFormat, text: &str, size: u64) -> Result<u64, Interrupt> {
    charge(guest, size, HOST_BYTE)?;
    let at = call_ptr(guest, format.export(Export::StackAlloc), &[size])?;
    string_to_utf8(&mut Heap::of(guest), text, at as i64, size);
    Ok(at)
}

/// The stack a string argument takes: its bytes, or in old glues four for each UTF-16 unit.
fn stack_size(format: ModuleFormat, text: &str) -> u64 {
    let bytes = if format.glue() <= Glue::E2 { 4 * text.encode_utf16().count() } else { text.len() };
    bytes as u64 + 1
}

/// One message: `handle(message, environment)` as the loader's `cwrap` calls it. The reference's gas starts from zero.
///
/// # Errors
/// What interrupted the module. State and memory are then torn and must be thrown away.
pub fn handle(guest: &mut dyn Guest, message_json: &str, environment_json: &str) -> Result<String, Interrupt> {
    let host = guest.host();
    let format = host.format;
    host.refill_gas();
    if format.is_standalone() {
        return wasi::handle(guest, message_json, environment_json);
    }
    let stack = call_ptr(guest, format.export(Export::StackSave), &[])?;
    let message = stack_string(guest, format, message_json, stack_size(format, message_json))?;
    let environment = stack_string(guest, format, environment_json, stack_size(format, environment_json))?;
    let args = [message, environment];
    let export = format.export(Export::Handle);
    let mut result = call_ptr(guest, export, &args)?;
    while asyncify::resume(guest)? {
        result = call_ptr(guest, export, &args)?;
    }
    if stack != 0 {
        call_unit(guest, format.export(Export::StackRestore), &[stack])?;
    }
    debug_assert!(guest.host().is_at_rest(), "the message has ended");
    let answer = utf8_to_string(guest.memory(), result as i64);
    charge(guest, answer.len() as u64, HOST_BYTE)?;
    Ok(answer)
}

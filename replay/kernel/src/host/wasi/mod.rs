//! WASI preview 1 for standalone modules: no glue, files and clock of the state.
//!
//! A module of format `wasm32-unknown-wasip1` imports `wasi_snapshot_preview1` or nothing; one of `wasm64-unknown-wasip1`, where
//! pointers and sizes have 64 bits, what emscripten's standalone library imports (`resolve`). It exports its memory, `malloc` and
//! `handle`; `_initialize` runs once before the first message if there is one. Message and environment are C strings, each in
//! memory from `malloc`, given to `handle(message, environment)` and handed to `free` afterwards where that is exported; the
//! answer is a C string that stays the module's own. Descriptor 3 is the root of the file tree, opened before.
//!
//! Not here: the tree (`files`), the calls on descriptors (`fd`) and names (`path`).
//! Invariant: nothing of the real host is visible. A pointer out of bounds is the guest's error number, never a trap.

mod fd;
mod misc;
mod path;

use super::fd::with_files;
use super::files::{Errno, Fail, Files};
use super::resolve::{Row, ValType, call};
use super::state::Clock;
use super::text::utf8_to_string;
use super::{HostFn, Outcome, call_ptr};
use crate::guest::{Guest, Interrupt, Val};

/// The name that all calls are imported from.
pub(super) const MODULE: &str = "wasi_snapshot_preview1";
/// The descriptor of the root.
const ROOT_FD: i32 = 3;

/// What one call works with.
struct Job<'a> {
    files: &'a mut Files,
    clock: &'a mut Clock,
    memory: &'a mut [u8],
    args: std::slice::Iter<'a, Val>,
}

impl Job<'_> {
    /// The next argument as an integer or pointer of 32 bits.
    fn int(&mut self) -> u32 {
        self.args.next().map_or(0, |value| value.as_u64() as u32)
    }

    fn fd(&mut self) -> i32 {
        self.int() as i32
    }

    fn long(&mut self) -> u64 {
        self.args.next().map_or(0, |value| value.as_u64())
    }

    fn bytes(&mut self, at: impl Into<u64>, len: u32) -> Result<&mut [u8], Errno> {
        let start = usize::try_from(at.into()).map_err(|_| Errno::EFAULT)?;
        let end = start.checked_add(len as usize).ok_or(Errno::EFAULT)?;
        self.memory.get_mut(start..end).ok_or(Errno::EFAULT)
    }

    fn put(&mut self, at: impl Into<u64>, value: &[u8]) -> Result<(), Errno> {
        self.bytes(at, value.len() as u32)?.copy_from_slice(value);
        Ok(())
    }

    fn put_u32(&mut self, at: impl Into<u64>, value: u32) -> Result<(), Errno> {
        self.put(at, &value.to_le_bytes())
    }

    fn put_u64(&mut self, at: impl Into<u64>, value: u64) -> Result<(), Errno> {
        self.put(at, &value.to_le_bytes())
    }
}

/// `clock_time_get` and `clock_res_get`, whatever the width of pointers.
pub(super) fn clock_time(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    serve(guest, args, misc::clock_time)
}

pub(super) fn clock_resolution(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    serve(guest, args, misc::clock_resolution)
}

/// `random_get`.
pub(super) fn random(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let mut values = args.iter().map(|value| value.as_u64() as usize);
    let (at, len) = (values.next().unwrap_or(0), values.next().unwrap_or(0));
    let mut bytes = guest.host().draw();
    let answer = guest.memory_mut().get_mut(at..at.saturating_add(len)).map_or(Errno::EFAULT.0, |target| {
        bytes.fill(target);
        0
    });
    Ok(Some(Val::I32(answer)))
}

/// Runs one call and answers with its error number.
fn serve(guest: &mut dyn Guest, args: &[Val], work: fn(&mut Job<'_>) -> Result<(), Fail>) -> Outcome {
    let result = with_files(guest, |files, heap, clock| {
        work(&mut Job { files, clock, memory: &mut *heap.bytes, args: args.iter() })
    });
    match result {
        Ok(()) => Ok(Some(Val::I32(0))),
        Err(Fail::Errno(Errno(number))) => Ok(Some(Val::I32(number))),
        Err(Fail::Stop(interrupt)) => Err(interrupt),
    }
}

/// The call that serves a name, if there is one of this signature.
pub(super) fn resolve(name: &str, params: &[ValType], results: &[ValType]) -> Option<HostFn> {
    let (_, signature, host) = CALLS.iter().find(|(served, ..)| *served == name)?;
    let (inputs, outputs) = signature.split_once('>').unwrap_or((signature, ""));
    let types = |letters: &str| -> Vec<ValType> {
        letters.chars().map(|letter| if letter == 'l' { ValType::I64 } else { ValType::I32 }).collect()
    };
    (types(inputs) == params && types(outputs) == results).then(|| host.clone())
}

#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    CALLS.iter().map(|(name, ..)| *name)
}

macro_rules! row {
    ($name:literal, $signature:literal, $work:path) => {
        call($name, $signature, |guest, args| serve(guest, args, $work))
    };
}

/// Signatures are written with one letter a value: `i` 32 bits, `l` 64 bits; results after `>`.
static CALLS: &[Row] = &[
    row!("args_get", "ii>i", misc::nothing),
    row!("args_sizes_get", "ii>i", misc::no_strings),
    call("clock_res_get", "ii>i", clock_resolution),
    call("clock_time_get", "ili>i", clock_time),
    row!("environ_get", "ii>i", misc::nothing),
    row!("environ_sizes_get", "ii>i", misc::no_strings),
    row!("fd_advise", "illi>i", fd::is_open),
    row!("fd_allocate", "ill>i", fd::allocate),
    row!("fd_close", "i>i", fd::close),
    row!("fd_datasync", "i>i", fd::is_open),
    row!("fd_fdstat_get", "ii>i", fd::status),
    row!("fd_fdstat_set_flags", "ii>i", fd::set_flags),
    row!("fd_fdstat_set_rights", "ill>i", fd::is_open),
    row!("fd_filestat_get", "ii>i", fd::file_status),
    row!("fd_filestat_set_size", "il>i", fd::set_size),
    row!("fd_filestat_set_times", "illi>i", fd::set_times),
    row!("fd_pread", "iiili>i", fd::read_at),
    row!("fd_prestat_dir_name", "iii>i", fd::root_name),
    row!("fd_prestat_get", "ii>i", fd::root),
    row!("fd_pwrite", "iiili>i", fd::write_at),
    row!("fd_read", "iiii>i", fd::read),
    row!("fd_readdir", "iiili>i", fd::list),
    row!("fd_renumber", "ii>i", fd::renumber),
    row!("fd_seek", "ilii>i", fd::seek),
    row!("fd_sync", "i>i", fd::is_open),
    row!("fd_tell", "ii>i", fd::tell),
    row!("fd_write", "iiii>i", fd::write),
    row!("path_create_directory", "iii>i", path::create_directory),
    row!("path_filestat_get", "iiiii>i", path::file_status),
    row!("path_filestat_set_times", "iiiilli>i", path::set_times),
    row!("path_link", "iiiiiii>i", misc::unsupported),
    row!("path_open", "iiiiillii>i", path::open),
    row!("path_readlink", "iiiiii>i", path::read_link),
    row!("path_remove_directory", "iii>i", path::remove_directory),
    row!("path_rename", "iiiiii>i", path::rename),
    row!("path_symlink", "iiiii>i", path::symlink),
    row!("path_unlink_file", "iii>i", path::unlink),
    row!("poll_oneoff", "iiii>i", misc::poll),
    call("proc_exit", "i", super::process::exit),
    row!("proc_raise", "i>i", misc::unsupported),
    call("random_get", "ii>i", random),
    row!("sched_yield", ">i", misc::nothing),
    row!("sock_accept", "iii>i", misc::unsupported),
    row!("sock_recv", "iiiiii>i", misc::unsupported),
    row!("sock_send", "iiiii>i", misc::unsupported),
    row!("sock_shutdown", "ii>i", misc::unsupported),
];

/// What happens between instantiation and the first message.
pub(super) fn boot(guest: &mut dyn Guest) -> Result<(), Interrupt> {
    let host = guest.host();
    let opened = host
        .files
        .create_standard_streams(&mut host.clock)
        .and_then(|()| host.files.open("/", path::O_DIRECTORY, 0, &mut host.clock));
    super::driver::stop(opened.map(|_| ()))?;
    if guest.has_export("_initialize") { guest.call("_initialize", &[]).map(|_| ()) } else { Ok(()) }
}

/// One message.
pub(super) fn handle(guest: &mut dyn Guest, message_json: &str, environment_json: &str) -> Result<String, Interrupt> {
    guest.host().stir(message_json);
    let mut strings = [0; 2];
    for (at, text) in strings.iter_mut().zip([message_json, environment_json]) {
        let len = text.len() as u64;
        *at = call_ptr(guest, "malloc", &[len + 1])?;
        let place = usize::try_from(*at).ok().filter(|at| *at != 0);
        let place = place.and_then(|at| guest.memory_mut().get_mut(at..at.checked_add(text.len() + 1)?));
        let place = place.ok_or_else(|| Interrupt::Abort(format!("malloc({}) gave {at:#x}", len + 1)))?;
        place[..text.len()].copy_from_slice(text.as_bytes());
        place[text.len()] = 0;
    }
    let result = call_ptr(guest, "handle", &strings)?;
    let answer = utf8_to_string(guest.memory(), result as i64);
    if guest.has_export("free") {
        for at in strings {
            call_ptr(guest, "free", &[at])?;
        }
    }
    Ok(answer)
}

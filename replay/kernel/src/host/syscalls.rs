//! The `__syscall_*` imports.
//!
//! Not here: the tree (`files`). Invariant: a call answers with a negative error number or a result of at least 0.

use super::fd::with_files;
use super::files::{Device, Errno, Fail, Files};
use super::format::{Glue, ModuleFormat};
use super::mem::{Args, Heap};
use super::state::Clock;
use super::text::{string_to_utf8, utf8_to_string};
use super::{Outcome, abort_with};
use crate::guest::{Guest, Interrupt, Val};

/// The answer of a system call.
pub(super) fn answer(result: Result<i32, Fail>) -> Outcome {
    match result {
        Ok(value) => Ok(Some(Val::I32(value))),
        Err(Fail::Errno(Errno(number))) => Ok(Some(Val::I32(-number))),
        Err(Fail::Stop(interrupt)) => Err(interrupt),
    }
}

/// Runs `work` and answers with its result.
pub(super) fn call(
    guest: &mut dyn Guest,
    work: impl FnOnce(&mut Files, &mut Heap<'_>, &mut Clock) -> Result<i32, Fail>,
) -> Outcome {
    answer(with_files(guest, work))
}

pub(super) fn arguments<'a>(guest: &mut dyn Guest, args: &'a [Val]) -> (ModuleFormat, Args<'a>) {
    let format = guest.host().format;
    (format, Args::new(format, args))
}

fn done(result: Result<(), Errno>) -> Result<i32, Fail> {
    Ok(result.map(|()| 0)?)
}

pub(super) fn chmod(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let (_, mut args) = arguments(guest, args);
    let (path, mode) = (args.ptr(), args.int());
    call(guest, |files, heap, clock| done(files.chmod(&utf8_to_string(heap.bytes, path), mode as u32, clock)))
}

pub(super) fn fchmod(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let (_, mut args) = arguments(guest, args);
    let (fd, mode) = (args.int(), args.int());
    call(guest, |files, _, clock| done(files.chmod_stream(fd, mode as u32, clock)))
}

pub(super) fn fchown(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let (_, mut args) = arguments(guest, args);
    let fd = args.int();
    call(guest, |files, _, clock| done(files.chown_stream(fd, clock)))
}

pub(super) fn dup3(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let (_, mut args) = arguments(guest, args);
    let (fd, to, flags) = (args.int(), args.int(), args.int());
    if flags != 0 && guest.host().files.device(fd).is_ok() {
        return Err(abort_with(guest, "Assertion failed"));
    }
    call(guest, |files, _, _| Ok(files.replace(fd, to)?))
}

pub(super) fn faccessat(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let (_, mut args) = arguments(guest, args);
    let (directory, path, mode, flags) = (args.int(), args.ptr(), args.int(), args.int());
    if flags != 0 {
        return Err(abort_with(guest, "Assertion failed"));
    }
    call(guest, |files, heap, _| {
        let path = files.path_at(directory, utf8_to_string(heap.bytes, path), false)?;
        if mode & !7 != 0 {
            return Err(Errno::EINVAL.into());
        }
        done(files.access(&path, mode as u32))
    })
}

pub(super) fn fcntl(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    const UNLOCKED: i16 = 2;
    let (format, mut args) = arguments(guest, args);
    let (fd, command, rest) = (args.int(), args.int(), args.ptr());
    // The lock commands are numbered 5 to 7 or 12 to 14, by pointer width.
    let (get_lock, set_lock, wait_lock) =
        if matches!(format.glue(), Glue::W64 | Glue::E2) { (5, 6, 7) } else { (12, 13, 14) };
    call(guest, |files, heap, _| {
        files.device(fd)?;
        match command {
            0 => match heap.i32(rest)? {
                lowest if lowest < 0 => Err(Errno::EINVAL.into()),
                lowest => Ok(files.duplicate_from(fd, lowest)?),
            },
            1 | 2 => Ok(0),
            3 => Ok(files.flags(fd)? as i32),
            4 => done(files.add_flags(fd, heap.i32(rest)? as u32)),
            _ if command == get_lock => {
                let target = heap.ptr(rest)?;
                heap.set_i16(i64::try_from(target).unwrap_or(-1), UNLOCKED);
                Ok(0)
            }
            _ if command == set_lock || command == wait_lock => Ok(0),
            _ => Err(Errno::EINVAL.into()),
        }
    })
}

pub(super) fn ioctl(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let (_, mut args) = arguments(guest, args);
    let (fd, operation, rest) = (args.int(), args.int(), args.ptr());
    call(guest, |files, heap, _| {
        let device = files.device(fd)?;
        let is_known = matches!(operation, 21505..=21512 | 21515 | 21519 | 21520 | 21523 | 21524 | 21531);
        match operation {
            _ if !is_known => Err(Errno::EINVAL.into()),
            // No stream has an `ioctl` of its own.
            21531 => Err(Errno::ENOTTY.into()),
            _ if !matches!(device, Device::Tty | Device::Tty1) => Err(Errno::ENOTTY.into()),
            // Only the first terminal answers with settings and a size.
            21505 if device == Device::Tty => store_termios(heap, rest),
            21519 => {
                let target = argument(heap, rest)?;
                heap.set_i32(target, 0);
                Ok(0)
            }
            21520 => Err(Errno::EINVAL.into()),
            21523 if device == Device::Tty => {
                let target = argument(heap, rest)?;
                heap.set_i16(target, 24);
                heap.set_i16(target.saturating_add(2), 80);
                Ok(0)
            }
            _ => Ok(0),
        }
    })
}

/// The pointer behind a variable argument.
fn argument(heap: &Heap<'_>, rest: i64) -> Result<i64, Interrupt> {
    Ok(i64::try_from(heap.ptr(rest)?).unwrap_or(-1))
}

fn store_termios(heap: &mut Heap<'_>, rest: i64) -> Result<i32, Fail> {
    const FLAGS: [i32; 4] = [25856, 5, 191, 35387];
    const CONTROL: [u8; 32] =
        [3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let target = argument(heap, rest)?;
    for (i, flag) in (0_i64..).zip(FLAGS) {
        heap.set_i32(target.saturating_add(4 * i), flag);
    }
    for (i, byte) in (17_i64..).zip(CONTROL) {
        heap.set_u8(target.saturating_add(i), byte);
    }
    Ok(0)
}

pub(super) fn getcwd(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    const ROOT: &str = "/";
    let (_, mut args) = arguments(guest, args);
    let (target, size) = (args.ptr(), args.ptr());
    call(guest, |_, heap, _| match size {
        0 => Err(Errno::EINVAL.into()),
        size if size < 2 => Err(Errno::ERANGE.into()),
        _ => {
            string_to_utf8(heap, ROOT, target, 2);
            Ok(2)
        }
    })
}

pub(super) fn mkdirat(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let (_, mut args) = arguments(guest, args);
    let (directory, path, mode) = (args.int(), args.ptr(), args.int());
    call(guest, |files, heap, clock| {
        let path = files.path_at(directory, utf8_to_string(heap.bytes, path), false)?;
        files.make_directory(&path, mode as u32, clock).map(|()| 0)
    })
}

pub(super) fn openat(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let (_, mut args) = arguments(guest, args);
    let (directory, path, flags, rest) = (args.int(), args.ptr(), args.int(), args.ptr());
    call(guest, |files, heap, clock| {
        let path = files.path_at(directory, utf8_to_string(heap.bytes, path), false)?;
        let mode = if rest == 0 { 0 } else { heap.i32(rest)? };
        files.open(&path, flags as u32, mode as u32, clock)
    })
}

pub(super) fn readlinkat(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let (_, mut args) = arguments(guest, args);
    let (directory, path, target, size) = (args.int(), args.ptr(), args.ptr(), args.ptr());
    call(guest, |files, heap, _| {
        let path = files.path_at(directory, utf8_to_string(heap.bytes, path), false)?;
        if size <= 0 {
            return Err(Errno::EINVAL.into());
        }
        let link = files.read_link(&path)?;
        let len = (link.len() as i64).min(size);
        for (i, byte) in (0..len).zip(link.bytes()) {
            heap.set_u8(target.saturating_add(i), byte);
        }
        Ok(len as i32)
    })
}

pub(super) fn renameat(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let (_, mut args) = arguments(guest, args);
    let (old_directory, old, new_directory, new) = (args.int(), args.ptr(), args.int(), args.ptr());
    call(guest, |files, heap, clock| {
        let old = files.path_at(old_directory, utf8_to_string(heap.bytes, old), false)?;
        let new = files.path_at(new_directory, utf8_to_string(heap.bytes, new), false)?;
        done(files.rename(&old, &new, clock))
    })
}

pub(super) fn rmdir(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let (_, mut args) = arguments(guest, args);
    let path = args.ptr();
    call(guest, |files, heap, clock| done(files.delete(&utf8_to_string(heap.bytes, path), true, clock)))
}

pub(super) fn unlinkat(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    const REMOVE_DIRECTORY: i32 = 512;
    let (_, mut args) = arguments(guest, args);
    let (directory, path, flags) = (args.int(), args.ptr(), args.int());
    if flags & !REMOVE_DIRECTORY != 0 {
        return Err(abort_with(guest, "Invalid flags passed to unlinkat"));
    }
    call(guest, |files, heap, clock| {
        let path = files.path_at(directory, utf8_to_string(heap.bytes, path), false)?;
        done(files.delete(&path, flags == REMOVE_DIRECTORY, clock))
    })
}

pub(super) fn ftruncate(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let (format, mut args) = arguments(guest, args);
    let (fd, len) = (args.int(), args.offset());
    call(guest, |files, _, clock| match len {
        // Newer glues forget the sign.
        None if format.glue() != Glue::E2 => Ok(Errno::EOVERFLOW.0),
        None => Err(Errno::EOVERFLOW.into()),
        Some(len) => files.truncate_stream(fd, len, clock).map(|()| 0),
    })
}

pub(super) fn utimensat(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let (_, mut args) = arguments(guest, args);
    let (directory, path, times, flags) = (args.int(), args.ptr(), args.ptr(), args.int());
    if flags != 0 {
        return Err(abort_with(guest, "Assertion failed"));
    }
    call(guest, |files, heap, clock| {
        let path = files.path_at(directory, utf8_to_string(heap.bytes, path), true)?;
        let time_ns = if times == 0 {
            i128::from(clock.tick()) * 1_000_000
        } else {
            let time = |at: i64| -> Result<i128, Interrupt> {
                let (low, high) = (heap.i32(at)? as u32, heap.i32(at.saturating_add(4))?);
                let seconds = i128::from(i64::from(high) << 32 | i64::from(low));
                Ok(seconds * 1_000_000_000 + i128::from(heap.i32(at.saturating_add(8))?))
            };
            time(times)?.max(time(times.saturating_add(16))?)
        };
        done(files.set_time(&path, time_ns))
    })
}

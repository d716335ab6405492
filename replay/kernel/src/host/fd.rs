//! The `fd_*` calls of WASI and the calls on descriptors that share their shape.
//!
//! Not here: the streams themselves (`files`). Invariant: WASI calls answer with a positive error number.

use super::files::{Device, Errno, Fail, Files};
use super::format::Glue;
use super::mem::{Args, Heap};
use super::state::Clock;
use super::{Outcome, call_ptr, charge};
use crate::guest::{Guest, Val};
use crate::rewrite::HOST_BYTE;

/// Runs `work` on the files with the memory and the clock beside them.
pub(super) fn with_files<T>(guest: &mut dyn Guest, work: impl FnOnce(&mut Files, &mut Heap<'_>, &mut Clock) -> T) -> T {
    let host = guest.host();
    let (mut files, mut clock) = (std::mem::take(&mut host.files), std::mem::take(&mut host.clock));
    let answer = work(&mut files, &mut Heap::of(guest), &mut clock);
    let host = guest.host();
    (host.files, host.clock) = (files, clock);
    answer
}

/// The answer of a WASI call.
fn wasi(result: Result<(), Fail>) -> Outcome {
    match result {
        Ok(()) => Ok(Some(Val::I32(0))),
        Err(Fail::Errno(Errno(number))) => Ok(Some(Val::I32(number))),
        Err(Fail::Stop(interrupt)) => Err(interrupt),
    }
}

pub(super) fn close(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let fd = Args::new(guest.host().format, args).int();
    wasi(with_files(guest, |files, _, _| Ok(files.close(fd)?)))
}

pub(super) fn sync(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let fd = Args::new(guest.host().format, args).int();
    // Glues 2 and 3 ask a terminal to flush and hand on its `undefined`, which is 0.
    wasi(with_files(guest, |files, _, _| Ok(files.device(fd).map(|_| ())?)))
}

pub(super) fn fdstat_get(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    const TERMINAL: u8 = 2;
    const REGULAR: u8 = 4;
    let format = guest.host().format;
    let mut args = Args::new(format, args);
    let (fd, target) = (args.int(), args.ptr());
    wasi(with_files(guest, |files, heap, _| {
        let is_terminal = matches!(files.device(fd)?, Device::Tty | Device::Tty1);
        heap.set_u8(target, if is_terminal { TERMINAL } else { REGULAR });
        if format.glue() != Glue::E2 {
            heap.set_i16(target.saturating_add(2), 0);
            heap.set_i64(target.saturating_add(8), 0);
            heap.set_i64(target.saturating_add(16), 0);
        }
        Ok(())
    }))
}

pub(super) fn seek(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let mut args = Args::new(guest.host().format, args);
    let (fd, offset, whence, target) = (args.int(), args.offset(), args.int(), args.ptr());
    wasi(with_files(guest, |files, heap, _| {
        let position = files.seek(fd, offset.ok_or(Errno::EOVERFLOW)?, whence)?;
        heap.set_i64(target, position);
        Ok(())
    }))
}

pub(super) fn read(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    transfer(guest, args, Files::read)
}

pub(super) fn write(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    transfer(guest, args, Files::write)
}

type Transfer = fn(&mut Files, i32, &mut [u8], u64, u64, &mut Clock) -> Result<u64, Fail>;

/// `doReadv` and `doWritev`: one vector after the other, until one comes short.
fn transfer(guest: &mut dyn Guest, args: &[Val], one: Transfer) -> Outcome {
    let mut args = Args::new(guest.host().format, args);
    let (fd, vectors, count, target) = (args.int(), args.ptr(), args.ptr(), args.ptr());
    charge(guest, u64::try_from(count).unwrap_or(0), HOST_BYTE)?;
    let mut moved = 0;
    let answer = wasi(with_files(guest, |files, heap, clock| {
        let word = if heap.is_wide() { 8 } else { 4 };
        files.device(fd)?;
        let mut total = 0;
        for i in 0..count {
            let vector = vectors.saturating_add(i.saturating_mul(2 * word));
            let (at, len) = (heap.ptr(vector)?, heap.ptr(vector.saturating_add(word))?);
            let done = one(files, fd, heap.bytes, at, len, clock)?;
            // `/dev/null` takes any length without looking.
            total = u64::wrapping_add(total, done);
            if done < len {
                break;
            }
        }
        heap.set_ptr(target, total);
        moved = total;
        Ok(())
    }));
    charge(guest, moved, HOST_BYTE)?;
    answer
}

/// `_munmap_js`: writes a shared mapping back.
pub(super) fn munmap(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    const WRITABLE: i32 = 2;
    const PRIVATE: i32 = 2;
    let format = guest.host().format;
    let mut args = Args::new(format, args);
    let (address, len, protection, flags, fd) = (args.ptr(), args.ptr(), args.int(), args.int(), args.int());
    let offset = if format.glue() == Glue::E2 { Some(i64::from(args.int())) } else { args.offset() };
    let result = with_files(guest, |files, heap, clock| {
        match files.device(fd) {
            Err(_) if format.glue() == Glue::E2 => return Ok(()),
            Err(errno) => return Err(errno.into()),
            Ok(_) if protection & WRITABLE == 0 => return Ok(()),
            Ok(_) => {}
        }
        if !files.is_file(fd)? {
            return Err(Errno::ENODEV.into());
        }
        if flags & PRIVATE != 0 {
            return Ok(());
        }
        let offset = u64::try_from(offset.unwrap_or(-1)).map_err(|_| super::mem::OUT_OF_BOUNDS)?;
        files.sync_map(fd, heap.range(address as u64, len as u64)?, offset, clock)
    });
    super::syscalls::answer(result.map(|()| 0))
}

/// `_mmap_js` of glues 2 and 3: a copy of the file in memory taken from the guest's heap.
pub(super) fn mmap(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let format = guest.host().format;
    let mut args = Args::new(format, args);
    let (len, protection, flags, fd) = (args.ptr(), args.int(), args.int(), args.int());
    let is_old = format.glue() == Glue::E2;
    let offset = if is_old { Some(i64::from(args.int())) } else { args.offset() };
    let (allocated, address) = (args.ptr(), args.ptr());
    let data = with_files(guest, |files, _, _| {
        let offset = offset.ok_or(Fail::Errno(Errno(-Errno::EOVERFLOW.0)))?;
        let access = files.flags(fd)? & 3;
        if protection & 2 != 0 && flags & 2 == 0 && access != 2 || access == 1 {
            return Err(Errno::EACCES.into());
        }
        Ok(files.mapped(fd, offset.max(0) as u64, len.max(0) as u64)?)
    });
    let data = match data {
        Ok(data) => data,
        Err(fail) => return super::syscalls::answer(Err(fail)),
    };
    let size = (len.max(0) as u64).next_multiple_of(65_536);
    let mapped = call_ptr(guest, "emscripten_builtin_memalign", &[65_536, size])?;
    if mapped == 0 {
        return super::syscalls::answer(Err(Errno::ENOMEM.into()));
    }
    let mut heap = Heap::of(guest);
    heap.range(mapped, size)?.fill(0);
    heap.range(mapped, data.len() as u64)?.copy_from_slice(&data);
    heap.set_i32(allocated, 1);
    if is_old {
        return Ok(Some(Val::I32(mapped as i32)));
    }
    heap.set_ptr(address, mapped);
    Ok(Some(Val::I32(0)))
}

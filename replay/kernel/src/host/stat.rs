//! The `stat` family.
//!
//! Not here: what a file's status is (`files`). Invariant: exactly the fields that the glue stores are stored.

use super::files::{Fail, Stat};
use super::format::Glue;
use super::mem::Heap;
use super::syscalls::{arguments, call};
use super::text::utf8_to_string;
use super::{Outcome, abort_with};
use crate::guest::{Guest, Interrupt, Val};

pub(super) fn stat(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    stat_path(guest, args, true)
}

pub(super) fn lstat(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    stat_path(guest, args, false)
}

fn stat_path(guest: &mut dyn Guest, args: &[Val], follow: bool) -> Outcome {
    let (format, mut args) = arguments(guest, args);
    let (path, target) = (args.ptr(), args.ptr());
    call(guest, |files, heap, _| {
        let stat = files.stat(&utf8_to_string(heap.bytes, path), follow)?;
        store_stat(heap, target, stat, format.glue())
    })
}

pub(super) fn fstat(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let (format, mut args) = arguments(guest, args);
    let (fd, target) = (args.int(), args.ptr());
    call(guest, |files, heap, _| store_stat(heap, target, files.stat_stream(fd)?, format.glue()))
}

pub(super) fn newfstatat(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    const NO_FOLLOW: i32 = 0x100;
    const ALLOW_EMPTY: i32 = 0x1000;
    const NO_AUTOMOUNT: i32 = 0x800;
    let (format, mut args) = arguments(guest, args);
    let (directory, path, target, flags) = (args.int(), args.ptr(), args.ptr(), args.int());
    let unknown = flags & !(NO_FOLLOW | NO_AUTOMOUNT | ALLOW_EMPTY);
    if unknown != 0 {
        let text = format!("Assertion failed: unknown flags in __syscall_newfstatat: {unknown}");
        return Err(abort_with(guest, &text));
    }
    call(guest, |files, heap, _| {
        let path = files.path_at(directory, utf8_to_string(heap.bytes, path), flags & ALLOW_EMPTY != 0)?;
        let stat = files.stat(&path, flags & NO_FOLLOW == 0)?;
        store_stat(heap, target, stat, format.glue())
    })
}

/// Offset and value.
type Field<T> = (i64, T);

/// `SYSCALLS.doStat`: `struct stat` as each pointer width and age lays it out.
fn store_stat(heap: &mut Heap<'_>, at: i64, stat: Stat, glue: Glue) -> Result<i32, Fail> {
    let Some(time) = stat.time.or((glue != Glue::W64).then_some(0)) else {
        let text = "The number NaN cannot be converted to a BigInt because it is not an integer";
        return Err(Interrupt::Abort(text.to_owned()).into());
    };
    let (seconds, nanos) = (time.div_euclid(1000), time % 1000 * 1000);
    let (ints, longs): (&[Field<u32>], &[Field<i64>]) = match glue {
        Glue::W64 => (
            &[(4, stat.mode), (16, 0), (20, 0), (24, stat.device_number), (40, 4096), (44, stat.blocks)],
            &[(8, 1), (32, stat.size as i64), (96, i64::from(stat.inode))],
        ),
        Glue::E1 | Glue::E2 => (
            &[
                (4, 0),
                (8, stat.inode),
                (12, stat.mode),
                (16, 1),
                (20, 0),
                (24, 0),
                (28, stat.device_number),
                (32, 0),
                (48, 4096),
                (52, stat.blocks),
            ],
            &[(40, stat.size as i64), (80, i64::from(stat.inode))],
        ),
        // WASI has a layout of its own.
        Glue::E3 | Glue::E4 | Glue::Wasi => (
            &[(4, stat.mode), (8, 1), (12, 0), (16, 0), (20, stat.device_number), (32, 4096), (36, stat.blocks)],
            &[(24, stat.size as i64), (88, i64::from(stat.inode))],
        ),
    };
    heap.set_i32(at, stat.device as i32);
    for &(offset, value) in ints {
        heap.set_i32(at.saturating_add(offset), value as i32);
    }
    for &(offset, value) in longs {
        heap.set_i64(at.saturating_add(offset), value);
    }
    // Access, modification and change time.
    for i in 0..3 {
        match glue {
            Glue::W64 => {
                heap.set_i64(at.saturating_add(48 + 16 * i), seconds);
                heap.set_i64(at.saturating_add(56 + 16 * i), nanos);
            }
            Glue::E1 | Glue::E2 => {
                heap.set_i32(at.saturating_add(56 + 8 * i), (time / 1000) as i32);
                heap.set_i32(at.saturating_add(60 + 8 * i), 0);
            }
            Glue::E3 | Glue::E4 | Glue::Wasi => {
                heap.set_i64(at.saturating_add(40 + 16 * i), seconds);
                heap.set_i32(at.saturating_add(48 + 16 * i), nanos as i32);
            }
        }
    }
    Ok(0)
}

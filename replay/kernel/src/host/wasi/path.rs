//! `path_*`: calls on names.
//!
//! Not here: descriptors (`fd`). Invariant: a name is relative to an open directory, and none leads out of the tree.

use super::Job;
use super::fd::{RIGHTS_READ, RIGHTS_WRITE, put_file_status};
use crate::host::files::{Errno, Fail, Kind};

/// Most bytes of a path and of a link's target.
const PATH_BYTES_MAX: u32 = 1024;
/// Most bytes of one name in it.
const NAME_BYTES_MAX: usize = 255;

const O_CREAT: u32 = 0o100;
const O_EXCL: u32 = 0o200;
const O_TRUNC: u32 = 0o1000;
const O_APPEND: u32 = 0o2000;
pub(super) const O_DIRECTORY: u32 = 0o200_000;
const O_NOFOLLOW: u32 = 0o400_000;
const FOLLOW: u32 = 1;

fn text(job: &mut Job<'_>, at: u32, len: u32) -> Result<String, Errno> {
    if len > PATH_BYTES_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    let text = std::str::from_utf8(job.bytes(at, len)?).map_err(|_| Errno::EILSEQ)?.to_owned();
    if text.contains('\0') {
        return Err(Errno::EINVAL);
    }
    if text.starts_with('/') {
        return Err(Errno::ENOTCAPABLE);
    }
    if text.split('/').any(|name| name.len() > NAME_BYTES_MAX) { Err(Errno::ENAMETOOLONG) } else { Ok(text) }
}

/// The path that a directory and the next two arguments name.
fn path_in(job: &mut Job<'_>, directory: i32) -> Result<String, Errno> {
    let (at, len) = (job.int(), job.int());
    if job.files.stat_open(directory)?.kind() != Kind::Directory {
        return Err(Errno::ENOTDIR);
    }
    let text = text(job, at, len)?;
    let path = job.files.path_at(directory, text, false)?;
    if job.files.leads_through_file(&path) { Err(Errno::ENOTDIR) } else { Ok(path) }
}

/// The path that the next three arguments name.
fn path(job: &mut Job<'_>) -> Result<String, Errno> {
    let directory = job.fd();
    path_in(job, directory)
}

pub(super) fn open(job: &mut Job<'_>) -> Result<(), Fail> {
    let (directory, lookup) = (job.fd(), job.int());
    let path = path_in(job, directory)?;
    let (wanted, rights, _inheriting) = (job.int(), job.long(), job.long());
    let (descriptor, target) = (job.int(), job.int());
    job.bytes(target, 4)?;
    let mut flags = [O_CREAT, O_DIRECTORY, O_EXCL, O_TRUNC]
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| wanted >> bit & 1 != 0)
        .fold(0, |flags, (_, flag)| flags | flag);
    flags |= match (rights & RIGHTS_READ != 0, rights & RIGHTS_WRITE != 0) {
        _ if flags & O_DIRECTORY != 0 => 0,
        (_, false) => 0,
        (true, true) => 2,
        (false, true) => 1,
    };
    flags |= if descriptor & 1 != 0 { O_APPEND } else { 0 };
    flags |= if lookup & FOLLOW == 0 { O_NOFOLLOW } else { 0 };
    let fd = job.files.open(&path, flags, 0o666, job.clock)?;
    Ok(job.put_u32(target, fd as u32)?)
}

pub(super) fn create_directory(job: &mut Job<'_>) -> Result<(), Fail> {
    let path = path(job)?;
    job.files.make_directory(&path, 0o777, job.clock)
}

pub(super) fn remove_directory(job: &mut Job<'_>) -> Result<(), Fail> {
    let path = path(job)?;
    Ok(job.files.delete(&path, true, job.clock)?)
}

pub(super) fn unlink(job: &mut Job<'_>) -> Result<(), Fail> {
    let path = path(job)?;
    Ok(job.files.delete(&path, false, job.clock)?)
}

pub(super) fn rename(job: &mut Job<'_>) -> Result<(), Fail> {
    let (old, new) = (path(job)?, path(job)?);
    Ok(job.files.rename(&old, &new, job.clock)?)
}

pub(super) fn symlink(job: &mut Job<'_>) -> Result<(), Fail> {
    let (at, len) = (job.int(), job.int());
    let target = text(job, at, len)?;
    let path = path(job)?;
    if target.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    job.files.make_link(&path, target, job.clock)
}

pub(super) fn read_link(job: &mut Job<'_>) -> Result<(), Fail> {
    let path = path(job)?;
    let (target, room, stored) = (job.int(), job.int(), job.int());
    let text = job.files.link_target(&path)?.to_owned();
    let text = &text.as_bytes()[..text.len().min(room as usize)];
    job.put(target, text)?;
    Ok(job.put_u32(stored, text.len() as u32)?)
}

pub(super) fn file_status(job: &mut Job<'_>) -> Result<(), Fail> {
    let (directory, lookup) = (job.fd(), job.int());
    let path = path_in(job, directory)?;
    let target = job.int();
    let stat = job.files.stat(&path, lookup & FOLLOW != 0)?;
    put_file_status(job, target, &stat)
}

pub(super) fn set_times(job: &mut Job<'_>) -> Result<(), Fail> {
    let (directory, lookup) = (job.fd(), job.int());
    let path = path_in(job, directory)?;
    let inode = job.files.stat(&path, lookup & FOLLOW != 0)?.inode;
    set_node_times(job, inode)
}

/// Reads two times and the flags that say which of them count; a node has one time, that of modification.
pub(super) fn set_node_times(job: &mut Job<'_>, inode: u32) -> Result<(), Fail> {
    const GIVEN: u32 = 1 << 2;
    const NOW: u32 = 1 << 3;
    let (_accessed, modified, flags) = (job.long(), job.long(), job.int());
    let time = match (flags & GIVEN != 0, flags & NOW != 0) {
        (true, true) => return Err(Errno::EINVAL.into()),
        (true, false) => (modified / 1_000_000) as i64,
        (false, true) => job.clock.tick(),
        (false, false) => return Ok(()),
    };
    Ok(job.files.set_node_time(inode, time)?)
}

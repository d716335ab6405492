//! `fd_*`: calls on descriptors.
//!
//! Not here: names (`path`). Invariant: what a call writes into memory is checked to fit before anything changes.

use super::path::set_node_times;
use super::{Job, ROOT_FD};
use crate::host::files::{Device, Errno, Fail, Kind, Stat};

const RIGHTS_ALL: u64 = (1 << 30) - 1;
/// `fd_read`, `fd_readdir`.
pub(super) const RIGHTS_READ: u64 = 1 << 1 | 1 << 14;
/// `fd_write`, `fd_allocate`, `fd_filestat_set_size`.
pub(super) const RIGHTS_WRITE: u64 = 1 << 6 | 1 << 8 | 1 << 22;
/// `fd_seek`, `fd_tell`: a descriptor without them is a terminal to the C library.
const RIGHTS_SEEK: u64 = 1 << 2 | 1 << 5;
const FLAG_APPEND: u32 = 1;
const DIRENT_BYTES: usize = 24;

pub(super) fn file_type(kind: Kind) -> u8 {
    match kind {
        Kind::Device => 2,
        Kind::Directory => 3,
        Kind::File => 4,
        Kind::Link => 7,
    }
}

pub(super) fn is_open(job: &mut Job<'_>) -> Result<(), Fail> {
    let fd = job.fd();
    Ok(job.files.device(fd).map(|_| ())?)
}

pub(super) fn close(job: &mut Job<'_>) -> Result<(), Fail> {
    let fd = job.fd();
    Ok(job.files.close(fd)?)
}

pub(super) fn allocate(job: &mut Job<'_>) -> Result<(), Fail> {
    let (fd, offset, len) = (job.fd(), job.long(), job.long());
    let end = offset.checked_add(len).and_then(|end| i64::try_from(end).ok()).ok_or(Errno::EINVAL)?;
    if !job.files.is_file(fd)? {
        return Err(Errno::ENODEV.into());
    }
    if job.files.stat_open(fd)?.size < end as u64 {
        job.files.truncate_stream(fd, end, job.clock)?;
    }
    Ok(())
}

pub(super) fn status(job: &mut Job<'_>) -> Result<(), Fail> {
    let (fd, target) = (job.fd(), job.int());
    let kind = job.files.stat_open(fd)?.kind();
    let flags = job.files.flags(fd)?;
    let rights = match (kind, flags & 3) {
        (Kind::Device, _) => RIGHTS_ALL & !RIGHTS_SEEK,
        (Kind::File, 0) => RIGHTS_ALL & !RIGHTS_WRITE,
        (Kind::File, 1) => RIGHTS_ALL & !RIGHTS_READ,
        _ => RIGHTS_ALL,
    };
    let mut stat = [0; 24];
    stat[0] = file_type(kind);
    stat[2] = u8::from(job.files.appends(fd)?);
    stat[8..16].copy_from_slice(&rights.to_le_bytes());
    stat[16..].copy_from_slice(&RIGHTS_ALL.to_le_bytes());
    Ok(job.put(target, &stat)?)
}

pub(super) fn set_flags(job: &mut Job<'_>) -> Result<(), Fail> {
    let (fd, flags) = (job.fd(), job.int());
    Ok(job.files.set_append(fd, flags & FLAG_APPEND != 0)?)
}

pub(super) fn put_file_status(job: &mut Job<'_>, target: u32, stat: &Stat) -> Result<(), Fail> {
    let time = stat.time.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0).saturating_mul(1_000_000);
    let words = [
        u64::from(stat.device),
        u64::from(stat.inode),
        u64::from(file_type(stat.kind())),
        1,
        stat.size,
        time,
        time,
        time,
    ];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    Ok(job.put(target, &bytes)?)
}

pub(super) fn file_status(job: &mut Job<'_>) -> Result<(), Fail> {
    let (fd, target) = (job.fd(), job.int());
    let stat = job.files.stat_open(fd)?;
    put_file_status(job, target, &stat)
}

pub(super) fn set_size(job: &mut Job<'_>) -> Result<(), Fail> {
    let (fd, len) = (job.fd(), job.long());
    let len = i64::try_from(len).map_err(|_| Errno::EINVAL)?;
    job.files.truncate_stream(fd, len, job.clock)
}

pub(super) fn set_times(job: &mut Job<'_>) -> Result<(), Fail> {
    let fd = job.fd();
    let inode = job.files.stat_open(fd)?.inode;
    set_node_times(job, inode)
}

/// `fd_prestat_get`: the one directory that is open from the beginning.
pub(super) fn root(job: &mut Job<'_>) -> Result<(), Fail> {
    let (fd, target) = (job.fd(), job.int());
    is_root(job, fd)?;
    Ok(job.put_u64(target, 1 << 32)?)
}

pub(super) fn root_name(job: &mut Job<'_>) -> Result<(), Fail> {
    let (fd, target, len) = (job.fd(), job.int(), job.int());
    is_root(job, fd)?;
    if len == 0 {
        return Err(Errno::ENAMETOOLONG.into());
    }
    Ok(job.put(target, b"/")?)
}

fn is_root(job: &Job<'_>, fd: i32) -> Result<(), Errno> {
    let is_root = fd == ROOT_FD && job.files.path_of_stream(fd)? == "/";
    if is_root { Ok(()) } else { Err(Errno::EBADF) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Read,
    Write,
}

pub(super) fn read(job: &mut Job<'_>) -> Result<(), Fail> {
    let (fd, vectors, count, target) = (job.fd(), job.int(), job.int(), job.int());
    transfer(job, Way::Read, fd, (vectors, count), target)
}

pub(super) fn write(job: &mut Job<'_>) -> Result<(), Fail> {
    let (fd, vectors, count, target) = (job.fd(), job.int(), job.int(), job.int());
    transfer(job, Way::Write, fd, (vectors, count), target)
}

pub(super) fn read_at(job: &mut Job<'_>) -> Result<(), Fail> {
    at(job, Way::Read)
}

pub(super) fn write_at(job: &mut Job<'_>) -> Result<(), Fail> {
    at(job, Way::Write)
}

fn at(job: &mut Job<'_>, way: Way) -> Result<(), Fail> {
    let (fd, vectors, count) = (job.fd(), job.int(), job.int());
    let (offset, target) = (job.long(), job.int());
    let offset = i64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let before = job.files.seek(fd, 0, 1)?;
    job.files.seek(fd, offset, 0)?;
    let result = transfer(job, way, fd, (vectors, count), target);
    job.files.seek(fd, before, 0)?;
    result
}

/// One vector after the other, until one comes short.
fn transfer(job: &mut Job<'_>, way: Way, fd: i32, (vectors, count): (u32, u32), target: u32) -> Result<(), Fail> {
    job.files.device(fd)?;
    let list = count.checked_mul(8).ok_or(Errno::EINVAL)?;
    let list = job.bytes(vectors, list)?.to_vec();
    job.bytes(target, 4)?;
    let word = |of: &[u8]| u32::from_le_bytes([of[0], of[1], of[2], of[3]]);
    let mut total: u32 = 0;
    for vector in list.chunks_exact(8) {
        let (at, len) = (word(vector), word(&vector[4..]));
        job.bytes(at, len)?;
        let sum = total.checked_add(len).ok_or(Errno::EINVAL)?;
        let (at, len) = (u64::from(at), u64::from(len));
        let done = match way {
            Way::Read => job.files.read(fd, job.memory, at, len, job.clock)?,
            Way::Write => job.files.write(fd, job.memory, at, len, job.clock)?,
        };
        if done < len {
            total += done as u32;
            break;
        }
        total = sum;
    }
    Ok(job.put_u32(target, total)?)
}

pub(super) fn seek(job: &mut Job<'_>) -> Result<(), Fail> {
    let (fd, offset, whence, target) = (job.fd(), job.long(), job.int(), job.int());
    job.bytes(target, 8)?;
    let position = job.files.seek(fd, offset as i64, whence as i32)?;
    Ok(job.put_u64(target, position as u64)?)
}

pub(super) fn tell(job: &mut Job<'_>) -> Result<(), Fail> {
    let (fd, target) = (job.fd(), job.int());
    let position = job.files.seek(fd, 0, 1)?;
    Ok(job.put_u64(target, position as u64)?)
}

pub(super) fn renumber(job: &mut Job<'_>) -> Result<(), Fail> {
    let (from, to) = (job.fd(), job.fd());
    let (_, _): (Device, Device) = (job.files.device(from)?, job.files.device(to)?);
    if from != to {
        job.files.replace(from, to)?;
        job.files.close(from)?;
    }
    Ok(())
}

/// `fd_readdir`: in the order in which the entries were made; a cookie is an inode, so that it outlives changes.
pub(super) fn list(job: &mut Job<'_>) -> Result<(), Fail> {
    let (fd, target, room) = (job.fd(), job.int(), job.int());
    let (cookie, stored) = (job.long(), job.int());
    job.bytes(target, room)?;
    let mut bytes = Vec::new();
    for entry in job.files.entries(fd, cookie)? {
        if bytes.len() >= room as usize {
            break;
        }
        let mut head = [0; DIRENT_BYTES];
        head[..8].copy_from_slice(&entry.cookie.to_le_bytes());
        head[8..16].copy_from_slice(&u64::from(entry.inode).to_le_bytes());
        head[16..20].copy_from_slice(&(entry.name.len() as u32).to_le_bytes());
        head[20] = file_type(entry.kind);
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(entry.name.as_bytes());
    }
    bytes.truncate(room as usize);
    job.put(target, &bytes)?;
    Ok(job.put_u32(stored, bytes.len() as u32)?)
}

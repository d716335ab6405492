//! Open streams: emscripten's `FS` operations on descriptors.
//!
//! Not here: names (`tree`). Invariant: what leaves through a terminal goes nowhere; what enters from one is nothing.

use serde::{Deserialize, Serialize};

use super::path;
use super::tree::{Body, Found, Last, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG};
use super::{Clock, Errno, Fail, Files};
use crate::guest::{Interrupt, TrapKind};

const O_CREAT: u32 = 0o100;
const O_EXCL: u32 = 0o200;
const O_TRUNC: u32 = 0o1000;
const O_APPEND: u32 = 0o2000;
const O_DIRECTORY: u32 = 0o200_000;
const O_NOFOLLOW: u32 = 0o400_000;
/// Access mode as the glue masks it.
pub(crate) const O_ACCMODE: u32 = 0o10_000_003;

const DESCRIPTORS_MAX: i32 = 4096;
const OFFSET_MAX: i64 = 1 << 53;

/// What a stream reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Device {
    /// A file or directory of the tree.
    None,
    Null,
    /// Reads as an empty standard input.
    Tty,
    /// Write only.
    Tty1,
    /// Entropy in the loader; zeros here.
    Random,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stream {
    pub(super) node: u32,
    pub(super) path: String,
    cursor: u32,
    device: Device,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub(super) flags: u32,
    position: i64,
}

impl Files {
    pub(super) fn stream(&self, fd: i32) -> Result<&Stream, Errno> {
        self.streams.get(&fd).ok_or(Errno::EBADF)
    }

    pub(super) fn cursor(&self, stream: &Stream) -> Cursor {
        self.cursors.get(&stream.cursor).copied().unwrap_or(Cursor { flags: 0, position: 0 })
    }

    /// What the descriptor is, if open.
    pub(crate) fn device(&self, fd: i32) -> Result<Device, Errno> {
        self.stream(fd).map(|stream| stream.device)
    }

    /// `fcntl(F_GETFL)`.
    pub(crate) fn flags(&self, fd: i32) -> Result<u32, Errno> {
        self.stream(fd).map(|stream| self.cursor(stream).flags)
    }

    /// `fcntl(F_SETFL)`: flags are only ever added.
    pub(crate) fn add_flags(&mut self, fd: i32, flags: u32) -> Result<(), Errno> {
        let cursor = self.stream(fd)?.cursor;
        self.cursors.entry(cursor).and_modify(|cursor| cursor.flags |= flags);
        Ok(())
    }

    /// Whether writes go to the end.
    pub(crate) fn appends(&self, fd: i32) -> Result<bool, Errno> {
        Ok(self.flags(fd)? & O_APPEND != 0)
    }

    /// Says whether writes go to the end.
    pub(crate) fn set_append(&mut self, fd: i32, append: bool) -> Result<(), Errno> {
        let cursor = self.stream(fd)?.cursor;
        let flag = |flags: u32| if append { flags | O_APPEND } else { flags & !O_APPEND };
        self.cursors.entry(cursor).and_modify(|cursor| cursor.flags = flag(cursor.flags));
        Ok(())
    }

    /// The lowest free descriptor from `from` on.
    fn free_from(&self, from: i32) -> i32 {
        (from..=i32::MAX).find(|fd| !self.streams.contains_key(fd)).unwrap_or(i32::MAX)
    }

    fn next_fd(&self) -> Result<i32, Errno> {
        Some(self.free_from(0)).filter(|&fd| fd <= DESCRIPTORS_MAX).ok_or(Errno::EMFILE)
    }

    /// `FS.open`.
    pub(crate) fn open(&mut self, text: &str, flags: u32, mode: u32, clock: &mut Clock) -> Result<i32, Fail> {
        if text.is_empty() {
            return Err(Errno::ENOENT.into());
        }
        let path = path::normalize(text);
        let last = if flags & O_NOFOLLOW == 0 { Last::Follow } else { Last::NoFollow };
        let found = self.lookup(&path, last).map_or(Found::Nothing, |(_, found)| found);
        let (found, created) = match found {
            Found::Nothing if flags & O_CREAT != 0 => {
                (Found::Node(self.make(&path, mode & 0o7777 | S_IFREG, clock)?), true)
            }
            Found::Nothing => return Err(Errno::ENOENT.into()),
            _ if flags & O_CREAT != 0 && flags & O_EXCL != 0 => return Err(Errno::EEXIST.into()),
            found => (found, false),
        };
        let inode = match found {
            Found::Node(inode) => inode,
            _ if flags & O_DIRECTORY != 0 => return Err(Errno::ENOTDIR.into()),
            _ => return Err(Errno::EACCES.into()),
        };
        let kind = self.node(inode)?.mode & S_IFMT;
        let flags = if kind == S_IFCHR { flags & !O_TRUNC } else { flags };
        if flags & O_DIRECTORY != 0 && kind != S_IFDIR {
            return Err(Errno::ENOTDIR.into());
        }
        if !created {
            self.may_open(inode, flags)?;
            if flags & O_TRUNC != 0 {
                self.truncate(inode, 0, clock)?;
            }
        }
        let device = match self.node(inode)?.body {
            Body::Device(0x103) => Device::Null,
            Body::Device(0x500) => Device::Tty,
            Body::Device(0x600) => Device::Tty1,
            Body::Device(_) => Device::Random,
            _ => Device::None,
        };
        let fd = self.next_fd()?;
        let cursor = self.next_cursor;
        self.next_cursor += 1;
        let flags = flags & !(O_EXCL | O_TRUNC | O_NOFOLLOW);
        self.cursors.insert(cursor, Cursor { flags, position: 0 });
        let path = self.path_of(inode);
        self.streams.insert(fd, Stream { node: inode, path, cursor, device });
        Ok(fd)
    }

    /// `FS.mayOpen`.
    fn may_open(&self, inode: u32, flags: u32) -> Result<(), Fail> {
        let wanted = match (flags & 3, flags & O_TRUNC != 0) {
            (0, false) => "r",
            (0, true) | (2, _) => "rw",
            (1, _) => "w",
            (_, true) => "w",
            (_, false) => "?",
        };
        match self.node(inode)?.mode & S_IFMT {
            S_IFLNK => return Err(Errno::ELOOP.into()),
            S_IFDIR if wanted != "r" => return Err(Errno::EISDIR.into()),
            _ => {}
        }
        if wanted == "?" {
            let text = "Cannot read properties of undefined (reading 'includes')";
            return Err(Interrupt::Abort(text.to_owned()).into());
        }
        Ok(self.permits(inode, wanted)?)
    }

    /// `FS.close`.
    pub(crate) fn close(&mut self, fd: i32) -> Result<(), Errno> {
        let closed = self.streams.remove(&fd).ok_or(Errno::EBADF)?;
        if !self.streams.values().any(|other| other.cursor == closed.cursor) {
            self.cursors.remove(&closed.cursor);
        }
        self.collect_node(closed.node);
        Ok(())
    }

    pub(super) fn collect_node(&mut self, inode: u32) {
        let open = self.streams.values().any(|stream| stream.node == inode);
        self.collect(inode, open);
    }

    /// `FS.dupStream` to `to`, or to the lowest free descriptor if that is -1.
    fn duplicate(&mut self, fd: i32, to: i32) -> Result<i32, Errno> {
        let copy = self.stream(fd)?.clone();
        let to = if to == -1 { self.next_fd()? } else { to };
        self.streams.insert(to, copy);
        Ok(to)
    }

    /// `fcntl(F_DUPFD)`.
    pub(crate) fn duplicate_from(&mut self, fd: i32, lowest: i32) -> Result<i32, Errno> {
        self.duplicate(fd, self.free_from(lowest))
    }

    /// `dup3`.
    pub(crate) fn replace(&mut self, fd: i32, to: i32) -> Result<i32, Errno> {
        self.stream(fd)?;
        if fd == to {
            return Err(Errno::EINVAL);
        }
        if self.streams.contains_key(&to) {
            self.close(to)?;
        }
        self.duplicate(fd, to)
    }

    /// `FS.llseek`; the new position.
    pub(crate) fn seek(&mut self, fd: i32, offset: i64, whence: i32) -> Result<i64, Errno> {
        let stream = self.stream(fd)?;
        if stream.device != Device::None {
            return Err(Errno::ESPIPE);
        }
        let start = match (whence, &self.node(stream.node)?.body) {
            (0, _) => 0,
            (1, _) => self.cursor(stream).position,
            (2, Body::File(data)) => data.len() as i64,
            (2, _) => 0,
            _ => return Err(Errno::EINVAL),
        };
        let position = start.saturating_add(offset);
        if position < 0 {
            return Err(Errno::EINVAL);
        }
        let position = position.min(OFFSET_MAX);
        self.move_to(fd, position);
        Ok(position)
    }

    fn move_to(&mut self, fd: i32, position: i64) {
        if let Some(cursor) = self.streams.get(&fd).and_then(|stream| self.cursors.get_mut(&stream.cursor)) {
            cursor.position = position;
        }
    }

    /// `FS.read` at the stream's position.
    pub(crate) fn read(
        &mut self,
        fd: i32,
        memory: &mut [u8],
        at: u64,
        len: u64,
        clock: &mut Clock,
    ) -> Result<u64, Fail> {
        let stream = self.stream(fd)?;
        let (inode, device, cursor) = (stream.node, stream.device, self.cursor(stream));
        if cursor.flags & O_ACCMODE == 1 {
            return Err(Errno::EBADF.into());
        }
        let node = self.node_mut(inode)?;
        match (device, &node.body) {
            (Device::Null | Device::Tty, _) => Ok(0),
            (Device::Tty1, _) => Err(Errno::ENXIO.into()),
            (Device::Random, _) => {
                target(memory, at, len)?.fill(0);
                if len > 0 {
                    node.time = clock.tick();
                }
                Ok(len)
            }
            (Device::None, Body::File(data)) => {
                let start = (cursor.position as u64).min(data.len() as u64);
                let count = len.min(data.len() as u64 - start);
                target(memory, at, count)?.copy_from_slice(&data[start as usize..(start + count) as usize]);
                self.move_to(fd, cursor.position + count as i64);
                Ok(count)
            }
            (Device::None, _) => Err(Errno::EISDIR.into()),
        }
    }

    /// `FS.write` at the stream's position, or at the end of a file opened for appending.
    pub(crate) fn write(
        &mut self,
        fd: i32,
        memory: &mut [u8],
        at: u64,
        len: u64,
        clock: &mut Clock,
    ) -> Result<u64, Fail> {
        let stream = self.stream(fd)?;
        let (inode, device, flags) = (stream.node, stream.device, self.cursor(stream).flags);
        if flags & O_ACCMODE == 0 {
            return Err(Errno::EBADF.into());
        }
        match device {
            Device::Null if flags & O_APPEND != 0 => Err(Errno::ESPIPE.into()),
            Device::Null => Ok(len),
            // The device takes no bytes: its first one throws.
            Device::Random if len > 0 => Err(Errno::EIO.into()),
            Device::Random => Ok(0),
            Device::Tty | Device::Tty1 => {
                target(memory, at, len)?;
                if len > 0 {
                    self.node_mut(inode)?.time = clock.tick();
                }
                Ok(len)
            }
            Device::None => {
                if flags & O_APPEND != 0 {
                    self.seek(fd, 0, 2)?;
                }
                let position = self.cursor(self.stream(fd)?).position;
                self.write_at(inode, position as u64, target(memory, at, len)?, clock)?;
                self.move_to(fd, position + len as i64);
                Ok(len)
            }
        }
    }

    fn write_at(&mut self, inode: u32, position: u64, data: &[u8], clock: &mut Clock) -> Result<(), Fail> {
        if data.is_empty() {
            return Ok(());
        }
        let end = position.saturating_add(data.len() as u64);
        if matches!(&self.node(inode)?.body, Body::File(file) if (file.len() as u64) < end) {
            self.resize(inode, end)?;
        }
        let node = self.node_mut(inode)?;
        node.time = clock.tick();
        if let Body::File(file) = &mut node.body {
            file[position as usize..end as usize].copy_from_slice(data);
        }
        Ok(())
    }

    /// `SYSCALLS.doMsync`: writes mapped memory back to its file.
    pub(crate) fn sync_map(&mut self, fd: i32, data: &[u8], offset: u64, clock: &mut Clock) -> Result<(), Fail> {
        let inode = self.stream(fd)?.node;
        self.write_at(inode, offset, data, clock)
    }

    /// Whether the descriptor is of a regular file.
    pub(crate) fn is_file(&self, fd: i32) -> Result<bool, Errno> {
        Ok(self.node(self.stream(fd)?.node)?.mode & S_IFMT == S_IFREG)
    }

    /// The bytes of a file to map: up to `len` from `offset`.
    pub(crate) fn mapped(&self, fd: i32, offset: u64, len: u64) -> Result<Vec<u8>, Errno> {
        let Body::File(data) = &self.node(self.stream(fd)?.node)?.body else { return Err(Errno::ENODEV) };
        let start = offset.min(data.len() as u64);
        Ok(data[start as usize..start.saturating_add(len).min(data.len() as u64) as usize].to_vec())
    }
}

fn target(memory: &mut [u8], at: u64, len: u64) -> Result<&mut [u8], Interrupt> {
    let end = at.checked_add(len).filter(|&end| end <= memory.len() as u64);
    let end = end.ok_or(Interrupt::Trap(TrapKind::MemoryOutOfBounds))?;
    Ok(&mut memory[at as usize..end as usize])
}

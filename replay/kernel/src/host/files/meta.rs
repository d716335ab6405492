//! File operations by name, and what is known of a file beside its bytes.
//!
//! Not here: reading and writing (`stream`). Invariant: one call reads the clock as often as the glue does.

use super::path;
use super::stream::O_ACCMODE;
use super::tree::{Body, Found, Last, NO_TIME, Node, S_IFCHR, S_IFDIR, S_IFMT};
use super::{Clock, Errno, Fail, Files};

const DATE_MS_MAX: i128 = 8_640_000_000_000_000;

/// `node_ops.getattr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) device: u32,
    pub(crate) inode: u32,
    pub(crate) mode: u32,
    pub(crate) device_number: u32,
    pub(crate) size: u64,
    pub(crate) blocks: u32,
    /// Milliseconds; `None` is an invalid `Date`.
    pub(crate) time: Option<i64>,
}

impl Files {
    /// `SYSCALLS.calculateAt`.
    pub(crate) fn path_at(&self, directory: i32, text: String, allow_empty: bool) -> Result<String, Errno> {
        const AT_FDCWD: i32 = -100;
        if text.starts_with('/') {
            return Ok(text);
        }
        let base = if directory == AT_FDCWD { "/" } else { &self.stream(directory)?.path };
        match (text.is_empty(), allow_empty) {
            (true, false) => Err(Errno::ENOENT),
            (true, true) => Ok(base.to_owned()),
            (false, _) => Ok(path::join(base, &text)),
        }
    }

    /// `FS.mkdir` as `mkdirat` calls it.
    pub(crate) fn make_directory(&mut self, text: &str, mode: u32, clock: &mut Clock) -> Result<(), Fail> {
        let path = path::normalize(text);
        let path = path.strip_suffix('/').unwrap_or(&path);
        self.make(path, mode & 0o1777 | S_IFDIR, clock).map(|_| ())
    }

    /// `FS.unlink`, or `FS.rmdir`.
    pub(crate) fn delete(&mut self, text: &str, directory: bool, clock: &mut Clock) -> Result<(), Errno> {
        let inode = self.remove(text, directory, clock)?;
        self.collect_node(inode);
        Ok(())
    }

    /// `FS.readlink`.
    pub(crate) fn read_link(&self, text: &str) -> Result<String, Errno> {
        match self.lookup(text, Last::NoFollow)?.1 {
            Found::Nothing => Err(Errno::ENOENT),
            Found::Stream(fd) => Ok(path::resolve_in("fake", &self.stream(fd)?.path)),
            Found::Node(inode) => match self.node(inode)? {
                Node { body: Body::Link(link), parent, .. } => Ok(path::resolve_in(&self.path_of(*parent), link)),
                _ => Err(Errno::EINVAL),
            },
        }
    }

    fn inode(&self, text: &str, follow: bool) -> Result<u32, Errno> {
        let last = if follow { Last::Follow } else { Last::NoFollow };
        match self.lookup(text, last)?.1 {
            Found::Node(inode) if self.node(inode)?.body != Body::Streams => Ok(inode),
            Found::Nothing => Err(Errno::ENOENT),
            _ => Err(Errno::EPERM),
        }
    }

    /// `FS.stat`, or `FS.lstat`.
    pub(crate) fn stat(&self, text: &str, follow: bool) -> Result<Stat, Errno> {
        let inode = self.inode(text, follow)?;
        let node = self.node(inode)?;
        let (size, device_number) = match &node.body {
            Body::File(data) => (data.len() as u64, 0),
            Body::Link(target) => (target.encode_utf16().count() as u64, 0),
            Body::Device(number) => (0, *number),
            Body::Directory(_) | Body::Streams => (4096, 0),
        };
        let device = if node.mode & S_IFMT == S_IFCHR { inode } else { 1 };
        let blocks = size.div_ceil(4096) as u32;
        let time = Some(node.time).filter(|&time| time != NO_TIME);
        Ok(Stat { device, inode, mode: node.mode, device_number, size, blocks, time })
    }

    /// `fstat`: the loader looks the stream's *path* up again, so an unlinked file has no status.
    pub(crate) fn stat_stream(&self, fd: i32) -> Result<Stat, Errno> {
        self.stat(&self.stream(fd)?.path, true)
    }

    /// `faccessat`.
    pub(crate) fn access(&self, text: &str, mode: u32) -> Result<(), Errno> {
        let wanted: String =
            [(4, 'r'), (2, 'w'), (1, 'x')].into_iter().filter(|(bit, _)| mode & bit != 0).map(|(_, c)| c).collect();
        match self.lookup(text, Last::Follow)?.1 {
            Found::Node(inode) => self.permits(inode, &wanted),
            Found::Stream(_) if wanted.is_empty() => Ok(()),
            Found::Stream(_) => Err(Errno::EACCES),
            Found::Nothing => Err(Errno::ENOENT),
        }
    }

    /// `FS.chmod`.
    pub(crate) fn chmod(&mut self, text: &str, mode: u32, clock: &mut Clock) -> Result<(), Errno> {
        let inode = self.inode(text, true)?;
        self.set_mode(inode, mode, clock)
    }

    /// `FS.fchmod`.
    pub(crate) fn chmod_stream(&mut self, fd: i32, mode: u32, clock: &mut Clock) -> Result<(), Errno> {
        let inode = self.stream(fd)?.node;
        self.set_mode(inode, mode, clock)
    }

    fn set_mode(&mut self, inode: u32, mode: u32, clock: &mut Clock) -> Result<(), Errno> {
        let node = self.node_mut(inode)?;
        if node.body == Body::Streams {
            return Err(Errno::EPERM);
        }
        node.mode = mode & 0o7777 | node.mode & !0o7777;
        node.time = clock.tick();
        Ok(())
    }

    /// `FS.fchown`: owners do not exist, so only the time changes.
    pub(crate) fn chown_stream(&mut self, fd: i32, clock: &mut Clock) -> Result<(), Errno> {
        let inode = self.stream(fd)?.node;
        let mode = self.node(inode)?.mode;
        self.set_mode(inode, mode, clock)
    }

    /// `FS.ftruncate`.
    pub(crate) fn truncate_stream(&mut self, fd: i32, len: i64, clock: &mut Clock) -> Result<(), Fail> {
        let stream = self.stream(fd)?;
        let (inode, flags) = (stream.node, self.cursor(stream).flags);
        if flags & O_ACCMODE == 0 {
            return Err(Errno::EINVAL.into());
        }
        self.truncate(inode, len, clock)
    }

    pub(super) fn truncate(&mut self, inode: u32, len: i64, clock: &mut Clock) -> Result<(), Fail> {
        let len = u64::try_from(len).map_err(|_| Errno::EINVAL)?;
        match self.node(inode)?.body {
            Body::File(_) => {}
            Body::Directory(_) => return Err(Errno::EISDIR.into()),
            Body::Streams => return Err(Errno::EPERM.into()),
            _ => return Err(Errno::EINVAL.into()),
        }
        self.permits(inode, "w")?;
        self.resize(inode, len)?;
        self.node_mut(inode)?.time = clock.tick();
        Ok(())
    }

    /// `FS.utime` with the later of two times.
    ///
    /// # Units
    /// Nanoseconds.
    pub(crate) fn set_time(&mut self, text: &str, time_ns: i128) -> Result<(), Errno> {
        let inode = self.inode(text, true)?;
        let time_ms = time_ns / 1_000_000;
        self.node_mut(inode)?.time = if time_ms.abs() > DATE_MS_MAX { NO_TIME } else { time_ms as i64 };
        Ok(())
    }
}

//! File operations by name, and what is known of a file beside its bytes.
//!
//! Not here: reading and writing (`stream`). Invariant: one call reads the clock as often as the glue does.

use super::path;
use super::stream::O_ACCMODE;
use super::tree::{Body, Found, Last, NO_TIME, Node, ROOT, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT};
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

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Device,
    Directory,
    File,
    Link,
}

impl Kind {
    fn of(mode: u32) -> Self {
        match mode & S_IFMT {
            S_IFCHR => Self::Device,
            S_IFDIR => Self::Directory,
            S_IFLNK => Self::Link,
            _ => Self::File,
        }
    }
}

impl Stat {
    pub(crate) fn kind(&self) -> Kind {
        Kind::of(self.mode)
    }
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where to go on behind it.
    pub(crate) cookie: u64,
    pub(crate) inode: u32,
    pub(crate) name: String,
    pub(crate) kind: Kind,
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

    /// Whether a name leads through a file as if it were a directory, which the glue does not ask. Links are not followed.
    pub(crate) fn leads_through_file(&self, text: &str) -> bool {
        let resolved = path::resolve(text);
        let folders = resolved.split('/').filter(|part| !part.is_empty()).count();
        let folders = if text.ends_with('/') { folders } else { folders.saturating_sub(1) };
        let mut at = ROOT;
        for part in resolved.split('/').filter(|part| !part.is_empty()).take(folders) {
            let Ok(Found::Node(inode)) = self.child(at, part) else { return false };
            match self.node(inode).map(|node| &node.body) {
                Ok(Body::Directory(_)) => at = inode,
                Ok(Body::File(_) | Body::Device(_)) => return true,
                _ => return false,
            }
        }
        false
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
        self.stat_of(self.inode(text, follow)?)
    }

    /// Of an open descriptor, also if its file has no name any more.
    pub(crate) fn stat_open(&self, fd: i32) -> Result<Stat, Errno> {
        self.stat_of(self.stream(fd)?.node)
    }

    fn stat_of(&self, inode: u32) -> Result<Stat, Errno> {
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

    /// The path that a descriptor was opened by.
    pub(crate) fn path_of_stream(&self, fd: i32) -> Result<&str, Errno> {
        Ok(&self.stream(fd)?.path)
    }

    /// The entries of an open directory behind a cookie, 0 being the beginning: itself, its parent, then all others in the order in
    /// which their nodes were made.
    pub(crate) fn entries(&self, fd: i32, cookie: u64) -> Result<Vec<Entry>, Errno> {
        const SELF: u64 = 1;
        const PARENT: u64 = 2;
        let directory = self.stream(fd)?.node;
        let parent = self.node(directory)?.parent;
        let names = match &self.node(directory)?.body {
            Body::Directory(names) => Some(names),
            Body::Streams => None,
            _ => return Err(Errno::ENOTDIR),
        };
        let own = [(SELF, directory, "."), (PARENT, parent, "..")];
        let named = names.into_iter().flatten().filter_map(|name| {
            let inode = *self.names.get(&(directory, name.clone()))?.last()?;
            Some((PARENT + u64::from(inode), inode, name.as_str()))
        });
        let mut entries = Vec::new();
        for (at, inode, name) in own.into_iter().chain(named).filter(|(at, ..)| *at > cookie) {
            entries.push(Entry { cookie: at, inode, name: name.to_owned(), kind: Kind::of(self.node(inode)?.mode) });
        }
        entries.sort_unstable_by_key(|entry| entry.cookie);
        Ok(entries)
    }

    /// What a symbolic link holds.
    pub(crate) fn link_target(&self, text: &str) -> Result<&str, Errno> {
        match &self.node(self.inode(text, false)?)?.body {
            Body::Link(target) => Ok(target),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Sets a node's time.
    ///
    /// # Units
    /// Milliseconds.
    pub(crate) fn set_node_time(&mut self, inode: u32, time_ms: i64) -> Result<(), Errno> {
        self.node_mut(inode)?.time = time_ms;
        Ok(())
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

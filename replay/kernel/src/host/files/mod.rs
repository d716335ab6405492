//! The file system inside the state.
//!
//! The loader gives every module emscripten's MEMFS: a writable tree that lives beside linear memory and is lost when
//! the loader's instance goes. Here it is part of the state, saved and restored with it.
//!
//! Not here: guest memory (`fd`, `syscalls`). Invariant: a call touches only the tree, the streams and the clock.

mod boot;
mod meta;
mod path;
mod stream;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use meta::{Kind, Stat};
pub(crate) use stream::Device;

use super::state::{CLOCK_START_MS, Clock};
use crate::guest::Interrupt;

/// Most bytes that all files of a process may hold together.
pub const FILES_BYTES_MAX: u64 = 64 << 20;
/// Most nodes of a file tree.
pub const NODES_MAX: usize = 1 << 16;

/// A WASI error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl Errno {
    pub(crate) const EACCES: Self = Self(2);
    pub(crate) const EBADF: Self = Self(8);
    pub(crate) const EBUSY: Self = Self(10);
    pub(crate) const EEXIST: Self = Self(20);
    pub(crate) const EFAULT: Self = Self(21);
    pub(crate) const EILSEQ: Self = Self(25);
    pub(crate) const EINVAL: Self = Self(28);
    pub(crate) const EIO: Self = Self(29);
    pub(crate) const EISDIR: Self = Self(31);
    pub(crate) const ELOOP: Self = Self(32);
    pub(crate) const EMFILE: Self = Self(33);
    pub(crate) const ENAMETOOLONG: Self = Self(37);
    pub(crate) const ENODEV: Self = Self(43);
    pub(crate) const ENOENT: Self = Self(44);
    pub(crate) const ENOMEM: Self = Self(48);
    pub(crate) const ENOTDIR: Self = Self(54);
    pub(crate) const ENOTEMPTY: Self = Self(55);
    pub(crate) const ENOTSUP: Self = Self(58);
    pub(crate) const ENOTTY: Self = Self(59);
    pub(crate) const ENXIO: Self = Self(60);
    pub(crate) const EOVERFLOW: Self = Self(61);
    pub(crate) const EPERM: Self = Self(63);
    pub(crate) const ERANGE: Self = Self(68);
    pub(crate) const ESPIPE: Self = Self(70);
    pub(crate) const EXDEV: Self = Self(75);
    pub(crate) const ENOTCAPABLE: Self = Self(76);
}

/// Why a file operation did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fail {
    /// The guest is told.
    Errno(Errno),
    /// The glue would throw something else: the evaluation ends.
    Stop(Interrupt),
}

impl From<Errno> for Fail {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<Interrupt> for Fail {
    fn from(interrupt: Interrupt) -> Self {
        Self::Stop(interrupt)
    }
}

/// The tree and the open streams of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Files {
    nodes: BTreeMap<u32, tree::Node>,
    /// Name table: the newest node of a (directory, name) is found, older ones reappear when it goes.
    names: BTreeMap<(u32, String), Vec<u32>>,
    next_inode: u32,
    /// Sum of all file lengths.
    bytes: u64,
    streams: BTreeMap<i32, stream::Stream>,
    /// Flags and position of a stream, shared by its duplicates.
    cursors: BTreeMap<u32, stream::Cursor>,
    next_cursor: u32,
}

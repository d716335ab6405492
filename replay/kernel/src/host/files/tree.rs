//! The in-state file tree: emscripten's MEMFS with its name table, as the reference loader builds it.
//!
//! Not here: open streams (`stream`), guest memory (`syscalls`, `fd`).
//! Invariant: everything a guest can observe (inode numbers, times, the ghosts that a rename over an existing name
//! leaves in the name table) follows from the calls alone. Modes are enforced; no user but the guest exists.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::path;
use super::{Clock, Errno, FILES_BYTES_MAX, Fail, Files, NODES_MAX};
use crate::guest::Interrupt;

pub(super) const ROOT: u32 = 1;
const LINKS_MAX: u32 = 40;
const RECURSION_MAX: u32 = 8;

pub(super) const S_IFMT: u32 = 0o170_000;
pub(super) const S_IFDIR: u32 = 0o040_000;
pub(super) const S_IFREG: u32 = 0o100_000;
pub(super) const S_IFLNK: u32 = 0o120_000;
pub(super) const S_IFCHR: u32 = 0o020_000;

/// A time no `Date` can hold.
pub(super) const NO_TIME: i64 = i64::MIN;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Body {
    Directory(BTreeSet<String>),
    File(Vec<u8>),
    Link(String),
    Device(u32),
    /// `/proc/self/fd`: its entries are the open streams.
    Streams,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) parent: u32,
    pub(super) name: String,
    pub(super) mode: u32,
    /// Milliseconds; access, modification and change time are one.
    pub(super) time: i64,
    pub(super) body: Body,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Node(u32),
    /// An entry of `/proc/self/fd`: a link with no mode and no operation but `readlink`.
    Stream(i32),
    /// The empty path.
    Nothing,
}

/// How the last part of a path is treated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    Follow,
    NoFollow,
    /// Stop at the directory that holds it.
    Parent,
}

impl Files {
    pub(super) fn node(&self, inode: u32) -> Result<&Node, Errno> {
        self.nodes.get(&inode).ok_or(Errno::ENOENT)
    }

    pub(super) fn node_mut(&mut self, inode: u32) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&inode).ok_or(Errno::ENOENT)
    }

    pub(super) fn insert(&mut self, node: Node) -> u32 {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.names.entry((node.parent, node.name.clone())).or_default().push(inode);
        self.nodes.insert(inode, node);
        inode
    }

    /// `MEMFS.createNode`, unchecked.
    pub(super) fn create(&mut self, parent: u32, name: &str, mode: u32, body: Body, clock: &mut Clock) -> u32 {
        let time = clock.tick();
        let inode = self.insert(Node { parent, name: name.to_owned(), mode, time, body });
        if let Some(Node { body: Body::Directory(entries), time: touched, .. }) = self.nodes.get_mut(&parent) {
            entries.insert(name.to_owned());
            *touched = time;
        }
        inode
    }

    fn unname(&mut self, inode: u32) {
        let Some(node) = self.nodes.get(&inode) else { return };
        let key = (node.parent, node.name.clone());
        if let Some(chain) = self.names.get_mut(&key) {
            chain.retain(|&other| other != inode);
            if chain.is_empty() {
                self.names.remove(&key);
            }
        }
    }

    /// Forgets a node that neither the name table nor (`open`) a stream holds.
    pub(super) fn collect(&mut self, inode: u32, open: bool) {
        let Some(node) = self.nodes.get(&inode) else { return };
        let key = (node.parent, node.name.clone());
        let named = self.names.get(&key).is_some_and(|chain| chain.contains(&inode));
        if !named
            && !open
            && let Some(Node { body: Body::File(data), .. }) = self.nodes.remove(&inode)
        {
            self.bytes -= data.len() as u64;
        }
    }

    /// `FS.nodePermissions`.
    pub(super) fn permits(&self, inode: u32, wanted: &str) -> Result<(), Errno> {
        let mode = self.node(inode)?.mode;
        let denied = [('r', 0o444), ('w', 0o222), ('x', 0o111)]
            .into_iter()
            .any(|(letter, bits)| wanted.contains(letter) && mode & bits == 0);
        if denied { Err(Errno::EACCES) } else { Ok(()) }
    }

    /// `FS.lookupNode`.
    pub(super) fn child(&self, parent: u32, name: &str) -> Result<Found, Errno> {
        let directory = self.node(parent)?;
        if directory.mode & S_IFMT != S_IFDIR {
            return Err(Errno::ENOTDIR);
        }
        self.permits(parent, "x")?;
        if let Some(&inode) = self.names.get(&(parent, name.to_owned())).and_then(|chain| chain.last()) {
            return Ok(Found::Node(inode));
        }
        if directory.body == Body::Streams {
            let fd = name.parse::<i32>().ok().filter(|&fd| fd >= 0 && self.streams.contains_key(&fd));
            return fd.map(Found::Stream).ok_or(Errno::EBADF);
        }
        Err(Errno::ENOENT)
    }

    /// `FS.lookupPath`: the resolved path and what it leads to.
    pub(super) fn lookup(&self, text: &str, last: Last) -> Result<(String, Found), Errno> {
        self.lookup_at(text, last, 0)
    }

    fn lookup_at(&self, text: &str, last: Last, depth: u32) -> Result<(String, Found), Errno> {
        let resolved = path::resolve(text);
        if resolved.is_empty() {
            return Ok((resolved, Found::Nothing));
        }
        if depth > RECURSION_MAX {
            return Err(Errno::ELOOP);
        }
        let parts: Vec<&str> = resolved.split('/').filter(|part| !part.is_empty()).collect();
        let mut current = Found::Node(ROOT);
        let mut current_path = "/".to_owned();
        for (i, part) in parts.iter().enumerate() {
            let is_last = i + 1 == parts.len();
            if is_last && last == Last::Parent {
                break;
            }
            let Found::Node(parent) = current else { return Err(Errno::ENOTDIR) };
            current = self.child(parent, part)?;
            current_path = path::join(&current_path, part);
            if is_last && last != Last::Follow {
                continue;
            }
            let mut followed = 0;
            while let Found::Node(inode) = current
                && let Body::Link(target) = &self.node(inode)?.body
            {
                current_path = path::resolve_in(&path::dirname(&current_path), target);
                current = self.lookup_at(&current_path, Last::NoFollow, depth + 1)?.1;
                followed += 1;
                if followed > LINKS_MAX {
                    return Err(Errno::ELOOP);
                }
            }
        }
        Ok((current_path, current))
    }

    /// `FS.getPath`.
    pub(super) fn path_of(&self, inode: u32) -> String {
        let mut names = Vec::new();
        let mut at = inode;
        while at != ROOT {
            let Some(node) = self.nodes.get(&at) else { break };
            names.push(node.name.as_str());
            at = node.parent;
        }
        names.reverse();
        format!("/{}", names.join("/"))
    }

    /// `FS.mknod` for files and directories.
    pub(super) fn make(&mut self, text: &str, mode: u32, clock: &mut Clock) -> Result<u32, Fail> {
        let body = if mode & S_IFMT == S_IFDIR { Body::Directory(BTreeSet::new()) } else { Body::File(Vec::new()) };
        self.make_node(text, mode, body, clock)
    }

    /// A symbolic link.
    pub(crate) fn make_link(&mut self, text: &str, target: String, clock: &mut Clock) -> Result<(), Fail> {
        self.make_node(text, S_IFLNK | 0o777, Body::Link(target), clock).map(|_| ())
    }

    fn make_node(&mut self, text: &str, mode: u32, body: Body, clock: &mut Clock) -> Result<u32, Fail> {
        let parent = self.lookup(text, Last::Parent)?.1;
        let name = path::basename(text);
        if name.is_empty() || name == "." || name == ".." {
            return Err(Errno::EINVAL.into());
        }
        // A path under a stream entry fails its own search already; the empty path failed by its name.
        let Found::Node(parent) = parent else { return Err(Errno::EACCES.into()) };
        self.may_create(parent, &name)?;
        if self.node(parent)?.body == Body::Streams {
            return Err(Errno::EPERM.into());
        }
        if self.nodes.len() >= NODES_MAX {
            return Err(Interrupt::Abort("out of file nodes".to_owned()).into());
        }
        Ok(self.create(parent, &name, mode, body, clock))
    }

    fn may_create(&self, parent: u32, name: &str) -> Result<(), Errno> {
        if self.child(parent, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        self.permits(parent, "wx")
    }

    /// `FS.mayDelete`.
    fn may_delete(&self, parent: u32, found: &Found, directory: bool) -> Result<(), Errno> {
        self.permits(parent, "wx")?;
        let is_directory = match found {
            Found::Node(inode) => self.node(*inode)?.mode & S_IFMT == S_IFDIR,
            _ => false,
        };
        match (directory, is_directory) {
            (true, false) => Err(Errno::ENOTDIR),
            (false, true) => Err(Errno::EISDIR),
            (true, true) if *found == Found::Node(ROOT) => Err(Errno::EBUSY),
            _ => Ok(()),
        }
    }

    /// `FS.unlink` and `FS.rmdir`; the caller collects the node that it returns.
    pub(super) fn remove(&mut self, text: &str, directory: bool, clock: &mut Clock) -> Result<u32, Errno> {
        let Found::Node(parent) = self.lookup(text, Last::Parent)?.1 else {
            return Err(Errno::ENOENT);
        };
        let name = path::basename(text);
        let found = self.child(parent, &name)?;
        self.may_delete(parent, &found, directory)?;
        let Found::Node(inode) = found else { return Err(Errno::EPERM) };
        if directory && matches!(&self.node(inode)?.body, Body::Directory(entries) if !entries.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        self.unlist(parent, &name, clock.tick());
        self.unname(inode);
        Ok(inode)
    }

    fn unlist(&mut self, directory: u32, name: &str, time: i64) {
        if let Some(node) = self.nodes.get_mut(&directory) {
            if let Body::Directory(entries) = &mut node.body {
                entries.remove(name);
            }
            node.time = time;
        }
    }

    /// `FS.rename`.
    pub(crate) fn rename(&mut self, old: &str, new: &str, clock: &mut Clock) -> Result<(), Errno> {
        let (old_name, new_name) = (path::basename(old), path::basename(new));
        let old_parent = self.lookup(old, Last::Parent)?.1;
        let new_parent = self.lookup(new, Last::Parent)?.1;
        let (Found::Node(old_parent), Found::Node(new_parent)) = (old_parent, new_parent) else {
            return Err(Errno::ENOENT);
        };
        let in_streams = |inode| self.node(inode).map(|node| node.body == Body::Streams);
        if in_streams(old_parent)? != in_streams(new_parent)? {
            return Err(Errno::EXDEV);
        }
        let moved = self.child(old_parent, &old_name)?;
        if !path::is_outside(old, &path::dirname(new)) {
            return Err(Errno::EINVAL);
        }
        if !path::is_outside(new, &path::dirname(old)) {
            return Err(Errno::ENOTEMPTY);
        }
        let replaced = self.child(new_parent, &new_name).ok();
        if replaced.as_ref() == Some(&moved) {
            return Ok(());
        }
        let is_directory = matches!(moved, Found::Node(inode) if self.node(inode)?.mode & S_IFMT == S_IFDIR);
        self.may_delete(old_parent, &moved, is_directory)?;
        match &replaced {
            Some(found) => self.may_delete(new_parent, found, is_directory)?,
            None => self.permits(new_parent, "wx")?,
        }
        let Found::Node(inode) = moved else { return Err(Errno::EPERM) };
        if new_parent != old_parent {
            self.permits(old_parent, "w")?;
        }
        if is_directory
            && let Some(Found::Node(target)) = replaced
            && matches!(&self.node(target)?.body, Body::Directory(entries) if !entries.is_empty())
        {
            return Err(Errno::ENOTEMPTY);
        }
        let time = clock.tick();
        self.unlist(old_parent, &old_name, time);
        if let Body::Directory(entries) = &mut self.node_mut(new_parent)?.body {
            entries.insert(new_name.clone());
        }
        self.node_mut(new_parent)?.time = time;
        // The replaced node stays in the name table below the moved one, as in the glue.
        self.unname(inode);
        let node = self.node_mut(inode)?;
        (node.parent, node.name) = (new_parent, new_name.clone());
        self.names.entry((new_parent, new_name)).or_default().push(inode);
        Ok(())
    }

    /// Sets the length of a file, keeping the sum of all within the bound.
    pub(super) fn resize(&mut self, inode: u32, len: u64) -> Result<(), Fail> {
        let Body::File(data) = &self.node(inode)?.body else { return Err(Errno::EINVAL.into()) };
        let bytes = self.bytes - data.len() as u64 + len.min(FILES_BYTES_MAX + 1);
        if len > FILES_BYTES_MAX || bytes > FILES_BYTES_MAX {
            return Err(Interrupt::Abort("Array buffer allocation failed".to_owned()).into());
        }
        self.bytes = bytes;
        if let Body::File(data) = &mut self.node_mut(inode)?.body {
            data.resize(len as usize, 0);
        }
        Ok(())
    }
}

//! The in-memory twin of a disk: keeps live and durable bytes apart, so that a test can crash it at any sync.
//!
//! *Not here:* reordering inside one file (`ao_log::segment::MemoryStorage`).
//!
//! Invariant: a crash image holds what syncs made durable, plus of each file any chosen prefix of what came after.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Disk, DiskFile};

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Debug, Clone, Default)]
struct Bytes {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Bytes>,
    syncs: u64,
    frozen_from_sync: Option<u64>,
    write_budget: Option<u64>,
}

/// A disk in memory; clones share the same files.
#[derive(Debug, Clone, Default)]
pub struct TwinDisk {
    state: Arc<Mutex<State>>,
}

impl TwinDisk {
    /// Makes sync number `sync` (from 1, over all files) and every later one fail, and writes with them: the machine is dead.
    pub fn freeze_from_sync(&self, sync: u64) {
        self.state().frozen_from_sync = Some(sync);
    }

    /// Lets `bytes` more bytes be written, then fails every write with `StorageFull`, the first one half done.
    pub fn fail_writes_after(&self, bytes: u64) {
        self.state().write_budget = Some(bytes);
    }

    /// There is room again.
    pub fn free_space(&self) {
        self.state().write_budget = None;
    }

    /// How many syncs were asked for.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// What a crash leaves when of each file the first `kept(pending)` changes after the last sync reached the disk, the
    /// last of them torn in half.
    #[must_use]
    pub fn crash(&self, mut kept: impl FnMut(usize) -> usize) -> TwinDisk {
        let state = self.state();
        let files = state.files.iter().map(|(name, file)| {
            let mut image = file.durable.clone();
            let kept = kept(file.pending.len()).min(file.pending.len());
            for (at, change) in file.pending[..kept].iter().enumerate() {
                change.apply(&mut image, at + 1 == kept);
            }
            (name.clone(), Bytes { live: image.clone(), durable: image, pending: Vec::new() })
        });
        let crashed = State { files: files.collect(), ..State::default() };
        TwinDisk { state: Arc::new(Mutex::new(crashed)) }
    }

    /// Names of all files.
    pub fn names(&self) -> Vec<String> {
        self.state().files.keys().cloned().collect()
    }

    /// The live bytes of a file.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.state().files.get(name).map(|file| file.live.clone())
    }

    /// Replaces a file, durably: damage from outside.
    pub fn set_bytes(&self, name: &str, bytes: Vec<u8>) {
        let file = Bytes { live: bytes.clone(), durable: bytes, pending: Vec::new() };
        self.state().files.insert(name.to_owned(), file);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, name: &str) -> Arc<dyn DiskFile> {
        Arc::new(TwinFile { disk: self.clone(), name: name.to_owned() })
    }
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>, torn: bool) {
        match self {
            Change::SetLen(len) => image.resize(*len, 0),
            Change::Write { offset, bytes } => {
                let bytes = if torn { &bytes[..bytes.len().div_ceil(2)] } else { bytes };
                let end = offset + bytes.len();
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}

impl State {
    fn is_frozen(&self) -> bool {
        self.frozen_from_sync.is_some_and(|first| self.syncs >= first)
    }
}

impl Disk for TwinDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.state().files.entry(name.to_owned()).or_default();
        Ok(self.file(name))
    }

    fn open_read_only(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if self.state().files.contains_key(name) { Ok(self.file(name)) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let prefix = format!("{folder}/");
        let state = self.state();
        let inside = state.files.keys().filter_map(|name| name.strip_prefix(&prefix));
        Ok(inside.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state().files.remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[derive(Debug)]
struct TwinFile {
    disk: TwinDisk,
    name: String,
}

impl TwinFile {
    fn with<T>(&self, f: impl FnOnce(&mut Bytes) -> io::Result<T>) -> io::Result<T> {
        f(self.disk.state().files.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?)
    }

    fn change(&self, change: Change) -> io::Result<()> {
        self.with(|file| {
            change.apply(&mut file.live, false);
            file.pending.push(change);
            Ok(())
        })
    }
}

impl DiskFile for TwinFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|file| Ok(file.live.len() as u64))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.with(|file| {
            let start = offset as usize;
            let bytes = file.live.get(start..start + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let allowed = {
            let mut state = self.disk.state();
            if state.is_frozen() {
                return Err(io::Error::other("the disk is frozen on purpose"));
            }
            let allowed = state.write_budget.map_or(bytes.len(), |budget| bytes.len().min(budget as usize));
            if let Some(budget) = &mut state.write_budget {
                *budget -= allowed as u64;
            }
            allowed
        };
        self.change(Change::Write { offset: offset as usize, bytes: bytes[..allowed].to_vec() })?;
        if allowed < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.disk.state().is_frozen() {
            return Err(io::Error::other("the disk is frozen on purpose"));
        }
        self.change(Change::SetLen(len as usize))
    }

    fn sync(&self) -> io::Result<()> {
        {
            let mut state = self.disk.state();
            state.syncs += 1;
            if state.is_frozen() {
                return Err(io::Error::other("sync failed on purpose"));
            }
        }
        self.with(|file| {
            file.durable.clone_from(&file.live);
            file.pending.clear();
            Ok(())
        })
    }
}

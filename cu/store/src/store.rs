//! The store: opening, reopening after trouble, processes, modules and assigned transactions.
//!
//! *Not here:* results (`results`), checkpoints (`checkpoint`), logs (`log`).
//!
//! Invariant: after a failed write nothing is done with the handles that failed: they are dropped and opened again.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use ao_log::bundle::{ModuleMeta, ModuleTag};
use ao_log::{Assigned, LogEntry, Module, Nonce};
use ao_wire::{Id, MessageId, ModuleId, ProcessId};

use crate::index::{self, ASSIGNED, Index, MODULES, PROCESSES};
use crate::log::Logs;
use crate::pack::{Family, Packs};
use crate::rows::{self, Blob, Position, take};
use crate::{Disk, FileDisk, LogEntries, StoreError};

/// Sizes and bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What the index may keep in memory.
    pub index_cache_bytes: usize,
    /// A pack that has grown past this is closed.
    pub pack_bytes_max: u64,
    /// A segment of a log that has grown past this is closed. Opening a log reads its last segment.
    pub segment_bytes_max: u64,
    /// How many logs are kept open.
    pub open_logs_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            index_cache_bytes: 64 << 20,
            pack_bytes_max: 256 << 20,
            segment_bytes_max: 8 << 20,
            open_logs_max: 512,
        }
    }
}

/// The open files.
pub(crate) struct Core {
    pub(crate) index: Index,
    pub(crate) bodies: Packs,
    pub(crate) pages: Packs,
    /// Held shared by whoever reads or adds pages, alone by whoever rewrites them.
    pub(crate) pages_gate: RwLock<()>,
    logs: Logs,
    /// A write failed: what is on disk is unknown.
    troubled: AtomicBool,
}

/// How far a process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Nonce that the stored log goes on at: the number of its entries.
    pub next_entry: Nonce,
    /// The newest step with a result.
    pub last_step: Option<Position>,
    /// The newest checkpoint.
    pub checkpoint: Option<Nonce>,
}

/// Everything a unit keeps. Shared between threads by reference.
pub struct Store {
    disk: Arc<dyn Disk>,
    options: Options,
    core: RwLock<Option<Core>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("disk", &self.disk).field("options", &self.options).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in a directory, which is made if absent.
    ///
    /// # Errors
    /// Another unit holds it; acknowledged bytes are gone or damaged; another version; the host's trouble.
    pub fn open(root: &Path, options: Options) -> Result<Store, StoreError> {
        let name = root.display().to_string();
        let disk = FileDisk::new(root).map_err(StoreError::io(&name, "cannot be made"))?;
        Store::on(Arc::new(disk), options)
    }

    /// Opens the store on a disk.
    ///
    /// # Errors
    /// As [`open`](Store::open).
    pub fn on(disk: Arc<dyn Disk>, options: Options) -> Result<Store, StoreError> {
        let core = Core::open(&disk, options)?;
        Ok(Store { disk, options, core: RwLock::new(Some(core)) })
    }

    /// Runs `f` on the open files; opens them anew if they were in trouble.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&Core) -> Result<T, StoreError>) -> Result<T, StoreError> {
        loop {
            let guard = self.core.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(core) = guard.as_ref().filter(|core| !core.troubled.load(Ordering::Acquire)) {
                let answer = f(core);
                if answer.as_ref().is_err_and(StoreError::is_host_trouble) {
                    core.troubled.store(true, Ordering::Release);
                }
                return answer;
            }
            drop(guard);
            let mut guard = self.core.write().unwrap_or_else(PoisonError::into_inner);
            if guard.as_ref().is_none_or(|core| core.troubled.load(Ordering::Acquire)) {
                // Closed first: the files are locked by the handles that failed.
                *guard = None;
                *guard = Some(Core::open(&self.disk, self.options)?);
            }
        }
    }

    /// Stores entries of a log. They continue what is stored and were verified by the caller. Durable on return.
    ///
    /// # Errors
    /// [`StoreError::NotNext`] for another nonce than the next; the host's trouble, after which part of the entries may
    /// be stored: [`head`](Store::head) says where the log goes on.
    pub fn put_entries(&self, process: ProcessId, entries: &[LogEntry]) -> Result<(), StoreError> {
        self.with(|core| core.logs.append(process, entries))
    }

    /// The stored entries from `from` on to before `end`; at most those durable now.
    ///
    /// # Errors
    /// The host's trouble, or damage.
    pub fn entries(&self, process: ProcessId, from: Nonce, end: Nonce) -> Result<LogEntries, StoreError> {
        self.with(|core| core.logs.entries(process, from, end))
    }

    /// How far a process has come.
    ///
    /// # Errors
    /// The host's trouble, or damage.
    pub fn head(&self, process: ProcessId) -> Result<Head, StoreError> {
        Ok(Head {
            next_entry: self.with(|core| core.logs.next(process))?,
            last_step: self.last_position(process)?,
            checkpoint: self.last_checkpoint(process)?,
        })
    }

    /// Stores a process' data item, verified by the caller, under the id that its signature gives it.
    ///
    /// # Errors
    /// The host's trouble.
    pub fn put_process(&self, process: ProcessId, item: &[u8]) -> Result<(), StoreError> {
        self.put_blobs(PROCESSES, &[(process.id(), item)])
    }

    /// A stored process' data item.
    ///
    /// # Errors
    /// The host's trouble, or damage.
    pub fn process(&self, process: ProcessId) -> Result<Option<Vec<u8>>, StoreError> {
        self.blob(PROCESSES, process.id(), "processes")
    }

    /// All stored processes, by id.
    ///
    /// # Errors
    /// The host's trouble.
    pub fn processes(&self) -> Result<Vec<ProcessId>, StoreError> {
        let mut found = Vec::new();
        self.with(|core| {
            core.index.scan(PROCESSES, (&[0; 32], &[255; 32]), false, |key, _| {
                found.push(rows::process_of(key).ok_or(StoreError::Row { table: "processes" })?);
                Ok(true)
            })
        })?;
        Ok(found)
    }

    /// Stores a module.
    ///
    /// # Errors
    /// The host's trouble.
    pub fn put_module(&self, module: &Module) -> Result<(), StoreError> {
        self.put_blobs(MODULES, &[(module.meta.id.id(), &encode_module(module))])
    }

    /// A stored module; its binary has the BLAKE3 it was stored with.
    ///
    /// # Errors
    /// The host's trouble, or damage.
    pub fn module(&self, module: ModuleId) -> Result<Option<Module>, StoreError> {
        let Some(bytes) = self.blob(MODULES, module.id(), "modules")? else { return Ok(None) };
        decode_module(module, &bytes).map(Some).ok_or(StoreError::Module { module })
    }

    /// Stores transactions that logs assign and do not hold, each verified by the caller and in its encoding.
    ///
    /// # Errors
    /// The host's trouble.
    pub fn put_assigned(&self, assigned: &[(MessageId, Vec<u8>)]) -> Result<(), StoreError> {
        let rows: Vec<(Id, &[u8])> = assigned.iter().map(|(id, bytes)| (id.id(), &bytes[..])).collect();
        if rows.is_empty() { Ok(()) } else { self.put_blobs(ASSIGNED, &rows) }
    }

    /// A stored transaction that some log assigns.
    ///
    /// # Errors
    /// The host's trouble, or damage.
    pub fn assigned(&self, id: MessageId) -> Result<Option<Assigned>, StoreError> {
        let Some(bytes) = self.assigned_bytes(id)? else { return Ok(None) };
        let assigned = Assigned::decode(&bytes).ok().filter(|assigned| assigned.id() == id);
        assigned.map(Some).ok_or(StoreError::Row { table: "assigned" })
    }

    /// As [`assigned`](Store::assigned), as it was given.
    ///
    /// # Errors
    /// The host's trouble, or damage.
    pub fn assigned_bytes(&self, id: MessageId) -> Result<Option<Vec<u8>>, StoreError> {
        self.blob(ASSIGNED, id.id(), "assigned")
    }

    fn put_blobs(&self, table: index::Bytes, blobs: &[(Id, &[u8])]) -> Result<(), StoreError> {
        self.with(|core| {
            let mut rows = Vec::with_capacity(blobs.len());
            for (id, bytes) in blobs {
                let mut row = Vec::new();
                core.blob(bytes)?.put(&mut row);
                rows.push((id, row));
            }
            let ends = core.bodies.sync()?;
            core.index.write(|write| {
                core.bodies.commit(write, &ends)?;
                rows.iter().try_for_each(|(id, row)| index::put(write, table, id.as_bytes(), row))
            })
        })
    }

    fn blob(&self, table: index::Bytes, id: Id, name: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|core| {
            let Some(row) = core.index.get(table, id.as_bytes())? else { return Ok(None) };
            core.unblob(Blob::take(&row).ok_or(StoreError::Row { table: name })?).map(Some)
        })
    }
}

impl Core {
    /// While this is held no page moves, and what rows of checkpoints point at stays where it is.
    pub(crate) fn pages_shared(&self) -> RwLockReadGuard<'_, ()> {
        self.pages_gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(disk: &Arc<dyn Disk>, options: Options) -> Result<Core, StoreError> {
        let index = Index::open(&**disk, options.index_cache_bytes)?;
        let packs = |family| Packs::open(Arc::clone(disk), &index, family, options.pack_bytes_max);
        let (bodies, pages) = (packs(Family::Bodies)?, packs(Family::Pages)?);
        let logs = Logs::new(Arc::clone(disk), options.segment_bytes_max, options.open_logs_max);
        Ok(Core { index, bodies, pages, pages_gate: RwLock::default(), logs, troubled: AtomicBool::new(false) })
    }
}

fn encode_module(module: &Module) -> Vec<u8> {
    let ModuleMeta { owner, tags, wasm_blake3, item_prefix, .. } = &module.meta;
    let mut out = wasm_blake3.to_vec();
    out.extend_from_slice(&(tags.len() as u32).to_le_bytes());
    let texts = tags.iter().flat_map(|tag| [tag.name.as_bytes(), tag.value.as_bytes()]);
    for text in [owner.as_bytes(), item_prefix].into_iter().chain(texts) {
        out.extend_from_slice(&(text.len() as u32).to_le_bytes());
        out.extend_from_slice(text);
    }
    out.extend_from_slice(&module.wasm);
    out
}

fn decode_module(id: ModuleId, mut rest: &[u8]) -> Option<Module> {
    let wasm_blake3 = take::<32>(&mut rest)?;
    let count = u32::from_le_bytes(take(&mut rest)?);
    let mut bytes = || {
        let length = u32::from_le_bytes(take(&mut rest)?);
        let (bytes, after) = rest.split_at_checked(length as usize)?;
        rest = after;
        Some(bytes.to_vec())
    };
    let owner = String::from_utf8(bytes()?).ok()?;
    let item_prefix = bytes()?;
    let mut tags = Vec::new();
    for _ in 0..count {
        let mut text = || String::from_utf8(bytes()?).ok();
        tags.push(ModuleTag { name: text()?, value: text()? });
    }
    let wasm = rest.to_vec();
    let wasm_bytes = wasm.len() as u64;
    let meta = ModuleMeta { id, owner, tags, wasm_bytes, wasm_blake3, embedded: true, item_prefix };
    (*blake3::hash(&wasm).as_bytes() == wasm_blake3).then_some(Module { meta, wasm })
}

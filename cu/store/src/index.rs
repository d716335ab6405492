//! The index: one redb file for everything small, and the adapter that puts it on a [`Disk`].
//!
//! *Not here:* what rows mean (`rows`).
//!
//! Invariant: every commit is durable when it returns, and needs no walk over the file after a crash (redb's quick repair).

use std::io::ErrorKind;
use std::sync::Arc;

use redb::{
    Builder, Database, ReadOnlyTable, ReadTransaction, StorageBackend, Table, TableDefinition, WriteTransaction,
};

use crate::{Disk, DiskFile, StoreError};

/// The file.
pub(crate) const FILE: &str = "index.redb";
/// Empty; it is there once the index was made whole.
const COMPLETE: &str = "index.complete";
/// Version of the whole store.
const VERSION: u32 = 2;

pub(crate) type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// `"version"` → number of the store's version.
const META: TableDefinition<'static, &'static str, u32> = TableDefinition::new("meta");
/// process → blob of its item.
pub(crate) const PROCESSES: Bytes = TableDefinition::new("processes");
/// module → blob of description and binary.
pub(crate) const MODULES: Bytes = TableDefinition::new("modules");
/// transaction → blob of its encoding.
pub(crate) const ASSIGNED: Bytes = TableDefinition::new("assigned");
/// process ‖ position → step.
pub(crate) const STEPS: Bytes = TableDefinition::new("steps");
/// process ‖ message or assignment id → position.
pub(crate) const IDS: Bytes = TableDefinition::new("ids");
/// process ‖ message id or hash of its content → position; ids only where `ids` says something else of them.
pub(crate) const EVALUATED: Bytes = TableDefinition::new("evaluated");
/// process ‖ timestamp ‖ position → nothing.
pub(crate) const TIMES: Bytes = TableDefinition::new("times");
/// process ‖ nonce → where a checkpoint is.
pub(crate) const CHECKPOINTS: Bytes = TableDefinition::new("checkpoints");
/// process ‖ nonce → where an imported memory is.
pub(crate) const IMPORTS: Bytes = TableDefinition::new("imports");
/// BLAKE3 of a unit of memory → where it is.
pub(crate) const UNITS: Bytes = TableDefinition::new("units");
/// family, pack → its durable end.
pub(crate) const PACKS: TableDefinition<'static, (u8, u32), u64> = TableDefinition::new("packs");

#[derive(Debug)]
struct Backend(Arc<dyn DiskFile>);

impl StorageBackend for Backend {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write_at(offset, data)
    }
}

/// Turns an error of the index into ours.
pub(crate) fn failed<E: Into<redb::Error>>(what: &'static str) -> impl FnOnce(E) -> StoreError {
    move |source| StoreError::Index { what, source: Box::new(source.into()) }
}

/// The open index.
pub(crate) struct Index {
    database: Database,
}

impl Index {
    pub(crate) fn open(disk: &dyn Disk, cache_bytes: usize) -> Result<Index, StoreError> {
        let file = disk.open(FILE).map_err(StoreError::io(FILE, "cannot be opened"))?;
        let complete = match disk.open_read_only(COMPLETE) {
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            opened => opened.map(|_| true).map_err(StoreError::io(COMPLETE, "cannot be opened"))?,
        };
        let open = || {
            let mut builder = Builder::new();
            builder.set_cache_size(cache_bytes).create_with_backend(Backend(Arc::clone(&file)))
        };
        let database = match open() {
            // A crash cut its making short: nothing was ever acknowledged.
            Err(_) if !complete => {
                file.set_len(0).map_err(StoreError::io(FILE, "cannot be cut"))?;
                open()
            }
            opened => opened,
        };
        let index = Index { database: database.map_err(failed("cannot be opened"))? };
        index.prepare()?;
        if !complete {
            disk.open(COMPLETE).map_err(StoreError::io(COMPLETE, "cannot be made"))?;
        }
        Ok(index)
    }

    /// Checks the version, or writes it and makes all tables.
    fn prepare(&self) -> Result<(), StoreError> {
        if let Ok(meta) = self.read()?.open_table(META) {
            let found = meta.get("version").map_err(failed("the version cannot be read"))?;
            let found = found.map(|version| version.value()).ok_or(StoreError::Row { table: "meta" })?;
            if found != VERSION {
                return Err(StoreError::Version { found, known: VERSION });
            }
            return Ok(());
        }
        self.write(|write| {
            for table in [PROCESSES, MODULES, ASSIGNED, STEPS, IDS, EVALUATED, TIMES, CHECKPOINTS, IMPORTS, UNITS] {
                open(write, table)?;
            }
            write.open_table(PACKS).map_err(failed("packs cannot be opened"))?;
            let mut meta = write.open_table(META).map_err(failed("meta cannot be opened"))?;
            meta.insert("version", VERSION).map_err(failed("the version cannot be written"))?;
            Ok(())
        })
    }

    pub(crate) fn read(&self) -> Result<ReadTransaction, StoreError> {
        use redb::ReadableDatabase as _;
        self.database.begin_read().map_err(failed("a read cannot begin"))
    }

    /// Runs `f` in a transaction; durable, whole, when this returns.
    pub(crate) fn write<T>(&self, f: impl FnOnce(&WriteTransaction) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut write = self.database.begin_write().map_err(failed("a write cannot begin"))?;
        write.set_quick_repair(true);
        let answer = f(&write)?;
        write.commit().map_err(failed("a commit failed"))?;
        Ok(answer)
    }

    /// The value of a key.
    pub(crate) fn get(&self, table: Bytes, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.snapshot(table)?.get(key)
    }

    /// One state of a table, to look rows up in.
    pub(crate) fn snapshot(&self, table: Bytes) -> Result<Snapshot, StoreError> {
        self.read()?.open_table(table).map(Snapshot).map_err(failed("a table cannot be opened"))
    }

    /// Keys and values from `first` to `last`, both included, until `visit` says it has enough.
    pub(crate) fn scan(
        &self,
        table: Bytes,
        (first, last): (&[u8], &[u8]),
        backwards: bool,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let Snapshot(table) = self.snapshot(table)?;
        let mut range = table.range(first..=last).map_err(failed("a range cannot be read"))?;
        while let Some(row) = if backwards { range.next_back() } else { range.next() } {
            let (key, value) = row.map_err(failed("a row cannot be read"))?;
            if !visit(key.value(), value.value())? {
                break;
            }
        }
        Ok(())
    }
}

/// A table as it was when this was made.
pub(crate) struct Snapshot(ReadOnlyTable<&'static [u8], &'static [u8]>);

impl Snapshot {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let row = self.0.get(key).map_err(failed("a row cannot be read"))?;
        Ok(row.map(|row| row.value().to_vec()))
    }
}

/// A table in a transaction.
pub(crate) fn open(
    write: &WriteTransaction,
    table: Bytes,
) -> Result<Table<'_, &'static [u8], &'static [u8]>, StoreError> {
    write.open_table(table).map_err(failed("a table cannot be opened"))
}

/// Sets a row in a transaction.
pub(crate) fn put(write: &WriteTransaction, table: Bytes, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    open(write, table)?.insert(key, value).map_err(failed("a row cannot be written"))?;
    Ok(())
}

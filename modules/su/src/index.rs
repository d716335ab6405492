//! Where things are in the log: one redb file, derived from it.
//!
//! *Not here:* the log (`ledger`).
//!
//! Invariant: what it says is in the log; what the log holds beyond it is put in before the unit serves.

use std::path::Path;

use ao_log::{HashChain, Nonce, TimestampMs};
use ao_wire::{AssignmentId, Id, ProcessId};
use redb::{Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};

use crate::SuError;

type Key = [u8; 32];

/// record → first record of its segment, offset there.
const RECORDS: TableDefinition<'_, u64, (u64, u64)> = TableDefinition::new("records");
/// process, nonce → record, timestamp.
const ENTRIES: TableDefinition<'_, (Key, u64), (u64, u64)> = TableDefinition::new("entries");
/// message or assignment, process → nonce.
const IDS: TableDefinition<'_, (Key, Key), u64> = TableDefinition::new("ids");
/// process → nonces given away, and of the last: assignment, chain value, timestamp.
const HEADS: TableDefinition<'_, Key, (u64, Key, Key, u64)> = TableDefinition::new("heads");
/// Records that the other side refused to take, and its words.
const REFUSED: TableDefinition<'_, u64, &str> = TableDefinition::new("refused");
/// What is counted.
const COUNTS: TableDefinition<'_, &str, u64> = TableDefinition::new("counts");
const INDEXED: &str = "indexed";
/// Records that are uploaded.
pub(crate) const UPLOADED: &str = "uploaded";
/// The last block known.
pub(crate) const BLOCK: &str = "block";
/// Bytes that the index may hold in memory.
const CACHE_BYTES: usize = 64 << 20;

/// The end of a process' log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) next: Nonce,
    pub(crate) assignment: AssignmentId,
    pub(crate) hash_chain: HashChain,
    pub(crate) timestamp: TimestampMs,
}

/// What the index is told of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) process: ProcessId,
    pub(crate) nonce: Nonce,
    pub(crate) timestamp: TimestampMs,
    pub(crate) hash_chain: HashChain,
    pub(crate) block_height: u64,
    pub(crate) assignment: AssignmentId,
    /// The process itself at its own nonce.
    pub(crate) message: Id,
}

/// Where a record is: its number, its segment's first record, its offset there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Location {
    pub(crate) sequence: u64,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// The open index. After a write failed redb answers nothing any more, and it is to be opened again.
pub(crate) struct Index(Database);

impl Index {
    pub(crate) fn open(path: &Path) -> Result<Self, SuError> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(path);
        let index = Self(database.map_err(SuError::index("cannot be opened"))?);
        index.write(true, |write| {
            write.open_table(RECORDS).map_err(SuError::index("records"))?;
            write.open_table(ENTRIES).map_err(SuError::index("entries"))?;
            write.open_table(IDS).map_err(SuError::index("ids"))?;
            write.open_table(HEADS).map_err(SuError::index("heads"))?;
            write.open_table(REFUSED).map_err(SuError::index("refused"))?;
            write.open_table(COUNTS).map_err(SuError::index("counts"))?;
            Ok(())
        })?;
        Ok(index)
    }

    fn write<T>(
        &self,
        durable: bool,
        change: impl FnOnce(&WriteTransaction) -> Result<T, SuError>,
    ) -> Result<T, SuError> {
        let mut write = self.0.begin_write().map_err(SuError::index("a write cannot begin"))?;
        let durability = if durable { Durability::Immediate } else { Durability::None };
        write.set_durability(durability).map_err(SuError::index("durability cannot be set"))?;
        // After a crash the file opens at once.
        write.set_quick_repair(durable);
        let answer = change(&write)?;
        write.commit().map_err(SuError::index("a commit failed"))?;
        Ok(answer)
    }

    /// Puts records in, and how many are uploaded. Seen by all readers when this returns; on disk only if `durable`: the log
    /// itself is.
    pub(crate) fn put(&self, records: &[(Location, Placed)], uploaded: u64, durable: bool) -> Result<(), SuError> {
        self.write(durable, |write| {
            let failed = "a row cannot be written";
            let mut places = write.open_table(RECORDS).map_err(SuError::index("records"))?;
            let mut entries = write.open_table(ENTRIES).map_err(SuError::index("entries"))?;
            let mut ids = write.open_table(IDS).map_err(SuError::index("ids"))?;
            let mut heads = write.open_table(HEADS).map_err(SuError::index("heads"))?;
            let mut counts = write.open_table(COUNTS).map_err(SuError::index("counts"))?;
            for (at, placed) in records {
                let process = placed.process.id().0;
                let (nonce, time) = (placed.nonce.0, placed.timestamp.0);
                places.insert(at.sequence, (at.segment, at.offset)).map_err(SuError::index(failed))?;
                entries.insert((process, nonce), (at.sequence, time)).map_err(SuError::index(failed))?;
                for id in [placed.message, placed.assignment.id()] {
                    ids.insert((id.0, process), nonce).map_err(SuError::index(failed))?;
                }
                let head = (nonce + 1, placed.assignment.id().0, placed.hash_chain.0, time);
                heads.insert(process, head).map_err(SuError::index(failed))?;
            }
            counts.insert(UPLOADED, uploaded).map_err(SuError::index(failed))?;
            if let Some((at, placed)) = records.last() {
                counts.insert(INDEXED, at.sequence + 1).map_err(SuError::index(failed))?;
                counts.insert(BLOCK, placed.block_height).map_err(SuError::index(failed))?;
            }
            Ok(())
        })
    }

    /// Records in the index.
    pub(crate) fn indexed(&self) -> Result<u64, SuError> {
        self.count(INDEXED)
    }

    pub(crate) fn count(&self, what: &str) -> Result<u64, SuError> {
        let row = self.read()?.open_table(COUNTS).map_err(SuError::index("counts"))?.get(what);
        Ok(row.map_err(SuError::index("a count cannot be read"))?.map_or(0, |row| row.value()))
    }

    pub(crate) fn head(&self, process: ProcessId) -> Result<Option<Head>, SuError> {
        let row = self.read()?.open_table(HEADS).map_err(SuError::index("heads"))?.get(process.id().0);
        Ok(row.map_err(SuError::index("a head cannot be read"))?.map(|row| {
            let (next, assignment, hash_chain, timestamp) = row.value();
            Head {
                next: Nonce(next),
                assignment: Id(assignment).into(),
                hash_chain: HashChain(hash_chain),
                timestamp: TimestampMs(timestamp),
            }
        }))
    }

    /// The nonce of a message or an assignment in the log of a process.
    pub(crate) fn find(&self, process: ProcessId, id: Id) -> Result<Option<Nonce>, SuError> {
        let row = self.read()?.open_table(IDS).map_err(SuError::index("ids"))?.get((id.0, process.id().0));
        Ok(row.map_err(SuError::index("an id cannot be read"))?.map(|row| Nonce(row.value())))
    }

    /// The record at a nonce, and its time.
    pub(crate) fn entry(&self, process: ProcessId, nonce: Nonce) -> Result<Option<(u64, TimestampMs)>, SuError> {
        let row = self.read()?.open_table(ENTRIES).map_err(SuError::index("entries"))?.get((process.id().0, nonce.0));
        Ok(row
            .map_err(SuError::index("an entry cannot be read"))?
            .map(|row| (row.value().0, TimestampMs(row.value().1))))
    }

    /// Where a record is: the first record of its segment, and its offset there.
    pub(crate) fn record(&self, sequence: u64) -> Result<Option<(u64, u64)>, SuError> {
        let row = self.read()?.open_table(RECORDS).map_err(SuError::index("records"))?.get(sequence);
        Ok(row.map_err(SuError::index("a record cannot be read"))?.map(|row| row.value()))
    }

    /// Notes that a record was refused and why, or that it was not after all.
    pub(crate) fn refuse(&self, sequence: u64, why: Option<&str>) -> Result<(), SuError> {
        self.write(true, |write| {
            let mut refused = write.open_table(REFUSED).map_err(SuError::index("refused"))?;
            let done = match why {
                Some(why) => refused.insert(sequence, why).map(drop),
                None => refused.remove(sequence).map(drop),
            };
            done.map_err(SuError::index("a row cannot be written"))
        })
    }

    /// The records that were refused.
    pub(crate) fn refused(&self) -> Result<Vec<u64>, SuError> {
        let refused = self.read()?.open_table(REFUSED).map_err(SuError::index("refused"))?;
        let rows = refused.iter().map_err(SuError::index("refused"))?;
        rows.map(|row| Ok(row.map_err(SuError::index("a row cannot be read"))?.0.value())).collect()
    }

    fn read(&self) -> Result<redb::ReadTransaction, SuError> {
        self.0.begin_read().map_err(SuError::index("a read cannot begin"))
    }
}

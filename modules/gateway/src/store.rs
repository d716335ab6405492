//! Items on disk: one file they are appended to, one index of where they are and how they are found.
//!
//! Invariant: the index names bytes only once they are durable; both are when an upload is answered. Uploads that wait share
//! one sync.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ao_http::Reopened;
use ao_wire::Id;
use bytes::Bytes;
use redb::{Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use crate::GatewayError;
use crate::intake::Found;

type Key = [u8; 32];

/// item → number, offset in the pack, bytes before its data, bytes, time in milliseconds, parent (zeros: none).
const ITEMS: TableDefinition<'_, Key, (u64, u64, u64, u64, u64, Key)> = TableDefinition::new("items");
/// number → item.
const ORDER: TableDefinition<'_, u64, Key> = TableDefinition::new("order");
/// SHA-256 of what it is found by, number.
const FINDS: TableDefinition<'_, (Key, u64), ()> = TableDefinition::new("finds");
const COUNTS: TableDefinition<'_, &str, u64> = TableDefinition::new("counts");
/// Bytes of the pack that the index knows of.
const END: &str = "end";
const NEXT: &str = "next";
/// Most uploads that share a sync.
const BATCH_MAX: usize = 256;
const CACHE_BYTES: usize = 64 << 20;

/// What items can be found by.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By<'a> {
    Owner(&'a str),
    Recipient(&'a str),
    Tag(&'a [u8], &'a [u8]),
}

impl By<'_> {
    fn key(self) -> Key {
        let (kind, name, value) = match self {
            Self::Owner(owner) => (b'o', &b""[..], owner.as_bytes()),
            Self::Recipient(recipient) => (b'r', &b""[..], recipient.as_bytes()),
            Self::Tag(name, value) => (b't', name, value),
        };
        Id::sha256(&[&[kind], &(name.len() as u64).to_le_bytes()[..], name, value].concat()).0
    }
}

/// Where an item is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) number: u64,
    offset: u64,
    header_len: u64,
    len: u64,
    pub(crate) time_ms: u64,
    pub(crate) parent: Option<Id>,
}

impl Stored {
    pub(crate) fn data_len(&self) -> u64 {
        self.len - self.header_len
    }
}

/// An upload that waits to be written.
pub(crate) struct Upload {
    pub(crate) bytes: Bytes,
    pub(crate) items: Vec<Found>,
    pub(crate) reply: oneshot::Sender<Result<(), GatewayError>>,
}

/// The store, to read.
pub(crate) struct Store {
    database: Reopened<Database, GatewayError>,
    pack: File,
    path: PathBuf,
}

impl Store {
    pub(crate) fn open(dir: &Path) -> Result<Arc<Self>, GatewayError> {
        std::fs::create_dir_all(dir).map_err(GatewayError::io(dir))?;
        let path = dir.join("items.pack");
        let pack = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let pack = pack.map_err(GatewayError::io(&path))?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(GatewayError::io(dir))?;
        let index = dir.join("index.redb");
        let database = Reopened::new(move || open_index(&index))?;
        Ok(Arc::new(Self { database, pack, path }))
    }

    /// Writes uploads until there is nobody left to bring one.
    pub(crate) fn run(&self, mut uploads: mpsc::Receiver<Upload>) {
        while let Some(first) = uploads.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX
                && let Ok(next) = uploads.try_recv()
            {
                batch.push(next);
            }
            let written = self.write(&batch).map_err(Arc::new);
            if written.is_err() {
                self.database.close();
            }
            for Upload { reply, .. } in batch {
                // Whoever went away finds it here.
                let _ = reply.send(written.as_ref().map_err(|error| Arc::clone(error).into()).copied());
            }
        }
    }

    fn write(&self, batch: &[Upload]) -> Result<(), GatewayError> {
        let begin = |index: &Database| index.begin_write().map_err(GatewayError::index("a write cannot begin"));
        let mut write = self.database.with(begin)?;
        write.set_quick_repair(true);
        {
            let failed = "a row cannot be written";
            let mut items = write.open_table(ITEMS).map_err(GatewayError::index("items"))?;
            let mut order = write.open_table(ORDER).map_err(GatewayError::index("order"))?;
            let mut finds = write.open_table(FINDS).map_err(GatewayError::index("finds"))?;
            let mut counts = write.open_table(COUNTS).map_err(GatewayError::index("counts"))?;
            let count = |row: Option<redb::AccessGuard<'_, u64>>| row.map_or(0, |row| row.value());
            let mut end = count(counts.get(END).map_err(GatewayError::index("a count"))?);
            let mut next = count(counts.get(NEXT).map_err(GatewayError::index("a count"))?);
            let time_ms = now_ms();
            for Upload { bytes, items: found, .. } in batch {
                let mut new = Vec::new();
                for item in found {
                    if items.get(item.id.0).map_err(GatewayError::index("an item"))?.is_none() {
                        new.push(item);
                    }
                }
                if new.is_empty() {
                    continue;
                }
                self.pack.write_all_at(bytes, end).map_err(GatewayError::io(&self.path))?;
                for item in new {
                    let parent = item.parent.map_or([0; 32], |parent| parent.0);
                    let row = (next, end + item.offset, item.header_len, item.len, time_ms, parent);
                    items.insert(item.id.0, row).map_err(GatewayError::index(failed))?;
                    order.insert(next, item.id.0).map_err(GatewayError::index(failed))?;
                    let tags = item.tags.iter().map(|(name, value)| By::Tag(name, value));
                    for by in [By::Owner(&item.owner), By::Recipient(&item.recipient)].into_iter().chain(tags) {
                        finds.insert((by.key(), next), ()).map_err(GatewayError::index(failed))?;
                    }
                    next += 1;
                }
                end += bytes.len() as u64;
            }
            self.pack.sync_data().map_err(GatewayError::io(&self.path))?;
            counts.insert(END, end).map_err(GatewayError::index(failed))?;
            counts.insert(NEXT, next).map_err(GatewayError::index(failed))?;
        }
        write.commit().map_err(GatewayError::index("a commit failed"))
    }

    pub(crate) fn find(&self, id: Id) -> Result<Option<Stored>, GatewayError> {
        let items = self.read()?.open_table(ITEMS).map_err(GatewayError::index("items"))?;
        let row = items.get(id.0).map_err(GatewayError::index("an item cannot be read"))?;
        Ok(row.map(|row| {
            let (number, offset, header_len, len, time_ms, parent) = row.value();
            let parent = (parent != [0; 32]).then_some(Id(parent));
            Stored { number, offset, header_len, len, time_ms, parent }
        }))
    }

    /// The item but for its data.
    pub(crate) fn header(&self, stored: &Stored) -> Result<Vec<u8>, GatewayError> {
        self.bytes(stored.offset, stored.header_len)
    }

    pub(crate) fn data(&self, stored: &Stored) -> Result<Vec<u8>, GatewayError> {
        self.bytes(stored.offset + stored.header_len, stored.data_len())
    }

    fn bytes(&self, offset: u64, len: u64) -> Result<Vec<u8>, GatewayError> {
        let mut bytes = vec![0; len as usize];
        self.pack.read_exact_at(&mut bytes, offset).map_err(GatewayError::io(&self.path))?;
        Ok(bytes)
    }

    /// Items from the newest or the oldest on, beyond the number `after`, all or those found by `by`, until `visit` has enough.
    pub(crate) fn scan(
        &self,
        by: Option<By<'_>>,
        newest_first: bool,
        after: Option<u64>,
        mut visit: impl FnMut(Id) -> Result<bool, GatewayError>,
    ) -> Result<(), GatewayError> {
        let read = self.read()?;
        let (first, last) = match (after, newest_first) {
            (None, _) => (0, u64::MAX),
            (Some(after), true) => match after.checked_sub(1) {
                Some(last) => (0, last),
                None => return Ok(()),
            },
            (Some(after), false) => (after.saturating_add(1), u64::MAX),
        };
        let order = read.open_table(ORDER).map_err(GatewayError::index("order"))?;
        let failed = "a range cannot be read";
        if let Some(by) = by {
            let (key, finds) = (by.key(), read.open_table(FINDS).map_err(GatewayError::index("finds"))?);
            let mut range = finds.range((key, first)..=(key, last)).map_err(GatewayError::index(failed))?;
            while let Some(row) = if newest_first { range.next_back() } else { range.next() } {
                let number = row.map_err(GatewayError::index(failed))?.0.value().1;
                let id = order.get(number).map_err(GatewayError::index(failed))?;
                if let Some(id) = id
                    && !visit(Id(id.value()))?
                {
                    break;
                }
            }
            return Ok(());
        }
        let mut range = order.range(first..=last).map_err(GatewayError::index(failed))?;
        while let Some(row) = if newest_first { range.next_back() } else { range.next() } {
            if !visit(Id(row.map_err(GatewayError::index(failed))?.1.value()))? {
                break;
            }
        }
        Ok(())
    }

    fn read(&self) -> Result<ReadTransaction, GatewayError> {
        self.database.with(|index| index.begin_read().map_err(GatewayError::index("a read cannot begin")))
    }
}

/// Opens the index, after a crash or trouble as after a stop.
fn open_index(path: &Path) -> Result<Database, GatewayError> {
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(path);
    let database = database.map_err(GatewayError::index("cannot be opened"))?;
    let write = database.begin_write().map_err(GatewayError::index("a write cannot begin"))?;
    write.open_table(ITEMS).map_err(GatewayError::index("items"))?;
    write.open_table(ORDER).map_err(GatewayError::index("order"))?;
    write.open_table(FINDS).map_err(GatewayError::index("finds"))?;
    write.open_table(COUNTS).map_err(GatewayError::index("counts"))?;
    write.commit().map_err(GatewayError::index("a commit failed"))?;
    Ok(database)
}

/// The clock of this machine.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

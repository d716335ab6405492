//! Pack files: append-only runs of checksummed records, for what is too large for the index.
//!
//! A record counts once a row of the index points at it; that row is committed together with the pack's durable end,
//! after the pack was synced. Opening therefore needs no scan: what lies behind the end was never acknowledged and is
//! cut, a pack without an end likewise is removed, and a pack shorter than its end has lost something and says so.
//!
//! *Not here:* what records mean.
//!
//! Invariant: bytes before a pack's durable end are never written again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{ReadableTable as _, WriteTransaction};

use crate::index::{Index, PACKS, failed};
use crate::{Disk, DiskFile, StoreError};

const MAGIC: [u8; 4] = *b"aPAK";
pub(crate) const HEADER_BYTES: usize = 16;

/// Which packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Family {
    /// Large values.
    Bodies = 1,
    /// Checkpoints and the units of memory they name.
    Pages = 2,
}

impl Family {
    fn folder(self) -> &'static str {
        match self {
            Family::Bodies => "bodies",
            Family::Pages => "pages",
        }
    }

    pub(crate) fn file(self, pack: u32) -> String {
        format!("{}/{pack:010}.pack", self.folder())
    }
}

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub(crate) pack: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
}

impl Pointer {
    pub(crate) fn encode(self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..4].copy_from_slice(&self.pack.to_le_bytes());
        out[4..12].copy_from_slice(&self.offset.to_le_bytes());
        out[12..].copy_from_slice(&self.bytes.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Pointer> {
        let bytes: &[u8; 16] = bytes.try_into().ok()?;
        let (pack, rest) = bytes.split_first_chunk()?;
        let (offset, length) = rest.split_first_chunk()?;
        Some(Pointer {
            pack: u32::from_le_bytes(*pack),
            offset: u64::from_le_bytes(*offset),
            bytes: u32::from_le_bytes(length.try_into().ok()?),
        })
    }
}

/// Ends of packs that were synced and are to be committed with whatever points into them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends(BTreeMap<u32, u64>);

struct Active {
    pack: u32,
    file: Arc<dyn DiskFile>,
    end: u64,
}

struct Inner {
    active: Option<Active>,
    next_pack: u32,
    unsynced: BTreeMap<u32, (Arc<dyn DiskFile>, u64)>,
    /// Synced ends whose row may not be committed yet, whoever appended.
    synced: BTreeMap<u32, u64>,
    /// Handles for reading.
    files: BTreeMap<u32, Arc<dyn DiskFile>>,
}

/// The packs of one family.
pub(crate) struct Packs {
    disk: Arc<dyn Disk>,
    family: Family,
    pack_bytes_max: u64,
    inner: Mutex<Inner>,
}

impl Packs {
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        index: &Index,
        family: Family,
        pack_bytes_max: u64,
    ) -> Result<Packs, StoreError> {
        let mut ends = BTreeMap::new();
        let table = index.read()?.open_table(PACKS).map_err(failed("packs cannot be opened"))?;
        for row in table.range((family as u8, 0)..=(family as u8, u32::MAX)).map_err(failed("packs cannot be read"))? {
            let (key, end) = row.map_err(failed("packs cannot be read"))?;
            ends.insert(family.file(key.value().1), (key.value().1, end.value()));
        }
        for name in disk.list(family.folder()).map_err(StoreError::io(family.folder(), "cannot be listed"))? {
            let file = format!("{}/{name}", family.folder());
            if !ends.contains_key(&file) {
                disk.remove(&file).map_err(StoreError::io(&file, "cannot be removed"))?;
            }
        }
        let (mut active, mut files, mut next_pack) = (None, BTreeMap::new(), 1);
        for (name, (pack, end)) in ends {
            let file = disk.open_read_only(&name).map_err(StoreError::io(&name, "cannot be opened"))?;
            let found = file.len().map_err(StoreError::io(&name, "has no length"))?;
            if found < end {
                return Err(StoreError::PackShort { file: name, found, acknowledged: end });
            }
            files.insert(pack, file);
            next_pack = pack + 1;
            active = Some((name, pack, end, found));
        }
        let active = match active {
            Some((name, pack, end, found)) if end < pack_bytes_max => {
                let file = disk.open(&name).map_err(StoreError::io(&name, "cannot be opened"))?;
                if found > end {
                    file.set_len(end).map_err(StoreError::io(&name, "cannot be cut"))?;
                }
                Some(Active { pack, file, end })
            }
            _ => None,
        };
        let inner = Mutex::new(Inner { active, next_pack, unsynced: BTreeMap::new(), synced: BTreeMap::new(), files });
        Ok(Packs { disk, family, pack_bytes_max, inner })
    }

    /// Appends a record; to count it must be synced and pointed at.
    pub(crate) fn append(&self, body: &[u8]) -> Result<Pointer, StoreError> {
        let mut inner = self.inner();
        if inner.active.as_ref().is_none_or(|active| active.end >= self.pack_bytes_max) {
            let pack = inner.next_pack;
            let name = self.family.file(pack);
            let file = self.disk.open(&name).map_err(StoreError::io(&name, "cannot be created"))?;
            inner.next_pack += 1;
            inner.files.insert(pack, Arc::clone(&file));
            inner.active = Some(Active { pack, file, end: 0 });
        }
        let Inner { active: Some(active), unsynced, .. } = &mut *inner else { unreachable!("opened above") };
        let name = || self.family.file(active.pack);
        let length = u32::try_from(body.len()).map_err(|_| {
            let source = std::io::ErrorKind::FileTooLarge.into();
            StoreError::Io { file: name(), what: "a record has more than 4 GiB", source }
        })?;
        let mut record = Vec::with_capacity(HEADER_BYTES + body.len());
        record.extend_from_slice(&MAGIC);
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
        record.extend_from_slice(&crc32c::crc32c(&record).to_le_bytes());
        record.extend_from_slice(body);
        active
            .file
            .write_at(active.end, &record)
            .map_err(|source| StoreError::io(&name(), "cannot be written")(source))?;
        let pointer = Pointer { pack: active.pack, offset: active.end, bytes: length };
        active.end += record.len() as u64;
        unsynced.insert(active.pack, (Arc::clone(&active.file), active.end));
        Ok(pointer)
    }

    /// Makes everything appended so far durable; the ends go into the transaction that points at it.
    pub(crate) fn sync(&self) -> Result<Ends, StoreError> {
        let mut inner = self.inner();
        let Inner { unsynced, synced, .. } = &mut *inner;
        for (pack, (file, end)) in &*unsynced {
            file.sync().map_err(|source| StoreError::io(&self.family.file(*pack), "cannot be synced")(source))?;
            synced.insert(*pack, *end);
        }
        unsynced.clear();
        // Also the ends that another caller synced: its commit may come after this one's.
        Ok(Ends(synced.clone()))
    }

    /// Commits ends. Two commits may come in another order than their syncs: an end never goes back.
    pub(crate) fn commit(&self, write: &WriteTransaction, ends: &Ends) -> Result<(), StoreError> {
        let mut table = write.open_table(PACKS).map_err(failed("packs cannot be opened"))?;
        for (pack, end) in &ends.0 {
            let key = (self.family as u8, *pack);
            let known = table.get(key).map_err(failed("packs cannot be read"))?.map_or(0, |known| known.value());
            if known < *end {
                table.insert(key, *end).map_err(failed("packs cannot be written"))?;
            } else if self.inner().synced.get(pack) == Some(end) {
                self.inner().synced.remove(pack);
            }
        }
        Ok(())
    }

    /// Reads a record and checks it.
    pub(crate) fn read(&self, pointer: Pointer) -> Result<Vec<u8>, StoreError> {
        let name = self.family.file(pointer.pack);
        let damaged = |what| StoreError::Damaged { file: name.clone(), offset: pointer.offset, what };
        let file = self.inner().files.get(&pointer.pack).cloned().ok_or_else(|| damaged("the pack of a record"))?;
        let mut record = vec![0; HEADER_BYTES + pointer.bytes as usize];
        file.read_at(pointer.offset, &mut record).map_err(StoreError::io(&name, "cannot be read"))?;
        let body = record.split_off(HEADER_BYTES);
        let crc = |at: usize| record[at..at + 4].try_into().map(u32::from_le_bytes).unwrap_or_default();
        let intact = record[..4] == MAGIC
            && crc(4) == pointer.bytes
            && crc(12) == crc32c::crc32c(&record[..12])
            && crc(8) == crc32c::crc32c(&body);
        if intact { Ok(body) } else { Err(damaged("a record")) }
    }

    /// Packs and their lengths, the newest last.
    pub(crate) fn sizes(&self) -> Result<Vec<(u32, u64)>, StoreError> {
        let length = |(pack, file): (&u32, &Arc<dyn DiskFile>)| {
            let length =
                file.len().map_err(|source| StoreError::io(&self.family.file(*pack), "has no length")(source))?;
            Ok((*pack, length))
        };
        self.inner().files.iter().map(length).collect()
    }

    /// Goes on in a new pack, so that the present one can be rewritten.
    pub(crate) fn seal(&self) {
        self.inner().active = None;
    }

    /// Forgets packs in a transaction.
    pub(crate) fn drop_rows(&self, write: &WriteTransaction, packs: &[u32]) -> Result<(), StoreError> {
        let mut table = write.open_table(PACKS).map_err(failed("packs cannot be opened"))?;
        for pack in packs {
            self.inner().synced.remove(pack);
            table.remove((self.family as u8, *pack)).map_err(failed("packs cannot be written"))?;
        }
        Ok(())
    }

    /// Removes the files of packs whose rows are gone. A file that stays is removed at the next opening.
    pub(crate) fn remove(&self, packs: &[u32]) -> Result<(), StoreError> {
        for pack in packs {
            self.inner().files.remove(pack);
            let name = self.family.file(*pack);
            self.disk.remove(&name).map_err(StoreError::io(&name, "cannot be removed"))?;
        }
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Checkpoints: the state after a step, its memory in content-addressed units that checkpoints share.
//!
//! A unit is 16 KiB of memory (four groups), named by its BLAKE3 and kept once, whichever process or nonce wrote it; so a
//! checkpoint costs what changed since the last one, and its own list of units.
//!
//! *Not here:* what the description of a state says and whether the state has the root it claims (`ao-replay`); removing
//! checkpoints (`compact`).
//!
//! Invariant: what is loaded is bit for bit what was saved, or an error: every unit is compared with its name.

use std::collections::BTreeMap;

use ao_log::Nonce;
use ao_wire::ProcessId;

use crate::index::{self, Bytes, CHECKPOINTS, UNITS};
use crate::pack::{Family, Pointer};
use crate::rows::{nonce_key, nonce_of, take};
use crate::store::Core;
use crate::{Store, StoreError};

/// Bytes of memory that are hashed and tracked together.
pub const GROUP_BYTES: usize = 4096;
/// Bytes of memory that are stored together.
pub const UNIT_BYTES: usize = 4 * GROUP_BYTES;
const GROUPS_PER_UNIT: u32 = (UNIT_BYTES / GROUP_BYTES) as u32;
const RECORD_VERSION: u8 = 1;
const ZSTD_LEVEL: i32 = 1;

pub(crate) type Hash = [u8; 32];

/// A saved state, as `ao-replay` saves and resumes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Nonce of the last step in it.
    pub nonce: Nonce,
    /// All of the state but its memory; opaque here.
    pub meta: Vec<u8>,
    /// The groups of memory that are not all zero: index (4 bytes, little-endian) and content each.
    pub body: Vec<u8>,
}

/// What a record of a checkpoint says: description, and which units make up the memory.
pub(crate) struct Record {
    pub(crate) meta: Vec<u8>,
    pub(crate) units: Vec<(u32, Hash)>,
}

/// What a row of the index says: where the record is and its hash. More may follow.
pub(crate) struct Row {
    pub(crate) pointer: Pointer,
    pub(crate) hash: Hash,
    pub(crate) rest: Vec<u8>,
}

impl Row {
    pub(crate) fn encode(&self) -> Vec<u8> {
        [&self.pointer.encode()[..], &self.hash, &self.rest].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Row> {
        let (pointer, mut rest) = bytes.split_at_checked(16)?;
        Some(Row { pointer: Pointer::decode(pointer)?, hash: take(&mut rest)?, rest: rest.to_vec() })
    }
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![RECORD_VERSION];
        out.extend_from_slice(&(self.meta.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.meta);
        for (index, hash) in &self.units {
            out.extend_from_slice(&index.to_le_bytes());
            out.extend_from_slice(hash);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Record> {
        let mut rest = bytes;
        let [RECORD_VERSION] = take(&mut rest)? else { return None };
        let meta_bytes = u32::from_le_bytes(take(&mut rest)?);
        let (meta, mut rest) = rest.split_at_checked(meta_bytes as usize)?;
        let mut units = Vec::with_capacity(rest.len() / 36);
        while !rest.is_empty() {
            units.push((u32::from_le_bytes(take(&mut rest)?), take(&mut rest)?));
        }
        Some(Record { meta: meta.to_vec(), units })
    }
}

impl Store {
    /// Saves a state: `meta`, and the groups of memory that are not all zero, by ascending index. Durable on return.
    ///
    /// # Errors
    /// Groups out of order or of another size; the host's trouble.
    pub fn save_checkpoint<'a>(
        &self,
        process: ProcessId,
        nonce: Nonce,
        meta: &[u8],
        groups: impl IntoIterator<Item = (u32, &'a [u8])>,
    ) -> Result<(), StoreError> {
        self.with(|core| core.save_memory(CHECKPOINTS, (process, nonce), meta, groups, &[]))
    }

    /// The newest state saved at or before a nonce.
    ///
    /// # Errors
    /// The host's trouble; damage, with the file and offset. An older state may then still be intact.
    pub fn load_checkpoint(&self, process: ProcessId, at_or_before: Nonce) -> Result<Option<Checkpoint>, StoreError> {
        self.with(|core| {
            let _gate = core.pages_shared();
            let Some((nonce, row)) = core.newest(CHECKPOINTS, process, at_or_before)? else { return Ok(None) };
            let (meta, body) = core.load_memory(&row)?;
            Ok(Some(Checkpoint { nonce, meta, body }))
        })
    }

    /// The nonces of all checkpoints of a process, ascending.
    ///
    /// # Errors
    /// The host's trouble.
    pub fn checkpoints(&self, process: ProcessId) -> Result<Vec<Nonce>, StoreError> {
        let mut found = Vec::new();
        let (first, last) = (nonce_key(process, Nonce(0)), nonce_key(process, Nonce(u64::MAX)));
        self.with(|core| {
            core.index.scan(CHECKPOINTS, (&first, &last), false, |key, _| {
                found.extend(nonce_of(key));
                Ok(true)
            })
        })?;
        Ok(found)
    }

    /// The nonce of the newest checkpoint of a process.
    ///
    /// # Errors
    /// The host's trouble.
    pub fn last_checkpoint(&self, process: ProcessId) -> Result<Option<Nonce>, StoreError> {
        self.with(|core| Ok(core.newest(CHECKPOINTS, process, Nonce(u64::MAX))?.map(|(nonce, _)| nonce)))
    }
}

impl Core {
    /// The newest row at or before a nonce.
    pub(crate) fn newest(
        &self,
        table: Bytes,
        process: ProcessId,
        at_or_before: Nonce,
    ) -> Result<Option<(Nonce, Row)>, StoreError> {
        let (first, last) = (nonce_key(process, Nonce(0)), nonce_key(process, at_or_before));
        let mut found = None;
        self.index.scan(table, (&first, &last), true, |key, row| {
            found = nonce_of(key).zip(Row::decode(row));
            if found.is_none() { Err(StoreError::Row { table: "checkpoints" }) } else { Ok(false) }
        })?;
        Ok(found)
    }

    pub(crate) fn save_memory<'a>(
        &self,
        table: Bytes,
        (process, nonce): (ProcessId, Nonce),
        meta: &[u8],
        groups: impl IntoIterator<Item = (u32, &'a [u8])>,
        rest: &[u8],
    ) -> Result<(), StoreError> {
        let units = gather(process, nonce, groups)?;
        let _gate = self.pages_shared();
        let before: BTreeMap<u32, Hash> = match self.newest(table, process, Nonce(u64::MAX))? {
            Some((_, row)) => self.record(&row)?.units.into_iter().collect(),
            None => BTreeMap::new(),
        };
        let known = self.index.snapshot(UNITS)?;
        let mut added: BTreeMap<Hash, Pointer> = BTreeMap::new();
        let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(zstd_failed)?;
        let mut record = Record { meta: meta.to_vec(), units: Vec::with_capacity(units.len()) };
        for (index, unit) in units {
            let hash = *blake3::hash(&unit).as_bytes();
            record.units.push((index, hash));
            if before.get(&index) != Some(&hash) && !added.contains_key(&hash) && known.get(&hash)?.is_none() {
                added.insert(hash, self.pages.append(&compressor.compress(&unit).map_err(zstd_failed)?)?);
            }
        }
        let record = record.encode();
        let row = Row { pointer: self.pages.append(&record)?, hash: blake3::hash(&record).into(), rest: rest.to_vec() };
        let ends = self.pages.sync()?;
        self.index.write(|write| {
            self.pages.commit(write, &ends)?;
            for (hash, pointer) in &added {
                index::put(write, UNITS, hash, &pointer.encode())?;
            }
            index::put(write, table, &nonce_key(process, nonce), &row.encode())
        })
    }

    /// The record of a row.
    pub(crate) fn record(&self, row: &Row) -> Result<Record, StoreError> {
        let bytes = self.pages.read(row.pointer)?;
        let intact = *blake3::hash(&bytes).as_bytes() == row.hash;
        intact.then(|| Record::decode(&bytes)).flatten().ok_or_else(|| damaged(row.pointer, "a checkpoint"))
    }

    /// Description and groups; whoever read the row holds the gate.
    pub(crate) fn load_memory(&self, row: &Row) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
        let record = self.record(row)?;
        let known = self.index.snapshot(UNITS)?;
        let mut decompressor = zstd::bulk::Decompressor::new().map_err(zstd_failed)?;
        let mut body = Vec::with_capacity(record.units.len() * (UNIT_BYTES + 16));
        for (index, hash) in record.units {
            let pointer = known.get(&hash)?.as_deref().and_then(Pointer::decode);
            let pointer = pointer.ok_or_else(|| damaged(row.pointer, "the list of units of a checkpoint"))?;
            let unit = decompressor.decompress(&self.pages.read(pointer)?, UNIT_BYTES);
            let unit = unit.ok().filter(|unit| unit.len() == UNIT_BYTES && *blake3::hash(unit).as_bytes() == hash);
            let unit = unit.ok_or_else(|| damaged(pointer, "a unit of memory"))?;
            for (group, at) in unit.chunks_exact(GROUP_BYTES).zip(0..) {
                if group.iter().any(|byte| *byte != 0) {
                    body.extend_from_slice(&(index * GROUPS_PER_UNIT + at).to_le_bytes());
                    body.extend_from_slice(group);
                }
            }
        }
        Ok((record.meta, body))
    }
}

/// Joins groups into units.
fn gather<'a>(
    process: ProcessId,
    nonce: Nonce,
    groups: impl IntoIterator<Item = (u32, &'a [u8])>,
) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
    let mut units: Vec<(u32, Vec<u8>)> = Vec::new();
    let mut next = 0;
    for (index, group) in groups {
        if u64::from(index) < next || group.len() != GROUP_BYTES {
            return Err(StoreError::Group { process, nonce, index });
        }
        next = u64::from(index) + 1;
        let (unit, at) = (index / GROUPS_PER_UNIT, (index % GROUPS_PER_UNIT) as usize * GROUP_BYTES);
        if units.last().is_none_or(|(last, _)| *last != unit) {
            units.push((unit, vec![0; UNIT_BYTES]));
        }
        if let Some((_, bytes)) = units.last_mut() {
            bytes[at..at + GROUP_BYTES].copy_from_slice(group);
        }
    }
    units.retain(|(_, unit)| unit.iter().any(|byte| *byte != 0));
    Ok(units)
}

fn damaged(pointer: Pointer, what: &'static str) -> StoreError {
    StoreError::Damaged { file: Family::Pages.file(pointer.pack), offset: pointer.offset, what }
}

fn zstd_failed(source: std::io::Error) -> StoreError {
    StoreError::Io { file: "pages".to_owned(), what: "the compressor failed", source }
}

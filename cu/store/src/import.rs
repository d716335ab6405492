//! Memories saved by the reference unit: taken in, kept apart from our own checkpoints, unproven until replayed.
//!
//! Such a checkpoint is the gzipped linear memory alone: no globals, no tables, no host state. It carries no proof, so
//! it never answers [`Store::load_checkpoint`]; a unit may compare with it, or start from it at its own risk.
//!
//! *Not here:* fetching them, and whose are to be trusted.
//!
//! Invariant: a memory counts as proven only after a replay reached the same bytes at the same nonce.

use std::io::Read as _;

use ao_log::{BlockHeight, Nonce, NumberError, Padding, TimestampMs, parse_decimal};
use ao_wire::{ProcessId, Tag};
use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::checkpoint::GROUP_BYTES;
use crate::index::{self, IMPORTS};
use crate::rows::{nonce_key, take};
use crate::{Store, StoreError};

/// A memory that came from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Nonce of the last message in it.
    pub nonce: Nonce,
    /// That message's time.
    pub timestamp: TimestampMs,
    /// That message's block.
    pub block_height: BlockHeight,
    /// Size of the memory.
    pub memory_bytes: u64,
    /// BLAKE3 of the memory.
    pub memory_root: [u8; 32],
    /// Whether a replay reached the same memory.
    pub proven: bool,
}

/// Why a checkpoint of the reference unit is not taken in.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A tag is missing.
    #[error("no {tag} tag")]
    Missing {
        /// Its name.
        tag: &'static str,
    },
    /// A tag says something else.
    #[error("{tag} is {found:?}, expected {expected:?}")]
    Tag {
        /// Its name.
        tag: &'static str,
        /// Its value.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// A tag is not a number.
    #[error("{tag} is {found:?}: {source}")]
    Number {
        /// Its name.
        tag: &'static str,
        /// Its value.
        found: String,
        /// What is wrong.
        source: NumberError,
    },
    /// The data is not gzip.
    #[error("the data is not gzip")]
    Gzip(#[source] std::io::Error),
    /// The memory is larger than allowed.
    #[error("the memory has more than {max} bytes")]
    TooBig {
        /// The limit.
        max: u64,
    },
    /// The memory is not what the checkpoint's own tag says.
    #[error("the SHA-256 of the memory is {found}, its tag says {named}")]
    Sha256 {
        /// Of the memory.
        found: String,
        /// In the tag.
        named: String,
    },
    /// The store.
    #[error(transparent)]
    Store(Box<StoreError>),
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> ImportError {
        ImportError::Store(Box::new(error))
    }
}

impl Store {
    /// Takes in a checkpoint of the reference unit, by its tags and its gzipped memory.
    ///
    /// # Errors
    /// Tags that are not those of a checkpoint of `process`, a memory above `memory_bytes_max` or not the tagged one.
    ///
    /// # Source
    /// `permaweb/ao` `servers/cu/src/effects/ao-process.js` at `ff178d51`.
    pub fn import_memory(
        &self,
        process: ProcessId,
        tags: &[Tag<'_>],
        gzip: &[u8],
        memory_bytes_max: u64,
    ) -> Result<Imported, ImportError> {
        expect(tags, "Type", "Checkpoint")?;
        expect(tags, "Process", &process.to_string())?;
        expect(tags, "Content-Encoding", "gzip")?;
        let nonce = Nonce(number(tags, "Nonce")?);
        let mut memory = Vec::new();
        let unpacked = GzDecoder::new(gzip).take(memory_bytes_max + 1).read_to_end(&mut memory);
        unpacked.map_err(ImportError::Gzip)?;
        if memory.len() as u64 > memory_bytes_max {
            return Err(ImportError::TooBig { max: memory_bytes_max });
        }
        let found = blake3::Hash::from_bytes(Sha256::digest(&memory).into()).to_hex().to_string();
        let named = value(tags, "SHA-256")?;
        if found != named {
            return Err(ImportError::Sha256 { found, named });
        }
        let imported = Imported {
            nonce,
            timestamp: TimestampMs(number(tags, "Timestamp")?),
            block_height: BlockHeight(number(tags, "Block-Height")?),
            memory_bytes: memory.len() as u64,
            memory_root: *blake3::hash(&memory).as_bytes(),
            proven: false,
        };
        memory.resize(memory.len().next_multiple_of(GROUP_BYTES), 0);
        let groups = (0..).zip(memory.chunks_exact(GROUP_BYTES));
        let meta = imported.encode();
        self.with(|core| core.save_memory(IMPORTS, (process, nonce), &meta, groups, &[0]))?;
        Ok(imported)
    }

    /// The newest memory taken in at or before a nonce, with its bytes.
    ///
    /// # Errors
    /// The host's trouble, or damage.
    pub fn imported(&self, process: ProcessId, at_or_before: Nonce) -> Result<Option<(Imported, Vec<u8>)>, StoreError> {
        self.with(|core| {
            let _gate = core.pages_shared();
            let Some((nonce, row)) = core.newest(IMPORTS, process, at_or_before)? else { return Ok(None) };
            let (meta, body) = core.load_memory(&row)?;
            let imported = Imported::decode(nonce, &meta, row.rest == [1]);
            let imported = imported.ok_or(StoreError::Row { table: "imports" })?;
            let mut memory = vec![0; (imported.memory_bytes as usize).next_multiple_of(GROUP_BYTES)];
            for record in body.chunks_exact(4 + GROUP_BYTES) {
                let (index, group) = record.split_at(4);
                let at = index.try_into().map(u32::from_le_bytes).unwrap_or_default() as usize * GROUP_BYTES;
                memory[at..at + GROUP_BYTES].copy_from_slice(group);
            }
            memory.truncate(imported.memory_bytes as usize);
            Ok(Some((imported, memory)))
        })
    }

    /// Compares an imported memory with what a replay reached at its nonce; if they are equal it is proven from now on.
    ///
    /// # Errors
    /// The host's trouble, or damage.
    pub fn prove_import(&self, process: ProcessId, nonce: Nonce, memory_root: &[u8; 32]) -> Result<bool, StoreError> {
        self.with(|core| {
            let _gate = core.pages_shared();
            let Some((found, mut row)) = core.newest(IMPORTS, process, nonce)? else { return Ok(false) };
            let meta = core.record(&row)?.meta;
            let imported = Imported::decode(found, &meta, false).ok_or(StoreError::Row { table: "imports" })?;
            let equal = found == nonce && imported.memory_root == *memory_root;
            if equal && row.rest != [1] {
                row.rest = vec![1];
                core.index.write(|write| index::put(write, IMPORTS, &nonce_key(process, nonce), &row.encode()))?;
            }
            Ok(equal)
        })
    }
}

impl Imported {
    fn encode(&self) -> Vec<u8> {
        let numbers = [self.timestamp.0, self.block_height.0, self.memory_bytes];
        numbers.iter().flat_map(|number| number.to_le_bytes()).chain(self.memory_root).collect()
    }

    fn decode(nonce: Nonce, mut rest: &[u8], proven: bool) -> Option<Imported> {
        let mut number = || take(&mut rest).map(u64::from_le_bytes);
        let (timestamp, block_height) = (TimestampMs(number()?), BlockHeight(number()?));
        let memory_bytes = number()?;
        Some(Imported { nonce, timestamp, block_height, memory_bytes, memory_root: take(&mut rest)?, proven })
    }
}

fn value(tags: &[Tag<'_>], tag: &'static str) -> Result<String, ImportError> {
    let found = tags.iter().find(|found| found.name == tag.as_bytes());
    found.map(|found| found.value_str().into_owned()).ok_or(ImportError::Missing { tag })
}

fn expect(tags: &[Tag<'_>], tag: &'static str, expected: &str) -> Result<(), ImportError> {
    let found = value(tags, tag)?;
    if found == expected { Ok(()) } else { Err(ImportError::Tag { tag, found, expected: expected.to_owned() }) }
}

fn number(tags: &[Tag<'_>], tag: &'static str) -> Result<u64, ImportError> {
    let found = value(tags, tag)?;
    parse_decimal(found.as_bytes(), Padding::Allowed).map_err(|source| ImportError::Number { tag, found, source })
}

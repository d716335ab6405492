//! Forgetting checkpoints, and giving their space back.
//!
//! *Not here:* results and logs, which are kept.
//!
//! Invariant: a crash at any point leaves every checkpoint that was not given up whole: a pack's file goes only after
//! the commit that moved what was alive in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use ao_log::Nonce;
use ao_wire::ProcessId;

use crate::checkpoint::{Hash, Row};
use crate::index::{self, Bytes, CHECKPOINTS, IMPORTS, UNITS, failed};
use crate::pack::{HEADER_BYTES, Pointer};
use crate::rows::nonce_key;
use crate::store::Core;
use crate::{Store, StoreError};

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Packs rewritten and removed.
    pub packs: u64,
    /// Their size.
    pub bytes_before: u64,
    /// What was alive in them.
    pub bytes_kept: u64,
    /// Units of memory that no checkpoint named any more.
    pub units_dropped: u64,
}

/// What is in the packs.
#[derive(Default)]
struct Census {
    /// Rows with their records.
    rows: Vec<(Holder, Vec<u8>, Row)>,
    live: BTreeMap<Hash, Pointer>,
    dead: Vec<Hash>,
}

#[derive(Clone, Copy)]
enum Holder {
    Checkpoints,
    Imports,
}

impl Holder {
    fn table(self) -> Bytes {
        match self {
            Holder::Checkpoints => CHECKPOINTS,
            Holder::Imports => IMPORTS,
        }
    }
}

impl Store {
    /// Gives up all but the newest `keep` checkpoints of a process; their space comes back by [`compact`](Store::compact).
    ///
    /// # Errors
    /// The host's trouble.
    pub fn retain_checkpoints(&self, process: ProcessId, keep: usize) -> Result<usize, StoreError> {
        let all = self.checkpoints(process)?;
        let given_up: &[Nonce] = &all[..all.len().saturating_sub(keep)];
        if !given_up.is_empty() {
            self.with(|core| {
                core.index.write(|write| {
                    let mut table = index::open(write, CHECKPOINTS)?;
                    for nonce in given_up {
                        let key = nonce_key(process, *nonce);
                        table.remove(&key[..]).map_err(failed("a row cannot be removed"))?;
                    }
                    Ok(())
                })
            })?;
        }
        Ok(given_up.len())
    }

    /// Rewrites every pack of which less than `live_per_mille_min` thousandths are still named by a checkpoint.
    /// Checkpoints are neither saved nor loaded meanwhile.
    ///
    /// # Errors
    /// The host's trouble; damage in something alive, which leaves everything as it was.
    pub fn compact(&self, live_per_mille_min: u32) -> Result<Compacted, StoreError> {
        self.with(|core| core.compact(live_per_mille_min))
    }
}

impl Core {
    fn compact(&self, live_per_mille_min: u32) -> Result<Compacted, StoreError> {
        let _gate = self.pages_gate.write().unwrap_or_else(PoisonError::into_inner);
        let mut census = self.census()?;
        let mut alive: BTreeMap<u32, u64> = BTreeMap::new();
        for pointer in census.live.values().chain(census.rows.iter().map(|(_, _, row)| &row.pointer)) {
            *alive.entry(pointer.pack).or_default() += HEADER_BYTES as u64 + u64::from(pointer.bytes);
        }
        let mut done = Compacted { units_dropped: census.dead.len() as u64, ..Compacted::default() };
        let mut victims = Vec::new();
        for (pack, bytes) in self.pages.sizes()? {
            let kept = alive.get(&pack).copied().unwrap_or_default();
            if kept * 1000 < bytes * u64::from(live_per_mille_min) {
                victims.push(pack);
                done.packs += 1;
                done.bytes_before += bytes;
                done.bytes_kept += kept;
            }
        }
        if victims.is_empty() && census.dead.is_empty() {
            return Ok(done);
        }
        self.pages.seal();
        census.live.retain(|_, pointer| victims.contains(&pointer.pack));
        census.rows.retain(|(_, _, row)| victims.contains(&row.pointer.pack));
        let records = census.rows.iter_mut().map(|(_, _, row)| &mut row.pointer);
        for pointer in census.live.values_mut().chain(records) {
            *pointer = self.pages.append(&self.pages.read(*pointer)?)?;
        }
        let ends = self.pages.sync()?;
        self.index.write(|write| {
            self.pages.commit(write, &ends)?;
            for (hash, pointer) in &census.live {
                index::put(write, UNITS, hash, &pointer.encode())?;
            }
            for (table, key, row) in &census.rows {
                index::put(write, table.table(), key, &row.encode())?;
            }
            let mut units = index::open(write, UNITS)?;
            for hash in &census.dead {
                units.remove(&hash[..]).map_err(failed("a row cannot be removed"))?;
            }
            self.pages.drop_rows(write, &victims)
        })?;
        self.pages.remove(&victims)?;
        Ok(done)
    }

    fn census(&self) -> Result<Census, StoreError> {
        let mut census = Census::default();
        let mut named: BTreeSet<Hash> = BTreeSet::new();
        let everything: (&[u8], &[u8]) = (&[0; 40], &[255; 40]);
        for table in [Holder::Checkpoints, Holder::Imports] {
            self.index.scan(table.table(), everything, false, |key, row| {
                let row = Row::decode(row).ok_or(StoreError::Row { table: "checkpoints" })?;
                named.extend(self.record(&row)?.units.iter().map(|(_, hash)| *hash));
                census.rows.push((table, key.to_vec(), row));
                Ok(true)
            })?;
        }
        self.index.scan(UNITS, (&[0; 32], &[255; 32]), false, |key, row| {
            let malformed = StoreError::Row { table: "units" };
            let (hash, pointer) = key.try_into().ok().zip(Pointer::decode(row)).ok_or(malformed)?;
            if named.contains(&hash) {
                census.live.insert(hash, pointer);
            } else {
                census.dead.push(hash);
            }
            Ok(true)
        })?;
        Ok(census)
    }
}

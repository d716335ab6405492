//! Chaining values of zeros, by position: one table for the process, grown on demand.
//!
//! BLAKE3 mixes each chunk's position into its hash, so zeros hash differently in every place; but equally in every
//! memory. With this table a memory that grows hashes nothing.
//!
//! Not here: trees of actual memories (`memory`).
//!
//! Invariant: entry `i` of level `k` is the chaining value of leaves `i << k .. (i + 1) << k`, all full and all zero.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root};

use crate::memory::LEAF_BYTES;

/// Levels needed for 2^32 leaves; no tree is higher.
pub(crate) const LEVELS: usize = 33;

/// The table, read-locked.
pub(crate) struct Zeros(RwLockReadGuard<'static, [Vec<ChainingValue>; LEVELS]>);

impl Zeros {
    /// The table with at least `leaves` leaves, rounded up to a power of two.
    ///
    /// # Limits
    /// 64 bytes a leaf, once per process; 0.4 s for each GiB that was never asked for before.
    pub(crate) fn covering(leaves: usize) -> Self {
        static TABLE: RwLock<[Vec<ChainingValue>; LEVELS]> = RwLock::new([const { Vec::new() }; LEVELS]);
        // A panic while extending leaves whole entries only, so a poisoned table is still right.
        let read = || TABLE.read().unwrap_or_else(PoisonError::into_inner);
        if read()[0].len() < leaves {
            extend(&mut TABLE.write().unwrap_or_else(PoisonError::into_inner), leaves);
        }
        Self(read())
    }

    pub(crate) fn get(&self, level: usize, index: usize) -> ChainingValue {
        self.0[level][index]
    }
}

fn extend(levels: &mut [Vec<ChainingValue>; LEVELS], leaves: usize) {
    let leaves = leaves.next_power_of_two();
    for index in levels[0].len()..leaves {
        levels[0].push(subtree_value(index * LEAF_BYTES, &[0; LEAF_BYTES]));
    }
    for level in 1..LEVELS {
        let (below, above) = levels.split_at_mut(level);
        let (below, above) = (&below[level - 1], &mut above[0]);
        for index in above.len()..below.len() / 2 {
            above.push(merge_subtrees_non_root(&below[2 * index], &below[2 * index + 1], Mode::Hash));
        }
    }
}

/// The chaining value of contents at their place, a power of two of groups (or what there is of it at the end of the
/// memory), when they are not the whole memory.
pub(crate) fn subtree_value(offset: usize, content: &[u8]) -> ChainingValue {
    blake3::Hasher::new().set_input_offset(offset as u64).update(content).finalize_non_root()
}

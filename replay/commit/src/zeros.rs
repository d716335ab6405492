//! Chaining values of zeros, by position.
//!
//! BLAKE3 mixes each chunk's position into its hash, so zeros hash differently in every place; but equally in every
//! memory. Hashing 4 GiB of them takes seconds, so the values of whole stretches are part of the program; what a stretch
//! is made of is hashed when it is first asked for.
//!
//! Not here: trees of actual memories (`memory`).

use std::sync::OnceLock;

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root};

use crate::memory::LEAF_BYTES;

/// Levels of the highest tree, that of 4 GiB, its root among them.
pub(crate) const LEVELS: usize = 19;

/// The level of stretches: each has 64 leaves, 1 MiB.
const STRETCH_LEVEL: usize = 6;
/// Stretches of 4 GiB.
const STRETCHES: usize = 1 << (LEVELS - 1 - STRETCH_LEVEL);

/// The values of all stretches, in order; a test hashes them anew.
const KNOWN: &[u8; STRETCHES * 32] = include_bytes!("zeros.bin");

/// The chaining value of leaves `index << level .. (index + 1) << level`, all full and all zero.
///
/// # Limits
/// Keeps 4 KiB for each MiB that was ever asked about more finely, once per process.
pub(crate) fn at(level: usize, index: usize) -> ChainingValue {
    static ABOVE: OnceLock<Vec<Vec<ChainingValue>>> = OnceLock::new();
    static BELOW: [OnceLock<Vec<Vec<ChainingValue>>>; STRETCHES] = [const { OnceLock::new() }; STRETCHES];
    if let Some(above) = level.checked_sub(STRETCH_LEVEL) {
        return ABOVE.get_or_init(|| pyramid(KNOWN.as_chunks().0.to_vec()))[above][index];
    }
    let per_stretch = 1 << (STRETCH_LEVEL - level);
    let stretch = index / per_stretch;
    let below = BELOW[stretch].get_or_init(|| {
        let leaves = (stretch << STRETCH_LEVEL)..((stretch + 1) << STRETCH_LEVEL);
        pyramid(leaves.map(|leaf| subtree_value(leaf * LEAF_BYTES, &[0; LEAF_BYTES])).collect())
    });
    below[level][index % per_stretch]
}

/// These values, a power of two of them, and level by level those above them.
fn pyramid(lowest: Vec<ChainingValue>) -> Vec<Vec<ChainingValue>> {
    let above = |below: &Vec<ChainingValue>| {
        let pairs = below.as_chunks::<2>().0;
        (!pairs.is_empty())
            .then(|| pairs.iter().map(|[left, right]| merge_subtrees_non_root(left, right, Mode::Hash)).collect())
    };
    std::iter::successors(Some(lowest), above).collect()
}

/// The chaining value of contents at their place, a power of two of groups (or what there is of it at the end of the
/// memory), when they are not the whole memory.
pub(crate) fn subtree_value(offset: usize, content: &[u8]) -> ChainingValue {
    blake3::Hasher::new().set_input_offset(offset as u64).update(content).finalize_non_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRETCH_BYTES: usize = LEAF_BYTES << STRETCH_LEVEL;

    #[test]
    fn the_known_stretches_are_those_of_zeros() {
        let zeros = vec![0; STRETCH_BYTES];
        let hashed: Vec<u8> = (0..STRETCHES).flat_map(|at| subtree_value(at * STRETCH_BYTES, &zeros)).collect();
        let path = std::env::temp_dir().join("zeros.bin");
        if hashed != KNOWN {
            std::fs::write(&path, &hashed).unwrap();
        }
        assert!(hashed == KNOWN, "{} has what belongs in src/zeros.bin", path.display());
    }

    #[test]
    fn what_a_stretch_is_made_of_gives_its_value() {
        for stretch in [0, 1, 4095] {
            let [left, right] = [0, 1].map(|half| at(STRETCH_LEVEL - 1, 2 * stretch + half));
            assert_eq!(merge_subtrees_non_root(&left, &right, Mode::Hash), at(STRETCH_LEVEL, stretch));
        }
    }
}

//! The memory root: plain BLAKE3 of a whole linear memory, kept up to date leaf by leaf.
//!
//! Not here: which groups changed (`ao-kernel`), proofs (`proof`).
//!
//! Invariant: once settled, node `i` of level `k` is the chaining value of the bytes of leaves `i << k .. (i + 1) << k`
//! that lie within the memory; `root()` equals `blake3::hash` of the memory.
//!
//! A leaf is four groups: BLAKE3 hashes up to sixteen chunks of 1 KiB at once, so that a leaf of which two groups changed
//! costs no more than those two would.
//!
//! A BLAKE3 tree puts the largest power of two of its chunks on the left. Pairing neighbours level by level, and
//! carrying an odd last node up unchanged, builds the same tree.

use blake3::hazmat::{ChainingValue, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::Hash;
use crate::zeros::{self, LEVELS, subtree_value};

/// Bytes of a group: the unit of change. The last group of a memory may be shorter.
///
/// The root doesn't depend on it.
pub const GROUP_BYTES: usize = 4096;

/// Levels of a BLAKE3 tree from groups to leaves.
pub(crate) const LEAF_LEVEL: usize = 2;
/// Bytes of a leaf: the unit of hashing. The last leaf of a memory may be shorter.
pub(crate) const LEAF_BYTES: usize = GROUP_BYTES << LEAF_LEVEL;

/// Nodes in a block, the unit of allocation: 256 KiB of memory at level 0.
const BLOCK: usize = 16;

/// A group or a length that a tree can't take.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// More than 4 GiB.
    #[error("memory of {bytes} bytes exceeds 4 GiB")]
    TooLong {
        /// The length asked for.
        bytes: u64,
    },
    /// A resize that would cut a leaf, whose new hash can't be known without its contents.
    #[error("cannot resize from {from} to {to} bytes: both must be multiples of 16384")]
    CutsLeaf {
        /// The present length.
        from: u64,
        /// The length asked for.
        to: u64,
    },
    /// No such group.
    #[error("group {index} lies outside a memory of {groups} groups")]
    NoSuchGroup {
        /// The index asked for.
        index: u32,
        /// How many there are.
        groups: u32,
    },
    /// A memory of another length than the tree's.
    #[error("the memory has {expected} bytes, not {actual}")]
    WrongLength {
        /// Bytes of the memory by the tree.
        expected: u64,
        /// Bytes given.
        actual: u64,
    },
}

/// The BLAKE3 tree over one linear memory.
///
/// # Limits
/// Memories of up to 4 GiB. Takes 1 KiB for each stretch of 256 KiB that was ever written; stretches of zeros take nothing.
#[derive(Clone, Debug)]
pub struct MemoryTree {
    len: u64,
    levels: Vec<Level>,
    /// Contents of leaf 0: a memory of one leaf is hashed as a whole, which its chaining value doesn't tell.
    first: Box<[u8; LEAF_BYTES]>,
    /// Leaves whose ancestors are out of date, in any order.
    stale: Vec<u32>,
}

impl MemoryTree {
    /// The tree of a memory of `len` zeros.
    ///
    /// # Errors
    /// `len` exceeds 4 GiB.
    pub fn new(len: u64) -> Result<Self, TreeError> {
        let first = Box::new([0; LEAF_BYTES]);
        let mut tree = Self { len: 0, levels: Vec::new(), first, stale: Vec::new() };
        tree.set_len(len)?;
        let last = len as usize % LEAF_BYTES;
        if last != 0 {
            tree.set_leaf(tree.leaves() - 1, &vec![0; last]);
        }
        Ok(tree)
    }

    /// Bytes of the memory.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the memory has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of groups, the last one perhaps short.
    pub fn groups(&self) -> u32 {
        self.len.div_ceil(GROUP_BYTES as u64) as u32
    }

    fn leaves(&self) -> u32 {
        self.len.div_ceil(LEAF_BYTES as u64) as u32
    }

    /// Takes note of the groups that changed; `memory` is all of it, as it is now. Cheapest in ascending order.
    ///
    /// # Errors
    /// A memory of another length; no such group, and those before it are taken.
    pub fn update(&mut self, memory: &[u8], groups: impl IntoIterator<Item = u32>) -> Result<(), TreeError> {
        if memory.len() as u64 != self.len {
            return Err(TreeError::WrongLength { expected: self.len, actual: memory.len() as u64 });
        }
        let mut before = None;
        for index in groups {
            if index >= self.groups() {
                return Err(TreeError::NoSuchGroup { index, groups: self.groups() });
            }
            let leaf = index >> LEAF_LEVEL;
            if before.replace(leaf) != Some(leaf) {
                let start = leaf as usize * LEAF_BYTES;
                self.set_leaf(leaf, &memory[start..memory.len().min(start + LEAF_BYTES)]);
            }
        }
        Ok(())
    }

    fn set_leaf(&mut self, leaf: u32, content: &[u8]) {
        if leaf == 0 {
            self.first[..content.len()].copy_from_slice(content);
        }
        self.levels[0].set(0, leaf as usize, subtree_value(leaf as usize * LEAF_BYTES, content));
        self.stale.push(leaf);
    }

    /// Changes the length: new bytes are zero, cut ones forgotten.
    ///
    /// # Errors
    /// Either length is no multiple of 16384, or the new one exceeds 4 GiB.
    pub fn resize(&mut self, len: u64) -> Result<(), TreeError> {
        let leaf = LEAF_BYTES as u64;
        if len == self.len {
            return Ok(());
        }
        if !self.len.is_multiple_of(leaf) || !len.is_multiple_of(leaf) {
            return Err(TreeError::CutsLeaf { from: self.len, to: len });
        }
        self.set_len(len)
    }

    fn set_len(&mut self, len: u64) -> Result<(), TreeError> {
        if len > 1 << 32 {
            return Err(TreeError::TooLong { bytes: len });
        }
        // Nodes at the right edge cover fewer leaves than their siblings: those of the old edge and of the new one.
        let old_last = self.leaves().checked_sub(1);
        self.len = len;
        let leaves = self.leaves();
        self.stale.retain(|index| *index < leaves);
        self.stale.extend(old_last.filter(|last| *last < leaves));
        self.stale.extend(leaves.checked_sub(1));
        if leaves == 0 {
            self.first.fill(0);
        }
        self.levels.resize_with(height(leaves), Level::default);
        for (level, nodes) in self.levels.iter_mut().enumerate() {
            nodes.resize(level, width(leaves, level));
        }
        Ok(())
    }

    /// The BLAKE3 hash of the memory. Costs the ancestors of the leaves set since the last call.
    pub fn root(&mut self) -> Hash {
        if self.leaves() <= 1 {
            return *blake3::hash(&self.first[..self.len as usize]).as_bytes();
        }
        self.settle();
        let top = self.levels.len() - 1;
        let [left, right] = [0, 1].map(|index| self.levels[top].get(top, index));
        *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()
    }

    /// The values next to the path from a leaf to the root, from below.
    pub(crate) fn siblings(&mut self, leaf: u32) -> Vec<ChainingValue> {
        self.settle();
        let leaves = self.leaves();
        let path = (0..self.levels.len()).map(|level| (level, (leaf >> level) as usize ^ 1));
        path.filter(|(level, sibling)| leaves > 1 && *sibling < width(leaves, *level))
            .map(|(level, sibling)| self.levels[level].get(level, sibling))
            .collect()
    }

    /// Recomputes the ancestors of stale leaves, level by level, up to the two children of the root.
    fn settle(&mut self) {
        let mut stale = std::mem::take(&mut self.stale);
        if stale.is_empty() {
            return;
        }
        stale.sort_unstable();
        let leaves = self.leaves();
        for level in 1..self.levels.len() {
            for index in &mut stale {
                *index >>= 1;
            }
            stale.dedup();
            let (below, above) = self.levels.split_at_mut(level);
            let (below, above) = (&below[level - 1], &mut above[0]);
            for &index in &stale {
                let index = index as usize;
                let left = below.get(level - 1, 2 * index);
                let value = if 2 * index + 1 < width(leaves, level - 1) {
                    let right = below.get(level - 1, 2 * index + 1);
                    merge_subtrees_non_root(&left, &right, Mode::Hash)
                } else {
                    left
                };
                above.set(level, index, value);
            }
        }
        stale.clear();
        self.stale = stale;
    }
}

/// Bytes of group `index` in a memory of `len`; nothing if there is no such group.
pub(crate) fn group_len(len: u64, index: u32) -> Option<usize> {
    let start = u64::from(index) * GROUP_BYTES as u64;
    (start < len).then(|| (len - start).min(GROUP_BYTES as u64) as usize)
}

/// Nodes of a level above so many.
pub(crate) fn width(lowest: u32, level: usize) -> usize {
    (lowest as usize).div_ceil(1 << level)
}

/// Levels below the root: the top one has two nodes, or one if that is the whole memory.
fn height(leaves: u32) -> usize {
    (0..LEVELS).take_while(|level| *level == 0 && leaves > 0 || width(leaves, *level) > 1).count()
}

/// The nodes of one level; blocks that were never written hold the values of zeros.
#[derive(Clone, Debug, Default)]
struct Level {
    width: usize,
    blocks: Vec<Option<Box<[ChainingValue; BLOCK]>>>,
}

impl Level {
    fn get(&self, level: usize, index: usize) -> ChainingValue {
        match &self.blocks[index / BLOCK] {
            Some(block) => block[index % BLOCK],
            None => zeros::at(level, index),
        }
    }

    fn set(&mut self, level: usize, index: usize, value: ChainingValue) {
        let (start, width) = (index - index % BLOCK, self.width);
        let block = self.blocks[index / BLOCK].get_or_insert_with(|| {
            let mut block = Box::new([[0; 32]; BLOCK]);
            for at in start..width.min(start + BLOCK) {
                block[at - start] = zeros::at(level, at);
            }
            block
        });
        block[index % BLOCK] = value;
    }

    fn resize(&mut self, level: usize, width: usize) {
        // The last block may be in use and hold leftovers where the level grows; fresh blocks are absent, which is zeros.
        if let Some(Some(block)) = self.blocks.get_mut(self.width / BLOCK) {
            let end = width.min(self.width.next_multiple_of(BLOCK));
            for index in self.width..end {
                block[index % BLOCK] = zeros::at(level, index);
            }
        }
        self.blocks.resize(width.div_ceil(BLOCK), None);
        self.width = width;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(len: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn tree_of(memory: &[u8]) -> MemoryTree {
        let mut tree = MemoryTree::new(memory.len() as u64).unwrap();
        tree.update(memory, 0..tree.groups()).unwrap();
        tree
    }

    fn expected(memory: &[u8]) -> Hash {
        *blake3::hash(memory).as_bytes()
    }

    #[test]
    fn root_is_plain_blake3_at_every_edge() {
        for groups in 0..=130_usize {
            for edge in [-1025, -1024, -1023, -1, 0, 1, 1023, 1024, 1025, 2048] {
                let Some(len) = (groups * GROUP_BYTES).checked_add_signed(edge) else {
                    continue;
                };
                let memory = pattern(len, 1);
                assert_eq!(tree_of(&memory).root(), expected(&memory), "length {len}");
                let zeros = vec![0; len];
                let mut tree = MemoryTree::new(len as u64).unwrap();
                assert_eq!(tree.root(), expected(&zeros), "{len} zeros");
            }
        }
    }

    #[test]
    fn root_is_plain_blake3_at_every_length_below_three_groups() {
        let memory = pattern(3 * GROUP_BYTES, 2);
        for len in 0..memory.len() {
            assert_eq!(tree_of(&memory[..len]).root(), expected(&memory[..len]), "length {len}");
        }
    }

    #[test]
    fn a_sparse_tree_takes_space_only_where_it_was_written() {
        let mut memory = vec![0; 64 << 20];
        memory[9000 * GROUP_BYTES..][..GROUP_BYTES].fill(7);
        let mut tree = MemoryTree::new(64 << 20).unwrap();
        tree.update(&memory, [9000]).unwrap();
        tree.root();
        let blocks: usize = tree.levels.iter().map(|level| level.blocks.iter().flatten().count()).sum();
        // The written path and the right edge, at most two blocks a level.
        assert!(blocks <= 2 * tree.levels.len(), "{blocks} blocks");
    }

    #[test]
    fn lengths_and_groups_out_of_bounds_are_refused() {
        assert_eq!(MemoryTree::new((1 << 32) + 1).unwrap_err(), TreeError::TooLong { bytes: (1 << 32) + 1 });
        let mut tree = MemoryTree::new(5000).unwrap();
        assert_eq!(tree.resize(16384), Err(TreeError::CutsLeaf { from: 5000, to: 16384 }));
        assert_eq!(tree.update(&[0; 5000], [2]), Err(TreeError::NoSuchGroup { index: 2, groups: 2 }));
        assert_eq!(tree.update(&[0; 5001], [1]), Err(TreeError::WrongLength { expected: 5000, actual: 5001 }));
        assert_eq!(tree.root(), expected(&[0; 5000]));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Set(prop::sample::Index, u64),
        Resize(usize),
        Root,
    }

    fn op() -> impl Strategy<Value = Op> {
        let index = any::<prop::sample::Index>();
        prop_oneof![
            6 => (index, 0..4_u64).prop_map(|(index, seed)| Op::Set(index, seed)),
            2 => prop_oneof![0..3_usize, 0..300_usize].prop_map(Op::Resize),
            2 => Just(Op::Root),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn root_follows_any_history_of_writes_and_sizes(ops in prop::collection::vec(op(), 1..60)) {
            let mut memory = Vec::new();
            let mut tree = MemoryTree::new(0).unwrap();
            for op in ops {
                match op {
                    Op::Set(pick, seed) if !memory.is_empty() => {
                        let index = pick.index(memory.len() / GROUP_BYTES);
                        let content = if seed == 0 { vec![0; GROUP_BYTES] } else { pattern(GROUP_BYTES, seed) };
                        memory[index * GROUP_BYTES..][..GROUP_BYTES].copy_from_slice(&content);
                        tree.update(&memory, [index as u32]).unwrap();
                    }
                    Op::Set(..) => {}
                    Op::Resize(leaves) => {
                        memory.resize(leaves * LEAF_BYTES, 0);
                        tree.resize(memory.len() as u64).unwrap();
                    }
                    Op::Root => prop_assert_eq!(tree.root(), expected(&memory)),
                }
            }
            prop_assert_eq!(tree.root(), expected(&memory));
        }
    }
}

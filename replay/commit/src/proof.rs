//! Proof that a group of 4 KiB stands in a memory, checked with nothing but the memory root and the memory length.
//!
//! Not here: the tree (`memory`), ranges and streams (any BLAKE3 verified-streaming tool works on the same root).
//!
//! Invariant: the length alone fixes the shape of the tree, so a proof is a list of siblings and nothing else; one that
//! verifies binds the index as well as the contents.

use blake3::hazmat::{ChainingValue, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::Hash;
use crate::memory::{GROUP_BYTES, LEAF_LEVEL, MemoryTree, TreeError, group_len, width};
use crate::zeros::subtree_value;

/// A proof does not show what it claims.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// No such group in a memory of this length, or not its number of bytes.
    #[error("group {index} of a memory of {memory_len} bytes does not have {actual} bytes")]
    NoSuchGroup {
        /// The index claimed.
        index: u32,
        /// The length of the memory.
        memory_len: u64,
        /// Bytes given.
        actual: usize,
    },
    /// Too few or too many siblings.
    #[error("proof of group {index} has {actual} siblings instead of {expected}")]
    WrongSize {
        /// The index claimed.
        index: u32,
        /// Siblings the shape of the tree asks for.
        expected: usize,
        /// Siblings given.
        actual: usize,
    },
    /// Contents, place, length and root do not belong together.
    #[error("group {index} does not lead to the memory root")]
    WrongRoot {
        /// The index claimed.
        index: u32,
    },
}

/// The siblings on the way from one group up to the root.
///
/// # Units
/// 32 bytes a level: 384 bytes for 16 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupProof {
    /// Which group.
    pub index: u32,
    /// Chaining values next to the path, from below.
    pub siblings: Vec<Hash>,
}

impl MemoryTree {
    /// The proof for one group; `memory` is all of it, as it was at the last update.
    ///
    /// # Errors
    /// A memory of another length; no such group.
    pub fn prove(&mut self, memory: &[u8], index: u32) -> Result<GroupProof, TreeError> {
        self.update(memory, [index])?;
        // Below the leaves the tree keeps nothing.
        let within = (0..LEAF_LEVEL).filter_map(|level| {
            let (start, bytes) = ((index as usize >> level ^ 1) * (GROUP_BYTES << level), GROUP_BYTES << level);
            let sibling = memory.get(start..memory.len().min(start + bytes)).filter(|sibling| !sibling.is_empty())?;
            Some(subtree_value(start, sibling))
        });
        Ok(GroupProof { index, siblings: within.chain(self.siblings(index >> LEAF_LEVEL)).collect() })
    }
}

impl GroupProof {
    /// Checks that a memory of `memory_len` bytes with this root holds `content` at this group.
    ///
    /// # Errors
    /// Why it does not show that.
    pub fn verify(&self, root: &Hash, memory_len: u64, content: &[u8]) -> Result<(), ProofError> {
        let index = self.index;
        if memory_len > 1 << 32 || group_len(memory_len, index) != Some(content.len()) {
            return Err(ProofError::NoSuchGroup { index, memory_len, actual: content.len() });
        }
        let groups = memory_len.div_ceil(GROUP_BYTES as u64) as u32;
        let path = Path::new(groups, index);
        let expected = path.clone().flatten().count();
        if self.siblings.len() != expected {
            return Err(ProofError::WrongSize { index, expected, actual: self.siblings.len() });
        }
        if climb(path, content, index, &self.siblings) == *root { Ok(()) } else { Err(ProofError::WrongRoot { index }) }
    }
}

/// The root that follows from a group and its siblings, of which there are as many as the path asks for.
fn climb(path: Path, content: &[u8], index: u32, siblings: &[ChainingValue]) -> Hash {
    let Some((last, below)) = siblings.split_last() else {
        return *blake3::hash(content).as_bytes();
    };
    let mut value = subtree_value(index as usize * GROUP_BYTES, content);
    let mut below = below.iter();
    for side in path.flatten() {
        let Some(sibling) = below.next() else {
            let [left, right] = side.order(&value, last);
            return *merge_subtrees_root(left, right, Mode::Hash).as_bytes();
        };
        let [left, right] = side.order(&value, sibling);
        value = merge_subtrees_non_root(left, right, Mode::Hash);
    }
    unreachable!("the path has one step for each sibling")
}

/// On which side of its sibling a node stands.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

impl Side {
    fn order<'a>(self, own: &'a ChainingValue, sibling: &'a ChainingValue) -> [&'a ChainingValue; 2] {
        match self {
            Self::Left => [own, sibling],
            Self::Right => [sibling, own],
        }
    }
}

/// The levels from a group to the root: the side of the node, or nothing where it has no sibling and moves up as it is.
#[derive(Clone)]
struct Path {
    groups: u32,
    index: u32,
    level: usize,
}

impl Path {
    fn new(groups: u32, index: u32) -> Self {
        Self { groups, index, level: 0 }
    }
}

impl Iterator for Path {
    type Item = Option<Side>;

    fn next(&mut self) -> Option<Self::Item> {
        let width = width(self.groups, self.level);
        if width <= 1 {
            return None;
        }
        let index = (self.index >> self.level) as usize;
        self.level += 1;
        Some(match (index % 2, index + 1 < width) {
            (1, _) => Some(Side::Right),
            (_, true) => Some(Side::Left),
            (_, false) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(len: usize) -> (Vec<u8>, MemoryTree) {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        let mut tree = MemoryTree::new(len as u64).unwrap();
        tree.update(&bytes, 0..tree.groups()).unwrap();
        (bytes, tree)
    }

    #[test]
    fn every_group_of_every_size_can_be_proven() {
        for len in (1..=20).flat_map(|groups| [groups * GROUP_BYTES, groups * GROUP_BYTES - 1000]) {
            let (bytes, mut tree) = memory(len);
            let root = *blake3::hash(&bytes).as_bytes();
            for (index, content) in (0..).zip(bytes.chunks(GROUP_BYTES)) {
                let proof = tree.prove(&bytes, index).unwrap();
                assert_eq!(proof.verify(&root, len as u64, content), Ok(()), "group {index} of {len}");
            }
        }
    }

    #[test]
    fn a_proof_binds_contents_place_length_and_root() {
        let len = 13 * GROUP_BYTES;
        let (bytes, mut tree) = memory(len);
        let root = tree.root();
        let content = &bytes[5 * GROUP_BYTES..6 * GROUP_BYTES];
        let proof = tree.prove(&bytes, 5).unwrap();
        proof.verify(&root, len as u64, content).unwrap();

        let mut other = content.to_vec();
        other[4095] ^= 1;
        assert_eq!(proof.verify(&root, len as u64, &other), Err(ProofError::WrongRoot { index: 5 }));
        for index in (0..13).filter(|index| *index != 5) {
            let moved = GroupProof { index, ..proof.clone() };
            assert!(moved.verify(&root, len as u64, content).is_err(), "accepted at {index}");
        }
        for groups in (6..40).filter(|groups| *groups != 13) {
            let other_len = groups * GROUP_BYTES as u64;
            let shape_differs = proof.verify(&root, other_len, content).is_err();
            // The length is part of the state root; a proof alone only notices lengths that change its own path.
            assert!(shape_differs || (9..=16).contains(&groups), "accepted for {groups} groups");
        }
        for sibling in 0..proof.siblings.len() {
            let mut broken = proof.clone();
            broken.siblings[sibling][31] ^= 0x80;
            assert_eq!(broken.verify(&root, len as u64, content), Err(ProofError::WrongRoot { index: 5 }));
        }
        let mut short = proof.clone();
        short.siblings.pop();
        assert!(matches!(short.verify(&root, len as u64, content), Err(ProofError::WrongSize { .. })));
        assert!(proof.verify(&root, len as u64, &content[1..]).is_err());
    }

    #[test]
    fn a_proof_for_sixteen_mebibytes_has_384_bytes() {
        let (bytes, mut tree) = memory(16 << 20);
        assert_eq!(tree.prove(&bytes, 4095).unwrap().siblings.as_flattened().len(), 384);
        assert!(tree.prove(&bytes, 4096).is_err());
    }
}

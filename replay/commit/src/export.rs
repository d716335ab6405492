//! Export root: the tree by which a contract on Ethereum checks that a unit vouched for a root of a process at a nonce.
//!
//! Its form is OpenZeppelin's `StandardMerkleTree` over `(bytes32 process, uint64 nonce, bytes32 root)`, which Solidity's
//! `MerkleProof` verifies as it stands. The package `replay/evm-export` makes the same tree by the crate `merkle-tree-rs`
//! and compares.
//!
//! Not here: the state root or the receipt log, which prove places and growth; this tree proves membership alone, since
//! its pairs are sorted before they are hashed. Whom a contract believes a root from.
//!
//! Invariant: a root depends on the set of leaves, not on their order.
//!
//! # Source
//! npm `@openzeppelin/merkle-tree`, format `standard-v1`.

use sha3::{Digest, Keccak256};

use crate::Hash;

/// One statement: after the step of this nonce the process has this root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportLeaf {
    /// The process.
    pub process: Hash,
    /// The nonce.
    pub nonce: u64,
    /// The receipt hash or the state root, as the two sides agree.
    pub root: Hash,
}

impl ExportLeaf {
    /// Twice Keccak-256 of `abi.encode(process, nonce, root)`.
    pub fn hash(&self) -> Hash {
        let mut nonce = [0; 32];
        nonce[24..].copy_from_slice(&self.nonce.to_be_bytes());
        keccak(&[&keccak(&[&self.process, &nonce, &self.root])])
    }
}

/// The tree over a set of leaves: a heap whose last half are their hashes in descending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportTree {
    nodes: Vec<Hash>,
}

impl ExportTree {
    /// The tree; `None` without leaves.
    pub fn new(leaves: &[ExportLeaf]) -> Option<Self> {
        let mut hashes: Vec<Hash> = leaves.iter().map(ExportLeaf::hash).collect();
        hashes.sort_unstable_by(|a, b| b.cmp(a));
        let inner = hashes.len().checked_sub(1)?;
        let mut nodes = [vec![[0; 32]; inner], hashes].concat();
        for index in (0..inner).rev() {
            nodes[index] = pair(&nodes[2 * index + 1], &nodes[2 * index + 2]);
        }
        Some(Self { nodes })
    }

    /// The root that a contract is told.
    pub fn root(&self) -> Hash {
        self.nodes[0]
    }

    /// The siblings from a leaf to the root; `None` for what is no leaf.
    pub fn prove(&self, leaf: &ExportLeaf) -> Option<Vec<Hash>> {
        let (hash, inner) = (leaf.hash(), self.nodes.len() / 2);
        let mut index = inner + self.nodes[inner..].iter().position(|node| *node == hash)?;
        let mut proof = Vec::new();
        while index > 0 {
            // Children stand at 2i + 1 and 2i + 2.
            proof.push(self.nodes[if index % 2 == 1 { index + 1 } else { index - 1 }]);
            index = (index - 1) / 2;
        }
        Some(proof)
    }
}

/// Whether a leaf is shown to be in the tree with this root, as `MerkleProof.verify` decides it.
pub fn verify_export(root: &Hash, leaf: &ExportLeaf, proof: &[Hash]) -> bool {
    proof.iter().fold(leaf.hash(), |node, sibling| pair(&node, sibling)) == *root
}

fn pair(a: &Hash, b: &Hash) -> Hash {
    keccak(&[a.min(b), a.max(b)])
}

fn keccak(parts: &[&[u8]]) -> Hash {
    let mut hasher = Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u64) -> Vec<ExportLeaf> {
        let hash = |seed: u64| *blake3::hash(&seed.to_le_bytes()).as_bytes();
        (0..count).map(|nonce| ExportLeaf { process: hash(nonce % 3), nonce, root: hash(1000 + nonce) }).collect()
    }

    #[test]
    fn roots_are_those_of_the_openzeppelin_tools() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../fixtures/vectors/export/roots.json")).unwrap();
        let vectors = vectors.as_array().unwrap();
        assert_eq!(vectors.len(), 9);
        for vector in vectors {
            let leaves = leaves(vector["leaves"].as_u64().unwrap());
            let tree = ExportTree::new(&leaves).unwrap();
            let hex = |hash: &Hash| format!("0x{}", blake3::Hash::from_bytes(*hash).to_hex());
            assert_eq!(hex(&tree.root()), vector["root"], "{} leaves", leaves.len());
            let last: Vec<String> = tree.prove(leaves.last().unwrap()).unwrap().iter().map(hex).collect();
            assert_eq!(serde_json::json!(last), vector["proof_of_last"], "{} leaves", leaves.len());
        }
    }

    #[test]
    fn every_leaf_is_provable_and_nothing_else() {
        for count in 1..20 {
            let leaves = leaves(count);
            let tree = ExportTree::new(&leaves).unwrap();
            for leaf in &leaves {
                let proof = tree.prove(leaf).unwrap();
                assert!(verify_export(&tree.root(), leaf, &proof));
                for other in [
                    ExportLeaf { nonce: leaf.nonce + 1, ..*leaf },
                    ExportLeaf { process: leaf.root, ..*leaf },
                    ExportLeaf { root: leaf.process, ..*leaf },
                ] {
                    assert!(!verify_export(&tree.root(), &other, &proof) && tree.prove(&other).is_none());
                }
            }
        }
        assert_eq!(ExportTree::new(&[]), None);
    }

    #[test]
    fn the_order_of_leaves_does_not_matter() {
        let mut leaves = leaves(13);
        let root = ExportTree::new(&leaves).unwrap().root();
        leaves.reverse();
        assert_eq!(ExportTree::new(&leaves).unwrap().root(), root);
    }
}

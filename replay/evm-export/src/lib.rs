//! The export root made by `merkle-tree-rs`, in the types of `ao-commit`.
//!
//! Not here: anything a unit or an auditor needs; `ao_commit::ExportTree` gives the same roots and proofs in 90 lines.
//!
//! Invariant: the two are equal, so that either can be dropped without changing a root.

use ao_commit::{ExportLeaf, Hash};
use ethers_core::types::U256;
use merkle_tree_rs::standard::{LeafType, StandardMerkleTree};

/// The crate knows no `bytes32` and no `uint64`; ABI encoding gives a `uint256` of the same value the same 32 bytes.
const TYPES: [&str; 3] = ["uint256", "uint256", "uint256"];

/// The tree over these leaves.
///
/// # Panics
/// Without leaves: the crate does.
pub fn standard_tree(leaves: &[ExportLeaf]) -> StandardMerkleTree {
    StandardMerkleTree::of(leaves.iter().map(values).collect(), &TYPES.map(str::to_owned))
}

/// Root of the tree.
pub fn root(tree: &StandardMerkleTree) -> Hash {
    unhex(&tree.root())
}

/// The siblings from a leaf to the root.
///
/// # Panics
/// For what is no leaf: the crate does.
pub fn prove(tree: &StandardMerkleTree, leaf: &ExportLeaf) -> Vec<Hash> {
    tree.get_proof(LeafType::LeafBytes(values(leaf))).iter().map(|node| unhex(node)).collect()
}

fn values(leaf: &ExportLeaf) -> Vec<String> {
    let number = |bytes: &Hash| U256::from_big_endian(bytes).to_string();
    vec![number(&leaf.process), leaf.nonce.to_string(), number(&leaf.root)]
}

fn unhex(text: &str) -> Hash {
    let number = U256::from_str_radix(text, 16).expect("the crate writes 0x and hex digits");
    let mut bytes = [0; 32];
    number.to_big_endian(&mut bytes);
    bytes
}

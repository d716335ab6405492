//! `merkle-tree-rs` and `ao-commit` make one tree. With `WRITE_VECTORS=1` the vectors of `ao-commit` are written from the former.

use ao_commit::{ExportLeaf, ExportTree, Hash, verify_export};
use ao_evm_export::{prove, root, standard_tree};
use serde_json::json;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/vectors/export/roots.json");
const SIZES: [u64; 9] = [1, 2, 3, 4, 5, 8, 13, 100, 1000];

fn leaves(count: u64) -> Vec<ExportLeaf> {
    let hash = |seed: u64| *blake3::hash(&seed.to_le_bytes()).as_bytes();
    (0..count).map(|nonce| ExportLeaf { process: hash(nonce % 3), nonce, root: hash(1000 + nonce) }).collect()
}

#[test]
fn both_make_the_same_roots_and_proofs() {
    for count in (1..40).chain([100]) {
        let leaves = leaves(count);
        let (ours, theirs) = (ExportTree::new(&leaves).expect("there are leaves"), standard_tree(&leaves));
        assert_eq!(ours.root(), root(&theirs), "{count} leaves");
        for leaf in &leaves {
            let proof = prove(&theirs, leaf);
            assert_eq!(ours.prove(leaf), Some(proof.clone()), "{count} leaves");
            assert!(verify_export(&ours.root(), leaf, &proof));
        }
    }
}

#[test]
fn the_vectors_are_those_of_the_crate() {
    let hex = |hash: &Hash| format!("0x{}", blake3::Hash::from_bytes(*hash).to_hex());
    let vectors: Vec<_> = SIZES
        .iter()
        .map(|&count| {
            let leaves = leaves(count);
            let tree = standard_tree(&leaves);
            let proof: Vec<String> = prove(&tree, &leaves[leaves.len() - 1]).iter().map(hex).collect();
            json!({ "leaves": count, "root": hex(&root(&tree)), "proof_of_last": proof })
        })
        .collect();
    let text = serde_json::to_string_pretty(&vectors).expect("JSON") + "\n";
    if std::env::var_os("WRITE_VECTORS").is_some() {
        std::fs::write(VECTORS, &text).expect("vectors can be written");
    }
    assert_eq!(std::fs::read_to_string(VECTORS).expect("vectors are there"), text);
}

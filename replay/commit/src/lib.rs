//! Memory root, state root, receipts, receipt log, inclusion proofs: what a step commits to, and how to check it.
//!
//! Everything here is a function of bytes handed in; a receipt, a proof or a checkpoint is checked without an engine.
//!
//! Not here: finding what a step changed (`ao-kernel`), storing or publishing anything (`cu/`).
//!
//! Invariant: hashed bytes are laid out by hand as `FORMAT.md` says, and every decoder accepts exactly what its encoder writes.

mod bytes;
mod chain;
#[cfg(feature = "evm-export")]
mod export;
mod hex;
mod log;
mod memory;
mod note;
mod policy;
mod proof;
mod receipt;
mod state;
mod tiles;
mod zeros;

pub use chain::{ChainError, ReceiptChain, Step};
#[cfg(feature = "evm-export")]
pub use export::{ExportLeaf, ExportTree, verify_export};
pub use hex::{hex, unhex};
pub use log::{Checkpoint, CheckpointError, LogProofError, ReceiptLog, verify_consistency, verify_inclusion};
pub use memory::{GROUP_BYTES, MemoryTree, TreeError};
pub use note::{GrowthNote, InclusionNote, NoteError, VerifierKey};
pub use policy::{CheckpointPolicy, PolicyError};
pub use proof::{GroupProof, ProofError};
pub use receipt::{Outcome, RECEIPT_BYTES, Receipt, ReceiptError, input_hash, result_hash};
pub use state::{Global, GlobalKind, StateParts, StateRoot, host_state_hash, tables_hash};
pub use tiles::{TILE_WIDTH, bundle_path, read_entry_bundle, tile_path, tiles};

/// A hash of 32 bytes: BLAKE3, or SHA-256 in the receipt log.
pub type Hash = [u8; 32];

/// Derive-key contexts. Each names one use; a changed layout gets a new version, never an old name.
mod context {
    pub(crate) const STATE_ROOT: &str = "aorta 2026-11 state root v1";
    pub(crate) const TABLES: &str = "aorta 2026-11 tables v1";
    pub(crate) const HOST_STATE: &str = "aorta 2026-11 host state v1";
    pub(crate) const INPUT: &str = "aorta 2026-11 step input v1";
    pub(crate) const RESULT: &str = "aorta 2026-11 step result v1";
    pub(crate) const RECEIPT: &str = "aorta 2026-11 receipt v1";
    pub(crate) const TICK_RECEIPT: &str = "aorta 2026-11 receipt v2";
    pub(crate) const GENESIS: &str = "aorta 2026-11 receipt chain genesis v1";
}

/// Hashes `parts`, one after the other, under a context.
fn derive(context: &str, parts: &[&[u8]]) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

//! The typed records of a bundle.

use ao_wire::{ModuleId, ProcessId};

use super::frame::Kind;
use super::order::Shape;
use crate::{ChainRule, Nonce};

/// What a bundle is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The process.
    pub process: ProcessId,
    /// Nonce of the first entry. A run that begins above 0 needs a checkpoint of the nonce before.
    pub first_nonce: Nonce,
    /// How the scheduler chained its assignments.
    pub chain_rule: ChainRule,
    /// Name of the semantics the receipts were made under.
    ///
    /// # Limits
    /// 255 bytes.
    pub profile: String,
    /// Whatever else the tool that runs the bundle wants to know; opaque here.
    pub extra: Vec<u8>,
}

/// A tag of a module, as text: guests see it as JSON.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct ModuleTag {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Identity of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleMeta {
    /// Id of the data item or transaction that carried it.
    pub id: ModuleId,
    /// Address of its owner.
    pub owner: String,
    /// Its tags, in order.
    pub tags: Vec<ModuleTag>,
    /// Size of the wasm binary.
    pub wasm_bytes: u64,
    /// BLAKE3 of the wasm binary.
    pub wasm_blake3: [u8; 32],
    /// Whether the binary follows in the bundle; else it must be had by its BLAKE3.
    pub embedded: bool,
    /// The signed data item up to its data, so that item = prefix ‖ binary; empty if the item isn't known.
    pub item_prefix: Vec<u8>,
}

/// One record of a bundle; borrows from the reader that yields it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record<'a> {
    /// First of all.
    Manifest(Manifest),
    /// The process' data item.
    Process(&'a [u8]),
    /// The module.
    Module(ModuleMeta),
    /// The next bytes of the embedded module.
    ModuleChunk(&'a [u8]),
    /// One assignment.
    Entry {
        /// Its nonce.
        nonce: Nonce,
        /// The assignment's data item.
        assignment: &'a [u8],
        /// The message's data item, if the log holds it.
        message: Option<&'a [u8]>,
    },
    /// The next bytes of the step's host-call transcript; opaque here.
    Transcript {
        /// Nonce of the step.
        nonce: Nonce,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// The step's receipt; opaque here.
    Receipt {
        /// Nonce of the step.
        nonce: Nonce,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A saved state after a step; its body follows in chunks.
    Checkpoint {
        /// Nonce of the step.
        nonce: Nonce,
        /// Size of the body.
        body_bytes: u64,
        /// Opaque here.
        meta: &'a [u8],
    },
    /// The next bytes of the checkpoint's body.
    CheckpointChunk(&'a [u8]),
}

impl Record<'_> {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Record::Manifest(_) => Kind::Manifest,
            Record::Process(_) => Kind::Process,
            Record::Module(_) => Kind::Module,
            Record::ModuleChunk(_) => Kind::ModuleChunk,
            Record::Entry { .. } => Kind::Entry,
            Record::Transcript { .. } => Kind::Transcript,
            Record::Receipt { .. } => Kind::Receipt,
            Record::Checkpoint { .. } => Kind::Checkpoint,
            Record::CheckpointChunk(_) => Kind::CheckpointChunk,
        }
    }

    pub(super) fn shape(&self) -> Shape {
        match self {
            Record::Manifest(manifest) => Shape::Manifest { first_nonce: manifest.first_nonce },
            Record::Process(_) => Shape::Process,
            Record::Module(meta) => Shape::Module { body_bytes: if meta.embedded { meta.wasm_bytes } else { 0 } },
            Record::ModuleChunk(bytes) => Shape::ModuleChunk { bytes: bytes.len() as u64 },
            Record::Entry { nonce, .. } => Shape::Entry { nonce: *nonce },
            Record::Transcript { nonce, bytes } => Shape::Transcript { nonce: *nonce, bytes: bytes.len() as u64 },
            Record::Receipt { nonce, .. } => Shape::Receipt { nonce: *nonce },
            Record::Checkpoint { nonce, body_bytes, .. } => {
                Shape::Checkpoint { nonce: *nonce, body_bytes: *body_bytes }
            }
            Record::CheckpointChunk(bytes) => Shape::CheckpointChunk { bytes: bytes.len() as u64 },
        }
    }
}

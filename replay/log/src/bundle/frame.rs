//! Header, record framing and the chain: everything about a bundle but the payloads.

use std::fmt;

const CHAIN_CONTEXT: &str = "aorta 2026-11 replay bundle chain v1";
pub(super) const MAGIC: [u8; 8] = *b"AORTABDL";
/// The only format version of this build.
pub const VERSION: u16 = 1;
pub(super) const HEADER_BYTES: usize = 12;
pub(super) const HEAD_BYTES: usize = 9;
pub(super) const CHECK_BYTES: usize = 32;
/// Large bodies are split into records of exactly this size but the last.
pub const CHUNK_BYTES: usize = 4 << 20;
/// Largest record that carries data items (process, entry).
pub const MAX_ITEMS_BYTES: u64 = 64 << 20;
const MAX_META_BYTES: u64 = 1 << 20;
const NONCE_BYTES: u64 = 8;
pub(super) const END_BYTES: u64 = 16;

/// What a record is. The numbers never change and are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// What the bundle is about, and the profile it is to be run under.
    Manifest = 0x01,
    /// The process' data item.
    Process = 0x02,
    /// Identity of the module, and its BLAKE3.
    Module = 0x03,
    /// A piece of the module's bytes.
    ModuleChunk = 0x04,
    /// One assignment, and the message if the log has it.
    Entry = 0x10,
    /// A piece of what host calls answered during the step.
    Transcript = 0x11,
    /// What the step committed to.
    Receipt = 0x12,
    /// Description of a saved state.
    Checkpoint = 0x13,
    /// A piece of a saved state.
    CheckpointChunk = 0x14,
    /// Nothing follows.
    End = 0xff,
}

impl Kind {
    const ALL: [Kind; 10] = [
        Kind::Manifest,
        Kind::Process,
        Kind::Module,
        Kind::ModuleChunk,
        Kind::Entry,
        Kind::Transcript,
        Kind::Receipt,
        Kind::Checkpoint,
        Kind::CheckpointChunk,
        Kind::End,
    ];

    pub(super) fn from_byte(byte: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|&kind| kind as u8 == byte)
    }

    /// Largest payload of a record of this kind.
    pub fn max_payload_bytes(self) -> u64 {
        match self {
            Kind::Manifest | Kind::Module | Kind::Receipt | Kind::Checkpoint => MAX_META_BYTES,
            Kind::Process | Kind::Entry => MAX_ITEMS_BYTES,
            Kind::ModuleChunk | Kind::CheckpointChunk => CHUNK_BYTES as u64,
            Kind::Transcript => NONCE_BYTES + CHUNK_BYTES as u64,
            Kind::End => END_BYTES,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Manifest => "manifest",
            Kind::Process => "process",
            Kind::Module => "module",
            Kind::ModuleChunk => "module chunk",
            Kind::Entry => "entry",
            Kind::Transcript => "transcript",
            Kind::Receipt => "receipt",
            Kind::Checkpoint => "checkpoint",
            Kind::CheckpointChunk => "checkpoint chunk",
            Kind::End => "end",
        })
    }
}

/// Hash over every byte of a bundle; also its last 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleRoot(pub [u8; 32]);

impl fmt::Display for BundleRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        blake3::Hash::from_bytes(self.0).fmt(f)
    }
}

pub(super) fn encode_header() -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(&MAGIC);
    out[8..10].copy_from_slice(&VERSION.to_le_bytes());
    // Bytes 10 and 11 are flags, all reserved.
    out
}

pub(super) fn encode_head(kind: Kind, payload_bytes: u64) -> [u8; HEAD_BYTES] {
    let mut out = [0; HEAD_BYTES];
    out[0] = kind as u8;
    out[1..].copy_from_slice(&payload_bytes.to_le_bytes());
    out
}

/// The running hash, and what the end record repeats of what ran through it.
#[derive(Debug)]
pub(super) struct Chain {
    value: [u8; CHECK_BYTES],
    pub(super) records: u64,
    pub(super) payload_bytes: u64,
}

impl Chain {
    pub(super) fn new(header: &[u8; HEADER_BYTES]) -> Chain {
        Chain { value: blake3::derive_key(CHAIN_CONTEXT, header), records: 0, payload_bytes: 0 }
    }

    /// Moves over one record, whose payload may come in parts; answers its check value.
    pub(super) fn advance(&mut self, head: &[u8; HEAD_BYTES], parts: &[&[u8]]) -> [u8; CHECK_BYTES] {
        let mut hasher = blake3::Hasher::new_derive_key(CHAIN_CONTEXT);
        hasher.update(&self.value).update(head);
        for part in parts {
            hasher.update(part);
            self.payload_bytes += part.len() as u64;
        }
        self.records += 1;
        self.value = *hasher.finalize().as_bytes();
        self.value
    }

    pub(super) fn root(&self) -> BundleRoot {
        BundleRoot(self.value)
    }
}

//! Byte layout of a segment: the only place that knows offsets inside header and record.

use ao_wire::{Id, ProcessId};

use super::{RecordFault, SegmentError};
use crate::Nonce;

const MAGIC: [u8; 8] = *b"AORTASEG";
const VERSION: u16 = 1;
const RECORD_MAGIC: [u8; 4] = *b"aREC";
const CHAIN_CONTEXT: &str = "aorta 2026-11 segment chain v1";
/// Size of the segment header.
pub const HEADER_BYTES: u64 = 56;
pub(super) const RECORD_HEADER_BYTES: usize = 24;
pub(super) const CHAIN_BYTES: usize = 32;
/// What a record takes beside its payload.
pub const RECORD_OVERHEAD_BYTES: u64 = (RECORD_HEADER_BYTES + CHAIN_BYTES) as u64;
/// Largest payload of one record.
pub const MAX_PAYLOAD_BYTES: u32 = 64 << 20;

pub(super) type Chain = [u8; CHAIN_BYTES];

/// What a segment is a segment of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The process whose log this is.
    pub process: ProcessId,
    /// Nonce of record 0; record *i* holds nonce `first_nonce + i`.
    pub first_nonce: Nonce,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES as usize] {
        let mut out = [0; HEADER_BYTES as usize];
        out[0..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        // Bytes 10 and 11 are reserved and zero.
        out[12..44].copy_from_slice(self.process.id().as_bytes());
        out[44..52].copy_from_slice(&self.first_nonce.0.to_le_bytes());
        let crc = crc32c::crc32c(&out[..52]);
        out[52..56].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8; HEADER_BYTES as usize]) -> Result<SegmentHeader, SegmentError> {
        if bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..52]).to_le_bytes() != bytes[52..56] {
            return Err(SegmentError::BadHeader);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(SegmentError::Version { found: version });
        }
        if bytes[10..12] != [0, 0] {
            return Err(SegmentError::BadHeader);
        }
        Ok(SegmentHeader {
            process: ProcessId::from(Id(array(&bytes[12..44]))),
            first_nonce: Nonce(u64::from_le_bytes(array(&bytes[44..52]))),
        })
    }

    /// Chain value before record 0.
    pub(super) fn chain_seed(&self) -> Chain {
        blake3::derive_key(CHAIN_CONTEXT, &self.encode())
    }
}

/// The fixed part of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) payload_bytes: u32,
    /// End of the bytes known durable when the record was written.
    pub(super) durable_end: u64,
    pub(super) payload_crc: u32,
}

impl RecordHeader {
    pub(super) fn of(payload: &[u8], durable_end: u64) -> RecordHeader {
        let payload_bytes = payload.len() as u32;
        RecordHeader { payload_bytes, durable_end, payload_crc: crc32c::crc32c(payload) }
    }

    pub(super) fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        let mut out = [0; RECORD_HEADER_BYTES];
        out[0..4].copy_from_slice(&RECORD_MAGIC);
        out[4..8].copy_from_slice(&self.payload_bytes.to_le_bytes());
        out[8..16].copy_from_slice(&self.durable_end.to_le_bytes());
        out[16..20].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32c::crc32c(&out[..20]);
        out[20..24].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8; RECORD_HEADER_BYTES]) -> Result<RecordHeader, RecordFault> {
        let payload_bytes = u32::from_le_bytes(array(&bytes[4..8]));
        let intact = bytes[..4] == RECORD_MAGIC
            && crc32c::crc32c(&bytes[..20]).to_le_bytes() == bytes[20..24]
            && (1..=MAX_PAYLOAD_BYTES).contains(&payload_bytes);
        if !intact {
            return Err(RecordFault::Header);
        }
        Ok(RecordHeader {
            payload_bytes,
            durable_end: u64::from_le_bytes(array(&bytes[8..16])),
            payload_crc: u32::from_le_bytes(array(&bytes[16..20])),
        })
    }

    /// Size of the whole record.
    pub(super) fn record_bytes(&self) -> u64 {
        RECORD_OVERHEAD_BYTES + u64::from(self.payload_bytes)
    }
}

/// Chain value of a record: the one before it, its header, its payload.
pub(super) fn next_chain(previous: &Chain, header: &[u8; RECORD_HEADER_BYTES], payload: &[u8]) -> Chain {
    let mut hasher = blake3::Hasher::new_derive_key(CHAIN_CONTEXT);
    hasher.update(previous).update(header).update(payload);
    *hasher.finalize().as_bytes()
}

/// First place in `bytes` where a record could begin.
pub(super) fn find_record_magic(bytes: &[u8]) -> Option<usize> {
    bytes.windows(RECORD_MAGIC.len()).position(|window| window == RECORD_MAGIC)
}

pub(super) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller slices exactly N bytes")
}

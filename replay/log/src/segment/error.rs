//! What can be wrong with a segment file. Every variant says where.

use std::io;

use ao_wire::ProcessId;
use thiserror::Error;

use crate::Nonce;

/// Why bytes at an offset are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// The file ends inside the record.
    #[error("the file ends inside the record")]
    Short,
    /// The fixed part is damaged.
    #[error("the record header is damaged")]
    Header,
    /// The payload is damaged.
    #[error("the payload checksum differs")]
    Payload,
    /// The record does not continue the chain of those before it.
    #[error("the chain value differs")]
    Chain,
    /// The file ends inside the segment header: creation did not finish.
    #[error("the segment header is incomplete")]
    SegmentHeader,
}

/// Failure to create, open, read or extend a segment.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The storage refused.
    #[error("segment storage failed at offset {offset}")]
    Io {
        /// Offset of the attempted read or write.
        offset: u64,
        /// The storage's own error.
        #[source]
        source: io::Error,
    },
    /// A write or sync failed earlier; what is on disk is unknown until the segment is reopened.
    #[error("an earlier write or sync of this segment failed: reopen it")]
    Poisoned,
    /// The header is not one of a segment.
    #[error("not a segment file, or its header is damaged")]
    BadHeader,
    /// A version this build does not know.
    #[error("segment version {found} is not supported")]
    Version {
        /// Version in the file.
        found: u16,
    },
    /// The segment belongs to another process.
    #[error("segment belongs to process {found}, expected {expected}")]
    OtherProcess {
        /// Process asked for.
        expected: ProcessId,
        /// Process in the file.
        found: ProcessId,
    },
    /// The segment begins elsewhere.
    #[error("segment begins at nonce {found}, expected {expected}")]
    OtherFirstNonce {
        /// Nonce asked for.
        expected: Nonce,
        /// Nonce in the file.
        found: Nonce,
    },
    /// Acknowledged bytes are damaged: a later record attests that they were durable.
    #[error(
        "record {record} at offset {offset} is damaged ({fault}), and the record at {witness} attests it was durable"
    )]
    Corrupt {
        /// Index of the damaged record, from 0.
        record: u64,
        /// Its offset.
        offset: u64,
        /// What is wrong with it.
        fault: RecordFault,
        /// Offset of an intact record written after the damaged one was synced.
        witness: u64,
    },
    /// The damage of a segment opened for reading only; nothing was cut.
    #[error("record {record} at offset {offset} is damaged: {fault}")]
    Damaged {
        /// Index of the damaged record, from 0.
        record: u64,
        /// Its offset.
        offset: u64,
        /// What is wrong with it.
        fault: RecordFault,
    },
    /// Payloads are 1 byte to [`MAX_PAYLOAD_BYTES`](super::MAX_PAYLOAD_BYTES).
    #[error("a payload of {bytes} bytes is empty or above the limit of {max}")]
    PayloadSize {
        /// Size asked for.
        bytes: usize,
        /// The limit.
        max: u32,
    },
}

impl SegmentError {
    pub(super) fn io(offset: u64) -> impl FnOnce(io::Error) -> SegmentError {
        move |source| SegmentError::Io { offset, source }
    }
}

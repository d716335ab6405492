//! The segment file: an append-only run of records of one process, safe against torn writes.
//!
//! A record is acknowledged once a sync after it succeeded. Reopening keeps every acknowledged
//! record, cuts what a crash left half written behind them, and says what it cut. Every record
//! carries the end of the file that was known durable when it was written; that is what tells a
//! torn tail (nothing behind it claims the damaged bytes were safe) from corruption (something does).
//!
//! *Not here:* what a payload means (one ANS-104 bundle `[assignment, message]` in this project),
//! rotation of segments, indexes.
//!
//! Invariant: the bytes before [`Segment::durable_end`] are never written again.
//!
//! Byte tables: `replay/FORMAT.md`, "Segment file".

mod error;
mod format;
mod memory;
mod scan;
mod storage;
#[cfg(test)]
mod tests;
mod writer;

pub use error::{RecordFault, SegmentError};
pub use format::{HEADER_BYTES, MAX_PAYLOAD_BYTES, RECORD_OVERHEAD_BYTES, SegmentHeader};
pub use memory::MemoryStorage;
pub use scan::{Position, Recovered, SegmentReader, payload_at};
pub use storage::{FileStorage, Storage};
pub use writer::{Appended, Segment, SyncPolicy};

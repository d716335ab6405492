//! What can go wrong with a store. Every variant says where.

use std::io;

use ao_log::segment::SegmentError;
use ao_log::{EntryError, Nonce};
use ao_wire::{ModuleId, ProcessId, WireError};
use thiserror::Error;

use crate::Position;

/// Failure to open, read or extend a store.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk refused. After a failed write the store reopens itself at the next call.
    #[error("{file}: {what}")]
    Io {
        /// The file.
        file: String,
        /// What was tried.
        what: &'static str,
        /// The disk's own error; `StorageFull` when there is no room.
        #[source]
        source: io::Error,
    },
    /// Another unit has the store open.
    #[error("{file} is in use by another unit")]
    Locked {
        /// The file.
        file: String,
    },
    /// The index refused.
    #[error("index.redb: {what}")]
    Index {
        /// What was tried.
        what: &'static str,
        /// The index's own error.
        #[source]
        source: Box<redb::Error>,
    },
    /// The store was written by a version this build does not know.
    #[error(
        "the store has version {found}, this build knows {known}: give another directory, into which all is computed anew"
    )]
    Version {
        /// Version of the store.
        found: u32,
        /// Version of this build.
        known: u32,
    },
    /// A pack file lost bytes that were durable.
    #[error("{file} has {found} bytes, {acknowledged} were acknowledged")]
    PackShort {
        /// The file.
        file: String,
        /// Its length.
        found: u64,
        /// Length that was made durable.
        acknowledged: u64,
    },
    /// Stored bytes are not what was written.
    #[error("{file}: {what} at offset {offset} is damaged")]
    Damaged {
        /// The file.
        file: String,
        /// Where.
        offset: u64,
        /// Which thing.
        what: &'static str,
    },
    /// A row of the index is not one.
    #[error("index.redb: a row of {table} is malformed")]
    Row {
        /// Its table.
        table: &'static str,
    },
    /// A segment file of a log.
    #[error("{file}")]
    Segment {
        /// The file.
        file: String,
        /// What is wrong.
        #[source]
        source: Box<SegmentError>,
    },
    /// A record of a log is not the bundle of an entry.
    #[error("process {process}, nonce {nonce}: the stored entry is not one")]
    Entry {
        /// The process.
        process: ProcessId,
        /// The nonce.
        nonce: Nonce,
        /// What is wrong.
        #[source]
        source: Box<EntryError>,
    },
    /// An entry to be stored holds items that are none.
    #[error("process {process}, nonce {nonce}: not an entry of a log")]
    NotAnEntry {
        /// The process.
        process: ProcessId,
        /// The nonce.
        nonce: Nonce,
        /// What is wrong.
        #[source]
        source: Box<WireError>,
    },
    /// The entry does not continue the stored log.
    #[error("process {process}: nonce {found} was given, the stored log goes on at {expected}")]
    NotNext {
        /// The process.
        process: ProcessId,
        /// Nonce due.
        expected: Nonce,
        /// Nonce given.
        found: Nonce,
    },
    /// A log file is missing between two others.
    #[error("process {process}: the stored log has no segment beginning at nonce {nonce}")]
    LogGap {
        /// The process.
        process: ProcessId,
        /// First nonce missing.
        nonce: Nonce,
    },
    /// Another result is stored there already: results never change.
    #[error("process {process}: another result is stored at {position}")]
    Conflict {
        /// The process.
        process: ProcessId,
        /// The place.
        position: Position,
    },
    /// A field is longer than the format can say.
    #[error("process {process}, {position}: {field} is too long")]
    TooLong {
        /// The process.
        process: ProcessId,
        /// The place.
        position: Position,
        /// The field.
        field: &'static str,
    },
    /// Memory handed over as a checkpoint is not laid out as one.
    #[error("process {process}, nonce {nonce}: group {index} is out of order or not 4096 bytes")]
    Group {
        /// The process.
        process: ProcessId,
        /// The nonce.
        nonce: Nonce,
        /// Index of the group.
        index: u32,
    },
    /// A stored module is not one.
    #[error("module {module}: its stored description is malformed")]
    Module {
        /// The module.
        module: ModuleId,
    },
}

impl StoreError {
    /// Whether the host is in trouble: what is on disk is unknown until the store is reopened.
    pub(crate) fn is_host_trouble(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Index { .. } => true,
            Self::Segment { source, .. } => matches!(**source, SegmentError::Io { .. } | SegmentError::Poisoned),
            _ => false,
        }
    }

    /// Whether the reason is a full disk.
    pub fn is_disk_full(&self) -> bool {
        let io = match self {
            Self::Io { source, .. } => Some(source),
            Self::Segment { source, .. } => match &**source {
                SegmentError::Io { source, .. } => Some(source),
                _ => None,
            },
            Self::Index { source, .. } => match &**source {
                redb::Error::Io(source) => Some(source),
                _ => None,
            },
            _ => None,
        };
        io.is_some_and(|io| io.kind() == io::ErrorKind::StorageFull)
    }

    pub(crate) fn io(file: &str, what: &'static str) -> impl FnOnce(io::Error) -> StoreError {
        move |source| {
            let file = file.to_owned();
            match source.kind() {
                io::ErrorKind::WouldBlock => StoreError::Locked { file },
                _ => StoreError::Io { file, what, source },
            }
        }
    }
}

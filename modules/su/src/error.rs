//! Why a request is not answered as it was meant, or the unit cannot work.

use std::sync::Arc;

use ao_http::{BodyError, Field};
use ao_log::segment::SegmentError;
use ao_log::{AssignmentError, EntryError, Nonce, ProcessError};
use ao_source::SourceError;
use ao_wire::{BuildError, Id, ProcessId, VerifyError, WireError};
use hyper::StatusCode;

/// What goes wrong in a scheduler unit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuError {
    /// A parameter is missing or malformed.
    #[error(transparent)]
    Field(#[from] Field),
    /// There is no body.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The body is no data item.
    #[error("the body is no data item")]
    Item(#[source] WireError),
    /// Its signature does not hold.
    #[error("Signature verification failed")]
    Signature(#[source] VerifyError),
    /// A tag is missing.
    #[error("{tag} tag not present")]
    Missing {
        /// Its name, and what it must be.
        tag: &'static str,
    },
    /// A tag has a value that cannot be.
    #[error("{tag} is {found:?}, expected {expected}")]
    Tag {
        /// Its name.
        tag: &'static str,
        /// Its value.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// The item says that it is a process, and is none.
    #[error("no process")]
    Process(#[from] ProcessError),
    /// A message for nobody.
    #[error("a message must have a target")]
    NoTarget,
    /// The process has no log here.
    #[error("process {process} is not scheduled here")]
    NoProcess {
        /// The process.
        process: ProcessId,
    },
    /// Its log does not hold that.
    #[error("Message or Process not found: process {process} has no {id}")]
    NoMessage {
        /// The process.
        process: ProcessId,
        /// What was asked for.
        id: Id,
    },
    /// There is no such route.
    #[error("Not Found")]
    NoRoute,
    /// The route has other methods.
    #[error("Method Not Allowed")]
    Method,
    /// The process is not served here.
    #[error("process {process} is not allowed on this unit")]
    Denied {
        /// The process.
        process: ProcessId,
    },
    /// The unit only shows.
    #[error("this unit is read-only")]
    ReadOnly,
    /// The gateway knows no such transaction.
    #[error("the transaction {id} to assign is not at the gateway")]
    NoTransaction {
        /// Its id.
        id: Id,
    },
    /// A base-layer transaction is not settled yet.
    #[error("the transaction {id} has {found} confirmations, {needed} are needed")]
    Unsettled {
        /// Its id.
        id: Id,
        /// How many it has.
        found: u64,
        /// How many it must have.
        needed: u64,
    },
    /// The gateway did not answer.
    #[error(transparent)]
    Gateway(#[from] SourceError),
    /// The unit's key does not sign.
    #[error("the assignment cannot be signed")]
    Sign(#[from] BuildError),
    /// The log on disk.
    #[error("log/{first:012}.seg")]
    Segment {
        /// Sequence number of its first record.
        first: u64,
        /// Why.
        #[source]
        source: Box<SegmentError>,
    },
    /// A record of the log is not what this unit writes.
    #[error("record {sequence} of the log")]
    Record {
        /// Its number.
        sequence: u64,
        /// Why.
        #[source]
        source: RecordError,
    },
    /// An entry is not what this unit writes.
    #[error("nonce {nonce} of process {process}")]
    Entry {
        /// The process.
        process: ProcessId,
        /// The nonce.
        nonce: Nonce,
        /// Why.
        #[source]
        source: Box<RecordError>,
    },
    /// The log and its index are not of one unit.
    #[error("the index knows of {indexed} records, the log holds {records}")]
    IndexAhead {
        /// Records in the index.
        indexed: u64,
        /// Records in the log.
        records: u64,
    },
    /// The directory.
    #[error("{path}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The index.
    #[error("index.redb: {what}")]
    Index {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// The index has no row for what it names.
    #[error("index.redb: no record {sequence}, which nonce {nonce} of process {process} is")]
    Row {
        /// The record.
        sequence: u64,
        /// The process.
        process: ProcessId,
        /// The nonce.
        nonce: Nonce,
    },
    /// A write failed; what is on disk is known again when the log was opened anew, which is tried again and again.
    #[error("a write failed, as on a full disk, and the log is not open again yet: ask again later")]
    Broken,
    /// The unit was told to stop.
    #[error("the unit is stopping")]
    Stopping,
    /// What several who wait are told.
    #[error(transparent)]
    Shared(#[from] Arc<SuError>),
}

/// Why a record is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It is no bundle of an entry.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// Its item is none.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Its assignment is none.
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
}

impl SuError {
    /// The status that says so to a client.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Body(error) => error.status(),
            Self::Field(_)
            | Self::Item(_)
            | Self::Signature(_)
            | Self::Missing { .. }
            | Self::Tag { .. }
            | Self::Process(_)
            | Self::NoTarget => StatusCode::BAD_REQUEST,
            Self::NoProcess { .. } | Self::NoMessage { .. } | Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Denied { .. } | Self::ReadOnly => StatusCode::FORBIDDEN,
            Self::NoTransaction { .. } | Self::Unsettled { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Gateway(_) => StatusCode::BAD_GATEWAY,
            Self::Stopping | Self::Broken => StatusCode::SERVICE_UNAVAILABLE,
            Self::Shared(error) => error.status(),
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(crate) fn entry<E: Into<RecordError>>(process: ProcessId, nonce: Nonce) -> impl Fn(E) -> Self {
        move |source| Self::Entry { process, nonce, source: Box::new(source.into()) }
    }

    pub(crate) fn segment(first: u64) -> impl FnOnce(SegmentError) -> Self {
        move |source| Self::Segment { first, source: Box::new(source) }
    }

    pub(crate) fn index<E: Into<redb::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Index { what, source: Box::new(source.into()) }
    }

    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.display().to_string(), source }
    }
}

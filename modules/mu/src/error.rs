//! Why a request is not answered as it was meant, or the unit cannot work.

use std::sync::Arc;

use ao_http::{BodyError, Field};
use ao_wire::{Id, ProcessId, SignatureType, VerifyError, WireError};
use hyper::StatusCode;

use crate::units::Failure;

/// What goes wrong in a messenger unit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MuError {
    /// A parameter is missing or malformed.
    #[error(transparent)]
    Field(#[from] Field),
    /// There is no body.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The body is no data item.
    #[error("'body': A valid and signed data item must be provided as the body.")]
    Item(#[source] WireError),
    /// Its signature does not hold.
    #[error("'body': A valid and signed data item must be provided as the body.")]
    Signature(#[source] VerifyError),
    /// A tag is missing or has a value that cannot be.
    #[error("Tag '{tag}': {expected}")]
    Tag {
        /// Its name.
        tag: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A message for nobody.
    #[error("a message must have a target")]
    NoTarget,
    /// One of the two parameters of an assignment.
    #[error("You must set both process-id and assign to send an assignment, not just one")]
    HalfAssignment,
    /// Another unit refused or did not answer.
    #[error(transparent)]
    Unit(#[from] Failure),
    /// Who asks to have a process watched, or not, does not own it.
    #[error("{owner} does not own process {process}")]
    NotOwner {
        /// The process.
        process: ProcessId,
        /// Who signed.
        owner: String,
    },
    /// The item is for one process, the path names another.
    #[error("the item is for {found}, not for process {process}")]
    OtherTarget {
        /// The process of the path.
        process: ProcessId,
        /// The item's target, if it has one.
        found: String,
    },
    /// The item asked once before.
    #[error("the item {id} was used before: sign another")]
    Used {
        /// Its id.
        id: Id,
    },
    /// It is watched.
    #[error("Process already being monitored")]
    Watched,
    /// It is not.
    #[error("Process monitor not found")]
    NotWatched,
    /// An outbox has no such message.
    #[error("the result of {message} in process {process} has {count} messages, no number {number}")]
    NoNumber {
        /// The process.
        process: ProcessId,
        /// Whose result.
        message: Id,
        /// What was asked for.
        number: usize,
        /// Messages there.
        count: usize,
    },
    /// There is no such dead letter.
    #[error("there is no dead letter {id}")]
    NoDeadLetter {
        /// Its number.
        id: u64,
    },
    /// There is no such route.
    #[error("Not Found")]
    NoRoute,
    /// The route has other methods.
    #[error("Method Not Allowed")]
    Method,
    /// The queue.
    #[error("mu.redb: {what}")]
    Queue {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// A row of the queue is not what this unit writes.
    #[error("mu.redb: a row of {table} cannot be read: is it of another version?")]
    Row {
        /// The table.
        table: &'static str,
        /// Why.
        #[source]
        source: postcard::Error,
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
    /// Keys that sign the same twice make one item of two messages that say the same, and the second would be lost.
    #[error(
        "a messenger signs with an RSA key of 4096 bits, whose signatures all differ; this one is of type {found:?}"
    )]
    Key {
        /// How the key signs.
        found: SignatureType,
    },
    /// HTTP cannot be set up.
    #[error("no HTTP client")]
    Client(#[source] reqwest::Error),
    /// The unit was told to stop.
    #[error("the unit is stopping")]
    Stopping,
    /// What several who wait are told.
    #[error(transparent)]
    Shared(#[from] Arc<MuError>),
}

impl MuError {
    /// The status that says so to a client.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Body(error) => error.status(),
            Self::Field(_)
            | Self::Item(_)
            | Self::Signature(_)
            | Self::Tag { .. }
            | Self::NoTarget
            | Self::HalfAssignment
            | Self::OtherTarget { .. }
            | Self::NoNumber { .. } => StatusCode::BAD_REQUEST,
            Self::NotOwner { .. } | Self::Used { .. } => StatusCode::FORBIDDEN,
            Self::Watched => StatusCode::CONFLICT,
            Self::NotWatched | Self::NoDeadLetter { .. } | Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unit(failure) => failure.status_for_client(),
            Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::Shared(error) => error.status(),
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(crate) fn queue<E: Into<redb::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Queue { what, source: Box::new(source.into()) }
    }

    pub(crate) fn row(table: &'static str) -> impl FnOnce(postcard::Error) -> Self {
        move |source| Self::Row { table, source }
    }
}

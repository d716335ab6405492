//! What goes wrong with a request, each with the status a client can act on.
//!
//! Not here: which route answers what (`routes`).
//! Invariant: every error a caller meets went through [`Refusal`].

use ao_exec::{DryRunError, ExecError};
use ao_http::{Answer, BodyError, Field, refuse};
use ao_source::SourceError;
use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};

use crate::unit::UnitError;

/// Why a request is not answered as it was meant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Refusal {
    /// A parameter is missing or malformed.
    #[error(transparent)]
    Field(#[from] Field),
    /// The body is no dry-run.
    #[error(transparent)]
    DryRun(#[from] DryRunError),
    /// There is no body.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// There is no such route.
    #[error("Not Found")]
    NoRoute,
    /// Nor such a thing.
    #[error("{0}")]
    Absent(String),
    /// The route has other methods.
    #[error("Method Not Allowed")]
    Method,
    /// The caller asked too often.
    #[error("Rate limit exceeded")]
    Rate {
        /// When to ask again.
        wait_s: u64,
    },
    /// The process is not served here.
    #[error("Access denied for process {0}")]
    Denied(String),
    /// The unit could not find out.
    #[error(transparent)]
    Unit(#[from] UnitError),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Field(_) | Self::DryRun(_) => StatusCode::BAD_REQUEST,
            Self::Body(error) => error.status(),
            Self::NoRoute | Self::Absent(_) => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Rate { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::Unit(error) => match error {
                UnitError::NoMessage { .. } | UnitError::NoNonce { .. } => StatusCode::NOT_FOUND,
                UnitError::Source(error) => of_source(error),
                // Not there yet, or no more: the message that was asked for exists.
                UnitError::Assigned { source, .. } => match of_source(source) {
                    StatusCode::NOT_FOUND => StatusCode::BAD_GATEWAY,
                    status => status,
                },
                UnitError::Owner { .. } => StatusCode::FORBIDDEN,
                UnitError::Process { .. } => StatusCode::UNPROCESSABLE_ENTITY,
                UnitError::Exec(ExecError::DryRunsFull { .. }) => StatusCode::TOO_MANY_REQUESTS,
                UnitError::Exec(ExecError::TooMuchGas { .. }) => StatusCode::UNPROCESSABLE_ENTITY,
                UnitError::Exec(ExecError::NoProcess { .. }) => StatusCode::NOT_FOUND,
                UnitError::Exec(ExecError::Replay { source, .. }) if !source.is_host() => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
                UnitError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
                UnitError::Exec(error) if error.is_broken_off() => StatusCode::SERVICE_UNAVAILABLE,
                UnitError::Store(_) | UnitError::Exec(_) => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }

    /// Seconds after which it may go well.
    fn wait_s(&self) -> Option<u64> {
        match self {
            Self::Rate { wait_s } => Some(*wait_s),
            _ if self.status() == StatusCode::TOO_MANY_REQUESTS => Some(1),
            _ => None,
        }
    }
}

/// Whether it is for want of an answer (502), of the thing (404), or because what came is not to be believed (422).
fn of_source(error: &SourceError) -> StatusCode {
    match error {
        SourceError::Page { source, .. } => of_source(source),
        SourceError::Status { status: 400..=499, .. }
        | SourceError::NoProcess { .. }
        | SourceError::NoTransaction { .. } => StatusCode::NOT_FOUND,
        SourceError::Client(_)
        | SourceError::NoAnswer { .. }
        | SourceError::Status { .. }
        | SourceError::TooBig { .. }
        | SourceError::Json { .. }
        | SourceError::GraphQl { .. } => StatusCode::BAD_GATEWAY,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let mut answer = refuse(refusal.status(), &refusal);
        if let Some(seconds) = refusal.wait_s() {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

//! Answers: always JSON where the reference gives JSON, errors too, each with the status a client can act on.
//!
//! Not here: which route answers what (`routes`).
//! Invariant: every error a caller meets went through [`Refusal`].

use std::convert::Infallible;

use ao_exec::{DryRunError, ExecError};
use ao_source::SourceError;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
};
use hyper::{Response, StatusCode};
use serde_json::json;

use crate::unit::{UnitError, chain};

/// The body of an answer; an error breaks the connection off, so that nobody takes half an answer for whole.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;
/// An answer.
pub(crate) type Answer = Response<Body>;

/// Why a request is not answered as it was meant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Refusal {
    /// A parameter is missing or malformed.
    #[error("'{field}': {expected}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// The body is no dry-run.
    #[error(transparent)]
    DryRun(#[from] DryRunError),
    /// The body is longer than any may be.
    #[error("the body has more than {most} bytes")]
    TooBig {
        /// How long one may be.
        most: usize,
    },
    /// The body broke off.
    #[error("the body broke off")]
    BrokeOff(#[source] hyper::Error),
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
            Self::Field { .. } | Self::DryRun(_) | Self::BrokeOff(_) => StatusCode::BAD_REQUEST,
            Self::TooBig { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoRoute | Self::Absent(_) => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Rate { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::Unit(error) => match error {
                UnitError::NoMessage { .. } | UnitError::NoNonce { .. } => StatusCode::NOT_FOUND,
                UnitError::Source(error) => of_source(error),
                UnitError::Process { .. } => StatusCode::UNPROCESSABLE_ENTITY,
                UnitError::Exec(ExecError::DryRunsFull { .. }) => StatusCode::TOO_MANY_REQUESTS,
                UnitError::Exec(ExecError::NoProcess { .. }) => StatusCode::NOT_FOUND,
                UnitError::Exec(ExecError::Replay { source, .. }) if !source.is_host() => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
                UnitError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
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
        let (status, wait) = (refusal.status(), refusal.wait_s());
        let text = chain(&refusal);
        if status.is_server_error() {
            tracing::error!(%status, error = text, "a request failed");
        } else {
            tracing::debug!(%status, error = text, "a request was refused");
        }
        let mut answer = json_text(status, json!({ "error": text }).to_string());
        if let Some(seconds) = wait {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

/// A body that is at hand.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// An answer of JSON.
pub(crate) fn json_text(status: StatusCode, json: impl Into<Bytes>) -> Answer {
    typed(status, "application/json; charset=utf-8", full(json))
}

/// An answer of JSON that says that all went well.
pub(crate) fn ok(json: impl Into<Bytes>) -> Answer {
    json_text(StatusCode::OK, json)
}

/// An answer of some type. Whoever runs in a browser may read it.
pub(crate) fn typed(status: StatusCode, content_type: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    answer
}

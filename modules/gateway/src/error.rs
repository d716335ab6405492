//! Why a request is not answered as it was meant, or the store cannot work.

use std::sync::Arc;

use ao_http::{BodyError, Field};
use ao_wire::{Id, VerifyError, WireError};
use hyper::StatusCode;

/// What goes wrong in a gateway.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// A parameter is missing or malformed.
    #[error(transparent)]
    Field(#[from] Field),
    /// There is no body.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// What was uploaded is neither an item nor a bundle.
    #[error("neither a data item nor a bundle of them")]
    Item(#[source] WireError),
    /// An item's signature does not hold.
    #[error("the signature of {id} does not hold")]
    Signature {
        /// The item.
        id: Id,
        /// Why.
        #[source]
        source: VerifyError,
    },
    /// There is no such thing.
    #[error("Not Found")]
    NotFound,
    /// The route has other methods.
    #[error("Method Not Allowed")]
    Method,
    /// The query is no GraphQL.
    #[error("a JSON object with a query is required")]
    Query(#[source] serde_json::Error),
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
    /// The gateway was told to stop.
    #[error("the gateway is stopping")]
    Stopping,
    /// What several who wait are told.
    #[error(transparent)]
    Shared(#[from] Arc<GatewayError>),
}

impl GatewayError {
    /// The status that says so to a client.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Body(error) => error.status(),
            Self::Field(_) | Self::Item(_) | Self::Signature { .. } | Self::Query(_) => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::Shared(error) => error.status(),
            Self::Io { .. } | Self::Index { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(crate) fn index<E: Into<redb::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Index { what, source: Box::new(source.into()) }
    }

    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.display().to_string(), source }
    }
}

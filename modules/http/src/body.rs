//! Bodies of requests, read up to a bound.

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;

use crate::Request;

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It is longer than any may be.
    #[error("the body has more than {most} bytes")]
    TooBig {
        /// How long one may be.
        most: usize,
    },
    /// It broke off.
    #[error("the body broke off")]
    BrokeOff(#[source] hyper::Error),
    /// It is no text.
    #[error("'body': text in UTF-8 is required")]
    NoText,
}

impl BodyError {
    /// The status that says so.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooBig { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BrokeOff(_) | Self::NoText => StatusCode::BAD_REQUEST,
        }
    }
}

/// The body, of `most` bytes at most.
///
/// # Errors
/// It is longer, or broke off.
pub async fn read(request: Request, most: usize) -> Result<Bytes, BodyError> {
    let collected = Limited::new(request.into_body(), most).collect().await;
    let collected = collected.map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(source) => BodyError::BrokeOff(*source),
        Err(_) => BodyError::TooBig { most },
    })?;
    Ok(collected.to_bytes())
}

/// The body as text.
///
/// # Errors
/// As [`read`], or it is no UTF-8.
pub async fn read_text(request: Request, most: usize) -> Result<String, BodyError> {
    String::from_utf8(read(request, most).await?.into()).map_err(|_| BodyError::NoText)
}

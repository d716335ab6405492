//! Answers: always JSON where it is not bytes that were asked for, errors too. Whoever runs in a browser may read them.
//!
//! Not here: which error has which status; each unit says that of its own.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW, CONTENT_TYPE, HeaderName, HeaderValue,
};
use hyper::{Response, StatusCode};
use serde_json::json;

use crate::Request;

/// The body of an answer; an error breaks the connection off, so that nobody takes half an answer for whole.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;
/// An answer.
pub type Answer = Response<Body>;

/// With a result, the receipt that commits to its bytes, in hexadecimal digits.
pub const RECEIPT: HeaderName = HeaderName::from_static("aorta-receipt");
/// With what a scheduler says of an item it took, the id of the assignment.
pub const ASSIGNMENT: HeaderName = HeaderName::from_static("aorta-assignment");

/// A body that is at hand.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// An answer of JSON.
pub fn json_text(status: StatusCode, json: impl Into<Bytes>) -> Answer {
    typed(status, "application/json; charset=utf-8", full(json))
}

/// An answer of JSON that says that all went well.
pub fn ok(json: impl Into<Bytes>) -> Answer {
    json_text(StatusCode::OK, json)
}

/// An answer of some type.
pub fn typed(status: StatusCode, content_type: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    answer
}

/// The answer to what failed: `{"error": "…"}`, all causes told; logged, loudly if it is our fault.
pub fn refuse(status: StatusCode, error: &dyn std::error::Error) -> Answer {
    let text = chain(error);
    if status.is_server_error() {
        tracing::error!(%status, error = text, "a request failed");
    } else {
        tracing::debug!(%status, error = text, "a request was refused");
    }
    json_text(status, json!({ "error": text }).to_string())
}

/// The answer to a method that the route does not have, but these (`GET, POST`); `answer` says so in its body.
pub fn not_allowed(mut answer: Answer, methods: &'static str) -> Answer {
    *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

/// What a browser asks before it lets a page ask.
pub fn preflight(request: &Request, methods: &'static str) -> Answer {
    let mut answer = typed(StatusCode::NO_CONTENT, "text/plain", full(""));
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    if let Some(asked) = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    answer
}

/// An error with all its causes, in one line; a cause that an error tells itself is not told again.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).fold(String::new(), |told, cause| {
        if told.is_empty() {
            cause
        } else if told.contains(&cause) {
            told
        } else {
            format!("{told}: {cause}")
        }
    })
}

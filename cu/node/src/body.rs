//! Bodies of requests, read up to a bound.

use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::body::Incoming;

use crate::answer::Refusal;

/// The body as text.
pub(crate) async fn read_text(request: Request<Incoming>, most: usize) -> Result<String, Refusal> {
    let collected = Limited::new(request.into_body(), most).collect().await;
    let bytes = collected.map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(source) => Refusal::BrokeOff(*source),
        Err(_) => Refusal::TooBig { most },
    })?;
    let text = String::from_utf8(bytes.to_bytes().into());
    text.map_err(|_| Refusal::Field { field: "body", expected: "text in UTF-8 is required" })
}

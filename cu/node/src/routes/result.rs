//! `GET /result/{message}`, and HyperBEAM's `POST /result/{slot}`.
//!
//! Not here: what a result is (`ao-kernel`), since it is served as it was committed to.

use std::sync::Arc;
use std::time::Duration;

use ao_commit::hex;
use ao_http::{Answer, Field, Query, RECEIPT, json_text, ok, read_text};
use ao_log::Nonce;
use ao_store::{Position, StepRecord};
use ao_wire::ProcessId;
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::json;

use super::params::{id, process};
use super::{Asked, Context};
use crate::answer::Refusal;
use crate::unit::UnitError;

/// The result of a message, found by its id or that of its assignment, in the process that is asked for and no other.
pub(crate) async fn of_message(context: &Arc<Context>, message: &str, query: &Query) -> Result<Answer, Refusal> {
    let process = process("process-id", query.get("process-id"))?;
    let id = id("messageTxId", Some(message), "a message id of 43 characters of base64url is required")?;
    context.admit(process)?;
    let unit = Arc::clone(&context.unit);
    let step = async move { unit.step(process, id).await };
    let patience = Duration::from_millis(context.config.busy_threshold_ms);
    if patience.is_zero() || query.has("no-busy") {
        return Ok(shown(step.await?));
    }
    // What was begun goes on by itself; only the answer is put off.
    match tokio::time::timeout(patience, step).await {
        Ok(step) => Ok(shown(step?)),
        Err(_) => Ok(busy(process, message)),
    }
}

/// A result, and the receipt that commits to it.
fn shown(step: StepRecord) -> Answer {
    let receipt = HeaderValue::from_str(&hex(&step.receipt)).expect("digits are a header");
    let mut answer = ok(step.result_json);
    answer.headers_mut().insert(RECEIPT, receipt);
    answer
}

fn busy(process: ProcessId, to: &str) -> Answer {
    let message = format!("Evaluation of process \"{process}\" to \"{to}\" is in progress.");
    json_text(StatusCode::ACCEPTED, json!({ "message": message }).to_string())
}

/// The result at a slot, for a HyperBEAM node: it posts the message it scheduled. What is evaluated is the verified log;
/// a message that is another one there is refused.
pub(crate) async fn of_slot(context: &Arc<Context>, slot: &str, asked: Asked) -> Result<Answer, Refusal> {
    let process = process("process-id", asked.query.get("process-id"))?;
    let wrong = Refusal::Field(Field { field: "slot", expected: "a number is required" });
    let nonce = slot.parse().map(Nonce).map_err(|_| wrong)?;
    context.admit(process)?;
    let posted = posted_message(&read_text(asked.request, context.config.body_bytes_max).await?)?;
    let known = context.unit.head(process)?.last_step.is_some_and(|last| last.nonce >= nonce);
    context.unit.reach(process, nonce).await?;
    let step = context.unit.store.result_at(process, Position::of(nonce)).map_err(UnitError::from)?;
    let step = step.ok_or(UnitError::NoNonce { process, nonce })?;
    if posted.is_some_and(|id| id != step.message.to_string()) {
        return Err(Refusal::Field(Field {
            field: "Id",
            expected: "another message is at this slot of the verified log",
        }));
    }
    Ok(with_slot(step, known))
}

/// The id of the message in a body of `application/aos-2`: a page of one edge, or the node or message alone.
fn posted_message(body: &str) -> Result<Option<String>, Refusal> {
    if body.trim().is_empty() {
        return Ok(None);
    }
    let no_json = |_| Refusal::Field(Field { field: "body", expected: "JSON (application/aos-2) is required" });
    let body: serde_json::Value = serde_json::from_str(body).map_err(no_json)?;
    let places = ["/edges/0/node/message/Id", "/node/message/Id", "/message/Id", "/Id"];
    Ok(places.iter().find_map(|place| body.pointer(place)?.as_str()).map(str::to_owned))
}

fn with_slot(step: StepRecord, known: bool) -> Answer {
    let numbers =
        [("slot", step.position.nonce.0), ("timestamp", step.timestamp.0), ("block-height", step.block_height.0)];
    let mut answer = shown(step);
    for (name, number) in numbers {
        answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(number));
    }
    let types = HeaderValue::from_static("slot=\"integer\", timestamp=\"integer\", block-height=\"integer\"");
    answer.headers_mut().insert(HeaderName::from_static("ao-types"), types);
    let cached = HeaderValue::from_static(if known { "true" } else { "false" });
    answer.headers_mut().insert(HeaderName::from_static("cu-cached"), cached);
    answer
}

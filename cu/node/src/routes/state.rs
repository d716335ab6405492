//! `GET /state/{process}`: the linear memory.

use std::sync::Arc;
use std::time::Duration;

use ao_http::{Answer, Query, full, typed};
use ao_log::TimestampMs;
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};

use super::Context;
use super::params::process;
use crate::answer::Refusal;
use crate::unit::UnitError;

pub(crate) async fn memory(context: &Arc<Context>, process_id: &str, query: &Query) -> Result<Answer, Refusal> {
    let process = process("processId", Some(process_id))?;
    let to = query.number("to", "a time in milliseconds")?.map(TimestampMs);
    context.admit(process)?;
    context.unit.try_catch_up(process, Duration::ZERO).await?;
    let at = match to {
        None => None,
        Some(time) => {
            let place = context.unit.store.position_at(process, time).map_err(UnitError::from)?;
            let absent = || Refusal::Absent(format!("process {process} has no message up to time {time}"));
            Some(place.ok_or_else(absent)?.nonce)
        }
    };
    let snapshot = context.unit.memory(process, at).await?;
    let mut answer = typed(StatusCode::OK, "application/octet-stream", full(snapshot.memory));
    if let Some(nonce) = snapshot.nonce {
        let place = snapshot.place;
        for (name, number) in [
            ("last-timestamp", place.timestamp.0),
            ("last-ordinate", nonce.0),
            ("last-block-height", place.block_height.0),
        ] {
            answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(number));
        }
    }
    Ok(answer)
}

//! `GET /receipt/{process}/{nonce}?tick=` and `GET /head/{process}`: what was committed to, as it is stored.
//!
//! Neither asks the scheduler nor evaluates: they tell what this unit has proved so far.

use std::sync::Arc;

use ao_commit::Receipt;
use ao_http::{Answer, Field, Query, ok};
use ao_log::Nonce;
use ao_store::{Position, StepRecord};
use ao_wire::ProcessId;
use serde_json::{Value, json};

use super::Context;
use super::params::process;
use crate::answer::Refusal;
use crate::unit::UnitError;

pub(crate) fn receipt(context: &Arc<Context>, process_id: &str, nonce: &str, query: &Query) -> Result<Answer, Refusal> {
    let process = process("process", Some(process_id))?;
    let wrong = Refusal::Field(Field { field: "nonce", expected: "a number is required" });
    let nonce = nonce.parse().map(Nonce).map_err(|_| wrong)?;
    let tick = query.number("tick", "a number: which of the cron ticks after the nonce")?.unwrap_or(0);
    context.admit(process)?;
    Ok(ok(describe(&step(context, process, Position { nonce, tick })?)?.to_string()))
}

pub(crate) fn head(context: &Arc<Context>, process_id: &str) -> Result<Answer, Refusal> {
    let process = process("process", Some(process_id))?;
    context.admit(process)?;
    let head = context.unit.head(process)?;
    let absent = || Refusal::Absent(format!("nothing of process {process} is evaluated here yet"));
    let last = head.last_step.ok_or_else(absent)?;
    Ok(ok(json!({
        "process": process.to_string(),
        "entries": head.next_entry.0,
        "checkpoint": head.checkpoint.map(|nonce| nonce.0),
        "last": describe(&step(context, process, last)?)?,
    })
    .to_string()))
}

fn step(context: &Context, process: ProcessId, position: Position) -> Result<StepRecord, Refusal> {
    let step = context.unit.store.result_at(process, position).map_err(UnitError::from)?;
    step.ok_or_else(|| Refusal::Absent(format!("{position} of process {process} is not evaluated here yet")))
}

/// A step and its receipt, in the words of `replay inspect`.
pub(crate) fn describe(step: &StepRecord) -> Result<Value, Refusal> {
    let (process, position) = (step.process, step.position);
    let receipt = Receipt::decode(&step.receipt);
    let receipt = receipt.map_err(|_| Refusal::Absent(format!("{position} of process {process} has no receipt")))?;
    Ok(json!({
        "process": process.to_string(),
        "nonce": position.nonce.0,
        "tick": position.tick,
        "cron": step.cron,
        "message": step.message.to_string(),
        "assignment": step.assignment.to_string(),
        "timestamp": step.timestamp.0,
        "receipt": ao_replay::shown::receipt(&receipt),
    }))
}

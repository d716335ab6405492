//! `GET /events[?process-id=]`: server-sent events, one per result, each sent once that is durable.

use std::sync::Arc;
use std::time::Duration;

use ao_http::{Answer, Query, channel, stopped, typed};
use ao_store::{Position, StepRecord};
use ao_wire::ProcessId;
use http_body_util::BodyExt;
use hyper::StatusCode;
use tokio::sync::broadcast::error::RecvError;

use super::Context;
use super::head::describe;
use super::params::process;
use crate::answer::Refusal;

/// Events that may wait for a listener who reads slowly.
const WAITING_MAX: usize = 64;
/// How often a silent stream says that it is still there.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// Streams the results from now on, of one process or of all.
pub(crate) fn stream(context: &Arc<Context>, query: &Query) -> Result<Answer, Refusal> {
    let only = match query.get("process-id") {
        Some(text) => Some(process("process-id", Some(text))?),
        None => None,
    };
    if let Some(process) = only {
        context.admit(process)?;
    }
    let (mut results, mut stopping) = (context.unit.executor.listen(), context.stopping.clone());
    let (writing, body) = channel(WAITING_MAX);
    let context = Arc::clone(context);
    tokio::spawn(async move {
        loop {
            let heard = tokio::select! {
                heard = results.recv() => heard,
                () = tokio::time::sleep(ALIVE_EVERY) => Ok(Arc::from([])),
                () = stopped(&mut stopping) => break,
            };
            let text = match heard {
                Ok(steps) if steps.is_empty() => ":\n\n".to_owned(),
                Ok(steps) => events(&context, &steps, only),
                // What was missed is in `/results`; the listener is told that there is something.
                Err(RecvError::Lagged(missed)) => format!("event: missed\ndata: {missed}\n\n"),
                Err(RecvError::Closed) => break,
            };
            if !text.is_empty() && !writing.send(text).await {
                break;
            }
        }
    });
    Ok(typed(StatusCode::OK, "text/event-stream", body.boxed_unsync()))
}

fn events(context: &Context, steps: &[StepRecord], only: Option<ProcessId>) -> String {
    let wanted =
        |step: &&StepRecord| only.is_none_or(|process| step.process == process) && context.admit(step.process).is_ok();
    let describe = |step: &StepRecord| {
        let data = describe(step).ok()?;
        let Position { nonce, tick } = step.position;
        let tick = if tick > 0 { format!(".{tick}") } else { String::new() };
        Some(format!("id: {}:{nonce}{tick}\nevent: result\ndata: {data}\n\n", step.process))
    };
    steps.iter().filter(wanted).filter_map(describe).collect()
}

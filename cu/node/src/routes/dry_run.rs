//! `POST /dry-run`: what a process would answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ao_exec::DryRun;
use ao_http::{Answer, Field, ok, read_text};
use hyper::HeaderMap;

use super::params::{id, process};
use super::{Asked, Context};
use crate::answer::Refusal;

/// How old the end of the log may be that a dry-run is made on, if its caller does not say.
const MAX_AGE_MS: u64 = 100;

pub(crate) async fn dry_run(context: &Arc<Context>, asked: Asked) -> Result<Answer, Refusal> {
    let Asked { query, request, caller } = asked;
    let caller = if context.config.forwarded_for { forwarded(request.headers()).unwrap_or(caller) } else { caller };
    context.dry_run_rate.admit(caller)?;
    let process = process("process-id", query.get("process-id"))?;
    let to = match query.get("to") {
        Some(text) => Some(id("to", Some(text), "a message id of 43 characters of base64url")?),
        None => None,
    };
    let max_age = max_age(request.headers())?;
    context.admit(process)?;
    let run = DryRun::new(read_text(request, context.config.body_bytes_max).await?)?;
    Ok(ok(context.unit.dry_run(process, run, to, max_age).await?))
}

fn max_age(headers: &HeaderMap) -> Result<Duration, Refusal> {
    let Some(value) = headers.get("x-max-age") else { return Ok(Duration::from_millis(MAX_AGE_MS)) };
    let millis = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    millis.map(Duration::from_millis).ok_or(Refusal::Field(Field { field: "x-max-age", expected: "milliseconds" }))
}

/// Whom the nearest proxy asked for: what stands before that, any caller may have written.
fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let hops = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    hops.rsplit(',').next()?.trim().parse().ok()
}

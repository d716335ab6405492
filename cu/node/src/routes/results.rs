//! `GET /results/{process}` and `GET /cron/{process}`: pages of results, with cursors.
//!
//! Unlike the reference's, a page is full as long as there is more: results with an `Error` are passed over before they
//! are counted. Order is by nonce, not by text.

use std::sync::Arc;
use std::time::Duration;

use ao_commit::hex;
use ao_http::{Answer, Field, Query, ok};
use ao_log::TimestampMs;
use ao_store::{Position, Query as Listing, StepRecord, Steps};
use ao_wire::ProcessId;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Context;
use super::params::process;
use crate::answer::Refusal;
use crate::cursor::{Bound, Sort, cursor};
use crate::unit::UnitError;

/// Most results in a page; more are to be had by the cursor.
const PAGE_MAX: usize = 1000;

const LIMIT: &str = "a whole number from 1 on";
const BOUND: &str = "a cursor or a time in milliseconds";

/// All results up to the present end of the log.
pub(crate) async fn all(context: &Arc<Context>, process_id: &str, query: &Query) -> Result<Answer, Refusal> {
    let sort = match query.get("sort") {
        None | Some("ASC") => Sort::Ascending,
        Some("DESC") => Sort::Descending,
        Some(_) => return Err(Refusal::Field(Field { field: "sort", expected: "ASC or DESC" })),
    };
    list(context, process_id, query, (Some(sort), 25), Steps::Answered).await
}

/// The results of the cron ticks before the present end of the log.
pub(crate) async fn cron(context: &Arc<Context>, process_id: &str, query: &Query) -> Result<Answer, Refusal> {
    list(context, process_id, query, (None, 500), Steps::Cron).await
}

/// Without an order of its own a listing is ascending, whatever its cursors say.
async fn list(
    context: &Arc<Context>,
    process_id: &str,
    query: &Query,
    (sort, limit): (Option<Sort>, usize),
    steps: Steps,
) -> Result<Answer, Refusal> {
    let process = process("processId", Some(process_id))?;
    let limit = query.number("limit", LIMIT)?.unwrap_or(limit);
    if limit == 0 {
        return Err(Refusal::Field(Field { field: "limit", expected: LIMIT }));
    }
    let bound = |field| match query.get(field) {
        None => Ok(None),
        Some(text) => Bound::parse(text).map(Some).ok_or(Refusal::Field(Field { field, expected: BOUND })),
    };
    let (from, to) = (bound("from")?, bound("to")?);
    context.admit(process)?;
    let in_cursor = from.as_ref().and_then(Bound::sort).or(to.as_ref().and_then(Bound::sort));
    let sort = sort.map_or(Sort::Ascending, |sort| in_cursor.unwrap_or(sort));
    context.unit.try_catch_up(process, Duration::ZERO).await?;
    // What is not earlier than `from` comes after all that is.
    let after = match from {
        Some(Bound::Time(time)) => match time.0.checked_sub(1) {
            Some(before) => at(context, process, TimestampMs(before))?,
            None => None,
        },
        Some(bound) => place(context, process, &bound)?,
        None => None,
    };
    let up_to = match to {
        Some(bound) => match place(context, process, &bound)? {
            Some(place) => Some(place),
            None => return Ok(page(&[], sort, false, false)),
        },
        None => None,
    };
    let listing = Listing { after, up_to, order: sort.into(), limit: limit.min(PAGE_MAX), steps };
    let found = context.unit.store.results(process, &listing).map_err(UnitError::from)?;
    Ok(page(&found.steps, sort, found.more, query.has("receipts")))
}

/// The last step that is not behind a bound. The cursor of a tick that never was, which another unit gave, is as good as
/// its time.
fn place(context: &Context, process: ProcessId, bound: &Bound) -> Result<Option<Position>, Refusal> {
    match bound {
        Bound::Place(place, _) => Ok(Some(*place)),
        Bound::Time(time) => at(context, process, *time),
        Bound::Tick(nonce, time, cron, _) => {
            let tick = context.unit.store.tick(process, *nonce, *time, cron).map_err(UnitError::from)?;
            tick.map_or_else(|| at(context, process, *time), |tick| Ok(Some(tick)))
        }
    }
}

fn at(context: &Context, process: ProcessId, time: TimestampMs) -> Result<Option<Position>, Refusal> {
    Ok(context.unit.store.position_at(process, time).map_err(UnitError::from)?)
}

/// A page as the reference lays it out; results stand in it as they were committed to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Connection<'a> {
    page_info: PageInfo,
    edges: Vec<Edge<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    has_next_page: bool,
}

#[derive(Serialize)]
struct Edge<'a> {
    node: &'a RawValue,
    cursor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<String>,
}

/// Receipts for whoever asks for `receipts`; the reference's pages have none.
fn page<'s>(steps: &'s [StepRecord], sort: Sort, more: bool, receipts: bool) -> Answer {
    let edge = |step: &'s StepRecord| {
        let node = serde_json::from_slice(&step.result_json).expect("a result is written as JSON");
        Edge { node, cursor: cursor(step, sort), receipt: receipts.then(|| hex(&step.receipt)) }
    };
    let connection =
        Connection { page_info: PageInfo { has_next_page: more }, edges: steps.iter().map(edge).collect() };
    ok(serde_json::to_vec(&connection).expect("text is JSON"))
}

//! `GET /{process}`: pages of a log, by time or by nonce.
//!
//! Invariant: a page says that there is more exactly if there is; following its last cursor leaves nothing out.

use ao_http::{Field, Query};
use ao_log::{Nonce, TimestampMs};
use ao_wire::ProcessId;

use crate::SuError;
use crate::json;
use crate::ledger::Ledger;

/// Entries of a page, if it is not said.
const LIMIT: u64 = 100;
/// Most entries of a page; more are to be had by the cursor.
const LIMIT_MAX: u64 = 5000;
/// A page ends when its items are longer than this.
const BYTES_MAX: usize = 32 << 20;

/// Which part of a log is asked for; `from` excluded, `to` included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    by_nonce: bool,
    from: Option<u64>,
    to: Option<u64>,
    limit: u64,
}

impl Range {
    /// Any of the two nonce parameters makes it a page by nonce.
    pub(crate) fn of(query: &Query) -> Result<Self, Field> {
        const NONCE: &str = "a nonce: a whole number";
        const TIME: &str = "a time in milliseconds";
        let limit = query.number("limit", "a whole number from 1 on")?.unwrap_or(LIMIT);
        if limit == 0 {
            return Err(Field { field: "limit", expected: "a whole number from 1 on" });
        }
        let limit = limit.min(LIMIT_MAX);
        if query.has("from-nonce") || query.has("to-nonce") {
            // Before the beginning is the beginning.
            let from = if query.get("from-nonce") == Some("-1") { None } else { query.number("from-nonce", NONCE)? };
            return Ok(Self { by_nonce: true, from, to: query.number("to-nonce", NONCE)?, limit });
        }
        Ok(Self { by_nonce: false, from: query.number("from", TIME)?, to: query.number("to", TIME)?, limit })
    }
}

/// The page, as JSON.
pub(crate) fn page(ledger: &Ledger, process: ProcessId, range: Range) -> Result<String, SuError> {
    let end = ledger.head(process)?.next.0;
    let bound = |bound: u64| {
        if range.by_nonce { Ok(bound.saturating_add(1)) } else { after(ledger, process, TimestampMs(bound), end) }
    };
    let first = range.from.map_or(Ok(0), bound)?;
    let last = range.to.map_or(Ok(end), bound)?.min(end);
    let (mut edges, mut bytes, mut next) = (String::new(), 0, first);
    while next < last && next - first < range.limit && bytes < BYTES_MAX {
        let nonce = Nonce(next);
        let (entry, time) = ledger.entry(process, nonce)?.ok_or(SuError::NoProcess { process })?;
        bytes += entry.bytes();
        let node = json::node(&entry).map_err(SuError::entry(process, nonce))?;
        let cursor = if range.by_nonce { next } else { time.0 };
        if next > first {
            edges.push(',');
        }
        edges.extend(["{\"node\":", &node, ",\"cursor\":\"", &cursor.to_string(), "\"}"]);
        next += 1;
    }
    let more = next < last;
    Ok(format!("{{\"page_info\":{{\"has_next_page\":{more}}},\"edges\":[{edges}]}}"))
}

/// The first nonce whose time is later than `time`: times rise with nonces.
fn after(ledger: &Ledger, process: ProcessId, time: TimestampMs, end: u64) -> Result<u64, SuError> {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low.midpoint(high);
        let (_, found) = ledger.index()?.entry(process, Nonce(middle))?.ok_or(SuError::NoProcess { process })?;
        if found <= time { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

//! Which request is answered by what.
//!
//! # Source
//! `permaweb/ao` `servers/su/src/main.rs` at `ff178d51`. Ours: bad input has its own status, `/raw/{id}` gives the signed bytes.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ao_http::{ASSIGNMENT, Answer, Field, Query, Request, full, not_allowed, ok, preflight, read, refuse, typed};
use ao_log::{Assignment, Nonce};
use ao_wire::{DataItem, Id, ProcessId};
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::assign::block_text;
use crate::page::{Range, page};
use crate::scheduler::Scheduler;
use crate::sequencer::{Scheduled, Work, now_ms};
use crate::{SuError, admit, json};

impl Scheduler {
    /// Answers a request, whatever it is.
    pub async fn answer(self: Arc<Self>, mut request: Request, _caller: IpAddr) -> Answer {
        let path = request.uri().path().to_owned();
        let parts: Vec<&str> = path.strip_prefix('/').unwrap_or(&path).split('/').collect();
        let methods = if parts == [""] { "GET, POST" } else { "GET" };
        let query = Query::of(request.uri().query().unwrap_or_default());
        // Whoever wants the head of an answer is given all of it, and the connection keeps the rest back.
        if request.method() == Method::HEAD {
            *request.method_mut() = Method::GET;
        }
        let answered = match *request.method() {
            Method::OPTIONS => Ok(preflight(&request, methods)),
            Method::POST if parts == [""] => self.post(request, &query).await,
            Method::GET => self.get(&parts, query).await,
            _ => return not_allowed(refuse(StatusCode::METHOD_NOT_ALLOWED, &SuError::Method), methods),
        };
        answered.unwrap_or_else(|error| refuse(error.status(), &error))
    }

    async fn get(self: &Arc<Self>, parts: &[&str], query: Query) -> Result<Answer, SuError> {
        match parts {
            [""] => Ok(ok(json!({ "address": self.address, "timestamp": now_ms().to_string() }).to_string())),
            ["timestamp"] => {
                let (block, time) = (block_text(self.block_height()), now_ms().to_string());
                Ok(ok(json!({ "block_height": block, "timestamp": time }).to_string()))
            }
            ["health"] => Ok(typed(StatusCode::OK, "text/plain", full(""))),
            ["metrics"] => Ok(self.metrics()),
            ["processes", process] => {
                let process = process_id("process", process)?;
                self.read(move |unit| unit.process(process)).await.map(ok)
            }
            ["raw", id] => {
                let (process, id) = (asked_process(&query)?, any_id(id)?);
                let item = self.read(move |unit| unit.raw(process, id)).await?;
                Ok(typed(StatusCode::OK, "application/octet-stream", full(item)))
            }
            [process, "latest"] => {
                let process = process_id("process", process)?;
                self.read(move |unit| unit.node(process, Nonce(unit.ledger.head(process)?.next.0 - 1))).await.map(ok)
            }
            [id] => {
                let (process, id) = (asked_process(&query)?, any_id(id)?);
                if id == process.id() {
                    let range = Range::of(&query)?;
                    return self.read(move |unit| page(&unit.ledger, process, range)).await.map(ok);
                }
                self.read(move |unit| unit.node(process, unit.find(process, id)?)).await.map(ok)
            }
            _ => Err(SuError::NoRoute),
        }
    }

    async fn post(self: &Arc<Self>, request: Request, query: &Query) -> Result<Answer, SuError> {
        let scheduled = |id: Id, scheduled: Scheduled| {
            self.accepted.fetch_add(1, Ordering::Relaxed);
            let mut answer = ok(json!({ "id": id, "timestamp": scheduled.timestamp.0 }).to_string());
            let assignment = HeaderValue::from_str(&scheduled.assignment.to_string()).expect("base64url is a header");
            answer.headers_mut().insert(ASSIGNMENT, assignment);
            answer
        };
        match (query.get("process-id"), query.get("assign")) {
            (None, None) => {
                if self.policy.read_only {
                    return Err(SuError::ReadOnly);
                }
                let bytes = read(request, self.policy.item_bytes_max).await?;
                let unit = Arc::clone(self);
                // A signature takes as long as many small requests.
                let checked = tokio::task::spawn_blocking(move || admit::item(bytes, &unit.address)).await;
                let (process, work) = checked.map_err(|_| SuError::Stopping)??;
                self.policy.admit(process)?;
                let id = match work {
                    Work::Item { id, .. } | Work::Assign { id, .. } => id,
                };
                Ok(scheduled(id, self.schedule(process, work).await?))
            }
            (Some(process), Some(id)) => {
                let (process, id) = (process_id("process-id", process)?, any_id(id)?);
                self.policy.admit(process)?;
                if query.has("base-layer") {
                    self.settled(process, id).await?;
                } else {
                    self.at_gateway(id).await?;
                }
                let parts = query.get("exclude").unwrap_or_default().split(',');
                let exclude = parts.filter(|part| !part.is_empty()).map(str::to_owned).collect();
                let given = self.schedule(process, Work::Assign { id, exclude }).await?;
                Ok(scheduled(given.assignment, given))
            }
            _ => Err(Field { field: "assign", expected: "process-id and assign, both or none" }.into()),
        }
    }

    /// Runs what reads the disk where it may block.
    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Self) -> Result<T, SuError> + Send + 'static,
    ) -> Result<T, SuError> {
        let unit = Arc::clone(self);
        tokio::task::spawn_blocking(move || read(&unit)).await.map_err(|_| SuError::Stopping)?
    }

    fn find(&self, process: ProcessId, id: Id) -> Result<Nonce, SuError> {
        self.ledger.head(process)?;
        self.ledger.index()?.find(process, id)?.ok_or(SuError::NoMessage { process, id })
    }

    fn node(&self, process: ProcessId, nonce: Nonce) -> Result<String, SuError> {
        let (entry, _) = self.ledger.entry(process, nonce)?.ok_or(SuError::NoProcess { process })?;
        json::node(&entry).map_err(SuError::entry(process, nonce))
    }

    fn process(&self, process: ProcessId) -> Result<String, SuError> {
        let nonce = Nonce(0);
        let (entry, time) = self.ledger.entry(process, nonce)?.ok_or(SuError::NoProcess { process })?;
        let assignment = DataItem::parse(&entry.assignment).map_err(SuError::entry(process, nonce))?;
        let assignment = Assignment::from_item(&assignment).map_err(SuError::entry(process, nonce))?;
        let item = entry.message.unwrap_or_default();
        json::process(process, &item, time, block_text(assignment.block_height)).map_err(SuError::entry(process, nonce))
    }

    /// The signed bytes of a message, a process or an assignment.
    fn raw(&self, process: ProcessId, id: Id) -> Result<Vec<u8>, SuError> {
        let nonce = self.find(process, id)?;
        let (entry, _) = self.ledger.entry(process, nonce)?.ok_or(SuError::NoProcess { process })?;
        let is = |bytes: &Vec<u8>| DataItem::parse(bytes).is_ok_and(|item| item.id() == id);
        let items = [Some(entry.assignment), entry.message];
        items.into_iter().flatten().find(is).ok_or(SuError::NoMessage { process, id })
    }

    fn metrics(&self) -> Answer {
        let records = *self.end.borrow();
        let uploaded = if self.uploads { self.ledger.uploaded() } else { records };
        let accepted = self.accepted.load(Ordering::Relaxed);
        let refused = self.ledger.index().and_then(|index| index.refused()).map_or(0, |refused| refused.len() as u64);
        let mut page = String::new();
        for (name, kind, help, value) in [
            ("aorta_su_records", "gauge", "Assignments in the log.", records),
            ("aorta_su_accepted_total", "counter", "Posts answered with a place.", accepted),
            ("aorta_su_uploads_waiting", "gauge", "Assignments still to be uploaded.", records - uploaded.min(records)),
            ("aorta_su_uploads_refused", "gauge", "Assignments that were refused where they are uploaded to.", refused),
            ("aorta_su_block_height", "gauge", "The last block known.", self.block_height().0),
        ] {
            // Writing to a string cannot fail.
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", full(page))
    }
}

fn process_id(field: &'static str, text: &str) -> Result<ProcessId, Field> {
    text.parse().map_err(|_| Field { field, expected: "a process id of 43 characters of base64url" })
}

fn asked_process(query: &Query) -> Result<ProcessId, Field> {
    process_id("process-id", query.get("process-id").unwrap_or_default())
}

fn any_id(text: &str) -> Result<Id, Field> {
    text.parse().map_err(|_| Field { field: "id", expected: "an id of 43 characters of base64url" })
}

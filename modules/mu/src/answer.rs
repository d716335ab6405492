//! Which request is answered by what.
//!
//! # Source
//! `permaweb/ao` `servers/mu/src/routes` at `ff178d51`. Ours: bad input has its own status, `/info`, `/dead-letters`.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ao_http::{Answer, Field, Query, Request, full, json_text, not_allowed, ok, preflight, read, refuse, typed};
use ao_wire::{DataItem, Id, ProcessId};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::MuError;
use crate::messenger::Messenger;
use crate::outbox;
use crate::run::crank;
use crate::store::{Change, Dead};
use crate::task::{Kind, Task, Then, Trail, Work};

/// Dead letters of a page.
const LETTERS_MAX: usize = 100;
/// Bytes of an item that only asks for something.
const REQUEST_BYTES_MAX: usize = 64 << 10;

impl Messenger {
    /// Answers a request, whatever it is.
    pub async fn answer(self: Arc<Self>, mut request: Request, _caller: IpAddr) -> Answer {
        let path = request.uri().path().to_owned();
        let parts: Vec<&str> = path.strip_prefix('/').unwrap_or(&path).split('/').collect();
        let methods = match parts[..] {
            [""] => "GET, POST",
            ["monitor", _] => "POST, DELETE",
            ["push", _, _] | ["dead-letters", _] => "POST",
            _ => "GET",
        };
        let query = Query::of(request.uri().query().unwrap_or_default());
        // Whoever wants the head of an answer is given all of it, and the connection keeps the rest back.
        if request.method() == Method::HEAD {
            *request.method_mut() = Method::GET;
        }
        if request.method() == Method::OPTIONS {
            return preflight(&request, methods);
        }
        if !methods.split(", ").any(|method| method == request.method().as_str()) {
            return not_allowed(refuse(StatusCode::METHOD_NOT_ALLOWED, &MuError::Method), methods);
        }
        let begin = request.method() == Method::POST;
        let answered = match parts[..] {
            [""] if begin => self.post(request, &query).await,
            [""] => Ok(typed(StatusCode::OK, "text/html; charset=utf-8", full("ao messenger unit"))),
            ["monitor", process] => self.monitor(process, request, begin).await,
            ["push", id, number] => self.push(id, number, &query).await,
            ["dead-letters"] => self.dead_letters(&query),
            ["dead-letters", id] => self.replay(id).await,
            ["info"] => self.info(),
            ["health"] => Ok(typed(StatusCode::OK, "text/plain", full(""))),
            ["metrics"] => self.metrics(),
            _ => Err(MuError::NoRoute),
        };
        answered.unwrap_or_else(|error| refuse(error.status(), &error))
    }

    async fn post(self: &Arc<Self>, request: Request, query: &Query) -> Result<Answer, MuError> {
        match (query.get("process-id"), query.get("assign")) {
            (Some(process), Some(message)) => {
                let (process, message) = (id("process-id", process)?.into(), id("assign", message)?);
                let exclude = query.get("exclude").unwrap_or_default().split(',').filter(|name| !name.is_empty());
                let exclude: Vec<String> = exclude.map(str::to_owned).collect();
                return self.assign(process, message, query.has("base-layer"), &exclude).await;
            }
            (None, None) => {}
            _ => return Err(MuError::HalfAssignment),
        }
        let body = read(request, self.options.item_bytes_max).await?;
        let checked = tokio::task::spawn_blocking(move || accept(body.to_vec()));
        let (task, id) = checked.await.map_err(|_| MuError::Stopping)??;
        let lane = task.lane().0;
        let told = self.listen(lane);
        let keys = self.store.change(Change { put: vec![task], ..Change::default() }).await?;
        self.wake(&keys);
        // It is written down: whether the scheduler has it yet or not, it will.
        match timeout(Duration::from_millis(self.options.patience_ms), told).await {
            Ok(Ok(told)) => _ = told?,
            Ok(Err(_)) => return Err(MuError::Stopping),
            Err(_) => tracing::info!(%id, "accepted, and the scheduler does not have it yet"),
        }
        Ok(self.accepted("Processing DataItem", id))
    }

    fn accepted(&self, message: &str, id: Id) -> Answer {
        self.counts.accepted.fetch_add(1, Ordering::Relaxed);
        json_text(StatusCode::ACCEPTED, json!({ "message": message, "id": id }).to_string())
    }

    /// Its id is the scheduler's, so nothing is accepted before that has it.
    async fn assign(
        self: &Arc<Self>,
        process: ProcessId,
        message: Id,
        base_layer: bool,
        exclude: &[String],
    ) -> Result<Answer, MuError> {
        let scheduled = self.units.assign(process, message, base_layer, exclude).await?;
        let trail = Trail { initial: Some(message), hops: 0 };
        let put = vec![crank(process, message, scheduled, &trail)];
        let keys = self.store.change(Change { put, ..Change::default() }).await?;
        self.wake(&keys);
        Ok(self.accepted("Processing Assignment", scheduled.id))
    }

    async fn monitor(&self, process: &str, request: Request, begin: bool) -> Result<Answer, MuError> {
        let process = id("process", process)?.into();
        let body = read(request, REQUEST_BYTES_MAX).await?;
        let item = DataItem::parse(&body).map_err(MuError::Item)?;
        self.watch(process, &item, begin).await?;
        let said = if begin { "Monitoring process" } else { "Process deleted" };
        Ok(typed(StatusCode::OK, "text/html; charset=utf-8", full(said)))
    }

    /// A message of an outbox that was not delivered is; one that was is not delivered again.
    async fn push(self: &Arc<Self>, message: &str, number: &str, query: &Query) -> Result<Answer, MuError> {
        let message = id("id", message)?;
        let number: usize = number.parse().map_err(|_| Field { field: "number", expected: "a number is required" })?;
        let process = id("process-id", query.get("process-id").unwrap_or_default())?.into();
        let result = self.units.result(process, message, message).await?;
        let trail = Trail { initial: Some(message), hops: 1 };
        let tasks = outbox::tasks(process, &message.to_string(), &result, &trail);
        let mut messages: Vec<Task> = tasks.into_iter().filter(|task| is_message(&task.work)).collect();
        if number >= messages.len() {
            return Err(MuError::NoNumber { process, message, number, count: messages.len() });
        }
        let task = messages.swap_remove(number);
        let delivery = task.delivery;
        let dead = self.store.find_dead(|dead| dead.task.delivery == delivery)?;
        let change = match dead {
            Some(revive) => Change { revive: Some(revive), ..Change::default() },
            None => Change { put: vec![task], ..Change::default() },
        };
        let keys = self.store.change(change).await?;
        self.wake(&keys);
        let answer = json!({ "message": "Processing Message Result", "id": message });
        Ok(json_text(StatusCode::ACCEPTED, answer.to_string()))
    }

    fn dead_letters(&self, query: &Query) -> Result<Answer, MuError> {
        let from = query.number("from", "a number is required")?.unwrap_or(0);
        let limit = query.number("limit", "a number is required")?.unwrap_or(LETTERS_MAX).clamp(1, LETTERS_MAX);
        let mut letters = self.store.dead(from, limit + 1)?;
        let next = if letters.len() > limit { letters.pop().map(|(id, _)| id) } else { None };
        let letters: Vec<Value> = letters.iter().map(|(id, dead)| describe(*id, dead)).collect();
        Ok(ok(json!({ "count": self.store.dead_count()?, "letters": letters, "next": next }).to_string()))
    }

    async fn replay(self: &Arc<Self>, id: &str) -> Result<Answer, MuError> {
        let id = id.parse().map_err(|_| Field { field: "id", expected: "a number is required" })?;
        let keys = self.store.change(Change { revive: Some(id), ..Change::default() }).await?;
        self.wake(&keys);
        Ok(json_text(StatusCode::ACCEPTED, json!({ "message": "Replaying", "id": id }).to_string()))
    }

    fn info(&self) -> Result<Answer, MuError> {
        let info = json!({
            "address": self.address,
            "hops_max": self.options.hops_max,
            "queued": self.store.queued()?,
            "dead_letters": self.store.dead_count()?,
            "monitors": self.store.monitors()?.len(),
        });
        Ok(ok(info.to_string()))
    }

    fn metrics(&self) -> Result<Answer, MuError> {
        Ok(self.counts.render(self.store.queued()?, self.store.dead_count()?, self.options.hops_max))
    }
}

/// The task that an item is, and its id.
fn accept(bytes: Vec<u8>) -> Result<(Task, Id), MuError> {
    let item = DataItem::parse(&bytes).map_err(MuError::Item)?;
    item.verify().map_err(MuError::Signature)?;
    let has = |name: &str, value: &str| item.tags().any(|tag| tag.name_str() == name && tag.value_str() == value);
    if !has("Data-Protocol", "ao") {
        return Err(MuError::Tag { tag: "Data-Protocol", expected: "value 'ao' was not found on item" });
    }
    let mut types = item.tags().filter(|tag| tag.name_str() == "Type").map(|tag| tag.value_str().into_owned());
    let kind = types.find(|kind| kind == "Process" || kind == "Message");
    let (id, target) = (item.id(), item.target().map(|target| Id(*target).into()));
    let (process, then) = match kind.as_deref() {
        Some("Process") => (id.into(), Then::Process { target }),
        Some(_) => (target.ok_or(MuError::NoTarget)?, Then::Message { also: Vec::new() }),
        None => return Err(MuError::Tag { tag: "Type", expected: "must be either 'Process' or 'Message'" }),
    };
    let trail = Trail { initial: Some(id), hops: 0 };
    // What clients post is in no order but the one in which they wait for answers.
    let work = Work::Post { lane: Id::sha256(&bytes), item: bytes, process, then, client: true };
    Ok((Task::new(work, trail), id))
}

fn is_message(work: &Work) -> bool {
    matches!(work, Work::Build { place, .. } if place.kind == Kind::Message)
}

fn describe(id: u64, dead: &Dead) -> Value {
    let Task { work, trail, failures, .. } = &dead.task;
    let what = match work {
        Work::Build { place, element } => json!({
            "kind": place.kind.name(), "from": place.process, "of": place.of, "index": place.index,
            "element": serde_json::from_str(element).unwrap_or(Value::Null),
        }),
        Work::Post { item, process, .. } => {
            let item = DataItem::parse(item).ok().map(|item| item.id());
            json!({ "kind": "item", "item": item, "process": process })
        }
        Work::Assign { process, message, .. } => json!({ "kind": "assign", "process": process, "message": message }),
        Work::Crank { process, message, .. } => json!({ "kind": "result", "process": process, "message": message }),
    };
    json!({
        "id": id, "error": dead.error, "at": dead.at, "attempts": failures, "hops": trail.hops,
        "initial": trail.initial, "what": what,
    })
}

fn id(field: &'static str, text: &str) -> Result<Id, Field> {
    text.parse().map_err(|_| Field { field, expected: "an id of 43 characters of base64url" })
}

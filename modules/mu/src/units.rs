//! What is asked of the other units: one attempt each, and whether another may help.
//!
//! *Not here:* when it is tried again (`lanes`).
//!
//! Invariant: every request ends, and no answer is held beyond its bound. Redirects of routers are followed with the body.

use std::time::Duration;

use ao_wire::{Id, ProcessId, b64u};
use form_urlencoded::byte_serialize;
use hyper::StatusCode;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, redirect};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::messenger::Options;
use crate::{MuError, trust};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const SCHEDULER_TIMEOUT: Duration = Duration::from_secs(30);
/// An evaluation may take long; it goes on when nobody waits, so that asking again finds it further.
const COMPUTE_TIMEOUT: Duration = Duration::from_mins(5);
/// Redirects followed in a row: routers answer 307.
const REDIRECTS_MAX: usize = 5;
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How much of a refusal is quoted.
const QUOTE_BYTES: usize = 400;

/// A request that brought nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Failure {
    /// What was asked of whom.
    pub what: String,
    /// The answer, or why there is none.
    pub why: String,
    /// The status of the answer.
    pub status: Option<u16>,
    /// Whether it may go well another time.
    pub again: bool,
}

impl Failure {
    /// What no repetition will change.
    pub(crate) fn for_good(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), status: None, again: false }
    }

    /// What a repetition may change.
    pub(crate) fn passing(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { again: true, ..Self::for_good(what, why) }
    }

    /// A refusal is passed on; a unit that does not do its work is not the client's fault.
    pub(crate) fn status_for_client(&self) -> StatusCode {
        let passed = self.status.and_then(|status| StatusCode::from_u16(status).ok());
        match passed {
            Some(status) if status.is_client_error() && !self.again => status,
            None if !self.again => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::BAD_GATEWAY,
        }
    }
}

/// What a scheduler says of an item that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scheduled {
    /// Of the assignment; of the item, if the scheduler does not say.
    pub(crate) id: Id,
    pub(crate) timestamp: u64,
}

/// A process, as its scheduler shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessInfo {
    pub(crate) owner_key: Vec<u8>,
    pub(crate) module: String,
    pub(crate) scheduler: String,
}

/// A page of what crons brought.
#[derive(Debug, Clone, Default)]
pub(crate) struct CronPage {
    /// Cursor and result.
    pub(crate) edges: Vec<(String, Value)>,
    pub(crate) more: bool,
}

/// The other units.
pub(crate) struct Units {
    client: Client,
    su: String,
    cu: String,
    upload: Option<String>,
    receipts_required: bool,
}

impl Units {
    pub(crate) fn new(options: &Options) -> Result<Self, MuError> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::limited(REDIRECTS_MAX))
            .user_agent(concat!("aorta/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(MuError::Client)?;
        let url = |url: &str| url.trim_end_matches('/').to_owned();
        Ok(Self {
            client,
            su: url(&options.su),
            cu: url(&options.cu),
            upload: options.upload.as_deref().map(url),
            receipts_required: options.receipts_required,
        })
    }

    /// Gives the scheduler an item. One that it has already is confirmed.
    pub(crate) async fn schedule(&self, item: &[u8], id: Id) -> Result<Scheduled, Failure> {
        let request = self.client.post(format!("{}/", self.su)).timeout(SCHEDULER_TIMEOUT);
        let request = request.header(header::CONTENT_TYPE, "application/octet-stream").body(item.to_vec());
        match answer("the scheduler, asked to take an item", request).await {
            Ok(answer) => scheduled(&answer),
            // The reference refuses what it has.
            Err(failure) if failure.status == Some(400) && failure.why.contains("Message already exists") => {
                Ok(Scheduled { id, timestamp: 0 })
            }
            Err(failure) => Err(failure),
        }
    }

    /// Has the scheduler assign something to a process.
    pub(crate) async fn assign(
        &self,
        process: ProcessId,
        message: Id,
        base_layer: bool,
        exclude: &[String],
    ) -> Result<Scheduled, Failure> {
        let mut url = format!("{}/?process-id={process}&assign={message}", self.su);
        if base_layer {
            url.push_str("&base-layer");
        }
        if !exclude.is_empty() {
            url.push_str("&exclude=");
            url.extend(byte_serialize(exclude.join(",").as_bytes()));
        }
        let request = self.client.post(url).header(header::CONTENT_LENGTH, 0).timeout(SCHEDULER_TIMEOUT);
        scheduled(&answer("the scheduler, asked to assign", request).await?)
    }

    /// A process; `None` if the scheduler does not have it.
    pub(crate) async fn process(&self, process: Id) -> Result<Option<ProcessInfo>, Failure> {
        let request = self.client.get(format!("{}/processes/{process}", self.su)).timeout(SCHEDULER_TIMEOUT);
        let shown = match json("the scheduler, asked for a process", request).await {
            Ok(shown) => shown,
            Err(failure) if matches!(failure.status, Some(400 | 404)) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let tag = |name: &str| {
            let mut tags = shown["tags"].as_array().into_iter().flatten();
            tags.find(|tag| tag["name"] == name).and_then(|tag| tag["value"].as_str()).unwrap_or_default().to_owned()
        };
        let owner_key = shown["owner"]["key"].as_str().and_then(|key| b64u::decode(key).ok());
        let wrong = || Failure::passing("the scheduler, asked for a process", "an answer without owner.key");
        Ok(Some(ProcessInfo {
            owner_key: owner_key.ok_or_else(wrong)?,
            module: tag("Module"),
            scheduler: tag("Scheduler"),
        }))
    }

    /// Gives the gateway an item.
    pub(crate) async fn upload(&self, item: &[u8]) -> Result<(), Failure> {
        let what = "the gateway, asked to take an item";
        let Some(url) = &self.upload else {
            return Err(Failure::for_good(what, "no process, and no place to upload what is for wallets is set"));
        };
        let request = self.client.post(format!("{url}/tx")).timeout(SCHEDULER_TIMEOUT);
        answer(what, request.header(header::CONTENT_TYPE, "application/octet-stream").body(item.to_vec())).await?;
        Ok(())
    }

    /// The result of a message, asked for by its id or by that of its assignment, which then its receipt must be of.
    pub(crate) async fn result(&self, process: ProcessId, message: Id, ask: Id) -> Result<Value, Failure> {
        let what = "the compute unit, asked for a result";
        let url = format!("{}/result/{ask}?process-id={process}&no-busy=1", self.cu);
        let answer = answer(what, self.client.get(url).timeout(COMPUTE_TIMEOUT)).await?;
        let receipt = answer.headers.get(ao_http::RECEIPT).map(HeaderValue::as_bytes);
        let step = (process, (ask != message).then_some(ask));
        trust::check(&answer.body, receipt, step, self.receipts_required).map_err(passing(what))?;
        let result: Value = parse(what, &answer.body)?;
        if result.is_object() { Ok(result) } else { Err(Failure::passing(what, "the answer is no object")) }
    }

    /// The cursor of the last result there is, if there is any.
    pub(crate) async fn last_cursor(&self, process: ProcessId) -> Result<Option<String>, Failure> {
        let url = format!("{}/results/{process}?sort=DESC&limit=1", self.cu);
        let page = json("the compute unit, asked for its last result", self.client.get(url).timeout(COMPUTE_TIMEOUT));
        Ok(page.await?.pointer("/edges/0/cursor").and_then(Value::as_str).map(str::to_owned))
    }

    /// What crons brought after a cursor or a time.
    pub(crate) async fn cron(&self, process: ProcessId, from: &str, limit: u32) -> Result<CronPage, Failure> {
        let what = "the compute unit, asked for crons";
        let from: String = byte_serialize(from.as_bytes()).collect();
        let url = format!("{}/cron/{process}?from={from}&limit={limit}&receipts=1", self.cu);
        let answer = answer(what, self.client.get(url).timeout(COMPUTE_TIMEOUT)).await?;
        let page: CronsJson<'_> = parse(what, &answer.body)?;
        let edge = |edge: CronJson<'_>| {
            let (result, receipt) = (edge.node.get(), edge.receipt.as_deref().map(str::as_bytes));
            trust::check(result.as_bytes(), receipt, (process, None), self.receipts_required).map_err(passing(what))?;
            Ok((edge.cursor, parse(what, result.as_bytes())?))
        };
        let edges = page.edges.into_iter().map(edge).collect::<Result<_, _>>()?;
        Ok(CronPage { edges, more: page.page_info.has_next_page })
    }
}

/// A page of what crons brought, as a compute unit shows it; a receipt commits to the bytes of its node.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CronsJson<'a> {
    page_info: PageInfoJson,
    #[serde(borrow)]
    edges: Vec<CronJson<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfoJson {
    #[serde(default)]
    has_next_page: bool,
}

#[derive(Deserialize)]
struct CronJson<'a> {
    cursor: String,
    #[serde(borrow)]
    node: &'a RawValue,
    receipt: Option<String>,
}

fn scheduled(answer: &Answered) -> Result<Scheduled, Failure> {
    let what = "the scheduler";
    let said: Value = parse(what, &answer.body)?;
    let timestamp = said["timestamp"].as_u64().or_else(|| said["timestamp"].as_str()?.parse().ok());
    let assignment = answer.headers.get(ao_http::ASSIGNMENT).and_then(|id| id.to_str().ok()).or(said["id"].as_str());
    let id = assignment.and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| Failure::passing(what, format!("an answer without id: {said}")))?;
    Ok(Scheduled { id, timestamp: timestamp.unwrap_or_default() })
}

async fn json(what: &'static str, request: RequestBuilder) -> Result<Value, Failure> {
    parse(what, &answer(what, request).await?.body)
}

fn parse<'a, T: Deserialize<'a>>(what: &'static str, body: &'a [u8]) -> Result<T, Failure> {
    let wrong = |error| Failure::passing(what, format!("the answer is not the JSON it should be: {error}"));
    serde_json::from_slice(body).map_err(wrong)
}

fn passing<E: std::error::Error>(what: &'static str) -> impl Fn(E) -> Failure {
    move |error| Failure::passing(what, error.to_string())
}

/// An answer that says that all went well.
struct Answered {
    headers: HeaderMap,
    body: Vec<u8>,
}

async fn answer(what: &'static str, request: RequestBuilder) -> Result<Answered, Failure> {
    let no_answer = |error: reqwest::Error| Failure::passing(what, ao_http::chain(&error.without_url()));
    let mut answer = request.send().await.map_err(no_answer)?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(no_answer)? {
        body.extend_from_slice(&chunk);
        if !status.is_success() && body.len() > QUOTE_BYTES {
            body.truncate(QUOTE_BYTES);
            break;
        }
        if body.len() > ANSWER_BYTES_MAX {
            return Err(Failure::for_good(what, format!("the answer has more than {ANSWER_BYTES_MAX} bytes")));
        }
    }
    if status.is_success() {
        return Ok(Answered { headers: std::mem::take(answer.headers_mut()), body });
    }
    let again = status.is_server_error()
        || status.is_redirection()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS);
    let why = format!("{status}: {}", String::from_utf8_lossy(&body));
    Err(Failure { what: what.into(), why, status: Some(status.as_u16()), again })
}

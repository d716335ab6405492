//! A legacy scheduler unit: pages of a log, processes, single messages, its clock.
//!
//! *Not here:* following a log and believing it (`fetcher`). What this answers is claims, but for [`SchedulerClient::process`].
//!
//! # Source
//! `permaweb/ao` `servers/su/src/main.rs`, `domain/core/json.rs` at `ff178d51`.

use ao_log::{Nonce, TimestampMs};
use ao_wire::{AssignmentId, Id, MessageId, ProcessId};
use serde::Deserialize;

use crate::rebuild::{ItemJson, one};
use crate::{GatewayClient, Http, SourceError};

/// One place of a log, as a scheduler shows it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct NodeJson {
    pub(crate) message: Option<ItemJson>,
    pub(crate) assignment: ItemJson,
}

#[derive(Debug, Deserialize)]
pub(crate) struct EdgeJson {
    pub(crate) node: NodeJson,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PageInfoJson {
    pub(crate) has_next_page: bool,
}

/// A page of a log.
#[derive(Debug, Deserialize)]
pub(crate) struct PageJson {
    pub(crate) page_info: PageInfoJson,
    pub(crate) edges: Vec<EdgeJson>,
}

#[derive(Deserialize)]
struct TimestampJson {
    timestamp: String,
    block_height: String,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// At the beginning of the log.
    Start,
    /// After a nonce.
    AfterNonce(Nonce),
    /// After a time.
    AfterTime(TimestampMs),
}

/// Where a scheduler says a message is. A claim: the log itself proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The process whose log it is in.
    pub process: ProcessId,
    /// The nonce.
    pub nonce: Nonce,
    /// The time.
    pub timestamp: TimestampMs,
    /// The assignment.
    pub assignment: AssignmentId,
    /// The message; the process itself at its own nonce.
    pub message: MessageId,
}

/// A scheduler's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedulerTime {
    /// Milliseconds since 1970.
    pub timestamp: TimestampMs,
    /// The newest block it knows of.
    pub block_height: u64,
}

/// A scheduler, or a router that redirects to schedulers.
#[derive(Debug, Clone)]
pub struct SchedulerClient {
    http: Http,
    url: String,
}

impl SchedulerClient {
    /// The scheduler at `url`; slashes at its end make no difference.
    pub fn new(http: Http, url: &str) -> SchedulerClient {
        SchedulerClient { http, url: url.trim_end_matches('/').to_owned() }
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A process' data item, its signature checked. `gateway` is asked if the scheduler's JSON does not give its bytes.
    ///
    /// # Errors
    /// No answer, an answer about another process, or bytes that nobody has.
    pub async fn process(&self, process: ProcessId, gateway: Option<&GatewayClient>) -> Result<Vec<u8>, SourceError> {
        let fields: ItemJson = self.http.json(&format!("{}/processes/{process}", self.url)).await?;
        if fields.id != process.to_string() {
            return Err(SourceError::OtherProcess { asked: process, found: fields.id });
        }
        let candidates = fields.candidates(None);
        if let Some(item) = one(process.id(), candidates) {
            return Ok(item);
        }
        if let Some(item) = self.signed_bytes(process, process.id()).await {
            return Ok(item);
        }
        let repaired = match gateway {
            Some(gateway) => gateway.signed_bytes(process.id(), Some(&fields)).await?,
            None => None,
        };
        repaired.ok_or(SourceError::NoProcess { process })
    }

    /// The signed bytes of an item of a log, from a scheduler that shows them as aorta's does; `None` from others.
    pub(crate) async fn signed_bytes(&self, process: ProcessId, id: Id) -> Option<Vec<u8>> {
        let item = self.http.raw(&format!("{}/raw/{id}?process-id={process}", self.url)).await.ok()?;
        one(id, vec![item])
    }

    /// Where a message or assignment is, or the process itself.
    ///
    /// # Errors
    /// No answer, or one that is not about `process`.
    pub async fn locate(&self, process: ProcessId, message: Id) -> Result<Located, SourceError> {
        let node: NodeJson = self.http.json(&format!("{}/{message}?process-id={process}", self.url)).await?;
        located(process, &node)
    }

    /// The newest message; `None` if the scheduler says that there is none.
    ///
    /// # Errors
    /// No answer, or one that is not about `process`.
    pub async fn latest(&self, process: ProcessId) -> Result<Option<Located>, SourceError> {
        match self.http.json::<NodeJson>(&format!("{}/{process}/latest?process-id={process}", self.url)).await {
            Ok(node) => located(process, &node).map(Some),
            Err(SourceError::Status { status: 400 | 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Its clock.
    ///
    /// # Errors
    /// No answer, or one that is no time.
    pub async fn time(&self, process: ProcessId) -> Result<SchedulerTime, SourceError> {
        let json: TimestampJson = self.http.json(&format!("{}/timestamp?process-id={process}", self.url)).await?;
        Ok(SchedulerTime {
            timestamp: TimestampMs(number("timestamp", &json.timestamp)?),
            block_height: number("block_height", &json.block_height)?,
        })
    }

    /// A page of a log. Anchors of assignments are asked for: without them no assignment can be verified.
    pub(crate) async fn page(&self, process: ProcessId, from: From, limit: usize) -> Result<PageJson, SourceError> {
        let from = match from {
            From::Start => String::new(),
            From::AfterNonce(nonce) => format!("&from-nonce={nonce}"),
            From::AfterTime(time) => format!("&from={time}"),
        };
        let url = format!("{}/{process}?process-id={process}{from}&limit={limit}&show-anchor=1", self.url);
        self.http.json(&url).await
    }
}

/// What a node says of its place.
fn located(process: ProcessId, node: &NodeJson) -> Result<Located, SourceError> {
    let assignment = &node.assignment;
    let tag = |name: &'static str| assignment.tag(name).unwrap_or_default();
    if tag("Process") != process.to_string() {
        return Err(SourceError::OtherProcess { asked: process, found: tag("Process").to_owned() });
    }
    let id = |what, text: &str| {
        text.parse::<Id>().map_err(|source| SourceError::NotAnId { what, found: text.to_owned(), source })
    };
    let message = match (&node.message, tag("Message")) {
        (Some(message), _) => id("the message's id", &message.id)?,
        (None, "") => process.id(),
        (None, named) => id("Message", named)?,
    };
    Ok(Located {
        process,
        nonce: Nonce(number("Nonce", tag("Nonce"))?),
        timestamp: TimestampMs(number("Timestamp", tag("Timestamp"))?),
        assignment: id("the assignment's id", &assignment.id)?.into(),
        message: message.into(),
    })
}

pub(crate) fn number(what: &'static str, text: &str) -> Result<u64, SourceError> {
    ao_log::parse_decimal(text.as_bytes(), ao_log::Padding::Allowed)
        .map_err(|_| SourceError::NotANumber { what, found: text.to_owned() })
}

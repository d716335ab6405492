//! A scheduler, a legacy unit or a HyperBEAM node: pages of a log, processes, where a message is.
//!
//! *Not here:* following a log and believing it (`fetcher`). What this answers is claims, but for [`SchedulerClient::process`].
//!
//! # Source
//! `permaweb/ao` `servers/su/src/main.rs`, `domain/core/json.rs` at `ff178d51`.

use ao_log::{Nonce, TimestampMs};
use ao_wire::{Id, ProcessId};
use serde::{Deserialize, Deserializer};

use crate::rebuild::{ItemJson, one};
use crate::{GatewayClient, Http, SourceError, node};

/// One place of a log, as a scheduler shows it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct NodeJson {
    pub(crate) message: Option<ItemJson>,
    pub(crate) assignment: ItemJson,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PageInfoJson {
    pub(crate) has_next_page: bool,
}

/// A page of a log.
#[derive(Debug, Deserialize)]
pub(crate) struct PageJson {
    pub(crate) page_info: PageInfoJson,
    #[serde(rename = "edges", deserialize_with = "nodes_of_edges")]
    pub(crate) nodes: Vec<NodeJson>,
}

fn nodes_of_edges<'de, D: Deserializer<'de>>(edges: D) -> Result<Vec<NodeJson>, D::Error> {
    #[derive(Deserialize)]
    struct EdgeJson {
        node: NodeJson,
    }
    Ok(Vec::<EdgeJson>::deserialize(edges)?.into_iter().map(|edge| edge.node).collect())
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

/// Whose routes and JSON are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// A legacy unit's.
    Unit,
    /// A HyperBEAM node's.
    Node,
}

/// A scheduler, a router that redirects to schedulers, or a HyperBEAM node.
#[derive(Debug, Clone)]
pub struct SchedulerClient {
    http: Http,
    url: String,
    dialect: Dialect,
}

impl SchedulerClient {
    /// The scheduler at `url`; slashes at its end make no difference.
    pub fn new(http: Http, url: &str) -> SchedulerClient {
        SchedulerClient { http, url: url.trim_end_matches('/').to_owned(), dialect: Dialect::Unit }
    }

    /// The HyperBEAM node at `url`.
    pub fn node(http: Http, url: &str) -> SchedulerClient {
        SchedulerClient { dialect: Dialect::Node, ..SchedulerClient::new(http, url) }
    }

    /// Whether pages can be asked for by time.
    pub(crate) fn pages_by_time(&self) -> bool {
        self.dialect == Dialect::Unit
    }

    /// A process' data item, its signature checked. `gateway` is asked if the scheduler's JSON does not give its bytes.
    ///
    /// # Errors
    /// No answer, an answer about another process, or bytes that nobody has.
    pub async fn process(&self, process: ProcessId, gateway: Option<&GatewayClient>) -> Result<Vec<u8>, SourceError> {
        let fields: Option<ItemJson> = match self.dialect {
            Dialect::Unit => Some(self.http.json(&format!("{}/processes/{process}", self.url)).await?),
            // The first of its log, where it is that.
            Dialect::Node => {
                let first = self.page(process, From::Start, 1).await?.nodes.into_iter().next();
                first.and_then(|node| node.message).filter(|message| message.id == process.to_string())
            }
        };
        if let Some(other) = fields.as_ref().filter(|fields| fields.id != process.to_string()) {
            return Err(SourceError::OtherProcess { asked: process, found: other.id.clone() });
        }
        let candidates = fields.as_ref().map(|fields| fields.candidates(None));
        if let Some(item) = one(process.id(), candidates.unwrap_or_default()) {
            return Ok(item);
        }
        if let Some(item) = self.signed_bytes(process, process.id()).await {
            return Ok(item);
        }
        let repaired = match gateway {
            Some(gateway) => gateway.signed_bytes(process.id(), fields.as_ref()).await?,
            None => None,
        };
        repaired.ok_or(SourceError::NoProcess { process })
    }

    /// The signed bytes of an item of a log, from a scheduler that shows them as aorta's does; `None` from others.
    pub(crate) async fn signed_bytes(&self, process: ProcessId, id: Id) -> Option<Vec<u8>> {
        if self.dialect == Dialect::Node {
            return None;
        }
        let item = self.http.raw(&format!("{}/raw/{id}?process-id={process}", self.url)).await.ok()?;
        one(id, vec![item])
    }

    /// The nonce of a message or assignment, as the scheduler claims; `None` from a HyperBEAM node, which cannot say.
    ///
    /// # Errors
    /// No answer, or one that is not about `process`.
    pub async fn locate(&self, process: ProcessId, message: Id) -> Result<Option<Nonce>, SourceError> {
        if self.dialect == Dialect::Node {
            return Ok(None);
        }
        let node: NodeJson = self.http.json(&format!("{}/{message}?process-id={process}", self.url)).await?;
        nonce_of(process, &node).map(Some)
    }

    /// The nonce of the newest message, as the scheduler claims; `None` if it says that there is none.
    ///
    /// # Errors
    /// No answer, or one that is not about `process`.
    pub async fn latest(&self, process: ProcessId) -> Result<Option<Nonce>, SourceError> {
        let latest = match self.dialect {
            Dialect::Unit => {
                let url = format!("{}/{process}/latest?process-id={process}", self.url);
                self.http.json::<NodeJson>(&url).await.and_then(|node| nonce_of(process, &node))
            }
            Dialect::Node => node::latest(&self.http, &self.url, process).await,
        };
        match latest {
            Ok(nonce) => Ok(Some(nonce)),
            Err(SourceError::Status { status: 400 | 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A page of a log. Anchors of assignments are asked for: without them no assignment can be verified.
    pub(crate) async fn page(&self, process: ProcessId, from: From, limit: usize) -> Result<PageJson, SourceError> {
        if self.dialect == Dialect::Node {
            let from = match from {
                From::AfterNonce(nonce) => Nonce(nonce.0 + 1),
                From::Start | From::AfterTime(_) => Nonce(0),
            };
            return node::page(&self.http, &self.url, process, from, limit).await;
        }
        let from = match from {
            From::Start => String::new(),
            From::AfterNonce(nonce) => format!("&from-nonce={nonce}"),
            From::AfterTime(time) => format!("&from={time}"),
        };
        let url = format!("{}/{process}?process-id={process}{from}&limit={limit}&show-anchor=1", self.url);
        self.http.json(&url).await
    }
}

/// The nonce that a scheduler shows something at.
fn nonce_of(process: ProcessId, node: &NodeJson) -> Result<Nonce, SourceError> {
    let tag = |name: &'static str| node.assignment.tag(name).unwrap_or_default();
    if tag("Process") != process.to_string() {
        return Err(SourceError::OtherProcess { asked: process, found: tag("Process").to_owned() });
    }
    Ok(Nonce(number("Nonce", tag("Nonce"))?))
}

pub(crate) fn number(what: &'static str, text: &str) -> Result<u64, SourceError> {
    ao_log::parse_decimal(text.as_bytes(), ao_log::Padding::Allowed)
        .map_err(|_| SourceError::NotANumber { what, found: text.to_owned() })
}

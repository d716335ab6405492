//! An Arweave gateway: transactions by GraphQL, their data by `/raw/`; modules, and items whose bytes a scheduler damaged.
//!
//! *Not here:* what is done with them.
//!
//! Invariant: items, modules that are items, and assigned transactions have their signatures checked; of what else a
//! gateway describes ([`Transaction`]) only the id is checked against the signature.
//!
//! # Source
//! `permaweb/ao` `servers/cu/src/effects/ao-gateway.js` (the questions) at `ff178d51`.

use std::collections::BTreeMap;

use ao_log::bundle::{ModuleMeta, ModuleTag};
use ao_log::{Assigned, AssignedError, Module};
use ao_wire::{DataItem, Id, MessageId, ModuleId, Transaction as Arweave, b64u};
use serde::Deserialize;
use serde_json::json;

use crate::rebuild::{ItemJson, one};
use crate::{Http, SourceError};

/// Ids per question.
const IDS_PER_QUERY: usize = 100;
const QUERY: &str = "query GetTransactions($ids: [ID!]!, $first: Int) { transactions(ids: $ids, first: $first) { edges { \
     node { id signature anchor recipient owner { address key } tags { name value } block { height timestamp } } } } }";

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
    #[serde(default)]
    errors: Vec<GraphQlError>,
}

#[derive(Deserialize)]
struct GraphQlError {
    message: String,
}

#[derive(Deserialize)]
struct Data {
    transactions: Transactions,
}

#[derive(Deserialize)]
struct Transactions {
    edges: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    node: Node,
}

#[derive(Deserialize)]
struct Node {
    #[serde(flatten)]
    item: ItemJson,
    block: Option<Block>,
}

#[derive(Clone, Copy, Deserialize)]
struct Block {
    height: u64,
    timestamp: u64,
}

#[derive(Deserialize)]
struct Info {
    height: u64,
}

#[derive(Deserialize)]
struct TxStatus {
    number_of_confirmations: u64,
}

/// A transaction or data item, as a gateway describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Its id; its signature has been found to give it.
    pub id: Id,
    /// Address of its owner.
    pub owner: String,
    /// Key of its owner; empty if the gateway doesn't know.
    pub owner_key: Vec<u8>,
    /// Its signature.
    pub signature: Vec<u8>,
    /// Whom it is for; empty for nobody.
    pub recipient: String,
    /// Its anchor, as the gateway writes it.
    pub anchor: String,
    /// Its tags, in order.
    pub tags: Vec<ModuleTag>,
    /// Height, and time in seconds since 1970, of its block; `None` while it has none.
    pub block: Option<(u64, u64)>,
}

/// A gateway.
#[derive(Debug, Clone)]
pub struct GatewayClient {
    http: Http,
    url: String,
    graphql: String,
}

impl GatewayClient {
    /// The gateway that serves `/raw/` under `url` and answers GraphQL at `graphql`.
    pub fn new(http: Http, url: &str, graphql: &str) -> GatewayClient {
        GatewayClient { http, url: url.trim_end_matches('/').to_owned(), graphql: graphql.to_owned() }
    }

    /// The data of a transaction.
    ///
    /// # Errors
    /// No answer, or too much of it.
    pub async fn raw(&self, id: Id) -> Result<Vec<u8>, SourceError> {
        self.http.raw(&format!("{}/raw/{id}", self.url)).await
    }

    /// A transaction's description.
    ///
    /// # Errors
    /// No answer; no such transaction; one whose signature gives it another id.
    pub async fn transaction(&self, id: Id) -> Result<Transaction, SourceError> {
        describe(id, self.node(id).await?)
    }

    /// A data item with its signature checked; `None` if description and data do not make one, as with layer-1 transactions.
    ///
    /// # Errors
    /// No answer.
    pub async fn item(&self, id: Id) -> Result<Option<Vec<u8>>, SourceError> {
        self.signed_bytes(id, None).await
    }

    /// A module. If it is a data item its signature is checked and kept beside it.
    ///
    /// # Errors
    /// No answer; no such transaction; data that is no WebAssembly.
    pub async fn module(&self, module: ModuleId) -> Result<Module, SourceError> {
        let id = module.id();
        let node = self.node(id).await?;
        let wasm = self.raw(id).await?;
        if !wasm.starts_with(b"\0asm") {
            return Err(SourceError::NotWasm { module });
        }
        let item = one(id, node.item.candidates(Some(&wasm)));
        let item_prefix = item.map(|item| item[..item.len() - wasm.len()].to_vec()).unwrap_or_default();
        let transaction = describe(id, node)?;
        let meta = ModuleMeta {
            id: module,
            owner: transaction.owner,
            tags: transaction.tags,
            wasm_bytes: wasm.len() as u64,
            wasm_blake3: *blake3::hash(&wasm).as_bytes(),
            embedded: true,
            item_prefix,
        };
        Ok(Module { meta, wasm })
    }

    /// A transaction that an assignment names, its signature checked down to its data.
    ///
    /// # Errors
    /// No answer; nothing that its owner signed.
    pub async fn assigned(&self, id: MessageId) -> Result<Assigned, SourceError> {
        Ok(self.assigned_with_json(id).await?.0)
    }

    /// As [`assigned`](Self::assigned), in its encoding.
    ///
    /// # Errors
    /// As there; more bytes than a bundle keeps.
    pub async fn assigned_encoded(&self, id: MessageId) -> Result<Vec<u8>, SourceError> {
        self.assigned(id).await?.encode().map_err(|source| SourceError::Assigned { id, source: Box::new(source) })
    }

    /// As [`assigned`](Self::assigned), with the words of the node it was read from, unless it is a data item.
    pub(crate) async fn assigned_with_json(&self, id: MessageId) -> Result<(Assigned, Vec<u8>), SourceError> {
        if let Some(item) = self.item(id.id()).await? {
            return Ok((Assigned::Item(item), Vec::new()));
        }
        let wrong = |source| SourceError::Assigned { id, source: Box::new(source) };
        let json = self.http.raw(&format!("{}/tx/{id}", self.url)).await?;
        let read = Arweave::from_json(&json).map_err(AssignedError::from);
        let (transaction, inline) = read.map_err(wrong)?;
        let elsewhere = inline.is_empty() && transaction.data_size > 0;
        let data = Some(if elsewhere { self.raw(id.id()).await? } else { inline });
        let assigned = Assigned::Transaction { transaction: Box::new(transaction), data };
        assigned.check_id(id).and_then(|()| assigned.verify()).map_err(wrong)?;
        Ok((assigned, json))
    }

    /// The bytes of an item from whatever there is: `/raw/` may serve the item itself or its data, and the other fields
    /// may be right at the scheduler (`fields`) or here.
    pub(crate) async fn signed_bytes(&self, id: Id, fields: Option<&ItemJson>) -> Result<Option<Vec<u8>>, SourceError> {
        let raw = match self.raw(id).await {
            Ok(raw) => Some(raw),
            Err(SourceError::Status { status: 400..=499, .. }) => None,
            Err(error) => return Err(error),
        };
        let mut candidates: Vec<Vec<u8>> = raw.iter().filter(|raw| DataItem::parse(raw).is_ok()).cloned().collect();
        candidates.extend(fields.map(|fields| fields.candidates(raw.as_deref())).unwrap_or_default());
        if let Some(item) = one(id, candidates) {
            return Ok(Some(item));
        }
        let node = match self.node(id).await {
            Ok(node) => node.item,
            Err(SourceError::NoTransaction { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let data = raw.as_deref().or_else(|| fields?.data.as_deref().map(str::as_bytes));
        Ok(one(id, node.candidates(Some(data.unwrap_or_default()))))
    }

    /// The height of the chain.
    ///
    /// # Errors
    /// No answer.
    pub async fn height(&self) -> Result<u64, SourceError> {
        Ok(self.http.json::<Info>(&format!("{}/info", self.url)).await?.height)
    }

    /// How many blocks confirm a transaction of the base layer; `None` if it is not in one.
    ///
    /// # Errors
    /// No answer.
    pub async fn confirmations(&self, id: Id) -> Result<Option<u64>, SourceError> {
        match self.http.json::<TxStatus>(&format!("{}/tx/{id}/status", self.url)).await {
            Ok(status) => Ok(Some(status.number_of_confirmations)),
            // Pending transactions are answered with text.
            Err(SourceError::Status { status: 400..=499, .. } | SourceError::Json { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives an item to whoever takes them at `{url}/tx`, which need not be this gateway.
    ///
    /// # Errors
    /// It was not taken.
    pub async fn upload(&self, url: &str, item: Vec<u8>) -> Result<(), SourceError> {
        self.http.send(&format!("{}/tx", url.trim_end_matches('/')), item).await
    }

    /// Descriptions of many items, those the gateway knows.
    pub(crate) async fn fields(&self, ids: &[Id]) -> Result<BTreeMap<String, ItemJson>, SourceError> {
        let mut found = BTreeMap::new();
        for ids in ids.chunks(IDS_PER_QUERY) {
            let nodes = self.query(ids).await?;
            found.extend(nodes.into_iter().map(|node| (node.item.id.clone(), node.item)));
        }
        Ok(found)
    }

    async fn node(&self, id: Id) -> Result<Node, SourceError> {
        let (nodes, name) = (self.query(&[id]).await?, id.to_string());
        let found = nodes.into_iter().find(|node| node.item.id == name);
        found.ok_or_else(|| SourceError::NoTransaction { url: self.graphql.clone(), id })
    }

    async fn query(&self, ids: &[Id]) -> Result<Vec<Node>, SourceError> {
        let body = json!({ "query": QUERY, "variables": { "ids": ids, "first": ids.len() } }).to_string();
        let answer: Answer = self.http.post(&self.graphql, &body).await?;
        if let Some(data) = answer.data {
            return Ok(data.transactions.edges.into_iter().map(|edge| edge.node).collect());
        }
        let message = answer.errors.into_iter().next().map(|error| error.message).unwrap_or_default();
        Err(SourceError::GraphQl { url: self.graphql.clone(), message })
    }
}

/// What a node says, if its signature gives it the id that was asked for.
fn describe(id: Id, node: Node) -> Result<Transaction, SourceError> {
    if let Some(found) = node.item.signed_id().filter(|found| *found != id) {
        return Err(SourceError::TransactionId { named: id, found });
    }
    let ItemJson { owner, tags, signature, anchor, target, .. } = node.item;
    Ok(Transaction {
        id,
        owner: owner.address,
        owner_key: b64u::decode(owner.key).unwrap_or_default(),
        signature: b64u::decode(signature).unwrap_or_default(),
        recipient: target.unwrap_or_default(),
        anchor: anchor.unwrap_or_default(),
        tags: tags.into_iter().map(|tag| ModuleTag { name: tag.name, value: tag.value }).collect(),
        block: node.block.map(|block| (block.height, block.timestamp)),
    })
}

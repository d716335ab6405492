//! Which request is answered by what.
//!
//! # Source
//! What `permaweb/ao` at `ff178d51` asks of gateways, nodes and bundlers.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use ao_http::{Answer, Field, Request, full, not_allowed, ok, preflight, read, read_text, refuse, typed};
use ao_wire::{DataItem, Id, b64u};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::graphql::{Question, execute};
use crate::query::{block_id, resolve};
use crate::store::{Store, Stored, Upload, now_ms};
use crate::{GatewayError, block_at, block_time_ms, intake};

/// Longest upload, in bytes: modules are tens of MiB. It is held in memory while its signatures are checked.
const UPLOAD_BYTES_MAX: usize = 256 << 20;
/// Longest GraphQL question, in bytes.
const QUERY_BYTES_MAX: usize = 1 << 20;
/// Uploads that may wait to be written.
const WAITING_MAX: usize = 64;
/// Longest value of a tag that is shown as a header, in bytes.
const HEADER_VALUE_MAX: usize = 1024;

/// A gateway with its own store.
pub struct Gateway {
    store: Arc<Store>,
    uploads: mpsc::Sender<Upload>,
}

impl Gateway {
    /// Opens the gateway that keeps its items in `dir`. The handle ends when it was dropped and all is written.
    ///
    /// # Errors
    /// The store cannot be opened.
    pub fn open(dir: &Path) -> Result<(Arc<Self>, JoinHandle<()>), GatewayError> {
        let store = Store::open(dir)?;
        let (uploads, waiting) = mpsc::channel(WAITING_MAX);
        let writer = Arc::clone(&store);
        let thread = std::thread::Builder::new().name("gateway".into()).spawn(move || writer.run(waiting));
        let thread = thread.map_err(GatewayError::io(dir))?;
        Ok((Arc::new(Self { store, uploads }), thread))
    }

    /// Takes an item or a bundle; its id, or those of its items.
    ///
    /// # Errors
    /// It is none; a signature does not hold; it cannot be written.
    pub async fn upload(&self, bytes: Bytes) -> Result<Vec<Id>, GatewayError> {
        let checked = tokio::task::spawn_blocking(move || intake::items(&bytes).map(|items| (bytes, items))).await;
        let (bytes, items) = checked.map_err(|_| GatewayError::Stopping)??;
        let ids = items.iter().filter(|item| item.parent.is_none()).map(|item| item.id).collect();
        let (reply, written) = oneshot::channel();
        self.uploads.send(Upload { bytes, items, reply }).await.map_err(|_| GatewayError::Stopping)?;
        written.await.map_err(|_| GatewayError::Stopping)??;
        Ok(ids)
    }

    /// Answers a request, whatever it is.
    pub async fn answer(self: Arc<Self>, mut request: Request, _caller: IpAddr) -> Answer {
        let path = request.uri().path().to_owned();
        let parts: Vec<&str> = path.strip_prefix('/').unwrap_or(&path).split('/').collect();
        let methods = match parts[..] {
            ["graphql"] | ["tx", ..] => "GET, HEAD, POST",
            _ => "GET, HEAD",
        };
        if request.method() == Method::HEAD {
            *request.method_mut() = Method::GET;
        }
        let answered = match (request.method(), &parts[..]) {
            (&Method::OPTIONS, _) => Ok(preflight(&request, methods)),
            (&Method::POST, ["graphql"]) => self.graphql(request).await,
            (&Method::POST, ["tx"] | ["tx", _]) => self.post(request).await,
            (&Method::GET, _) => self.get(&parts).await,
            _ => return not_allowed(refuse(StatusCode::METHOD_NOT_ALLOWED, &GatewayError::Method), methods),
        };
        answered.unwrap_or_else(|error| refuse(error.status(), &error))
    }

    async fn post(&self, request: Request) -> Result<Answer, GatewayError> {
        let ids = self.upload(read(request, UPLOAD_BYTES_MAX).await?).await?;
        let now = now_ms();
        Ok(ok(json!({ "id": ids.first(), "ids": ids, "timestamp": now, "block": block_at(now) }).to_string()))
    }

    async fn graphql(&self, request: Request) -> Result<Answer, GatewayError> {
        let text = read_text(request, QUERY_BYTES_MAX).await?;
        let question: Question = serde_json::from_str(&text).map_err(GatewayError::Query)?;
        let store = Arc::clone(&self.store);
        self.blocking(move || {
            Ok(ok(execute(&question, &|field, arguments| resolve(&store, field, arguments)).to_string()))
        })
        .await
    }

    async fn get(self: &Arc<Self>, parts: &[&str]) -> Result<Answer, GatewayError> {
        let height = block_at(now_ms());
        match *parts {
            ["" | "info"] => Ok(ok(json!({
                "network": "aorta", "version": 5, "release": 1, "height": height, "blocks": height,
                "current": block_id(height), "peers": 0, "queue_length": 0,
            })
            .to_string())),
            ["height"] => Ok(typed(StatusCode::OK, "text/plain", full(height.to_string()))),
            ["health"] => Ok(ok(json!({ "status": "ok" }).to_string())),
            ["block", "current"] => Ok(block(height)),
            ["block", "height", at] => {
                let at = at.parse().ok().filter(|at| *at <= height).ok_or(GatewayError::NotFound)?;
                Ok(block(at))
            }
            ["raw" | "tx", id] | ["tx", id, "data" | "status"] => {
                let id = id.parse::<Id>().map_err(|_| Field { field: "id", expected: "43 characters of base64url" })?;
                let (unit, what) = (Arc::clone(self), (parts[0] == "raw", parts.get(2).map(|part| *part == "status")));
                self.blocking(move || match what {
                    (true, _) | (_, Some(false)) => unit.data(id),
                    (_, Some(true)) => unit.status(id),
                    _ => unit.describe(id),
                })
                .await
            }
            [id] => {
                let id = id.parse::<Id>().map_err(|_| GatewayError::NotFound)?;
                let unit = Arc::clone(self);
                self.blocking(move || unit.data(id)).await
            }
            _ => Err(GatewayError::NotFound),
        }
    }

    async fn blocking(
        &self,
        read: impl FnOnce() -> Result<Answer, GatewayError> + Send + 'static,
    ) -> Result<Answer, GatewayError> {
        tokio::task::spawn_blocking(read).await.map_err(|_| GatewayError::Stopping)?
    }

    fn find(&self, id: Id) -> Result<Stored, GatewayError> {
        self.store.find(id)?.ok_or(GatewayError::NotFound)
    }

    /// The data, with the item's tags as headers: so messenger units learn what a process is.
    fn data(&self, id: Id) -> Result<Answer, GatewayError> {
        let stored = self.find(id)?;
        let header = self.store.header(&stored)?;
        let item = DataItem::parse(&header).map_err(GatewayError::Item)?;
        let mut answer = typed(StatusCode::OK, "application/octet-stream", full(self.store.data(&stored)?));
        for tag in item.tags().filter(|tag| tag.value.len() <= HEADER_VALUE_MAX) {
            let name = HeaderName::from_bytes(&tag.name.to_ascii_lowercase());
            let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(tag.value)) else { continue };
            let free = name == CONTENT_TYPE || !answer.headers().contains_key(&name);
            // What frames the answer is not the item's to say.
            let framing = ["content-length", "transfer-encoding", "connection", "content-encoding", "set-cookie"];
            if free && !framing.contains(&name.as_str()) {
                answer.headers_mut().insert(name, value);
            }
        }
        Ok(answer)
    }

    fn status(&self, id: Id) -> Result<Answer, GatewayError> {
        let (height, now) = (block_at(self.find(id)?.time_ms), block_at(now_ms()));
        let status = json!({
            "block_height": height, "block_indep_hash": block_id(height), "number_of_confirmations": now - height + 1,
        });
        Ok(ok(status.to_string()))
    }

    fn describe(&self, id: Id) -> Result<Answer, GatewayError> {
        let stored = self.find(id)?;
        let header = self.store.header(&stored)?;
        let item = DataItem::parse(&header).map_err(GatewayError::Item)?;
        let tags: Vec<_> = item
            .tags()
            .map(|tag| json!({ "name": b64u::encode(tag.name), "value": b64u::encode(tag.value) }))
            .collect();
        let described = json!({
            "format": "ANS-104", "id": id, "owner": b64u::encode(item.owner()), "tags": tags,
            "target": item.target().map(|target| Id(*target)), "anchor": item.anchor().map(b64u::encode),
            "data_size": stored.data_len().to_string(), "signature": b64u::encode(item.signature()),
        });
        Ok(ok(described.to_string()))
    }
}

fn block(height: u64) -> Answer {
    let described = json!({
        "height": height, "timestamp": block_time_ms(height) / 1000, "indep_hash": block_id(height),
        "previous_block": block_id(height.saturating_sub(1)), "txs": [],
    });
    ok(described.to_string())
}

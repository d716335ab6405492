//! Asking the units, as any client does.
//!
//! Invariant: an answer that is no success is an error that says who said what.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

/// An evaluation may take long.
const TIMEOUT: Duration = Duration::from_mins(5);

pub(super) struct Http(Client);

impl Http {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(Client::builder().timeout(TIMEOUT).build().context("no HTTP client")?))
    }

    pub(super) async fn get(&self, url: &str) -> Result<Value> {
        answer(url, self.0.get(url)).await
    }

    /// As [`Self::get`], of what may not be there.
    pub(super) async fn find(&self, url: &str) -> Option<Value> {
        self.get(url).await.ok()
    }

    pub(super) async fn post_item(&self, url: &str, item: Vec<u8>) -> Result<Value> {
        answer(url, self.0.post(url).header("content-type", "application/octet-stream").body(item)).await
    }

    pub(super) async fn post_json(&self, url: &str, body: &Value) -> Result<Value> {
        answer(url, self.0.post(url).header("content-type", "application/json").body(body.to_string())).await
    }
}

async fn answer(url: &str, request: RequestBuilder) -> Result<Value> {
    let answer = request.send().await.with_context(|| format!("{url} does not answer"))?;
    let status = answer.status();
    let body = answer.bytes().await.with_context(|| format!("{url} broke off"))?;
    if !status.is_success() {
        bail!("{url} says {status}: {}", String::from_utf8_lossy(&body));
    }
    serde_json::from_slice(&body).with_context(|| format!("{url} answers what is no JSON"))
}

//! Asking the units, as any client does.
//!
//! Invariant: an answer that is no success is an error that says who said what.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

/// An evaluation may take long.
const TIMEOUT: Duration = Duration::from_mins(5);

pub(crate) struct Http(Client);

impl Http {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Client::builder().timeout(TIMEOUT).build().context("no HTTP client")?))
    }

    pub(crate) async fn get(&self, url: &str) -> Result<Value> {
        json(url, self.0.get(url)).await
    }

    /// As [`Self::get`], of what may not be there.
    pub(crate) async fn find(&self, url: &str) -> Option<Value> {
        self.get(url).await.ok()
    }

    /// As [`Self::get`], of what is no JSON.
    pub(crate) async fn get_bytes(&self, url: &str) -> Result<Bytes> {
        answer(url, self.0.get(url)).await
    }

    pub(crate) async fn post_item(&self, url: &str, item: Vec<u8>) -> Result<Bytes> {
        answer(url, self.0.post(url).header("content-type", "application/octet-stream").body(item)).await
    }

    pub(crate) async fn post_json(&self, url: &str, body: &Value) -> Result<Value> {
        json(url, self.0.post(url).header("content-type", "application/json").body(body.to_string())).await
    }
}

async fn json(url: &str, request: RequestBuilder) -> Result<Value> {
    serde_json::from_slice(&answer(url, request).await?).with_context(|| format!("{url} answers what is no JSON"))
}

async fn answer(url: &str, request: RequestBuilder) -> Result<Bytes> {
    let answer = request.send().await.with_context(|| format!("{url} does not answer"))?;
    let status = answer.status();
    let body = answer.bytes().await.with_context(|| format!("{url} broke off"))?;
    if !status.is_success() {
        bail!("{url} says {status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(body)
}

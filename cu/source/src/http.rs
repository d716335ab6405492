//! Asking over HTTP: redirects, retries with jitter within a budget, bounds on answers.
//!
//! *Not here:* what is asked.
//!
//! Invariant: every request ends, within its budget and one attempt's timeout; no answer is held beyond its bound.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, Method, StatusCode, header, redirect};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::SourceError;

/// How much of a refusal is quoted.
const QUOTE_BYTES: usize = 200;

/// Times and bounds of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// For a connection.
    pub connect_timeout_ms: u64,
    /// For one attempt, its answer included.
    pub request_timeout_ms: u64,
    /// Redirects followed in a row: routers answer 307.
    pub redirects_max: usize,
    /// Attempts per request.
    pub tries_max: u32,
    /// No attempt begins later than this after the first.
    pub budget_ms: u64,
    /// Wait before the second attempt; it doubles from there, each wait between half and all of it.
    pub backoff_first_ms: u64,
    /// Longest wait, also when the server asks for more.
    pub backoff_max_ms: u64,
    /// Largest JSON answer.
    pub json_bytes_max: usize,
    /// Largest binary answer: a module, a checkpoint.
    pub raw_bytes_max: usize,
}

impl Default for HttpOptions {
    fn default() -> HttpOptions {
        HttpOptions {
            connect_timeout_ms: 10_000,
            request_timeout_ms: 60_000,
            redirects_max: 5,
            tries_max: 6,
            budget_ms: 120_000,
            backoff_first_ms: 250,
            backoff_max_ms: 15_000,
            json_bytes_max: 256 << 20,
            raw_bytes_max: 1 << 30,
        }
    }
}

/// An HTTP client; clones share its connections.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    options: HttpOptions,
}

/// The body of a request.
#[derive(Clone, Copy)]
enum Sent<'a> {
    Nothing,
    Json(&'a str),
    Bytes(&'a Bytes),
}

/// An attempt that brought nothing, and whether another may.
struct Failed {
    error: Box<SourceError>,
    again: bool,
    wait: Option<Duration>,
}

impl Failed {
    fn for_good(error: SourceError) -> Failed {
        Failed { error: Box::new(error), again: false, wait: None }
    }
}

impl Http {
    /// A client.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(options: HttpOptions) -> Result<Http, SourceError> {
        let client = Client::builder()
            .connect_timeout(Duration::from_millis(options.connect_timeout_ms))
            .timeout(Duration::from_millis(options.request_timeout_ms))
            .redirect(redirect::Policy::limited(options.redirects_max))
            .user_agent(concat!("aorta/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(SourceError::Client)?;
        Ok(Http { client, options })
    }

    /// A JSON answer to GET.
    pub(crate) async fn json<T: DeserializeOwned>(&self, url: &str) -> Result<T, SourceError> {
        self.retried(Method::GET, url, Sent::Nothing, self.options.json_bytes_max, parse).await
    }

    /// A JSON answer to POST of JSON.
    pub(crate) async fn post<T: DeserializeOwned>(&self, url: &str, body: &str) -> Result<T, SourceError> {
        self.retried(Method::POST, url, Sent::Json(body), self.options.json_bytes_max, parse).await
    }

    /// Posts bytes; what is answered does not matter if it is well.
    pub(crate) async fn send(&self, url: &str, body: Vec<u8>) -> Result<(), SourceError> {
        let sent = Sent::Bytes(&body.into());
        self.retried(Method::POST, url, sent, self.options.json_bytes_max, |_, _, _| Ok(())).await
    }

    /// A binary answer to GET.
    pub(crate) async fn raw(&self, url: &str) -> Result<Vec<u8>, SourceError> {
        self.retried(Method::GET, url, Sent::Nothing, self.options.raw_bytes_max, |_, bytes, _| Ok(bytes.to_vec()))
            .await
    }

    /// What `read` makes of the answer. A plain function, not an `AsyncFn`, whose futures no thread pool takes.
    async fn retried<T>(
        &self,
        method: Method,
        url: &str,
        body: Sent<'_>,
        max: usize,
        read: fn(&str, &[u8], u32) -> Result<T, Failed>,
    ) -> Result<T, SourceError> {
        let deadline = Instant::now() + Duration::from_millis(self.options.budget_ms);
        let longest = Duration::from_millis(self.options.backoff_max_ms);
        let mut backoff = Duration::from_millis(self.options.backoff_first_ms);
        let mut tries = 1;
        loop {
            let Failed { error, again, wait } =
                match self.attempt(&method, url, body, max, tries).await.and_then(|bytes| read(url, &bytes, tries)) {
                    Ok(answer) => return Ok(answer),
                    Err(failed) => failed,
                };
            let wait = wait.unwrap_or_else(|| jittered(backoff)).min(longest);
            if !again || tries >= self.options.tries_max || Instant::now() + wait > deadline {
                return Err(*error);
            }
            tokio::time::sleep(wait).await;
            backoff *= 2;
            tries += 1;
        }
    }

    async fn attempt(
        &self,
        method: &Method,
        url: &str,
        body: Sent<'_>,
        max: usize,
        tries: u32,
    ) -> Result<Vec<u8>, Failed> {
        let no_answer = |source: reqwest::Error| Failed {
            again: !(source.is_builder() || source.is_redirect()),
            error: Box::new(SourceError::NoAnswer { url: url.to_owned(), tries, source: source.without_url() }),
            wait: None,
        };
        let mut request = self.client.request(method.clone(), url);
        request = match body {
            Sent::Nothing => request,
            Sent::Json(body) => request.header(header::CONTENT_TYPE, "application/json").body(body.to_owned()),
            Sent::Bytes(body) => request.header(header::CONTENT_TYPE, "application/octet-stream").body(body.clone()),
        };
        let mut answer = request.send().await.map_err(no_answer)?;
        let status = answer.status();
        let wait = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let max = if status.is_success() { max } else { QUOTE_BYTES };
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(no_answer)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > max {
                if !status.is_success() {
                    bytes.truncate(max);
                    break;
                }
                return Err(Failed::for_good(SourceError::TooBig { url: url.to_owned(), max }));
            }
        }
        if status.is_success() {
            return Ok(bytes);
        }
        let body = String::from_utf8_lossy(&bytes).into_owned();
        let error = SourceError::Status { url: url.to_owned(), status: status.as_u16(), body, tries };
        Err(Failed { error: Box::new(error), again: may_pass(status), wait: wait.map(Duration::from_secs) })
    }
}

fn parse<T: DeserializeOwned>(url: &str, bytes: &[u8], tries: u32) -> Result<T, Failed> {
    let url = url.to_owned();
    // A cut answer may come whole the next time.
    serde_json::from_slice(bytes).map_err(|source| Failed {
        again: source.is_eof(),
        error: Box::new(SourceError::Json { url, tries, source }),
        wait: None,
    })
}

fn may_pass(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS)
}

/// Between half and all of a wait, so that units that failed together do not come back together.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() >> 32;
    wait / 2 + (wait / 2).mul_f64(random as f64 / u32::MAX as f64)
}

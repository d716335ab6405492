//! A messenger in a runtime of its own, which can be broken off at any point.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ao_mu::{Messenger, Options, Retry};
use ao_wire::{Jwk, Signer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::Units;

pub(crate) struct Unit {
    runtime: Option<tokio::runtime::Runtime>,
    thread: Option<JoinHandle<()>>,
    address: String,
    _stop: watch::Sender<bool>,
}

pub(crate) fn options(units: &Units) -> Options {
    let retry = Retry { first_ms: 5, max_ms: 50, budget_ms: 60_000 };
    let upload = Some(units.url());
    Options { retry, upload, cron_every_ms: 20, patience_ms: 100, ..Options::new(units.url(), units.url()) }
}

impl Unit {
    pub(crate) fn start(dir: &Path, options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (stop, stopping) = watch::channel(false);
        let (thread, address) = runtime.block_on(async {
            let wallet = std::fs::read(ao_tests::root().join("fixtures/vectors/keys/user.json")).unwrap();
            let signer = Signer::arweave(&Jwk::parse(wallet).unwrap()).unwrap();
            let (unit, thread) = Messenger::open(dir, signer, options, stopping.clone()).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let handler = move |request, caller| Arc::clone(&unit).answer(request, caller);
            tokio::spawn(ao_http::serve(listener, handler, stopping, Duration::from_secs(1)));
            (thread, address)
        });
        Self { runtime: Some(runtime), thread: Some(thread), address, _stop: stop }
    }

    /// Breaks everything off where it is.
    pub(crate) fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_timeout(Duration::from_secs(5));
        self.thread.take().unwrap().join().unwrap();
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    pub(crate) fn json(&self, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
        let (status, body) = self.ask(method, path, body);
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Waits until nothing is in the queue.
    pub(crate) fn idle(&self) {
        until("the queue is empty", || self.json("GET", "/info", b"").1["queued"] == 0);
    }

    pub(crate) fn letters(&self) -> Vec<Value> {
        self.json("GET", "/dead-letters", b"").1["letters"].as_array().unwrap().clone()
    }
}

pub(crate) fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

//! A scheduler and gateway on loopback, honest or with one fault.

// Each test file uses its own part.
#![allow(dead_code)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ao_log::{LogEntry, Module};
use ao_source::{GatewayClient, Http, HttpOptions, SchedulerClient};
use ao_tests::{Guest, LogBuilder};
use ao_wire::{DataItem, Id, ProcessId, b64u};
use serde_json::{Value, json};

/// What a server is asked.
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(found, _)| found == name).map(|(_, value)| &value[..])
    }

    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.param(name).map(|value| value.parse().expect("a number"))
    }
}

/// Status, headers, body.
pub(crate) type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

pub(crate) fn ok(value: &Value) -> Answer {
    (200, vec![], value.to_string().into_bytes())
}

pub(crate) fn refused(status: u16) -> Answer {
    (status, vec![], json!({ "error": "refused" }).to_string().into_bytes())
}

/// A server on a port of its own, for as long as the test runs.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) requests: Arc<AtomicU64>,
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn new(answer: impl Fn(&Request) -> Answer + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let (requests, seen) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (counter, noted) = (Arc::clone(&requests), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                counter.fetch_add(1, Ordering::Relaxed);
                serve(stream.expect("a connection"), &answer, &noted);
            }
        });
        Server { url, requests, seen }
    }
}

fn serve(stream: TcpStream, answer: &impl Fn(&Request) -> Answer, noted: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    let _ = reader.read_line(&mut line);
    let target = line.split(' ').nth(1).unwrap_or("/").to_owned();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).unwrap_or(0) <= 2 {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    noted.lock().expect("no test panics holding it").push(target.clone());
    let request = Request {
        path: path.to_owned(),
        query: query.split('&').filter_map(pair).collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let (status, headers, body) = answer(&request);
    let mut stream = reader.into_inner();
    let length = (!headers.iter().any(|(name, _)| *name == "content-length")).then(|| body.len().to_string());
    let lines = length.map(|length| ("content-length", length)).into_iter().chain(headers);
    let lines: Vec<String> = lines.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{}", lines.concat());
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(b"\r\n"))
        .and_then(|()| stream.write_all(&body));
}

/// An item as a scheduler shows it: data as text, damaged if it was none; anchors as text, as base64url, or not at all.
pub(crate) fn item_json(bytes: &[u8]) -> Value {
    let item = DataItem::parse(bytes).expect("an item");
    let tags: Vec<Value> = item.tags().map(|tag| json!({ "name": tag.name_str(), "value": tag.value_str() })).collect();
    let is_assignment = item.tag("Type").as_deref() == Some("Assignment");
    let anchor = item.anchor().and_then(|anchor| match std::str::from_utf8(anchor) {
        Ok(text) => Some(text.to_owned()),
        Err(_) if is_assignment => Some(b64u::encode(anchor)),
        Err(_) => None,
    });
    json!({
        "id": item.id(),
        "owner": { "address": item.owner_address(), "key": b64u::encode(item.owner()) },
        "data": String::from_utf8_lossy(item.data()),
        "tags": tags,
        "signature": b64u::encode(item.signature()),
        "anchor": anchor,
        "target": item.target().map(|target| Id(*target).to_string()).unwrap_or_default(),
    })
}

/// The nodes of a log as a scheduler shows them.
pub(crate) fn nodes(entries: &[LogEntry]) -> Vec<Value> {
    let node = |entry: &LogEntry| json!({ "message": entry.message.as_deref().map(item_json), "assignment": item_json(&entry.assignment) });
    entries.iter().map(node).collect()
}

pub(crate) fn tag<'a>(node: &'a Value, name: &str) -> &'a str {
    let tags = node["assignment"]["tags"].as_array().expect("tags");
    tags.iter().find(|tag| tag["name"] == name).and_then(|tag| tag["value"].as_str()).expect("the tag is there")
}

/// How a scheduler pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    ByNonce,
    ByTime,
}

/// A page of these nodes, as an honest scheduler cuts it.
pub(crate) fn page(nodes: &[Value], request: &Request, pages: Pages, limit_max: usize) -> Value {
    let limit = request.number("limit").map_or(100, |limit| limit as usize).min(limit_max);
    let after = |node: &Value| match (pages, request.number("from-nonce"), request.number("from")) {
        (Pages::ByNonce, Some(nonce), _) => tag(node, "Nonce").parse::<i64>().expect("a number") > nonce,
        (_, _, Some(time)) => tag(node, "Timestamp").parse::<i64>().expect("a number") > time,
        _ => true,
    };
    let mut found: Vec<&Value> = nodes.iter().filter(|node| after(node)).collect();
    if pages == Pages::ByTime {
        found.sort_by_key(|node| tag(node, "Timestamp").parse::<i64>().expect("a number"));
    }
    let more = found.len() > limit;
    let edges: Vec<Value> =
        found.into_iter().take(limit).map(|node| json!({ "node": node, "cursor": tag(node, "Timestamp") })).collect();
    json!({ "page_info": { "has_next_page": more }, "edges": edges })
}

/// A log and what serves it.
pub(crate) struct World {
    pub(crate) process: ProcessId,
    pub(crate) item: Vec<u8>,
    pub(crate) entries: Vec<LogEntry>,
    pub(crate) module: Module,
}

impl World {
    pub(crate) fn new(messages: usize) -> World {
        let log = LogBuilder::new(&Guest::load("counter", 64), &[]);
        World::of(&(0..messages).fold(log, |log, at| log.message(&format!("message {at}"))))
    }

    pub(crate) fn of(log: &LogBuilder) -> World {
        World {
            process: DataItem::parse(log.process()).expect("an item").id().into(),
            item: log.process().to_vec(),
            entries: log.entries().to_vec(),
            module: log.module().clone(),
        }
    }

    /// An honest scheduler whose pages `twist` may change.
    pub(crate) fn scheduler(
        &self,
        pages: Pages,
        limit_max: usize,
        twist: impl Fn(&Request, Value) -> Value + Send + 'static,
    ) -> Server {
        let (process, nodes, item) = (self.process.to_string(), nodes(&self.entries), item_json(&self.item));
        Server::new(move |request| {
            let segments: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
            match segments[..] {
                ["processes", id] if id == process => {
                    let mut item = item.clone();
                    item["process_id"] = item["id"].take();
                    item.as_object_mut().expect("an object").remove("id");
                    ok(&item)
                }
                [id, "latest"] if id == process => nodes.last().map_or_else(|| refused(400), ok),
                [id] if id == process => ok(&twist(request, page(&nodes, request, pages, limit_max))),
                [id] => {
                    let found = nodes.iter().find(|node| node["message"]["id"] == id || node["assignment"]["id"] == id);
                    found.map_or_else(|| refused(400), ok)
                }
                _ => refused(404),
            }
        })
    }

    /// A gateway that has the module, and the data of `raw`.
    pub(crate) fn gateway(&self, raw: Vec<(Id, Vec<u8>)>, described: Vec<Value>) -> Server {
        let meta = self.module.meta.clone();
        let wasm = self.module.wasm.clone();
        let tags: Vec<Value> = meta.tags.iter().map(|tag| json!({ "name": tag.name, "value": tag.value })).collect();
        // The signature of a module made for tests is its binary: its id is the SHA-256 of that.
        let module = json!({
            "id": meta.id, "signature": b64u::encode(&wasm), "anchor": "", "recipient": "",
            "owner": { "address": meta.owner, "key": "" }, "tags": tags, "block": { "height": 1, "timestamp": 2 },
        });
        Server::new(move |request| {
            if request.path == "/graphql" {
                let known = described.iter().chain([&module]);
                let asked = known.filter(|node| request.body.contains(node["id"].as_str().expect("an id")));
                let edges: Vec<Value> = asked.map(|node| json!({ "cursor": "c", "node": node })).collect();
                return ok(&json!({ "data": { "transactions": { "edges": edges } } }));
            }
            let id = request.path.trim_start_matches("/raw/");
            if id == meta.id.to_string() {
                return (200, vec![], wasm.clone());
            }
            raw.iter()
                .find(|(known, _)| known.to_string() == id)
                .map_or_else(|| refused(404), |(_, b)| (200, vec![], b.clone()))
        })
    }
}

/// A client that loses no time.
pub(crate) fn http() -> Http {
    let options = HttpOptions {
        request_timeout_ms: 5000,
        tries_max: 3,
        budget_ms: 5000,
        backoff_first_ms: 1,
        backoff_max_ms: 20,
        json_bytes_max: 4 << 20,
        ..HttpOptions::default()
    };
    Http::new(options).expect("a client")
}

pub(crate) fn scheduler(server: &Server) -> SchedulerClient {
    SchedulerClient::new(http(), &server.url)
}

pub(crate) fn gateway(server: &Server) -> GatewayClient {
    GatewayClient::new(http(), &server.url, &format!("{}/graphql", server.url))
}

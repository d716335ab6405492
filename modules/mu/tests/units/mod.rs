//! A scheduler and a compute unit on loopback that keep the rules of the real ones, and fail when they are told to.

#![allow(dead_code, unused_imports, reason = "each test uses a part")]

pub(crate) mod items;
mod unit;

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use ao_commit::{Outcome, Receipt, hex, result_hash};
use ao_wire::{DataItem, Id, b64u};
use serde_json::{Value, json};
pub(crate) use unit::{Unit, options, until};

/// What a scheduler does wrong with a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It says 500 and keeps nothing.
    Refuses,
    /// It keeps the item and breaks the connection off.
    KeepsAndDrops,
    /// It keeps the item and says 500.
    KeepsAndFails,
}

#[derive(Default)]
pub(crate) struct State {
    /// Process → its log, in order: id of what was scheduled, and the bytes posted.
    pub(crate) logs: BTreeMap<Id, Vec<(Id, Vec<u8>)>>,
    /// Times that each item was posted.
    pub(crate) posts: BTreeMap<Id, usize>,
    /// Faults of the posts to come.
    pub(crate) faults: VecDeque<Fault>,
    pub(crate) su_down: bool,
    pub(crate) cu_down: bool,
    /// What the compute unit says of a message in a process; of others, that they send nothing.
    pub(crate) results: BTreeMap<(Id, Id), Value>,
    /// Cursor and result of the crons of a process.
    pub(crate) crons: BTreeMap<Id, Vec<(u64, Value)>>,
    pub(crate) uploads: Vec<Vec<u8>>,
    /// What is said of every message of a process.
    pub(crate) always: BTreeMap<Id, Value>,
    pub(crate) receipts: Receipts,
    /// Results and pages of crons that were asked for.
    pub(crate) asked: usize,
}

/// What the compute unit gives with a result.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Receipts {
    #[default]
    None,
    True,
    /// Of another result.
    False,
    /// Of another process.
    Foreign,
}

/// The units, as long as this lives: one address for all.
pub(crate) struct Units {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Units {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(State::default())));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&stream.unwrap(), &shared));
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// One request of a connection.
fn serve(stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let (mut reader, mut line, mut length) = (BufReader::new(stream), String::new(), 0);
    reader.read_line(&mut line).ok()?;
    let mut header = String::new();
    while reader.read_line(&mut header).ok()? > 2 {
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        header.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (status, answer, receipt) = {
        let mut state = state.lock().unwrap();
        let (status, answer) = state.answer(method, &parts, query, body)?;
        let receipt = (parts[0] == "result").then(|| state.receipt(parameter(query, "process-id")?, &answer));
        (status, answer.to_string(), receipt.flatten())
    };
    let receipt = receipt.map(|digits| format!("aorta-receipt: {digits}\r\n")).unwrap_or_default();
    let length = answer.len();
    let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{receipt}content-length: {length}\r\n\r\n");
    (&*stream).write_all((head + &answer).as_bytes()).ok()
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

impl State {
    /// The answer; `None` breaks the connection off.
    fn answer(&mut self, method: &str, parts: &[&str], query: &str, body: Vec<u8>) -> Option<(u16, Value)> {
        let compute = matches!(parts[0], "result" | "results" | "cron");
        self.asked += usize::from(compute);
        if (compute && self.cu_down) || (!compute && self.su_down) {
            return Some((503, json!({ "error": "down" })));
        }
        match (method, parts) {
            ("POST", ["tx"]) => {
                self.uploads.push(body);
                Some((200, json!({})))
            }
            ("POST", [""]) => {
                let (process, id) = match parameter(query, "assign") {
                    Some(message) => (parameter(query, "process-id")?.parse().unwrap(), message.parse().unwrap()),
                    None => place(&body),
                };
                let fault = self.faults.pop_front();
                *self.posts.entry(id).or_default() += 1;
                if fault == Some(Fault::Refuses) {
                    return Some((500, json!({ "error": "no" })));
                }
                if id != process && !self.logs.contains_key(&process) {
                    return Some((404, json!({ "error": format!("process {process} is not scheduled here") })));
                }
                let log = self.logs.entry(process).or_default();
                if !log.iter().any(|(known, _)| *known == id) {
                    log.push((id, body));
                }
                let nonce = log.iter().position(|(known, _)| *known == id).unwrap();
                match fault {
                    Some(Fault::KeepsAndDrops) => None,
                    Some(_) => Some((500, json!({ "error": "after the write" }))),
                    None => Some((200, json!({ "id": id, "timestamp": 1000 + nonce }))),
                }
            }
            ("GET", ["processes", process]) => {
                let log = self.logs.get(&process.parse().unwrap());
                Some(log.map_or((404, json!({ "error": "no process" })), |log| (200, shown(&log[0].1))))
            }
            ("GET", ["result", message]) => {
                let process: Id = parameter(query, "process-id")?.parse().unwrap();
                let message: Id = message.parse().unwrap();
                assert!(self.logs[&process].iter().any(|(id, _)| *id == message), "asked before it is scheduled");
                let result = self.results.get(&(process, message)).or_else(|| self.always.get(&process));
                Some((200, result.cloned().unwrap_or_else(|| json!({ "Messages": [], "Output": "" }))))
            }
            ("GET", ["results", _]) => Some((200, json!({ "pageInfo": {}, "edges": [] }))),
            ("GET", ["cron", process]) => Some((200, self.cron_page(process, query))),
            _ => Some((404, json!({ "error": "no route" }))),
        }
    }

    fn edge(&self, process: &str, at: u64, node: &Value) -> Value {
        json!({ "cursor": at.to_string(), "node": node, "receipt": self.receipt(process, node) })
    }

    /// The receipt of a result in hexadecimal digits.
    fn receipt(&self, process: &str, result: &Value) -> Option<String> {
        let shown = result.to_string();
        let (process, result) = match self.receipts {
            Receipts::None => return None,
            Receipts::True => (process.parse::<Id>().unwrap(), &shown[..]),
            Receipts::False => (process.parse().unwrap(), "another"),
            Receipts::Foreign => (Id([9; 32]), &shown[..]),
        };
        let receipt = Receipt {
            process: process.0,
            nonce: 1,
            tick: 0,
            assignment_id: [1; 32],
            input_hash: [2; 32],
            outcome: Outcome::Ok,
            result_hash: result_hash(result.as_bytes()),
            gas: 3,
            profile: [4; 32],
            prev: [5; 32],
            state_root: None,
        };
        Some(hex(&receipt.encode()))
    }

    /// Two at a time.
    fn cron_page(&self, process: &str, query: &str) -> Value {
        let from: u64 = parameter(query, "from").unwrap().parse().unwrap();
        let crons = self.crons.get(&process.parse().unwrap()).cloned().unwrap_or_default();
        let after = crons.iter().filter(|(at, _)| *at > from);
        let edges: Vec<Value> = after.map(|(at, node)| self.edge(process, *at, node)).collect();
        json!({ "pageInfo": { "hasNextPage": edges.len() > 2 }, "edges": edges[..edges.len().min(2)] })
    }
}

/// The log that an item belongs to, and its id.
fn place(item: &[u8]) -> (Id, Id) {
    let item = DataItem::parse(item).unwrap();
    item.verify().unwrap();
    let is_process = item.tag("Type").unwrap() == "Process";
    (if is_process { item.id() } else { Id(*item.target().unwrap()) }, item.id())
}

fn shown(process: &[u8]) -> Value {
    let item = DataItem::parse(process).unwrap();
    let tags: Vec<Value> = item.tags().map(|tag| json!({ "name": tag.name_str(), "value": tag.value_str() })).collect();
    json!({ "process_id": item.id(), "tags": tags, "owner": { "key": b64u::encode(item.owner()) } })
}

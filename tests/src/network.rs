//! A scheduler, a messenger and a gateway in one: what a compute unit needs around it, truly signed, on 127.0.0.1.
//!
//! Speaks as the legacy units do: `POST /` schedules an item, `/{process}`, `/{message}`, `/processes/{id}`, `/timestamp`
//! read; `POST /graphql` and `/raw/{id}` give modules. Not here: rate limits, routers, paging by time.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ao_log::bundle::{ModuleMeta, ModuleTag};
use ao_log::{LogEntry, Module};
use ao_wire::{DataItem, Id, ModuleId, ProcessId, Signer, b64u};
use serde_json::{Value, json};

use crate::log::{Guest, LogBuilder, item, message_item, process_item, scheduler};

/// The units, as long as this lives.
#[derive(Debug)]
pub struct Network {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    down: AtomicBool,
    lying: AtomicBool,
    stopped: AtomicBool,
    requests: AtomicU64,
}

#[derive(Default)]
struct State {
    modules: BTreeMap<Id, (Vec<u8>, Module)>,
    /// Items in no log.
    items: BTreeMap<Id, Vec<u8>>,
    /// Transactions as a node words them, and their data.
    transactions: BTreeMap<Id, (Vec<u8>, Vec<u8>)>,
    logs: BTreeMap<Id, LogBuilder>,
    /// Process and nonce of a message or assignment.
    places: BTreeMap<Id, (Id, usize)>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("processes", &self.logs.len()).finish_non_exhaustive()
    }
}

impl Network {
    /// Starts the units on a free port.
    ///
    /// # Panics
    /// If there is none.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let (address, shared) = (listener.local_addr().expect("it is bound"), Arc::new(Shared::default()));
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.stopped.load(Ordering::Acquire) {
                    break;
                }
                let served = Arc::clone(&served);
                // A connection ends when its client closes it or sends what is no request.
                std::thread::spawn(move || stream.map(|stream| served.serve(stream)));
            }
        });
        Self { address, shared }
    }

    /// Where the units are.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The scheduler's address.
    pub fn scheduler(&self) -> String {
        scheduler()
    }

    /// Publishes a guest as a signed module.
    pub fn publish(&self, guest: &Guest) -> ModuleId {
        let tags = guest.published_tags();
        let bytes = item(&Signer::ed25519(&[3; 32]), None, &tags, &guest.wasm);
        let parsed = DataItem::parse(&bytes).expect("made here");
        let meta = ModuleMeta {
            id: parsed.id().into(),
            owner: parsed.owner_address(),
            tags: tags.iter().map(|(name, value)| ModuleTag { name: (*name).into(), value: (*value).into() }).collect(),
            wasm_bytes: guest.wasm.len() as u64,
            wasm_blake3: *blake3::hash(&guest.wasm).as_bytes(),
            embedded: true,
            item_prefix: bytes[..bytes.len() - guest.wasm.len()].to_vec(),
        };
        let id = meta.id;
        self.shared.state().modules.insert(id.id(), (bytes.clone(), Module { meta, wasm: guest.wasm.clone() }));
        id
    }

    /// Spawns a process of a published module, another one for each number.
    pub fn spawn(&self, module: ModuleId, number: u32) -> ProcessId {
        self.spawn_tagged(module, &[], number)
    }

    /// As [`Network::spawn`], with these tags.
    pub fn spawn_tagged(&self, module: ModuleId, tags: &[(&str, &str)], number: u32) -> ProcessId {
        let item = process_item(&module.to_string(), tags, number);
        self.shared.state().schedule(item).expect("its module is published").into()
    }

    /// The log of a process so far.
    ///
    /// # Panics
    /// There is no such process.
    pub fn entries(&self, process: ProcessId) -> Vec<LogEntry> {
        self.shared.state().logs[&process.id()].entries().to_vec()
    }

    /// Sends a message; its id.
    pub fn send(&self, process: ProcessId, tags: &[(&str, &str)], data: &str) -> Id {
        self.shared.state().schedule(message_item(process, tags, data)).expect("the process was spawned")
    }

    /// Assigns a transaction to a process, whether or not the gateway has it; its id again.
    pub fn assign(&self, process: ProcessId, id: Id, exclude: &[&str]) -> Id {
        self.shared.state().assign(process, id, exclude).expect("the process was spawned")
    }

    /// Gives the gateway a data item that is in no log; its id.
    pub fn upload(&self, item: Vec<u8>) -> Id {
        let id = DataItem::parse(&item).expect("an item").id();
        self.shared.state().items.insert(id, item);
        id
    }

    /// Gives the gateway a transaction of Arweave, as a node words it, and its data.
    pub fn upload_transaction(&self, id: Id, json: &Value, data: &[u8]) {
        self.shared.state().transactions.insert(id, (json.to_string().into_bytes(), data.to_vec()));
    }

    /// Whether every request is answered with 503 from now on.
    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::Release);
    }

    /// Whether pages show the messages of two nonces swapped from now on.
    pub fn set_lying(&self, lying: bool) {
        self.shared.lying.store(lying, Ordering::Release);
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        // Wakes who waits for connections.
        let _ = TcpStream::connect(self.address);
    }
}

struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    body: Vec<u8>,
}

type Reply = (u16, &'static str, Vec<u8>);

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        while let Some(request) = read(&mut reader)? {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let (status, kind, body) = if self.down.load(Ordering::Acquire) {
                (503, "application/json", json!({ "error": "down" }).to_string().into_bytes())
            } else {
                self.answer(&request)
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\naccess-control-allow-origin: *\r\n\r\n",
                body.len()
            );
            // In one: half an answer waits for an acknowledgement that waits too.
            stream.write_all(&[head.as_bytes(), &body].concat())?;
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> Reply {
        let mut state = self.state();
        let lying = self.lying.load(Ordering::Acquire);
        let parts: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
        let id = |at: usize| parts.get(at).and_then(|part| part.parse::<Id>().ok());
        let found = match (&request.method[..], &parts[..]) {
            ("POST", []) => match state.schedule(request.body.clone()) {
                Some(id) => Some(json!({ "id": id.to_string(), "timestamp": 1_735_689_600_000_u64 })),
                None => return (400, "application/json", b"{\"error\":\"no item that can be scheduled\"}".to_vec()),
            },
            ("POST", ["graphql"]) => Some(state.graphql(&request.body)),
            ("GET", []) => Some(json!({ "address": "", "timestamp": "1735689600000" })),
            ("GET", ["info"]) => Some(json!({ "height": 1_580_000 })),
            ("GET", ["timestamp"]) => Some(json!({ "timestamp": "1735689600000", "block_height": "000001580000" })),
            ("GET", ["raw", _]) => {
                let raw = id(1).and_then(|id| state.raw(id));
                return raw.map_or((404, "text/plain", Vec::new()), |raw| (200, "application/octet-stream", raw));
            }
            ("GET", ["tx", _]) => {
                let found = id(1).and_then(|id| state.transactions.get(&id));
                return found
                    .map_or((404, "text/plain", Vec::new()), |(json, _)| (200, "application/json", json.clone()));
            }
            ("GET", ["processes", _]) => {
                id(1).and_then(|id| state.logs.get(&id)).map(|log| process_json(log.process()))
            }
            ("GET", ["~scheduler@1.0", "schedule"]) => state.schedule_of_node(&request.query),
            ("GET", [of, "slot", "current"]) => of
                .strip_suffix("~process@1.0")
                .and_then(|of| state.logs.get(&of.parse().ok()?))
                .map(|log| json!(log.entries().len() - 1)),
            ("GET", [_, "latest"]) => id(0).and_then(|id| state.logs.get(&id)?.entries().last()).map(node_json),
            ("GET", [_]) => id(0).and_then(|id| state.read(id, &request.query, lying)),
            _ => None,
        };
        match found {
            Some(json) => (200, "application/json", json.to_string().into_bytes()),
            None => (404, "application/json", b"{\"error\":\"Message or Process not found\"}".to_vec()),
        }
    }
}

impl State {
    /// Schedules an item whose signature holds; its id.
    fn schedule(&mut self, bytes: Vec<u8>) -> Option<Id> {
        let item = DataItem::parse(&bytes).ok().filter(|item| item.verify().is_ok())?;
        let id = item.id();
        let process = if item.tag("Type").as_deref() == Some("Process") {
            let module = item.tag("Module")?.parse().ok()?;
            let module = self.modules.get(&module)?.1.clone();
            self.logs.insert(id, LogBuilder::of(bytes, module));
            id
        } else {
            let process = Id(*item.target()?);
            self.logs.get_mut(&process)?.push(bytes);
            process
        };
        self.place(process, id)
    }

    fn assign(&mut self, process: ProcessId, id: Id, exclude: &[&str]) -> Option<Id> {
        self.logs.get_mut(&process.id())?.push_assignment(id, exclude);
        self.place(process.id(), id)
    }

    /// Notes where the last entry of a log is found.
    fn place(&mut self, process: Id, id: Id) -> Option<Id> {
        let entries = self.logs[&process].entries();
        let (nonce, last) = (entries.len() - 1, entries.last()?);
        let assignment = DataItem::parse(&last.assignment).expect("made here").id();
        self.places.extend([(id, (process, nonce)), (assignment, (process, nonce))]);
        Some(id)
    }

    fn read(&self, id: Id, query: &BTreeMap<String, String>, lying: bool) -> Option<Value> {
        // A process is asked for by its own id, and so is its page.
        if let Some(log) = self.logs.get(&id) {
            return Some(page(log.entries(), query, lying));
        }
        let (process, nonce) = self.places.get(&id)?;
        Some(node_json(&self.logs[process].entries()[*nonce]))
    }

    fn schedule_of_node(&self, query: &BTreeMap<String, String>) -> Option<Value> {
        let entries = self.logs.get(&query.get("target")?.parse().ok()?)?.entries();
        let from = query.get("from")?.parse::<usize>().ok()?;
        let json = |bytes: &Vec<u8>| aos2_json(&DataItem::parse(bytes).expect("made here"));
        let edge = |entry: &LogEntry| {
            let node = json!({ "message": entry.message.as_ref().map(json), "assignment": json(&entry.assignment) });
            json!({ "cursor": entry.nonce.0, "node": node })
        };
        let edges: Vec<Value> = entries.iter().skip(from).map(edge).collect();
        Some(json!({ "page_info": { "has_next_page": false }, "edges": edges }))
    }

    fn raw(&self, id: Id) -> Option<Vec<u8>> {
        if let Some((_, module)) = self.modules.get(&id) {
            return Some(module.wasm.clone());
        }
        if let Some((_, data)) = self.transactions.get(&id) {
            return Some(data.clone());
        }
        if let Some(item) = self.items.get(&id) {
            return Some(DataItem::parse(item).expect("parsed when it came").data().to_vec());
        }
        let (process, nonce) = self.places.get(&id)?;
        let message = self.logs[process].entries()[*nonce].message.clone()?;
        Some(DataItem::parse(&message).expect("made here").data().to_vec())
    }

    fn graphql(&self, body: &[u8]) -> Value {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = body.to_string();
        let known = self.modules.iter().map(|(id, (bytes, _))| (id, bytes)).chain(&self.items);
        let nodes = known.filter(|(id, _)| text.contains(&id.to_string())).map(|(_, bytes)| {
            let mut node = item_json(&DataItem::parse(bytes).expect("made here"));
            node["recipient"] = node.as_object_mut().expect("an object").remove("target").unwrap_or_default();
            node["block"] = json!({ "height": 1_500_000, "timestamp": 1_700_000_000 });
            json!({ "cursor": "", "node": node })
        });
        let edges: Vec<Value> = nodes.collect();
        json!({ "data": { "transactions": { "pageInfo": { "hasNextPage": false }, "edges": edges } } })
    }
}

fn page(entries: &[LogEntry], query: &BTreeMap<String, String>, lying: bool) -> Value {
    let number = |name: &str| query.get(name).and_then(|value| value.parse::<usize>().ok());
    let limit = number("limit").unwrap_or(100);
    let from = number("from-nonce").map_or(0, |nonce| nonce + 1).min(entries.len());
    let to = (from + limit).min(entries.len());
    let mut shown: Vec<LogEntry> = entries[from..to].to_vec();
    if let (true, [one, other, ..]) = (lying, &mut shown[..]) {
        std::mem::swap(&mut one.message, &mut other.message);
    }
    let edges: Vec<Value> =
        shown.iter().map(|entry| json!({ "cursor": entry.nonce.to_string(), "node": node_json(entry) })).collect();
    json!({ "page_info": { "has_next_page": to < entries.len() }, "edges": edges })
}

fn node_json(entry: &LogEntry) -> Value {
    let json = |bytes: &Vec<u8>| item_json(&DataItem::parse(bytes).expect("made here"));
    json!({ "message": entry.message.as_ref().map(json), "assignment": json(&entry.assignment) })
}

fn process_json(bytes: &[u8]) -> Value {
    let mut json = item_json(&DataItem::parse(bytes).expect("made here"));
    json["process_id"] = json["id"].take();
    json.as_object_mut().expect("an object").remove("id");
    json["block"] = json!("000001580000");
    json["timestamp"] = json!(1_735_689_600_000_u64);
    json
}

fn item_json(item: &DataItem<'_>) -> Value {
    let tags: Vec<Value> = item.tags().map(|tag| json!({ "name": tag.name_str(), "value": tag.value_str() })).collect();
    json!({
        "id": item.id().to_string(),
        "owner": { "address": Id::sha256(item.owner()).to_string(), "key": b64u::encode(item.owner()) },
        "tags": tags,
        "signature": b64u::encode(item.signature()),
        "anchor": item.anchor().map(b64u::encode),
        "target": item.target().map(|target| Id(*target).to_string()).unwrap_or_default(),
        "data": String::from_utf8_lossy(item.data()),
    })
}

/// An item as a HyperBEAM node shows it (`dev_json_iface:message_to_json_struct`): the owner as address, data only if it is
/// text.
pub fn aos2_json(item: &DataItem<'_>) -> Value {
    let tags: Vec<Value> = item.tags().map(|tag| json!({ "name": tag.name_str(), "value": tag.value_str() })).collect();
    json!({
        "Id": item.id(),
        "Anchor": item.anchor().map_or_else(String::new, |anchor| String::from_utf8_lossy(anchor).into_owned()),
        "Owner": item.owner_address(),
        "From": item.owner_address(),
        "Tags": tags,
        "Target": item.target().map(|target| Id(*target).to_string()).unwrap_or_default(),
        "Data": std::str::from_utf8(item.data()).ok(),
        "Signature": b64u::encode(item.signature()),
        "PublicKey": b64u::encode(item.owner()),
    })
}

/// The next request of a connection; `None` at its end.
fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let (method, (path, query)) = (method.to_owned(), target.split_once('?').unwrap_or((target, "")));
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = query.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let (path, mut length) = (path.to_owned(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path, query, body }))
}

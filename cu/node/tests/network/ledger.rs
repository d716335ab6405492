//! What must be true when all is quiet, whatever happened before: held against the logs, the results, the gateway and `replay`.

use std::collections::{BTreeMap, BTreeSet};

use ao_kernel::ArtifactCache;
use ao_log::Nonce;
use ao_replay::{Options, Source, Verdict};
use ao_wire::{Id, ProcessId};
use serde_json::{Value, json};

use super::Network;
use super::traffic::{Accepted, BALANCE, WALLET, message, post};

/// Entries and results of a page.
const PAGE: usize = 1000;

/// Process and nonce → hash of the receipt.
pub(crate) type Receipts = BTreeMap<(ProcessId, u64), String>;

/// What a process sent: who, its number for it, to whom.
type Sent = (String, String, String);

/// Notes the last receipt of each process, as far as the unit answers.
pub(crate) fn note_receipts(network: &Network, processes: &[ProcessId], receipts: &mut Receipts) {
    for process in processes {
        let head = network.client("cu").try_ask("GET", &format!("/head/{process}"), &[], b"");
        if let Some(head) = head.ok().filter(|head| head.status == 200) {
            let last = &head.json()["last"];
            let hash = last["receipt"]["hash"].as_str().unwrap().to_owned();
            let nonce = last["nonce"].as_u64().unwrap();
            let before = receipts.insert((*process, nonce), hash.clone());
            assert!(before.is_none_or(|before| before == hash), "the receipt of {process} at {nonce} changed");
        }
    }
}

/// Holds that everything accepted, and nothing else, has one place and one effect; the entries of all logs.
pub(crate) fn hold(network: &Network, processes: &[ProcessId], mut accepted: Accepted, receipts: &Receipts) -> usize {
    network.quiet();
    let letters = network.client("mu").get("/dead-letters").ok();
    assert_eq!(letters["count"], 0, "{letters}");
    supply_is_conserved(network, processes, &mut accepted);
    network.quiet();
    let (mut in_logs, mut delivered, mut sent, mut count) = (Accepted::new(), Vec::new(), Vec::new(), 0);
    for process in processes {
        let entries = log(network, *process);
        count += entries.len();
        for (id, tags) in &entries[1..] {
            match tags.get("From-Process") {
                Some(from) => delivered.push((from.clone(), tags["Reference"].clone(), process.to_string())),
                None => in_logs.push((*process, *id)),
            }
        }
        let results = results(network, *process);
        assert_eq!(results.len(), entries.len(), "every entry of {process} has a result without an error");
        sent.extend(results.iter().flat_map(|result| outbox(*process, result)));
    }
    for (_, message) in &in_logs {
        assert_eq!(network.client("gateway").get(&format!("/tx/{message}")).status, 200, "{message} is uploaded");
    }
    assert!(delivered.len() > in_logs.len(), "each message of a client is followed by some of processes");
    same("accepted and in a log", &accepted, &in_logs);
    delivered.extend(notes(network));
    same("sent and delivered", &sent, &delivered);
    for ((process, nonce), hash) in receipts {
        let receipt = network.client("cu").get(&format!("/receipt/{process}/{nonce}")).ok();
        assert_eq!(receipt["receipt"]["hash"], **hash, "the receipt of {process} at {nonce} changed");
    }
    std::thread::scope(|scope| processes.iter().for_each(|process| _ = scope.spawn(|| replayed(network, *process))));
    count
}

/// Each once: both sides have the same, none twice.
fn same<T: Ord + Clone + std::fmt::Debug>(what: &str, one: &[T], other: &[T]) {
    let set = |all: &[T]| all.iter().cloned().collect::<BTreeSet<T>>();
    let (left, right) = (set(one), set(other));
    let missing: Vec<&T> = left.difference(&right).collect();
    let invented: Vec<&T> = right.difference(&left).collect();
    assert!(missing.is_empty() && invented.is_empty(), "{what}: only there {missing:?}, only here {invented:?}");
    assert_eq!((one.len(), other.len()), (left.len(), right.len()), "{what}: some are there twice");
}

fn supply_is_conserved(network: &Network, processes: &[ProcessId], accepted: &mut Accepted) {
    let mu = network.client("mu");
    let mut supply = 0;
    for process in processes {
        let (_, asked) = post(&mu, *process, &message(*process, &[("Action", "Eval")], "return Balance"));
        accepted.push((*process, asked));
        let result = network.client("cu").get(&format!("/result/{asked}?process-id={process}")).ok();
        let balance = result["Output"]["data"].as_str().unwrap_or_default();
        supply += balance.parse::<u64>().unwrap_or_else(|_| panic!("no balance: {result}"));
    }
    assert_eq!(supply, BALANCE * processes.len() as u64, "the supply of tokens");
}

/// The log of a process: id and tags of each message; nonces have no gap.
fn log(network: &Network, process: ProcessId) -> Vec<(Id, BTreeMap<String, String>)> {
    let (mut log, mut more) = (Vec::new(), true);
    while more {
        let from = log.len() as i64 - 1;
        let path = format!("/{process}?process-id={process}&from-nonce={from}&limit={PAGE}");
        let page = network.client("su").get(&path).ok();
        for edge in page["edges"].as_array().unwrap() {
            let nonce = &tags(&edge["node"]["assignment"])["Nonce"];
            assert_eq!(*nonce, log.len().to_string(), "{process} has no gap");
            let message = &edge["node"]["message"];
            log.push((message["id"].as_str().unwrap().parse().unwrap(), tags(message)));
        }
        more = page["page_info"]["has_next_page"] == true;
    }
    log
}

fn tags(holder: &Value) -> BTreeMap<String, String> {
    let list = holder["tags"].as_array().or_else(|| holder["Tags"].as_array());
    let pair =
        |tag: &Value| (tag["name"].as_str().unwrap().to_owned(), tag["value"].as_str().unwrap_or_default().to_owned());
    list.unwrap().iter().map(pair).collect()
}

fn results(network: &Network, process: ProcessId) -> Vec<Value> {
    let (mut results, mut from) = (Vec::new(), String::new());
    loop {
        let page = network.client("cu").get(&format!("/results/{process}?sort=ASC&limit={PAGE}{from}")).ok();
        let edges = page["edges"].as_array().unwrap();
        results.extend(edges.iter().map(|edge| edge["node"].clone()));
        if page["pageInfo"]["hasNextPage"] != true {
            return results;
        }
        from = format!("&from={}", edges.last().unwrap()["cursor"].as_str().unwrap().replace('=', "%3D"));
    }
}

fn outbox(process: ProcessId, result: &Value) -> Vec<Sent> {
    let messages = result["Messages"].as_array().unwrap().iter();
    let sent = |sent: &Value| {
        let target = sent["Target"].as_str().unwrap().to_owned();
        (process.to_string(), tags(sent)["Reference"].clone(), target)
    };
    messages.map(sent).collect()
}

/// What the gateway has for the wallet.
fn notes(network: &Network) -> Vec<Sent> {
    const QUERY: &str = "query($to: [String!], $after: String) { transactions(recipients: $to, first: 100, after: $after) { \
        pageInfo { hasNextPage } edges { cursor node { id tags { name value } } } } }";
    let (mut notes, mut after) = (Vec::new(), Value::Null);
    loop {
        let question = json!({ "query": QUERY, "variables": { "to": [WALLET.to_string()], "after": after } });
        let page = network.client("gateway").post("/graphql", &question.to_string()).ok();
        let page = &page["data"]["transactions"];
        for edge in page["edges"].as_array().unwrap() {
            let tags = tags(&edge["node"]);
            notes.push((tags["From-Process"].clone(), tags["Reference"].clone(), WALLET.to_string()));
            after = edge["cursor"].clone();
        }
        if page["pageInfo"]["hasNextPage"] != true {
            return notes;
        }
    }
}

/// The bundle of a process verifies, and evaluated anew it ends in the receipt that the unit serves.
fn replayed(network: &Network, process: ProcessId) {
    let bundle = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(bundle.path(), network.client("cu").get(&format!("/bundle/{process}")).body).unwrap();
    let (modules, cache) = (vec![ao_tests::module_path("aos2_0_6")], Some(ArtifactCache::new(Network::artifacts())));
    let options = Options { modules, cache, ..Options::default() };
    let (report, verdict) = ao_replay::verify(Source::open(bundle.path()).unwrap(), &options, &mut |_| Ok(())).unwrap();
    let head = network.client("cu").get(&format!("/head/{process}")).ok();
    let nonce = head["entries"].as_u64().unwrap() - 1;
    assert_eq!(verdict, Verdict::Matched { first: Nonce(0), last: Nonce(nonce) });
    let (last, hash) = report.last.unwrap();
    assert_eq!((last, &*ao_tests::hex(&hash)), (Nonce(nonce), head["last"]["receipt"]["hash"].as_str().unwrap()));
}

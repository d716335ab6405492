//! The network as a whole: `cargo build --release --workspace --bin aorta --bin network && target/release/network`, a table on
//! standard output.
//!
//! Items are signed with Ed25519 before the clock starts, since clients sign on their own machines; all else is in the figures:
//! connections, signatures checked, assignments signed, everything on disk before it is answered.
//!
//! Not here: the compute unit alone (`compare`).

#![allow(clippy::print_stdout, reason = "the table is what it is for")]

mod hops;
mod units;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ao_benches::client::Client;
use ao_tests::item;
use ao_wire::{DataItem, Id, ProcessId, Signer};
use units::{Up, scheduler};

pub(crate) const AO: [(&str, &str); 2] = [("Data-Protocol", "ao"), ("Variant", "ao.TN.1")];
/// Connections that post at once, each to a process of its own.
const CONNECTIONS: u64 = 16;

fn main() {
    // A first argument bounds what is done, as for a smoke test: messages a connection, or hops.
    let count: u64 = std::env::args().nth(1).map_or(1000, |count| count.parse().expect("a number of messages"));
    println!("| what | figure |\n|---|---|");
    for (key, name) in [(units::ed25519(), "Ed25519"), (units::rsa(), "RSA-4096")] {
        accepted(&key, name, count);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    for what in ["wallet made, module compiled later", "again"] {
        let begun = Instant::now();
        let up = Up::start(&folder.path().join("up"));
        println!("| `up` to ready, {what} | {:.0} ms |", ms(begun.elapsed()));
        if what == "again" {
            hops::measure(&up, count);
        }
        up.stop();
    }
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub(crate) fn user() -> Signer {
    Signer::ed25519(&[2; 32])
}

pub(crate) fn id(item: &[u8]) -> Id {
    DataItem::parse(item).expect("made here").id()
}

/// A process of its own for each number; more tags of it.
pub(crate) fn process(scheduler: &str, module: &str, number: u64, more: &[(&str, &str)]) -> Vec<u8> {
    let number = number.to_string();
    let tags = [("Type", "Process"), ("Module", module), ("Scheduler", scheduler), ("Number", &number)];
    item(&user(), None, &[&AO[..], &tags, more].concat(), b"")
}

pub(crate) fn message(process: ProcessId, tags: &[(&str, &str)], data: &str) -> Vec<u8> {
    item(&user(), Some(process.id()), &[&AO[..], &[("Type", "Message")], tags].concat(), data.as_bytes())
}

/// How many messages a scheduler with this key accepts a second, each durable when it is answered.
fn accepted(key: &str, name: &str, count: u64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (gateway, su) = scheduler(folder.path(), key);
    let address = su.field("/", "address");
    let items = |number| {
        let spawned = process(&address, &Id([5; 32]).to_string(), number, &[]);
        let to = id(&spawned).into();
        let messages =
            (0..count).map(|n| message(to, &[("Number", &n.to_string())], "a message of a hundred bytes or so"));
        std::iter::once(spawned).chain(messages).collect::<Vec<_>>()
    };
    let items: Vec<Vec<Vec<u8>>> = (0..CONNECTIONS).map(items).collect();
    let (done, begun) = (AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        for items in &items {
            let (su, done) = (&su, &done);
            scope.spawn(move || {
                let mut client = Client::connect(su.address());
                for item in items {
                    client.post("/", item);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let rate = done.into_inner() as f64 / begun.elapsed().as_secs_f64();
    println!(
        "| accepted by a scheduler with an {name} key, {CONNECTIONS} connections, each synced | {rate:.0} per second |"
    );
    su.stop();
    gateway.stop();
}

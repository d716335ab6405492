//! The unit as a whole beside the reference loader, in one run: `cargo run --release --bin compare`, a table on standard output.
//!
//! A token ledger on aos 2.0.6, nine transfers to one query of a balance, the same messages in every run; truly signed, with Ed25519, so
//! that checking signatures takes little. The scheduler and gateway of the tests serve them from this process, whose time is not counted.
//!
//! Not here: single steps (`benches/step.rs`).
//! Invariant: CPU time is the unit's own, of all its threads, fetching, verifying, evaluating and storing included.

#![allow(clippy::print_stdout, reason = "the table is what it is for")]

mod ledger;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ao_benches::client::Client;
use ao_benches::peer::Reference;
use ao_log::LogEntry;
use ao_tests::{Guest, Network};
use ao_wire::{DataItem, Id, ProcessId};

/// How long repeated questions are asked.
const REPEAT: Duration = Duration::from_secs(4);
/// Connections that ask at once.
const CONNECTIONS: usize = 8;
const DRY_RUNS: u32 = 1000;

/// A unit as a child.
struct Unit {
    child: Child,
    address: String,
}

impl Unit {
    fn start(network: &Network, folder: &Path) -> Self {
        let aorta = std::env::current_exe().expect("this runs").with_file_name("aorta");
        let mut command = Command::new(&aorta);
        command.args(["cu", "--port", "0", "--su", &network.url(), "--gateway", &network.url(), "--dir"]).arg(folder);
        command.stdout(Stdio::piped()).env("AORTA_LOG", "warn");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}: build aorta too", aorta.display()));
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("the unit says where it serves");
        let address = line.trim().strip_prefix("http://").expect("an address").to_owned();
        Self { child, address }
    }

    fn client(&self) -> Client {
        Client::connect(&self.address)
    }

    /// CPU time of all threads so far, in milliseconds.
    fn cpu_ms(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the unit lives");
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        let ticks: f64 = [11, 12].iter().map(|at| fields[*at].parse::<f64>().expect("a number")).sum();
        // Linux counts in hundredths of a second here, whatever the machine.
        ticks * 10.0
    }

    /// Memory in use, in MiB.
    fn resident_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the unit lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says so");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
    }

    fn stop(mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn main() {
    let (network, folder) = (Network::start(), tempfile::tempdir().expect("a temporary folder"));
    let module = network.publish(&Guest::real("aos2_0_6"));
    let spawn = |number: u32, messages: u32| {
        let process = network.spawn(module, number);
        let ids = ledger::messages(messages).map(|(tags, data)| {
            let tags: Vec<(&str, &str)> = tags.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            network.send(process, &tags, &data)
        });
        (process, ids.last().expect("at least one message"))
    };
    println!("| what | figure |\n|---|---|");
    let unit = Unit::start(&network, folder.path());
    // Compiles the module, once for all.
    result(&mut unit.client(), spawn(0, 1));
    for (name, number, count) in [("p100", 1, 100), ("p1k", 2, 1000)] {
        let asked = spawn(number, count);
        let (cpu, begun) = (unit.cpu_ms(), Instant::now());
        result(&mut unit.client(), asked);
        let (wall, cpu) = (begun.elapsed().as_secs_f64() * 1e3, unit.cpu_ms() - cpu);
        let cpu = cpu / f64::from(count + 1);
        let signatures = signatures(&network.entries(asked.0));
        println!("| cold {name} | {wall:.0} ms, CPU {cpu:.2} ms per message, of which signatures {signatures:.2} ms |");
    }
    // Eight alone: the others would count for what is resident.
    unit.stop();
    let unit = Unit::start(&network, folder.path());
    let eight: Vec<_> = (10..18).map(|number| spawn(number, 1000)).collect();
    many(&unit, &eight);
    let (process, last) = spawn(3, 50);
    result(&mut unit.client(), (process, last));
    dry_runs(&unit, process);
    repeated(&unit, (process, last));
    unit.stop();
    // The next message is there before the unit is: what counts is the unit's own time to its result.
    let next = network.send(process, &[("Action", "Eval")], "return Transfers");
    let begun = Instant::now();
    let unit = Unit::start(&network, folder.path());
    let ready = begun.elapsed();
    result(&mut unit.client(), (process, next));
    let total = begun.elapsed();
    println!("| restart to the next result | {:.0} ms, of which {:.0} ms until it serves |", ms(total), ms(ready));
    let begun = Instant::now();
    dry_run(&mut unit.client(), eight[0].0);
    println!("| a process of 1,000 messages brought back, and a dry-run on it | {:.0} ms |", ms(begun.elapsed()));
    unit.stop();
    peers();
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn result(client: &mut Client, (process, message): (ProcessId, Id)) {
    let body = client.get(&format!("/result/{message}?process-id={process}"));
    assert!(!body.contains("\"Error\""), "{body}");
}

/// What checking the signatures of a log takes, in milliseconds for each entry.
fn signatures(entries: &[LogEntry]) -> f64 {
    let begun = Instant::now();
    for bytes in entries.iter().flat_map(|entry| entry.message.iter().chain([&entry.assignment])) {
        let item = DataItem::parse(bytes).expect("made here");
        item.verify().expect("signed here");
    }
    ms(begun.elapsed()) / entries.len() as f64
}

/// Several processes at once.
fn many(unit: &Unit, all: &[(ProcessId, Id)]) {
    let (cpu, begun) = (unit.cpu_ms(), Instant::now());
    std::thread::scope(|scope| {
        for asked in all {
            scope.spawn(|| result(&mut unit.client(), *asked));
        }
    });
    let (wall, cpu) = (begun.elapsed(), unit.cpu_ms() - cpu);
    let per_message = cpu / (all.len() * 1001) as f64;
    println!(
        "| cold m8 (8 × 1,000) | {:.0} ms, CPU {per_message:.2} ms per message, {} MiB resident |",
        ms(wall),
        unit.resident_mib()
    );
}

fn dry_run(client: &mut Client, process: ProcessId) {
    let body = r#"{"Owner":"o","Id":"1","Data":"","Tags":[{"name":"Action","value":"Balance"}]}"#;
    client.post(&format!("/dry-run?process-id={process}"), body.as_bytes());
}

fn dry_runs(unit: &Unit, process: ProcessId) {
    let mut client = unit.client();
    dry_run(&mut client, process);
    let (cpu, begun) = (unit.cpu_ms(), Instant::now());
    for _ in 0..DRY_RUNS {
        dry_run(&mut client, process);
    }
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), unit.cpu_ms() - cpu);
    let (runs, n) = (f64::from(DRY_RUNS) / wall, f64::from(DRY_RUNS));
    println!("| dry-runs, one caller | {runs:.0} per second, CPU {:.2} ms each |", cpu / n);
}

/// The same result again and again.
fn repeated(unit: &Unit, (process, message): (ProcessId, Id)) {
    let (count, path) = (AtomicU64::new(0), format!("/result/{message}?process-id={process}"));
    let (cpu, begun) = (unit.cpu_ms(), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut client = unit.client();
                while begun.elapsed() < REPEAT {
                    client.get(&path);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let (count, seconds) = (count.into_inner() as f64, begun.elapsed().as_secs_f64());
    let cpu = (unit.cpu_ms() - cpu) * 1e3 / count;
    println!(
        "| `/result` repeated, {CONNECTIONS} connections | {:.0} per second, CPU {cpu:.0} µs each |",
        count / seconds
    );
}

/// The reference loader on the same messages, without a unit around it.
fn peers() {
    for (name, copies, count) in [("in place", false, 1000), ("with copies, as the reference unit", true, 60)] {
        let texts = ledger::texts(count);
        let mut peer = Reference::start(copies);
        // The first ones warm it up.
        let (warm, timed) = texts.split_at(texts.len() / 5);
        peer.run(warm);
        let time = peer.run(timed);
        println!("| reference loader, {name} | {:.2} ms per message |", ms(time) / timed.len() as f64);
    }
}

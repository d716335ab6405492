//! Many processes at once, and one unit for a long time. Small here; `AORTA_TEST_PROCESSES` (each of 100 messages) and
//! `AORTA_TEST_SOAK_SECONDS` make them as large as there is time for.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking; figures are for reading")]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ao_tests::{Guest, Network};
use ao_wire::{Id, ProcessId};
use support::Unit;

/// Callers that ask at once.
const CALLERS: usize = 8;

fn from_environment(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |number| number.parse().unwrap())
}

fn output(unit: &Unit, process: ProcessId, message: Id) -> String {
    let result = unit.get(&format!("/result/{message}?process-id={process}")).ok();
    result["Output"].as_str().unwrap().to_owned()
}

/// Memory that the unit has, in MiB.
fn resident_mib(unit: &Unit) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", unit.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
fn many_processes_are_served_while_new_messages_arrive() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let module = network.publish(&Guest::load("counter", 64));
    let (processes, messages) = match from_environment("AORTA_TEST_PROCESSES", 0) {
        0 => (40, 10),
        processes => (processes, 100),
    };
    // A budget far below what all of them need.
    let unit = Unit::start(&network, folder.path(), &["--memory-mib-max", "8"]);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= processes {
                        break;
                    }
                    let process = network.spawn(module, number as u32);
                    // Half of them, then the rest while the others' are evaluated.
                    for sent in [messages / 2, messages] {
                        let from = if sent == messages { messages / 2 } else { 0 };
                        let ids: Vec<Id> =
                            (from..sent).map(|n| network.send(process, &[], &format!("{number} {n}"))).collect();
                        assert_eq!(output(&unit, process, ids[ids.len() - 1]), (sent + 1).to_string());
                    }
                }
            });
        }
    });
    assert_eq!(unit.get("/ready").ok()["processes"], processes);
    let expected = format!("\naorta_messages_evaluated_total {}\n", processes * (messages + 1));
    let metrics = unit.get("/metrics");
    assert!(metrics.text().contains(&expected), "{}", metrics.text());
    // Shown by --nocapture, for runs that are larger than this.
    eprintln!("{processes} processes of {messages} messages: {} MiB resident", resident_mib(&unit));
}

#[test]
fn a_unit_that_runs_long_takes_no_more_memory_than_at_first() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let process = network.spawn(network.publish(&Guest::load("counter", 64)), 1);
    let (rounds, pace) = match from_environment("AORTA_TEST_SOAK_SECONDS", 0) {
        0 => (60, Duration::ZERO),
        seconds => (20 * seconds, Duration::from_millis(50)),
    };
    let unit = Unit::start(&network, folder.path(), &["--checkpoint-every", "50", "--checkpoints-kept", "2"]);
    let (mut at_first, mut sent) = (0, 1);
    let begun = Instant::now();
    for round in 0..rounds {
        std::thread::sleep((pace * round as u32).saturating_sub(begun.elapsed()));
        let ids: Vec<Id> = (0..5).map(|n| network.send(process, &[], &format!("{round} {n}"))).collect();
        sent += ids.len();
        assert_eq!(output(&unit, process, ids[4]), sent.to_string());
        let dry_run = unit.post(&format!("/dry-run?process-id={process}"), r#"{"Owner":"o"}"#).ok();
        assert_eq!(dry_run["Output"], (sent + 1).to_string());
        unit.get(&format!("/state/{process}"));
        if round == rounds / 3 {
            at_first = resident_mib(&unit);
        }
    }
    let at_last = resident_mib(&unit);
    eprintln!("{rounds} rounds: {at_first} MiB after a third of them, {at_last} MiB at the end");
    assert!(at_last <= at_first + at_first / 4 + 16, "{at_first} MiB became {at_last} MiB");
}

/// Bytes of saved memory on disk.
fn pages_bytes(folder: &Path) -> u64 {
    let packs = std::fs::read_dir(folder.join("pages")).unwrap();
    // One that is removed meanwhile counts for nothing.
    packs.map(|pack| pack.unwrap().metadata().map_or(0, |pack| pack.len())).sum()
}

#[test]
fn space_of_saved_states_comes_back_while_the_unit_serves() {
    let network = Network::start();
    let process = network.spawn(network.publish(&Guest::real("aos2_0_6")), 1);
    let run = |more: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let options = ["--checkpoint-every", "4", "--checkpoints-kept", "1", "--compact-every-s"];
        (Unit::start(&network, folder.path(), &[&options, more].concat()), folder)
    };
    let (never, always) = (run(&["0"]), run(&["1"]));
    let mut results = Vec::new();
    for round in 0..6 {
        let program = format!("Kept = Kept or {{}}; Kept[{round}] = string.rep('{round}', 100000); return #Kept");
        let sent: [_; 8] = std::array::from_fn(|_| network.send(process, &[("Action", "Eval")], &program));
        let (path, asked) = (format!("/result/{}?process-id={process}", sent[7]), Instant::now());
        let result = always.0.get(&path).ok();
        assert_eq!(result, never.0.get(&path).ok());
        results.push((path, result));
        // Slower than it compacts, so that it does so between saved states.
        std::thread::sleep(Duration::from_millis(1100).saturating_sub(asked.elapsed()));
    }
    let small = || pages_bytes(always.1.path()) * 2 < pages_bytes(never.1.path());
    let until = Instant::now() + Duration::from_secs(30);
    while !small() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(small(), "{} bytes, {} without", pages_bytes(always.1.path()), pages_bytes(never.1.path()));
    // What was kept is whole: the last state is resumed from, and evaluation goes on as where nothing was removed.
    let (unit, folder) = always;
    assert_eq!(unit.stop(), Some(0));
    let unit = Unit::start(&network, folder.path(), &[]);
    let next = network.send(process, &[("Action", "Eval")], "return #Kept[3]");
    results.push((
        format!("/result/{next}?process-id={process}"),
        never.0.get(&format!("/result/{next}?process-id={process}")).ok(),
    ));
    for (path, result) in results {
        assert_eq!(unit.get(&path).ok(), result, "{path}");
    }
}

//! Trouble of every unit while messages flow: errors that say what is wrong, recovery without a hand, nothing accepted lost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod network;
mod support;

use std::time::{Duration, Instant};

use ao_wire::Id;
use network::ledger::{Receipts, hold, note_receipts};
use network::traffic::{Clients, found, message, post};
use network::{Network, UNITS, id};
use support::Answer;

/// How long trouble lasts.
const TROUBLE: Duration = Duration::from_millis(1500);

/// Asks until an answer is as expected: others share the unit, and a request may slip through before trouble begins.
fn until(what: &str, mut ask: impl FnMut() -> std::io::Result<Answer>, is: impl Fn(&Answer) -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let told = ask().map(|answer| (is(&answer), format!("{}: {}", answer.status, answer.text())));
        if told.as_ref().is_ok_and(|(is, _)| *is) {
            return;
        }
        assert!(Instant::now() < end, "{what}: {told:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn slow_ill_and_absent_units_lose_nothing_and_recover_without_a_hand() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::start(folder.path(), true);
    let (processes, mut accepted) = found(&network, 3);
    let mut receipts = Receipts::new();
    accepted.extend(Clients::work(&network, &processes, 1, |clients| {
        clients.go_on(&network, 3);
        note_receipts(&network, &processes, &mut receipts);

        network.wire("su").delay(300);
        clients.go_on(&network, 3);
        network.wire("su").fail();
        // The messenger writes down what it cannot hand on, and says so to nobody but its queue.
        std::thread::sleep(TROUBLE);
        let assign = format!("/?process-id={}&assign={}", processes[0], Id([5; 32]));
        let told = network.client("mu").post(&assign, "");
        assert!(told.status == 502 && told.text().contains("500 Internal Server Error: it is ill"), "{}", told.text());
        network.wire("su").heal();
        clients.go_on(&network, 3);

        network.kill("cu");
        clients.go_on(&network, 3);
        network.begin("cu");

        network.wire("gateway").fail();
        // Before what is for wallets fills the queue and the clients wait for it.
        clients.go_on(&network, 3);
        let told = network.client("su").post(&assign, "");
        assert!(told.status == 502 && told.text().contains("500"), "{}: {}", told.status, told.text());
        network.wire("gateway").heal();
        clients.go_on(&network, 3);
    }));
    hold(&network, &processes, accepted, &receipts);
}

#[test]
fn a_full_disk_of_any_unit_is_told_and_all_goes_on_when_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::start(folder.path(), false);
    let (processes, mut accepted) = found(&network, 3);
    let mut receipts = Receipts::new();
    let mut probes = Vec::new();
    accepted.extend(Clients::work(&network, &processes, 2, |clients| {
        for unit in UNITS {
            clients.go_on(&network, 3);
            note_receipts(&network, &processes, &mut receipts);
            network.fill_disk(unit);
            let item = message(processes[0], &[("Action", "Probe"), ("Number", unit)], " ");
            let result = format!("/result/{}?process-id={}", id(&item), processes[0]);
            if unit == "cu" {
                // What is evaluated cannot be stored: whoever asks for it is told.
                post(&network.client("mu"), processes[0], &item);
            }
            let (method, path) = match unit {
                "cu" => ("GET", &result[..]),
                "gateway" => ("POST", "/tx"),
                _ => ("POST", "/"),
            };
            let full = |answer: &Answer| {
                let told = |what: &str| answer.text().contains(what);
                answer.status >= 500 && (told("File too large") || told("as on a full disk"))
            };
            until(unit, || network.client(unit).try_ask(method, path, &[], &item), full);
            network.free_disk(unit);
            clients.go_on(&network, 3);
            // Refused or not, it has one place when it is accepted.
            probes.push(post(&network.client("mu"), processes[0], &item));
        }
    }));
    accepted.extend(probes);
    hold(&network, &processes, accepted, &receipts);
}

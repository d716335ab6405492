//! Every unit of a network is killed again and again while messages flow: what was accepted has one place, what was sent one
//! effect, and no receipt changes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod network;
mod support;

use std::time::Duration;

use network::ledger::{Receipts, hold, note_receipts};
use network::traffic::{Clients, found};
use network::{Network, Random};

/// Kills a unit eight times, or `AORTA_KILLS` times; `AORTA_SEED` chooses the moments.
#[test]
fn whatever_unit_is_killed_under_load_each_message_has_one_place_and_each_delivery_one_effect() {
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (kills, seed) = (number("AORTA_KILLS", 8), number("AORTA_SEED", 1));
    let folder = tempfile::tempdir().unwrap();
    let network = Network::start(folder.path(), false);
    let (processes, mut accepted) = found(&network, 4);
    let (mut random, mut receipts) = (Random(seed), Receipts::new());
    accepted.extend(Clients::work(&network, &processes, seed, |clients| {
        for kill in 0..kills as usize {
            clients.go_on(&network, 3);
            std::thread::sleep(Duration::from_millis(random.below(500)));
            note_receipts(&network, &processes, &mut receipts);
            let unit = ["su", "cu", "mu", "gateway"][kill % 4];
            network.kill(unit);
            std::thread::sleep(Duration::from_millis(random.below(200)));
            network.begin(unit);
        }
    }));
    let entries = hold(&network, &processes, accepted, &receipts);
    if kills > 8 {
        #[allow(clippy::print_stderr, reason = "figures of a long run that was asked for")]
        {
            eprintln!("seed {seed}, {kills} kills, {entries} entries, {} receipts noted before a kill", receipts.len());
        }
    }
}

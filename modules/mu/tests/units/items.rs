//! Items of a user, and what processes send.

use ao_tests::item;
use ao_wire::{DataItem, Id, Signer};
use serde_json::{Value, json};

use super::{Unit, Units};

pub(crate) const AO: [(&str, &str); 2] = [("Data-Protocol", "ao"), ("Variant", "ao.TN.1")];
pub(crate) const MODULE: &str = "6oYAxVAnH8yKsZKpMgHSbRv7uVWey68PAqYuSXeZBbg";

pub(crate) fn user() -> Signer {
    Signer::ed25519(&[2; 32])
}

pub(crate) fn id(item: &[u8]) -> Id {
    DataItem::parse(item).unwrap().id()
}

/// A process of its own for each number.
pub(crate) fn process(number: u32) -> Vec<u8> {
    let number = number.to_string();
    let tags = [("Type", "Process"), ("Module", MODULE), ("Scheduler", MODULE), ("N", &number)];
    item(&user(), None, &[&AO[..], &tags].concat(), b"")
}

pub(crate) fn message(process: Id, data: &str) -> Vec<u8> {
    item(&user(), Some(process), &[&AO[..], &[("Type", "Message")]].concat(), data.as_bytes())
}

pub(crate) fn spawn(unit: &Unit, number: u32) -> Id {
    let spawned = process(number);
    assert_eq!(unit.json("POST", "/", &spawned).0, 202);
    id(&spawned)
}

/// What a process sends to another.
pub(crate) fn sent(target: Id, data: &str) -> Value {
    json!({ "Target": target, "Anchor": "0".repeat(32), "Data": data, "Tags": [{ "name": "Variant", "value": "ao.TN.1" }] })
}

/// The data of what is in a log, the process itself left out.
pub(crate) fn data(units: &Units, process: Id) -> Vec<String> {
    let state = units.state();
    let items = state.logs[&process].iter().skip(1);
    items.map(|(_, item)| String::from_utf8(DataItem::parse(item).unwrap().data().to_vec()).unwrap()).collect()
}

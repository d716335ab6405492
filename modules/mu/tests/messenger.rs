//! A messenger between a scheduler and a compute unit that fail: what was accepted arrives once, or is told of.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod units;

use ao_wire::{DataItem, Id};
use serde_json::{Value, json};
use units::items::{MODULE, data, id, message, sent, spawn};
use units::{Fault, Unit, Units, options};

fn tags(item: &[u8]) -> Vec<(String, String)> {
    let item = DataItem::parse(item).unwrap();
    item.tags().map(|tag| (tag.name_str().into_owned(), tag.value_str().into_owned())).collect()
}

fn pairs(tags: &[(&str, &str)]) -> Vec<(String, String)> {
    tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn what_a_process_sends_arrives_signed_with_the_tags_of_its_kind() {
    let (units, folder) = (Units::start(), tempfile::tempdir().unwrap());
    let unit = Unit::start(folder.path(), options(&units));
    let (a, b) = (spawn(&unit, 1), spawn(&unit, 2));
    let posted = message(a, "go");
    let wallet = Id([7; 32]);
    let forged = json!([
        { "name": "From-Process", "value": "forged" }, { "name": "Pushed-For", "value": "forged" },
        { "name": "Type", "value": "Process" }, { "name": "Count", "value": 7 },
    ]);
    units.state().results.insert((a, id(&posted)), json!({
        "Messages": [{ "Target": b, "Anchor": "a".repeat(32), "Data": "hello", "Tags": forged }, sent(wallet, "coins")],
        "Spawns": [{ "Data": "code", "Tags": [{ "name": "Module", "value": MODULE }, { "name": "Reference", "value": "5" }] }],
        "Assignments": [{ "Processes": [b], "Message": id(&posted) }],
    }));
    let (status, answer) = unit.json("POST", "/", &posted);
    assert_eq!((status, answer), (202, json!({ "message": "Processing DataItem", "id": id(&posted) })));
    unit.idle();
    assert_eq!(unit.letters(), Vec::<Value>::new());
    let (initial, from) = (id(&posted).to_string(), a.to_string());
    let state = units.state();
    let hello = state.logs[&b].iter().find(|(_, item)| item.ends_with(b"hello")).unwrap();
    assert_eq!(DataItem::parse(&hello.1).unwrap().anchor(), Some(&[b'a'; 32]));
    let ours = [("Count", "7"), ("Data-Protocol", "ao"), ("Type", "Message"), ("From-Process", &from)];
    assert_eq!(tags(&hello.1), pairs(&[&ours[..], &[("From-Module", MODULE), ("Pushed-For", &initial)]].concat()));
    assert!(state.logs[&b].iter().any(|(known, item)| *known == id(&posted) && item.is_empty()), "assigned");
    assert_eq!(DataItem::parse(&state.uploads[0]).unwrap().target(), Some(&wallet.0));
    let (child, spawned) = state.logs.iter().find(|(process, _)| ![a, b].contains(process)).unwrap();
    let asked = [("Module", MODULE), ("Reference", "5")];
    let ours = [("Variant", "ao.TN.1"), ("Data-Protocol", "ao"), ("Type", "Process"), ("From-Process", &from)];
    let place = [("Pushed-For", &initial[..]), ("Scheduler", MODULE)];
    assert_eq!(tags(&spawned[0].1), pairs(&[&asked[..], &ours, &place].concat()));
    let child = child.to_string();
    let told = [("Data-Protocol", "ao"), ("Type", "Message"), ("Process", &child), ("Action", "Spawned")];
    let told = [&asked[..], &told, &[("Variant", "ao.TN.1")]].concat();
    assert_eq!(tags(&state.logs[&a].last().unwrap().1), pairs(&told), "the parent is told");
    drop(state);
    unit.kill();
}

#[test]
fn whatever_a_scheduler_does_with_a_post_the_log_has_every_message_once_and_in_order() {
    let (units, folder) = (Units::start(), tempfile::tempdir().unwrap());
    let unit = Unit::start(folder.path(), options(&units));
    let (a, b) = (spawn(&unit, 1), spawn(&unit, 2));
    let posted = message(a, "go");
    let names: Vec<String> = (0..20).map(|n| format!("m{n}")).collect();
    let messages: Vec<Value> = names.iter().map(|name| sent(b, name)).collect();
    {
        let mut state = units.state();
        state.results.insert((a, id(&posted)), json!({ "Messages": messages }));
        let all = [Fault::KeepsAndDrops, Fault::Refuses, Fault::KeepsAndFails];
        state.faults = all.into_iter().cycle().take(31).collect();
    }
    assert_eq!(unit.json("POST", "/", &posted).0, 202);
    unit.idle();
    assert_eq!(data(&units, b), names);
    assert_eq!(data(&units, a), ["go"]);
    assert!(units.state().posts.values().any(|times| *times > 1), "no fault was met");
    // The client did not hear the answer and posts again.
    assert_eq!(unit.json("POST", "/", &posted).0, 202);
    unit.idle();
    assert_eq!(data(&units, b), names);
    assert_eq!(unit.json("POST", &format!("/push/{}/3?process-id={a}", id(&posted)), b"").0, 202);
    unit.idle();
    assert_eq!(data(&units, b), names, "pushed again, and there already");
    unit.kill();
}

#[test]
fn breaking_off_in_mid_queue_loses_and_doubles_nothing() {
    let (units, folder) = (Units::start(), tempfile::tempdir().unwrap());
    let mut unit = Unit::start(folder.path(), options(&units));
    let processes: Vec<Id> = (0..4).map(|n| spawn(&unit, n)).collect();
    let mut expected = vec![Vec::new(); processes.len()];
    for round in 0..12 {
        let a = processes[0];
        let posted = message(a, &format!("go {round}"));
        expected[0].push(format!("go {round}"));
        let messages: Vec<Value> = (0..12).map(|n| sent(processes[1 + n % 3], &format!("{round}.{n}"))).collect();
        (0..12).for_each(|n| expected[1 + n % 3].push(format!("{round}.{n}")));
        {
            let mut state = units.state();
            state.results.insert((a, id(&posted)), json!({ "Messages": messages }));
            state.faults = [Fault::Refuses, Fault::KeepsAndDrops].into_iter().cycle().take(round).collect();
        }
        assert_eq!(unit.json("POST", "/", &posted).0, 202);
        std::thread::sleep(std::time::Duration::from_millis(round as u64 * 3));
        unit.kill();
        unit = Unit::start(folder.path(), options(&units));
    }
    unit.idle();
    for (process, expected) in processes.iter().zip(&expected) {
        assert_eq!(data(&units, *process), *expected);
    }
    assert_eq!(unit.letters(), Vec::<Value>::new());
    unit.kill();
}

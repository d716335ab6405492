//! What cannot be delivered is told and can be replayed; what goes on for ever ends; crons are delivered to who may ask.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod units;

use ao_mu::{Options, Retry};
use ao_tests::item;
use ao_wire::{Id, Signer};
use serde_json::{Value, json};
use units::items::{AO, data, id, message, process, sent, spawn, user};
use units::{Fault, Receipts, Unit, Units, options, until};

#[test]
fn what_cannot_be_delivered_is_a_dead_letter_that_can_be_replayed() {
    let (units, folder) = (Units::start(), tempfile::tempdir().unwrap());
    let retry = Retry { first_ms: 5, max_ms: 20, budget_ms: 200 };
    let unit = Unit::start(folder.path(), Options { retry, ..options(&units) });
    let (a, b) = (spawn(&unit, 1), spawn(&unit, 2));
    unit.idle();
    let posted = message(a, "go");
    let outbox = json!([sent(b, "first"), { "Target": b, "Anchor": "short", "Data": "never" }, sent(b, "second")]);
    units.state().results.insert((a, id(&posted)), json!({ "Messages": outbox }));
    units.state().cu_down = true;
    assert_eq!(unit.json("POST", "/", &posted).0, 202);
    unit.idle();
    let letters = unit.letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["what"], json!({ "kind": "result", "process": a, "message": id(&posted) }));
    assert!(letters[0]["error"].as_str().unwrap().contains("503"), "{letters:?}");
    units.state().cu_down = false;
    let replay = |letter: &Value| unit.json("POST", &format!("/dead-letters/{}", letter["id"]), b"").0;
    assert_eq!(replay(&letters[0]), 202);
    assert_eq!(replay(&letters[0]), 404, "it is in the queue");
    unit.idle();
    assert_eq!(data(&units, b), ["first", "second"]);
    let letters = unit.letters();
    assert_eq!((letters.len(), &letters[0]["what"]["index"]), (1, &json!(1)));
    assert!(letters[0]["error"].as_str().unwrap().contains("Anchor has 5 bytes"), "{letters:?}");
    unit.kill();
    let unit = Unit::start(folder.path(), options(&units));
    assert_eq!(unit.letters(), letters, "they are kept");
    unit.kill();
}

#[test]
fn a_client_is_told_what_the_scheduler_refuses_and_waits_for_no_scheduler_that_is_down() {
    let (units, folder) = (Units::start(), tempfile::tempdir().unwrap());
    let unit = Unit::start(folder.path(), options(&units));
    let nobody = message(Id([1; 32]), "x");
    let (status, answer) = unit.json("POST", "/", &nobody);
    assert_eq!(status, 404);
    assert!(answer["error"].as_str().unwrap().contains("is not scheduled here"), "{answer}");
    unit.idle();
    assert_eq!(unit.letters(), Vec::<Value>::new(), "it was told");
    let mut forged = process(1);
    *forged.last_mut().unwrap() ^= 1;
    let untyped = item(&user(), None, &AO, b"");
    for (body, reason) in [
        (&forged[..], "'body': A valid and signed data item must be provided as the body."),
        (b"no item", "'body': A valid and signed data item must be provided as the body."),
        (&untyped, "Tag 'Type': must be either 'Process' or 'Message'"),
    ] {
        let (status, answer) = unit.json("POST", "/", body);
        assert_eq!(status, 400);
        assert!(answer["error"].as_str().unwrap().starts_with(reason), "{answer}");
    }
    let half = unit.json("POST", &format!("/?assign={}", Id([1; 32])), b"");
    assert_eq!(half.0, 400);
    let a = spawn(&unit, 1);
    units.state().su_down = true;
    let posted = message(a, "later");
    assert_eq!(unit.json("POST", "/", &posted).0, 202, "it is written down");
    assert_eq!(unit.json("POST", &format!("/?process-id={a}&assign={}", id(&posted)), b"").0, 502);
    unit.kill();
    units.state().su_down = false;
    let unit = Unit::start(folder.path(), options(&units));
    unit.idle();
    assert_eq!(data(&units, a), ["later"]);
    let b = spawn(&unit, 2);
    let (status, answer) = unit.json("POST", &format!("/?process-id={b}&assign={}", id(&posted)), b"");
    assert_eq!((status, answer), (202, json!({ "message": "Processing Assignment", "id": id(&posted) })));
    assert_eq!(unit.ask("GET", "/", b""), (200, "ao messenger unit".to_owned()));
    assert_eq!(unit.ask("DELETE", "/", b"").0, 405);
    assert!(unit.ask("GET", "/metrics", b"").1.contains("aorta_mu_queued"));
    unit.kill();
}

#[test]
fn two_processes_that_echo_each_other_end_at_the_limit_of_hops_and_go_on_when_replayed() {
    let (units, folder) = (Units::start(), tempfile::tempdir().unwrap());
    let unit = Unit::start(folder.path(), Options { hops_max: 9, ..options(&units) });
    let (a, b) = (spawn(&unit, 1), spawn(&unit, 2));
    unit.idle();
    for (from, to) in [(a, b), (b, a)] {
        units.state().always.insert(from, json!({ "Messages": [sent(to, "echo")] }));
    }
    assert_eq!(unit.json("POST", "/", &message(a, "begin")).0, 202);
    unit.idle();
    let echoes = || data(&units, a).len() + data(&units, b).len() - 1;
    assert_eq!(echoes(), 9);
    let letters = unit.letters();
    assert_eq!((letters.len(), &letters[0]["hops"]), (1, &json!(10)));
    assert!(letters[0]["error"].as_str().unwrap().contains("limit of hops"), "{letters:?}");
    assert_eq!(unit.json("POST", &format!("/dead-letters/{}", letters[0]["id"]), b"").0, 202);
    unit.idle();
    assert_eq!(echoes(), 19);
    unit.kill();
}

#[test]
fn only_an_owner_has_crons_watched_and_each_result_is_delivered_once() {
    let (units, folder) = (Units::start(), tempfile::tempdir().unwrap());
    let unit = Unit::start(folder.path(), options(&units));
    let (a, b) = (spawn(&unit, 1), spawn(&unit, 2));
    let path = format!("/monitor/{a}");
    let ask = |signer: &Signer, target: Id, n: &str| item(signer, Some(target), &[("N", n)], b" ");
    let begin = ask(&user(), a, "1");
    let mut forged = begin.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(unit.ask("POST", &path, &forged).0, 400);
    assert_eq!(unit.ask("POST", &path, b"").0, 400);
    assert_eq!(unit.ask("POST", &path, &ask(&Signer::ed25519(&[3; 32]), a, "1")).0, 403);
    assert_eq!(unit.ask("POST", &path, &ask(&user(), b, "1")).0, 400);
    assert_eq!(unit.ask("DELETE", &path, &ask(&user(), a, "0")).0, 404);
    // Those before it was watched are nobody's business.
    let cron = |n: u64, data: &str| (n, json!({ "Messages": [sent(b, data)] }));
    units.state().crons.insert(a, vec![cron(5, "long ago")]);
    assert_eq!(unit.ask("POST", &path, &begin), (200, "Monitoring process".to_owned()));
    assert_eq!(unit.ask("POST", &path, &ask(&user(), a, "2")).0, 409);
    let far = 9_000_000_000_000;
    let all: Vec<String> = (0..7).map(|n| format!("tick {n}")).collect();
    {
        let mut state = units.state();
        state.crons.get_mut(&a).unwrap().extend(all[..5].iter().zip(far..).map(|(data, at)| cron(at, data)));
        state.faults.push_back(Fault::KeepsAndDrops);
    }
    until("five crons are delivered", || data(&units, b).len() >= 5);
    unit.kill();
    let unit = Unit::start(folder.path(), options(&units));
    units.state().crons.get_mut(&a).unwrap().extend(all[5..].iter().zip(far + 5..).map(|(data, at)| cron(at, data)));
    until("seven crons are delivered", || data(&units, b).len() >= 7);
    unit.idle();
    assert_eq!(data(&units, b), all);
    assert_eq!(unit.ask("DELETE", &path, &begin).0, 403, "an item asks once");
    assert_eq!(unit.ask("DELETE", &path, &ask(&user(), a, "3")), (200, "Process deleted".to_owned()));
    assert_eq!(unit.json("GET", "/info", b"").1["monitors"], 0);
    unit.kill();
}

#[test]
fn a_result_counts_only_with_the_receipt_that_commits_to_it() {
    let (units, folder) = (Units::start(), tempfile::tempdir().unwrap());
    units.state().receipts = Receipts::True;
    let unit = Unit::start(folder.path(), Options { receipts_required: true, ..options(&units) });
    let (a, b) = (spawn(&unit, 1), spawn(&unit, 2));
    unit.idle();
    let posted = message(a, "go");
    units.state().results.insert((a, id(&posted)), json!({ "Messages": [sent(b, "believed")] }));
    units.state().crons.insert(a, vec![(9_000_000_000_000, json!({ "Messages": [sent(b, "believed too")] }))]);
    units.state().receipts = Receipts::None;
    assert_eq!(unit.json("POST", "/", &posted).0, 202);
    let begin = item(&user(), Some(a), &[("N", "1")], b" ");
    assert_eq!(unit.ask("POST", &format!("/monitor/{a}"), &begin).0, 200);
    for receipts in [Receipts::None, Receipts::False, Receipts::Foreign] {
        units.state().receipts = receipts;
        let asked = units.state().asked;
        until("the results were asked for", || units.state().asked >= asked + 8);
        assert_eq!(data(&units, b), Vec::<String>::new());
    }
    units.state().receipts = Receipts::True;
    until("both are delivered", || data(&units, b).len() >= 2);
    unit.idle();
    let mut delivered = data(&units, b);
    delivered.sort();
    assert_eq!(delivered, ["believed", "believed too"]);
    unit.kill();
}

//! A unit among other units: what it serves stays true when schedulers lie, when it is killed, and when others check it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;

use ao_commit::{RECEIPT_BYTES, Receipt, unhex};
use ao_log::Nonce;
use ao_replay::{Options, Source, Verdict};
use ao_tests::{Guest, Network};
use ao_wire::{Id, ProcessId, Signer};
use serde_json::Value;
use support::Unit;

fn counter(network: &Network) -> ProcessId {
    network.spawn(network.publish(&Guest::load("counter", 64)), 1)
}

fn result(unit: &Unit, process: ProcessId, message: Id) -> Value {
    unit.get(&format!("/result/{message}?process-id={process}")).ok()
}

fn head(unit: &Unit, process: ProcessId) -> Value {
    unit.get(&format!("/head/{process}")).ok()
}

/// What `replay verify` says of a bundle.
fn verdict(bundle: &[u8]) -> Verdict {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bundle).unwrap();
    ao_replay::verify(Source::open(file.path()).unwrap(), &Options::default(), &mut |_| Ok(())).unwrap().1
}

#[test]
fn the_real_client_spawns_sends_reads_and_dry_runs() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let module = network.publish(&Guest::real("aos2_0_6"));
    let unit = Unit::start(&network, folder.path(), &[]);
    let (cu, mu) = (unit.url(), network.url());
    let arguments = ["--cu", &cu, "--mu", &mu, "--module", &module.to_string(), "--scheduler", &network.scheduler()];
    let lines: Vec<String> = ao_tests::node("aoconnect.mjs", &arguments).collect();
    let told: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(told["result"]["data"], "42", "{told}");
    assert_eq!(told["dryrun"]["data"], "42", "{told}");
}

#[test]
fn a_bundle_of_the_unit_is_verified_by_replay_from_the_beginning_and_from_the_middle() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let process = counter(&network);
    let messages: Vec<Id> = (0..40).map(|n| network.send(process, &[], &n.to_string())).collect();
    let unit = Unit::start(&network, folder.path(), &["--checkpoint-every", "7"]);
    result(&unit, process, messages[39]);
    for (query, first, last) in [("", 0, 40), ("?to=3", 0, 3), ("?from=10&to=35", 10, 35)] {
        let bundle = unit.get(&format!("/bundle/{process}{query}"));
        assert_eq!(bundle.status, 200);
        let expected = Verdict::Matched { first: Nonce(first), last: Nonce(last) };
        assert_eq!(verdict(&bundle.body), expected, "{query}");
    }
    // The memory is what `b3sum` says of it, at any time of the past.
    let state = unit.get(&format!("/state/{process}"));
    assert_eq!((state.header("last-ordinate"), state.header("last-block-height")), (Some("40"), Some("1580000")));
    let earlier = unit.get(&format!("/state/{process}?to=1735689610000"));
    assert_eq!(earlier.header("last-ordinate"), Some("10"));
    assert_eq!(earlier.body.len(), state.body.len());
    assert_ne!(earlier.body, state.body);
}

#[test]
fn ticks_are_listed_by_cursors_that_miss_and_repeat_none() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let module = network.publish(&Guest::load("counter", 64));
    // Two crons of one interval: their ticks differ in nothing but the cron. A message a second is sent.
    let crons = [("Cron-Interval", "2-seconds"), ("Cron-Interval", "2-seconds"), ("Cron-Tag-Action", "Tick")];
    let process = network.spawn_tagged(module, &crons, 1);
    let [.., last]: [_; 20] = std::array::from_fn(|n| network.send(process, &[], &n.to_string()));
    let unit = Unit::start(&network, folder.path(), &["--checkpoint-every", "7"]);
    let edges = |path: &str| unit.get(path).ok()["edges"].as_array().unwrap().clone();
    let all = edges(&format!("/cron/{process}"));
    let results = edges(&format!("/results/{process}?limit=1000"));
    assert_eq!((all.len(), results.len()), (20, 41), "and the messages, and the process");
    assert_eq!(results.iter().filter(|edge| all.contains(edge)).count(), 20);
    let counts: Vec<&str> = results.iter().map(|edge| edge["node"]["Output"].as_str().unwrap()).collect();
    assert_eq!(counts, (1..=41).map(|count| count.to_string()).collect::<Vec<_>>(), "in the order of evaluation");
    for limit in [1, 3, 20] {
        let (mut paged, mut from) = (Vec::new(), String::new());
        loop {
            let page = unit.get(&format!("/cron/{process}?limit={limit}{from}")).ok();
            let edges = page["edges"].as_array().unwrap();
            paged.extend(edges.iter().cloned());
            let Some(cursor) = edges.last().and_then(|edge| edge["cursor"].as_str()) else { break };
            from = format!("&from={}", cursor.replace('+', "%2B").replace('=', "%3D"));
        }
        assert_eq!(paged, all, "by {limit}");
    }
    let receipt = unit.get(&format!("/receipt/{process}/1?tick=2")).ok();
    assert_eq!((&receipt["tick"], &receipt["cron"]), (&2.into(), &"1-2-seconds".into()), "{receipt}");
    assert_eq!(unit.get(&format!("/receipt/{process}/2?tick=1")).status, 404);
    assert_eq!(result(&unit, process, last)["Output"], "41");
    for (query, first) in [("", 0), ("?from=9", 9), ("?from=8&to=8", 8)] {
        let bundle = unit.get(&format!("/bundle/{process}{query}"));
        let last = Nonce(if first == 8 { 8 } else { 20 });
        assert_eq!(verdict(&bundle.body), Verdict::Matched { first: Nonce(first), last }, "{query}");
    }
    let before = edges(&format!("/cron/{process}"));
    unit.stop();
    let unit = Unit::start(&network, folder.path(), &[]);
    network.send(process, &[], "one more");
    network.send(process, &[], "and one");
    let after = unit.get(&format!("/cron/{process}")).ok()["edges"].as_array().unwrap().clone();
    assert_eq!((&after[..20], after.len()), (&before[..], 22));
}

#[test]
fn what_is_assigned_from_elsewhere_is_fetched_kept_and_evaluated_as_replay_does() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let process = network.spawn(network.publish(&Guest::load("error_answer", 64)), 1);
    let first = network.send(process, &[], "first");
    let item = |data: &[u8]| ao_tests::item(&Signer::ed25519(&[7; 32]), Some(Id([5; 32])), &[("Action", "A")], data);
    let (loud, late) = (item(b"\xff\0 look!"), item(b"late"));
    let loud = network.assign(process, network.upload(loud), &[]);
    let (id, json, data) = transaction();
    network.upload_transaction(id, &json, &data);
    let layer_1 = network.assign(process, id, &["Signature"]);
    let late_id = ao_wire::DataItem::parse(&late).unwrap().id();
    network.assign(process, late_id, &[]);
    let last = network.send(process, &[], "last");

    let unit = Unit::start(&network, folder.path(), &[]);
    // The gateway lacks one: what comes before it is served, what comes after it is not lost.
    assert_eq!(result(&unit, process, loud)["Error"], "asked for");
    result(&unit, process, layer_1);
    let refused = unit.get(&format!("/result/{last}?process-id={process}"));
    assert_eq!(refused.status, 502, "{}", refused.text());
    assert!(refused.json()["error"].as_str().unwrap().contains("nonce 4"), "{}", refused.text());
    result(&unit, process, first);
    network.upload(late);
    result(&unit, process, last);
    let bundle = unit.get(&format!("/bundle/{process}"));
    assert_eq!(verdict(&bundle.body), Verdict::Matched { first: Nonce(0), last: Nonce(5) });
    // Kept: neither a restart nor a replay asks for it again.
    unit.stop();
    let unit = Unit::start(&network, folder.path(), &["--checkpoint-every", "2"]);
    network.set_down(true);
    assert_eq!(
        verdict(&unit.get(&format!("/bundle/{process}?from=3")).body),
        Verdict::Matched { first: Nonce(3), last: Nonce(5) }
    );
    result(&unit, process, late_id);
}

/// A transaction of format 2 that the reference library signed, as a node gives it, and its data of 1000 bytes.
fn transaction() -> (Id, Value, Vec<u8>) {
    let vectors = std::fs::read(ao_tests::root().join("fixtures/vectors/wire/transactions.json")).unwrap();
    let vectors: Vec<Value> = serde_json::from_slice(&vectors).unwrap();
    let json = vectors.into_iter().find(|vector| vector["bytes"] == 1000).unwrap()["json"].clone();
    (json["id"].as_str().unwrap().parse().unwrap(), json, (0..1000).map(|i| (i * 31 + (i >> 8)) as u8).collect())
}

#[test]
fn a_unit_killed_at_any_moment_loses_nothing_that_it_answered() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let process = counter(&network);
    let mut answered: Vec<(Id, Value)> = Vec::new();
    // AORTA_TEST_KILLS: how often, for a long run.
    let kills: u64 = std::env::var("AORTA_TEST_KILLS").map_or(4, |kills| kills.parse().unwrap());
    for round in 0..kills {
        let unit = Unit::start(&network, folder.path(), &["--checkpoint-every", "9"]);
        network.set_down(true);
        for (message, value) in &answered {
            assert_eq!(&result(&unit, process, *message), value, "round {round}");
        }
        network.set_down(false);
        let messages: Vec<Id> = (0..50).map(|n| network.send(process, &[], &format!("{round} {n}"))).collect();
        // Killed while it answers, at another place each time.
        std::thread::scope(|scope| {
            let victim = unit.id();
            let asking = scope.spawn(|| {
                let mut told = Vec::new();
                for message in &messages {
                    let path = format!("/result/{message}?process-id={process}");
                    match unit.try_ask("GET", &path, &[], b"") {
                        Ok(answer) if answer.status == 200 => told.push((*message, answer.json())),
                        _ => break,
                    }
                }
                told
            });
            std::thread::sleep(std::time::Duration::from_millis(20 + 35 * round % 331));
            let status = Command::new("kill").args(["-9", &victim.to_string()]).status().unwrap();
            assert!(status.success());
            answered.extend(asking.join().unwrap());
        });
    }
    let unit = Unit::start(&network, folder.path(), &[]);
    for (message, value) in &answered {
        assert_eq!(&result(&unit, process, *message), value);
    }
    let last = network.send(process, &[], "last");
    assert_eq!(result(&unit, process, last)["Output"], (50 * kills + 2).to_string());
    assert_eq!(
        verdict(&unit.get(&format!("/bundle/{process}")).body),
        Verdict::Matched { first: Nonce(0), last: Nonce(50 * kills + 1) }
    );
}

#[test]
fn a_unit_told_to_stop_saves_its_states_and_ends_well() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let process = counter(&network);
    let message = network.send(process, &[], "one");
    let unit = Unit::start(&network, folder.path(), &[]);
    result(&unit, process, message);
    assert_eq!(head(&unit, process)["checkpoint"], Value::Null);
    assert_eq!(unit.stop(), Some(0));
    let unit = Unit::start(&network, folder.path(), &[]);
    assert_eq!(head(&unit, process)["checkpoint"], 1);
    let message = network.send(process, &[], "two");
    assert_eq!(result(&unit, process, message)["Output"], "3");
}

#[test]
fn a_scheduler_that_lies_or_is_silent_changes_nothing_that_was_true() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let process = counter(&network);
    let first = network.send(process, &[], "first");
    let unit = Unit::start(&network, folder.path(), &["--busy-threshold-ms", "0"]);
    result(&unit, process, first);
    let good = head(&unit, process);
    let swapped = [network.send(process, &[], "second"), network.send(process, &[], "third")];
    network.set_lying(true);
    let refused = unit.get(&format!("/result/{}?process-id={process}", swapped[0]));
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.json()["error"].as_str().unwrap().contains("nonce 2"), "{}", refused.text());
    // The last good state is served, the lie is not stored.
    assert_eq!(unit.get(&format!("/results/{process}")).ok()["edges"].as_array().unwrap().len(), 2);
    assert_eq!(unit.post(&format!("/dry-run?process-id={process}"), r#"{"Owner":"o"}"#).ok()["Output"], "3");
    assert_eq!(head(&unit, process), good);
    network.set_lying(false);
    assert_eq!(result(&unit, process, swapped[1])["Output"], "4");
}

#[test]
fn requests_for_the_same_message_share_its_evaluation() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let process = counter(&network);
    let messages: Vec<Id> = (0..30).map(|n| network.send(process, &[], &n.to_string())).collect();
    let message = messages[29];
    let unit = Unit::start(&network, folder.path(), &[]);
    let results: Vec<Value> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..16).map(|_| scope.spawn(|| result(&unit, process, message))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert!(results.iter().all(|result| result["Output"] == "31"));
    let metrics = unit.get("/metrics");
    assert!(metrics.text().contains("\naorta_messages_evaluated_total 31\n"), "{}", metrics.text());
    let known = network.requests();
    result(&unit, process, message);
    assert_eq!(network.requests(), known, "a known result asks nobody");
}

#[test]
fn every_metric_of_the_board_is_one_that_the_unit_has() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let unit = Unit::start(&network, folder.path(), &[]);
    let metrics = unit.get("/metrics");
    let metrics = metrics.text();
    let known: BTreeSet<&str> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let board: Value = serde_json::from_str(include_str!("../grafana.json")).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut shown = BTreeSet::new();
    for target in targets {
        let words = target["expr"].as_str().unwrap().split(|c: char| !c.is_ascii_lowercase() && c != '_');
        shown.extend(words.filter(|word| word.starts_with("aorta_")));
    }
    assert_eq!(shown, known, "the board shows every metric, and none that is not there");
}

#[test]
fn processes_of_other_owners_are_neither_fetched_nor_served() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let process = counter(&network);
    let message = network.send(process, &[], "one");
    let path = format!("/result/{message}?process-id={process}");
    let stranger = "A".repeat(43);
    let unit = Unit::start(&network, folder.path(), &["--allow-owner", &stranger]);
    let refused = unit.get(&path);
    assert_eq!(refused.status, 403, "{}", refused.text());
    let error = refused.json()["error"].as_str().unwrap().to_owned();
    let owner = error.strip_prefix("Access denied for process owner ").unwrap();
    assert_eq!(unit.get("/ready").ok()["processes"], 0);
    unit.stop();
    let unit = Unit::start(&network, folder.path(), &["--allow-owner", &format!("{stranger},{owner}")]);
    unit.get(&path).ok();
    unit.stop();
    // What is stored is not served either once its owner is barred.
    let unit = Unit::start(&network, folder.path(), &["--allow-owner", &stranger]);
    assert_eq!((unit.get(&path).status, unit.get(&format!("/head/{process}")).status), (403, 403));
}

#[test]
fn no_more_states_are_kept_than_configured() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let process = counter(&network);
    let messages: Vec<Id> = (0..200).map(|n| network.send(process, &[], &n.to_string())).collect();
    let options = ["--checkpoint-every", "10", "--checkpoints-kept", "2", "--compact-every-s", "1"];
    let unit = Unit::start(&network, folder.path(), &options);
    result(&unit, process, messages[199]);
    assert!(unit.get("/metrics").text().contains("\naorta_states_saved_total 3\n"));
    // At any time of the past all the same: what is given up is computed again.
    let early = unit.get(&format!("/bundle/{process}?from=3&to=9"));
    assert_eq!(verdict(&early.body), Verdict::Matched { first: Nonce(3), last: Nonce(9) });
    unit.stop();
    let store = ao_store::Store::open(folder.path(), ao_store::Options::default()).unwrap();
    assert_eq!(store.checkpoints(process).unwrap().len(), 2);
}

#[test]
fn a_result_is_checked_by_its_receipt_without_an_engine() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let process = counter(&network);
    let message = network.send(process, &[], "counted");
    let unit = Unit::start(&network, folder.path(), &[]);
    let body = unit.get(&format!("/result/{message}?process-id={process}")).body;
    let shown = unit.get(&format!("/receipt/{process}/1")).ok();
    // As `replay check-result` reads them.
    let digits = shown["receipt"]["bytes"].as_str().unwrap();
    let receipt = Receipt::decode(&unhex::<RECEIPT_BYTES>(digits.as_bytes()).unwrap()).unwrap();
    assert!(receipt.commits_to_result(&body));
    assert!(!receipt.commits_to_result(&[&body[..], b" "].concat()));
}

#[test]
fn a_node_is_served_from_its_own_schedule() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let process = counter(&network);
    let messages: Vec<_> = (1..6).map(|at| network.send(process, &[], &format!("message {at}"))).collect();
    let (url, by_unit) = (network.url(), tempfile::tempdir().unwrap());
    let unit = Unit::run("cu", folder.path(), &["--node", &url, "--gateway", &url]);
    let answer = unit.post(&format!("/result/3?process-id={process}"), "");
    let expected = Unit::start(&network, by_unit.path(), &[]).post(&format!("/result/3?process-id={process}"), "");
    assert_eq!((answer.status, &answer.body), (200, &expected.body));
    // A node cannot say at which slot a message is: the log is followed to its end.
    assert_eq!(unit.get(&format!("/result/{}?process-id={process}", messages[4])).status, 200);
    let unknown = unit.get(&format!("/result/{process}?process-id={}", messages[0]));
    assert_eq!(unknown.status, 404, "{}", unknown.text());
}

#[test]
fn a_listener_hears_of_results_when_they_are_durable() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let process = counter(&network);
    let unit = Unit::start(&network, folder.path(), &[]);
    let mut stream = TcpStream::connect(unit.url().strip_prefix("http://").unwrap()).unwrap();
    write!(stream, "GET /events?process-id={process} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "content-type: text/event-stream"));
    result(&unit, process, network.send(process, &[], "heard"));
    let data: Vec<Value> =
        lines.filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).take(2).collect();
    assert_eq!((&data[0]["nonce"], &data[1]["nonce"]), (&Value::from(0), &Value::from(1)));
    let stored = unit.get(&format!("/receipt/{process}/1")).ok();
    assert_eq!(data[1]["receipt"], stored["receipt"]);
}

#[test]
fn settings_come_from_the_file_the_environment_and_the_flags_in_this_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("aorta.toml");
    std::fs::write(&file, "port = 1\nsu = \"http://file\"\nworkers = 3\n").unwrap();
    let print = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aorta"));
        command.args(["cu", "--config"]).arg(&file).args(arguments).env("AORTA_SU", "http://environment");
        command.output().unwrap()
    };
    let printed = String::from_utf8(print(&["--print-config", "--port", "2"]).stdout).unwrap();
    for line in ["port = 2", "su = \"http://environment\"", "workers = 3", "graphql = \"https://arweave.net/graphql\""]
    {
        assert!(printed.lines().any(|printed| printed == line), "{line}: {printed}");
    }
    let refused = print(&["--gateway", "nowhere"]);
    assert_eq!(refused.status.code(), Some(2));
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.contains("gateway is \"nowhere\", expected a URL"), "{error}");
}

#[test]
fn a_fetched_log_is_one_that_replay_evaluates_to_the_same_receipts() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let process = counter(&network);
    let message = network.send(process, &[], "one");
    let unit = Unit::start(&network, &folder.path().join("unit"), &[]);
    result(&unit, process, message);
    let served = head(&unit, process)["last"]["receipt"]["hash"].as_str().unwrap().to_owned();
    for kind in ["folder", "bundle"] {
        let to = folder.path().join(kind);
        let url = network.url();
        let mut command = Command::new(env!("CARGO_BIN_EXE_aorta"));
        command.args(["fetch", &process.to_string(), "-o", kind, "--su", &url, "--gateway", &url, "--to"]).arg(&to);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let source = Source::open(&to).unwrap();
        let report = ao_replay::run(source, &Options::default(), &mut |_| Ok(())).unwrap();
        let (nonce, hash) = report.last.unwrap();
        assert_eq!((nonce, ao_tests::hex(&hash)), (Nonce(1), served.clone()), "{kind}");
        assert!(report.module_signed, "{kind}");
    }
}

#[test]
fn a_process_that_asks_for_more_gas_than_the_unit_gives_is_refused_by_name() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let process = counter(&network);
    let message = network.send(process, &[], "plain");
    let unit = Unit::start(&network, folder.path(), &["--gas-max", "1000000"]);
    let refused = unit.get(&format!("/result/{message}?process-id={process}"));
    assert_eq!(refused.status, 422, "{}", refused.text());
    let said = refused.text();
    assert!(said.contains("its Compute-Limit is 9000000000000, this unit gives at most 1000000"), "{said}");
}

#[test]
fn a_step_that_takes_too_long_is_broken_off_whoever_waits_is_told_and_others_are_served() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let (endless, other) = (network.spawn(network.publish(&Guest::load("spin", 64)), 2), counter(&network));
    let (spins, counts) = (network.send(endless, &[], "now!"), network.send(other, &[], "plain"));
    let unit = Unit::start(&network, folder.path(), &["--step-s-max", "1"]);
    let told = unit.get(&format!("/result/{spins}?process-id={endless}"));
    assert_eq!(told.status, 503, "{}", told.text());
    let said = told.text();
    for part in [&format!("process {endless}"), "nonce 1", "the host broke the evaluation off after"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(result(&unit, other, counts)["Output"], "2");
    let metrics = unit.get("/metrics");
    let page = metrics.text();
    assert!(!page.contains("\naorta_broken_off_total 0\n"), "{page}");
}

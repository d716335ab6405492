//! The command line: exit codes, what is printed, and what ends up in a bundle.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use ao_commit::{Outcome, Receipt};
use ao_log::Nonce;
use ao_tests::LogBuilder;
use serde_json::Value;
use support::{Place, arguments, text};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// Copies a bundle with one receipt changed, as if it had been made by a machine with other semantics.
fn forge(place: &Place, bundle: &Path, nonce: u64, change: impl Fn(&mut Receipt)) -> PathBuf {
    let changed = |at: Nonce, bytes: &[u8]| {
        let mut receipt = Receipt::decode(bytes).expect("a receipt");
        if at.0 == nonce {
            change(&mut receipt);
        }
        receipt.encode().to_vec()
    };
    place.rewrite(bundle, |_| Vec::new(), changed)
}

#[test]
fn a_packed_log_verifies_and_exits_with_0() {
    let place = Place::new("error_answer");
    let bundle = place.pack(&place.log(), "x.bundle", &[]);
    let ended = place.replay(["verify", &text(&bundle)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("matched") && ended.out.contains("6, of which 2 failed"), "{}", ended.out);
}

#[test]
fn a_divergence_exits_with_1_and_names_nonce_message_field_and_values() {
    let place = Place::new("error_answer");
    let bundle = place.pack(&place.log(), "x.bundle", &[]);
    let message =
        json(&place.replay(["inspect", "--json", "--nonce", "2", &text(&bundle)]).out)["message"]["id"].clone();
    let forged = forge(&place, &bundle, 2, |receipt| receipt.result_hash = [0xab; 32]);
    let ended = place.replay(["verify", "--json", &text(&forged)]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let diverged = &json(&ended.out)["verdict"]["diverged"];
    assert_eq!(diverged["nonce"], 2);
    assert_eq!(diverged["message"], message);
    assert_eq!(diverged["field"], "result hash");
    assert_eq!(diverged["recorded"], "ab".repeat(32));
    assert_eq!(diverged["computed"].as_str().map(str::len), Some(64));

    let forged = forge(&place, &bundle, 4, |receipt| receipt.outcome = Outcome::Ok);
    let ended = place.replay(["verify", &text(&forged)]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for words in ["DIVERGED at nonce 4", "outcome recorded ok", "outcome computed module-error"] {
        assert!(ended.out.contains(words), "{words:?} is not in {}", ended.out);
    }
}

#[test]
fn engines_that_agree_exit_with_0_and_engines_that_do_not_with_1_and_the_first_difference() {
    let mut place = Place::new("nan_bits");
    // The dividend becomes a NaN with a payload: instrumentation hides the payload, the module as published shows it.
    let zero = [&[0x44][..], &[0; 8]].concat();
    let at = place.guest.wasm.windows(9).position(|bytes| bytes == zero).expect("the guest divides 0.0");
    place.guest.wasm[at + 1..at + 9].copy_from_slice(&0x7FF8_0001_0000_0000_u64.to_le_bytes());
    let bundle = text(&place.pack(&place.log(), "x.bundle", &[]));
    for engine in ["wasmer", "wasmi", "both"] {
        let ended = place.replay(["verify", "--json", "--engine", engine, &bundle]);
        assert_eq!(ended.code, Some(0), "{engine}: {ended:?}");
        let engines = if engine == "both" { vec!["wasmer", "wasmi"] } else { vec![engine] };
        assert_eq!(json(&ended.out)["engines"], Value::from(engines));
    }
    let ended = place.replay(["run", "--json", "--engine", "both", "--original", &bundle]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let found = &json(&ended.out)["disagreement"];
    assert_eq!((&found["nonce"], &found["field"]), (&Value::from(2), &Value::from("result")));
    let named = |side: usize| found["found"][side]["engine"].as_str().expect("a name").to_owned();
    assert_eq!([named(0), named(1)], ["wasmer", "wasmi on the original"]);
    let value = |side: usize| found["found"][side]["value"].as_str().expect("an excerpt").to_owned();
    let shows = |side: usize, bits: u32| value(side).contains(&format!("\"{bits}\""));
    assert!(shows(0, 0xFFF8_0000) && shows(1, 0x7FF8_0001), "{found}");
    assert!(ended.err.contains("DISAGREE at nonce 2, message "), "{}", ended.err);

    let ended = place.replay(["verify", "--json", "--engine", "wasmi", "--original", &bundle]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(json(&ended.out)["verdict"]["diverged"]["field"], "result hash");
}

#[test]
fn a_module_as_published_leads_where_the_receipts_say() {
    let place = Place::new("error_answer");
    let bundle = text(&place.pack(&place.log(), "x.bundle", &["--strict"]));
    for engine in ["wasmi", "both"] {
        let ended = place.replay(["verify", "--engine", engine, "--original", &bundle]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let place = Place::new("counter");
    let log = text(&place.log());
    let wrong: [&[&str]; 10] = [
        &[],
        &["evaluate"],
        &["verify"],
        // A folder holds no receipts.
        &["verify", &log],
        &["pack", &log],
        &["run", "--signatures", "some", &log],
        &["trace", "--memory", "md5", &log],
        &["run", "--engine", "v8", &log],
        &["run", "--original", &log],
        // Its receipts would lack the gas.
        &["pack", "--engine", "wasmi", "--original", &log, "-o", "x.bundle"],
    ];
    for arguments in wrong {
        let ended = place.replay(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.out.is_empty() && !ended.err.is_empty(), "{arguments:?}: {ended:?}");
    }
    for asked in ["--help", "--version"] {
        assert_eq!(place.replay([asked]).code, Some(0));
    }
}

#[test]
fn what_cannot_be_read_exits_with_3() {
    let place = Place::new("counter");
    let log = place.log();
    let bundle = place.pack(&log, "x.bundle", &[]);
    let whole = fs::read(&bundle).expect("a bundle");
    let cut = place.path("cut.bundle");
    fs::write(&cut, &whole[..whole.len() / 2]).expect("a temporary file can be written");
    for source in [&place.path("nothing"), &cut, &log.join("module.wasm")] {
        let ended = place.replay(["verify", &text(source)]);
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(ended.err.starts_with("replay: "), "{ended:?}");
    }
    // Nothing differs, and nothing was proved.
    let none = place.replay(["verify", "--json", "--from", "6", &text(&bundle)]);
    assert_eq!(none.code, Some(3), "{none:?}");
    assert_eq!(json(&none.out)["verdict"], serde_json::json!({ "incomplete": { "nonce": null } }));
}

#[test]
fn a_step_that_takes_longer_than_was_asked_for_exits_with_4_and_decides_nothing() {
    let place = Place::new("spin");
    let path = place.path("endless");
    LogBuilder::new(&place.guest, &[]).message("plain").message("now!").write(&path);
    let ended = place.replay(["run", "--step-s-max", "1", &text(&path)]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.err.contains("nonce 2") && ended.err.contains("broke the evaluation off"), "{}", ended.err);
    let ended = place.replay(["run", "--step-s-max", "1", "--to", "1", &text(&path)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn the_worst_of_several_bundles_decides() {
    let place = Place::new("error_answer");
    let bundle = place.pack(&place.log(), "x.bundle", &[]);
    let forged = forge(&place, &bundle, 1, |receipt| receipt.gas = 1);
    let ended = place.replay(["verify", "--json", "--workers", "2", &text(&bundle), &text(&forged)]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let mut verdicts: Vec<Value> = ended.out.lines().map(|line| json(line)["verdict"].clone()).collect();
    verdicts.sort_by_key(Value::is_object);
    assert_eq!(verdicts.len(), 2);
    assert_eq!(verdicts[0], "matched");
    assert_eq!(verdicts[1]["diverged"]["field"], "gas");
}

#[test]
fn json_holds_every_figure_and_quiet_prints_none() {
    let place = Place::new("error_answer");
    let bundle = place.pack(&place.log(), "x.bundle", &[]);
    let ended = place.replay(["verify", "--json", &text(&bundle)]);
    let shown = json(&ended.out);
    let keys: Vec<&str> = shown.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut expected = [
        "source",
        "process",
        "module",
        "module_blake3",
        "profile",
        "resumed_after",
        "messages",
        "failed",
        "ticks",
        "messages_per_second",
        "signatures",
        "signatures_checked",
        "assigned",
        "gas",
        "dirty_bytes",
        "engines",
        "tracker",
        "memory_bytes",
        "memory_root",
        "state_root",
        "last_nonce",
        "last_receipt",
        "notes",
        "verdict",
        "module_signed",
        "compared",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!((&shown["messages"], &shown["failed"], &shown["last_nonce"]), (&6.into(), &2.into(), &5.into()));
    assert_eq!((&shown["verdict"], &shown["notes"]), (&"matched".into(), &Value::Array(Vec::new())));
    for root in ["module_blake3", "memory_root", "state_root", "last_receipt"] {
        assert_eq!(shown[root].as_str().map(str::len), Some(64), "{root}");
    }
    let ended = place.replay(["verify", "--quiet", &text(&bundle)]);
    assert_eq!((ended.code, &ended.out[..], &ended.err[..]), (Some(0), "", ""));
}

#[test]
fn a_log_packed_twice_or_repacked_is_the_same_file() {
    let place = Place::new("error_answer");
    let log = place.log();
    let first = place.pack(&log, "first.bundle", &["--checkpoint-every", "2"]);
    let second = place.pack(&log, "second.bundle", &["--checkpoint-every", "2", "--tracker", "memcmp"]);
    let again = place.pack(&first, "again.bundle", &["--checkpoint-every", "2"]);
    let bytes = |path: &Path| fs::read(path).expect("a bundle");
    assert_eq!(bytes(&first), bytes(&second));
    assert_eq!(bytes(&first), bytes(&again));
}

#[test]
fn a_detached_module_must_be_given_and_must_be_the_right_one() {
    let place = Place::new("error_answer");
    let bundle = text(&place.pack(&place.log(), "x.bundle", &["--detach-module"]));
    let ended = place.replay(["verify", &bundle]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.err.contains("--module FILE"), "{ended:?}");
    let other = text(&ao_tests::Guest::load("counter", 32).path);
    let ended = place.replay(["verify", "--module", &other, &bundle]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.err.contains("none of the 1 files given has that hash"), "{ended:?}");
    assert_eq!(place.replay(["verify", "--module", &text(&place.guest.path), &bundle]).code, Some(0));
}

#[test]
fn a_part_of_a_bundle_verifies_from_its_saved_state() {
    let place = Place::new("global_state");
    let whole = text(&place.pack(&place.log(), "x.bundle", &["--checkpoint-every", "2"]));
    let end = json(&place.replay(["verify", "--json", &whole]).out);
    let ended = place.replay(["verify", "--json", "--from", "5", &whole]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let part = json(&ended.out);
    assert_eq!((&part["resumed_after"], &part["messages"]), (&3.into(), &2.into()));
    assert_eq!((part["compared"][0].as_u64(), part["compared"][1].as_u64()), (Some(5), Some(5)));
    for root in ["memory_root", "state_root", "last_receipt"] {
        assert_eq!(part[root], end[root], "{root}");
    }
    let ended = place.replay(["verify", "--json", "--to", "2", &whole]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(json(&ended.out)["last_nonce"], 2);
}

#[test]
fn the_verdict_says_which_signatures_were_checked() {
    let place = Place::new("counter");
    let bundle = text(&place.pack(&place.log(), "x.bundle", &[]));
    // The process, six assignments, five messages.
    for (choice, shown, checked) in
        [("all", "all", Some(12)), ("none", "none", Some(0)), ("sample:50", "sample of 50.0 %, seed 0", None)]
    {
        let ended = place.replay(["verify", "--json", "--signatures", choice, &bundle]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let found = json(&ended.out);
        assert_eq!(found["signatures"], shown);
        if let Some(checked) = checked {
            assert_eq!(found["signatures_checked"], checked, "{choice}");
        }
    }
}

#[test]
fn trace_prints_a_line_a_step_with_exactly_these_fields() {
    let place = Place::new("error_answer");
    let bundle = text(&place.pack(&place.log(), "x.bundle", &[]));
    let plain = place.replay(["trace", &bundle]);
    assert_eq!(plain.code, Some(0), "{plain:?}");
    let hashed = place.replay(arguments(&["trace", "--memory", "blake3,sha256"], &[&bundle]));
    assert_eq!((plain.out.lines().count(), hashed.out.lines().count()), (6, 6));
    let names = ["nonce", "message", "outcome", "result", "gas", "receipt"];
    for (nonce, (plain, hashed)) in plain.out.lines().zip(hashed.out.lines()).enumerate() {
        assert_eq!(keys_in_order(plain), names, "nonce {nonce}");
        assert_eq!(keys_in_order(hashed), [&names[..], &["memory_blake3", "memory_sha256"]].concat(), "nonce {nonce}");
        assert_eq!(json(plain)["nonce"], nonce);
        let asked = nonce == 2 || nonce == 4;
        assert_eq!(json(plain)["outcome"], if asked { "module-error" } else { "ok" });
        assert_eq!(json(plain)["result"].get("Error").is_some(), asked);
    }
    // Messages that fail are not counted.
    let outputs: Vec<Value> = plain.out.lines().map(|line| json(line)["result"]["Output"].clone()).collect();
    assert_eq!(outputs, ["1", "2", "seen", "3", "seen", "4"]);
}

/// The names of an object's own fields as they stand in the text.
fn keys_in_order(object: &str) -> Vec<&str> {
    let (mut depth, mut keys) = (0, Vec::new());
    let mut rest = object;
    while let Some(at) = rest.find(['"', '{', '}', '[', ']']) {
        let found = rest.as_bytes()[at];
        rest = &rest[at + 1..];
        match found {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {
                let mut escaped = false;
                let end = rest.find(|c| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                });
                let end = end.expect("strings end");
                if depth == 1 && rest[end + 1..].starts_with(':') {
                    keys.push(&rest[..end]);
                }
                rest = &rest[end + 1..];
            }
        }
    }
    keys
}

#[test]
fn a_sample_of_flipped_bits_exits_with_1_or_3() {
    let place = Place::new("unreachable");
    let bundle = place.pack(&place.log(), "x.bundle", &[]);
    let sound = fs::read(&bundle).expect("a bundle");
    for sample in 0..64 {
        let bit = sample * sound.len() * 8 / 64 + sample % 8;
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&bundle, bytes).expect("a temporary file can be written");
        let ended = place.replay(["verify", &text(&bundle)]);
        assert!(matches!(ended.code, Some(1 | 3)), "bit {bit}: {ended:?}");
        assert!(!ended.err.contains("panicked"), "bit {bit}: {ended:?}");
    }
}

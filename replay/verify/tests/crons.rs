//! Processes with crons, as the `replay` command runs, shows, verifies and publishes them.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use ao_commit::{RECEIPT_BYTES, Receipt};
use ao_log::Nonce;
use ao_tests::{LOG_START_BLOCK, LOG_START_MS, LogBuilder};
use serde_json::Value;
use support::{Ended, Place, text};

/// Nonce before, number, cron, milliseconds and blocks from the beginning: three before nonce 1, one before nonce 3.
const TICKS: [(u64, u64, &str, u64, u64); 4] = [
    (0, 1, "0-3-blocks", 2000, 3),
    (0, 2, "0-3-blocks", 4000, 6),
    (0, 3, "0-4-seconds", 4000, 6),
    (2, 1, "0-4-seconds", 8000, 6),
];

fn packed(place: &Place) -> PathBuf {
    let tags = [
        ("Cron-Interval", "4-seconds"),
        ("Cron-Tag-Action", "Tick"),
        ("Cron-Interval", "3-blocks"),
        ("Cron-Tag-Action", "fail!"),
    ];
    let log = LogBuilder::tagged(&place.guest, &tags, 1);
    let log = [(4000, 6), (5000, 6), (9999, 6)].iter().fold(log, |log, (ms, blocks)| {
        log.at(LOG_START_MS + ms, LOG_START_BLOCK + blocks).message(&format!("after {ms} ms"))
    });
    log.write(&place.path("log"));
    place.pack(&place.path("log"), "a.bundle", &[])
}

fn json(ended: &Ended) -> Vec<Value> {
    ended.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{ended:?}"))).collect()
}

/// Copies a bundle with the receipts of an entry changed.
fn forge(place: &Place, bundle: &Path, entry: u64, change: impl Fn(&mut Vec<Vec<u8>>)) -> PathBuf {
    place.rewrite(
        bundle,
        |_| Vec::new(),
        |nonce, bytes| {
            let mut receipts: Vec<Vec<u8>> = bytes.chunks(RECEIPT_BYTES).map(<[u8]>::to_vec).collect();
            if nonce == Nonce(entry) {
                change(&mut receipts);
            }
            receipts.concat()
        },
    )
}

#[test]
fn ticks_are_traced_verified_and_shown() {
    let place = Place::new("error_answer");
    let bundle = text(&packed(&place));
    let lines = json(&place.replay(["trace", &bundle]));
    let ticks: Vec<&Value> = lines.iter().filter(|line| line.get("tick").is_some()).collect();
    assert_eq!((lines.len(), ticks.len()), (8, 4), "{lines:?}");
    let found = ticks.iter().map(|line| {
        let tick = &line["tick"];
        let number = |value: &Value| value.as_u64().expect("a number");
        let (ms, block) = (number(&tick["timestamp"]) - LOG_START_MS, number(&tick["block_height"]) - LOG_START_BLOCK);
        (number(&line["nonce"]), number(&tick["number"]), tick["cron"].as_str().expect("text"), ms, block)
    });
    assert_eq!(found.collect::<Vec<_>>(), TICKS);
    assert_eq!(ticks[0]["outcome"], "module-error");
    for more in [&["--engine", "both"][..], &["--from", "2"], &[]] {
        let ended = place.replay([&["verify", &bundle, "--json"], more].concat());
        assert_eq!((ended.code, &json(&ended)[0]["verdict"]), (Some(0), &Value::from("matched")), "{ended:?}");
    }
    let shown = &json(&place.replay(["inspect", &bundle, "--json"]))[0];
    assert_eq!(shown["crons"], serde_json::json!(["0-3-blocks", "0-4-seconds"]));
    assert_eq!((&shown["entries"], &shown["receipts"]), (&4.into(), &8.into()));
    let one = &json(&place.replay(["inspect", &bundle, "--json", "--nonce", "1"]))[0];
    assert_eq!(one["ticks_before"].as_array().map(Vec::len), Some(3), "{one}");
    assert_eq!(one["ticks_before"][2]["hash"], one["receipt"]["prev"]);
}

#[test]
fn a_tick_that_is_otherwise_left_out_or_made_up_is_found() {
    let place = Place::new("error_answer");
    let bundle = packed(&place);
    let verify = |bundle: &Path| place.replay(["verify", &text(bundle)]);
    let gas = forge(&place, &bundle, 1, |receipts| {
        let receipt = Receipt::decode(&receipts[1]).expect("a receipt");
        receipts[1] = Receipt { gas: receipt.gas + 1, ..receipt }.encode().to_vec();
    });
    let ended = verify(&gas);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("DIVERGED at nonce 0, tick 2, message"), "{ended:?}");
    let ended = verify(&forge(&place, &bundle, 1, |receipts| drop(receipts.remove(1))));
    assert!(ended.code == Some(1) && ended.out.contains("tick recorded 3"), "{ended:?}");
    let ended = verify(&forge(&place, &bundle, 2, |receipts| receipts.push(receipts[0].clone())));
    assert!(ended.code == Some(3) && ended.err.contains("nonce 2: more or fewer receipts"), "{ended:?}");
    let ended = verify(&forge(&place, &bundle, 3, |receipts| receipts[0][255] = 1));
    assert!(ended.code == Some(3) && ended.err.contains("nonce 3: the recorded receipt is malformed"), "{ended:?}");
}

#[test]
fn ticks_stand_in_a_public_log_and_their_results_are_checked_alone() {
    let place = Place::new("error_answer");
    let bundle = text(&packed(&place));
    let seed = text(&place.path("seed"));
    fs::write(&seed, [42; 32]).expect("a temporary file can be written");
    let log = text(&place.path("receipts"));
    let publish = place.replay(["prove", "log", &bundle, "-o", &log, "--origin", "x.example/unit", "--key", &seed]);
    assert!(publish.code == Some(0) && publish.out.contains("added:  8\n"), "{publish:?}");
    let key = publish.out.lines().find_map(|line| line.strip_prefix("key:    ")).expect("a key is printed");
    let receipt = format!("{bundle}#0.2");
    let proof = place.replay(["prove", "inclusion", &log, "--receipt", &receipt, "--key", key]);
    assert!(proof.out.contains("index 2\n"), "{proof:?}");
    let tick = place.replay(["trace", &bundle]).out.lines().nth(2).expect("a line a step").to_owned();
    let (_, rest) = tick.split_once("\"result\":").expect("a result");
    let result = text(&place.path("result"));
    fs::write(&result, rest.split_once(",\"gas\":").expect("gas comes next").0).expect("a temporary file");
    let check = |receipt: &str| place.replay(["check-result", "--receipt", receipt, "--result", &result]);
    assert_eq!(check(&receipt).code, Some(0), "{:?}", check(&receipt));
    assert_eq!(check(&format!("{bundle}#0.3")).code, Some(1));
    assert!(check(&format!("{bundle}#1.1")).err.contains("no receipt of tick 1 after nonce 1"), "none is due there");
}

#[test]
fn crons_that_cannot_be_end_with_3_and_name_their_tag() {
    let place = Place::new("counter");
    for (tag, words) in [
        (("Cron-Tag-Action", "x"), "tag Cron-Tag-Action stands before any Cron-Interval"),
        (("Cron-Interval", "500-ms"), "tag Cron-Interval is \"500-ms\": less than a second"),
    ] {
        LogBuilder::tagged(&place.guest, &[tag], 1).write(&place.path(tag.1));
        let ended = place.replay(["run", &text(&place.path(tag.1))]);
        assert!(ended.code == Some(3) && ended.err.contains(words), "{ended:?}");
    }
    // What the reference takes for never, without a word (its fault 19), is told.
    let tags = [("Cron-Interval", "1-months"), ("Cron-Interval", "0-blocks")];
    LogBuilder::tagged(&place.guest, &tags, 1).message("one").write(&place.path("silent"));
    let ended = place.replay(["run", &text(&place.path("silent"))]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for cron in ["0-1-months", "0-0-blocks"] {
        assert!(ended.out.contains(&format!("note: cron \"{cron}\" never ticks")), "{ended:?}");
    }
}

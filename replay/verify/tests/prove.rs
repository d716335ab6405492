//! Receipts in a public log, proofs that travel alone, and results checked without an engine.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Ended, Place, text};

const ORIGIN: &str = "receipts.example/unit";

struct Log {
    place: Place,
    bundle: PathBuf,
    folder: PathBuf,
}

impl Log {
    /// The receipts of six entries.
    fn new() -> Self {
        let place = Place::new("error_answer");
        let bundle = place.pack(&place.log(), "x.bundle", &[]);
        let folder = place.path("receipts");
        fs::write(place.path("seed"), [42; 32]).expect("a temporary file can be written");
        let log = Self { place, bundle, folder };
        let ended = log.publish(&log.bundle);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.out.contains("added:  6\nsize:   6\n"), "{ended:?}");
        log
    }

    fn publish(&self, bundle: &Path) -> Ended {
        let seed = text(&self.place.path("seed"));
        self.place.replay([
            "prove",
            "log",
            &text(bundle),
            "-o",
            &text(&self.folder),
            "--origin",
            ORIGIN,
            "--key",
            &seed,
        ])
    }

    /// A longer log of the same process.
    fn grow(&self) -> PathBuf {
        let path = self.place.path("longer");
        let builder = (0..300).fold(self.place.builder(), |log, i| log.message(&format!("message {i}")));
        builder.write(&path);
        self.place.pack(&path, "longer.bundle", &[])
    }

    fn key(&self) -> String {
        let out = self.publish(&self.bundle).out;
        out.lines().find_map(|line| line.strip_prefix("key:    ")).expect("a key is printed").to_owned()
    }

    fn prove(&self, arguments: &[&str]) -> Ended {
        let key = self.key();
        self.place.replay([&["prove"], arguments, &["--key", &key]].concat())
    }

    fn receipt(&self, nonce: u64) -> String {
        format!("{}#{nonce}", text(&self.bundle))
    }

    fn keep(&self, name: &str, content: &str) -> String {
        let path = self.place.path(name);
        fs::write(&path, content).expect("a temporary file can be written");
        text(&path)
    }
}

fn ends(ended: &Ended, code: i32, words: &str) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert!(format!("{}{}", ended.out, ended.err).contains(words), "{words:?} is not in {ended:?}");
}

#[test]
fn a_receipt_in_the_log_is_proved_by_a_text_that_holds_alone() {
    let log = Log::new();
    for nonce in 0..6 {
        let receipt = log.receipt(nonce);
        let proof = log.prove(&["inclusion", &text(&log.folder), "--receipt", &receipt]);
        assert_eq!(proof.code, Some(0), "{proof:?}");
        assert!(proof.out.starts_with(&format!("c2sp.org/tlog-proof@v1\nindex {nonce}\n")), "{}", proof.out);
        let file = log.keep("proof", &proof.out);
        ends(&log.prove(&["check", &file, "--receipt", &receipt]), 0, "matched");
        let other = log.receipt((nonce + 1) % 6);
        ends(&log.prove(&["check", &file, "--receipt", &other]), 1, "does not hold");
        let moved = log.keep("moved", &proof.out.replace(&format!("index {nonce}\n"), "index 7\n"));
        ends(&log.prove(&["check", &moved, "--receipt", &receipt]), 1, "outside a log of 6 entries");
        let bigger = log.keep("bigger", &proof.out.replace("\n6\n", "\n7\n"));
        ends(&log.prove(&["check", &bigger, "--receipt", &receipt]), 1, "no valid signature");
    }
    let stranger = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let file = log.keep("proof", &log.prove(&["inclusion", &text(&log.folder), "--receipt", &log.receipt(0)]).out);
    ends(
        &log.place.replay(["prove", "check", &file, "--receipt", &log.receipt(0), "--key", stranger]),
        1,
        "no valid signature by PeterNeumann",
    );
    ends(&log.prove(&["check", &log.keep("none", "proof\n"), "--receipt", &log.receipt(0)]), 3, "line 1");
}

#[test]
fn a_log_grows_by_what_is_new_and_proves_that_it_did() {
    let log = Log::new();
    let old = log.keep("old", &fs::read_to_string(log.folder.join("checkpoint")).expect("a head"));
    let partial = fs::read(log.folder.join("tile/0/000.p/6")).expect("a partial tile");
    ends(&log.publish(&log.bundle), 0, "added:  0\nsize:   6\n");
    ends(&log.publish(&log.grow()), 0, "added:  300\nsize:   306\n");
    assert_eq!(fs::read(log.folder.join("tile/0/000.p/6")).expect("a partial tile"), partial);
    for file in ["tile/0/000", "tile/0/001.p/50", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/50"] {
        assert!(log.folder.join(file).exists(), "{file}");
    }
    ends(&log.prove(&["audit", &text(&log.folder), "--since", &old]), 0, "matched: 306 receipts in 5 files");
    let proof = log.prove(&["growth", &text(&log.folder), "--since", &old]);
    assert!(proof.code == Some(0) && proof.out.starts_with("old 6\n"), "{proof:?}");
    let file = log.keep("growth", &proof.out);
    ends(&log.prove(&["check", &file, "--since", &old]), 0, "matched: the 6 entries before");
    ends(
        &log.prove(&["check", &log.keep("other", &proof.out.replace("old 6", "old 5")), "--since", &old]),
        1,
        "does not hold",
    );
    // A partial tile may go once the full one is there.
    fs::remove_file(log.folder.join("tile/0/000.p/6")).expect("it is there");
    ends(&log.prove(&["audit", &text(&log.folder)]), 0, "matched");
}

#[test]
fn a_log_that_was_tampered_with_is_not_signed_again() {
    let log = Log::new();
    let key = log.key();
    let audit = || log.place.replay(["prove", "audit", &text(&log.folder), "--key", &key]);
    for file in ["tile/0/000.p/6", "tile/entries/000.p/6", "checkpoint"] {
        let path = log.folder.join(file);
        let sound = fs::read(&path).expect("a file of the log");
        let mut bytes = sound.clone();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        fs::write(&path, &bytes).expect("a temporary file can be written");
        let found = audit();
        assert!(matches!(found.code, Some(1 | 3)), "{file}: {found:?}");
        assert!(log.publish(&log.bundle).code != Some(0), "{file} was published over");
        fs::write(&path, sound).expect("a temporary file can be written");
        ends(&audit(), 0, "matched");
    }
    fs::write(log.place.path("seed"), "07".repeat(32) + "\n").expect("a temporary file can be written");
    ends(&log.publish(&log.bundle), 1, "no valid signature by receipts.example/unit");
    fs::write(log.place.path("seed"), "7").expect("a temporary file can be written");
    ends(&log.publish(&log.bundle), 3, "not a seed of 32 bytes");
    ends(&log.place.replay(["prove", "audit", &text(&log.place.path("nowhere")), "--key", &key]), 3, "checkpoint");
}

#[test]
fn a_result_and_its_receipt_are_checked_without_an_engine() {
    let log = Log::new();
    let lines = log.place.replay(["trace", &text(&log.bundle)]).out;
    for (nonce, line) in (0..).zip(lines.lines()) {
        // The bytes as they are served stand in the line.
        let start = line.find("\"result\":").expect("a field") + 9;
        let body = &line[start..line.find(",\"gas\":").expect("a field")];
        assert!(serde_json::from_str::<Value>(body).is_ok(), "{body}");
        let served = log.keep("body.json", body);
        let shown = log.place.replay(["inspect", "--json", "--nonce", &format!("{nonce}"), &text(&log.bundle)]).out;
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        let receipt = log.keep("receipt", shown["receipt"]["bytes"].as_str().expect("hex digits"));
        for receipt in [&receipt, &log.receipt(nonce)] {
            ends(&log.place.replay(["check-result", "--receipt", receipt, "--result", &served]), 0, "matched");
        }
        let other = log.keep("other.json", &format!("{body}\n"));
        ends(&log.place.replay(["check-result", "--receipt", &receipt, "--result", &other]), 1, "commits to a result");
    }
    let none = log.keep("none", "no receipt");
    ends(&log.place.replay(["check-result", "--receipt", &none, "--result", &none]), 3, "neither a receipt");
    ends(&log.place.replay(["check-result", "--receipt", &log.receipt(9), "--result", &none]), 3, "nonce 9");
}

//! A log that is not what it claims to be is refused by the command, which names the nonce and the fault.

mod support;

use std::fs;
use std::path::Path;

use ao_tests::Twist;
use support::{Place, text};

fn entry(log: &Path, nonce: u64) -> std::path::PathBuf {
    log.join(format!("log/{nonce:012}.ans104"))
}

/// Damages a sound log and wants the command to say all of `words`, and to give no verdict.
fn assert_refused(damage: impl FnOnce(&Path), words: &[&str]) {
    let place = Place::new("error_answer");
    let log = place.log();
    damage(&log);
    assert_refused_in(&place, words);
}

fn assert_refused_in(place: &Place, words: &[&str]) {
    for command in ["run", "trace"] {
        let ended = place.replay([command, &text(&place.path("log"))]);
        assert_eq!(ended.code, Some(3), "{ended:?}");
        for word in words {
            assert!(ended.err.contains(word), "{word:?} is not in {:?}", ended.err);
        }
        assert_eq!(ended.out, "", "nothing is reported of a log that cannot be believed");
    }
}

/// Changes one byte of an entry's file, counted from its end.
fn change(log: &Path, nonce: u64, from_end: usize) {
    let path = entry(log, nonce);
    let mut bytes = fs::read(&path).expect("an entry of the log");
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
    fs::write(&path, bytes).expect("an entry of the log");
}

#[test]
fn a_sound_log_is_accepted() {
    let place = Place::new("error_answer");
    let ended = place.replay(["run", "--quiet", &text(&place.log())]);
    assert_eq!((ended.code, &ended.out[..], &ended.err[..]), (Some(0), "", ""));
}

#[test]
fn swapped_messages_are_found_at_the_first_of_them() {
    let swap = |log: &Path| {
        let aside = log.join("aside");
        fs::rename(entry(log, 2), &aside).expect("a file can be renamed");
        fs::rename(entry(log, 3), entry(log, 2)).expect("a file can be renamed");
        fs::rename(&aside, entry(log, 3)).expect("a file can be renamed");
    };
    assert_refused(swap, &["nonce 2", "the assignment says nonce 3"]);
}

#[test]
fn a_missing_nonce_is_named() {
    assert_refused(|log| fs::remove_file(entry(log, 3)).expect("it was there"), &["nonce 3 is missing"]);
}

#[test]
fn an_assignment_by_another_scheduler_is_refused() {
    let place = Place::new("error_answer");
    place.builder().twisted("six", Twist::Scheduler).write(&place.path("log"));
    assert_refused_in(&place, &["nonce 6", "signed by", "scheduler is"]);
}

#[test]
fn a_broken_hash_chain_is_refused() {
    let place = Place::new("error_answer");
    place.builder().twisted("six", Twist::HashChain).message("seven").write(&place.path("log"));
    assert_refused_in(&place, &["nonce 6", "Hash-Chain is", "expected"]);
}

#[test]
fn changed_data_breaks_the_signature() {
    // The data is the end of the message, and that of the bundle.
    assert_refused(|log| change(log, 4, 1), &["nonce 4", "the signature of message", "invalid"]);
}

#[test]
fn a_changed_signature_changes_the_id() {
    // The last byte of the message's signature: behind it lie key, target, tags and data.
    let damage = |log: &Path| {
        let bytes = fs::read(entry(log, 4)).expect("an entry of the log");
        let message = message_bytes(&bytes);
        change(log, 4, message - 2 - 63);
    };
    assert_refused(damage, &["000000000004"]);
}

/// Size of the second item: the number before its id in the bundle's index.
fn message_bytes(bundle: &[u8]) -> usize {
    let at = 32 + 64;
    u64::from_le_bytes(bundle[at..at + 8].try_into().expect("eight bytes")) as usize
}

#[test]
fn a_truncated_item_is_refused() {
    let cut = |log: &Path| {
        let path = entry(log, 5);
        let bytes = fs::read(&path).expect("an entry of the log");
        fs::write(&path, &bytes[..bytes.len() - 10]).expect("an entry of the log");
    };
    assert_refused(cut, &["000000000005", "not the bundle of an assignment"]);
}

#[test]
fn a_message_assigned_twice_is_refused_unless_allowed() {
    let place = Place::new("error_answer");
    place.builder().message("five").write(&place.path("log"));
    assert_refused_in(&place, &["nonce 6", "at nonce 5 already"]);
    let ended = place.replay(["run", "--allow-duplicates", &text(&place.path("log"))]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("note: nonce 6"), "{ended:?}");
}

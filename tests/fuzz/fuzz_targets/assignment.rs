//! Assignments, processes and entries: any bytes are read or refused, and numbers have one spelling.
#![no_main]

use ao_log::{Assignment, ChainRule, Duplicates, LogEntry, LogVerifier, Nonce, ProcessInfo, Signatures, VerifyOptions};
use ao_wire::{DataItem, Tag, encode_tags};
use libfuzzer_sys::fuzz_target;

/// An unsigned item of type 2 with the tags of a text: `name=value` lines.
fn item(text: &[u8]) -> Vec<u8> {
    let tags: Vec<Tag<'_>> = text
        .split(|&byte| byte == b'\n')
        .filter_map(|line| {
            let at = line.iter().position(|&byte| byte == b'=')?;
            Some(Tag { name: &line[..at], value: &line[at + 1..] })
        })
        .collect();
    let raw = encode_tags(tags.iter().copied());
    let mut out = vec![2, 0];
    out.extend_from_slice(&[0; 64 + 32 + 2]);
    out.extend_from_slice(&(tags.len() as u64).to_le_bytes());
    out.extend_from_slice(&(raw.len() as u64).to_le_bytes());
    out.extend_from_slice(&raw);
    out
}

fn read(bytes: &[u8]) {
    let Ok(item) = DataItem::parse(bytes) else {
        return;
    };
    let _ = ProcessInfo::from_item(&item);
    let Ok(assignment) = Assignment::from_item(&item) else {
        return;
    };
    let spelled = |name: &str, value: String| {
        let mut tags = item.tags().filter(|tag| tag.name.eq_ignore_ascii_case(name.as_bytes()));
        assert!(tags.next().is_none_or(|tag| tag.value == value.as_bytes()), "{name}");
        assert!(tags.next().is_none(), "{name} twice");
    };
    spelled("Nonce", assignment.nonce.to_string());
    spelled("Slot", assignment.nonce.to_string());
    spelled("Epoch", assignment.epoch.to_string());
    spelled("Timestamp", assignment.timestamp.to_string());
    spelled("Process", assignment.process.to_string());
    spelled("Hash-Chain", assignment.hash_chain.to_string());
    for rule in [ChainRule::Legacy, ChainRule::HyperBeam] {
        let options = VerifyOptions { rule, signatures: Signatures::None, duplicates: Duplicates::Note };
        if let Ok(mut verifier) = LogVerifier::new(bytes, options) {
            let entry = LogEntry { nonce: Nonce(0), assignment: bytes.to_vec(), message: Some(bytes.to_vec()) };
            let _ = verifier.check_page(&[entry]);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    read(data);
    read(&item(data));
    if let Ok(entry) = LogEntry::from_bundle(Nonce(0), data) {
        let again = entry.to_bundle().expect("its items were parsed");
        assert_eq!(LogEntry::from_bundle(Nonce(0), &again), Ok(entry));
    }
});

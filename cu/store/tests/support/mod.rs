//! What the tests of the store are made of.

// Each test file uses its own part.
#![allow(dead_code)]

use ao_log::{BlockHeight, LogEntry, Nonce, TimestampMs};
use ao_store::{GROUP_BYTES, Position, StepRecord};
use ao_tests::{Guest, LogBuilder};
use ao_wire::{Id, ProcessId};

pub(crate) fn process(number: u8) -> ProcessId {
    Id([number; 32]).into()
}

/// A valid log.
pub(crate) fn entries(count: usize) -> Vec<LogEntry> {
    let log = LogBuilder::new(&Guest::load("counter", 64), &[]);
    (1..count).fold(log, |log, nonce| log.message(&format!("message {nonce}"))).entries().to_vec()
}

/// What a unit would store of a step.
pub(crate) fn step(number: u8, nonce: u64) -> StepRecord {
    let id = |salt: u64| Id::sha256(&[number.into(), nonce, salt].map(u64::to_le_bytes).concat());
    StepRecord {
        process: process(number),
        position: Position::of(Nonce(nonce)),
        message: id(1).into(),
        content: None,
        assignment: id(2).into(),
        timestamp: TimestampMs(1000 + nonce),
        block_height: BlockHeight(77),
        cron: None,
        failed: false,
        receipt: vec![nonce as u8; 256],
        result_json: format!("{{\"Output\":{nonce}}}").into_bytes(),
    }
}

/// Groups of memory with seeded content, no two units alike.
pub(crate) fn groups(count: u32, seed: u64) -> Vec<(u32, Vec<u8>)> {
    let group = |index: u32| {
        let mut bytes = vec![0; GROUP_BYTES];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&index.to_le_bytes()).update(&seed.to_le_bytes());
        hasher.finalize_xof().fill(&mut bytes[..512]);
        (index, bytes)
    };
    (0..count).map(group).collect()
}

//! `replay trace`: one JSON line per step.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use ao_commit::hex;
use ao_replay::{Observed, Options, ReplayError, Source, run};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::args::{MemoryHash, Trace};

#[derive(Serialize)]
struct Line<'a> {
    nonce: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tick: Option<Tick<'a>>,
    message: String,
    outcome: String,
    result: &'a RawValue,
    gas: u64,
    receipt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_blake3: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_sha256: Option<String>,
}

/// A cron tick, which follows its nonce.
#[derive(Serialize)]
struct Tick<'a> {
    number: u32,
    cron: &'a str,
    timestamp: u64,
    block_height: u64,
}

pub(crate) fn trace(args: &Trace, options: &Options) -> Result<(), ReplayError> {
    let mut out = BufWriter::new(io::stdout());
    let failed = |source| ReplayError::Io { path: PathBuf::from("standard output"), source };
    run(Source::open(&args.source)?, options, &mut |observed: Observed<'_>| {
        let report = observed.report;
        let memory = observed.session.memory();
        let wants = |hash| args.memory.contains(&hash);
        let line = Line {
            nonce: report.nonce.0,
            tick: report.tick.as_ref().map(|ticked| Tick {
                number: report.receipt.tick,
                cron: &ticked.cron,
                timestamp: ticked.at.timestamp_ms,
                block_height: ticked.at.block_height,
            }),
            message: report.message.to_string(),
            outcome: report.receipt.outcome.name(),
            result: serde_json::from_slice(&report.result_json).expect("a result is written as JSON"),
            gas: report.receipt.gas,
            receipt: hex(&report.receipt_hash),
            state_root: report.receipt.state_root.map(|root| hex(&root)),
            memory_blake3: wants(MemoryHash::Blake3).then(|| blake3::hash(memory).to_hex().to_string()),
            memory_sha256: wants(MemoryHash::Sha256).then(|| hex(&Sha256::digest(memory))),
        };
        serde_json::to_writer(&mut out, &line).map_err(|error| failed(error.into()))?;
        out.write_all(b"\n").map_err(failed)
    })?;
    out.flush().map_err(failed)
}

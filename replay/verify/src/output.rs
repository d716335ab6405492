//! What `run`, `pack` and `verify` print at their end: a table, or one JSON line.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use ao_commit::hex;
use ao_log::Signatures;
use ao_replay::{Disagreement, ReplayError, Report, Verdict, tick_text};
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use serde_json::json;

use crate::args::{Show, describe};

/// Prints a line; a reader that went away is no trouble of ours.
pub(crate) fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

pub(crate) fn show(
    path: &Path,
    report: &Report,
    verdict: Option<&Verdict>,
    time: Duration,
    signatures: Signatures,
    show: &Show,
) {
    if show.quiet {
        return;
    }
    let rate = report.steps as f64 / time.as_secs_f64().max(1e-9);
    if show.json {
        print(&to_json(path, report, verdict, signatures, rate).to_string());
        return;
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    let mut row = |name: &str, value: String| {
        table.add_row(vec![name.to_owned(), value]);
    };
    row("source", path.display().to_string());
    row("process", report.process.to_string());
    row("module", report.module.to_string());
    row("module BLAKE3", hex(&report.module_blake3));
    row("module signature", if report.module_signed { "checked" } else { "not in the log, or not checked" }.into());
    row("profile", report.profile.clone());
    row("engine", engines(report).join(", in agreement with "));
    if let Some(nonce) = report.resumed_after {
        row("from the saved state of nonce", format!("{nonce} (not proved by this run)"));
    }
    row("messages", format!("{}, of which {} failed and left no trace", report.steps, report.failed));
    if report.ticks > 0 {
        row("of these cron ticks", report.ticks.to_string());
    }
    row("messages/s", format!("{rate:.0}"));
    row("signatures", format!("{} ({} checked)", describe(signatures), report.log.signatures_checked));
    if report.assigned > 0 {
        let checked = if signatures == Signatures::None { "not checked" } else { "signatures checked" };
        row("assigned transactions", format!("{} ({checked})", report.assigned));
    }
    row("gas", report.gas.to_string());
    row("dirty bytes", format!("{} ({})", report.bytes_changed, report.tracker));
    row("memory", format!("{} bytes", report.end.memory_bytes));
    row("memory root", hex(&report.end.memory_root));
    row("state root", hex(&report.end.state_root));
    if let Some((nonce, hash)) = &report.last {
        row("last receipt", hex(hash));
        row("last nonce", nonce.to_string());
    }
    if let Some(verdict) = verdict {
        row("verdict", describe_verdict(verdict));
    }
    print(&table.to_string());
    for note in notes(report) {
        print(&format!("note: {note}"));
    }
}

/// What is no fault and yet worth knowing.
fn notes(report: &Report) -> Vec<String> {
    let silent = report.silent_crons.iter().map(|cron| format!("cron {cron:?} never ticks: its interval is no number"));
    report.log.notes.iter().map(ToString::to_string).chain(silent).collect()
}

fn engines(report: &Report) -> Vec<&'static str> {
    report.engines.iter().map(|engine| engine.name()).collect()
}

fn describe_verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Matched { first, last } => format!("matched (nonces {first} to {last})"),
        Verdict::Diverged(at) => format!(
            "DIVERGED at nonce {}{}, message {}\n{} recorded {}\n{} computed {}",
            at.nonce,
            tick_text(at.tick),
            at.message,
            at.field,
            at.recorded,
            at.field,
            at.computed
        ),
        Verdict::Incomplete { first: Some(nonce) } => format!("incomplete: nonce {nonce} has no recorded receipt"),
        Verdict::Incomplete { first: None } => "incomplete: there was no step to compare".into(),
    }
}

fn to_json(
    path: &Path,
    report: &Report,
    verdict: Option<&Verdict>,
    signatures: Signatures,
    rate: f64,
) -> serde_json::Value {
    json!({
        "source": path.display().to_string(),
        "process": report.process.to_string(),
        "module": report.module.to_string(),
        "module_blake3": hex(&report.module_blake3),
        "profile": report.profile,
        "engines": engines(report),
        "resumed_after": report.resumed_after.map(|nonce| nonce.0),
        "messages": report.steps,
        "failed": report.failed,
        "ticks": report.ticks,
        "messages_per_second": rate,
        "signatures": describe(signatures),
        "signatures_checked": report.log.signatures_checked,
        "assigned": report.assigned,
        "gas": report.gas,
        "dirty_bytes": report.bytes_changed,
        "tracker": report.tracker,
        "memory_bytes": report.end.memory_bytes,
        "memory_root": hex(&report.end.memory_root),
        "state_root": hex(&report.end.state_root),
        "last_nonce": report.last.map(|(nonce, _)| nonce.0),
        "last_receipt": report.last.map(|(_, hash)| hex(&hash)),
        "notes": notes(report),
        "module_signed": report.module_signed,
        "compared": verdict.and_then(|verdict| match verdict {
            Verdict::Matched { first, last } => Some([first.0, last.0]),
            _ => None,
        }),
        "verdict": verdict.map(|verdict| match verdict {
            Verdict::Matched { .. } => json!("matched"),
            Verdict::Diverged(at) => json!({"diverged": {
                "nonce": at.nonce.0, "tick": at.tick, "message": at.message.to_string(), "field": at.field,
                "recorded": at.recorded, "computed": at.computed,
            }}),
            Verdict::Incomplete { first } => json!({"incomplete": {"nonce": first.map(|nonce| nonce.0)}}),
        }),
    })
}

fn disagreement(at: &Disagreement) -> serde_json::Value {
    let side = |side: usize| json!({"engine": at.engines[side].name(), "value": at.values[side]});
    json!({
        "nonce": at.nonce.0, "tick": at.tick, "message": at.message.to_string(), "field": at.field,
        "found": [side(0), side(1)],
    })
}

/// Prints an error with all its causes.
#[allow(clippy::print_stderr, reason = "the command's own errors")]
pub(crate) fn error(path: &Path, error: &ReplayError, json: bool) {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    if json {
        let disagreement = match error {
            ReplayError::Engines(at) => Some(disagreement(at)),
            _ => None,
        };
        let line = json!({"source": path.display().to_string(), "error": text, "disagreement": disagreement});
        print(&line.to_string());
    }
    let path = path.display().to_string();
    let at = if path.is_empty() || text.starts_with(&path) { String::new() } else { format!("{path}: ") };
    eprintln!("replay: {at}{text}");
}

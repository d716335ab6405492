//! What a demo prints at its end: a table, sums, and the command that repeats it.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use super::Played;
use super::drive::OPENING;
use super::purse::EACH;
use super::verify::Verified;
use crate::say;

/// Digits of a root that are shown; `replay verify` shows all.
const ROOT_DIGITS: usize = 16;

/// One row a process, and their sum.
pub(super) fn table(verified: &[Verified]) -> Result<()> {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["process", "messages", "hops", "gas", "memory root", "verdict"]);
    for one in verified {
        let (process, messages, gas, root) = match &one.outcome {
            Ok((report, _)) => {
                let root = blake3::Hash::from_bytes(report.end.memory_root).to_hex();
                (
                    report.process.to_string(),
                    report.steps.to_string(),
                    report.gas.to_string(),
                    format!("{}…", &root[..ROOT_DIGITS]),
                )
            }
            Err(_) => (one.path.display().to_string(), String::new(), String::new(), String::new()),
        };
        table.add_row([process, messages, one.hops.to_string(), gas, root, one.verdict()]);
    }
    let matched = verified.iter().filter(|one| one.matched()).count();
    let (messages, hops, gas) = totals(verified);
    let sum = [format!("{} processes", verified.len()), messages.to_string(), hops.to_string(), gas.to_string()];
    table.add_row(sum.into_iter().chain([String::new(), format!("{matched} matched")]));
    for column in 1..=3 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    say(&table.to_string())
}

/// Messages, hops and gas of all.
pub(super) fn totals(verified: &[Verified]) -> (u64, u64, u64) {
    verified.iter().fold((0, 0, 0), |(messages, hops, gas), one| {
        let (more, gas_more) = one.outcome.as_ref().map_or((0, 0), |(report, _)| (report.steps, report.gas));
        (messages + more, hops + one.hops, gas + gas_more)
    })
}

/// Rates, what the traders have together, and how to repeat the verification.
pub(super) fn sums(verified: &[Verified], played: &Played, processes: u32, verifying: Duration) -> Result<()> {
    let (messages, hops, _) = totals(verified);
    let traded = messages.saturating_sub(OPENING * u64::from(processes));
    let rate = |count: u64, time: Duration| count as f64 / time.as_secs_f64().max(1e-9);
    let (trading, all, each) = (played.trading, &played.all, EACH * u64::from(processes));
    say(&format!(
        "traded    {traded} messages in {:.1} s: {:.0} messages/s, {:.0} hops/s from outbox to evaluation",
        trading.as_secs_f64(),
        rate(traded, trading),
        rate(hops, trading)
    ))?;
    say(&format!(
        "verified  {messages} messages offline in {:.1} s: {:.0} messages/s",
        verifying.as_secs_f64(),
        rate(messages, verifying)
    ))?;
    let conserved = if all.conserved(processes as usize) { "conserved" } else { "NOT CONSERVED" };
    say(&format!(
        "supply    {} of {each} gold, {} of {each} silver: {conserved}; {} letters written, {} read",
        all.gold, all.silver, all.written, all.read
    ))?;
    say(&format!(
        "trades    {} done, {} refused, {} without gold; {} pings answered, {} ticks of the clock",
        all.done, all.refused, all.poor, all.pongs, all.ticks
    ))?;
    let folder = verified.first().and_then(|one| one.path.parent()).unwrap_or(Path::new("."));
    say(&format!("repeat    {} verify {}/*.bundle", replay(), folder.display()))
}

/// The `replay` command beside this one, if it is there; seen from here.
fn replay() -> String {
    let beside = std::env::current_exe().ok().map(|path| path.with_file_name("replay")).filter(|path| path.exists());
    let here = std::env::current_dir().unwrap_or_default();
    beside.map_or_else(|| "replay".into(), |path| path.strip_prefix(&here).unwrap_or(&path).display().to_string())
}

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
    table.set_header(["process", "messages", "ticks", "hops", "gas", "memory root", "verdict"]);
    for one in verified {
        let (process, root) = match &one.outcome {
            Ok((report, _)) => {
                let root = ao_commit::hex(&report.end.memory_root);
                (report.process.to_string(), format!("{}…", &root[..ROOT_DIGITS]))
            }
            Err(_) => (one.path.display().to_string(), String::new()),
        };
        table.add_row(row(process, Sum::of(one), root, one.verdict()));
    }
    let matched = verified.iter().filter(|one| one.matched()).count();
    let (all, matched) = (format!("{} processes", verified.len()), format!("{matched} matched"));
    table.add_row(row(all, Sum::of_all(verified), String::new(), matched));
    for column in 1..=4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    say(&table.to_string())
}

fn row(process: String, sum: Sum, root: String, verdict: String) -> [String; 7] {
    let Sum { messages, ticks, hops, gas } = sum;
    [process, messages.to_string(), ticks.to_string(), hops.to_string(), gas.to_string(), root, verdict]
}

/// What was evaluated anew.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    /// Entries of logs.
    pub(super) messages: u64,
    /// Ticks of crons between them.
    ticks: u64,
    /// Messages that another process sent.
    hops: u64,
    gas: u64,
}

impl Sum {
    fn of(one: &Verified) -> Self {
        let Ok((report, _)) = &one.outcome else { return Self::default() };
        Self { messages: report.steps - report.ticks, ticks: report.ticks, hops: one.hops, gas: report.gas }
    }

    pub(super) fn of_all(verified: &[Verified]) -> Self {
        verified.iter().map(Self::of).fold(Self::default(), |sum, one| Self {
            messages: sum.messages + one.messages,
            ticks: sum.ticks + one.ticks,
            hops: sum.hops + one.hops,
            gas: sum.gas + one.gas,
        })
    }
}

/// Rates, what the traders have together, and how to repeat the verification.
pub(super) fn sums(verified: &[Verified], played: &Played, processes: u32, verifying: Duration) -> Result<()> {
    let Sum { messages, hops, .. } = Sum::of_all(verified);
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

//! One process on one engine, or on two that must agree step by step.
//!
//! Compared are outcome, gas and result of every step; memory and state where a receipt carries a state root, after
//! every step that failed, and at the end. An engine that runs the module as published counts no gas: then gas is not
//! compared, nor, in the formats that show it to people, `GasUsed` in a result and the state that remembers it.
//!
//! Not here: what an engine is (`ao-kernel`), comparing with recorded receipts (`verify`).
//! Invariant: what is reported is the first difference, and nothing is evaluated after it.

use ao_kernel::Engine;
use ao_log::{Assigned, LogEntry, Nonce};
use ao_wire::MessageId;

use crate::error::ReplayError;
use crate::session::{Commitment, Session, StepReport};
use ao_commit::hex;

/// Characters of a result shown from shortly before where it differs.
const EXCERPT_CHARS: usize = 160;

/// Where two engines part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the engines DISAGREE at nonce {nonce}{}, message {message}\n{field} on {}: {}\n{field} on {}: {}",
    tick_text(*.tick), .engines[0].name(), .values[0], .engines[1].name(), .values[1]
)]
pub struct Disagreement {
    /// The step.
    pub nonce: Nonce,
    /// Which of the cron ticks after that nonce it is; 0 if it is none.
    pub tick: u32,
    /// Its message.
    pub message: MessageId,
    /// What differs first, in the order outcome, gas, result, memory bytes, memory root, state root.
    pub field: &'static str,
    /// The engines.
    pub engines: [Engine; 2],
    /// What each of them found.
    pub values: [String; 2],
}

/// What names a cron tick behind its nonce; nothing if it is 0, which is none.
pub fn tick_text(tick: u32) -> String {
    if tick == 0 { String::new() } else { format!(", tick {tick}") }
}

/// A session, and the one that checks it.
pub(crate) struct Lockstep {
    pub(crate) session: Session,
    second: Option<Session>,
    last: Option<(Nonce, u32, MessageId)>,
}

impl Lockstep {
    pub(crate) fn new(session: Session, second: Option<Session>) -> Self {
        Self { session, second, last: None }
    }

    /// As [`Session::skip`], for both.
    pub(crate) fn skip(&mut self, entry: &LogEntry) -> Result<(), ReplayError> {
        self.second.iter_mut().try_for_each(|session| session.skip(entry))?;
        self.session.skip(entry)
    }

    /// As [`Session::step_assigned`]; both must come to the same.
    pub(crate) fn step(&mut self, entry: &LogEntry, assigned: Option<&Assigned>) -> Result<StepReport, ReplayError> {
        let report = self.session.step_assigned(entry, assigned, |_| false)?;
        self.last = Some((report.nonce, report.receipt.tick, report.message));
        let Some(second) = &mut self.second else { return Ok(report) };
        let other = second.step_assigned(entry, assigned, |_| false)?;
        let engines = [self.session.engine(), second.engine()];
        let counted = !engines.contains(&Engine::Original);
        let results = [&report, &other].map(|it| result(it, counted || !second.shows_gas()));
        let outcomes = [&report, &other].map(|it| it.receipt.outcome.name());
        let gas = [&report, &other].map(|it| if counted { it.receipt.gas.to_string() } else { String::new() });
        let fields = [("outcome", outcomes), ("gas", gas)];
        let difference = fields.into_iter().find(|(_, values)| values[0] != values[1]);
        let difference = difference.or_else(|| (results[0] != results[1]).then(|| ("result", excerpts(&results))));
        if let Some((field, values)) = difference {
            let (nonce, tick, message) = (report.nonce, report.receipt.tick, report.message);
            return Err(Disagreement { nonce, tick, message, field, engines, values }.into());
        }
        let failed = report.receipt.outcome != ao_commit::Outcome::Ok;
        if failed || report.receipt.state_root.is_some() {
            self.commit()?;
        }
        Ok(report)
    }

    /// As [`Session::commit`]; both must come to the same.
    pub(crate) fn commit(&mut self) -> Result<Commitment, ReplayError> {
        let (commitment, _) = self.session.commit()?;
        let (Some(second), Some((nonce, tick, message))) = (&mut self.second, self.last) else { return Ok(commitment) };
        let (other, _) = second.commit()?;
        let engines = [self.session.engine(), second.engine()];
        let both = [&commitment, &other];
        let mut fields = vec![
            ("memory bytes", both.map(|it| it.memory_bytes.to_string())),
            ("memory root", both.map(|it| hex(&it.memory_root))),
        ];
        if !(engines.contains(&Engine::Original) && second.shows_gas()) {
            fields.push(("state root", both.map(|it| hex(&it.state_root))));
        }
        match fields.into_iter().find(|(_, values)| values[0] != values[1]) {
            Some((field, values)) => Err(Disagreement { nonce, tick, message, field, engines, values }.into()),
            None => Ok(commitment),
        }
    }
}

/// A result as text, without its gas if the engines cannot both have counted it.
fn result(report: &StepReport, whole: bool) -> String {
    let text = String::from_utf8_lossy(&report.result_json);
    if whole {
        return text.into_owned();
    }
    match serde_json::from_str::<serde_json::Map<_, _>>(&text) {
        Ok(mut fields) => {
            fields.remove("GasUsed");
            serde_json::Value::from(fields).to_string()
        }
        Err(_) => text.into_owned(),
    }
}

/// Both results from shortly before the first character that differs.
fn excerpts(results: &[String; 2]) -> [String; 2] {
    let same = results[0].chars().zip(results[1].chars()).take_while(|(a, b)| a == b).count();
    let start = same.saturating_sub(EXCERPT_CHARS / 4);
    let excerpt = |text: &String| {
        let shown: String = text.chars().skip(start).take(EXCERPT_CHARS).collect();
        let before = if start > 0 { "…" } else { "" };
        let after = if text.chars().count() > start + EXCERPT_CHARS { "…" } else { "" };
        format!("{before}{shown}{after}")
    };
    [excerpt(&results[0]), excerpt(&results[1])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_shown_from_where_they_differ() {
        let long = |end: char| format!("{}{end}", "é".repeat(500));
        let [a, b] = excerpts(&[long('a'), long('b')]);
        assert_eq!(a.chars().count(), 1 + EXCERPT_CHARS / 4 + 1);
        assert!(a.starts_with('…') && a.ends_with('a') && b.ends_with('b'));
        assert_eq!(excerpts(&["{}".into(), "{\"a\":1}".into()]), ["{}", "{\"a\":1}"]);
    }
}

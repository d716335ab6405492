//! Comparing a replay with the receipts recorded beside its inputs.
//!
//! Not here: the replay itself (`run`).
//! Invariant: `Matched` names the nonces that were compared, at least one; each of them had a recorded receipt that is
//! equal to the computed one in all its bytes, or in all that [`verify`] says.

use ao_commit::Receipt;
use ao_kernel::Engine;
use ao_log::Nonce;
use ao_wire::MessageId;

use crate::error::ReplayError;
use crate::run::{Observed, Observer, Options, Report, run};
use crate::source::Source;
use ao_commit::hex;

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every recorded receipt of these nonces is the computed one.
    Matched {
        /// The first nonce compared.
        first: Nonce,
        /// The last nonce compared.
        last: Nonce,
    },
    /// The first step whose receipt differs.
    Diverged(Divergence),
    /// Nothing differs, but some steps have no receipt to compare with, or there was no step.
    Incomplete {
        /// The first step without a receipt; `None` if there was no step to compare.
        first: Option<Nonce>,
    },
}

/// Where a replay parts from what was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The step.
    pub nonce: Nonce,
    /// Which of the cron ticks after that nonce it is; 0 if it is none.
    pub tick: u32,
    /// Its message.
    pub message: MessageId,
    /// The first field of the receipt that differs, in the order of cause.
    pub field: &'static str,
    /// Its value in the recorded receipt.
    pub recorded: String,
    /// Its value as computed.
    pub computed: String,
}

/// Replays a bundle and compares each receipt.
///
/// The whole bundle is read and evaluated even past a divergence, so that the report is complete. On
/// [`Engine::Original`] what depends on gas is not compared: gas, and with it the chain of receipts; in the formats that
/// show gas to people the result and the state root too.
///
/// # Errors
/// As [`run`], and for a recorded receipt that is none.
pub fn verify(
    source: Source,
    options: &Options,
    progress: &mut Observer<'_>,
) -> Result<(Report, Verdict), ReplayError> {
    let (mut diverged, mut missing, mut compared) = (None, None, None::<(Nonce, Nonce)>);
    let mut recorded = None::<std::vec::IntoIter<Receipt>>;
    let report = run(source, options, &mut |observed: Observed<'_>| {
        let (nonce, report) = (observed.logged.entry.nonce, observed.report);
        if recorded.is_none() {
            recorded = observed.logged.receipts()?.map(Vec::into_iter);
        }
        match &mut recorded {
            None if missing.is_none() => missing = Some(nonce),
            Some(recorded) if diverged.is_none() => {
                compared = Some((compared.map_or(nonce, |(first, _)| first), nonce));
                // Its own receipt ends what is recorded for an entry.
                let next = recorded.next().filter(|_| report.tick.is_some() || recorded.len() == 0);
                let next = next.ok_or(ReplayError::OtherTicks { nonce })?;
                let uncounted = observed.session.engine() == Engine::Original;
                let skipped: &[&str] = match (uncounted, observed.session.shows_gas()) {
                    (false, _) => &[],
                    (true, false) => &["gas", "previous receipt"],
                    (true, true) => &["gas", "previous receipt", "result hash", "state root"],
                };
                diverged = compare(&next, &report.receipt, skipped).map(|(field, recorded, computed)| Divergence {
                    nonce: report.nonce,
                    tick: report.receipt.tick,
                    message: report.message,
                    field,
                    recorded,
                    computed,
                });
            }
            _ => {}
        }
        if report.tick.is_none() {
            recorded = None;
        }
        progress(observed)
    })?;
    let verdict = match (diverged, missing, compared) {
        (Some(divergence), ..) => Verdict::Diverged(divergence),
        (None, None, Some((first, last))) => Verdict::Matched { first, last },
        (None, missing, _) => Verdict::Incomplete { first: missing },
    };
    Ok((report, verdict))
}

/// The first field in which two receipts differ, with both values. What is given to a step comes before what it led to.
fn compare(recorded: &Receipt, computed: &Receipt, skipped: &[&str]) -> Option<(&'static str, String, String)> {
    type Shown = fn(&Receipt) -> String;
    let fields: [(&'static str, Shown); 11] = [
        ("process", |r| hex(&r.process)),
        ("profile", |r| hex(&r.profile)),
        ("nonce", |r| r.nonce.to_string()),
        ("tick", |r| r.tick.to_string()),
        ("assignment", |r| hex(&r.assignment_id)),
        ("input hash", |r| hex(&r.input_hash)),
        ("outcome", |r| r.outcome.name()),
        ("result hash", |r| hex(&r.result_hash)),
        ("gas", |r| r.gas.to_string()),
        ("previous receipt", |r| hex(&r.prev)),
        ("state root", |r| r.state_root.map_or_else(|| "none".to_owned(), |root| hex(&root))),
    ];
    fields.into_iter().filter(|(name, _)| !skipped.contains(name)).find_map(|(name, value)| {
        let (recorded, computed) = (value(recorded), value(computed));
        (recorded != computed).then_some((name, recorded, computed))
    })
}

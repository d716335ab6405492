//! Comparing a replay with the receipts recorded beside its inputs.
//!
//! Not here: the replay itself (`run`).
//! Invariant: `Matched` means that every step from the first reported nonce on had a recorded receipt, and that each is
//! equal to the computed one in all its bytes.

use ao_commit::{Hash, Receipt};
use ao_log::Nonce;
use ao_wire::MessageId;

use crate::error::ReplayError;
use crate::run::{Observed, Observer, Options, Report, run};
use crate::source::{Source, hex};

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every recorded receipt is the computed one.
    Matched,
    /// The first step whose receipt differs.
    Diverged(Divergence),
    /// Nothing differs, but some steps have no receipt to compare with.
    Incomplete {
        /// The first such step; `None` if the log has no step at all.
        first: Option<Nonce>,
    },
}

/// Where a replay parts from what was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The step.
    pub nonce: Nonce,
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
/// The whole bundle is read and evaluated even past a divergence, so that the report is complete.
///
/// # Errors
/// As [`run`], and for a recorded receipt that is none.
pub fn verify(
    source: Source,
    options: &Options,
    progress: &mut Observer<'_>,
) -> Result<(Report, Verdict), ReplayError> {
    let (mut diverged, mut missing) = (None, None);
    let report =
        run(source, options, &mut |observed: Observed<'_>| {
            let nonce = observed.report.nonce;
            match &observed.logged.receipt {
                None if missing.is_none() => missing = Some(nonce),
                Some(bytes) if diverged.is_none() => {
                    let recorded = Receipt::decode(bytes).map_err(|source| ReplayError::Receipt { nonce, source })?;
                    diverged = compare(&recorded, &observed.report.receipt).map(|(field, recorded, computed)| {
                        Divergence { nonce, message: observed.report.message, field, recorded, computed }
                    });
                }
                _ => {}
            }
            progress(observed)
        })?;
    let verdict = match (diverged, missing) {
        (Some(divergence), _) => Verdict::Diverged(divergence),
        (None, Some(first)) => Verdict::Incomplete { first: Some(first) },
        (None, None) if report.steps == 0 => Verdict::Incomplete { first: None },
        (None, None) => Verdict::Matched,
    };
    Ok((report, verdict))
}

/// The first field in which two receipts differ, with both values. What is given to a step comes before what it led to.
fn compare(recorded: &Receipt, computed: &Receipt) -> Option<(&'static str, String, String)> {
    let root = |root: Option<Hash>| root.map_or_else(|| "none".to_owned(), |root| hex(&root));
    let fields: [(&'static str, fn(&Receipt) -> String); 9] = [
        ("process", |r| hex(&r.process)),
        ("profile", |r| hex(&r.profile)),
        ("nonce", |r| r.nonce.to_string()),
        ("assignment", |r| hex(&r.assignment_id)),
        ("input hash", |r| hex(&r.input_hash)),
        ("outcome", |r| format!("{:?}", r.outcome)),
        ("result hash", |r| hex(&r.result_hash)),
        ("gas", |r| r.gas.to_string()),
        ("previous receipt", |r| hex(&r.prev)),
    ];
    let differing = fields.into_iter().find_map(|(name, value)| {
        let (recorded, computed) = (value(recorded), value(computed));
        (recorded != computed).then_some((name, recorded, computed))
    });
    differing.or_else(|| {
        let (recorded, computed) = (root(recorded.state_root), root(computed.state_root));
        (recorded != computed).then_some(("state root", recorded, computed))
    })
}

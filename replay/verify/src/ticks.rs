//! Cron ticks as steps of a session.
//!
//! Not here: when a cron ticks and what its message says (`ao_kernel::cron`).
//! Invariant: the ticks before an entry are made right before it and use no more than one `Compute-Limit` together; so
//! whoever has the log up to an entry has all ticks before it, and whoever has saved a state has none half done.

use ao_commit::Outcome;
use ao_kernel::cron::{Course, Moment, Tick};
use ao_kernel::message::Shown;
use ao_kernel::result::{GuestFailure, merge};
use ao_log::{LogEntry, Nonce};

use crate::error::ReplayError;
use crate::outcome::ended;
use crate::session::{Session, StepReport, assignment, text};

/// A cron tick that was evaluated. Which of those after its entry it is stands in its receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticked {
    /// The cron, as cursors of the reference name it.
    pub cron: String,
    /// When, and at which block.
    pub at: Moment,
}

/// The ticks between two entries.
pub(crate) struct Gap {
    ticks: std::vec::IntoIter<Tick>,
    made: u32,
    /// What they may use, all together.
    gas_left: u64,
}

impl Session {
    /// The next of the ticks before an entry.
    pub(crate) fn next_tick(&mut self, entry: &LogEntry) -> Result<Option<Tick>, ReplayError> {
        let Some(course) = &self.course else { return Ok(None) };
        if self.gap.is_none() {
            let ticks = self.setup.crons.due(course, moment(entry)?).into_iter();
            self.gap = Some(Gap { ticks, made: 0, gas_left: self.setup.limits.compute_max });
        }
        Ok(self.gap.as_mut().and_then(|gap| gap.ticks.next()))
    }

    /// Moves the course of the log on by an entry.
    pub(crate) fn pass(&mut self, entry: &LogEntry) -> Result<(), ReplayError> {
        if self.setup.has_crons() {
            let at = moment(entry)?;
            match &mut self.course {
                Some(course) if entry.nonce > Nonce(0) => course.pass(at),
                course => *course = Some(Course::start(at)),
            }
        }
        Ok(())
    }

    /// Makes a step of a tick before the entry of this nonce.
    pub(crate) fn step_tick(&mut self, next: Nonce, tick: Tick) -> Result<StepReport, ReplayError> {
        let Self { setup, machine, json, gap, .. } = self;
        let gap = gap.as_mut().expect("the tick is one of its");
        let process = Shown::new(setup.process());
        json.clear();
        setup.crons.write(&tick, &process.item(), json);
        let step = if gap.gas_left > 0 {
            let step = machine.step_within(text(json), gap.gas_left);
            Some(step.map_err(|source| ReplayError::Machine { nonce: next, source })?)
        } else {
            None
        };
        let (evaluated, outcome, gas) =
            step.map_or_else(|| (merge(Err(GuestFailure::Error), 0), Outcome::OutOfGas, 0), ended);
        gap.gas_left = gap.gas_left.saturating_sub(gas);
        gap.made += 1;
        let ticked = Ticked { cron: setup.crons.id(&tick).to_owned(), at: tick.at() };
        let place = (Nonce(next.0 - 1), gap.made, self.last_assignment);
        let message = process.item().id.into();
        self.report(place, message, Some(ticked), (evaluated, outcome, gas), None)
    }
}

/// Where an entry says that its log stands.
fn moment(entry: &LogEntry) -> Result<Moment, ReplayError> {
    let assignment = assignment(entry)?;
    Ok(Moment { timestamp_ms: assignment.timestamp.0, block_height: assignment.block_height.0 })
}

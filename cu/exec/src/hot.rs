//! A process in memory: brought there from the store, and back.
//!
//! Not here: when (`lane`, `executor`).
//! Invariant: what is in memory is what evaluating the stored log gives; where results are stored already, they are
//! compared and not believed.

use ao_commit::{Outcome, Receipt};
use ao_kernel::json::parse;
use ao_kernel::message::dedup::Key;
use ao_log::{Assignment, BlockHeight, LogEntry, Nonce, TimestampMs};
use ao_replay::{SavedState, Session, StepReport, Ticked, resume, save};
use ao_store::{Position, StepRecord, Store, StoreError};
use ao_wire::{DataItem, Id, ProcessId};

use crate::dry_run::Place;
use crate::error::{ExecError, Of};
use crate::modules::Modules;

/// A group in the body of a saved state: its index, its content.
const GROUP_RECORD_BYTES: usize = 4 + ao_kernel::GROUP_BYTES;

pub(crate) struct Hot {
    pub(crate) process: ProcessId,
    pub(crate) session: Session,
    last: Option<Last>,
    /// Steps since the last checkpoint.
    pub(crate) unsaved: u64,
}

/// The last step, as far as a checkpoint and a dry-run need it.
struct Last {
    receipt: Receipt,
    assignment: Vec<u8>,
    place: Place,
}

impl Hot {
    /// Brings a process into memory, as it was after `at`, or after the last stored result.
    pub(crate) fn open(
        store: &Store,
        modules: &Modules,
        process: ProcessId,
        at: Option<Nonce>,
    ) -> Result<Self, ExecError> {
        let setup = modules.setup(store, process)?;
        let last = store.last_position(process).of(process)?.map(|position| position.nonce);
        let until = at.or(last);
        let saved = until.and_then(|nonce| load(store, process, nonce));
        let Some(saved) = saved else {
            let session = Session::start(setup, Nonce(0)).of(process)?;
            return Self { process, session, last: None, unsaved: 0 }.replay(store, until);
        };
        let nonce = saved.nonce;
        let session = resume(setup, &saved).of(process)?;
        let record = stored(store, process, nonce)?.ok_or(ExecError::NoEntry { process, nonce })?;
        let entry = entry(store, process, nonce)?;
        let receipt = receipt(&record)?;
        let place = Place { timestamp: record.timestamp, block_height: record.block_height };
        let last = Some(Last { receipt, assignment: entry.assignment, place });
        Self { process, session, last, unsaved: 0 }.replay(store, until)
    }

    /// Evaluates again what has results, up to `until`.
    fn replay(mut self, store: &Store, until: Option<Nonce>) -> Result<Self, ExecError> {
        let (process, next) = (self.process, self.session.next_nonce());
        let Some(end) = until.map(|nonce| Nonce(nonce.0 + 1)).filter(|end| next < *end) else { return Ok(self) };
        let mut reached = next;
        for entry in store.entries(process, next, end).of(process)? {
            self.apply(store, &entry.of(process)?, |computed| {
                let recorded = store.result_at(process, computed.position).of(process)?;
                if recorded.is_some_and(|recorded| recorded.receipt != computed.receipt) {
                    return Err(ExecError::Diverged { process, nonce: computed.position.nonce });
                }
                Ok(())
            })?;
            reached.0 += 1;
        }
        self.session.forget_evaluated();
        if reached < end { Err(ExecError::NoEntry { process, nonce: reached }) } else { Ok(self) }
    }

    /// Evaluates the cron ticks before an entry and the entry, with what it assigns, and says of each step what is to be
    /// stored of it. If that fails, or this does, the process is somewhere between and must be given up.
    pub(crate) fn apply(
        &mut self,
        store: &Store,
        entry: &LogEntry,
        mut done: impl FnMut(StepRecord) -> Result<(), ExecError>,
    ) -> Result<(), ExecError> {
        let process = self.process;
        let assigned = match entry.elsewhere(process) {
            Some(id) => store.assigned(id).of(process)?,
            None => None,
        };
        loop {
            let mut asked = Ok(None);
            let report = self.session.step_assigned(entry, assigned.as_ref(), |key| {
                asked = match key {
                    Key::Id(id) => store.evaluated_id(process, *id),
                    Key::Content(content) => store.evaluated_content(process, *content),
                };
                // In a past that is evaluated again the store knows the future too.
                matches!(asked, Ok(Some(first)) if first < entry.nonce)
            });
            asked.of(process)?;
            let report = report.of(process)?;
            let place = place(&report, entry);
            let record = StepRecord {
                process,
                position: Position { nonce: report.nonce, tick: report.receipt.tick },
                message: report.message,
                content: report.key.and_then(|key| if let Key::Content(hash) = key { Some(hash) } else { None }),
                assignment: Id(report.receipt.assignment_id).into(),
                timestamp: place.timestamp,
                block_height: place.block_height,
                cron: report.tick.as_ref().map(|ticked| ticked.cron.clone()),
                failed: has_error(&report),
                receipt: report.receipt.encode().to_vec(),
                result_json: report.result_json,
            };
            self.unsaved += 1;
            done(record)?;
            if report.tick.is_none() {
                self.last = Some(Last { receipt: report.receipt, assignment: entry.assignment.clone(), place });
                return Ok(());
            }
        }
    }

    /// Stores the state, if there is any beyond the last one stored; whether there was.
    pub(crate) fn save(&mut self, store: &Store) -> Result<bool, ExecError> {
        if self.unsaved == 0 {
            return Ok(false);
        }
        let Some(state) = self.saved()? else { return Ok(false) };
        let groups = state.body.chunks_exact(GROUP_RECORD_BYTES).map(|record| {
            let (index, group) = record.split_at(4);
            (u32::from_le_bytes(index.try_into().expect("split at 4")), group)
        });
        store.save_checkpoint(self.process, state.nonce, &state.meta, groups).of(self.process)?;
        self.unsaved = 0;
        Ok(true)
    }

    /// The state as a bundle keeps it; `None` before the first step.
    pub(crate) fn saved(&mut self) -> Result<Option<SavedState>, ExecError> {
        let Some(last) = &self.last else { return Ok(None) };
        save(&mut self.session, &last.receipt, &last.assignment).of(self.process).map(Some)
    }

    /// Where the process stands.
    pub(crate) fn place(&self) -> Place {
        self.last.as_ref().map_or_else(Place::default, |last| last.place)
    }

    /// The last nonce evaluated.
    pub(crate) fn last_nonce(&self) -> Option<Nonce> {
        self.last.as_ref().map(|last| Nonce(last.receipt.nonce))
    }
}

/// The newest saved state at or before a nonce. One that is damaged is as good as none: the log gives it again.
fn load(store: &Store, process: ProcessId, nonce: Nonce) -> Option<SavedState> {
    let found = store.load_checkpoint(process, nonce).unwrap_or_else(|error| {
        tracing::warn!(%process, %nonce, %error, "a checkpoint cannot be read: evaluating from the beginning");
        None
    })?;
    Some(SavedState { nonce: found.nonce, meta: found.meta, body: found.body })
}

fn stored(store: &Store, process: ProcessId, nonce: Nonce) -> Result<Option<StepRecord>, ExecError> {
    store.result_at(process, Position::of(nonce)).of(process)
}

fn entry(store: &Store, process: ProcessId, nonce: Nonce) -> Result<LogEntry, ExecError> {
    let found = store.entries(process, nonce, Nonce(nonce.0 + 1)).of(process)?.next();
    found.unwrap_or(Err(StoreError::LogGap { process, nonce })).of(process)
}

fn receipt(record: &StepRecord) -> Result<Receipt, ExecError> {
    let (process, nonce) = (record.process, record.position.nonce);
    Receipt::decode(&record.receipt).map_err(|source| ao_replay::ReplayError::Receipt { nonce, source }).of(process)
}

/// When a step is, and at which block.
fn place(report: &StepReport, entry: &LogEntry) -> Place {
    if let Some(Ticked { at, .. }) = &report.tick {
        return Place { timestamp: TimestampMs(at.timestamp_ms), block_height: BlockHeight(at.block_height) };
    }
    let item = DataItem::parse(&entry.assignment).expect("the session read it");
    let assignment = Assignment::from_item(&item).expect("the session read it");
    Place { timestamp: assignment.timestamp, block_height: assignment.block_height }
}

/// Whether the result has a truthy `Error`, by which the reference leaves it out of its lists.
fn has_error(report: &StepReport) -> bool {
    if report.receipt.outcome == Outcome::Ok {
        return false;
    }
    let json = std::str::from_utf8(&report.result_json).unwrap_or_default();
    parse(json).is_ok_and(|result| result.get("Error").is_some_and(ao_kernel::json::Value::is_truthy))
}

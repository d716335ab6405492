//! Results: what each step answered, with its receipt.
//!
//! *Not here:* evaluating, cursors as the reference unit writes them.
//!
//! Invariant: a result never changes, and is found by message, by assignment and by place as soon as it is durable.

use ao_log::{Nonce, TimestampMs};
use ao_wire::{DeepHash, Id, ProcessId};
use redb::ReadableTable as _;

use crate::index::{self, EVALUATED, IDS, STEPS, TIMES, failed};
use crate::rows::{self, Blob, INLINE_BYTES_MAX, Position, StepRecord};
use crate::store::Core;
use crate::{Store, StoreError};

/// The order of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Oldest first.
    #[default]
    Ascending,
    /// Newest first.
    Descending,
}

/// Which steps a listing shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Steps {
    /// All.
    #[default]
    All,
    /// Those whose result has no `Error`.
    Answered,
    /// Cron ticks whose result has no `Error`.
    Cron,
}

/// A listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Query {
    /// Only what comes after this place.
    pub after: Option<Position>,
    /// Only what comes before or at this place.
    pub up_to: Option<Position>,
    /// In which order.
    pub order: Order,
    /// How many at most.
    pub limit: usize,
    /// Which.
    pub steps: Steps,
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The steps.
    pub steps: Vec<StepRecord>,
    /// Whether there are more in the same direction.
    pub more: bool,
}

impl Steps {
    fn shows(self, step: &StepRecord) -> bool {
        match self {
            Steps::All => true,
            Steps::Answered => !step.failed,
            Steps::Cron => !step.failed && step.cron.is_some(),
        }
    }
}

impl Store {
    /// Stores steps, of any processes, all or none; durable when this returns. A step stored already is skipped.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if another result is stored at one of the places; the host's trouble.
    pub fn put_results(&self, steps: &[StepRecord]) -> Result<(), StoreError> {
        if steps.is_empty() {
            return Ok(());
        }
        self.with(|core| {
            let mut rows = Vec::with_capacity(steps.len());
            for step in steps {
                rows.push(rows::encode_step(step, &core.blob(&step.result_json)?)?);
            }
            let ends = core.bodies.sync()?;
            core.index.write(|write| {
                core.bodies.commit(write, &ends)?;
                let (mut table, mut ids) = (index::open(write, STEPS)?, index::open(write, IDS)?);
                let (mut times, mut evaluated) = (index::open(write, TIMES)?, index::open(write, EVALUATED)?);
                for (step, row) in steps.iter().zip(&rows) {
                    let (process, position) = (step.process, step.position);
                    let key = rows::step_key(process, position);
                    let stored = table.get(&key[..]).map_err(failed("a row cannot be read"))?;
                    let stored = stored.map(|stored| stored.value().to_vec());
                    if let Some(stored) = stored {
                        if core.step(process, position, &stored)? == *step {
                            continue;
                        }
                        return Err(StoreError::Conflict { process, position });
                    }
                    let written = failed("a row cannot be written");
                    table.insert(&key[..], &row[..]).map_err(written)?;
                    let time = rows::time_key(process, step.timestamp, position);
                    times.insert(&time[..], &[][..]).map_err(failed("a row cannot be written"))?;
                    if position.tick > 0 {
                        continue;
                    }
                    // A message assigned twice is answered by its first evaluation; the second has its assignment's id.
                    let message = rows::id_key(process, step.message.id());
                    let is_found_by_id = put_first(&mut ids, &message, position)?;
                    put_first(&mut ids, &rows::id_key(process, step.assignment.id()), position)?;
                    match step.content {
                        Some(content) => put_first(&mut evaluated, &rows::content_key(process, content), position)?,
                        None => is_found_by_id || put_first(&mut evaluated, &message, position)?,
                    };
                }
                Ok(())
            })
        })
    }

    /// The step of a message or assignment.
    ///
    /// # Errors
    /// The host's trouble, or damage.
    pub fn result(&self, process: ProcessId, message_or_assignment: Id) -> Result<Option<StepRecord>, StoreError> {
        let position = self.with(|core| {
            let row = core.index.get(IDS, &rows::id_key(process, message_or_assignment))?;
            row.map(|row| Position::decode(&row).ok_or(StoreError::Row { table: "ids" })).transpose()
        })?;
        position.map_or(Ok(None), |position| self.result_at(process, position))
    }

    /// The nonce of the first message that is known by this id.
    ///
    /// # Errors
    /// The host's trouble, or damage.
    pub fn evaluated_id(&self, process: ProcessId, message: Id) -> Result<Option<Nonce>, StoreError> {
        let found = self.result(process, message)?;
        if let Some(step) = found.filter(|step| step.message.id() == message && step.content.is_none()) {
            return Ok(Some(step.position.nonce));
        }
        self.evaluated(&rows::id_key(process, message))
    }

    /// The nonce of the first message that is known by this hash of its content.
    ///
    /// # Errors
    /// The host's trouble, or damage.
    pub fn evaluated_content(&self, process: ProcessId, content: DeepHash) -> Result<Option<Nonce>, StoreError> {
        self.evaluated(&rows::content_key(process, content))
    }

    fn evaluated(&self, key: &[u8]) -> Result<Option<Nonce>, StoreError> {
        let row = self.with(|core| core.index.get(EVALUATED, key))?;
        let position =
            row.map(|row| Position::decode(&row).ok_or(StoreError::Row { table: "evaluated" })).transpose()?;
        Ok(position.map(|position| position.nonce))
    }

    /// The step at a place.
    ///
    /// # Errors
    /// The host's trouble, or damage.
    pub fn result_at(&self, process: ProcessId, position: Position) -> Result<Option<StepRecord>, StoreError> {
        self.with(|core| {
            let row = core.index.get(STEPS, &rows::step_key(process, position))?;
            row.map(|row| core.step(process, position, &row)).transpose()
        })
    }

    /// A page of steps, by number of nonce and tick.
    ///
    /// # Errors
    /// The host's trouble, or damage.
    pub fn results(&self, process: ProcessId, query: &Query) -> Result<Page, StoreError> {
        self.with(|core| {
            let first = match query.after {
                Some(after) => after_position(after),
                None => Some(Position::default()),
            };
            let last = query.up_to.unwrap_or(Position::LAST);
            let Some(first) = first.filter(|first| *first <= last) else { return Ok(Page::default()) };
            let bounds = (rows::step_key(process, first), rows::step_key(process, last));
            let mut page = Page::default();
            let backwards = query.order == Order::Descending;
            core.index.scan(STEPS, (&bounds.0, &bounds.1), backwards, |key, row| {
                let malformed = StoreError::Row { table: "steps" };
                let position = rows::position_of(key).ok_or(malformed)?;
                let (mut step, blob) =
                    rows::decode_step(process, position, row).ok_or(StoreError::Row { table: "steps" })?;
                if !query.steps.shows(&step) {
                    return Ok(true);
                }
                page.more = page.steps.len() == query.limit;
                if !page.more {
                    step.result_json = core.unblob(blob)?;
                    page.steps.push(step);
                }
                Ok(!page.more)
            })?;
            Ok(page)
        })
    }

    /// The last step, in order of time and then of place, that is not later than `time`.
    ///
    /// # Errors
    /// The host's trouble, or damage.
    pub fn position_at(&self, process: ProcessId, time: TimestampMs) -> Result<Option<Position>, StoreError> {
        self.with(|core| {
            let first = rows::time_key(process, TimestampMs(0), Position::default());
            let last = rows::time_key(process, time, Position::LAST);
            let mut found = None;
            core.index.scan(TIMES, (&first, &last), true, |key, _| {
                found = Position::decode(&key[40..]);
                Ok(false)
            })?;
            Ok(found)
        })
    }

    /// The tick of a cron at a time, of those that follow a nonce.
    ///
    /// # Errors
    /// The host's trouble, or damage.
    pub fn tick(
        &self,
        process: ProcessId,
        nonce: Nonce,
        time: TimestampMs,
        cron: &str,
    ) -> Result<Option<Position>, StoreError> {
        self.with(|core| {
            let first = rows::time_key(process, time, Position { nonce, tick: 1 });
            let last = rows::time_key(process, time, Position { nonce, tick: u32::MAX });
            let mut found = None;
            core.index.scan(TIMES, (&first, &last), false, |key, _| {
                let malformed = || StoreError::Row { table: "times" };
                let position = Position::decode(&key[40..]).ok_or_else(malformed)?;
                let row = core.index.get(STEPS, &rows::step_key(process, position))?.ok_or_else(malformed)?;
                let step = rows::decode_step(process, position, &row).ok_or(StoreError::Row { table: "steps" })?.0;
                found = (step.cron.as_deref() == Some(cron)).then_some(position);
                Ok(found.is_none())
            })?;
            Ok(found)
        })
    }

    /// The place of the newest step.
    ///
    /// # Errors
    /// The host's trouble.
    pub fn last_position(&self, process: ProcessId) -> Result<Option<Position>, StoreError> {
        let (first, last) = (rows::step_key(process, Position::default()), rows::step_key(process, Position::LAST));
        self.with(|core| {
            let mut found = None;
            core.index.scan(STEPS, (&first, &last), true, |key, _| {
                found = rows::position_of(key);
                Ok(false)
            })?;
            Ok(found)
        })
    }
}

impl Core {
    /// Puts a value where its size says; a large one must be synced before the row is committed.
    pub(crate) fn blob(&self, bytes: &[u8]) -> Result<Blob, StoreError> {
        if bytes.len() <= INLINE_BYTES_MAX {
            return Ok(Blob::Inline(bytes.to_vec()));
        }
        self.bodies.append(bytes).map(Blob::Body)
    }

    pub(crate) fn unblob(&self, blob: Blob) -> Result<Vec<u8>, StoreError> {
        match blob {
            Blob::Inline(bytes) => Ok(bytes),
            Blob::Body(pointer) => self.bodies.read(pointer),
        }
    }

    fn step(&self, process: ProcessId, position: Position, row: &[u8]) -> Result<StepRecord, StoreError> {
        let decoded = rows::decode_step(process, position, row);
        let (mut step, blob) = decoded.ok_or(StoreError::Row { table: "steps" })?;
        step.result_json = self.unblob(blob)?;
        Ok(step)
    }
}

/// Sets a row if there is none; whether there was none.
fn put_first(
    table: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    key: &[u8],
    position: Position,
) -> Result<bool, StoreError> {
    let is_new = table.get(key).map_err(failed("a row cannot be read"))?.is_none();
    if is_new {
        table.insert(key, &rows::encode_position(position)[..]).map_err(failed("a row cannot be written"))?;
    }
    Ok(is_new)
}

fn after_position(position: Position) -> Option<Position> {
    match position.tick.checked_add(1) {
        Some(tick) => Some(Position { tick, ..position }),
        None => position.nonce.0.checked_add(1).map(|nonce| Position::of(Nonce(nonce))),
    }
}

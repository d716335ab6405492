//! Crons: messages that a process' tags ask for at times and blocks, with no one sending them.
//!
//! Not here: making a step of a tick, and what of the `Compute-Limit` it gets (`ao-replay`).
//! Invariant: ticks are a function of the process' tags and of the times and blocks in its log; no clock is read, and no
//! page, request or restart makes a difference.
//!
//! A log says where it stands with each assignment. Between two assignments time and blocks are taken to pass evenly:
//! that line says at which block a time is, and at which time a block. What does not go on, because a scheduler went
//! back, counts as standing still.
//!
//! # Source
//! permaweb/ao `ff178d51`, `servers/cu/src/domain/lib/loadMessages.js` (`parseCrons`, `cronMessagesBetweenWith`).

mod interval;
#[cfg(test)]
mod tests;

use ao_wire::Tag;

use crate::message::{Item, field, number, write_tags};
use interval::Unit;

/// Most ticks between two assignments. Each of the crons of a process has an equal share, in which its latest ticks are.
pub const GAP_TICKS_MAX: usize = 1000;

/// Most crons of a process.
pub const CRONS_MAX: usize = 100;

/// Crons that the reference cannot evaluate a process with, nor can this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CronError {
    /// A tag for the messages of a cron comes before any cron.
    #[error("tag {tag} stands before any Cron-Interval")]
    NoInterval {
        /// The tag.
        tag: String,
    },
    /// Less than a second.
    #[error("tag Cron-Interval is {value:?}: less than a second")]
    TooShort {
        /// Its value.
        value: String,
    },
    /// More than [`CRONS_MAX`].
    #[error("{found} Cron-Interval tags, at most {CRONS_MAX} can be")]
    TooMany {
        /// How many there are.
        found: usize,
    },
}

/// Where a log stands: what an assignment says of time and blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub timestamp_ms: u64,
    /// The block height.
    pub block_height: u64,
}

/// How far a log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// Where its first assignment stands: what ticks are counted from.
    pub origin: Moment,
    /// The furthest that any assignment so far stands.
    pub reached: Moment,
}

impl Course {
    /// The course of a log with one assignment.
    pub fn start(at: Moment) -> Self {
        Self { origin: at, reached: at }
    }

    /// Moves on by the next assignment.
    pub fn pass(&mut self, next: Moment) {
        self.reached = self.reached.furthest(next);
    }
}

impl Moment {
    fn furthest(self, other: Self) -> Self {
        Self {
            timestamp_ms: self.timestamp_ms.max(other.timestamp_ms),
            block_height: self.block_height.max(other.block_height),
        }
    }
}

/// The crons of a process, blocks before times, times by how often they tick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crons(Vec<Cron>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Cron {
    /// Its name in cursors: place among those of its unit, and interval as the tag has it.
    id: String,
    unit: Unit,
    /// Blocks or milliseconds; 0: it never ticks.
    every: u64,
    tags: Vec<(String, String)>,
}

/// One message of one cron.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    cron: usize,
    at: Moment,
}

impl Tick {
    /// What its message is dated with.
    pub fn at(&self) -> Moment {
        self.at
    }
}

impl Crons {
    /// Reads the tags of a process. An interval that is no number is one that never ends, as in the reference.
    ///
    /// # Errors
    /// What the reference throws at, or too many crons.
    pub fn read(tags: &[Tag<'_>]) -> Result<Self, CronError> {
        let found = tags.iter().filter(|tag| tag.name == b"Cron-Interval").count();
        if found > CRONS_MAX {
            return Err(CronError::TooMany { found });
        }
        let mut crons: Vec<Cron> = Vec::with_capacity(found);
        for tag in tags {
            let (name, value) = (tag.name_str(), tag.value_str().into_owned());
            if name == "Cron-Interval" {
                crons.push(Cron::every(value)?);
            } else if let Some(shown) = name.strip_prefix("Cron-Tag-").filter(|shown| is_line(shown)) {
                let cron = crons.last_mut().ok_or_else(|| CronError::NoInterval { tag: name.to_string() })?;
                cron.tags.push((shown.to_owned(), value));
            }
        }
        crons.sort_by_key(|cron| match cron.unit {
            Unit::Blocks => (0, 0),
            Unit::Seconds => (1, cron.every.wrapping_sub(1)),
        });
        let blocks = crons.iter().filter(|cron| cron.unit == Unit::Blocks).count();
        for (place, cron) in crons.iter_mut().enumerate() {
            let place = if cron.unit == Unit::Blocks { place } else { place - blocks };
            cron.id = format!("{place}-{}", cron.id);
        }
        Ok(Self(crons))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of all.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|cron| &*cron.id)
    }

    /// The names of those that never tick, since their interval is no number.
    pub fn silent(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|cron| cron.every == 0).map(|cron| &*cron.id)
    }

    /// The ticks after all of `course` up to `next`, that included, in the order in which they are evaluated: by time,
    /// blocks before times, then by the place in the id. No two of one cron have the same time.
    pub fn due(&self, course: &Course, next: Moment) -> Vec<Tick> {
        let line = Line { from: course.reached, to: course.reached.furthest(next) };
        let share = (GAP_TICKS_MAX / self.0.len().max(1)) as u64;
        let mut due: Vec<Tick> = Vec::new();
        for (index, cron) in self.0.iter().enumerate() {
            let begin = due.len();
            for at in cron.moments(course.origin, &line, share) {
                // Of blocks that one millisecond brings, the last stands for all.
                if due.len() > begin && due.last().is_some_and(|last| last.at.timestamp_ms == at.timestamp_ms) {
                    due.pop();
                }
                due.push(Tick { cron: index, at });
            }
        }
        due.sort_by_key(|tick| (tick.at.timestamp_ms, tick.cron));
        due
    }

    /// Its cron's name, as cursors of the reference have it.
    pub fn id(&self, tick: &Tick) -> &str {
        &self.0[tick.cron].id
    }

    /// Appends the JSON of a tick's message. `process` is the process.
    pub fn write(&self, tick: &Tick, process: &Item<'_>, out: &mut Vec<u8>) {
        let tags = self.0[tick.cron].tags.iter().map(|(name, value)| Tag::new(name, value));
        let tags: Vec<Tag<'_>> = tags.filter(|tag| !matches!(tag.name, b"From" | b"Owner")).collect();
        field(out, "{\"Owner\":", process.owner);
        field(out, ",\"Target\":", &process.id.to_string());
        field(out, ",\"From\":", process.owner);
        out.extend_from_slice(b",\"Tags\":");
        write_tags(tags.iter(), out);
        number(out, ",\"Timestamp\":", tick.at.timestamp_ms as f64);
        number(out, ",\"Block-Height\":", tick.at.block_height as f64);
        out.extend_from_slice(b",\"Cron\":true}");
    }
}

/// What `.+` of a regular expression takes whole.
fn is_line(text: &str) -> bool {
    !text.is_empty() && !text.contains(['\n', '\r', '\u{2028}', '\u{2029}'])
}

impl Cron {
    fn every(interval: String) -> Result<Self, CronError> {
        let (unit, number) = interval::read(&interval);
        let every = match unit {
            Unit::Blocks => number.unwrap_or(0),
            Unit::Seconds if number == Some(0) => return Err(CronError::TooShort { value: interval }),
            Unit::Seconds => number.unwrap_or(0).saturating_mul(1000),
        };
        Ok(Self { id: interval, unit, every, tags: Vec::new() })
    }

    /// The last `most` of its ticks on a line, in ascending order.
    fn moments(&self, origin: Moment, line: &Line, most: u64) -> impl Iterator<Item = Moment> {
        let (unit, every) = (self.unit, self.every);
        let coordinate = |moment: Moment| match unit {
            Unit::Blocks => moment.block_height,
            Unit::Seconds => moment.timestamp_ms,
        };
        // The log begins at its origin and goes on from there.
        let count = |moment| (coordinate(moment) - coordinate(origin)).checked_div(every).unwrap_or(0);
        let (before, last) = (count(line.from), count(line.to));
        let first = before.max(last.saturating_sub(most)) + 1;
        (first..=last).map(move |count| match unit {
            Unit::Blocks => line.at_block(origin.block_height + count * every),
            Unit::Seconds => line.at_time(origin.timestamp_ms + count * every),
        })
    }
}

/// From one assignment to the next.
struct Line {
    from: Moment,
    to: Moment,
}

impl Line {
    /// When a block after `from` is, rounded up, so that it is after `from` if there is any time between.
    fn at_block(&self, block_height: u64) -> Moment {
        let (times, blocks) = self.lengths();
        let passed = (u128::from(block_height - self.from.block_height) * times).div_ceil(blocks);
        Moment { timestamp_ms: self.from.timestamp_ms + passed as u64, block_height }
    }

    /// At which block a time after `from` is.
    fn at_time(&self, timestamp_ms: u64) -> Moment {
        let (times, blocks) = self.lengths();
        let passed = u128::from(timestamp_ms - self.from.timestamp_ms) * blocks / times;
        Moment { timestamp_ms, block_height: self.from.block_height + passed as u64 }
    }

    /// Milliseconds and blocks between the ends.
    fn lengths(&self) -> (u128, u128) {
        let times = self.to.timestamp_ms - self.from.timestamp_ms;
        (times.into(), (self.to.block_height - self.from.block_height).into())
    }
}

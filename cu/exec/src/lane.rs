//! A lane: what one process has to do, one thing after the other.
//!
//! Not here: which lane's turn it is (rayon), who gives up memory (`executor`).
//! Invariant: at most one thread is on a lane; a lane shares no lock with another while it evaluates; after any failure
//! the process is brought back from the store, so nothing half done is ever seen.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ao_kernel::Fork;
use ao_log::Nonce;
use ao_replay::ReplayError;
use ao_store::StepRecord;
use ao_wire::ProcessId;
use tokio::sync::oneshot;

use crate::dry_run::Place;
use crate::error::{ExecError, Of};
use crate::executor::{Shared, Snapshot, fork};
use crate::hot::Hot;

/// Steps of one process in a row while others wait, but for an entry with more cron ticks before it; their results become
/// durable together.
const SLICE_STEPS: u64 = 64;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, ExecError>>;

/// What a lane is asked for.
pub(crate) enum Job {
    /// Evaluate the stored log up to a nonce.
    Advance { to: Nonce, reply: Reply<()> },
    /// A fork of the process as it is.
    Fork { reply: Reply<(Fork, Place)> },
    /// The memory as it is.
    Memory { reply: Reply<Snapshot> },
    /// Save the state, and give up its memory if nothing else is asked for.
    Rest { evict: bool, reply: Option<Reply<()>> },
}

pub(crate) struct Lane {
    pub(crate) process: ProcessId,
    queue: Mutex<Queue>,
    hot: Mutex<Option<Box<Hot>>>,
    /// When it was last asked for anything but rest, on the executor's own count.
    pub(crate) used: AtomicU64,
    /// Bytes of memory it takes.
    pub(crate) resident: AtomicU64,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Whether a thread is, or will be, on this lane.
    running: bool,
    /// Whether it was asked to give up its memory and did not come to it yet.
    retiring: bool,
}

impl Lane {
    pub(crate) fn new(process: ProcessId) -> Self {
        let zero = || AtomicU64::new(0);
        let (used, resident) = (zero(), zero());
        Self { process, queue: Mutex::default(), hot: Mutex::default(), used, resident }
    }

    /// Asks for something; whether somebody must now be sent to this lane.
    pub(crate) fn push(&self, job: Job) -> bool {
        let mut queue = self.queue();
        queue.jobs.push_back(job);
        !std::mem::replace(&mut queue.running, true)
    }

    /// Whether the process is in memory.
    pub(crate) fn is_hot(&self) -> bool {
        self.resident.load(Ordering::Relaxed) > 0
    }

    /// Asks for its memory, once; whether somebody must now be sent to this lane.
    pub(crate) fn retire(&self) -> bool {
        if std::mem::replace(&mut self.queue().retiring, true) {
            return false;
        }
        self.push(Job::Rest { evict: true, reply: None })
    }

    /// One turn: the first job, or a slice of it. Whether there is more to do.
    pub(crate) fn turn(&self, shared: &Shared) -> bool {
        let Some(job) = self.queue().jobs.pop_front() else { return false };
        let mut hot = self.hot.lock().unwrap_or_else(PoisonError::into_inner);
        let done = catch_unwind(AssertUnwindSafe(|| self.work(shared, &mut hot, job)));
        if done.is_err() {
            // Whoever waits learns it by the reply that was dropped.
            tracing::error!(process = %self.process, "a fault in the unit broke an evaluation off");
            *hot = None;
        }
        let resident = hot.as_ref().map_or(0, |hot| hot.session.resident_bytes());
        drop(hot);
        shared.account(self, resident);
        if let Some(rest) = done.unwrap_or_default() {
            self.queue().jobs.push_front(rest);
        }
        let mut queue = self.queue();
        queue.running = !queue.jobs.is_empty();
        queue.running
    }

    /// Does a job; gives back what is left of it.
    fn work(&self, shared: &Shared, hot: &mut Option<Box<Hot>>, job: Job) -> Option<Job> {
        match job {
            Job::Advance { to, reply } => {
                // Nobody waits any more: what others wait for is in their own jobs.
                if reply.is_closed() {
                    return None;
                }
                match self.advance(shared, hot, to) {
                    Ok(true) => answer(reply, Ok(())),
                    Ok(false) => return Some(Job::Advance { to, reply }),
                    Err(error) => {
                        *hot = None;
                        shared.note(&error);
                        self.give_up(&error);
                        answer(reply, Err(error));
                    }
                }
            }
            Job::Fork { reply } => {
                let fork = self.open(shared, hot).and_then(|hot| fork(hot, self.process));
                let fork = fork.inspect_err(|error| shared.note(error));
                answer(reply, fork);
            }
            Job::Memory { reply } => {
                let memory = self.open(shared, hot).map(Snapshot::of);
                let memory = memory.inspect_err(|error| shared.note(error));
                answer(reply, memory);
            }
            Job::Rest { evict, reply } => {
                let saved = hot.as_mut().map_or(Ok(()), |hot| save(shared, hot));
                if let Err(error) = &saved {
                    tracing::warn!(process = %self.process, %error, "a state cannot be saved");
                }
                if evict {
                    self.queue().retiring = false;
                }
                // The state is in the log too: without a checkpoint it is merely dearer to bring back.
                if evict && self.queue().jobs.is_empty() && hot.take().is_some() {
                    shared.counts.evicted.fetch_add(1, Ordering::Relaxed);
                }
                if let Some(reply) = reply {
                    answer(reply, saved);
                }
            }
        }
        None
    }

    /// Tells an evaluation that took too long for this host also to those who would each wait for it once more.
    fn give_up(&self, error: &ExecError) {
        let ExecError::Replay { source, .. } = error else { return };
        let at = match &**source {
            ReplayError::Machine { nonce, .. } if source.is_broken_off() => *nonce,
            _ => return,
        };
        let mut queue = self.queue();
        let waits = |job: &Job| matches!(job, Job::Advance { to, .. } if *to >= at);
        let (waiting, rest): (VecDeque<Job>, _) = std::mem::take(&mut queue.jobs).into_iter().partition(waits);
        queue.jobs = rest;
        drop(queue);
        for job in waiting {
            if let Job::Advance { reply, .. } = job {
                answer(reply, Err(ExecError::Replay { process: self.process, source: Arc::clone(source) }));
            }
        }
    }

    /// A slice of evaluation; whether `to` was reached.
    fn advance(&self, shared: &Shared, hot: &mut Option<Box<Hot>>, to: Nonce) -> Result<bool, ExecError> {
        let process = self.process;
        let hot = self.open(shared, hot)?;
        let next = hot.session.next_nonce();
        if next > to {
            return Ok(true);
        }
        let end = Nonce((to.0 + 1).min(next.0 + SLICE_STEPS));
        let (mut records, mut steps, mut reached, mut failed) = (Vec::new(), 0, next, None);
        for entry in shared.store.entries(process, next, end).of(process)? {
            let applied = entry.of(process).and_then(|entry| {
                hot.apply(&shared.store, &entry, |record| {
                    records.push(record);
                    steps += 1;
                    if records.len() as u64 >= SLICE_STEPS { keep(shared, process, &mut records) } else { Ok(()) }
                })
            });
            if let Err(error) = applied {
                failed = Some(error);
                break;
            }
            reached.0 += 1;
            if steps >= SLICE_STEPS {
                break;
            }
        }
        // What came before a step that cannot be made is not made again for it.
        keep(shared, process, &mut records)?;
        hot.session.forget_evaluated();
        if let Some(error) = failed {
            return Err(error);
        }
        if hot.unsaved >= shared.options.checkpoint_every {
            save(shared, hot)?;
        }
        if reached < end && steps < SLICE_STEPS {
            return Err(ExecError::NoEntry { process, nonce: reached });
        }
        Ok(reached > to)
    }

    /// The process in memory.
    fn open<'h>(&self, shared: &Shared, hot: &'h mut Option<Box<Hot>>) -> Result<&'h mut Hot, ExecError> {
        if hot.is_none() {
            *hot = Some(Box::new(Hot::open(&shared.store, &shared.modules, self.process, None)?));
            shared.counts.opened.fetch_add(1, Ordering::Relaxed);
        }
        Ok(hot.as_mut().expect("opened just above"))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stores steps and tells of them. Ticks may be stored before the entry that they come before: what is evaluated again
/// after a crash is compared with them.
fn keep(shared: &Shared, process: ProcessId, records: &mut Vec<StepRecord>) -> Result<(), ExecError> {
    if records.is_empty() {
        return Ok(());
    }
    let records = std::mem::take(records);
    shared.store.put_results(&records).of(process)?;
    shared.counts.steps.fetch_add(records.len() as u64, Ordering::Relaxed);
    shared.publish(&records);
    Ok(())
}

/// Stores the state, and gives up the oldest of its process.
fn save(shared: &Shared, hot: &mut Hot) -> Result<(), ExecError> {
    if hot.save(&shared.store)? {
        shared.counts.saved.fetch_add(1, Ordering::Relaxed);
        shared.store.retain_checkpoints(hot.process, shared.options.checkpoints_kept.max(1)).of(hot.process)?;
    }
    Ok(())
}

/// Sends a reply; one that nobody waits for any more is no loss, since what was computed is kept.
pub(crate) fn answer<T>(reply: Reply<T>, answer: Result<T, ExecError>) {
    let _ = reply.send(answer);
}

/// A lane that is asked for something, by the thread that is sent to it.
pub(crate) fn run(shared: &Arc<Shared>, lane: &Arc<Lane>) {
    if lane.turn(shared) {
        // Behind all who came meanwhile: a long log does not keep the others waiting.
        shared.send(lane);
    }
    shared.make_room(lane);
}

//! Who gets which place: one thread takes what is waiting, signs it on all cores, writes it, and answers all at once.
//!
//! Assignments of one process are made one after the other, since each covers the id of the one before; those of several
//! processes at the same time. Everyone who waited shares one sync.
//!
//! *Not here:* whether an item is worth a place (`admit`).
//!
//! Invariant: nobody is answered before the place is durable; a message has one place per process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ao_log::{BlockHeight, HashChain, LogEntry, Nonce, TimestampMs, legacy_first, legacy_next};
use ao_wire::{DataItem, Id, ProcessId, Signer};
use bytes::Bytes;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::SuError;
use crate::assign::Place;
use crate::index::{Head, Placed};
use crate::ledger::{Ledger, Writer};

/// Most that is signed before it is written.
const BATCH_MAX: usize = 512;
/// Pause before a log that failed is opened again.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);
/// Most of one process in a batch: others are not to wait until a busy one is done.
const BATCH_OF_PROCESS_MAX: usize = 64;

/// What is to have a place.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// A message, or the process itself.
    Item {
        /// Its id.
        id: Id,
        /// The item.
        bytes: Bytes,
    },
    /// A transaction that lies elsewhere.
    Assign {
        /// Its id.
        id: Id,
        /// Parts that the process is not to see.
        exclude: Vec<String>,
    },
}

impl Work {
    fn id(&self) -> Id {
        match self {
            Self::Item { id, .. } | Self::Assign { id, .. } => *id,
        }
    }
}

/// A place that was given away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scheduled {
    pub(crate) assignment: Id,
    pub(crate) timestamp: TimestampMs,
}

/// Who waits for a place.
pub(crate) struct Job {
    pub(crate) process: ProcessId,
    pub(crate) work: Work,
    pub(crate) reply: oneshot::Sender<Result<Scheduled, SuError>>,
}

/// What became of a job, and what is to be written.
struct Drafted {
    reply: oneshot::Sender<Result<Scheduled, SuError>>,
    result: Result<Scheduled, SuError>,
    record: Option<(Placed, Vec<u8>)>,
}

/// The thread's own.
pub(crate) struct Sequencer {
    pub(crate) writer: Writer,
    pub(crate) signer: Arc<Signer>,
    pub(crate) block_height: Arc<AtomicU64>,
    /// Tells how many records there are.
    pub(crate) end: watch::Sender<u64>,
}

impl Sequencer {
    /// Works until there is nobody left to ask.
    pub(crate) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut waiting: Vec<Job> = Vec::new();
        loop {
            if waiting.is_empty() {
                match self.next(&mut jobs) {
                    Ok(job) => waiting.push(job),
                    Err(TryRecvError::Empty) => continue,
                    Err(TryRecvError::Disconnected) => break,
                }
            }
            while waiting.len() < BATCH_MAX
                && let Ok(job) = jobs.try_recv()
            {
                waiting.push(job);
            }
            let (batch, rest) = pick(waiting);
            waiting = rest;
            self.settle(batch);
        }
    }

    /// The next job; while the log is closed, whether anybody asks or not, it is tried to open it again.
    fn next(&mut self, jobs: &mut mpsc::Receiver<Job>) -> Result<Job, TryRecvError> {
        if self.writer.end().is_some() {
            return jobs.blocking_recv().ok_or(TryRecvError::Disconnected);
        }
        std::thread::sleep(REOPEN_PAUSE);
        match self.writer.reopen() {
            Ok(()) => tracing::warn!("the log failed and is open again"),
            Err(error) => tracing::error!(error = ao_http::chain(&error), "the log cannot be opened again yet"),
        }
        jobs.try_recv()
    }

    fn settle(&mut self, batch: BTreeMap<ProcessId, Vec<Job>>) {
        let block_height = BlockHeight(self.block_height.load(Ordering::Relaxed));
        let (ledger, signer) = (self.writer.ledger(), &self.signer);
        let draft = |(process, jobs)| draft(ledger, signer, block_height, process, jobs);
        let mut drafted: Vec<Drafted> = batch.into_par_iter().flat_map_iter(draft).collect();
        let records: Vec<(Placed, Vec<u8>)> = drafted.iter_mut().filter_map(|draft| draft.record.take()).collect();
        let written = self.writer.append(&records).map_err(Arc::new);
        if let Some(end) = self.writer.end() {
            self.end.send_replace(end);
        } else {
            tracing::error!("the log cannot be written and is closed");
        }
        for Drafted { reply, result, .. } in drafted {
            let result = match &written {
                Ok(()) => result,
                Err(error) => result.and(Err(Arc::clone(error).into())),
            };
            // Whoever went away finds it in the log.
            let _ = reply.send(result);
        }
    }
}

/// Those whose turn it is, by process, and those who wait for the next.
fn pick(waiting: Vec<Job>) -> (BTreeMap<ProcessId, Vec<Job>>, Vec<Job>) {
    let (mut batch, mut rest) = (BTreeMap::<ProcessId, Vec<Job>>::new(), Vec::new());
    for job in waiting {
        let jobs = batch.entry(job.process).or_default();
        if jobs.len() < BATCH_OF_PROCESS_MAX { jobs.push(job) } else { rest.push(job) }
    }
    (batch, rest)
}

/// Gives the next places of one log away.
fn draft(
    ledger: &Ledger,
    signer: &Signer,
    block_height: BlockHeight,
    process: ProcessId,
    jobs: Vec<Job>,
) -> Vec<Drafted> {
    let mut head = match ledger.index().and_then(|index| index.head(process)).map_err(Arc::new) {
        Ok(head) => head,
        Err(error) => return jobs.into_iter().map(|job| refused(job.reply, Arc::clone(&error).into())).collect(),
    };
    let mut given: BTreeMap<Id, Scheduled> = BTreeMap::new();
    let mut drafted = Vec::with_capacity(jobs.len());
    for Job { work, reply, .. } in jobs {
        let known = match given.get(&work.id()) {
            Some(known) => Ok(Some(*known)),
            None => scheduled(ledger, process, work.id()),
        };
        let placed = match known {
            Ok(Some(known)) => {
                drafted.push(Drafted { reply, result: Ok(known), record: None });
                continue;
            }
            Ok(None) => place(signer, block_height, process, head, &work),
            Err(error) => Err(error),
        };
        match placed {
            Ok((placed, payload)) => {
                let Placed { assignment, timestamp, hash_chain, nonce, .. } = placed;
                let result = Scheduled { assignment: assignment.id(), timestamp };
                head = Some(Head { next: Nonce(nonce.0 + 1), assignment, hash_chain, timestamp });
                given.extend([(work.id(), result), (assignment.id(), result)]);
                drafted.push(Drafted { reply, result: Ok(result), record: Some((placed, payload)) });
            }
            Err(error) => drafted.push(refused(reply, error)),
        }
    }
    drafted
}

fn refused(reply: oneshot::Sender<Result<Scheduled, SuError>>, error: SuError) -> Drafted {
    Drafted { reply, result: Err(error), record: None }
}

/// The place that a message or an assignment has already.
fn scheduled(ledger: &Ledger, process: ProcessId, id: Id) -> Result<Option<Scheduled>, SuError> {
    let Some(nonce) = ledger.index()?.find(process, id)? else { return Ok(None) };
    let Some((entry, timestamp)) = ledger.entry(process, nonce)? else { return Ok(None) };
    let assignment = DataItem::parse(&entry.assignment);
    let assignment = assignment.map_err(SuError::entry(process, nonce))?;
    Ok(Some(Scheduled { assignment: assignment.id(), timestamp }))
}

/// The next place after `head`, signed, and the record of it.
fn place(
    signer: &Signer,
    block_height: BlockHeight,
    process: ProcessId,
    head: Option<Head>,
    work: &Work,
) -> Result<(Placed, Vec<u8>), SuError> {
    let message = work.id();
    let (nonce, hash_chain, after): (Nonce, HashChain, u64) = match head {
        Some(head) => (head.next, legacy_next(&head.assignment, &head.hash_chain), head.timestamp.0 + 1),
        None if message == process.id() => (Nonce(0), legacy_first(&process), 0),
        None => return Err(SuError::NoProcess { process }),
    };
    // A clock that stands or goes back is passed over: times order the log too.
    let timestamp = TimestampMs(now_ms().max(after));
    let (item, exclude) = match work {
        Work::Item { bytes, .. } => (Some(bytes.to_vec()), &[][..]),
        Work::Assign { exclude, .. } => (None, &exclude[..]),
    };
    let place = Place { process, nonce, hash_chain, block_height, timestamp, message, exclude };
    let assignment = place.sign(signer)?;
    let wrong = SuError::entry(process, nonce);
    let id = DataItem::parse(&assignment).map_err(&wrong)?.id().into();
    let payload = LogEntry { nonce, assignment, message: item }.to_bundle().map_err(wrong)?;
    let block_height = block_height.0;
    Ok((Placed { process, nonce, timestamp, hash_chain, block_height, assignment: id, message }, payload))
}

/// The clock of this machine.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

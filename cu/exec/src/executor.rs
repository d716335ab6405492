//! The executor: finds the lane of a process, sends threads to lanes, keeps memory within its budget, runs dry-runs.
//!
//! Not here: what a lane does (`lane`), what a process in memory is (`hot`).
//! Invariant: registry and counters are never locked while anything is evaluated.

use std::collections::BTreeMap;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ao_kernel::{ArtifactCache, Fork};
use ao_log::Nonce;
use ao_replay::{ReplayError, SavedState, Watchdog};
use ao_store::{StepRecord, Store};
use ao_wire::ProcessId;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{broadcast, oneshot};

use crate::dry_run::{DryRun, Place};
use crate::error::{ExecError, Of};
use crate::hot::Hot;
use crate::lane::{self, Job, Lane, Reply, answer};
use crate::modules::Modules;

/// Results that a slow listener may lag behind before it misses some.
const LISTEN_BEHIND_MAX: usize = 1024;

/// How a unit evaluates.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that evaluate logs.
    pub workers: usize,
    /// Threads that evaluate dry-runs: apart, so that neither keeps the other waiting.
    pub dry_run_workers: usize,
    /// Dry-runs that may wait.
    pub dry_runs_waiting_max: usize,
    /// What processes in memory may take together.
    ///
    /// # Units
    /// Bytes that guests wrote, each counted with its copy in the image.
    pub memory_bytes_max: u64,
    /// Steps after which a state is saved.
    pub checkpoint_every: u64,
    /// Gas that a process may ask for a step; one whose limit is higher is not evaluated.
    pub gas_max: u64,
    /// For how long an evaluation may run, dry-run or not, before it is broken off as the host's trouble.
    pub step_max: Duration,
    /// Saved states kept of each process, the newest; at least one.
    pub checkpoints_kept: usize,
    /// Compiled modules.
    pub cache: Option<ArtifactCache>,
}

/// What was done so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Messages evaluated.
    pub steps: AtomicU64,
    /// Dry-runs evaluated.
    pub dry_runs: AtomicU64,
    /// States saved.
    pub saved: AtomicU64,
    /// Processes brought into memory.
    pub opened: AtomicU64,
    /// Processes that gave up their memory.
    pub evicted: AtomicU64,
    /// Evaluations that took too long for this host.
    pub broken_off: AtomicU64,
    /// Bytes that processes in memory take.
    pub resident_bytes: AtomicU64,
}

/// A process' memory after a nonce.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The last nonce evaluated; `None` before the first.
    pub nonce: Option<Nonce>,
    /// Its time and block.
    pub place: Place,
    /// The whole linear memory.
    pub memory: Vec<u8>,
}

/// Evaluates what stands in the logs of a store.
pub struct Executor {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) modules: Modules,
    pub(crate) options: Options,
    pub(crate) counts: Counts,
    pool: ThreadPool,
    dry_pool: ThreadPool,
    dry_waiting: AtomicUsize,
    lanes: RwLock<BTreeMap<ProcessId, Arc<Lane>>>,
    clock: AtomicU64,
    _watchdog: Watchdog,
    results: broadcast::Sender<Arc<[StepRecord]>>,
}

impl Executor {
    /// An executor over a store.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn new(store: Arc<Store>, options: Options) -> Result<Self, ExecError> {
        let pool = |threads: usize, name: &'static str| {
            let builder = ThreadPoolBuilder::new().num_threads(threads.max(1));
            builder.thread_name(move |index| format!("{name}-{index}")).build().map_err(ExecError::Workers)
        };
        let watchdog = Watchdog::start(options.step_max).map_err(ExecError::Watchdog)?;
        let shared = Shared {
            store,
            modules: Modules::new(options.cache.clone(), options.gas_max, watchdog.watch().clone()),
            pool: pool(options.workers, "lane")?,
            dry_pool: pool(options.dry_run_workers, "dry-run")?,
            options,
            counts: Counts::default(),
            dry_waiting: AtomicUsize::new(0),
            lanes: RwLock::default(),
            clock: AtomicU64::new(0),
            _watchdog: watchdog,
            results: broadcast::channel(LISTEN_BEHIND_MAX).0,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Evaluates the stored log of a process up to a nonce; its results are durable on return.
    ///
    /// # Errors
    /// The log or the module is not stored; the host's trouble.
    pub async fn advance(&self, process: ProcessId, to: Nonce) -> Result<(), ExecError> {
        self.ask(process, |reply| Job::Advance { to, reply }).await
    }

    /// The answer to a dry-run: a body of `GET /result`. Evaluated after `at`, whose result must be stored, or after the
    /// last result; nothing of it stays.
    ///
    /// # Errors
    /// As [`Executor::advance`]; too many are waiting.
    pub async fn dry_run(&self, process: ProcessId, run: DryRun, at: Option<Nonce>) -> Result<Vec<u8>, ExecError> {
        let ticket = Ticket::take(&self.shared)?;
        let hot = match at {
            None => Some(self.ask(process, |reply| Job::Fork { reply }).await?),
            Some(_) => None,
        };
        self.apart(ticket, process, move |shared| {
            let (fork, place) = match hot {
                Some(hot) => hot,
                None => fork(&mut *shared.open(process, at)?, process)?,
            };
            let step = fork.step(&run.message(process, place)).map_err(ReplayError::from).of(process)?;
            shared.counts.dry_runs.fetch_add(1, Ordering::Relaxed);
            Ok(step.evaluated.result_json)
        })
        .await
    }

    /// The memory of a process after `at`, whose result must be stored, or after the last result.
    ///
    /// # Errors
    /// As [`Executor::dry_run`].
    pub async fn memory(&self, process: ProcessId, at: Option<Nonce>) -> Result<Snapshot, ExecError> {
        let Some(at) = at else { return self.ask(process, |reply| Job::Memory { reply }).await };
        let ticket = Ticket::take(&self.shared)?;
        self.apart(ticket, process, move |shared| Ok(Snapshot::of(&mut *shared.open(process, Some(at))?))).await
    }

    /// The state of a process after `at`, whose result must be stored, as a bundle keeps it.
    ///
    /// # Errors
    /// As [`Executor::dry_run`].
    pub async fn saved_state(&self, process: ProcessId, at: Nonce) -> Result<SavedState, ExecError> {
        let ticket = Ticket::take(&self.shared)?;
        let nonce = at;
        self.apart(ticket, process, move |shared| {
            shared.open(process, Some(nonce))?.saved()?.ok_or(ExecError::NoEntry { process, nonce })
        })
        .await
    }

    /// Saves the state of every process in memory. Results are durable without it; it spares the next start the replay.
    pub async fn save_all(&self) {
        // All: one whose last answer was given just now may not be known to be in memory yet.
        let lanes: Vec<ProcessId> = self.shared.lanes().map(|lane| lane.process).collect();
        for process in lanes {
            if let Err(error) = self.ask(process, |reply| Job::Rest { evict: false, reply: Some(reply) }).await {
                tracing::warn!(%process, %error, "a state cannot be saved");
            }
        }
    }

    /// What was done so far.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// Hears of every result from now on, once it is durable.
    pub fn listen(&self) -> broadcast::Receiver<Arc<[StepRecord]>> {
        self.shared.results.subscribe()
    }

    async fn ask<T>(&self, process: ProcessId, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, ExecError> {
        let (reply, answered) = oneshot::channel();
        let lane = self.shared.lane(process);
        lane.used.store(self.shared.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        if lane.push(job(reply)) {
            self.shared.send(&lane);
        }
        answered.await.unwrap_or(Err(ExecError::BrokeOff { process }))
    }

    /// Runs `work` on the threads for dry-runs.
    async fn apart<T: Send + 'static>(
        &self,
        ticket: Ticket,
        process: ProcessId,
        work: impl FnOnce(&Shared) -> Result<T, ExecError> + Send + 'static,
    ) -> Result<T, ExecError> {
        let (reply, answered) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        self.shared.dry_pool.spawn_fifo(move || {
            let _ticket = ticket;
            // Nobody waits any more.
            if reply.is_closed() {
                return;
            }
            // A fault is told by the reply that is dropped, and ends neither the thread nor the unit.
            if let Ok(result) = catch_unwind(AssertUnwindSafe(|| work(&shared))) {
                answer(reply, result.inspect_err(|error| shared.note(error)));
            }
        });
        answered.await.unwrap_or(Err(ExecError::BrokeOff { process }))
    }
}

pub(crate) fn fork(hot: &mut Hot, process: ProcessId) -> Result<(Fork, Place), ExecError> {
    let place = hot.place();
    hot.session.fork().of(process).map(|fork| (fork, place))
}

impl Snapshot {
    pub(crate) fn of(hot: &mut Hot) -> Self {
        Self { nonce: hot.last_nonce(), place: hot.place(), memory: hot.session.memory().to_vec() }
    }
}

impl Shared {
    fn lane(&self, process: ProcessId) -> Arc<Lane> {
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(&process) {
            return Arc::clone(lane);
        }
        drop(lanes);
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lanes.entry(process).or_insert_with(|| Arc::new(Lane::new(process))))
    }

    fn lanes(&self) -> impl Iterator<Item = Arc<Lane>> + use<> {
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        lanes.values().cloned().collect::<Vec<_>>().into_iter()
    }

    /// Sends a thread to a lane, behind all that was sent before.
    pub(crate) fn send(self: &Arc<Self>, lane: &Arc<Lane>) {
        let (shared, lane) = (Arc::clone(self), Arc::clone(lane));
        self.pool.spawn_fifo(move || lane::run(&shared, &lane));
    }

    /// A process of its own, as it was after `at`.
    fn open(&self, process: ProcessId, at: Option<Nonce>) -> Result<Box<Hot>, ExecError> {
        Hot::open(&self.store, &self.modules, process, at).map(Box::new)
    }

    /// Counts and logs an evaluation that took too long for this host: it shows in no receipt.
    pub(crate) fn note(&self, error: &ExecError) {
        if let ExecError::Replay { process, source } = error
            && source.is_broken_off()
        {
            self.counts.broken_off.fetch_add(1, Ordering::Relaxed);
            let limit_s = self.options.step_max.as_secs_f64();
            tracing::error!(%process, %source, cause = source.source().map(tracing::field::display), limit_s, "broken off");
        }
    }

    pub(crate) fn publish(&self, records: &[StepRecord]) {
        if self.results.receiver_count() > 0 {
            // Without a listener left there is nobody to miss it.
            let _ = self.results.send(records.into());
        }
    }

    /// Notes what a lane takes now.
    pub(crate) fn account(&self, lane: &Lane, resident: u64) {
        let before = lane.resident.swap(resident, Ordering::Relaxed);
        // Both wrap around alike, so the sum is right whatever the order.
        self.counts.resident_bytes.fetch_add(resident.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Asks those who were used longest ago to give up their memory until the rest is within the budget.
    pub(crate) fn make_room(self: &Arc<Self>, but: &Arc<Lane>) {
        let mut excess =
            self.counts.resident_bytes.load(Ordering::Relaxed).saturating_sub(self.options.memory_bytes_max);
        if excess == 0 {
            return;
        }
        let mut hot: Vec<Arc<Lane>> = self.lanes().filter(|lane| lane.is_hot() && !Arc::ptr_eq(lane, but)).collect();
        hot.sort_by_key(|lane| lane.used.load(Ordering::Relaxed));
        for lane in hot {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(lane.resident.load(Ordering::Relaxed));
            if lane.retire() {
                self.send(&lane);
            }
        }
    }
}

/// A place among the dry-runs that wait.
struct Ticket(Arc<Shared>);

impl Ticket {
    fn take(shared: &Arc<Shared>) -> Result<Self, ExecError> {
        let most = shared.options.dry_runs_waiting_max;
        let ticket = Self(Arc::clone(shared));
        if shared.dry_waiting.fetch_add(1, Ordering::Relaxed) < most {
            Ok(ticket)
        } else {
            Err(ExecError::DryRunsFull { most })
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.dry_waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

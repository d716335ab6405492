//! The unit: follows logs at the scheduler, keeps them in the store, has them evaluated.
//!
//! Not here: HTTP served (`server`, `routes`), HTTP asked (`ao-source`), evaluating (`ao-exec`).
//! Invariant: an entry is stored once it is verified, evaluated once it is stored, and its result told once that is
//! stored; whoever asks for the same thing meanwhile waits for the one who asked first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ao_exec::{DryRun, ExecError, Executor, Snapshot};
use ao_http::chain;
use ao_log::{Assignment, ChainPoint, Duplicates, LogEntry, LogFault, Nonce, ProcessInfo};
use ao_source::{FetchOptions, GatewayClient, LogFetcher, SchedulerClient, SourceError};
use ao_store::{Head, StepRecord, Store, StoreError};
use ao_wire::{DataItem, Id, MessageId, ProcessId};
use tokio::task::JoinSet;

/// Assigned transactions asked for at once, and held in memory.
const ASSIGNED_AT_ONCE: usize = 8;

/// Why a question cannot be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UnitError {
    /// Scheduler or gateway.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Evaluation.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The stored process is none.
    #[error("process {process}")]
    Process {
        /// The process.
        process: ProcessId,
        /// Why.
        #[source]
        source: Box<LogFault>,
    },
    /// What the log assigns and does not hold is not to be had.
    #[error("process {process}, nonce {nonce}: what it assigns cannot be had")]
    Assigned {
        /// The process.
        process: ProcessId,
        /// The nonce.
        nonce: Nonce,
        /// Why.
        #[source]
        source: Box<SourceError>,
    },
    /// The log is shorter than that.
    #[error("process {process} has no nonce {nonce}")]
    NoNonce {
        /// The process.
        process: ProcessId,
        /// The nonce.
        nonce: Nonce,
    },
    /// The log does not hold that message.
    #[error("process {process} has no message {message}")]
    NoMessage {
        /// The process.
        process: ProcessId,
        /// Its id.
        message: Id,
    },
    /// Its owner's processes are not served.
    #[error("Access denied for process owner {owner}")]
    Owner {
        /// The owner's address.
        owner: String,
    },
    /// A task of the unit ended without an answer.
    #[error("the unit is stopping")]
    Stopping,
}

/// What the unit is made of.
pub(crate) struct Unit {
    pub(crate) store: Arc<Store>,
    pub(crate) executor: Executor,
    scheduler: SchedulerClient,
    gateway: GatewayClient,
    followers: Mutex<BTreeMap<ProcessId, Arc<Follower>>>,
    /// Whose processes are served; empty for everybody's.
    owners: Vec<String>,
    pub(crate) counts: Counts,
}

/// What was fetched so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Entries verified and stored.
    pub(crate) entries: AtomicU64,
    /// Times that a log could not be followed on: no answer, or one not to be believed.
    pub(crate) failures: AtomicU64,
}

/// Who follows the log of one process.
#[derive(Default)]
struct Follower {
    log: Arc<tokio::sync::Mutex<Option<LogFetcher>>>,
    /// When the end of the log was last asked for, and found evaluated.
    looked: Mutex<Option<Instant>>,
}

impl Unit {
    pub(crate) fn new(
        store: Arc<Store>,
        executor: Executor,
        scheduler: SchedulerClient,
        gateway: GatewayClient,
        owners: Vec<String>,
    ) -> Self {
        let (followers, counts) = Default::default();
        Self { store, executor, scheduler, gateway, followers, owners, counts }
    }

    /// The step of a message or an assignment, evaluated if it was not yet.
    pub(crate) async fn step(self: &Arc<Self>, process: ProcessId, id: Id) -> Result<StepRecord, UnitError> {
        if let Some(step) = self.store.result(process, id)? {
            return Ok(step);
        }
        // The process itself is the first of its log, whatever a scheduler answers for its id.
        let nonce = if id == process.id() {
            Some(Nonce(0))
        } else {
            self.scheduler.locate(process, id).await.map_err(absent(process, id))?
        };
        match nonce {
            Some(nonce) => self.reach(process, nonce).await?,
            None => self.catch_up(process, Duration::ZERO).await?,
        }
        self.store.result(process, id)?.ok_or(UnitError::NoMessage { process, message: id })
    }

    /// Refuses a process that is stored and whose owner's are not served; one that is not is looked at when it is fetched.
    pub(crate) fn admit_owner_of(&self, process: ProcessId) -> Result<(), UnitError> {
        if self.owners.is_empty() {
            return Ok(());
        }
        self.store.process(process)?.map_or(Ok(()), |item| self.admit_owner(process, &item))
    }

    fn admit_owner(&self, process: ProcessId, item: &[u8]) -> Result<(), UnitError> {
        let item = DataItem::parse(item).map_err(LogFault::ProcessItem);
        let owner = item.map_err(|source| UnitError::Process { process, source: Box::new(source) })?.owner_address();
        if self.owners.is_empty() || self.owners.contains(&owner) { Ok(()) } else { Err(UnitError::Owner { owner }) }
    }

    /// Sees to it that the results of a process are stored up to a nonce.
    pub(crate) async fn reach(self: &Arc<Self>, process: ProcessId, nonce: Nonce) -> Result<(), UnitError> {
        if self.head(process)?.last_step.is_some_and(|last| last.nonce >= nonce) {
            return Ok(());
        }
        let unit = Arc::clone(self);
        // On a task of its own: what was begun is finished and stored, also if the one who asked goes away.
        let followed = tokio::spawn(async move { unit.follow(process, Some(nonce)).await });
        followed.await.unwrap_or(Err(UnitError::Stopping))
    }

    /// Sees to it that the results are stored up to the present end of the log, unless that was so `max_age` ago.
    pub(crate) async fn catch_up(self: &Arc<Self>, process: ProcessId, max_age: Duration) -> Result<(), UnitError> {
        let follower = self.follower(process);
        let fresh = |looked: &Option<Instant>| looked.is_some_and(|at| at.elapsed() <= max_age);
        if fresh(&follower.looked.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let (unit, begun) = (Arc::clone(self), Instant::now());
        let followed = tokio::spawn(async move { unit.follow(process, None).await });
        followed.await.unwrap_or(Err(UnitError::Stopping))?;
        *follower.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
        Ok(())
    }

    /// As [`Unit::catch_up`], but contented with what is stored if the scheduler does not answer, or not truly.
    pub(crate) async fn try_catch_up(self: &Arc<Self>, process: ProcessId, max_age: Duration) -> Result<(), UnitError> {
        let Err(error) = self.catch_up(process, max_age).await else { return Ok(()) };
        if self.head(process)?.last_step.is_none() {
            return Err(error);
        }
        tracing::warn!(%process, error = %chain(&error), "serving the last good state");
        Ok(())
    }

    /// The answer to a dry-run at the end of the log, or after a message.
    pub(crate) async fn dry_run(
        self: &Arc<Self>,
        process: ProcessId,
        run: DryRun,
        to: Option<Id>,
        max_age: Duration,
    ) -> Result<Vec<u8>, UnitError> {
        let at = if let Some(message) = to {
            Some(self.step(process, message).await?.position.nonce)
        } else {
            self.try_catch_up(process, max_age).await?;
            None
        };
        Ok(self.executor.dry_run(process, run, at).await?)
    }

    /// The memory at the end of the log, or after a nonce whose result is stored.
    pub(crate) async fn memory(self: &Arc<Self>, process: ProcessId, at: Option<Nonce>) -> Result<Snapshot, UnitError> {
        Ok(self.executor.memory(process, at).await?)
    }

    /// How far a process has come here.
    pub(crate) fn head(&self, process: ProcessId) -> Result<Head, UnitError> {
        Ok(self.store.head(process)?)
    }

    /// Fetches, stores and evaluates what is missing up to a nonce, or up to the present end of the log.
    async fn follow(self: Arc<Self>, process: ProcessId, to: Option<Nonce>) -> Result<(), UnitError> {
        let follower = self.follower(process);
        let mut log = Arc::clone(&follower.log).lock_owned().await;
        let mut end = self.head(process)?.next_entry;
        while to.is_none_or(|to| end <= to) {
            let fetcher = match &mut *log {
                Some(fetcher) => fetcher,
                None => log.insert(self.fetcher(process).await?),
            };
            match fetcher.next_page().await {
                Ok(Some(mut page)) => {
                    // First what is assigned, so that no entry is there without it.
                    let missing = self.put_assigned(process, &page).await.err();
                    if let Some((nonce, _)) = &missing {
                        page.retain(|entry| entry.nonce < *nonce);
                    }
                    end = Nonce(end.0 + page.len() as u64);
                    let entries = page.len() as u64;
                    if let Err(error) = self.put_entries(process, page).await {
                        // It is past what was not stored; the next one begins after what is.
                        *log = None;
                        return Err(error);
                    }
                    self.counts.entries.fetch_add(entries, Ordering::Relaxed);
                    if let Some(last) = end.0.checked_sub(1).map(Nonce) {
                        // Evaluated while the next page is fetched; the error of one that fails comes again below.
                        let unit = Arc::clone(&self);
                        tokio::spawn(async move { unit.executor.advance(process, last).await });
                    }
                    if let Some((_, error)) = missing {
                        self.counts.failures.fetch_add(1, Ordering::Relaxed);
                        *log = None;
                        if to.is_none_or(|to| to >= end) {
                            return Err(error);
                        }
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.counts.failures.fetch_add(1, Ordering::Relaxed);
                    // It is of no more use; the next one begins after what is stored.
                    *log = None;
                    return Err(error.into());
                }
            }
        }
        // Whoever comes now may fetch on while this is evaluated.
        drop(log);
        let last = end.0.checked_sub(1).map(Nonce);
        match (to, last) {
            (Some(nonce), last) if last.is_none_or(|last| last < nonce) => Err(UnitError::NoNonce { process, nonce }),
            (_, None) => Ok(()),
            (to, Some(last)) => Ok(self.executor.advance(process, to.unwrap_or(last)).await?),
        }
    }

    /// Fetches and stores what entries assign and no log holds; else says of which nonce that failed, the first such.
    async fn put_assigned(&self, process: ProcessId, page: &[LogEntry]) -> Result<(), (Nonce, UnitError)> {
        let mut wanted: Vec<(Nonce, MessageId)> = Vec::new();
        for entry in page {
            let Some(id) = entry.elsewhere(process) else { continue };
            if self.store.assigned_bytes(id).map_err(|error| (entry.nonce, error.into()))?.is_none() {
                wanted.push((entry.nonce, id));
            }
        }
        for wanted in wanted.chunks(ASSIGNED_AT_ONCE) {
            let mut asked = JoinSet::new();
            for (nonce, id) in wanted.iter().copied() {
                let gateway = self.gateway.clone();
                asked.spawn(async move { (nonce, id, gateway.assigned_encoded(id).await) });
            }
            let mut found = asked.join_all().await;
            found.sort_by_key(|(nonce, ..)| *nonce);
            let (mut fetched, mut missing) = (Vec::new(), None);
            for (nonce, id, answer) in found {
                match answer {
                    Ok(bytes) => fetched.push((id, bytes)),
                    Err(source) if missing.is_none() => {
                        let source = Box::new(source);
                        missing = Some((nonce, UnitError::Assigned { process, nonce, source }));
                    }
                    Err(_) => {}
                }
            }
            let first = wanted[0].0;
            let store = Arc::clone(&self.store);
            let stored = tokio::task::spawn_blocking(move || store.put_assigned(&fetched)).await;
            stored.map_err(|_| (first, UnitError::Stopping))?.map_err(|error| (first, error.into()))?;
            missing.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    async fn put_entries(&self, process: ProcessId, page: Vec<LogEntry>) -> Result<(), UnitError> {
        let store = Arc::clone(&self.store);
        let stored = tokio::task::spawn_blocking(move || store.put_entries(process, &page)).await;
        Ok(stored.map_err(|_| UnitError::Stopping)??)
    }

    /// Follows a log from the end of what is stored; fetches process and module first if they are not.
    async fn fetcher(&self, process: ProcessId) -> Result<LogFetcher, UnitError> {
        let item = self.prepare(process).await?;
        let (scheduler, gateway) = (self.scheduler.clone(), Some(self.gateway.clone()));
        let end = self.head(process)?.next_entry;
        // What occurs twice is the kernel's business, and a log may be long.
        let options = FetchOptions { duplicates: Duplicates::Allow, ..FetchOptions::default() };
        let Some(last) = end.0.checked_sub(1).map(Nonce) else {
            return Ok(LogFetcher::new(scheduler, gateway, &item, options)?);
        };
        let entry = self.store.entries(process, last, end)?.next();
        let entry = entry.unwrap_or(Err(StoreError::LogGap { process, nonce: last }))?;
        let point = chain_point(&entry).map_err(|source| UnitError::Process { process, source: Box::new(source) })?;
        Ok(LogFetcher::resume(scheduler, gateway, &item, options, point)?)
    }

    /// The process' item, stored together with its module.
    async fn prepare(&self, process: ProcessId) -> Result<Vec<u8>, UnitError> {
        let stored = self.store.process(process)?;
        let item = match &stored {
            Some(item) => item.clone(),
            None => self.scheduler.process(process, Some(&self.gateway)).await?,
        };
        self.admit_owner(process, &item)?;
        let module = module_of(&item).map_err(|source| UnitError::Process { process, source: Box::new(source) })?;
        if self.store.module(module)?.is_none() {
            let fetched = self.gateway.module(module).await?;
            self.store.put_module(&fetched)?;
        }
        if stored.is_none() {
            self.store.put_process(process, &item)?;
        }
        Ok(item)
    }

    fn follower(&self, process: ProcessId) -> Arc<Follower> {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(followers.entry(process).or_default())
    }
}

fn absent(process: ProcessId, message: Id) -> impl Fn(SourceError) -> UnitError {
    move |error| match error {
        SourceError::Status { status: 400..=499, .. } | SourceError::OtherProcess { .. } => {
            UnitError::NoMessage { process, message }
        }
        error => error.into(),
    }
}

/// The module that a process' item names.
pub(crate) fn module_of(item: &[u8]) -> Result<ao_wire::ModuleId, LogFault> {
    let item = DataItem::parse(item).map_err(LogFault::ProcessItem)?;
    Ok(ProcessInfo::from_item(&item).map_err(LogFault::Process)?.module)
}

fn chain_point(entry: &LogEntry) -> Result<ChainPoint, LogFault> {
    let nonce = entry.nonce;
    let item = DataItem::parse(&entry.assignment).map_err(|source| LogFault::AssignmentItem { nonce, source })?;
    let Assignment { id, hash_chain, timestamp, .. } =
        Assignment::from_item(&item).map_err(|source| LogFault::Assignment { nonce, source })?;
    Ok(ChainPoint { nonce, assignment: id, hash_chain, timestamp })
}

//! Lanes: what must be in order is done in order, the rest at once; what fails is tried again within a budget.
//!
//! *Not here:* what is done (`run`).
//!
//! Invariant: a task leaves the queue when what comes of it is in the queue, or it lies among the dead letters.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ao_http::stopped;
use tokio::sync::oneshot;

use crate::MuError;
use crate::messenger::{Messenger, Told, lock};
use crate::store::{Change, Dead, Key};
use crate::task::{Task, Work};
use crate::units::Failure;

/// Pause after the queue could not be read or written.
const QUEUE_PAUSE: Duration = Duration::from_secs(1);

type Lane = [u8; 32];

impl Messenger {
    /// Sees to it that the lanes of these tasks move.
    pub(crate) fn wake(self: &Arc<Self>, keys: &[Key]) {
        for (lane, ..) in keys {
            if lock(&self.moving).insert(*lane) {
                tokio::spawn(Arc::clone(self).walk(*lane));
            }
        }
    }

    /// Waits for what becomes of the next task of a lane.
    pub(crate) fn listen(&self, lane: Lane) -> oneshot::Receiver<Told> {
        let (teller, told) = oneshot::channel();
        lock(&self.listening).entry(lane).or_default().push(teller);
        told
    }

    /// Tells those who wait; whether anybody did.
    fn tell(&self, lane: Lane, told: &Told) -> bool {
        let tellers = lock(&self.listening).remove(&lane).unwrap_or_default();
        let heard = tellers.into_iter().filter_map(|teller| teller.send(told.clone()).ok());
        heard.count() > 0
    }

    /// Does the tasks of a lane until there is none or the unit stops. To break off is as a crash: nothing is lost.
    async fn walk(self: Arc<Self>, lane: Lane) {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = self.walk_on(lane) => {}
            () = stopped(&mut stopping) => {}
        }
    }

    async fn walk_on(self: &Arc<Self>, lane: Lane) {
        loop {
            let step = match self.store.first(lane) {
                Ok(Some((key, task))) => self.attempt(key, task).await,
                Ok(None) => match self.leave(lane) {
                    Ok(true) => return,
                    Ok(false) => Ok(()),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            if let Err(error) = step {
                tracing::error!(error = ao_http::chain(&error), "the queue does not move");
                tokio::time::sleep(QUEUE_PAUSE).await;
            }
        }
    }

    /// Whether the lane is empty, and so nobody's. Who puts a task in wakes the lane afterwards.
    fn leave(&self, lane: Lane) -> Result<bool, MuError> {
        let mut moving = lock(&self.moving);
        let empty = self.store.first(lane)?.is_none();
        if empty {
            moving.remove(&lane);
        }
        Ok(empty)
    }

    async fn attempt(self: &Arc<Self>, key: Key, task: Task) -> Result<(), MuError> {
        let slots = if matches!(task.work, Work::Crank { .. }) { &self.cranks } else { &self.sends };
        let slot = slots.acquire().await.map_err(|_| MuError::Stopping)?;
        let done = self.run(&task).await;
        drop(slot);
        match done {
            Ok(done) => {
                let change = match done.replace {
                    Some(next) => Change { replace: Some((key, next)), put: done.put, ..Change::default() },
                    None => Change { remove: Some(key), put: done.put, ..Change::default() },
                };
                let keys = self.store.change(change).await?;
                if let Some(what) = done.delivered {
                    self.counts.delivered(what);
                }
                if let Some(scheduled) = done.scheduled {
                    self.tell(key.0, &Ok(scheduled));
                }
                self.wake(&keys);
                Ok(())
            }
            Err(failure) => self.failed(key, task, failure).await,
        }
    }

    async fn failed(&self, key: Key, mut task: Task, failure: Failure) -> Result<(), MuError> {
        let (retry, now) = (&self.options.retry, now_ms());
        if task.failures == 0 {
            task.failing_since = now;
        }
        task.failures += 1;
        if failure.again && now.saturating_sub(task.failing_since) < retry.budget_ms {
            let wait = retry.wait(task.failures);
            tracing::debug!(%failure, failures = task.failures, ?wait, "tried again");
            self.counts.retries.fetch_add(1, Ordering::Relaxed);
            self.store.change(Change { replace: Some((key, task)), ..Change::default() }).await?;
            tokio::time::sleep(wait).await;
            return Ok(());
        }
        let error = failure.to_string();
        // A client that is told so may do with it what it likes.
        if matches!(task.work, Work::Post { client: true, .. }) && self.tell(key.0, &Err(failure)) {
            self.store.change(Change { remove: Some(key), ..Change::default() }).await?;
            return Ok(());
        }
        tracing::warn!(error, "a dead letter");
        self.counts.dead.fetch_add(1, Ordering::Relaxed);
        let dead = Some(Dead { task, error, at: now });
        self.store.change(Change { remove: Some(key), dead, ..Change::default() }).await?;
        Ok(())
    }
}

/// How often what failed is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Wait before the second attempt, in milliseconds; it doubles from there, each wait between half and all of it.
    pub first_ms: u64,
    /// Longest wait.
    pub max_ms: u64,
    /// What still fails so long after it first did becomes a dead letter.
    pub budget_ms: u64,
}

impl Default for Retry {
    fn default() -> Self {
        Self { first_ms: 250, max_ms: 15_000, budget_ms: 3_600_000 }
    }
}

impl Retry {
    /// The wait after so many failures in a row.
    fn wait(&self, failures: u32) -> Duration {
        let doubled = self.first_ms.saturating_mul(1 << failures.saturating_sub(1).min(30)).min(self.max_ms);
        // Between half and all, so that what failed together does not come back together.
        let random = RandomState::new().build_hasher().finish();
        Duration::from_millis(doubled / 2 + random % (doubled / 2 + 1))
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

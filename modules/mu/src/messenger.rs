//! The unit: its queue, its lanes, and whom it asks.
//!
//! *Not here:* requests (`answer`).

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use ao_wire::{Id, SignatureType, Signer};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::MuError;
use crate::counts::Counts;
use crate::lanes::Retry;
use crate::store::Store;
use crate::units::{Failure, ProcessInfo, Scheduled, Units};

/// What became of a posted item at the scheduler.
pub(crate) type Told = Result<Scheduled, Failure>;

/// How a unit is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The scheduler unit, or a router before several.
    pub su: String,
    /// The compute unit, or a router before several.
    pub cu: String,
    /// Where items for wallets are uploaded to, by `POST {url}/tx`; if `None`, they become dead letters.
    pub upload: Option<String>,
    /// Whether the compute unit is ours: a result counts only with the receipt that commits to it. A receipt that comes
    /// with a result must in any case.
    pub receipts_required: bool,
    /// Outboxes between what a client posted and the last that is delivered of it: what ends a cycle.
    pub hops_max: u32,
    /// How often what failed is tried again.
    pub retry: Retry,
    /// Requests to the scheduler and the gateway at the same time.
    pub sends_max: usize,
    /// Requests to the compute unit at the same time.
    pub cranks_max: usize,
    /// How often the crons of watched processes are asked for, in milliseconds.
    pub cron_every_ms: u64,
    /// How long a client waits for the scheduler, in milliseconds, before it is told that its item is accepted.
    pub patience_ms: u64,
    /// Bytes of the longest item.
    pub item_bytes_max: usize,
}

impl Options {
    /// Those of the reference where it has any.
    pub fn new(su: impl Into<String>, cu: impl Into<String>) -> Self {
        Self {
            su: su.into(),
            cu: cu.into(),
            upload: None,
            receipts_required: false,
            hops_max: 256,
            retry: Retry::default(),
            sends_max: 64,
            cranks_max: 32,
            cron_every_ms: 10_000,
            patience_ms: 5_000,
            item_bytes_max: 10 << 20,
        }
    }
}

/// A messenger unit.
pub struct Messenger {
    pub(crate) address: Id,
    pub(crate) options: Options,
    pub(crate) signer: Arc<Signer>,
    pub(crate) store: Store,
    pub(crate) units: Units,
    pub(crate) counts: Counts,
    pub(crate) sends: Semaphore,
    pub(crate) cranks: Semaphore,
    /// Lanes that somebody walks.
    pub(crate) moving: Mutex<HashSet<[u8; 32]>>,
    /// Who waits for what becomes of the next task of a lane.
    pub(crate) listening: Mutex<HashMap<[u8; 32], Vec<oneshot::Sender<Told>>>>,
    pub(crate) processes: Mutex<HashMap<Id, ProcessInfo>>,
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Messenger {
    /// Opens the unit that signs with `signer` and keeps its queue in `dir`, and goes on with what lies there, until
    /// `stopping` is true. Runs within a tokio runtime.
    ///
    /// The handle ends when the unit was dropped and all is written.
    ///
    /// # Errors
    /// The queue is damaged or open elsewhere; the key is no RSA key.
    pub fn open(
        dir: &Path,
        signer: Signer,
        options: Options,
        stopping: watch::Receiver<bool>,
    ) -> Result<(Arc<Self>, JoinHandle<()>), MuError> {
        let found = signer.signature_type();
        if found != SignatureType::Arweave {
            return Err(MuError::Key { found });
        }
        std::fs::create_dir_all(dir).map_err(|source| MuError::Io { path: dir.display().to_string(), source })?;
        let units = Units::new(&options)?;
        let (store, thread) = Store::open(&dir.join("mu.redb"))?;
        let unit = Arc::new(Self {
            address: Id::sha256(signer.owner()),
            signer: Arc::new(signer),
            store,
            units,
            counts: Counts::default(),
            sends: Semaphore::new(options.sends_max.max(1)),
            cranks: Semaphore::new(options.cranks_max.max(1)),
            moving: Mutex::default(),
            listening: Mutex::default(),
            processes: Mutex::default(),
            stopping,
            options,
        });
        let keys: Vec<_> = unit.store.lanes()?.into_iter().map(|lane| (lane, 0, 0)).collect();
        if !keys.is_empty() {
            tracing::info!(lanes = keys.len(), tasks = unit.store.queued()?, "going on with the queue");
        }
        unit.wake(&keys);
        tokio::spawn(Arc::clone(&unit).watch_crons());
        Ok((unit, thread))
    }

    /// The address that processes name as their authority.
    pub fn address(&self) -> Id {
        self.address
    }
}

/// A thread that panicked within left nothing half done: every change under these locks is one step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

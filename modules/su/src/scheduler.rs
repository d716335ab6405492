//! The unit: its log, its thread, and what it asks of a gateway.
//!
//! *Not here:* requests (`answer`).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ao_log::{BlockHeight, Nonce};
use ao_source::{GatewayClient, SourceError};
use ao_wire::{DataItem, Id, ProcessId, Signer};
use tokio::sync::{mpsc, oneshot, watch};

use crate::index::BLOCK;
use crate::ledger::Ledger;
use crate::sequencer::{Job, Scheduled, Sequencer, Work};
use crate::upload::Uploader;
use crate::{Policy, SuError};

/// Jobs that may wait for the thread; past it whoever posts waits with his post.
const WAITING_MAX: usize = 4096;
/// How often the gateway is asked for its height.
const BLOCK_EVERY: Duration = Duration::from_secs(5);
/// Confirmations of a base-layer transaction, unless the process says otherwise.
const SETTLEMENT_DEPTH: u64 = 20;
/// A gateway may show what it was given a moment later: how often it is asked, and the pause.
const GATEWAY_TRIES: u32 = 10;
const GATEWAY_PAUSE: Duration = Duration::from_millis(200);

/// How a unit is set up.
#[derive(Debug)]
pub struct Options {
    /// Whom and what it serves.
    pub policy: Policy,
    /// Whom it asks for blocks and transactions.
    pub gateway: GatewayClient,
    /// Where it uploads to, by `POST {url}/tx`; nowhere if `None`.
    pub upload: Option<String>,
}

/// A scheduler unit.
pub struct Scheduler {
    pub(crate) address: String,
    pub(crate) policy: Policy,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) end: watch::Receiver<u64>,
    pub(crate) accepted: AtomicU64,
    pub(crate) uploads: bool,
    gateway: GatewayClient,
    block_height: Arc<AtomicU64>,
    jobs: mpsc::Sender<Job>,
}

impl Scheduler {
    /// Opens the unit that signs with `signer` and keeps its log in `dir`. Runs within a tokio runtime.
    ///
    /// What was accepted before is all there when this returns, and the height of the chain is known.
    ///
    /// The handle ends when the unit was dropped and all is written.
    ///
    /// # Errors
    /// The log is damaged or another unit's; the gateway gives no height and none is known from before.
    pub async fn open(dir: &Path, signer: Signer, options: Options) -> Result<(Arc<Self>, JoinHandle<()>), SuError> {
        let address = signer.address();
        let signer = Arc::new(signer);
        let writer = Ledger::open(dir, Id::sha256(signer.owner()))?;
        let ledger = Arc::clone(writer.ledger());
        let block_height = Arc::new(AtomicU64::new(ledger.index()?.count(BLOCK)?));
        watch_blocks(&options.gateway, &block_height).await?;
        let (tell_end, end) = watch::channel(writer.end().unwrap_or_default());
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let sequencer =
            Sequencer { writer, signer: Arc::clone(&signer), block_height: Arc::clone(&block_height), end: tell_end };
        let thread = std::thread::Builder::new().name("sequencer".into());
        let thread = thread.spawn(move || sequencer.run(waiting)).map_err(SuError::io(dir))?;
        let uploads = options.upload.is_some();
        if let Some(url) = options.upload {
            let (ledger, gateway, end) = (Arc::clone(&ledger), options.gateway.clone(), end.clone());
            tokio::spawn(Uploader { ledger, gateway, url, signer, end }.run());
        }
        let (policy, gateway) = (options.policy, options.gateway);
        let accepted = AtomicU64::new(0);
        let unit = Self { address, policy, ledger, end, accepted, uploads, gateway, block_height, jobs };
        Ok((Arc::new(unit), thread))
    }

    /// The address that processes name as their scheduler.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn block_height(&self) -> BlockHeight {
        BlockHeight(self.block_height.load(Ordering::Relaxed))
    }

    /// Waits for a place in a log.
    pub(crate) async fn schedule(&self, process: ProcessId, work: Work) -> Result<Scheduled, SuError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job { process, work, reply }).await.map_err(|_| SuError::Stopping)?;
        answer.await.map_err(|_| SuError::Stopping)?
    }

    /// Waits until the gateway knows a transaction.
    pub(crate) async fn at_gateway(&self, id: Id) -> Result<(), SuError> {
        for _ in 0..GATEWAY_TRIES {
            match self.gateway.transaction(id).await {
                Ok(_) => return Ok(()),
                Err(SourceError::NoTransaction { .. }) => tokio::time::sleep(GATEWAY_PAUSE).await,
                Err(error) => return Err(error.into()),
            }
        }
        Err(SuError::NoTransaction { id })
    }

    /// Whether a transaction of the base layer lies as deep as the process wants.
    pub(crate) async fn settled(&self, process: ProcessId, id: Id) -> Result<(), SuError> {
        let (entry, _) = self.ledger.entry(process, Nonce(0))?.ok_or(SuError::NoProcess { process })?;
        let item = entry.message.unwrap_or_default();
        let depth = DataItem::parse(&item).ok().and_then(|item| item.tag("Settlement-Depth")?.parse().ok());
        let needed = depth.unwrap_or(SETTLEMENT_DEPTH);
        let found = self.gateway.confirmations(id).await?.ok_or(SuError::NoTransaction { id })?;
        if found < needed { Err(SuError::Unsettled { id, found, needed }) } else { Ok(()) }
    }
}

/// Learns the height now, and from then on every few seconds until nobody needs it. It never goes back.
async fn watch_blocks(gateway: &GatewayClient, height: &Arc<AtomicU64>) -> Result<(), SuError> {
    match gateway.height().await {
        Ok(found) => {
            height.fetch_max(found, Ordering::Relaxed);
        }
        Err(error) if height.load(Ordering::Relaxed) == 0 => return Err(error.into()),
        Err(error) => tracing::warn!(error = ao_http::chain(&error), "going on with the last known block"),
    }
    let (gateway, height) = (gateway.clone(), Arc::downgrade(height));
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(BLOCK_EVERY).await;
            let found = gateway.height().await;
            let Some(height) = height.upgrade() else { break };
            match found {
                Ok(found) => _ = height.fetch_max(found, Ordering::Relaxed),
                Err(error) => tracing::debug!(error = ao_http::chain(&error), "no height"),
            }
        }
    });
    Ok(())
}

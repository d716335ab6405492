//! Uploading: every record once, in order, as a bundle item that the unit signs, to a bundler or node that takes `POST /tx`.
//!
//! Invariant: a record is passed over only when the other side took it, or refused it for what it is: then it is noted, and
//! offered again when the unit starts. What was taken just before a crash is sent once more: its items are the same bytes.
//!
//! # Source
//! `permaweb/ao` `servers/su/src/domain/core/builder.rs` at `ff178d51`: the tags of a bundle.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ao_source::{GatewayClient, SourceError};
use ao_wire::{ItemBuilder, Signer, Tag};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::SuError;
use crate::ledger::Ledger;

/// Uploads at the same time.
const AT_ONCE: u64 = 8;
/// What says that it is the item which is not taken, and not now or not from us.
const REFUSALS: [u16; 3] = [400, 413, 422];
/// Wait after a failure; doubled up to the longest.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(32);

pub(crate) struct Uploader {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) gateway: GatewayClient,
    pub(crate) url: String,
    pub(crate) signer: Arc<Signer>,
    /// How many records there are.
    pub(crate) end: watch::Receiver<u64>,
}

impl Uploader {
    /// Uploads until the unit stops.
    pub(crate) async fn run(self) {
        let (unit, mut pause) = (Arc::new(self), PAUSE_FIRST);
        if let Err(error) = unit.offer_again().await {
            tracing::warn!(error = ao_http::chain(&error), "what was refused before is not offered again");
        }
        let mut end = unit.end.clone();
        loop {
            match unit.step().await {
                Ok(true) => pause = PAUSE_FIRST,
                Ok(false) => {
                    if end.changed().await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = ao_http::chain(&error), "an upload failed and is tried again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Uploads the next few; whether there were any.
    async fn step(self: &Arc<Self>) -> Result<bool, SuError> {
        let first = self.ledger.uploaded();
        let last = (*self.end.borrow()).min(first + AT_ONCE);
        if first >= last {
            return Ok(false);
        }
        let mut uploads = JoinSet::new();
        for sequence in first..last {
            uploads.spawn(Arc::clone(self).upload(sequence));
        }
        while let Some(uploaded) = uploads.join_next().await {
            uploaded.map_err(|_| SuError::Stopping)??;
        }
        self.ledger.uploaded.store(last, Ordering::Relaxed);
        Ok(true)
    }

    /// Offers what was refused before, once.
    async fn offer_again(self: &Arc<Self>) -> Result<(), SuError> {
        for sequence in self.ledger.index()?.refused()? {
            if Arc::clone(self).upload(sequence).await? {
                self.ledger.index()?.refuse(sequence, None)?;
            }
        }
        Ok(())
    }

    /// Uploads a record; whether it was taken, and not refused.
    async fn upload(self: Arc<Self>, sequence: u64) -> Result<bool, SuError> {
        let reader = Arc::clone(&self);
        let bundle = tokio::task::spawn_blocking(move || reader.bundle(sequence));
        let bundle = bundle.await.map_err(|_| SuError::Stopping)??;
        match self.gateway.upload(&self.url, bundle).await {
            Ok(()) => Ok(true),
            Err(error @ SourceError::Status { status, .. }) if REFUSALS.contains(&status) => {
                let why = ao_http::chain(&error);
                tracing::error!(record = sequence, error = why, "an upload was refused and is put aside");
                self.ledger.index()?.refuse(sequence, Some(&why))?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The item that carries a record.
    fn bundle(&self, sequence: u64) -> Result<Vec<u8>, SuError> {
        let data = self.ledger.payload(sequence)?.ok_or(SuError::Broken)?;
        let tags = vec![Tag::new("Bundle-Format", "binary"), Tag::new("Bundle-Version", "2.0.0")];
        Ok(ItemBuilder { tags, data: &data, ..ItemBuilder::default() }.build(&self.signer)?)
    }
}

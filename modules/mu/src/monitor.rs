//! Watched processes: what their crons send is delivered as what their messages send.
//!
//! Invariant: a cursor goes on in the same commit that puts in the queue what was read before it.

use std::sync::Arc;
use std::time::Duration;

use ao_http::stopped;
use ao_wire::{DataItem, Id, ProcessId};
use tokio::task::JoinSet;

use crate::MuError;
use crate::lanes::now_ms;
use crate::messenger::Messenger;
use crate::outbox;
use crate::store::{Change, Watch};
use crate::task::Trail;

/// Results of a page, as the reference asks for them.
const PAGE: u32 = 50;
/// Pages of one process in one turn.
const PAGES_MAX: u32 = 40;
/// Processes asked for at the same time.
const AT_ONCE: usize = 8;

impl Messenger {
    /// Watches a process from what it did last, as its owner asks with a signed item; or no longer.
    pub(crate) async fn watch(&self, process: ProcessId, item: &DataItem<'_>, begin: bool) -> Result<(), MuError> {
        self.authorize(process, item).await?;
        let watch = if begin {
            // A process that did nothing yet has its crons delivered from now on, not from its beginning.
            let last = self.units.last_cursor(process).await?;
            Watch::Begin(last.unwrap_or_else(|| now_ms().to_string()))
        } else {
            Watch::End
        };
        let change = Change { monitor: Some((process.id(), watch)), used: Some(item.id()), ..Change::default() };
        self.store.change(change).await?;
        Ok(())
    }

    /// Whether the item is its owner's word about this process.
    async fn authorize(&self, process: ProcessId, item: &DataItem<'_>) -> Result<(), MuError> {
        item.verify().map_err(MuError::Signature)?;
        let target = item.target().map(|target| Id(*target));
        if target != Some(process.id()) {
            let found = target.map_or_else(|| "nobody".to_owned(), |target| target.to_string());
            return Err(MuError::OtherTarget { process, found });
        }
        let known = self.process(process.id()).await?;
        if known.is_some_and(|known| known.owner_key == item.owner()) {
            Ok(())
        } else {
            Err(MuError::NotOwner { process, owner: item.owner_address() })
        }
    }

    /// Reads what is new of all that is watched, turn by turn, until the unit stops.
    pub(crate) async fn watch_crons(self: Arc<Self>) {
        let (mut stopping, unit) = (self.stopping.clone(), self);
        let watching = async {
            loop {
                if let Err(error) = unit.turn().await {
                    tracing::error!(error = ao_http::chain(&error), "crons cannot be read");
                }
                tokio::time::sleep(Duration::from_millis(unit.options.cron_every_ms)).await;
            }
        };
        tokio::select! {
            () = watching => {}
            () = stopped(&mut stopping) => {}
        }
    }

    async fn turn(self: &Arc<Self>) -> Result<(), MuError> {
        let mut reading = JoinSet::new();
        for (process, cursor) in self.store.monitors()? {
            if reading.len() >= AT_ONCE {
                reading.join_next().await;
            }
            let unit = Arc::clone(self);
            reading.spawn(async move {
                match unit.read_crons(process.into(), cursor).await {
                    Ok(()) | Err(MuError::NotWatched) => {}
                    Err(error) => tracing::warn!(%process, error = ao_http::chain(&error), "crons are read later"),
                }
            });
        }
        while reading.join_next().await.is_some() {}
        Ok(())
    }

    async fn read_crons(self: &Arc<Self>, process: ProcessId, mut cursor: String) -> Result<(), MuError> {
        for _ in 0..PAGES_MAX {
            let page = {
                let _slot = self.cranks.acquire().await.map_err(|_| MuError::Stopping)?;
                self.units.cron(process, &cursor, PAGE).await?
            };
            let Some((last, _)) = page.edges.last() else { break };
            cursor.clone_from(last);
            let trail = Trail::default();
            let tasks =
                page.edges.iter().flat_map(|(at, node)| outbox::tasks(process, &format!("cron {at}"), node, &trail));
            let monitor = Some((process.id(), Watch::Advance(cursor.clone())));
            let keys = self.store.change(Change { put: tasks.collect(), monitor, ..Change::default() }).await?;
            self.counts.crons(page.edges.len());
            self.wake(&keys);
            if !page.more {
                break;
            }
        }
        Ok(())
    }
}

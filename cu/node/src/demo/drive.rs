//! Traders on a network: spawned, told what to do, waited for.
//!
//! Speaks to the units over HTTP, as any client does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use ao_wire::{Id, Signer};
use serde_json::Value;
use tokio::task::JoinSet;

use super::plan::Action;
use super::progress::Progress;
use super::purse::Report;
use crate::client::{Http, Units, monitor, result, send, spawn};
use crate::network::Network;

/// Requests under way at once.
const AT_ONCE: usize = 32;
/// How often the units are asked how far they are.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// After so long without any progress something is wrong.
const STALL_MAX: Duration = Duration::from_mins(1);
/// Messages of a trader before it trades: the process itself and its code.
pub(crate) const OPENING: u64 = 2;
const TRADER: &str = include_str!("trader.lua");
/// What the process of the first trader says of its clock.
const CLOCK: [(&str, &str); 2] = [("Cron-Interval", "1-second"), ("Cron-Tag-Action", "Cron")];

/// A client of the network.
pub(crate) struct Driver {
    http: Http,
    units: Units,
    signer: Signer,
    scheduler: String,
    module: Id,
}

impl Driver {
    pub(crate) fn new(network: &Network, signer: Signer) -> Result<Self> {
        let module = network.module.as_ref().map(|(_, id)| *id);
        let module = module.context("there is no module: make setup fetches aos, --module names another")?;
        let (units, scheduler) = (network.units.clone(), network.scheduler.clone());
        Ok(Self { http: Http::new()?, units, signer, scheduler, module })
    }

    /// So many traders, ready to trade; the first has a clock.
    pub(crate) async fn open(self: &Arc<Self>, count: usize, progress: &Progress) -> Result<Vec<Id>> {
        let spawned =
            self.each((0..count).collect(), Some(progress), |driver, number| async move { driver.spawn(number).await });
        let traders = spawned.await?;
        let peers: Vec<String> = traders.iter().map(|id| format!("'{id}'")).collect();
        let code: Arc<str> = format!("Peers = {{ {} }}\n{TRADER}", peers.join(", ")).into();
        self.each(traders.clone(), Some(progress), |driver, trader| {
            let code = Arc::clone(&code);
            async move { driver.load(trader, &code).await }
        })
        .await?;
        monitor(&self.http, &self.units, traders[0], &self.signer).await?;
        Ok(traders)
    }

    async fn spawn(&self, number: usize) -> Result<Id> {
        let mut tags = vec![("Name".to_owned(), format!("trader-{number}"))];
        if number == 0 {
            tags.extend(CLOCK.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        spawn(&self.http, &self.units, (self.module, &self.scheduler), tags, b" ", &self.signer).await
    }

    async fn load(&self, trader: Id, code: &str) -> Result<()> {
        let message = self.tell(trader, vec![("Action".to_owned(), "Eval".to_owned())], code).await?;
        let result = result(&self.http, &self.units, trader, message).await?;
        let said = result.pointer("/Output/data").map(|data| data.get("output").unwrap_or(data));
        ensure!(said == Some(&Value::from("open")), "trader {trader} did not open: {result}");
        Ok(())
    }

    /// Sends all actions; their answers are others' business.
    pub(crate) async fn act(self: &Arc<Self>, traders: &[Id], plan: Vec<Action>, progress: &Progress) -> Result<()> {
        let told = plan.into_iter().map(|action| (traders[action.who], action.tags(traders))).collect();
        let sent = self.each(told, None, |driver, (trader, tags): (Id, _)| async move {
            driver.tell(trader, tags, " ").await.map(|_| ())
        });
        // The units are ahead of the answers, and say so.
        let mut sent = std::pin::pin!(sent);
        loop {
            tokio::select! {
                sent = &mut sent => return sent.map(|_| ()),
                () = tokio::time::sleep(LOOK_EVERY) => progress.at(self.scheduled(traders).await?),
            }
        }
    }

    /// Waits until nothing is on its way any more; what each trader has then.
    pub(crate) async fn settle(&self, traders: &[Id], progress: &Progress) -> Result<Vec<Report>> {
        // From here on the clock makes nothing new.
        self.tell(traders[0], vec![("Action".to_owned(), "Close".to_owned())], " ").await?;
        let (mut seen, mut moved) = (None, Instant::now());
        loop {
            let (scheduled, queued) = (self.scheduled(traders).await?, self.queued().await?);
            progress.at(scheduled);
            if queued == 0 {
                let mut reports = Vec::new();
                for trader in traders {
                    reports.push(Report::ask(&self.http, &self.units, *trader, &self.signer).await?);
                }
                if Report::sum(&reports).quiet() {
                    return Ok(reports);
                }
            }
            if seen.replace((scheduled, queued)) != Some((scheduled, queued)) {
                moved = Instant::now();
            }
            ensure!(
                moved.elapsed() < STALL_MAX,
                "the network stands still with {queued} tasks in the messenger's queue"
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Saves what anyone needs to verify each trader; the files.
    pub(crate) async fn save(&self, traders: &[Id], folder: &Path) -> Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for trader in traders {
            let path = folder.join(format!("{trader}.bundle"));
            let bundle = self.http.get_bytes(&format!("{}/bundle/{trader}", self.units.cu)).await?;
            std::fs::write(&path, bundle).with_context(|| format!("{}", path.display()))?;
            paths.push(path);
        }
        Ok(paths)
    }

    async fn tell(&self, trader: Id, tags: Vec<(String, String)>, data: &str) -> Result<Id> {
        send(&self.http, &self.units, trader, tags, data.as_bytes(), &self.signer).await
    }

    /// Messages that the scheduler took through the messenger since the traders opened.
    async fn scheduled(&self, traders: &[Id]) -> Result<u64> {
        let page = self.http.get_bytes(&format!("{}/metrics", self.units.mu)).await?;
        let page = std::str::from_utf8(&page)?;
        let names = ["aorta_mu_accepted_total ", "aorta_mu_delivered_total{what=\"message\"} "];
        let values = page.lines().filter_map(|line| names.iter().find_map(|name| line.strip_prefix(name)));
        let all = values.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(all.saturating_sub(OPENING * traders.len() as u64))
    }

    /// Tasks of the messenger; what it gave up is an error.
    async fn queued(&self) -> Result<u64> {
        let info = self.http.get(&format!("{}/info", self.units.mu)).await?;
        if info["dead_letters"] != 0 {
            bail!("the messenger gave up: {}", self.http.get(&format!("{}/dead-letters", self.units.mu)).await?);
        }
        info["queued"].as_u64().context("the messenger does not say what it has queued")
    }

    /// Does something with each, some at once; what came of it, in their order.
    async fn each<T, R, F>(
        self: &Arc<Self>,
        items: Vec<T>,
        progress: Option<&Progress>,
        does: impl Fn(Arc<Self>, T) -> F,
    ) -> Result<Vec<R>>
    where
        R: Send + 'static,
        F: Future<Output = Result<R>> + Send + 'static,
    {
        let (mut running, mut done) = (JoinSet::new(), Vec::new());
        for (place, item) in items.into_iter().enumerate() {
            if running.len() >= AT_ONCE
                && let Some(ended) = running.join_next().await
            {
                done.push(ended??);
                progress.inspect(|progress| progress.step());
            }
            let future = does(Arc::clone(self), item);
            running.spawn(async move { anyhow::Ok((place, future.await?)) });
        }
        while let Some(ended) = running.join_next().await {
            done.push(ended??);
            progress.inspect(|progress| progress.step());
        }
        done.sort_by_key(|(place, _)| *place);
        Ok(done.into_iter().map(|(_, came)| came).collect())
    }
}

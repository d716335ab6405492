//! `aorta cu`: a compute unit.
//!
//! Not here: what it answers (`routes`), what it does (`unit`), what can be set (`config`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ao_exec::Executor;
use ao_http::{serve, stop_on_signals, stopped};
use ao_kernel::ArtifactCache;
use ao_kernel::profile::Profile;
use ao_store::Store;
use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::{Config, Settings};
use crate::metrics::Metrics;
use crate::rate::RateLimit;
use crate::routes::{Context, answer};
use crate::unit::Unit;
use crate::{clients, listen, runtime, say, settings};

/// Packs of checkpoints are rewritten when less than so many thousandths of them are needed.
const LIVE_PER_MILLE_MIN: u32 = 500;

/// Dry-runs that may wait for a thread, for each thread.
const DRY_RUNS_PER_WORKER: usize = 64;

#[derive(Args, Debug)]
pub(crate) struct Cu {
    /// Settings as TOML; the environment and flags override it
    #[arg(long, value_name = "FILE", env = "AORTA_CONFIG")]
    config: Option<PathBuf>,
    /// Print the settings in force and end
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    settings: Settings,
}

pub(crate) fn run(cu: Cu) -> Result<()> {
    let settings = settings(cu.config.as_ref(), cu.settings)?;
    if cu.print_config {
        return say(toml::to_string(&settings.in_force())?.trim_end());
    }
    let config = settings.config()?;
    runtime(config.workers)?.block_on(async {
        let stopping = stop_on_signals().context("no signals")?;
        let context = open(config, stopping)?;
        let (listener, url) = listen(context.config.host, context.config.port).await?;
        tracing::info!(url, profile = Profile::default().name(), "serving");
        say(&url)?;
        serve_until_stopped(context, listener).await;
        tracing::info!("stopped");
        Ok(())
    })
}

/// Opens the unit with these settings.
pub(crate) fn open(config: Config, stopping: watch::Receiver<bool>) -> Result<Arc<Context>> {
    let store = Store::open(&config.dir, ao_store::Options::default())
        .with_context(|| format!("the store in {} cannot be opened", config.dir.display()))?;
    let store = Arc::new(store);
    let cache = ArtifactCache::new(config.dir.join("modules"));
    let options = ao_exec::Options {
        workers: config.workers,
        dry_run_workers: config.workers,
        dry_runs_waiting_max: config.workers * DRY_RUNS_PER_WORKER,
        memory_bytes_max: config.memory_mib_max << 20,
        checkpoint_every: config.checkpoint_every,
        gas_max: config.gas_max,
        step_max: Duration::from_secs(config.step_s_max),
        checkpoints_kept: config.checkpoints_kept,
        cache: Some(cache),
    };
    let executor = Executor::new(Arc::clone(&store), options)?;
    let (scheduler, gateway) = clients(&config)?;
    Ok(Arc::new(Context {
        unit: Arc::new(Unit::new(store, executor, scheduler, gateway, config.allow_owner.clone())),
        dry_run_rate: RateLimit::new(config.dry_run_rate),
        metrics: Metrics::default(),
        stopping,
        config,
    }))
}

/// Serves, and saves the states in memory at the end.
pub(crate) async fn serve_until_stopped(context: Arc<Context>, listener: TcpListener) {
    compact_by_and_by(&context);
    let (stopping, stop_max) = (context.stopping.clone(), Duration::from_secs(context.config.stop_s_max));
    let handler = {
        let context = Arc::clone(&context);
        move |request, caller| answer(Arc::clone(&context), request, caller)
    };
    serve(listener, handler, stopping, stop_max).await;
    context.unit.executor.save_all().await;
}

/// Gives back the space of checkpoints that were given up, at times, until the unit stops.
fn compact_by_and_by(context: &Arc<Context>) {
    let every = Duration::from_secs(context.config.compact_every_s);
    if every.is_zero() {
        return;
    }
    let (store, mut stopping) = (Arc::clone(&context.unit.store), context.stopping.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = stopped(&mut stopping) => break,
            }
            let store = Arc::clone(&store);
            match tokio::task::spawn_blocking(move || store.compact(LIVE_PER_MILLE_MIN)).await {
                Ok(Ok(done)) => {
                    tracing::info!(packs = done.packs, before = done.bytes_before, kept = done.bytes_kept, "compacted");
                }
                Ok(Err(error)) => tracing::warn!(%error, "checkpoints cannot be compacted"),
                Err(_) => break,
            }
        }
    });
}

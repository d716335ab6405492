//! The `aorta` command: `cu` serves a compute unit, `fetch` saves a process' log for an auditor.

mod answer;
mod bundle;
mod config;
mod cursor;
mod metrics;
mod rate;
mod routes;
mod unit;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ao_exec::Executor;
use ao_http::{serve, stop_on_signals, stopped};
use ao_kernel::ArtifactCache;
use ao_kernel::profile::Profile;
use ao_source::{FetchOptions, GatewayClient, Http, HttpOptions, Output, SchedulerClient, fetch};
use ao_store::Store;
use ao_wire::ProcessId;
use clap::{Args, Parser, Subcommand, ValueEnum};
use config::{Config, ConfigError, Settings};
use metrics::Metrics;
use rate::RateLimit;
use routes::{Context, answer};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;
use unit::Unit;

/// Exit code where the settings are to blame.
const USAGE: u8 = 2;

/// Packs of checkpoints are rewritten when less than so many thousandths of them are needed.
const LIVE_PER_MILLE_MIN: u32 = 500;

/// Dry-runs that may wait for a thread, for each thread.
const DRY_RUNS_PER_WORKER: usize = 64;

/// A compute unit for ao whose every state anyone can re-derive.
#[derive(Parser, Debug)]
#[command(name = "aorta", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve a compute unit over HTTP
    Cu(Cu),
    /// Save the whole log of a process, verified, with its module
    Fetch(Fetch),
}

#[derive(Args, Debug)]
struct Cu {
    /// Settings as TOML; the environment and flags override it
    #[arg(long, value_name = "FILE", env = "AORTA_CONFIG")]
    config: Option<PathBuf>,
    /// Print the settings in force and end
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args, Debug)]
struct Fetch {
    /// The process
    process: String,
    /// What to make
    #[arg(short, value_name = "KIND")]
    output: Kind,
    /// Where to [default: the id of the process; with .bundle at the end for a bundle]
    #[arg(long, value_name = "PATH")]
    to: Option<PathBuf>,
    /// Settings as TOML
    #[arg(long, value_name = "FILE", env = "AORTA_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// A log folder; one that is there already is continued
    Folder,
    /// A replay bundle without receipts
    Bundle,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("AORTA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let ended = match cli.command {
        Command::Cu(cu) => run_cu(cu),
        Command::Fetch(fetch) => run_fetch(fetch),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            // As for flags that clap refuses.
            if error.is::<ConfigError>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn settings(file: Option<&PathBuf>, flags: Settings) -> Result<Settings> {
    Ok(match file {
        Some(path) => flags.over(Settings::read(path)?),
        None => flags,
    })
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("standard output")
}

fn runtime(threads: usize) -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(threads).enable_all().thread_name("http").build().context("no threads")
}

fn clients(config: &Config) -> Result<(SchedulerClient, GatewayClient)> {
    let http = Http::new(HttpOptions::default())?;
    let gateway = GatewayClient::new(http.clone(), &config.gateway, &config.graphql);
    Ok((SchedulerClient::new(http, &config.su), gateway))
}

fn run_cu(cu: Cu) -> Result<()> {
    let settings = settings(cu.config.as_ref(), cu.settings)?;
    if cu.print_config {
        return say(toml::to_string(&settings.in_force())?.trim_end());
    }
    let config = settings.config()?;
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
        checkpoints_kept: config.checkpoints_kept,
        cache: Some(cache),
    };
    let executor = Executor::new(Arc::clone(&store), options)?;
    let (scheduler, gateway) = clients(&config)?;
    runtime(config.workers)?.block_on(async {
        let stopping = stop_on_signals().context("no signals")?;
        let context = Arc::new(Context {
            unit: Arc::new(Unit::new(
                store,
                executor,
                scheduler,
                gateway,
                Duration::from_secs(config.step_s_max),
                config.allow_owner.clone(),
            )),
            dry_run_rate: RateLimit::new(config.dry_run_rate),
            metrics: Metrics::default(),
            stopping,
            config,
        });
        let at = (context.config.host, context.config.port);
        let listener = TcpListener::bind(at).await.with_context(|| format!("{}:{} cannot be served on", at.0, at.1))?;
        let address = listener.local_addr()?;
        tracing::info!(%address, profile = Profile::default().name(), "serving");
        say(&format!("http://{address}"))?;
        compact_by_and_by(&context);
        let (stopping, stop_max) = (context.stopping.clone(), Duration::from_secs(context.config.stop_s_max));
        let handler = {
            let context = Arc::clone(&context);
            move |request, caller| answer(Arc::clone(&context), request, caller)
        };
        serve(listener, handler, stopping, stop_max).await;
        context.unit.executor.save_all().await;
        tracing::info!("stopped");
        Ok(())
    })
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

fn run_fetch(args: Fetch) -> Result<()> {
    let config = settings(args.config.as_ref(), args.settings)?.config()?;
    let process = args.process.parse::<ao_wire::Id>().map(ProcessId::from);
    let process = process.with_context(|| format!("{:?} is no process id", args.process))?;
    let output = match args.output {
        Kind::Folder => Output::Folder(args.to.unwrap_or_else(|| process.to_string().into())),
        Kind::Bundle => Output::Bundle {
            path: args.to.unwrap_or_else(|| format!("{process}.bundle").into()),
            profile: Profile::default().name().into(),
        },
    };
    let (scheduler, gateway) = clients(&config)?;
    let report = runtime(1)?.block_on(fetch(process, &scheduler, &gateway, FetchOptions::default(), &output))?;
    let (fetched, kept) = (report.fetched, report.kept);
    let module = if report.module_signed { "its signature was checked" } else { "unsigned: compare its BLAKE3" };
    say(&format!("{process}: {fetched} entries fetched and verified, {kept} kept; module: {module}"))
}

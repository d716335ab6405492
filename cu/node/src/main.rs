//! The `aorta` command: `cu`, `su`, `mu`, `gateway` serve units, `up` a whole network; `fetch` saves a process' log;
//! `demo` plays one through and verifies it offline; `publish`, `spawn`, `send`, `eval`, `result`, `tail`, `wallet` are a client.

mod answer;
mod bundle;
mod client;
mod config;
mod cu;
mod cursor;
mod demo;
mod gateway;
mod metrics;
mod mu;
mod network;
mod rate;
mod routes;
mod su;
mod unit;
mod up;
mod wallet;

use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use ao_kernel::profile::Profile;
use ao_source::{FetchOptions, GatewayClient, Http, HttpOptions, Output, SchedulerClient, fetch};
use ao_wire::ProcessId;
use clap::{Args, Parser, Subcommand, ValueEnum};
use config::{Config, ConfigError, Scheduler, Settings};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// Exit code where the settings are to blame.
const USAGE: u8 = 2;

/// Units for ao: a compute unit whose every state anyone can re-derive, and what stands around it.
#[derive(Parser, Debug)]
#[command(name = "aorta", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve a compute unit over HTTP
    Cu(cu::Cu),
    /// Serve a scheduler unit over HTTP
    Su(su::Su),
    /// Serve a messenger unit over HTTP
    Mu(mu::Mu),
    /// Serve a whole network on this machine
    Up(up::Up),
    /// Run a whole network, have processes trade on it, verify all of them offline
    Demo(demo::Demo),
    /// Serve a store that answers what units ask of an Arweave gateway
    Gateway(gateway::Gateway),
    /// Save the whole log of a process, verified, with its module
    Fetch(Fetch),
    #[command(flatten)]
    Client(client::Client),
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

/// Bounds what the allocator keeps of buffers given back: pages of logs go through many threads, and eight arenas a core, as
/// is usual, would keep one each.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn bound_arenas() {
    const MAPPED_FROM_BYTES: libc::c_int = 1 << 20;
    const KEPT_BYTES: libc::c_int = 2 << 20;
    let arenas = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for (option, value) in [
        (libc::M_ARENA_MAX, arenas as libc::c_int),
        (libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES),
        (libc::M_TRIM_THRESHOLD, KEPT_BYTES),
    ] {
        // SAFETY: sets an option of the allocator, while this is the only thread; what it refuses stays as it was.
        unsafe { libc::mallopt(option, value) };
    }
}

fn main() -> ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    bound_arenas();
    let cli = Cli::parse();
    // A demo shows its own progress.
    let usual = if matches!(cli.command, Command::Demo(_)) { "warn" } else { "info" };
    let filter = EnvFilter::try_from_env("AORTA_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    // A log that cannot be written, as on a full disk, is no reason to panic.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    log.log_internal_errors(false).init();
    let ended = match cli.command {
        Command::Cu(cu) => cu::run(cu),
        Command::Su(su) => su::run(su),
        Command::Mu(mu) => mu::run(mu),
        Command::Up(up) => up::run(&up),
        Command::Demo(demo) => demo::run(&demo),
        Command::Gateway(gateway) => gateway::run(&gateway),
        Command::Fetch(fetch) => run_fetch(fetch),
        Command::Client(client) => client::run(client),
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

/// Whoever read standard output has gone.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads standard output any more")]
struct Unread;

fn say(text: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Unread.into()),
        written => written.context("standard output"),
    }
}

fn runtime(threads: usize) -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(threads).enable_all().thread_name("http").build().context("no threads")
}

/// Takes a port, 0 for a free one; what it is reached by.
async fn listen(host: IpAddr, port: u16) -> Result<(TcpListener, String)> {
    let listener = TcpListener::bind((host, port)).await;
    let listener = listener.with_context(|| format!("{host}:{port} cannot be served on"))?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

fn clients(config: &Config) -> Result<(SchedulerClient, GatewayClient)> {
    let http = Http::new(HttpOptions::default())?;
    let gateway = GatewayClient::new(http.clone(), &config.gateway, &config.graphql);
    let scheduler = match &config.scheduler {
        Scheduler::Unit(url) => SchedulerClient::new(http, url),
        Scheduler::Node(url) => SchedulerClient::node(http, url),
    };
    Ok((scheduler, gateway))
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

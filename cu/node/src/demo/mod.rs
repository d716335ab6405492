//! `aorta demo`: a whole network in one process, processes that trade on it, and a proof offline of all they did.
//!
//! Not here: the network (`network`); what verification is (`ao-replay`).
//!
//! Invariant: it ends well only if every bundle matched and nothing was lost or made. What it shows of the processes comes
//! from their bundles alone, computed anew after the network has stopped.

mod drive;
mod plan;
mod progress;
mod purse;
mod show;
mod verify;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ao_http::{stop_on_signals, stopped};
use ao_wire::Signer;
use clap::Args;
use tokio::sync::watch;

use crate::network::{Network, Plan, Published, Signers};
use crate::{runtime, wallet};
use drive::{Driver, OPENING};
use plan::MESSAGES_PER_ACTION;
use progress::Progress;
use purse::Report;

/// What the keys of a demo grow from, with its seed: nobody's secret, for a network that nobody else is on.
const KEYS: &str = "aorta demo 2026 keys";
/// How often the crons of the trader with a clock are asked for.
const CRON_EVERY_MS: u64 = 1000;

#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Folder for everything; `network`, `bundles` and `compiled` in it are made anew
    #[arg(long, value_name = "DIR", default_value = "target/demo")]
    dir: PathBuf,
    /// Processes that trade, two at least
    #[arg(long, value_name = "COUNT", default_value_t = 32, value_parser = clap::value_parser!(u32).range(2..=1000))]
    processes: u32,
    /// Messages in all, about
    #[arg(long, value_name = "COUNT", default_value_t = 5000)]
    messages: u64,
    /// What the trades are drawn from
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    published: Published,
}

/// What became of a network.
struct Played {
    bundles: Vec<PathBuf>,
    all: Report,
    /// Messages that were scheduled; ticks of the clock are not.
    messages: u64,
    /// From the first trade until nothing was on its way.
    trading: Duration,
}

pub(crate) fn run(demo: &Demo) -> Result<()> {
    let folder = |name: &str| demo.dir.join(name);
    let (network_dir, bundles_dir, compiled) = (folder("network"), folder("bundles"), folder("compiled"));
    for dir in [&network_dir, &bundles_dir, &compiled] {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("the last demo stays")?,
            _ => fs::create_dir_all(dir).with_context(|| format!("{}", dir.display()))?,
        }
    }
    let signers = Signers {
        publisher: demo.key("publisher"),
        scheduler: demo.key("scheduler"),
        messenger: wallet::open_or_create(&folder("wallet.json"))?,
    };
    let runtime = runtime(std::thread::available_parallelism()?.get())?;
    let (stop, stopping) = watch::channel(false);
    let plan = Plan { cron_every_ms: Some(CRON_EVERY_MS), ..Plan::local(&network_dir, &demo.published) };
    let (network, played) = runtime.block_on(async {
        let mut told = stop_on_signals().context("no signals")?;
        let network = Network::start(&plan, signers, stopping).await?;
        let played = tokio::select! {
            played = demo.play(&network, &bundles_dir) => played,
            () = stopped(&mut told) => bail!("interrupted"),
        };
        anyhow::Ok((network, played))
    })?;
    stop.send_replace(true);
    network.join(runtime)?;
    demo.prove(&played?, &compiled)
}

impl Demo {
    fn key(&self, whose: &str) -> Signer {
        Signer::ed25519(&blake3::derive_key(KEYS, format!("{whose} {}", self.seed).as_bytes()))
    }

    /// Has the traders trade until all is quiet, and saves their bundles.
    async fn play(&self, network: &Network, bundles: &Path) -> Result<Played> {
        let count = self.processes as usize;
        let opening = OPENING * count as u64;
        let driver = Arc::new(Driver::new(network, self.key("owner"))?);
        let progress = Progress::new("opening", "messages", opening)?;
        let traders = driver.open(count, &progress).await?;
        progress.finish();

        let actions = self.messages.saturating_sub(opening).div_ceil(MESSAGES_PER_ACTION);
        let progress = Progress::new("trading", "messages", actions * MESSAGES_PER_ACTION)?;
        driver.act(&traders, plan::draw(self.seed, count, actions), &progress).await?;
        let reports = driver.settle(&traders, &progress).await?;
        let messages = opening + progress.done();
        let trading = progress.finish();
        let bundles = driver.save(&traders, bundles).await?;
        Ok(Played { bundles, all: Report::sum(&reports), messages, trading })
    }

    /// Verifies what was saved, shows it, and says whether all is well.
    fn prove(&self, played: &Played, compiled: &Path) -> Result<()> {
        let progress = Progress::new("verifying", "messages", played.messages)?;
        let verified = verify::verify_all(&played.bundles, compiled, &progress);
        let verifying = progress.finish();
        show::table(&verified)?;
        show::sums(&verified, played, self.processes, verifying)?;
        let wrong: Vec<String> =
            verified.iter().filter(|one| !one.matched()).map(|one| one.path.display().to_string()).collect();
        ensure!(wrong.is_empty(), "not what was recorded: {}", wrong.join(", "));
        let logged = show::Sum::of_all(&verified).messages;
        ensure!(logged >= played.messages, "of {} messages that were scheduled {logged} are in logs", played.messages);
        ensure!(played.all.conserved(self.processes as usize), "gold or silver was lost or made: {:?}", played.all);
        Ok(())
    }
}

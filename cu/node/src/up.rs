//! `aorta up`: a whole network in one process, for as long as one likes.
//!
//! Not here: the network itself (`network`).

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};
use ao_http::{stop_on_signals, stopped};
use clap::Args;

use crate::network::{Elsewhere, Network, Plan, Ports, Published, Signers};
use crate::{runtime, say, wallet};

/// Folders that `--fresh` removes; the wallet stays, and compiled modules with it.
const FOLDERS: [&str; 4] = ["gateway", "su", "cu", "mu"];

#[derive(Args, Debug)]
pub(crate) struct Up {
    /// Folder for everything; made on first start, with a wallet
    #[arg(long, value_name = "DIR", env = "AORTA_UP_DIR", default_value = "aorta-up")]
    dir: PathBuf,
    /// Begin anew: forget all processes, messages and modules, keep the wallet
    #[arg(long)]
    fresh: bool,
    /// Ports, 0 for free ones; those not named are the usual ones
    #[arg(long, value_name = "PORTS", default_value = "gateway=4000,mu=4002,su=4003,cu=4004")]
    ports: Ports,
    #[command(flatten)]
    published: Published,
    #[command(flatten)]
    elsewhere: Elsewhere,
    /// Address to serve on; anything but this machine's own lets others in
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
}

pub(crate) fn run(up: &Up) -> Result<()> {
    let begun = Instant::now();
    if up.fresh {
        for folder in FOLDERS {
            match fs::remove_dir_all(up.dir.join(folder)) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("the old data stays")?,
                _ => {}
            }
        }
    }
    let wallet = up.dir.join("wallet.json");
    let signer = || wallet::open_or_create(&wallet);
    let signers = Signers { publisher: signer()?, scheduler: signer()?, messenger: signer()? };
    let Up { dir, host, ports, published, elsewhere, .. } = up;
    let plan = Plan { host: *host, ports: *ports, elsewhere, ..Plan::local(dir, published) };
    let runtime = runtime(std::thread::available_parallelism()?.get())?;
    let network = runtime.block_on(async {
        let mut stopping = stop_on_signals().context("no signals")?;
        let network = Network::start(&plan, signers, stopping.clone()).await?;
        tracing::info!(seconds = begun.elapsed().as_secs_f64(), "ready");
        let units = &network.units;
        for (name, value) in [
            ("gateway", &units.gateway),
            ("mu", &units.mu),
            ("su", &units.su),
            ("cu", &units.cu),
            ("scheduler", &network.scheduler),
        ] {
            say(&format!("{name:<10} {value}"))?;
        }
        let (name, id) = match &network.module {
            Some((name, id)) => (&name[..], id.to_string()),
            None => ("none", String::new()),
        };
        say(&format!("{:<10} {id} {name}", "module"))?;
        say(&format!("{:<10} {}", "wallet", wallet.display()))?;
        say(&format!(
            "aoconnect  connect({{ MODE: 'legacy', CU_URL: '{}', MU_URL: '{}', GATEWAY_URL: '{}' }})",
            units.cu, units.mu, units.gateway
        ))?;
        say("ready")?;
        stopped(&mut stopping).await;
        anyhow::Ok(network)
    })?;
    network.join(runtime)?;
    tracing::info!("stopped");
    Ok(())
}

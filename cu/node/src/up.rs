//! `aorta up`: a whole network in one process: gateway, scheduler unit, messenger unit, compute unit.
//!
//! Not here: the units themselves.
//!
//! Invariant: what a unit would keep if it ran alone it keeps here, in a folder of its own, so that either way can go on
//! where the other stopped.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use ao_gateway::Gateway;
use ao_http::{serve, stop_on_signals};
use ao_mu::Messenger;
use ao_source::{GatewayClient, Http, HttpOptions};
use ao_su::{Options, Policy, Scheduler};
use ao_wire::{Id, ItemBuilder, PssSalt, Signer, Tag};
use clap::Args;

use crate::config::Settings;
use crate::{cu, listen, runtime, say, wallet};

/// The module that is published if none is named: where `tests/node/setup.sh` puts it.
const MODULE: &str = "target/modules/aos2_0_6.wasm";
/// Folders that `--fresh` removes; the wallet stays, and compiled modules with it.
const FOLDERS: [&str; 4] = ["gateway", "su", "cu", "mu"];
const ITEM_BYTES_MAX: usize = 10 << 20;
/// How long what was begun may take when told to stop.
const STOP_MAX: Duration = Duration::from_secs(30);
/// How long clients may remember where the scheduler is, in milliseconds.
const LOCATION_MS: &str = "3600000";

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
    /// Module to publish [default: the aos module that tests/node/setup.sh fetches, if it is there]
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// Its Module-Format
    #[arg(long, value_name = "FORMAT", default_value = "wasm64-unknown-emscripten-draft_2024_02_15")]
    module_format: String,
    /// Address to serve on; anything but this machine's own lets others in
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
}

/// `gateway=…,mu=…,su=…,cu=…`
#[derive(Clone, Copy, Debug)]
struct Ports {
    gateway: u16,
    mu: u16,
    su: u16,
    cu: u16,
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut ports = Self { gateway: 4000, mu: 4002, su: 4003, cu: 4004 };
        for part in text.split(',') {
            let (name, port) = part.split_once('=').ok_or_else(|| format!("{part:?} is not NAME=PORT"))?;
            let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
            match name {
                "gateway" => ports.gateway = port,
                "mu" => ports.mu = port,
                "su" => ports.su = port,
                "cu" => ports.cu = port,
                _ => return Err(format!("there is no unit {name:?}")),
            }
        }
        Ok(ports)
    }
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
    let signer = wallet::open_or_create(&wallet)?;
    let runtime = runtime(std::thread::available_parallelism()?.get())?;
    let threads = runtime.block_on(async {
        let stopping = stop_on_signals().context("no signals")?;
        let (gateway, gateway_thread) = Gateway::open(&up.dir.join("gateway"))?;
        let (gateway_listener, gateway_url) = listen(up.host, up.ports.gateway).await?;
        let (mu_listener, mu_url) = listen(up.host, up.ports.mu).await?;
        let (su_listener, su_url) = listen(up.host, up.ports.su).await?;
        let (cu_listener, cu_url) = listen(up.host, up.ports.cu).await?;
        let module = publish(&gateway, signer, up, &su_url).await?;
        let handler = move |request, caller| Arc::clone(&gateway).answer(request, caller);
        let gateway = tokio::spawn(serve(gateway_listener, handler, stopping.clone(), STOP_MAX));

        let client = GatewayClient::new(Http::new(HttpOptions::default())?, &gateway_url, &format!("{gateway_url}/graphql"));
        let policy = Policy { item_bytes_max: ITEM_BYTES_MAX, ..Policy::default() };
        let options = Options { policy, gateway: client, upload: Some(gateway_url.clone()) };
        let (su, su_thread) = Scheduler::open(&up.dir.join("su"), wallet::open_or_create(&wallet)?, options).await?;
        let address = su.address().to_owned();
        let handler = move |request, caller| Arc::clone(&su).answer(request, caller);
        let su = tokio::spawn(serve(su_listener, handler, stopping.clone(), STOP_MAX));

        let config = Settings::between(&su_url, &gateway_url, up.dir.join("cu")).config()?;
        let cu = tokio::spawn(cu::serve_until_stopped(cu::open(config, stopping.clone())?, cu_listener));

        let options = ao_mu::Options { upload: Some(gateway_url.clone()), ..ao_mu::Options::new(&su_url, &cu_url) };
        let signer = wallet::open_or_create(&wallet)?;
        let (mu, mu_thread) = Messenger::open(&up.dir.join("mu"), signer, options, stopping.clone())?;
        let handler = move |request, caller| Arc::clone(&mu).answer(request, caller);
        let mu = tokio::spawn(serve(mu_listener, handler, stopping, STOP_MAX));

        tracing::info!(seconds = begun.elapsed().as_secs_f64(), "ready");
        for (name, value) in [
            ("gateway", &gateway_url),
            ("mu", &mu_url),
            ("su", &su_url),
            ("cu", &cu_url),
            ("scheduler", &address),
        ] {
            say(&format!("{name:<10} {value}"))?;
        }
        let (name, id) = module.map_or(("none".into(), String::new()), |(path, id)| (path, id.to_string()));
        say(&format!("{:<10} {id} {name}", "module"))?;
        say(&format!("{:<10} {}", "wallet", wallet.display()))?;
        say(&format!(
            "aoconnect  connect({{ MODE: 'legacy', CU_URL: '{cu_url}', MU_URL: '{mu_url}', GATEWAY_URL: '{gateway_url}' }})"
        ))?;
        say("ready")?;
        let _ = tokio::join!(mu, cu, su, gateway);
        anyhow::Ok([gateway_thread, su_thread, mu_thread])
    })?;
    // Their last users gone, logs and stores are closed.
    drop(runtime);
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a unit panicked"))?;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Publishes where the scheduler is, and the module; what the module is called.
async fn publish(gateway: &Gateway, signer: Signer, up: &Up, su_url: &str) -> Result<Option<(String, Id)>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis().to_string();
    let location = [
        ("Data-Protocol", "ao"),
        ("Variant", "ao.TN.1"),
        ("Type", "Scheduler-Location"),
        ("Url", su_url),
        ("Time-To-Live", LOCATION_MS),
        ("Timestamp", &now),
    ];
    gateway.upload(item(&signer, &location, b"")?.into()).await?;
    let path = match &up.module {
        Some(path) => path.as_path(),
        None if Path::new(MODULE).exists() => Path::new(MODULE),
        None => return Ok(None),
    };
    let wasm = fs::read(path).with_context(|| format!("the module {}", path.display()))?;
    anyhow::ensure!(wasm.starts_with(b"\0asm"), "{} is no WebAssembly", path.display());
    // Signed alike at each start, so that its id stays.
    let signer = signer.with_salt(PssSalt::Bytes(Id::sha256(&wasm).0.to_vec()));
    let tags = [
        ("Data-Protocol", "ao"),
        ("Variant", "ao.TN.1"),
        ("Type", "Module"),
        ("Module-Format", &up.module_format[..]),
        ("Input-Encoding", "JSON-V1"),
        ("Output-Encoding", "JSON-V1"),
        ("Memory-Limit", "1-gb"),
        ("Compute-Limit", "9000000000000"),
        ("Content-Type", "application/wasm"),
    ];
    let ids = gateway.upload(item(&signer, &tags, &wasm)?.into()).await?;
    Ok(ids.first().map(|id| (path.display().to_string(), *id)))
}

fn item(signer: &Signer, tags: &[(&str, &str)], data: &[u8]) -> Result<Vec<u8>> {
    let tags = tags.iter().map(|(name, value)| Tag::new(name, value)).collect();
    Ok(ItemBuilder { tags, data, ..ItemBuilder::default() }.build(signer)?)
}

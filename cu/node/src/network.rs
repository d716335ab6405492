//! A whole network in one process: gateway, unless another is used, scheduler unit, messenger unit, compute unit.
//!
//! Not here: the units themselves, whom they are started for (`up`, `demo`).
//!
//! Invariant: what a unit would keep if it ran alone it keeps here, in a folder of its own, so that either way can go on
//! where the other stopped.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use ao_gateway::Gateway;
use ao_http::serve;
use ao_mu::Messenger;
use ao_source::{GatewayClient, Http, HttpOptions};
use ao_su::{Options, Policy, Scheduler};
use ao_wire::{DataItem, Id, ItemBuilder, PssSalt, Signer, Tag};
use clap::Args;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::client::Units;
use crate::config::Settings;
use crate::{cu, listen};

/// The module that is published if none is named: where `tests/node/setup.sh` puts it.
const MODULE: &str = "target/modules/aos2_0_6.wasm";
const ITEM_BYTES_MAX: usize = 10 << 20;
/// How long what was begun may take when told to stop.
const STOP_MAX: Duration = Duration::from_secs(30);
/// How long clients may remember where the scheduler is, in milliseconds.
const LOCATION_MS: &str = "3600000";

/// What is published at the start.
#[derive(Args, Debug)]
pub(crate) struct Published {
    /// Module to publish [default: the aos module that tests/node/setup.sh fetches, if it is there]
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// Its Module-Format
    #[arg(long, value_name = "FORMAT", default_value = "wasm64-unknown-emscripten-draft_2024_02_15")]
    module_format: String,
}

/// A gateway that is there already.
#[derive(Args, Debug)]
pub(crate) struct Elsewhere {
    /// Arweave gateway in place of one of its own; no module is published then but one that is named
    #[arg(long, value_name = "URL")]
    gateway: Option<String>,
    /// Its GraphQL [default: the gateway's /graphql]
    #[arg(long, value_name = "URL", requires = "gateway")]
    graphql: Option<String>,
    /// Where items are uploaded to, by POST to URL/tx [default: the gateway]
    #[arg(long, value_name = "URL", requires = "gateway")]
    upload: Option<String>,
}

/// `gateway=…,mu=…,su=…,cu=…`
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    gateway: u16,
    mu: u16,
    su: u16,
    cu: u16,
}

impl Ports {
    /// Those that are free.
    pub(crate) const FREE: Self = Self { gateway: 0, mu: 0, su: 0, cu: 0 };
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

/// Who signs what.
pub(crate) struct Signers {
    /// Where the scheduler is, and the module.
    pub(crate) publisher: Signer,
    /// Assignments.
    pub(crate) scheduler: Signer,
    /// What processes send; an RSA key.
    pub(crate) messenger: Signer,
}

/// Where and how a network runs.
pub(crate) struct Plan<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) host: IpAddr,
    pub(crate) ports: Ports,
    pub(crate) published: &'a Published,
    pub(crate) elsewhere: &'a Elsewhere,
    /// How often the crons of watched processes are asked for, in milliseconds; none for the messenger's usual.
    pub(crate) cron_every_ms: Option<u64>,
}

impl<'a> Plan<'a> {
    /// On this machine only, on free ports.
    pub(crate) fn local(dir: &'a Path, published: &'a Published) -> Self {
        const NONE: &Elsewhere = &Elsewhere { gateway: None, graphql: None, upload: None };
        let (host, ports) = (IpAddr::V4(Ipv4Addr::LOCALHOST), Ports::FREE);
        Self { dir, host, ports, published, elsewhere: NONE, cron_every_ms: None }
    }
}

/// The units, serving.
pub(crate) struct Network {
    pub(crate) units: Units,
    /// The scheduler's address.
    pub(crate) scheduler: String,
    /// The file of the module that was published, and its id.
    pub(crate) module: Option<(String, Id)>,
    serving: Vec<tokio::task::JoinHandle<()>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Network {
    /// Starts all units, until `stopping` is true. Runs within a tokio runtime.
    pub(crate) async fn start(plan: &Plan<'_>, signers: Signers, stopping: watch::Receiver<bool>) -> Result<Self> {
        let (mut serving, mut threads) = (Vec::new(), Vec::new());
        let gateway_url = if let Some(url) = &plan.elsewhere.gateway {
            url.trim_end_matches('/').to_owned()
        } else {
            let (gateway, thread) = Gateway::open(&plan.dir.join("gateway"))?;
            let (listener, url) = listen(plan.host, plan.ports.gateway).await?;
            let handler = move |request, caller| Arc::clone(&gateway).answer(request, caller);
            serving.push(tokio::spawn(serve(listener, handler, stopping.clone(), STOP_MAX)));
            threads.push(thread);
            url
        };
        let graphql = plan.elsewhere.graphql.clone().unwrap_or_else(|| format!("{gateway_url}/graphql"));
        let upload = plan.elsewhere.upload.clone().unwrap_or_else(|| gateway_url.clone());
        let (mu_listener, mu_url) = listen(plan.host, plan.ports.mu).await?;
        let (su_listener, su_url) = listen(plan.host, plan.ports.su).await?;
        let (cu_listener, cu_url) = listen(plan.host, plan.ports.cu).await?;
        let client = GatewayClient::new(Http::new(HttpOptions::default())?, &gateway_url, &graphql);
        let module = publish((&client, &upload), signers.publisher, plan, &su_url).await?;

        let policy = Policy { item_bytes_max: ITEM_BYTES_MAX, ..Policy::default() };
        let options = Options { policy, gateway: client, upload: Some(upload.clone()) };
        let (su, su_thread) = Scheduler::open(&plan.dir.join("su"), signers.scheduler, options).await?;
        let scheduler = su.address().to_owned();
        let handler = move |request, caller| Arc::clone(&su).answer(request, caller);
        serving.push(tokio::spawn(serve(su_listener, handler, stopping.clone(), STOP_MAX)));

        let config = Settings::between(&su_url, (&gateway_url, &graphql), plan.dir.join("cu")).config()?;
        serving.push(tokio::spawn(cu::serve_until_stopped(cu::open(config, stopping.clone())?, cu_listener)));

        let usual = ao_mu::Options::new(&su_url, &cu_url);
        let cron_every_ms = plan.cron_every_ms.unwrap_or(usual.cron_every_ms);
        let options = ao_mu::Options { upload: Some(upload), receipts_required: true, cron_every_ms, ..usual };
        let (mu, mu_thread) = Messenger::open(&plan.dir.join("mu"), signers.messenger, options, stopping.clone())?;
        let handler = move |request, caller| Arc::clone(&mu).answer(request, caller);
        serving.push(tokio::spawn(serve(mu_listener, handler, stopping, STOP_MAX)));
        threads.extend([su_thread, mu_thread]);
        Ok(Self {
            units: Units { gateway: gateway_url, mu: mu_url, su: su_url, cu: cu_url },
            scheduler,
            module,
            serving,
            threads,
        })
    }

    /// Waits until all units have stopped and what they keep is closed.
    pub(crate) fn join(self, runtime: Runtime) -> Result<()> {
        runtime.block_on(async {
            for unit in self.serving {
                unit.await?;
            }
            anyhow::Ok(())
        })?;
        // Their last users gone, logs and stores are closed.
        drop(runtime);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow::anyhow!("a unit panicked"))?;
        }
        Ok(())
    }
}

/// Publishes where the scheduler is, and the module; what the module is called.
async fn publish(
    (gateway, upload): (&GatewayClient, &str),
    signer: Signer,
    plan: &Plan<'_>,
    su_url: &str,
) -> Result<Option<(String, Id)>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis().to_string();
    let location = [
        ("Data-Protocol", "ao"),
        ("Variant", "ao.TN.1"),
        ("Type", "Scheduler-Location"),
        ("Url", su_url),
        ("Time-To-Live", LOCATION_MS),
        ("Timestamp", &now),
    ];
    gateway.upload(upload, item(&signer, &location, b"")?).await?;
    let path = match &plan.published.module {
        Some(path) => path.as_path(),
        None if plan.elsewhere.gateway.is_none() && Path::new(MODULE).exists() => Path::new(MODULE),
        None => return Ok(None),
    };
    let module = module_item(path, &plan.published.module_format, signer)?;
    let id = DataItem::parse(&module)?.id();
    gateway.upload(upload, module).await?;
    Ok(Some((path.display().to_string(), id)))
}

/// The signed item that a file becomes as a module.
pub(crate) fn module_item(path: &Path, format: &str, signer: Signer) -> Result<Vec<u8>> {
    let wasm = fs::read(path).with_context(|| format!("the module {}", path.display()))?;
    anyhow::ensure!(wasm.starts_with(b"\0asm"), "{} is no WebAssembly", path.display());
    // Signed alike each time, so that its id stays.
    let signer = signer.with_salt(PssSalt::Bytes(Id::sha256(&wasm).0.to_vec()));
    let tags = [
        ("Data-Protocol", "ao"),
        ("Variant", "ao.TN.1"),
        ("Type", "Module"),
        ("Module-Format", format),
        ("Input-Encoding", "JSON-V1"),
        ("Output-Encoding", "JSON-V1"),
        ("Memory-Limit", "1-gb"),
        ("Compute-Limit", "9000000000000"),
        ("Content-Type", "application/wasm"),
    ];
    item(&signer, &tags, &wasm)
}

fn item(signer: &Signer, tags: &[(&str, &str)], data: &[u8]) -> Result<Vec<u8>> {
    let tags = tags.iter().map(|(name, value)| Tag::new(name, value)).collect();
    Ok(ItemBuilder { tags, data, ..ItemBuilder::default() }.build(signer)?)
}

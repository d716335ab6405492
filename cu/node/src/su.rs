//! `aorta su`: a scheduler unit.
//!
//! Not here: what it does (`ao-su`).

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ao_http::{serve, stop_on_signals};
use ao_source::{GatewayClient, Http, HttpOptions};
use ao_su::{Options, Policy, Scheduler};
use ao_wire::ProcessId;
use clap::Args;

use crate::{listen, runtime, say, wallet};

/// A record of the log holds no more; what is around the item in it is small.
const ITEM_BYTES_CEILING: usize = 60 << 20;

#[derive(Args, Debug)]
pub(crate) struct Su {
    /// Address to serve on
    #[arg(long, env = "AORTA_SU_HOST", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port to serve on; 0 takes a free one
    #[arg(long, short, env = "AORTA_SU_PORT", default_value_t = 9000)]
    port: u16,
    /// Folder for the log
    #[arg(long, value_name = "DIR", env = "AORTA_SU_DIR", default_value = "aorta-su")]
    dir: PathBuf,
    /// Key that signs, an RSA-4096, Ed25519 or secp256k1 JWK; made if absent [default: wallet.json in the folder]
    #[arg(long, value_name = "FILE", env = "AORTA_SU_WALLET")]
    wallet: Option<PathBuf>,
    /// The Arweave gateway: blocks, and transactions to assign
    #[arg(long, value_name = "URL", env = "AORTA_SU_GATEWAY", default_value = "https://arweave.net")]
    gateway: String,
    /// Its GraphQL [default: the gateway's /graphql]
    #[arg(long, value_name = "URL", env = "AORTA_SU_GRAPHQL")]
    graphql: Option<String>,
    /// Upload every assignment with its message, by POST to URL/tx [default: nowhere]
    #[arg(long, value_name = "URL", env = "AORTA_SU_UPLOAD")]
    upload: Option<String>,
    /// Show logs, take nothing
    #[arg(long, env = "AORTA_SU_READ_ONLY")]
    read_only: bool,
    /// Serve these processes only; others cannot be spawned
    #[arg(long, value_name = "ID", value_delimiter = ',', env = "AORTA_SU_ALLOW")]
    allow: Vec<ProcessId>,
    /// Take nothing for these processes
    #[arg(long, value_name = "ID", value_delimiter = ',', env = "AORTA_SU_DENY")]
    deny: Vec<ProcessId>,
    /// Bytes of the longest item
    #[arg(long, value_name = "BYTES", env = "AORTA_SU_ITEM_MAX", default_value_t = 10 << 20)]
    item_bytes_max: usize,
    /// Seconds to finish what was begun when told to stop
    #[arg(long, value_name = "SECONDS", env = "AORTA_SU_STOP_SECONDS", default_value_t = 30)]
    stop_s_max: u64,
}

pub(crate) fn run(su: Su) -> Result<()> {
    let signer = wallet::open_or_create(&su.wallet.unwrap_or_else(|| su.dir.join("wallet.json")))?;
    let graphql = su.graphql.unwrap_or_else(|| format!("{}/graphql", su.gateway.trim_end_matches('/')));
    let options = Options {
        policy: Policy {
            item_bytes_max: su.item_bytes_max.min(ITEM_BYTES_CEILING),
            allow: su.allow,
            deny: su.deny,
            read_only: su.read_only,
        },
        gateway: GatewayClient::new(Http::new(HttpOptions::default())?, &su.gateway, &graphql),
        upload: su.upload,
    };
    let runtime = runtime(std::thread::available_parallelism()?.get())?;
    let thread = runtime.block_on(async {
        let stopping = stop_on_signals().context("no signals")?;
        let (unit, thread) = Scheduler::open(&su.dir, signer, options).await?;
        let (listener, url) = listen(su.host, su.port).await?;
        tracing::info!(url, address = unit.address(), "scheduling");
        say(&url)?;
        let handler = move |request, caller| Arc::clone(&unit).answer(request, caller);
        serve(listener, handler, stopping, Duration::from_secs(su.stop_s_max)).await;
        anyhow::Ok(thread)
    })?;
    // Its last user gone, the log is closed.
    drop(runtime);
    thread.join().map_err(|_| anyhow::anyhow!("the sequencer panicked"))?;
    tracing::info!("stopped");
    Ok(())
}

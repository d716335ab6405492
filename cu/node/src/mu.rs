//! `aorta mu`: a messenger unit.
//!
//! Not here: what it does (`ao-mu`).

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ao_http::{serve, stop_on_signals};
use ao_mu::{Messenger, Options, Retry};
use clap::Args;

use crate::{listen, runtime, say, wallet};

#[derive(Args, Debug)]
pub(crate) struct Mu {
    /// Address to serve on
    #[arg(long, env = "AORTA_MU_HOST", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port to serve on; 0 takes a free one
    #[arg(long, short, env = "AORTA_MU_PORT", default_value_t = 3005)]
    port: u16,
    /// Folder for the queue
    #[arg(long, value_name = "DIR", env = "AORTA_MU_DIR", default_value = "aorta-mu")]
    dir: PathBuf,
    /// Key that signs, an RSA-4096 JWK; made if absent [default: wallet.json in the folder]
    #[arg(long, value_name = "FILE", env = "AORTA_MU_WALLET")]
    wallet: Option<PathBuf>,
    /// The scheduler unit, or a router before several
    #[arg(long, value_name = "URL", env = "AORTA_MU_SU", default_value = "http://127.0.0.1:4003")]
    su: String,
    /// The compute unit, or a router before several
    #[arg(long, value_name = "URL", env = "AORTA_MU_CU", default_value = "http://127.0.0.1:4004")]
    cu: String,
    /// Where what is for wallets is uploaded to, by POST to URL/tx [default: nowhere, such items become dead letters]
    #[arg(long, value_name = "URL", env = "AORTA_MU_GATEWAY")]
    gateway: Option<String>,
    /// Take a result only with the receipt that commits to it: the compute unit is one of ours
    #[arg(long, env = "AORTA_MU_REQUIRE_RECEIPTS")]
    require_receipts: bool,
    /// Outboxes between what a client posted and the last that is delivered of it
    #[arg(long, value_name = "COUNT", env = "AORTA_MU_HOPS_MAX", default_value_t = 256)]
    hops_max: u32,
    /// Seconds after which what still fails becomes a dead letter
    #[arg(long, value_name = "SECONDS", env = "AORTA_MU_RETRY_SECONDS", default_value_t = 3600)]
    retry_s_max: u64,
    /// Milliseconds between two looks at the crons of watched processes
    #[arg(long, value_name = "MS", env = "AORTA_MU_CRON_MS", default_value_t = 10_000)]
    cron_every_ms: u64,
    /// Seconds to finish what was begun when told to stop
    #[arg(long, value_name = "SECONDS", env = "AORTA_MU_STOP_SECONDS", default_value_t = 30)]
    stop_s_max: u64,
}

pub(crate) fn run(mu: Mu) -> Result<()> {
    let signer = wallet::open_or_create(&mu.wallet.unwrap_or_else(|| mu.dir.join("wallet.json")))?;
    let options = Options {
        upload: mu.gateway,
        receipts_required: mu.require_receipts,
        hops_max: mu.hops_max,
        retry: Retry { budget_ms: mu.retry_s_max.saturating_mul(1000), ..Retry::default() },
        cron_every_ms: mu.cron_every_ms,
        ..Options::new(mu.su, mu.cu)
    };
    let runtime = runtime(std::thread::available_parallelism()?.get())?;
    let thread = runtime.block_on(async {
        let stopping = stop_on_signals().context("no signals")?;
        let (unit, thread) = Messenger::open(&mu.dir, signer, options, stopping.clone())?;
        let (listener, url) = listen(mu.host, mu.port).await?;
        tracing::info!(url, address = %unit.address(), "delivering");
        say(&url)?;
        let handler = move |request, caller| Arc::clone(&unit).answer(request, caller);
        serve(listener, handler, stopping, Duration::from_secs(mu.stop_s_max)).await;
        anyhow::Ok(thread)
    })?;
    // Its last user gone, the queue is closed.
    drop(runtime);
    thread.join().map_err(|_| anyhow::anyhow!("the queue's thread panicked"))?;
    tracing::info!("stopped");
    Ok(())
}

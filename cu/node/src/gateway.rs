//! `aorta gateway`: the embedded store.
//!
//! Not here: what it does (`ao-gateway`).

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ao_gateway::Gateway as Store;
use ao_http::{serve, stop_on_signals};
use clap::Args;

use crate::{listen, runtime, say};

#[derive(Args, Debug)]
pub(crate) struct Gateway {
    /// Address to serve on
    #[arg(long, env = "AORTA_GATEWAY_HOST", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port to serve on; 0 takes a free one
    #[arg(long, short, env = "AORTA_GATEWAY_PORT", default_value_t = 4000)]
    port: u16,
    /// Folder for the items
    #[arg(long, value_name = "DIR", env = "AORTA_GATEWAY_DIR", default_value = "aorta-gateway")]
    dir: PathBuf,
    /// Seconds to finish what was begun when told to stop
    #[arg(long, value_name = "SECONDS", env = "AORTA_GATEWAY_STOP_SECONDS", default_value_t = 30)]
    stop_s_max: u64,
}

pub(crate) fn run(gateway: &Gateway) -> Result<()> {
    let runtime = runtime(std::thread::available_parallelism()?.get())?;
    let thread = runtime.block_on(async {
        let stopping = stop_on_signals().context("no signals")?;
        let (store, thread) = Store::open(&gateway.dir)?;
        let (listener, url) = listen(gateway.host, gateway.port).await?;
        say(&url)?;
        let handler = move |request, caller| Arc::clone(&store).answer(request, caller);
        serve(listener, handler, stopping, Duration::from_secs(gateway.stop_s_max)).await;
        anyhow::Ok(thread)
    })?;
    // Its last user gone, the store is closed.
    drop(runtime);
    thread.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
    tracing::info!("stopped");
    Ok(())
}

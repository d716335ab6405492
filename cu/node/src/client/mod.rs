//! `aorta publish`, `spawn`, `send`, `eval`, `result`, `tail`, `wallet`: a client for people who write no JavaScript.
//!
//! Not here: the units that answer. It speaks to them as any client does, so others' units do as well.
//! Invariant: what it prints on standard output is what was asked for, one thing a line; nothing is printed as done that is not.

mod http;
mod post;
mod show;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use ao_wire::Id;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::network::module_item;
use crate::{Unread, runtime, say, wallet};
pub(crate) use http::Http;
pub(crate) use post::{monitor, publish, send, spawn};

/// How often `tail` asks for more.
const TAIL_EVERY: Duration = Duration::from_millis(500);
/// Results of a page of `tail`.
const TAIL_PAGE: u32 = 100;

/// Where the units are: those of `aorta up`, unless told otherwise.
#[derive(Args, Clone, Debug)]
pub(crate) struct Units {
    /// The messenger unit
    #[arg(long, value_name = "URL", env = "AORTA_MU_URL", default_value = "http://127.0.0.1:4002")]
    pub(crate) mu: String,
    /// The compute unit
    #[arg(long, value_name = "URL", env = "AORTA_CU_URL", default_value = "http://127.0.0.1:4004")]
    pub(crate) cu: String,
    /// The scheduler unit
    #[arg(long, value_name = "URL", env = "AORTA_SU_URL", default_value = "http://127.0.0.1:4003")]
    pub(crate) su: String,
    /// The gateway
    #[arg(long, value_name = "URL", env = "AORTA_GATEWAY_URL", default_value = "http://127.0.0.1:4000")]
    pub(crate) gateway: String,
}

/// Who signs.
#[derive(Args, Debug)]
pub(crate) struct Signing {
    /// Key that signs, a JWK; made if absent
    #[arg(long, value_name = "FILE", env = "AORTA_WALLET", default_value = "aorta-up/wallet.json")]
    wallet: PathBuf,
}

/// What an item carries.
#[derive(Args, Debug)]
pub(crate) struct Content {
    /// A tag; may be repeated
    #[arg(long = "tag", short, value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// File whose bytes are the data
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    file: Option<PathBuf>,
    /// The data
    data: Option<String>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Client {
    /// Make a process; prints its id
    Spawn {
        /// Its module [default: the newest at the gateway]
        #[arg(long, value_name = "ID", env = "AORTA_MODULE", allow_hyphen_values = true)]
        module: Option<Id>,
        /// Its scheduler's address [default: that of the scheduler unit]
        #[arg(long, value_name = "ADDRESS", env = "AORTA_SCHEDULER", allow_hyphen_values = true)]
        scheduler: Option<String>,
        #[command(flatten)]
        content: Content,
        #[command(flatten)]
        wallet: Signing,
        #[command(flatten)]
        units: Units,
    },
    /// Send a message; prints its id
    Send {
        /// To this process
        #[arg(allow_hyphen_values = true)]
        process: Id,
        #[command(flatten)]
        content: Content,
        #[command(flatten)]
        wallet: Signing,
        #[command(flatten)]
        units: Units,
    },
    /// Have a process run a line of Lua; prints output, messages, gas, receipt
    Eval {
        /// This process
        #[arg(allow_hyphen_values = true)]
        process: Id,
        /// The line
        code: String,
        #[command(flatten)]
        wallet: Signing,
        #[command(flatten)]
        units: Units,
    },
    /// Print what a message did
    Result {
        /// In this process
        #[arg(allow_hyphen_values = true)]
        process: Id,
        /// The message
        #[arg(allow_hyphen_values = true)]
        message: Id,
        /// The JSON as it is served
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        units: Units,
    },
    /// Print what a process does, from now on
    Tail {
        /// This process
        #[arg(allow_hyphen_values = true)]
        process: Id,
        /// From its beginning
        #[arg(long)]
        all: bool,
        /// End after so many results
        #[arg(long, value_name = "COUNT")]
        limit: Option<u64>,
        #[command(flatten)]
        units: Units,
    },
    /// Publish a module; prints its id
    Publish {
        /// Its WebAssembly
        file: PathBuf,
        /// How it is called
        #[arg(long, value_name = "FORMAT", default_value = "wasm64-unknown-emscripten-draft_2024_02_15")]
        module_format: String,
        #[command(flatten)]
        wallet: Signing,
        #[command(flatten)]
        units: Units,
    },
    /// Print the address of a wallet; made if absent
    Wallet {
        #[command(flatten)]
        wallet: Signing,
    },
}

fn tag(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

pub(crate) fn run(client: Client) -> Result<()> {
    let ended = runtime(1)?.block_on(async {
        let http = Http::new()?;
        match client {
            Client::Spawn { module, scheduler, content, wallet, units } => {
                let signer = wallet::open_or_create(&wallet.wallet)?;
                let (units, data) = (units.trimmed(), content.data()?);
                let module = match module {
                    Some(module) => module,
                    None => newest_module(&http, &units).await?,
                };
                let scheduler = match scheduler {
                    Some(scheduler) => scheduler,
                    None => post::scheduler(&http, &units).await?,
                };
                say(&spawn(&http, &units, (module, &scheduler), content.tags, &data, &signer).await?.to_string())
            }
            Client::Send { process, content, wallet, units } => {
                let signer = wallet::open_or_create(&wallet.wallet)?;
                let data = content.data()?;
                let message = send(&http, &units.trimmed(), process, content.tags, &data, &signer).await?;
                say(&message.to_string())
            }
            Client::Eval { process, code, wallet, units } => {
                let (signer, units) = (wallet::open_or_create(&wallet.wallet)?, units.trimmed());
                let tags = vec![("Action".to_owned(), "Eval".to_owned())];
                let message = send(&http, &units, process, tags, code.as_bytes(), &signer).await?;
                print_result(&http, &units, process, message).await
            }
            Client::Result { process, message, json: true, units } => {
                say(&result(&http, &units.trimmed(), process, message).await?.to_string())
            }
            Client::Result { process, message, json: false, units } => {
                print_result(&http, &units.trimmed(), process, message).await
            }
            Client::Tail { process, all, limit, units } => tail(&http, &units.trimmed(), process, all, limit).await,
            Client::Publish { file, module_format, wallet, units } => {
                let signer = wallet::open_or_create(&wallet.wallet)?;
                let item = module_item(&file, &module_format, signer)?;
                say(&publish(&http, &units.trimmed(), item).await?.to_string())
            }
            Client::Wallet { wallet } => say(&wallet::open_or_create(&wallet.wallet)?.address()),
        }
    });
    match ended {
        // Whoever reads our output has read enough.
        Err(error) if error.is::<Unread>() => Ok(()),
        ended => ended,
    }
}

impl Units {
    /// Without slashes at the end.
    fn trimmed(self) -> Self {
        let trim = |url: String| url.trim_end_matches('/').to_owned();
        Self { mu: trim(self.mu), cu: trim(self.cu), su: trim(self.su), gateway: trim(self.gateway) }
    }
}

impl Content {
    /// A space where there is none: other clients send that, too.
    fn data(&self) -> Result<Vec<u8>> {
        match (&self.file, &self.data) {
            (Some(path), _) => std::fs::read(path).with_context(|| format!("the data {}", path.display())),
            (None, data) => Ok(data.as_deref().filter(|data| !data.is_empty()).unwrap_or(" ").into()),
        }
    }
}

async fn newest_module(http: &Http, units: &Units) -> Result<Id> {
    let query = "query { transactions(tags: [{ name: \"Type\", values: [\"Module\"] }, { name: \"Data-Protocol\", \
                 values: [\"ao\"] }], first: 1, sort: HEIGHT_DESC) { edges { node { id } } } }";
    let found = http.post_json(&format!("{}/graphql", units.gateway), &json!({ "query": query })).await?;
    let id = found.pointer("/data/transactions/edges/0/node/id").and_then(Value::as_str);
    let id = id.with_context(|| format!("the gateway {} knows no module: name one with --module", units.gateway))?;
    id.parse().map_err(|error| anyhow!("the gateway names the module {id:?}: {error}"))
}

pub(crate) async fn result(http: &Http, units: &Units, process: Id, message: Id) -> Result<Value> {
    http.get(&format!("{}/result/{message}?process-id={process}", units.cu)).await
}

async fn print_result(http: &Http, units: &Units, process: Id, message: Id) -> Result<()> {
    let result = result(http, units, process, message).await?;
    for line in show::result(&result) {
        say(&line)?;
    }
    if let Some(line) = show::receipt(process, receipt(http, units, process, message).await.as_ref()) {
        say(&line)?;
    }
    // As a program that failed.
    if result.get("Error").is_some_and(|error| !error.is_null()) {
        bail!("the message failed");
    }
    Ok(())
}

/// The receipt of a message, from units that give any.
async fn receipt(http: &Http, units: &Units, process: Id, message: Id) -> Option<Value> {
    let node = http.find(&format!("{}/{message}?process-id={process}", units.su)).await?;
    let tags = node.pointer("/assignment/tags")?.as_array()?;
    let nonce = tags.iter().find(|tag| tag["name"] == "Nonce")?["value"].as_str()?;
    http.find(&format!("{}/receipt/{process}/{nonce}", units.cu)).await
}

async fn tail(http: &Http, units: &Units, process: Id, all: bool, limit: Option<u64>) -> Result<()> {
    let url = format!("{}/results/{process}", units.cu);
    let mut from = if all {
        None
    } else {
        let last = http.get(&format!("{url}?sort=DESC&limit=1")).await?;
        last.pointer("/edges/0/cursor").and_then(Value::as_str).map(turned)
    };
    let mut left = limit.unwrap_or(u64::MAX);
    while left > 0 {
        let query: String = from.as_deref().map(encoded).map(|from| format!("&from={from}")).unwrap_or_default();
        let page = http.get(&format!("{url}?sort=ASC&limit={}{query}", u64::from(TAIL_PAGE).min(left))).await?;
        let edges = page["edges"].as_array().context("the compute unit answers without edges")?;
        for edge in edges {
            for line in show::result(&edge["node"]) {
                say(&line)?;
            }
            from = edge["cursor"].as_str().map(str::to_owned).or(from);
            left -= 1;
        }
        if edges.is_empty() {
            tokio::time::sleep(TAIL_EVERY).await;
        }
    }
    Ok(())
}

/// A cursor that was read backwards, to go forwards from: it says itself which way, and that counts for more than the query.
fn turned(cursor: &str) -> String {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    let forwards = || {
        let mut json: Value = serde_json::from_slice(&engine.decode(cursor).ok()?).ok()?;
        *json.get_mut("sort")? = "ASC".into();
        Some(engine.encode(json.to_string()))
    };
    forwards().unwrap_or_else(|| cursor.to_owned())
}

/// Base64 in a query.
fn encoded(text: &str) -> String {
    text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}

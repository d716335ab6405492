//! What an operator sets: a file, overridden by the environment, overridden by flags.
//!
//! Not here: limits of requests to schedulers and gateways (`ao-source`), of guests (`ao-kernel`).
//! Invariant: `--print-config` shows what is in force, as a file that sets the same.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use ao_wire::ProcessId;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::answer::Refusal;

/// Every setting, set or not; the same names with hyphens in a file and on the command line.
#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Address to serve on [default: 127.0.0.1]
    #[arg(long, env = "AORTA_HOST")]
    host: Option<IpAddr>,
    /// Port to serve on; 0 takes a free one [default: 6363]
    #[arg(long, short, env = "AORTA_PORT")]
    port: Option<u16>,
    /// The scheduler, or a router that redirects to schedulers
    #[arg(long, value_name = "URL", env = "AORTA_SU")]
    su: Option<String>,
    /// A HyperBEAM node that has the logs, in place of a scheduler
    #[arg(long, value_name = "URL", env = "AORTA_NODE")]
    node: Option<String>,
    /// The Arweave gateway [default: `https://arweave.net`]
    #[arg(long, value_name = "URL", env = "AORTA_GATEWAY")]
    gateway: Option<String>,
    /// Its GraphQL [default: the gateway's /graphql]
    #[arg(long, value_name = "URL", env = "AORTA_GRAPHQL")]
    graphql: Option<String>,
    /// Folder for everything the unit keeps [default: aorta-data]
    #[arg(long, value_name = "DIR", env = "AORTA_DIR")]
    dir: Option<PathBuf>,
    /// Wallet address shown at `/`; the unit signs nothing
    #[arg(long, env = "AORTA_ADDRESS")]
    address: Option<String>,
    /// Dry-runs a caller may ask for per minute; 0 = off [default: 0]
    #[arg(long, value_name = "PER_MINUTE", env = "AORTA_DRY_RUN_RATE")]
    dry_run_rate: Option<u32>,
    /// Tell callers apart by the last entry of X-Forwarded-For: only behind a proxy that writes it [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", env = "AORTA_FORWARDED_FOR")]
    forwarded_for: Option<bool>,
    /// Serve these processes only
    #[arg(long, value_name = "ID", value_delimiter = ',', env = "AORTA_ALLOW")]
    allow: Option<Vec<String>>,
    /// Never serve these processes
    #[arg(long, value_name = "ID", value_delimiter = ',', env = "AORTA_DENY")]
    deny: Option<Vec<String>>,
    /// Serve processes of these owners only
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', env = "AORTA_ALLOW_OWNER")]
    allow_owner: Option<Vec<String>>,
    /// Milliseconds after which a result not yet there is answered with 202; 0 = wait [default: 0]
    #[arg(long, value_name = "MS", env = "AORTA_BUSY_THRESHOLD")]
    busy_threshold_ms: Option<u64>,
    /// Threads that evaluate logs, and as many that evaluate dry-runs [default: the cores]
    #[arg(long, env = "AORTA_WORKERS")]
    workers: Option<usize>,
    /// MiB that processes in memory may take together [default: 1024]
    #[arg(long, value_name = "MIB", env = "AORTA_MEMORY")]
    memory_mib_max: Option<u64>,
    /// Messages after which the state of a process is saved [default: 1000]
    #[arg(long, value_name = "MESSAGES", env = "AORTA_CHECKPOINT_EVERY")]
    checkpoint_every: Option<u64>,
    /// Saved states kept of each process, the newest [default: 8]
    #[arg(long, value_name = "COUNT", env = "AORTA_CHECKPOINTS_KEPT")]
    checkpoints_kept: Option<usize>,
    /// Seconds between two looks for space that states given up have left; 0 = never [default: 3600]
    #[arg(long, value_name = "SECONDS", env = "AORTA_COMPACT_EVERY")]
    compact_every_s: Option<u64>,
    /// Bytes of the longest body a caller may send [default: 10485760]
    #[arg(long, value_name = "BYTES", env = "AORTA_BODY_MAX")]
    body_bytes_max: Option<usize>,
    /// Gas that a process may ask for a step; those with a higher limit are not evaluated [default: 9000000000000]
    #[arg(long, value_name = "GAS", env = "AORTA_GAS_MAX")]
    gas_max: Option<u64>,
    /// Seconds after which an evaluation is broken off, as this host's trouble and without a result [default: 600]
    #[arg(long, value_name = "SECONDS", env = "AORTA_STEP_SECONDS")]
    step_s_max: Option<u64>,
    /// Seconds to finish what was begun when told to stop [default: 30]
    #[arg(long, value_name = "SECONDS", env = "AORTA_STOP_SECONDS")]
    stop_s_max: Option<u64>,
}

/// What is in force.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) host: IpAddr,
    pub(crate) port: u16,
    pub(crate) scheduler: Scheduler,
    pub(crate) gateway: String,
    pub(crate) graphql: String,
    pub(crate) dir: PathBuf,
    pub(crate) address: String,
    pub(crate) dry_run_rate: u32,
    pub(crate) forwarded_for: bool,
    pub(crate) allow: Vec<ProcessId>,
    pub(crate) deny: Vec<ProcessId>,
    pub(crate) busy_threshold_ms: u64,
    pub(crate) workers: usize,
    pub(crate) memory_mib_max: u64,
    pub(crate) checkpoint_every: u64,
    pub(crate) checkpoints_kept: usize,
    pub(crate) compact_every_s: u64,
    pub(crate) allow_owner: Vec<String>,
    pub(crate) body_bytes_max: usize,
    pub(crate) gas_max: u64,
    pub(crate) step_s_max: u64,
    pub(crate) stop_s_max: u64,
}

/// Whoever has the logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scheduler {
    /// A scheduler unit, or a router before several.
    Unit(String),
    /// A HyperBEAM node.
    Node(String),
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("{}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file sets what there is not, or to what it cannot be.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Something must be set.
    #[error("{setting} is not set: by --{setting}, in the environment or in the file")]
    Missing {
        /// Its name.
        setting: &'static str,
    },
    /// A value that cannot be.
    #[error("{setting} is {value:?}, expected {expected}")]
    Value {
        /// Its name.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
}

macro_rules! overlay {
    ($over:expr, $under:expr; $($field:ident),*) => { Settings { $($field: $over.$field.or($under.$field)),* } };
}

impl Settings {
    /// The defaults, for a unit between a scheduler and a gateway with its GraphQL.
    pub(crate) fn between(su: &str, (gateway, graphql): (&str, &str), dir: PathBuf) -> Self {
        let url = |url: &str| Some(url.to_owned());
        Self { su: url(su), gateway: url(gateway), graphql: url(graphql), dir: Some(dir), ..Self::default() }
    }

    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        toml::from_str(&text).map_err(|source| ConfigError::File { path: path.into(), source: Box::new(source) })
    }

    /// These settings, and where they say nothing, those.
    pub(crate) fn over(self, those: Self) -> Self {
        overlay!(self, those; host, port, su, node, gateway, graphql, dir, address, dry_run_rate, forwarded_for, allow, deny,
            allow_owner, busy_threshold_ms, workers, memory_mib_max, checkpoint_every, checkpoints_kept, compact_every_s,
            body_bytes_max, gas_max, step_s_max, stop_s_max)
    }

    /// These settings with the defaults where they say nothing.
    pub(crate) fn in_force(self) -> Self {
        let gateway = self.gateway.clone().unwrap_or_else(|| "https://arweave.net".into());
        self.over(Self {
            host: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port: Some(6363),
            su: None,
            node: None,
            graphql: Some(format!("{}/graphql", gateway.trim_end_matches('/'))),
            gateway: Some(gateway),
            dir: Some("aorta-data".into()),
            address: Some(String::new()),
            dry_run_rate: Some(0),
            forwarded_for: Some(false),
            allow: Some(Vec::new()),
            deny: Some(Vec::new()),
            allow_owner: Some(Vec::new()),
            busy_threshold_ms: Some(0),
            workers: Some(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)),
            memory_mib_max: Some(1024),
            checkpoint_every: Some(1000),
            checkpoints_kept: Some(8),
            compact_every_s: Some(3600),
            body_bytes_max: Some(10 << 20),
            gas_max: Some(9_000_000_000_000),
            step_s_max: Some(600),
            stop_s_max: Some(30),
        })
    }

    /// Takes the settings for what they mean.
    pub(crate) fn config(self) -> Result<Config, ConfigError> {
        let all = self.in_force();
        Ok(Config {
            host: set("host", all.host)?,
            port: set("port", all.port)?,
            scheduler: match (all.su, all.node) {
                (Some(value), Some(_)) => {
                    return Err(ConfigError::Value { setting: "su", value, expected: "no value beside that of node" });
                }
                (None, Some(node)) => Scheduler::Node(url("node", node)?),
                (su, None) => Scheduler::Unit(url("su", set("su", su)?)?),
            },
            gateway: url("gateway", set("gateway", all.gateway)?)?,
            graphql: url("graphql", set("graphql", all.graphql)?)?,
            dir: set("dir", all.dir)?,
            address: set("address", all.address)?,
            dry_run_rate: set("dry-run-rate", all.dry_run_rate)?,
            forwarded_for: set("forwarded-for", all.forwarded_for)?,
            allow: ids("allow", set("allow", all.allow)?)?,
            deny: ids("deny", set("deny", all.deny)?)?,
            allow_owner: set("allow-owner", all.allow_owner)?,
            busy_threshold_ms: set("busy-threshold-ms", all.busy_threshold_ms)?,
            workers: set("workers", all.workers)?,
            memory_mib_max: set("memory-mib-max", all.memory_mib_max)?,
            checkpoint_every: set("checkpoint-every", all.checkpoint_every)?.max(1),
            checkpoints_kept: set("checkpoints-kept", all.checkpoints_kept)?.max(1),
            compact_every_s: set("compact-every-s", all.compact_every_s)?,
            body_bytes_max: set("body-bytes-max", all.body_bytes_max)?,
            gas_max: set("gas-max", all.gas_max)?,
            step_s_max: set("step-s-max", all.step_s_max)?,
            stop_s_max: set("stop-s-max", all.stop_s_max)?,
        })
    }
}

fn set<T>(setting: &'static str, value: Option<T>) -> Result<T, ConfigError> {
    value.ok_or(ConfigError::Missing { setting })
}

fn url(setting: &'static str, value: String) -> Result<String, ConfigError> {
    if value.starts_with("http://") || value.starts_with("https://") {
        return Ok(value);
    }
    Err(ConfigError::Value { setting, value, expected: "a URL that begins with http:// or https://" })
}

fn ids(setting: &'static str, ids: Vec<String>) -> Result<Vec<ProcessId>, ConfigError> {
    let id = |value: String| match value.parse::<ao_wire::Id>() {
        Ok(id) => Ok(id.into()),
        Err(_) => Err(ConfigError::Value { setting, value, expected: "ids of 43 characters of base64url" }),
    };
    ids.into_iter().map(id).collect()
}

impl Config {
    /// Refuses a process that is not to be served.
    pub(crate) fn admit(&self, process: ProcessId) -> Result<(), Refusal> {
        if self.deny.contains(&process) || !self.allow.is_empty() && !self.allow.contains(&process) {
            return Err(Refusal::Denied(process.to_string()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearer_wins_and_the_rest_shines_through() {
        let file: Settings = toml::from_str("port = 1\nsu = \"http://a\"\ngateway = \"http://g/\"").unwrap();
        let flags = Settings { port: Some(2), ..Settings::default() };
        let config = flags.over(file).config().unwrap();
        assert_eq!((config.port, &config.graphql[..]), (2, "http://g/graphql"));
        assert_eq!(config.scheduler, Scheduler::Unit("http://a".into()));
    }

    #[test]
    fn what_is_printed_is_a_file_that_sets_the_same() {
        let settings = Settings { su: Some("http://a".into()), ..Settings::default() }.in_force();
        assert_eq!(toml::from_str::<Settings>(&toml::to_string(&settings).unwrap()).unwrap(), settings);
    }

    #[test]
    fn a_setting_that_cannot_be_is_named() {
        for (text, error) in [
            ("port = 1", "su is not set: by --su, in the environment or in the file"),
            ("su = \"a\"", "su is \"a\", expected a URL that begins with http:// or https://"),
            ("su = \"http://a\"\nnode = \"http://b\"", "su is \"http://a\", expected no value beside that of node"),
            ("su = \"http://a\"\nallow = [\"x\"]", "allow is \"x\", expected ids of 43 characters of base64url"),
        ] {
            let settings: Settings = toml::from_str(text).unwrap();
            assert_eq!(settings.config().unwrap_err().to_string(), error);
        }
        assert!(toml::from_str::<Settings>("prot = 1").unwrap_err().to_string().contains("prot"));
    }
}

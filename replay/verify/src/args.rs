//! The command line of `replay`.

use std::path::PathBuf;

use ao_log::Signatures;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Re-derives the state of an ao process from its log, offline.
#[derive(Parser, Debug)]
#[command(name = "replay", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0 matched (or done), 1 diverged (also: the engines disagree), 2 usage, 3 incomplete or corrupt input, 4 host failure.
A SOURCE is a replay bundle or a log folder: process.ans104, module.ans104 (or module.wasm and module.json),
log/<nonce, 12 digits>.ans104.";

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Evaluate a log and put all inputs with their receipts into one bundle
    Pack(Pack),
    /// Evaluate one or more logs and show where they lead
    Run(Run),
    /// Evaluate bundles and compare every receipt with the recorded one
    Verify(Verify),
    /// Show what a log is about, or one nonce of it, without evaluating
    Inspect(Inspect),
    /// Evaluate a log and print one JSON line per step
    Trace(Trace),
    /// Put recorded receipts into a public log, prove what is in it, check such proofs
    #[command(subcommand)]
    Prove(Prove),
    /// Check the body of GET /result against a receipt, without evaluating
    CheckResult(CheckResult),
}

impl Command {
    /// The options of evaluation, where the command has them.
    pub(crate) fn evaluate(&self) -> Option<&Evaluate> {
        match self {
            Self::Pack(args) => Some(&args.evaluate),
            Self::Run(args) => Some(&args.evaluate),
            Self::Verify(args) => Some(&args.evaluate),
            Self::Trace(args) => Some(&args.evaluate),
            Self::Inspect(_) | Self::Prove(_) | Self::CheckResult(_) => None,
        }
    }
}

/// What evaluation needs, whatever is done with it.
#[derive(Args, Debug, Clone)]
pub(crate) struct Evaluate {
    /// A module's wasm binary, for logs that only name theirs; may be given for several modules
    #[arg(long, value_name = "FILE")]
    pub(crate) module: Vec<PathBuf>,
    /// Which signatures are checked: all, none, or a sample of P percent drawn by SEED
    #[arg(long, value_name = "all|sample:P[:SEED]|none", default_value = "all", value_parser = signatures)]
    pub(crate) signatures: Signatures,
    /// First nonce to report; earlier ones are evaluated, from a saved state in the bundle if there is one
    #[arg(long, value_name = "NONCE")]
    pub(crate) from: Option<u64>,
    /// Last nonce to evaluate
    #[arg(long, value_name = "NONCE")]
    pub(crate) to: Option<u64>,
    /// Folder of compiled modules
    #[arg(long, value_name = "DIR", env = "AORTA_CACHE")]
    pub(crate) cache: Option<PathBuf>,
    /// Compile afresh and keep nothing
    #[arg(long, conflicts_with = "cache")]
    pub(crate) no_cache: bool,
    /// Take a message that the scheduler assigned twice for what it is instead of for a fault
    #[arg(long)]
    pub(crate) allow_duplicates: bool,
    /// How written memory is found: auto, pagemap or memcmp; the roots are the same
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) tracker: TrackerChoice,
    /// What evaluates: the compiler, the interpreter, or both, compared step by step
    #[arg(long, value_name = "NAME", default_value = "wasmer")]
    pub(crate) engine: EngineChoice,
    /// Break a step off that takes more seconds than these, and end with 4
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) step_s_max: Option<u64>,
    /// Let wasmi run the module's functions as published, without gas, canonical NaNs and counted stack
    #[arg(long)]
    pub(crate) original: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub(crate) enum EngineChoice {
    Wasmer,
    Wasmi,
    Both,
}

#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub(crate) enum TrackerChoice {
    Auto,
    Pagemap,
    Memcmp,
}

#[derive(Args, Debug, Clone)]
pub(crate) struct Show {
    /// Print the outcome as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Pack {
    /// The log folder (or a bundle, to repack it)
    pub(crate) source: PathBuf,
    /// The bundle to write
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Name the module by its hash instead of embedding it
    #[arg(long)]
    pub(crate) detach_module: bool,
    /// A state root with every receipt, not with every 32nd
    #[arg(long)]
    pub(crate) strict: bool,
    /// Save the whole state after every N steps
    #[arg(long, value_name = "N")]
    pub(crate) checkpoint_every: Option<u64>,
    #[command(flatten)]
    pub(crate) evaluate: Evaluate,
    #[command(flatten)]
    pub(crate) show: Show,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// Bundles or log folders
    #[arg(required = true)]
    pub(crate) sources: Vec<PathBuf>,
    /// Write the inputs and receipts of the run into a bundle
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// A state root with every receipt, not with every 32nd
    #[arg(long)]
    pub(crate) strict: bool,
    /// Sources evaluated at once
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
    #[command(flatten)]
    pub(crate) evaluate: Evaluate,
    #[command(flatten)]
    pub(crate) show: Show,
}

#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// Bundles with receipts
    #[arg(required = true)]
    pub(crate) bundles: Vec<PathBuf>,
    /// Bundles verified at once
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
    #[command(flatten)]
    pub(crate) evaluate: Evaluate,
    #[command(flatten)]
    pub(crate) show: Show,
}

#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// A bundle or log folder
    pub(crate) source: PathBuf,
    /// Show this nonce: assignment, message, receipt
    #[arg(long)]
    pub(crate) nonce: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Trace {
    /// A bundle or log folder
    pub(crate) source: PathBuf,
    /// Add hashes of the whole memory after each step
    #[arg(long, value_name = "blake3,sha256", value_delimiter = ',')]
    pub(crate) memory: Vec<MemoryHash>,
    #[command(flatten)]
    pub(crate) evaluate: Evaluate,
}

/// A log is a folder of static files (C2SP tlog-tiles); a RECEIPT is a file of its 256 bytes or their hex digits, or BUNDLE#NONCE
/// (BUNDLE#NONCE.TICK of a cron tick).
#[derive(Subcommand, Debug)]
pub(crate) enum Prove {
    /// Append the receipts of bundles to a log and sign its head; prints the verifier key
    Log {
        /// Bundles with receipts; those in the log already are passed over
        #[arg(required = true)]
        bundles: Vec<PathBuf>,
        /// Folder of the log
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
        /// Name of the log and of its key: a URL without scheme by custom
        #[arg(long, value_name = "NAME")]
        origin: String,
        /// File with the seed of the Ed25519 key: 32 random bytes, or their hex digits
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Print a proof that a receipt is in a log (C2SP tlog-proof)
    Inclusion {
        /// Folder of the log
        log: PathBuf,
        /// The receipt
        #[arg(long)]
        receipt: String,
        /// Verifier key of the log
        #[arg(long)]
        key: String,
    },
    /// Print a proof that a log grew from an earlier one (as C2SP witnesses take it)
    Growth {
        /// Folder of the log
        log: PathBuf,
        /// Checkpoint of the earlier log
        #[arg(long, value_name = "CHECKPOINT")]
        since: PathBuf,
        /// Verifier key of the log
        #[arg(long)]
        key: String,
    },
    /// Check a proof of either kind by itself
    Check {
        /// The proof
        proof: PathBuf,
        /// The receipt it is about
        #[arg(long, required_unless_present = "since", conflicts_with = "since")]
        receipt: Option<String>,
        /// Checkpoint of the earlier log it is about
        #[arg(long, value_name = "CHECKPOINT")]
        since: Option<PathBuf>,
        /// Verifier key of the log
        #[arg(long)]
        key: String,
    },
    /// Check every file of a log, its head, and that it grew from an earlier one
    Audit {
        /// Folder of the log
        log: PathBuf,
        /// Checkpoint of the earlier log
        #[arg(long, value_name = "CHECKPOINT")]
        since: Option<PathBuf>,
        /// Verifier key of the log
        #[arg(long)]
        key: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct CheckResult {
    /// The receipt: a file of its 256 bytes or their hex digits, or BUNDLE#NONCE, or BUNDLE#NONCE.TICK
    #[arg(long)]
    pub(crate) receipt: String,
    /// The body as it was served
    #[arg(long, value_name = "FILE")]
    pub(crate) result: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub(crate) enum MemoryHash {
    Blake3,
    Sha256,
}

fn signatures(text: &str) -> Result<Signatures, String> {
    match text {
        "all" => Ok(Signatures::All),
        "none" => Ok(Signatures::None),
        _ => {
            let sample = || {
                let (percent, seed) =
                    text.strip_prefix("sample:").map(|rest| rest.split_once(':').unwrap_or((rest, "0")))?;
                let percent = percent.parse::<f32>().ok().filter(|percent| (0.1..=100.0).contains(percent))?;
                Some(Signatures::Sample { per_mille: (percent * 10.0).round() as u16, seed: seed.parse().ok()? })
            };
            sample().ok_or_else(|| "expected all, none, or sample:P[:SEED] with P from 0.1 to 100 percent".into())
        }
    }
}

/// A selection of signatures as the verdict prints it.
pub(crate) fn describe(signatures: Signatures) -> String {
    match signatures {
        Signatures::All => "all".into(),
        Signatures::None => "none".into(),
        Signatures::Sample { per_mille, seed } => {
            format!("sample of {}.{} %, seed {seed}", per_mille / 10, per_mille % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_choices_are_read_and_nonsense_is_refused() {
        assert_eq!(signatures("all"), Ok(Signatures::All));
        assert_eq!(signatures("sample:2.5"), Ok(Signatures::Sample { per_mille: 25, seed: 0 }));
        assert_eq!(signatures("sample:2.5:9"), Ok(Signatures::Sample { per_mille: 25, seed: 9 }));
        for text in ["", "some", "sample:1:x", "sample:", "sample:0", "sample:101", "sample:x"] {
            assert!(signatures(text).is_err(), "{text}");
        }
    }
}

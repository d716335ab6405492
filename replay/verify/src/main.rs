//! The `replay` command.

mod args;
mod inspect;
mod output;
mod progress;
mod prove;
mod trace;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ao_commit::CheckpointPolicy;
use ao_kernel::{ArtifactCache, Engine, Tracker, Watch};
use ao_log::{Duplicates, Nonce};
use ao_replay::{Contents, Observed, Options, ReplayError, Report, Source, Verdict, Watchdog, pack, run, verify};
use args::{Cli, Command, EngineChoice, Evaluate, Show, TrackerChoice};
use clap::Parser;
use progress::Progress;
use rayon::prelude::*;

const DIVERGED: u8 = 1;
const USAGE: u8 = 2;
const CORRUPT: u8 = 3;
const HOST: u8 = 4;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Printing cannot fail in a way that anyone could still be told of.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    if let Some(text) = misuse(&cli.command) {
        return usage(text);
    }
    let step_s_max = cli.command.evaluate().and_then(|evaluate| evaluate.step_s_max);
    match step_s_max.map(|seconds| Watchdog::start(Duration::from_secs(seconds))).transpose() {
        Ok(watchdog) => execute(cli.command, watchdog.as_ref().map(Watchdog::watch)),
        Err(error) => {
            complain(&format!("no thread for --step-s-max: {error}"));
            ExitCode::from(HOST)
        }
    }
}

/// What of a command contradicts itself.
fn misuse(command: &Command) -> Option<&'static str> {
    match command.evaluate()? {
        Evaluate { from: Some(from), to: Some(to), .. } if from > to => Some("--from lies after --to"),
        Evaluate { engine: EngineChoice::Wasmer, original: true, .. } => {
            Some("--original is for --engine wasmi or both")
        }
        Evaluate { engine: EngineChoice::Wasmi, original: true, .. } if writes_receipts(command) => {
            Some("--original counts no gas, so its receipts are not worth writing")
        }
        _ => None,
    }
}

fn execute(command: Command, watch: Option<&Watch>) -> ExitCode {
    ExitCode::from(match command {
        Command::Pack(args) => {
            let contents = Contents { detach_module: args.detach_module, checkpoint_every: args.checkpoint_every };
            let options = options(&args.evaluate, args.strict, watch);
            one(&args.source, &args.show, &args.evaluate, |source, progress| {
                pack(source, &options, contents, &args.output, progress).map(|report| (report, None))
            })
        }
        Command::Run(args) => {
            let options = options(&args.evaluate, args.strict, watch);
            if let Some(output) = &args.output {
                if args.sources.len() > 1 || args.evaluate.from.is_some() {
                    return usage("--output takes one source, from its beginning");
                }
                one(&args.sources[0], &args.show, &args.evaluate, |source, progress| {
                    pack(source, &options, Contents::default(), output, progress).map(|report| (report, None))
                })
            } else {
                many(&args.sources, args.workers, &args.show, &args.evaluate, |source, progress| {
                    run(source, &options, progress).map(|report| (report, None))
                })
            }
        }
        Command::Verify(args) => {
            if let Some(folder) = args.bundles.iter().find(|path| path.is_dir()) {
                return usage(&format!("{}: a log folder has no receipts to verify: pack it first", folder.display()));
            }
            let options = options(&args.evaluate, false, watch);
            many(&args.bundles, args.workers, &args.show, &args.evaluate, |source, progress| {
                verify(source, &options, progress).map(|(report, verdict)| (report, Some(verdict)))
            })
        }
        Command::Inspect(args) => ended(inspect::inspect(&args)),
        Command::Trace(args) => ended(trace::trace(&args, &options(&args.evaluate, false, watch))),
        Command::Prove(args) => ended(prove::prove(&args)),
        Command::CheckResult(args) => ended(prove::check_result(&args)),
    })
}

/// Whether the command leaves receipts for others to compare with.
fn writes_receipts(command: &Command) -> bool {
    matches!(command, Command::Pack(_) | Command::Run(args::Run { output: Some(_), .. }))
}

fn options(args: &Evaluate, strict: bool, watch: Option<&Watch>) -> Options {
    let wasmi = if args.original { Engine::Original } else { Engine::Wasmi };
    let (engine, second) = match args.engine {
        EngineChoice::Wasmer => (Engine::Wasmer, None),
        EngineChoice::Wasmi => (wasmi, None),
        EngineChoice::Both => (Engine::Wasmer, Some(wasmi)),
    };
    let cache = args.cache.clone().or_else(default_cache).filter(|_| !args.no_cache);
    Options {
        modules: args.module.clone(),
        signatures: args.signatures,
        duplicates: if args.allow_duplicates { Duplicates::Note } else { Duplicates::Refuse },
        from: args.from.map(Nonce),
        to: args.to.map(Nonce),
        cache: cache.map(ArtifactCache::new),
        tracker: match args.tracker {
            TrackerChoice::Auto => Tracker::Best,
            TrackerChoice::Pagemap => Tracker::PageTables,
            TrackerChoice::Memcmp => Tracker::Compare,
        },
        engine,
        second,
        policy: if strict { CheckpointPolicy::STRICT } else { CheckpointPolicy::default() },
        watch: watch.cloned(),
    }
}

#[allow(clippy::disallowed_methods, reason = "where compiled modules lie is no input of any step")]
fn default_cache() -> Option<PathBuf> {
    let home = |name: &str, rest: &str| std::env::var_os(name).map(|dir| Path::new(&dir).join(rest));
    home("XDG_CACHE_HOME", "aorta/artifacts").or_else(|| home("HOME", ".cache/aorta/artifacts"))
}

/// What a command does with one source, showing its progress.
trait Work: Fn(Source, &mut ao_replay::Observer<'_>) -> Result<(Report, Option<Verdict>), ReplayError> + Sync {}
impl<F: Fn(Source, &mut ao_replay::Observer<'_>) -> Result<(Report, Option<Verdict>), ReplayError> + Sync> Work for F {}

fn one(path: &Path, show: &Show, args: &Evaluate, work: impl Work) -> u8 {
    let label = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    let done = Source::open(path).map_err(ReplayError::from).and_then(|source| {
        let mut progress = Progress::new(label, source.steps_hint(), show.quiet || show.json);
        let done = work(source, &mut |observed: Observed<'_>| {
            progress.step(observed.position);
            Ok(())
        });
        done.map(|(report, verdict)| (report, verdict, progress.finish()))
    });
    match done {
        Ok((report, verdict, time)) => {
            output::show(path, &report, verdict.as_ref(), time, args.signatures, show);
            match verdict {
                None | Some(Verdict::Matched { .. }) => 0,
                Some(Verdict::Diverged(_)) => DIVERGED,
                Some(Verdict::Incomplete { .. }) => CORRUPT,
            }
        }
        Err(error) => failed(path, &error, show.json),
    }
}

/// Several sources at once; the worst outcome decides.
fn many(paths: &[PathBuf], workers: Option<usize>, show: &Show, args: &Evaluate, work: impl Work) -> u8 {
    if let [path] = paths {
        return one(path, show, args, work);
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(workers.unwrap_or(0)).build();
    let Ok(pool) = pool else { return HOST };
    pool.install(|| paths.par_iter().map(|path| one(path, show, args, &work)).max().unwrap_or(0))
}

fn ended(result: Result<(), ReplayError>) -> u8 {
    match result {
        Ok(()) => 0,
        // Whoever reads our output has read enough.
        Err(ReplayError::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(error) => failed(Path::new(""), &error, false),
    }
}

fn usage(text: &str) -> ExitCode {
    complain(text);
    ExitCode::from(USAGE)
}

#[allow(clippy::print_stderr, reason = "the command's own errors")]
fn complain(text: &str) {
    eprintln!("replay: {text}");
}

fn failed(path: &Path, error: &ReplayError, json: bool) -> u8 {
    output::error(path, error, json);
    if error.is_refutation() {
        DIVERGED
    } else if error.is_host() {
        HOST
    } else {
        CORRUPT
    }
}

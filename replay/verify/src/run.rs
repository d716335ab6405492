//! A whole run: a source read page by page, verified while the page before it is evaluated.
//!
//! Not here: what is done with each step (the observer), comparing with recorded receipts (`verify`).
//! Invariant: no entry is evaluated before the log up to it was verified.

use std::path::PathBuf;

use ao_commit::{CheckpointPolicy, Hash};
use ao_kernel::profile::Profile;
use ao_kernel::{ArtifactCache, Engine, Module, Tracker, Watch};
use ao_log::{Assigned, Duplicates, LogSummary, LogVerifier, Nonce, Signatures, VerifyOptions};
use ao_wire::{DataItem, ModuleId, ProcessId};
use rayon::prelude::*;

use crate::checkpoint;
use crate::error::ReplayError;
use crate::lockstep::Lockstep;
use crate::session::{Commitment, Session, StepReport};
use crate::setup::Setup;
use crate::source::{LoggedStep, SavedState, Source};

/// Steps verified in one parallel call, and held in memory.
const PAGE_STEPS: usize = 256;

/// Bytes after which a page is full before it has that many steps.
const PAGE_BYTES: usize = 16 << 20;

/// How a log is replayed. None of it changes a receipt but the policy.
#[derive(Clone, Debug)]
pub struct Options {
    /// Binaries of modules, for logs that only name theirs; each log takes the one with its hash.
    pub modules: Vec<PathBuf>,
    /// Which signatures are checked.
    pub signatures: Signatures,
    /// What a message that occurs twice is.
    pub duplicates: Duplicates,
    /// First nonce to report.
    pub from: Option<Nonce>,
    /// Last nonce to evaluate.
    pub to: Option<Nonce>,
    /// Compiled modules.
    pub cache: Option<ArtifactCache>,
    /// How written memory is found.
    pub tracker: Tracker,
    /// What evaluates the log.
    pub engine: Engine,
    /// What evaluates it as well: the first difference is an error.
    pub second: Option<Engine>,
    /// Where receipts carry state roots, if the source does not say.
    pub policy: CheckpointPolicy,
    /// Through what evaluations can be broken off.
    pub watch: Option<Watch>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            modules: Vec::new(),
            signatures: Signatures::All,
            duplicates: Duplicates::Refuse,
            from: None,
            to: None,
            cache: None,
            tracker: Tracker::Best,
            engine: Engine::default(),
            second: None,
            policy: CheckpointPolicy::default(),
            watch: None,
        }
    }
}

/// Where a run led.
#[derive(Clone, Debug)]
pub struct Report {
    /// The process.
    pub process: ProcessId,
    /// Its module.
    pub module: ModuleId,
    /// BLAKE3 of the module.
    pub module_blake3: Hash,
    /// Name of the profile.
    pub profile: String,
    /// Steps evaluated.
    pub steps: u64,
    /// Steps that did not end with an answer the memory was kept for.
    pub failed: u64,
    /// Steps that were cron ticks.
    pub ticks: u64,
    /// Crons of the process that never tick, by name: their intervals are no numbers.
    pub silent_crons: Vec<String>,
    /// Gas of all steps, by our count.
    pub gas: u64,
    /// Whether the signed item that carried the module was there, and checked; else its BLAKE3 alone names it.
    pub module_signed: bool,
    /// Bytes of memory found changed at the commits.
    pub bytes_changed: u64,
    /// The last receipt's nonce and hash.
    pub last: Option<(Nonce, Hash)>,
    /// The state at the end.
    pub end: Commitment,
    /// What the log's verifier saw.
    pub log: LogSummary,
    /// Assigned transactions that lay beside the log; their signatures were checked unless none were.
    pub assigned: u64,
    /// The state the run started from, if not from the beginning. It was not proved by this run.
    pub resumed_after: Option<Nonce>,
    /// How written memory was found.
    pub tracker: &'static str,
    /// What evaluated it, the second one in agreement with the first.
    pub engines: Vec<Engine>,
}

/// What an observer sees of each step. The cron ticks before an entry come with it.
pub struct Observed<'a> {
    /// The entry, and what is recorded beside it.
    pub logged: &'a LoggedStep,
    /// What it led to.
    pub report: &'a StepReport,
    /// The process after it.
    pub session: &'a mut Session,
    /// How far into a bundle the reader is, and its size.
    pub position: Option<(u64, u64)>,
}

/// Called after each step of the entries from `Options::from` on.
pub type Observer<'a> = dyn FnMut(Observed<'_>) -> Result<(), ReplayError> + 'a;

/// The policy a source names, else `fallback`.
///
/// # Errors
/// It names one that cannot be.
pub fn policy_of(source: &Source, fallback: CheckpointPolicy) -> Result<CheckpointPolicy, ReplayError> {
    match <[u8; 4]>::try_from(&source.manifest.extra[..]) {
        Ok(every) => Ok(CheckpointPolicy::every(u32::from_le_bytes(every))?),
        Err(_) => Ok(fallback),
    }
}

/// Prepares what a source's process runs on, for each engine; and whether the module's signature was checked.
fn setups(source: &mut Source, options: &Options) -> Result<(Vec<Setup>, bool), ReplayError> {
    let known = Profile::default();
    if source.manifest.profile != known.name() {
        let (found, known) = (source.manifest.profile.clone(), known.name().to_owned());
        return Err(ReplayError::Profile { found, known });
    }
    let format = source.module.tags.iter().find(|tag| tag.name == "Module-Format").ok_or(ReplayError::NoFormat)?;
    let format = format.value.trim().parse()?;
    let (found, named) = (source.module.id, source.process_info()?.module);
    if found != named {
        return Err(ReplayError::OtherModule { found, named });
    }
    let wasm = source.take_wasm(&options.modules)?;
    let signed = options.signatures != Signatures::None && !source.module.item_prefix.is_empty();
    if signed {
        check_module_item(source, &wasm)?;
    }
    let policy = policy_of(source, options.policy)?;
    let setup = |engine| {
        let module = Module::load_on(engine, &wasm, format, options.cache.as_ref())?;
        let module = options.watch.iter().fold(module, Module::watched);
        Setup::new(&source.process, &source.module, module, policy, options.tracker)
    };
    let setups: Result<_, ReplayError> = [options.engine].into_iter().chain(options.second).map(setup).collect();
    Ok((setups?, signed))
}

/// The signed item that carried the module, if the log keeps its header, must be whole and have the module's id.
fn check_module_item(source: &Source, wasm: &[u8]) -> Result<(), ReplayError> {
    let bytes = [&source.module.item_prefix[..], wasm].concat();
    let item = DataItem::parse(&bytes).map_err(|_| ReplayError::ModuleItem)?;
    if ModuleId::from(item.id()) == source.module.id && item.data().len() == wasm.len() && item.verify().is_ok() {
        Ok(())
    } else {
        Err(ReplayError::ModuleItem)
    }
}

/// Replays `source` and shows each step to `observer`.
///
/// # Errors
/// Input that is incomplete, corrupt or not to be believed; the host's trouble; whatever the observer returns.
pub fn run(mut source: Source, options: &Options, observer: &mut Observer<'_>) -> Result<Report, ReplayError> {
    let rule = source.manifest.chain_rule;
    let verify = VerifyOptions { rule, signatures: options.signatures, duplicates: options.duplicates };
    let verifier = LogVerifier::new(&source.process, verify)?;
    let (setups, module_signed) = setups(&mut source, options)?;
    let start = start_of(&mut source, options)?;
    let (process, module, module_blake3) = (source.manifest.process, source.module.id, source.module.wasm_blake3);
    let first = source.manifest.first_nonce;
    let session = |setup| match &start {
        Some(state) => checkpoint::resume(setup, state),
        None if first == Nonce(0) => Session::start(setup, first),
        None => Err(ReplayError::NoStart { first }),
    };
    let mut sessions = setups.into_iter().map(session).collect::<Result<Vec<_>, _>>()?;
    let engines = sessions.iter().map(Session::engine).collect();
    let second = if sessions.len() > 1 { sessions.pop() } else { None };
    let session = Lockstep::new(sessions.remove(0), second);
    let verifier = match &start {
        Some(state) if first > Nonce(0) => checkpoint::continue_log(&source, verify, state)?,
        _ => verifier,
    };
    let mut run = Run { source, session, verifier, options, start, tally: Tally::default() };
    run.all(observer)?;
    let end = run.session.commit()?;
    let session = &run.session.session;
    Ok(Report {
        process,
        module,
        module_blake3,
        profile: Profile::default().name().to_owned(),
        steps: run.tally.steps,
        failed: run.tally.failed,
        ticks: run.tally.ticks,
        silent_crons: session.setup.silent_crons().map(str::to_owned).collect(),
        gas: run.tally.gas,
        module_signed,
        bytes_changed: session.bytes_changed(),
        last: run.tally.last,
        end,
        log: run.verifier.summary().clone(),
        assigned: run.tally.assigned,
        resumed_after: run.start.map(|state| state.nonce),
        tracker: session.tracker_name(),
        engines,
    })
}

/// The saved state to start from: the last one in the bundle before the first nonce to report.
fn start_of(source: &mut Source, options: &Options) -> Result<Option<SavedState>, ReplayError> {
    let start = source.start.take();
    match options.from {
        Some(from) => Ok(source.last_state_before(from)?.or(start)),
        None => Ok(start),
    }
}

struct Run<'o> {
    source: Source,
    session: Lockstep,
    verifier: LogVerifier,
    options: &'o Options,
    start: Option<SavedState>,
    tally: Tally,
}

impl Run<'_> {
    fn all(&mut self, observer: &mut Observer<'_>) -> Result<(), ReplayError> {
        let mut page = self.next_page()?;
        check(&mut self.verifier, self.options.signatures, &page)?;
        while !page.is_empty() {
            let next = self.next_page()?;
            let position = self.source.position();
            let Self { verifier, session, tally, options, .. } = self;
            let start = self.start.as_ref().map(|state| state.nonce);
            let mut verified: Result<(), ReplayError> = Ok(());
            // A guest stays on its thread; the signatures of the next page go to the others.
            let evaluated = rayon::in_place_scope(|scope| {
                scope.spawn(|_| verified = check(verifier, options.signatures, &next));
                evaluate(page, session, options, start, position, tally, observer)
            });
            evaluated?;
            verified?;
            page = next;
        }
        Ok(())
    }

    fn next_page(&mut self) -> Result<Vec<LoggedStep>, ReplayError> {
        let (mut page, mut bytes) = (Vec::new(), 0);
        while page.len() < PAGE_STEPS && bytes < PAGE_BYTES {
            let Some(step) = self.source.next_step()? else { break };
            if self.options.to.is_some_and(|to| step.entry.nonce > to) {
                // The rest is still read: only its end proves a bundle intact.
                continue;
            }
            bytes += step.entry.bytes() + step.assigned.as_ref().map_or(0, Assigned::bytes);
            page.push(step);
        }
        Ok(page)
    }
}

/// Checks a page of the log, and the transactions beside it.
fn check(verifier: &mut LogVerifier, signatures: Signatures, page: &[LoggedStep]) -> Result<(), ReplayError> {
    verifier.check_page(page.iter().map(|step| &step.entry))?;
    let process = verifier.process().id;
    page.par_iter().try_for_each(|step| {
        let (nonce, Some(assigned)) = (step.entry.nonce, &step.assigned) else { return Ok(()) };
        let named = step.entry.elsewhere(process).ok_or(ReplayError::NotAssigned { nonce })?;
        let signed = || if signatures == Signatures::None { Ok(()) } else { assigned.verify() };
        assigned.check_id(named).and_then(|()| signed()).map_err(|source| ReplayError::Assigned { nonce, source })
    })
}

#[derive(Default)]
struct Tally {
    steps: u64,
    failed: u64,
    ticks: u64,
    gas: u64,
    assigned: u64,
    last: Option<(Nonce, Hash)>,
}

fn evaluate(
    page: Vec<LoggedStep>,
    session: &mut Lockstep,
    options: &Options,
    start: Option<Nonce>,
    position: Option<(u64, u64)>,
    tally: &mut Tally,
    observer: &mut Observer<'_>,
) -> Result<(), ReplayError> {
    for logged in page {
        if start.is_some_and(|start| logged.entry.nonce <= start) {
            session.skip(&logged.entry)?;
            continue;
        }
        tally.assigned += u64::from(logged.assigned.is_some());
        loop {
            let report = session.step(&logged.entry, logged.assigned.as_ref())?;
            tally.steps += 1;
            tally.failed += u64::from(report.receipt.outcome != ao_commit::Outcome::Ok);
            tally.ticks += u64::from(report.tick.is_some());
            tally.gas = tally.gas.saturating_add(report.receipt.gas);
            tally.last = Some((report.nonce, report.receipt_hash));
            if options.from.is_none_or(|from| logged.entry.nonce >= from) {
                observer(Observed { logged: &logged, report: &report, session: &mut session.session, position })?;
            }
            if report.tick.is_none() {
                break;
            }
        }
    }
    Ok(())
}

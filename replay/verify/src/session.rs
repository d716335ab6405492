//! One process being replayed: entries in, receipts out.
//!
//! Not here: where entries come from (`source`), whether they may be believed (`LogVerifier`), comparing (`verify`).
//! Invariant: receipts are a function of process, module, profile, policy and entries; a session that was saved and
//! resumed at any nonce gives the same ones.

use ao_commit::{
    ChainError, Global, GlobalKind, Hash, MemoryTree, Outcome, Receipt, ReceiptChain, StateParts, host_state_hash,
    input_hash, result_hash, tables_hash,
};
use ao_kernel::cron::Course;
use ao_kernel::guest::Val;
use ao_kernel::message::dedup::{Key, Seen};
use ao_kernel::message::{Item, Message, Shown, needs_process_of_old};
use ao_kernel::profile::Profile;
use ao_kernel::result::Evaluated;
use ao_kernel::{Engine, Fork, Machine, Registers};
use ao_log::{Assigned, LogEntry, Nonce};
use ao_wire::{DataItem, MessageId};

use crate::assigned::Elsewhere;
use crate::error::ReplayError;
use crate::outcome::ended;
use crate::setup::Setup;
use crate::ticks::{Gap, Ticked};

/// A process and the end of its receipt chain.
pub struct Session {
    pub(crate) setup: Setup,
    pub(crate) machine: Machine,
    tree: MemoryTree,
    seen: Seen,
    chain: ReceiptChain,
    /// How far the log has come, if the process has crons; `None` before the first entry.
    pub(crate) course: Option<Course>,
    /// What is left to do before the next entry, once its ticks are known.
    pub(crate) gap: Option<Gap>,
    /// Id of the last entry's assignment.
    pub(crate) last_assignment: Hash,
    pub(crate) json: Vec<u8>,
    groups_changed: u64,
}

/// What one step led to.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// The nonce; of a tick that of the entry before it.
    pub nonce: Nonce,
    /// The cron tick that it was, if it was one.
    pub tick: Option<Ticked>,
    /// Id of the message, or of the process at its own nonce 0 and at its ticks.
    pub message: MessageId,
    /// What the message is known by from now on; a tick by nothing.
    pub key: Option<Key>,
    /// The receipt, which says how the step ended.
    pub receipt: Receipt,
    /// Hash of the receipt.
    pub receipt_hash: Hash,
    /// Body of `GET /result`.
    pub result_json: Vec<u8>,
}

/// The state at the end of a session, committed beside the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// BLAKE3 of the whole linear memory.
    pub memory_root: Hash,
    /// Everything a later step can see.
    pub state_root: Hash,
    /// Bytes of linear memory.
    pub memory_bytes: u64,
}

impl Session {
    /// A process before its first message.
    ///
    /// # Errors
    /// A module that does not start, or the host's trouble.
    pub fn start(setup: Setup, first_nonce: Nonce) -> Result<Self, ReplayError> {
        let machine = Machine::start(&setup.module, setup.env_json.clone(), &setup.limits, setup.tracker)?;
        let chain = ReceiptChain::start(
            setup.process_id(),
            *setup.module.hash(),
            Profile::default().id().0,
            setup.policy,
            first_nonce.0,
        );
        Self::assemble(setup, machine, chain)
    }

    /// A process as it was after `last`, from what `commit` and the memory gave then.
    ///
    /// `course` is how far the log had come, for a process with crons. Entries up to that nonce must then be given to
    /// `skip`, for the duplicates among the later ones; or whoever makes steps knows what was evaluated before.
    ///
    /// # Errors
    /// A state that does not fit, or the host's trouble.
    pub fn resume<'a>(
        setup: Setup,
        last: &Receipt,
        course: Option<Course>,
        registers: &Registers,
        groups: impl Iterator<Item = (u32, &'a [u8])>,
    ) -> Result<Self, ReplayError> {
        let (env_json, limits) = (setup.env_json.clone(), &setup.limits);
        let machine = Machine::resume(&setup.module, env_json, limits, setup.tracker, registers, groups)?;
        let chain = ReceiptChain::resume(last, setup.policy);
        let session = Self::assemble(setup, machine, chain)?;
        Ok(Self { course, last_assignment: last.assignment_id, ..session })
    }

    fn assemble(setup: Setup, machine: Machine, chain: ReceiptChain) -> Result<Self, ReplayError> {
        let tree = MemoryTree::new(0)?;
        Ok(Self {
            setup,
            machine,
            tree,
            seen: Seen::default(),
            chain,
            course: None,
            gap: None,
            last_assignment: Hash::default(),
            json: Vec::new(),
            groups_changed: 0,
        })
    }

    /// Remembers an entry that lies before the state this session was resumed from.
    ///
    /// # Errors
    /// An entry that makes no message.
    pub fn skip(&mut self, entry: &LogEntry) -> Result<(), ReplayError> {
        self.pass(entry)?;
        let Self { setup, seen, .. } = self;
        let elsewhere = entry.elsewhere(setup.process().id().into());
        // It is known by its id, so that will do.
        let bare = |id: MessageId| Item {
            id: id.id(),
            signature: &[],
            owner: "",
            target: &[],
            anchor: &[],
            tags: &[],
            data: &[],
        };
        let item = elsewhere.map(bare);
        with_message(setup, entry, item, |message| {
            seen.is_duplicate(message, message.key(), |_| false);
            Ok(())
        })
    }

    /// Makes the next step on the way to an entry which holds what it assigns.
    ///
    /// # Errors
    /// As [`step_assigned`](Self::step_assigned).
    pub fn step(&mut self, entry: &LogEntry) -> Result<StepReport, ReplayError> {
        self.step_assigned(entry, None, |_| false)
    }

    /// Makes the next step on the way to the next entry: a cron tick that is due before it, else its own, after which
    /// `tick` of the report is `None`. `assigned` is the transaction it assigns, if it does not hold that. `earlier` says
    /// whether a message known by a key was evaluated before all that this session remembers.
    ///
    /// # Errors
    /// An entry that makes no message, or is not the next; the host's trouble. A failing guest is no error.
    pub fn step_assigned(
        &mut self,
        entry: &LogEntry,
        assigned: Option<&Assigned>,
        earlier: impl FnOnce(&Key) -> bool,
    ) -> Result<StepReport, ReplayError> {
        if entry.nonce != self.next_nonce() {
            let (expected, actual) = (self.chain.next_nonce(), entry.nonce.0);
            return Err(ChainError::WrongNonce { expected, actual }.into());
        }
        if let Some(tick) = self.next_tick(entry)? {
            return self.step_tick(entry.nonce, tick);
        }
        let report = self.step_entry(entry, assigned, earlier)?;
        self.gap = None;
        self.last_assignment = report.receipt.assignment_id;
        self.pass(entry)?;
        Ok(report)
    }

    /// Applies the next entry.
    fn step_entry(
        &mut self,
        entry: &LogEntry,
        assigned: Option<&Assigned>,
        earlier: impl FnOnce(&Key) -> bool,
    ) -> Result<StepReport, ReplayError> {
        let Self { setup, machine, seen, json, .. } = self;
        let elsewhere = assigned.map(|assigned| Elsewhere::new(entry, assigned)).transpose()?;
        let item = elsewhere.as_ref().map(Elsewhere::item);
        let (message_id, key, assignment_id, step) = with_message(setup, entry, item, |message| {
            if entry.nonce == Nonce(0) {
                show_process_of_old(setup, machine, entry, message)?;
            }
            json.clear();
            message.write(json);
            let key = message.key();
            let step = if seen.is_duplicate(message, key, earlier) {
                None
            } else {
                Some(machine.step(text(json)).map_err(|source| ReplayError::Machine { nonce: entry.nonce, source })?)
            };
            let assignment = parse(entry.nonce, &entry.assignment)?;
            Ok((MessageId::from(message.item().id), key, assignment.id().0, step))
        })?;
        let end = step.map_or_else(|| (Evaluated::duplicate(), Outcome::SkippedDuplicate, 0), ended);
        let due = self.setup.policy.root_due(entry.nonce.0);
        let state_root = if due { Some(self.commit()?.0.state_root) } else { None };
        let report = self.report((entry.nonce, 0, assignment_id), message_id, None, end, state_root)?;
        Ok(StepReport { key, ..report })
    }

    /// Adds a step to the chain. Its place is nonce, tick and assignment; its end result, outcome and gas.
    pub(crate) fn report(
        &mut self,
        (nonce, tick, assignment_id): (Nonce, u32, Hash),
        message: MessageId,
        ticked: Option<Ticked>,
        (evaluated, outcome, gas): (Evaluated, Outcome, u64),
        state_root: Option<Hash>,
    ) -> Result<StepReport, ReplayError> {
        let receipt = self.chain.push(ao_commit::Step {
            nonce: nonce.0,
            tick,
            assignment_id,
            input_hash: input_hash(&self.json, self.setup.env_json.as_bytes()),
            outcome,
            result_hash: result_hash(&evaluated.result_json),
            gas,
            state_root,
        })?;
        let (receipt_hash, result_json) = (self.chain.head(), evaluated.result_json);
        Ok(StepReport { nonce, tick: ticked, message, key: None, receipt, receipt_hash, result_json })
    }

    /// Commits to the state as it is now, whether or not a receipt is due, and gives what it takes to resume.
    ///
    /// # Errors
    /// The host's trouble.
    pub fn commit(&mut self) -> Result<(Commitment, Registers), ReplayError> {
        let mut changed = Vec::new();
        let nonce = Nonce(self.chain.next_nonce());
        let registers = self
            .machine
            .commit(|index| changed.push(index))
            .map_err(|source| ReplayError::Machine { nonce, source })?;
        self.tree.resize(registers.memory_bytes)?;
        self.tree.update(self.machine.memory(), changed.iter().copied())?;
        self.groups_changed += changed.len() as u64;
        let globals: Vec<Global> = registers.globals.iter().map(|(index, value)| global(*index, *value)).collect();
        let tables: Vec<&[Option<u32>]> = registers.tables.iter().map(Vec::as_slice).collect();
        let memory_root = self.tree.root();
        let state_root = StateParts {
            module_id: self.setup.module_id,
            module_hash: *self.setup.module.hash(),
            profile: Profile::default().id().0,
            memory_len: registers.memory_bytes,
            memory_root,
            globals: &globals,
            tables: tables_hash(&tables),
            host_state: host_state_hash(&registers.host),
        }
        .root()
        .0;
        Ok((Commitment { memory_root, state_root, memory_bytes: registers.memory_bytes }, registers))
    }

    /// The groups of memory that are not all zero, as they were at the last commit.
    pub(crate) fn committed_groups(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.machine.committed_groups()
    }

    /// The process as it is now, for one message that changes nothing here; several may run at once, on any thread.
    ///
    /// # Errors
    /// The host's trouble.
    pub fn fork(&mut self) -> Result<Fork, ReplayError> {
        Ok(self.machine.fork(&self.setup.module, &self.setup.limits)?)
    }

    /// The nonce of the next entry.
    pub fn next_nonce(&self) -> Nonce {
        Nonce(self.chain.next_nonce())
    }

    /// Forgets which messages were evaluated: from now on whoever makes steps must know them.
    pub fn forget_evaluated(&mut self) {
        self.seen.clear();
    }

    /// About how much memory this takes.
    ///
    /// # Units
    /// Bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.machine.resident_bytes()
    }

    /// The whole linear memory.
    pub fn memory(&mut self) -> &[u8] {
        self.machine.memory()
    }

    /// Bytes of memory hashed so far: the groups found changed at each commit.
    pub fn bytes_changed(&self) -> u64 {
        self.groups_changed * ao_kernel::GROUP_BYTES as u64
    }

    /// What runs the module.
    pub fn engine(&self) -> Engine {
        self.setup.module.engine()
    }

    pub(crate) fn shows_gas(&self) -> bool {
        self.setup.shows_gas()
    }

    /// How written memory is found.
    pub fn tracker_name(&self) -> &'static str {
        self.machine.tracker_name()
    }
}

pub(crate) fn text(json: &[u8]) -> &str {
    std::str::from_utf8(json).expect("JSON is written as UTF-8")
}

fn parse(nonce: Nonce, bytes: &[u8]) -> Result<DataItem<'_>, ReplayError> {
    DataItem::parse(bytes).map_err(|source| ao_log::LogFault::AssignmentItem { nonce, source }.into())
}

/// Builds the message of an entry and hands it to `f`.
fn with_message<T>(
    setup: &Setup,
    entry: &LogEntry,
    elsewhere: Option<Item<'_>>,
    f: impl FnOnce(&Message<'_>) -> Result<T, ReplayError>,
) -> Result<T, ReplayError> {
    let nonce = entry.nonce;
    let process = Shown::new(setup.process());
    let assignment = assignment(entry)?;
    if let Some(id) = entry.elsewhere(process.item().id.into())
        && elsewhere.is_none_or(|item| item.id != id.id())
    {
        return Err(ReplayError::Absent { nonce, id });
    }
    let in_log = entry.message.as_deref().map(|bytes| parse(nonce, bytes)).transpose()?.map(Shown::new);
    let message = Message::of_entry(process.item(), (&assignment).into(), in_log.as_ref().map(Shown::item), elsewhere);
    f(&message)
}

/// The assignment of an entry, as the log's verifier reads it too: under a scheduler's names or HyperBEAM's.
pub(crate) fn assignment(entry: &LogEntry) -> Result<ao_log::Assignment, ReplayError> {
    let nonce = entry.nonce;
    let item = parse(nonce, &entry.assignment)?;
    Ok(ao_log::Assignment::from_item(&item).map_err(|source| ao_log::LogFault::Assignment { nonce, source })?)
}

/// Before the first message of a log that does not hold its process, the module is shown the process.
///
/// When the scheduler took the process stands in no signed item; the first assignment is the nearest that does.
fn show_process_of_old(
    setup: &Setup,
    machine: &mut Machine,
    entry: &LogEntry,
    first: &Message<'_>,
) -> Result<(), ReplayError> {
    let tags = match first {
        Message::Assigned(..) => None,
        _ => Some(first.item().tags),
    };
    if !needs_process_of_old(tags) {
        return Ok(());
    }
    let assignment = assignment(entry)?;
    let process = Shown::new(setup.process());
    let mut json = Vec::new();
    Message::ProcessOfOld {
        item: process.item(),
        timestamp_ms: assignment.timestamp.0,
        block_height: assignment.block_height.0,
    }
    .write(&mut json);
    machine.step(text(&json)).map_err(|source| ReplayError::Machine { nonce: entry.nonce, source })?;
    Ok(())
}

fn global(index: u32, value: Val) -> Global {
    let kind = match value {
        Val::I32(_) => GlobalKind::I32,
        Val::I64(_) => GlobalKind::I64,
        Val::F32(_) => GlobalKind::F32,
        Val::F64(_) => GlobalKind::F64,
    };
    Global { index, kind, bits: u128::from(value.as_u64()) }
}

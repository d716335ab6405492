//! A process at work: a guest, the state it has, and the way back when a step fails.
//!
//! Not here: hashing (`ao-commit`), what a message looks like (`message`), what its result is worth (`result`).
//! Invariant: after a step that keeps the previous memory, everything a later step can see is as before that step:
//! memory, its size, globals, tables, host state.

use std::collections::BTreeSet;

use crate::breaker::BrokenOff;
use crate::engine::{Instance, Tables};
use crate::error::{MachineError, StartError};
use crate::fork::{Fork, Idle};
use crate::guest::{Guest, Interrupt, Val};
use crate::host::{self, HostState};
use crate::memory::{DirtyTracker, GROUP_BYTES, Image, MemcmpTracker, MemoryError, best_tracker, groups_in};
use crate::module::Module;
use crate::result::{self, Evaluated, GuestFailure};
use crate::rewrite::EXPORT_START;

/// Steps between two images while nothing fails: what a rollback may have to repeat.
const IMAGE_EVERY: usize = 32;

/// Bytes of messages kept for repeating; past it an image is taken early.
const PENDING_BYTES_MAX: usize = 8 << 20;

/// Steps that are not tried on quiet twins after one that had to unwind.
const LOUD_STEPS: u32 = 64;

/// What one process may use, beyond what its profile allows every process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Bytes of linear memory (`Memory-Limit`).
    pub memory_bytes_max: u64,
    /// Gas per step (`Compute-Limit`), by our count and in the metering formats by the reference's as well.
    pub compute_max: u64,
}

/// How written memory is found. The choice is invisible in every result and root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tracker {
    /// The fastest this host offers.
    #[default]
    Best,
    /// The kernel's page tables (Linux 6.7 or later); an error where they do not serve.
    PageTables,
    /// Comparing all there is: works everywhere, at memory bandwidth.
    Compare,
}

impl Tracker {
    fn make(self) -> Result<Box<dyn DirtyTracker>, StartError> {
        let (tracker, unavailable) = best_tracker();
        match (self, unavailable) {
            (Self::Best, _) | (Self::PageTables, None) => Ok(tracker),
            (Self::PageTables, Some(why)) => Err(StartError::Tracker(why)),
            (Self::Compare, _) => Ok(Box::new(MemcmpTracker::new())),
        }
    }
}

/// The parts of a state that are not linear memory, as they were at a commit.
#[derive(Clone, Debug, PartialEq)]
pub struct Registers {
    /// Mutable globals by index.
    pub globals: Vec<(u32, Val)>,
    /// Function indexes in each table, where the module can change a table; else empty.
    pub tables: Vec<Vec<Option<u32>>>,
    /// Clock, files and all else the host keeps for the guest, in canonical bytes.
    pub host: Vec<u8>,
    /// Bytes of linear memory.
    pub memory_bytes: u64,
}

/// How one step went.
#[derive(Clone, Debug)]
pub struct Step {
    /// The result as it is served, and whether the new memory stands.
    pub evaluated: Evaluated,
    /// What kept the guest from answering, if anything did.
    pub interrupt: Option<Interrupt>,
    /// Gas used; what is beyond the limit if it ran out.
    pub gas: u64,
    /// Gas by the reference's count, in the metering formats; else 0.
    pub gas_used: u64,
}

/// A process: an instance of its module with all its state.
pub struct Machine {
    instance: Box<dyn Instance>,
    env_json: String,
    image: Image,
    tracker: Box<dyn DirtyTracker>,
    /// Globals, tables and host state at the image.
    globals: Vec<(u32, Val)>,
    tables: Tables,
    host: HostState,
    /// Messages that changed the state since the image, in order; replayed after a rollback.
    pending: Vec<String>,
    /// Steps between images: `IMAGE_EVERY`, less for a while after a rollback.
    image_every: usize,
    /// Groups that changed since the last `commit`.
    touched: BTreeSet<u32>,
    forks: Idle,
    /// Steps still to take on code that can unwind.
    loud_steps: u32,
}

impl Machine {
    /// Instantiates `module`, lets it start up, and takes the first image.
    ///
    /// `env_json` is the second argument of every `handle` call of this process.
    ///
    /// # Errors
    /// The host's trouble, or a module that traps before its first message.
    pub fn start(
        module: &Module,
        env_json: String,
        limits: &ProcessLimits,
        tracker: Tracker,
    ) -> Result<Self, StartError> {
        let mut instance = module.instantiate(limits)?;
        instance
            .evaluate(|guest| {
                host::bounded(guest, |guest| {
                    start(guest)?;
                    host::boot(guest)
                })
            })?
            .map_err(|interrupt| StartError::Boot(format!("{interrupt:?}")))?;
        let mut machine = Self::assemble(instance, env_json, tracker)?;
        // The first message loads libraries, which is where modules ask for WeaveDrive.
        machine.loud_steps = 1;
        Ok(machine)
    }

    fn assemble(mut instance: Box<dyn Instance>, env_json: String, tracker: Tracker) -> Result<Self, StartError> {
        let tracker = tracker.make()?;
        let image = Image::new(instance.mapping().bytes_max())?;
        let (globals, tables, host) = (instance.globals(), instance.tables(), instance.host().clone());
        let mut machine = Self {
            instance,
            env_json,
            image,
            tracker,
            globals,
            tables,
            host,
            pending: Vec::new(),
            image_every: IMAGE_EVERY,
            touched: BTreeSet::new(),
            forks: Idle::default(),
            loud_steps: 0,
        };
        machine.take_image()?;
        Ok(machine)
    }

    /// Brings back the state that `registers` and `groups` describe, into a fresh instance.
    ///
    /// `groups` yields the non-zero groups in ascending order.
    ///
    /// # Errors
    /// The host's trouble, or a checkpoint that does not fit the module.
    pub fn resume<'a>(
        module: &Module,
        env_json: String,
        limits: &ProcessLimits,
        tracker: Tracker,
        registers: &Registers,
        groups: impl Iterator<Item = (u32, &'a [u8])>,
    ) -> Result<Self, StartError> {
        let mut instance = module.instantiate(limits)?;
        let present: Vec<u32> = instance.globals().iter().map(|(index, _)| *index).collect();
        if present != registers.globals.iter().map(|(index, _)| *index).collect::<Vec<_>>() {
            return Err(StartError::Checkpoint("its globals are other ones"));
        }
        instance.set_globals(&registers.globals);
        if !instance.set_table_functions(&registers.tables) {
            return Err(StartError::Checkpoint("its tables are other ones"));
        }
        *instance.host() =
            HostState::decode(&registers.host).map_err(|_| StartError::Checkpoint("its host state is malformed"))?;
        instance.set_bytes(registers.memory_bytes)?;
        let mapping = instance.mapping_mut();
        mapping.zero_groups(0..groups_in(registers.memory_bytes))?;
        let memory = mapping.as_mut_slice();
        for (index, bytes) in groups {
            let start = index as usize * GROUP_BYTES;
            let place = memory.get_mut(start..start + bytes.len());
            place.ok_or(StartError::Checkpoint("a group lies outside its memory"))?.copy_from_slice(bytes);
        }
        Self::assemble(instance, env_json, tracker)
    }

    /// Applies one message: the JSON that `message` builds.
    ///
    /// # Errors
    /// The host's trouble only; what goes wrong in the guest is in the answer. After [`MachineError::BrokenOff`] the process
    /// must be brought back from what was saved of it: this machine gives that error for ever.
    pub fn step(&mut self, message_json: &str) -> Result<Step, MachineError> {
        self.step_within(message_json, u64::MAX)
    }

    /// Applies one message that may use no more than `gas_max`, nor more than the process' limit.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn step_within(&mut self, message_json: &str, gas_max: u64) -> Result<Step, MachineError> {
        if self.pending.len() >= self.image_every || self.pending_bytes() >= PENDING_BYTES_MAX {
            self.take_image()?;
            self.image_every = (self.image_every * 2).min(IMAGE_EVERY);
        }
        self.instance.set_quiet(self.loud_steps == 0);
        self.loud_steps = self.loud_steps.saturating_sub(1);
        let mut step = self.evaluate_within(message_json, gas_max)?;
        if step.interrupt == Some(Interrupt::MustUnwind) {
            self.roll_back()?;
            self.loud_steps = LOUD_STEPS;
            step = self.evaluate_within(message_json, gas_max)?;
        }
        if let Some(error) = self.instance.take_failure() {
            return Err(error.into());
        }
        if step.evaluated.keeps_previous_memory() {
            self.roll_back()?;
        } else {
            self.pending.push(message_json.to_owned());
        }
        Ok(step)
    }

    /// Commits the state: names every group whose content changed since the last commit, in ascending order, and
    /// returns the rest of the state.
    ///
    /// # Errors
    /// The host's trouble.
    pub fn commit(&mut self, mut changed: impl FnMut(u32)) -> Result<Registers, MachineError> {
        self.instance.breaker().check()?;
        self.take_image()?;
        let memory_bytes = self.memory().len() as u64;
        for index in std::mem::take(&mut self.touched) {
            if u64::from(index) * (GROUP_BYTES as u64) < memory_bytes {
                changed(index);
            }
        }
        Ok(Registers { host: self.host.encode(), ..self.plain_registers() })
    }

    /// The process as it is now, for one step that changes nothing here. Several may run at once, on any thread.
    ///
    /// `module` and `limits` are those of `start`. Costs an image if there were steps since the last; memory is not
    /// copied but for the first fork of a process, and where a commit finds one still running.
    ///
    /// # Errors
    /// The host's trouble.
    pub fn fork(&mut self, module: &Module, limits: &ProcessLimits) -> Result<Fork, StartError> {
        self.instance.breaker().check()?;
        if !self.pending.is_empty() {
            self.take_image()?;
        }
        let (lease, registers) = (self.image.lease()?, self.plain_registers());
        Fork::new(module, self.env_json.clone(), limits, lease, registers, self.host.clone(), &self.forks)
    }

    /// All registers at the image but for the host's.
    fn plain_registers(&self) -> Registers {
        Registers {
            globals: self.globals.clone(),
            tables: self.instance.table_functions(&self.tables),
            host: Vec::new(),
            memory_bytes: self.image.len(),
        }
    }

    /// About how much memory this process takes: what its guest wrote, once in use and once in the image, and what
    /// forks keep for the next.
    ///
    /// # Units
    /// Bytes.
    pub fn resident_bytes(&self) -> u64 {
        2 * self.image.held_bytes() + self.forks.own_bytes()
    }

    /// The groups of memory that are not all zero, as they were at the last commit, in ascending order.
    pub fn committed_groups(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.image.groups()
    }

    /// The whole linear memory as it is now.
    pub fn memory(&mut self) -> &[u8] {
        self.instance.mapping().as_slice()
    }

    /// Which tracker finds the written groups.
    pub fn tracker_name(&self) -> &'static str {
        self.tracker.name()
    }

    fn pending_bytes(&self) -> usize {
        self.pending.iter().map(String::len).sum()
    }

    fn evaluate_within(&mut self, message_json: &str, gas_max: u64) -> Result<Step, BrokenOff> {
        self.instance.host().allow(Some(gas_max));
        let step = self.evaluate(message_json);
        self.instance.host().allow(None);
        step
    }

    fn evaluate(&mut self, message_json: &str) -> Result<Step, BrokenOff> {
        evaluate(&mut *self.instance, &self.env_json, message_json)
    }

    fn take_image(&mut self) -> Result<(), MemoryError> {
        let touched = &mut self.touched;
        let mapping = self.instance.mapping();
        self.image.commit(mapping, self.tracker.as_mut(), &mut |index, _| {
            touched.insert(index);
        })?;
        self.globals = self.instance.globals();
        self.tables = self.instance.tables();
        self.host = self.instance.host().clone();
        self.pending.clear();
        Ok(())
    }

    /// Back to the image, then forward again through what followed it, and an image there: the next failure is cheap.
    fn roll_back(&mut self) -> Result<(), MachineError> {
        self.instance.set_quiet(false);
        self.instance.restore(&mut self.image, self.tracker.as_mut())?;
        self.instance.set_globals(&self.globals);
        self.instance.set_tables(&self.tables);
        *self.instance.host() = self.host.clone();
        for message_json in std::mem::take(&mut self.pending) {
            // What ended within some gas ends so within the whole limit.
            if self.evaluate(&message_json)?.evaluated.keeps_previous_memory() {
                return Err(MachineError::RollbackDiverged);
            }
        }
        self.take_image()?;
        self.image_every = 1;
        Ok(())
    }
}

/// Gives one message to an instance, whatever becomes of its memory afterwards.
pub(crate) fn evaluate(
    instance: &mut (dyn Instance + 'static),
    env_json: &str,
    message_json: &str,
) -> Result<Step, BrokenOff> {
    let (answer, left) = instance.evaluate(|guest| {
        let answer = host::bounded(guest, |guest| host::handle(guest, message_json, env_json));
        (answer, guest.gas_left())
    })?;
    let gas = instance.host().compute_max().saturating_add_signed(-left);
    let gas_used = instance.host().gas_used() as u64;
    let (evaluated, interrupt) = match answer {
        Ok(answer) => (result::merge(Ok(&answer), gas_used), None),
        Err(interrupt) => {
            let failure = match &interrupt {
                Interrupt::Exit(status) => GuestFailure::Exit(*status),
                Interrupt::LongJmp => GuestFailure::LongJmp,
                _ => GuestFailure::Error,
            };
            (result::merge(Err(failure), gas_used), Some(interrupt))
        }
    };
    Ok(Step { evaluated, interrupt, gas, gas_used })
}

/// Runs the module's start function, if it has one, under the same guards as everything else.
fn start(guest: &mut dyn Guest) -> Result<(), Interrupt> {
    if guest.has_export(EXPORT_START) { guest.call(EXPORT_START, &[]).map(|_| ()) } else { Ok(()) }
}

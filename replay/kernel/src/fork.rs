//! A step that leaves nothing behind: what a process would answer, on a copy-on-write view of its last image.
//!
//! Not here: what a dry-run's message looks like (`cu/`), the process itself (`machine`).
//! Invariant: nothing that runs on a fork reaches the process it was taken from, and nothing the process does meanwhile
//! reaches the fork.

use std::sync::{Arc, Mutex};

use crate::engine::Instance;
use crate::error::StartError;
use crate::guest::Interrupt;
use crate::host::HostState;
use crate::machine::{ProcessLimits, Registers, Step, evaluate};
use crate::memory::{Lease, Seen};
use crate::module::Module;

/// Instances kept for the next fork of the same process; each takes address space, some 100 KiB, and the pages that
/// dry-runs write.
const IDLE_MAX: usize = 4;

/// Instances of one process that no fork uses.
#[derive(Clone, Default)]
pub(crate) struct Idle(Arc<Mutex<Vec<Kept>>>);

/// An instance, which image its memory shows, and how many bytes of that are its own.
struct Kept {
    instance: Box<dyn Instance>,
    shows: Seen,
    own_bytes: u64,
}

/// A process as it was, for one step.
pub struct Fork {
    instance: Box<dyn Instance>,
    env_json: String,
    lease: Lease,
    registers: Registers,
    host: HostState,
    idle: Idle,
}

impl Fork {
    /// Shows the leased memory and the rest of the state in an instance of its own.
    pub(crate) fn new(
        module: &Module,
        env_json: String,
        limits: &ProcessLimits,
        lease: Lease,
        registers: Registers,
        host: HostState,
        idle: &Idle,
    ) -> Result<Self, StartError> {
        // A memory that a step made longer than the process' own does not become shorter on every engine.
        let kept = idle.lock().pop().filter(|kept| kept.instance.mapping().len() <= registers.memory_bytes);
        let (instance, shows) = match kept {
            Some(kept) => (kept.instance, Some(kept.shows)),
            None => (module.instantiate(limits)?, None),
        };
        let mut fork = Self { instance, env_json, lease, registers, host, idle: idle.clone() };
        fork.take_up(shows.as_ref())?;
        Ok(fork)
    }

    /// Makes the instance what the process was, whatever ran on it; its memory shows `shows`.
    fn take_up(&mut self, shows: Option<&Seen>) -> Result<(), StartError> {
        self.instance.set_bytes(self.registers.memory_bytes)?;
        let (wanted, memory) = (self.lease.content(), self.instance.mapping_mut());
        match shows {
            Some(shows) if shows.is(&wanted) => {}
            Some(shows) if shows.is_of_file_of(&wanted) => {
                memory.take_back(self.lease.file())?;
            }
            _ => memory.project(self.lease.file())?,
        }
        self.instance.set_globals(&self.registers.globals);
        if !self.instance.set_table_functions(&self.registers.tables) {
            return Err(StartError::Checkpoint("its tables are other ones"));
        }
        *self.instance.host() = self.host.clone();
        Ok(())
    }

    /// Gives the message's JSON to the process and forgets what it did.
    ///
    /// # Errors
    /// The host's trouble only; what goes wrong in the guest is in the answer.
    pub fn step(mut self, message_json: &str) -> Result<Step, StartError> {
        self.instance.set_quiet(true);
        let mut step = evaluate(&mut *self.instance, &self.env_json, message_json)?;
        if step.interrupt == Some(Interrupt::MustUnwind) {
            self.instance.mapping_mut().take_back(self.lease.file())?;
            self.take_up(Some(&self.lease.content()))?;
            self.instance.set_quiet(false);
            step = evaluate(&mut *self.instance, &self.env_json, message_json)?;
        }
        if let Some(error) = self.instance.take_failure() {
            return Err(error.into());
        }
        let own_bytes = self.instance.mapping_mut().take_back(self.lease.file())?;
        let Self { instance, lease, idle, .. } = self;
        let kept = Kept { instance, shows: lease.content(), own_bytes };
        drop(lease);
        let mut idle = idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(kept);
        }
        Ok(step)
    }
}

impl Idle {
    /// Bytes that the instances keep.
    pub(crate) fn own_bytes(&self) -> u64 {
        self.lock().iter().map(|kept| kept.own_bytes).sum()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        self.0.lock().expect("nothing panics while this is locked")
    }
}

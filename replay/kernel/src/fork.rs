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
use crate::memory::Lease;
use crate::module::Module;

/// Instances kept for the next fork of the same process; each takes address space and some 100 KiB.
const IDLE_MAX: usize = 4;

/// Instances of one process that no fork uses.
#[derive(Clone, Default)]
pub(crate) struct Idle(Arc<Mutex<Vec<Box<dyn Instance>>>>);

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
        let kept = idle.lock().pop().filter(|kept| kept.mapping().len() <= registers.memory_bytes);
        let instance = match kept {
            Some(instance) => instance,
            None => module.instantiate(limits)?,
        };
        let mut fork = Self { instance, env_json, lease, registers, host, idle: idle.clone() };
        fork.take_up()?;
        Ok(fork)
    }

    /// Makes the instance what the process was, whatever ran on it.
    fn take_up(&mut self) -> Result<(), StartError> {
        self.instance.set_bytes(self.registers.memory_bytes)?;
        self.instance.mapping_mut().project(self.lease.file())?;
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
        let mut step = evaluate(&mut *self.instance, &self.env_json, message_json);
        if step.interrupt == Some(Interrupt::MustUnwind) {
            self.take_up()?;
            self.instance.set_quiet(false);
            step = evaluate(&mut *self.instance, &self.env_json, message_json);
        }
        if let Some(error) = self.instance.take_failure() {
            return Err(error.into());
        }
        self.instance.mapping_mut().forget()?;
        let Self { instance, lease, idle, .. } = self;
        drop(lease);
        let mut idle = idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(instance);
        }
        Ok(step)
    }
}

impl Idle {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Box<dyn Instance>>> {
        self.0.lock().expect("nothing panics while this is locked")
    }
}

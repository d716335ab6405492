//! Errors of the kernel: the host's trouble only. A guest that fails is an outcome.

use std::sync::Arc;

use crate::admission::AdmissionError;
use crate::breaker::BrokenOff;
use crate::memory::{MemoryError, Unavailable};
use crate::rewrite::RewriteError;

/// What an engine said, in its own words.
pub type EngineError = Arc<dyn std::error::Error + Send + Sync>;

/// Why a module cannot be loaded.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The module was refused; the message names section and item.
    #[error("module refused: {0}")]
    Admission(#[from] Arc<AdmissionError>),
    /// An admitted module could not be rewritten.
    #[error("module could not be rewritten: {0}")]
    Rewrite(#[from] Arc<RewriteError>),
    /// The engine refused the rewritten module.
    #[error("module could not be compiled")]
    Compile(#[source] EngineError),
    /// The compiled module could not be written out.
    #[error("compiled module could not be serialised")]
    Serialize(#[source] EngineError),
}

impl From<AdmissionError> for LoadError {
    fn from(error: AdmissionError) -> Self {
        Self::Admission(Arc::new(error))
    }
}

impl From<RewriteError> for LoadError {
    fn from(error: RewriteError) -> Self {
        Self::Rewrite(Arc::new(error))
    }
}

/// Why a step could not be made or undone: never the guest's doing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// The host could not map or protect memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The instance that a rollback needs could not be made.
    #[error("no instance to roll back to")]
    Instantiate(#[from] StartError),
    /// It took too long for the host.
    #[error(transparent)]
    BrokenOff(#[from] BrokenOff),
    /// A step that succeeded before failed when it was repeated after a rollback: the machine is not deterministic.
    #[error("a step failed when it was repeated after a rollback")]
    RollbackDiverged,
}

/// Why a process cannot be started or brought back from a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An import that admission let through has no host call.
    #[error("import {module}.{name} has no host call")]
    Import {
        /// Module part of the import.
        module: String,
        /// Field part of the import.
        name: String,
    },
    /// The engine could not make an instance.
    #[error("the engine could not make an instance")]
    Instantiate(#[source] EngineError),
    /// The module has no memory of its own.
    #[error("the module defines no memory")]
    NoMemory,
    /// The module was not instrumented.
    #[error("the module lacks the counters of call depth and gas")]
    NotInstrumented,
    /// The initial memory is larger than the process' limit.
    #[error("the module starts with {initial_bytes} bytes of memory, the limit is {limit_bytes}")]
    MemoryLimit {
        /// Bytes the module declares.
        initial_bytes: u64,
        /// Bytes the process may use.
        limit_bytes: u64,
    },
    /// The guest did not survive its own start-up.
    #[error("the module failed to start: {0}")]
    Boot(String),
    /// It took too long for the host.
    #[error(transparent)]
    BrokenOff(#[from] BrokenOff),
    /// A checkpoint does not fit the module.
    #[error("the checkpoint does not fit the module: {0}")]
    Checkpoint(&'static str),
    /// The host could not map or protect memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The tracker asked for does not work on this host.
    #[error("page tables do not show what is written on this host: {0}")]
    Tracker(Unavailable),
}

//! Why a process cannot be evaluated: never the guest's doing.

use std::sync::Arc;

use ao_log::Nonce;
use ao_replay::ReplayError;
use ao_store::StoreError;
use ao_wire::{ModuleId, ProcessId};

/// Why an evaluation was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The store holds no such process.
    #[error("process {process} is not stored")]
    NoProcess {
        /// The process.
        process: ProcessId,
    },
    /// The store does not hold the module.
    #[error("process {process}: its module {module} is not stored")]
    NoModule {
        /// The process.
        process: ProcessId,
        /// Its module.
        module: ModuleId,
    },
    /// The module or the process cannot be prepared, or a step could not be made.
    #[error("process {process}")]
    Replay {
        /// The process.
        process: ProcessId,
        /// Why.
        #[source]
        source: Arc<ReplayError>,
    },
    /// Its steps may use more gas than this unit gives any. With less they would not be the same.
    #[error("process {process}: its Compute-Limit is {gas}, this unit gives at most {most}")]
    TooMuchGas {
        /// The process.
        process: ProcessId,
        /// What a step of it may use.
        gas: u64,
        /// What the unit gives.
        most: u64,
    },
    /// The stored log ends before the nonce that was asked for.
    #[error("process {process}: nonce {nonce} is not in the stored log")]
    NoEntry {
        /// The process.
        process: ProcessId,
        /// The nonce.
        nonce: Nonce,
    },
    /// Evaluating a stored log again gave another receipt than the one stored.
    #[error("process {process}: nonce {nonce} evaluated again gives another receipt than the stored one")]
    Diverged {
        /// The process.
        process: ProcessId,
        /// The step.
        nonce: Nonce,
    },
    /// The store is in trouble.
    #[error("process {process}")]
    Store {
        /// The process.
        process: ProcessId,
        /// What happened.
        #[source]
        source: StoreError,
    },
    /// More dry-runs wait than may.
    #[error("more than {most} dry-runs are waiting")]
    DryRunsFull {
        /// How many may.
        most: usize,
    },
    /// The workers could not be started.
    #[error("the workers cannot be started")]
    Workers(#[source] rayon::ThreadPoolBuildError),
    /// The watchdog could not be started.
    #[error("the watchdog cannot be started")]
    Watchdog(#[source] std::io::Error),
    /// The evaluation broke off: the unit is stopping, or has a fault of its own.
    #[error("process {process}: the evaluation broke off")]
    BrokeOff {
        /// The process.
        process: ProcessId,
    },
}

impl ExecError {
    /// Whether an evaluation took too long for this host.
    pub fn is_broken_off(&self) -> bool {
        matches!(self, Self::Replay { source, .. } if source.is_broken_off())
    }
}

/// Says of which process an error speaks.
pub(crate) trait Of<T> {
    fn of(self, process: ProcessId) -> Result<T, ExecError>;
}

impl<T> Of<T> for Result<T, StoreError> {
    fn of(self, process: ProcessId) -> Result<T, ExecError> {
        self.map_err(|source| ExecError::Store { process, source })
    }
}

impl<T> Of<T> for Result<T, ReplayError> {
    fn of(self, process: ProcessId) -> Result<T, ExecError> {
        self.map_err(|source| ExecError::Replay { process, source: Arc::new(source) })
    }
}

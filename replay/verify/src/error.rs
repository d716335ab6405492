//! Errors of a replay: input that is incomplete or corrupt, or the host's trouble. A diverging replay is a verdict.

use ao_commit::{ChainError, PolicyError, ReceiptError, TreeError};
use ao_kernel::cron::CronError;
use ao_kernel::limits::LimitError;
use ao_kernel::{LoadError, MachineError, StartError, UnknownFormat};
use ao_log::bundle::BundleWriteError;
use ao_log::{AssignedError, LogFault, Nonce};

use crate::lockstep::Disagreement;
use crate::receipt_log::ReceiptLogError;
use crate::source::SourceError;

/// Why a replay ended without a verdict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The log cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The log is not what it claims to be.
    #[error("the log is not valid")]
    Log(#[from] LogFault),
    /// The module has no `Module-Format` tag.
    #[error("the module has no Module-Format tag")]
    NoFormat,
    /// The process runs another module.
    #[error("the log brings module {found}, but the process runs {named}")]
    OtherModule {
        /// Id of the module in the log.
        found: ao_wire::ModuleId,
        /// The process' `Module` tag.
        named: ao_wire::ModuleId,
    },
    /// The signed item that carried the module does not hold it.
    #[error("the module's data item is not what its id says")]
    ModuleItem,
    /// The log has no such nonce.
    #[error("nonce {nonce} is not in the log")]
    NoSuchNonce {
        /// The nonce asked for.
        nonce: Nonce,
    },
    /// No receipt of such a cron tick is recorded.
    #[error("no receipt of tick {tick} after nonce {nonce} is in the log")]
    NoSuchTick {
        /// The nonce.
        nonce: Nonce,
        /// The tick asked for; 0 for the nonce's own step.
        tick: u32,
    },
    /// The module's format is unknown.
    #[error(transparent)]
    Format(#[from] UnknownFormat),
    /// The module cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A tag that sets a limit cannot be read.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The crons of the process cannot be.
    #[error("the crons of the process cannot be evaluated")]
    Cron(#[from] CronError),
    /// The process cannot be started or resumed.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Two engines came to different things.
    #[error(transparent)]
    Engines(#[from] Box<Disagreement>),
    /// The machine broke down.
    #[error("nonce {nonce}")]
    Machine {
        /// At which step.
        nonce: Nonce,
        /// How.
        #[source]
        source: MachineError,
    },
    /// An assignment whose transaction the log does not hold.
    #[error(
        "nonce {nonce}: transaction {id} is assigned, and the log does not hold it: \
         in a log folder it is assigned/{id}.ans104, or assigned/{id}.json with assigned/{id}.data"
    )]
    Absent {
        /// The entry.
        nonce: Nonce,
        /// The transaction.
        id: ao_wire::MessageId,
    },
    /// An assigned transaction whose data the guest is to see and the log does not hold.
    #[error("nonce {nonce}: the data of assigned transaction {id} is not there: assigned/{id}.data in a log folder")]
    AbsentData {
        /// The entry.
        nonce: Nonce,
        /// The transaction.
        id: ao_wire::MessageId,
    },
    /// What lies beside the log is not the transaction assigned.
    #[error("nonce {nonce}: the assigned transaction is not to be believed")]
    Assigned {
        /// The entry.
        nonce: Nonce,
        /// What is wrong.
        #[source]
        source: AssignedError,
    },
    /// A transaction is kept for an entry that assigns none from elsewhere.
    #[error("nonce {nonce}: a transaction lies beside an entry that needs none")]
    NotAssigned {
        /// The entry.
        nonce: Nonce,
    },
    /// A recorded receipt cannot be read.
    #[error("nonce {nonce}: the recorded receipt is malformed")]
    Receipt {
        /// The step.
        nonce: Nonce,
        /// Why.
        #[source]
        source: ReceiptError,
    },
    /// The recorded receipts are not of the cron ticks that are due before an entry.
    #[error("nonce {nonce}: more or fewer receipts are recorded than steps come before it and with it")]
    OtherTicks {
        /// The entry.
        nonce: Nonce,
    },
    /// A step has no recorded receipt where one is needed.
    #[error("nonce {nonce} has no recorded receipt")]
    NoReceipt {
        /// The step.
        nonce: Nonce,
    },
    /// The recorded receipts are no chain.
    #[error("the recorded receipts are no chain")]
    Unchained(#[source] ChainError),
    /// A file holds no receipt.
    #[error("{}: neither a receipt nor its hex digits", path.display())]
    ReceiptFile {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: ReceiptError,
    },
    /// A file holds no seed of a key.
    #[error("{}: not a seed of 32 bytes, nor 64 hex digits", path.display())]
    Seed {
        /// The file.
        path: std::path::PathBuf,
    },
    /// A result is not the one the receipt commits to.
    #[error("nonce {nonce}: the receipt commits to a result with hash {recorded}, this one has {computed}")]
    OtherResult {
        /// The step.
        nonce: Nonce,
        /// Result hash in the receipt.
        recorded: String,
        /// Hash of the result.
        computed: String,
    },
    /// A receipt log, or a proof from one, does not hold.
    #[error(transparent)]
    ReceiptLog(#[from] ReceiptLogError),
    /// A saved state is not what it claims to be.
    #[error("saved state at nonce {nonce}: {what}")]
    SavedState {
        /// The step it follows.
        nonce: Nonce,
        /// What is wrong.
        what: &'static str,
    },
    /// The run begins after the beginning and no saved state leads there.
    #[error("the log begins at nonce {first}, and no saved state of the nonce before is in it")]
    NoStart {
        /// Its first nonce.
        first: Nonce,
    },
    /// The bundle records another interval between state roots than can be.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The bundle was made under a profile this version does not know.
    #[error("the receipts were made under profile {found:?}, this version knows {known:?}")]
    Profile {
        /// Its name in the bundle.
        found: String,
        /// The one known.
        known: String,
    },
    /// The bundle cannot be written.
    #[error("the bundle cannot be written")]
    Write(#[from] BundleWriteError),
    /// A file cannot be made.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// An invariant between the steps of a session was broken.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The memory tree was given what it cannot hold.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl From<Disagreement> for ReplayError {
    fn from(disagreement: Disagreement) -> Self {
        Self::Engines(Box::new(disagreement))
    }
}

impl ReplayError {
    /// Whether something was shown to be otherwise than claimed, as against being unreadable.
    pub fn is_refutation(&self) -> bool {
        match self {
            Self::OtherResult { .. } | Self::Engines(_) => true,
            Self::ReceiptLog(error) => error.is_refutation(),
            _ => false,
        }
    }

    /// Whether an evaluation took too long for the host.
    pub fn is_broken_off(&self) -> bool {
        matches!(self, Self::Start(StartError::BrokenOff(_)) | Self::Machine { source: MachineError::BrokenOff(_), .. })
    }

    /// Whether the host is to blame and not the input.
    pub fn is_host(&self) -> bool {
        matches!(
            self,
            Self::Machine { .. }
                | Self::Write(_)
                | Self::Io { .. }
                | Self::Chain(_)
                | Self::Tree(_)
                | Self::Start(
                    StartError::Memory(_)
                        | StartError::Tracker(_)
                        | StartError::Instantiate(_)
                        | StartError::BrokenOff(_)
                )
                | Self::Load(LoadError::Compile(_) | LoadError::Serialize(_))
        ) || matches!(self, Self::ReceiptLog(error) if error.is_host())
    }
}

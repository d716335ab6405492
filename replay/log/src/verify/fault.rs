//! What can be wrong with a log, and what is merely odd about it.

use std::fmt;

use ao_wire::{AssignmentId, Id, MessageId, ProcessId, VerifyError, WireError};
use thiserror::Error;

use crate::{AssignmentError, Epoch, HashChain, Nonce, ProcessError, TimestampMs};

/// The first thing that is wrong with a log. Every variant but those of the process names the nonce.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LogFault {
    /// The process is not a data item.
    #[error("the process is not a data item")]
    ProcessItem(#[source] WireError),
    /// The process lacks what makes it one.
    #[error("the process item is not an ao process")]
    Process(#[source] ProcessError),
    /// The process is not signed by its owner.
    #[error("the signature of process {id} is invalid")]
    ProcessSignature {
        /// The process.
        id: ProcessId,
        /// What is wrong.
        #[source]
        source: VerifyError,
    },
    /// Another nonce was due: one is missing, repeated or out of order.
    #[error("nonce {found} where nonce {expected} was due")]
    Gap {
        /// Nonce due.
        expected: Nonce,
        /// Nonce of the entry.
        found: Nonce,
    },
    /// The assignment is not a data item.
    #[error("nonce {nonce}: the assignment is not a data item")]
    AssignmentItem {
        /// The place.
        nonce: Nonce,
        /// What is wrong.
        #[source]
        source: WireError,
    },
    /// The assignment's tags are not those of one.
    #[error("nonce {nonce}: not an assignment")]
    Assignment {
        /// The place.
        nonce: Nonce,
        /// What is wrong.
        #[source]
        source: AssignmentError,
    },
    /// The assignment is of another nonce.
    #[error("nonce {nonce}: the assignment says nonce {found}")]
    AssignmentNonce {
        /// The place.
        nonce: Nonce,
        /// What the assignment says.
        found: Nonce,
    },
    /// The assignment is of another epoch.
    #[error("nonce {nonce}: the assignment says epoch {found}, expected {expected}")]
    Epoch {
        /// The place.
        nonce: Nonce,
        /// Epoch of the log.
        expected: Epoch,
        /// What the assignment says.
        found: Epoch,
    },
    /// The assignment is of another process.
    #[error("nonce {nonce}: the assignment is of process {found}, expected {expected}")]
    AssignmentProcess {
        /// The place.
        nonce: Nonce,
        /// The process of the log.
        expected: ProcessId,
        /// What the assignment says.
        found: ProcessId,
    },
    /// The assignment is signed by someone the process did not name as its scheduler.
    #[error("nonce {nonce}: the assignment is signed by {found}, the process' scheduler is {expected}")]
    Scheduler {
        /// The place.
        nonce: Nonce,
        /// The process' `Scheduler`.
        expected: String,
        /// Address of the signer.
        found: String,
    },
    /// The assignment does not continue the chain.
    #[error("nonce {nonce}: Hash-Chain is {found}, expected {expected}")]
    HashChain {
        /// The place.
        nonce: Nonce,
        /// What follows from the assignments before.
        expected: HashChain,
        /// What the assignment says.
        found: HashChain,
    },
    /// The message is not a data item.
    #[error("nonce {nonce}: the message is not a data item")]
    MessageItem {
        /// The place.
        nonce: Nonce,
        /// What is wrong.
        #[source]
        source: WireError,
    },
    /// The assignment is of another message.
    #[error("nonce {nonce}: the assignment is of message {named}, the message is {found}")]
    MessageId {
        /// The place.
        nonce: Nonce,
        /// The assignment's `Message`.
        named: MessageId,
        /// Id of the message.
        found: MessageId,
    },
    /// Nothing says which message is assigned.
    #[error("nonce {nonce}: the assignment names no message")]
    Unnamed {
        /// The place.
        nonce: Nonce,
    },
    /// The message is for someone else.
    #[error("nonce {nonce}: the message is for {}, expected {expected}", target_text(*found))]
    MessageTarget {
        /// The place.
        nonce: Nonce,
        /// The process.
        expected: ProcessId,
        /// The message's target.
        found: Option<Id>,
    },
    /// The process as assigned has the id of the process but other bytes.
    #[error("nonce {nonce}: the process in the log differs from the process item of the same id")]
    ProcessDiffers {
        /// The place.
        nonce: Nonce,
    },
    /// The same assignment again.
    #[error("nonce {nonce}: assignment {id} is at nonce {first} already")]
    DuplicateAssignment {
        /// The place.
        nonce: Nonce,
        /// The assignment.
        id: AssignmentId,
        /// Where it was first.
        first: Nonce,
    },
    /// The same message again.
    #[error("nonce {nonce}: message {id} is at nonce {first} already")]
    DuplicateMessage {
        /// The place.
        nonce: Nonce,
        /// The message.
        id: MessageId,
        /// Where it was first.
        first: Nonce,
    },
    /// The assignment is not signed by its owner.
    #[error("nonce {nonce}: the signature of assignment {id} is invalid")]
    AssignmentSignature {
        /// The place.
        nonce: Nonce,
        /// The assignment.
        id: AssignmentId,
        /// What is wrong.
        #[source]
        source: VerifyError,
    },
    /// The message is not signed by its owner.
    #[error("nonce {nonce}: the signature of message {id} is invalid")]
    MessageSignature {
        /// The place.
        nonce: Nonce,
        /// The message.
        id: MessageId,
        /// What is wrong.
        #[source]
        source: VerifyError,
    },
}

fn target_text(target: Option<Id>) -> String {
    target.map_or_else(|| "nobody".to_owned(), |id| id.to_string())
}

/// Something odd that real schedulers do; the log is valid all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogNote {
    /// The scheduler's clock went back.
    TimestampBack {
        /// The place.
        nonce: Nonce,
        /// Timestamp before.
        previous: TimestampMs,
        /// Timestamp there.
        found: TimestampMs,
    },
    /// A HyperBEAM node continued its chain from text: it was restarted before this nonce.
    ChainRestarted {
        /// The place.
        nonce: Nonce,
    },
    /// The same message again, where [`Duplicates::Note`](super::Duplicates) allows it.
    DuplicateMessage {
        /// The place.
        nonce: Nonce,
        /// The message.
        id: MessageId,
        /// Where it was first.
        first: Nonce,
    },
}

impl fmt::Display for LogNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimestampBack { nonce, previous, found } => {
                write!(f, "nonce {nonce}: the scheduler's clock went back from {previous} to {found}")
            }
            Self::ChainRestarted { nonce } => write!(f, "nonce {nonce}: the scheduler was restarted before it"),
            Self::DuplicateMessage { nonce, id, first } => {
                write!(f, "nonce {nonce}: message {id} was assigned at nonce {first} already")
            }
        }
    }
}

//! Order that can be trusted: assignments, hash chains, log segments, and the replay-bundle container.
//!
//! *Not here:* parsing and verifying single items (`ao-wire`), what a message does to a process
//! (`ao-kernel`), where logs come from over a network.
//!
//! Invariant: what leaves this crate as a verified log is one process' assignments, nonce by nonce
//! without a gap, signed by its scheduler and chained; and what leaves it as a bundle or segment
//! record is byte for byte what was put in.

mod assigned;
mod assignment;
pub mod bundle;
mod chain;
mod entry;
mod folder;
mod numbers;
mod process;
pub mod segment;
mod tags;
#[cfg(test)]
mod testlog;
mod verify;

pub use assigned::{ASSIGNED_BYTES_MAX, Assigned, AssignedError};
pub use assignment::{Assignment, AssignmentError};
pub use chain::{ChainRule, HashChain, HyperBeamLink, hyperbeam, legacy_first, legacy_next};
pub use entry::{EntryError, LogEntry};
pub use folder::{Entries, FolderError, LogFolder, LogFolderWriter, Module};
pub use numbers::{BlockHeight, Epoch, Nonce, NumberError, Padding, TimestampMs, parse_decimal};
pub use process::{ProcessError, ProcessInfo};
pub use verify::{
    ChainPoint, Duplicates, LogFault, LogNote, LogSummary, LogVerifier, ProcessStyle, Signatures, VerifyOptions,
};

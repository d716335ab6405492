//! One place of a log: an assignment, and the message it assigns if the log holds it.

use ao_wire::{Bundle, DataItem, MessageId, ProcessId, WireError, bundle_bytes};
use thiserror::Error;

use crate::{Assignment, Nonce};

/// The items of one nonce, as bytes. Nothing about them is checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Where it claims to be: its place in a file or answer, not what the assignment says.
    pub nonce: Nonce,
    /// The assignment's data item.
    pub assignment: Vec<u8>,
    /// The message's data item. Absent for an assignment of an existing transaction, and possibly at
    /// nonce 0 when the process itself is assigned.
    pub message: Option<Vec<u8>>,
}

/// Why bytes are not the bundle of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Not a bundle of data items.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Neither one item nor two.
    #[error("a bundle of {found} items, expected [assignment] or [assignment, message]")]
    Items {
        /// Items in it.
        found: usize,
    },
}

impl LogEntry {
    /// Takes apart the ANS-104 bundle `[assignment]` or `[assignment, message]` that a scheduler stores.
    ///
    /// # Errors
    /// Bytes that are no such bundle.
    pub fn from_bundle(nonce: Nonce, bytes: &[u8]) -> Result<LogEntry, EntryError> {
        let bundle = Bundle::parse(bytes)?;
        if !(1..=2).contains(&bundle.len()) {
            return Err(EntryError::Items { found: bundle.len() });
        }
        let mut items = bundle.items();
        let mut next = || items.next().transpose().map(|item| item.map(|item| item.bytes().to_vec()));
        let assignment = next()?.ok_or(EntryError::Items { found: 0 })?;
        Ok(LogEntry { nonce, assignment, message: next()? })
    }

    /// The bundle of this entry.
    ///
    /// # Errors
    /// An item is none.
    pub fn to_bundle(&self) -> Result<Vec<u8>, WireError> {
        match &self.message {
            Some(message) => bundle_bytes(&[&self.assignment, message]),
            None => bundle_bytes(&[&self.assignment]),
        }
    }

    /// The transaction it assigns to `process` and does not hold; `None` too for what is no assignment.
    pub fn elsewhere(&self, process: ProcessId) -> Option<MessageId> {
        if self.message.is_some() {
            return None;
        }
        let item = DataItem::parse(&self.assignment).ok()?;
        Assignment::from_item(&item).ok()?.message.filter(|id| id.id() != process.id())
    }

    /// Size of its items.
    pub fn bytes(&self) -> usize {
        self.assignment.len() + self.message.as_ref().map_or(0, Vec::len)
    }
}

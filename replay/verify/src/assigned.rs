//! A transaction from beside the log, as a message shows it.
//!
//! Not here: whether it is the one assigned, and signed (`run`).
//! Invariant: a data item and a transaction with the same fields are shown alike.

use ao_kernel::message::{Item, Shown};
use ao_log::{Assigned, Assignment, LogEntry};
use ao_wire::{DataItem, MessageId, Tag, Transaction};

use crate::error::ReplayError;

/// An assigned transaction with its address and tags at hand.
pub(crate) enum Elsewhere<'a> {
    Item(Shown<'a>),
    Transaction { transaction: &'a Transaction, data: &'a [u8], owner: String, tags: Vec<Tag<'a>> },
}

impl<'a> Elsewhere<'a> {
    /// Works out address and tags of what `entry` assigns.
    ///
    /// # Errors
    /// Data that the guest is to see and that is not known.
    pub(crate) fn new(entry: &LogEntry, assigned: &'a Assigned) -> Result<Self, ReplayError> {
        let nonce = entry.nonce;
        Ok(match assigned {
            Assigned::Item(bytes) => {
                let item = DataItem::parse(bytes);
                let item = item.map_err(|source| ReplayError::Assigned { nonce, source: source.into() })?;
                Self::Item(Shown::new(item))
            }
            Assigned::Transaction { transaction, data } => {
                let excluded = || {
                    let assignment = Assignment::from_item(&DataItem::parse(&entry.assignment).ok()?).ok()?;
                    Some(assignment.exclude.iter().any(|part| part == "Data"))
                };
                let data = match data {
                    Some(data) => &data[..],
                    None if excluded() == Some(true) => &[],
                    None => return Err(ReplayError::AbsentData { nonce, id: MessageId::from(transaction.id()) }),
                };
                Self::Transaction {
                    transaction,
                    data,
                    owner: transaction.owner_address(),
                    tags: transaction.tags().collect(),
                }
            }
        })
    }

    /// The parts a message shows. A gateway gives a transaction's `last_tx` as its anchor.
    pub(crate) fn item(&self) -> Item<'_> {
        match self {
            Self::Item(shown) => shown.item(),
            Self::Transaction { transaction, data, owner, tags } => Item {
                id: transaction.id(),
                signature: &transaction.signature,
                owner,
                target: &transaction.target,
                anchor: &transaction.last_tx,
                tags,
                data,
            },
        }
    }
}

//! What a scheduler says when it puts a message into a process' log.
//!
//! *Not here:* signatures and the relation to other assignments ([`crate::LogVerifier`]).
//!
//! Invariant: an [`Assignment`] is a view of a data item; the item's bytes stay the truth.

use ao_wire::{AssignmentId, DataItem, Id, MessageId, ProcessId};
use thiserror::Error;

use crate::tags::{self, Single};
use crate::{BlockHeight, Epoch, HashChain, Nonce, NumberError, Padding, TimestampMs, parse_decimal};

/// An assignment, read from the tags of its data item.
///
/// # Source
/// `permaweb/ao` `servers/su/src/domain/core/builder.rs` at `ff178d51`; `permaweb/HyperBEAM`
/// `src/dev_scheduler_server.erl`, which writes the same in lower case and `slot` for `Nonce`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Id of the item.
    pub id: AssignmentId,
    /// Address of its signer.
    pub signer: String,
    /// The process whose log it extends.
    pub process: ProcessId,
    /// `Epoch`.
    pub epoch: Epoch,
    /// `Nonce`, or `slot`.
    pub nonce: Nonce,
    /// `Hash-Chain`.
    pub hash_chain: HashChain,
    /// `Block-Height`.
    pub block_height: BlockHeight,
    /// `Timestamp`.
    pub timestamp: TimestampMs,
    /// `Message`; absent when the process itself is assigned, and in newer HyperBEAM versions.
    pub message: Option<MessageId>,
    /// Every `Exclude`: parts of the message that the guest is not to see.
    pub exclude: Vec<String>,
}

/// Why an item is not an assignment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AssignmentError {
    /// A tag is missing.
    #[error("no {tag} tag")]
    Missing {
        /// Its name.
        tag: &'static str,
    },
    /// A tag that must occur once occurs again.
    #[error("more than one {tag} tag")]
    Repeated {
        /// Its name.
        tag: &'static str,
    },
    /// A tag is not a number.
    #[error("{tag} is {value:?}: {source}")]
    Number {
        /// Its name.
        tag: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        source: NumberError,
    },
    /// A tag is not 43 characters of base64url.
    #[error("{tag} is {value:?}, expected 43 characters of base64url")]
    NotAnId {
        /// Its name.
        tag: &'static str,
        /// Its value.
        value: String,
    },
    /// The item says it is something else.
    #[error("Type is {found:?}, expected \"Assignment\"")]
    Type {
        /// What it says.
        found: String,
    },
    /// `Nonce` and `slot` are both there and differ.
    #[error("Nonce is {nonce} but Slot is {slot}")]
    SlotDiffers {
        /// The one.
        nonce: Nonce,
        /// The other.
        slot: Nonce,
    },
}

impl Assignment {
    /// Reads an assignment.
    ///
    /// # Errors
    /// The first tag that is missing, repeated, or not what it must be.
    pub fn from_item(item: &DataItem<'_>) -> Result<Assignment, AssignmentError> {
        if let Some(kind) = optional(item, "Type")?
            && kind != b"Assignment"
        {
            return Err(AssignmentError::Type { found: tags::lossy(kind) });
        }
        Ok(Assignment {
            id: item.id().into(),
            signer: item.owner_address(),
            process: id(required(item, "Process")?, "Process")?.into(),
            epoch: Epoch(number(required(item, "Epoch")?, "Epoch", Padding::Refused)?),
            nonce: nonce(item)?,
            hash_chain: HashChain(id(required(item, "Hash-Chain")?, "Hash-Chain")?.0),
            block_height: BlockHeight(number(required(item, "Block-Height")?, "Block-Height", Padding::Allowed)?),
            timestamp: TimestampMs(number(required(item, "Timestamp")?, "Timestamp", Padding::Refused)?),
            message: match optional(item, "Message")? {
                Some(value) => Some(id(value, "Message")?.into()),
                None => None,
            },
            exclude: tags::values(item, "Exclude").map(tags::lossy).collect(),
        })
    }
}

fn nonce(item: &DataItem<'_>) -> Result<Nonce, AssignmentError> {
    let read = |tag| match optional(item, tag)? {
        Some(value) => number(value, tag, Padding::Refused).map(|number| Some(Nonce(number))),
        None => Ok(None),
    };
    match (read("Nonce")?, read("Slot")?) {
        (Some(nonce), Some(slot)) if nonce != slot => Err(AssignmentError::SlotDiffers { nonce, slot }),
        (Some(nonce), _) | (None, Some(nonce)) => Ok(nonce),
        (None, None) => Err(AssignmentError::Missing { tag: "Nonce" }),
    }
}

fn optional<'a>(item: &DataItem<'a>, tag: &'static str) -> Result<Option<&'a [u8]>, AssignmentError> {
    match tags::single(item, tag) {
        Single::Absent => Ok(None),
        Single::One(value) => Ok(Some(value)),
        Single::Repeated => Err(AssignmentError::Repeated { tag }),
    }
}

fn required<'a>(item: &DataItem<'a>, tag: &'static str) -> Result<&'a [u8], AssignmentError> {
    optional(item, tag)?.ok_or(AssignmentError::Missing { tag })
}

fn number(value: &[u8], tag: &'static str, padding: Padding) -> Result<u64, AssignmentError> {
    parse_decimal(value, padding).map_err(|source| {
        let value = tags::lossy(value);
        AssignmentError::Number { tag, value, source }
    })
}

fn id(value: &[u8], tag: &'static str) -> Result<Id, AssignmentError> {
    tags::parse_id(value).ok_or_else(|| AssignmentError::NotAnId { tag, value: tags::lossy(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_assignment_of_the_network_is_read() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/vectors/wire/real.json");
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let items = json["items"].as_array().unwrap();
        let found = items.iter().find(|item| item["name"] == "ASSIGNMENT_ITEM_STR").unwrap();
        let bytes = ao_wire::b64u::decode(found["item"].as_str().unwrap()).unwrap();
        let item = DataItem::parse(&bytes).unwrap();
        let assignment = Assignment::from_item(&item).unwrap();
        assert_eq!(assignment.id.to_string(), "P_N-NEMtNRpNXemOHMNu9Gjx4AbNhAl-7_5CGtPC6PM");
        assert_eq!((assignment.epoch, assignment.nonce), (Epoch(0), Nonce(1)));
        assert_eq!(assignment.block_height, BlockHeight(1_393_008));
        assert!(assignment.message.is_some() && assignment.exclude.is_empty());
    }
}

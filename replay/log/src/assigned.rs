//! A transaction that an assignment names and the log does not hold: what a bundle keeps of it beside the entry.
//!
//! ```text
//! 1 · data item
//! 2 · transaction in postcard's encoding · 1 if the data follows, else 0 · data
//! ```
//!
//! *Not here:* where it is got from, whether it was mined, which parts a guest is shown (`ao-kernel`).
//!
//! Invariant: one transaction has one encoding; what [`Assigned::verify`] lets pass is what its owner signed.

use ao_wire::{DataItem, MessageId, Transaction, TransactionError, VerifyError, WireError};
use thiserror::Error;

/// Largest encoded transaction, in bytes: as much as an entry of a bundle may hold.
pub const ASSIGNED_BYTES_MAX: u64 = 64 << 20;

const ITEM: u8 = 1;
const TRANSACTION: u8 = 2;

/// An assigned transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assigned {
    /// A data item, in its bytes.
    Item(Vec<u8>),
    /// A transaction of Arweave itself.
    Transaction {
        /// All but the data.
        transaction: Box<Transaction>,
        /// The data, unless it is not known.
        data: Option<Vec<u8>>,
    },
}

/// Why bytes are no assigned transaction, or not what its owner signed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AssignedError {
    /// Neither kind.
    #[error("neither a data item nor a transaction")]
    Kind,
    /// More bytes than a bundle keeps.
    #[error("{found} bytes, at most {ASSIGNED_BYTES_MAX} are kept")]
    TooBig {
        /// How many there are.
        found: u64,
    },
    /// Not a data item.
    #[error("not a data item")]
    Item(#[from] WireError),
    /// The bytes of a transaction are not as they are written.
    #[error("the transaction is malformed")]
    Malformed,
    /// The owner did not sign the item.
    #[error("the data item is not signed by its owner")]
    Signature(#[source] VerifyError),
    /// Not a transaction, or not signed by its owner.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// It is another one.
    #[error("transaction {named} is assigned, this is {found}")]
    Id {
        /// The one assigned.
        named: MessageId,
        /// Its id.
        found: MessageId,
    },
}

impl Assigned {
    /// The encoding.
    ///
    /// # Errors
    /// It is above [`ASSIGNED_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, AssignedError> {
        let bytes = match self {
            Self::Item(item) => [&[ITEM], &item[..]].concat(),
            Self::Transaction { transaction, data } => {
                let mut bytes = postcard::to_extend(&**transaction, vec![TRANSACTION]).expect("a vector takes all");
                bytes.push(u8::from(data.is_some()));
                bytes.extend_from_slice(data.as_deref().unwrap_or_default());
                bytes
            }
        };
        let found = bytes.len() as u64;
        if found > ASSIGNED_BYTES_MAX { Err(AssignedError::TooBig { found }) } else { Ok(bytes) }
    }

    /// Reads the encoding back.
    ///
    /// # Errors
    /// Anything but what [`Assigned::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, AssignedError> {
        let assigned = match bytes.split_first() {
            Some((&ITEM, item)) => {
                DataItem::parse(item)?;
                Self::Item(item.to_vec())
            }
            Some((&TRANSACTION, rest)) => {
                let (transaction, rest) = postcard::take_from_bytes(rest).map_err(|_| AssignedError::Malformed)?;
                let (follows, data) = rest.split_first().ok_or(AssignedError::Malformed)?;
                Self::Transaction { transaction: Box::new(transaction), data: (*follows == 1).then(|| data.to_vec()) }
            }
            _ => return Err(AssignedError::Kind),
        };
        // Padded numbers, and bytes behind what has an end.
        if assigned.encode()? == bytes { Ok(assigned) } else { Err(AssignedError::Malformed) }
    }

    /// Size of its bytes, about.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Item(item) => item.len(),
            Self::Transaction { data, .. } => data.as_ref().map_or(0, Vec::len),
        }
    }

    /// Its id.
    pub fn id(&self) -> MessageId {
        match self {
            Self::Item(item) => DataItem::parse(item).expect("parsed when this was made").id().into(),
            Self::Transaction { transaction, .. } => transaction.id().into(),
        }
    }

    /// Checks that this is the transaction with that id.
    ///
    /// # Errors
    /// It is another one.
    pub fn check_id(&self, named: MessageId) -> Result<(), AssignedError> {
        let found = self.id();
        if found == named { Ok(()) } else { Err(AssignedError::Id { named, found }) }
    }

    /// Checks the signature, and with it every part that is here.
    ///
    /// # Errors
    /// Something is not what the owner signed.
    pub fn verify(&self) -> Result<(), AssignedError> {
        match self {
            Self::Item(item) => DataItem::parse(item)?.verify().map_err(AssignedError::Signature),
            Self::Transaction { transaction, data } => Ok(transaction.verify(data.as_deref())?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testlog;

    fn transaction(bytes: usize) -> Assigned {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/vectors/wire/transactions.json");
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let vector = json.as_array().unwrap().iter().find(|vector| vector["bytes"] == bytes).unwrap();
        let (transaction, _) = Transaction::from_json(vector["json"].to_string().as_bytes()).unwrap();
        let data = Some((0..bytes).map(|i| (i * 31 + (i >> 8)) as u8).collect());
        Assigned::Transaction { transaction: Box::new(transaction), data }
    }

    #[test]
    fn every_bit_of_the_encoding_counts() {
        let item = Assigned::Item(testlog::item(&testlog::user(), None, &testlog::text_tags(&[("A", "1")]), b"data"));
        for assigned in [item, transaction(1000)] {
            assert!(assigned.verify().is_ok());
            let bytes = assigned.encode().unwrap();
            assert_eq!(Assigned::decode(&bytes).unwrap(), assigned);
            for bit in 0..8 * bytes.len() {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let noticed = match Assigned::decode(&flipped) {
                    Err(_) => true,
                    Ok(other) => other.check_id(assigned.id()).is_err() || other.verify().is_err(),
                };
                assert!(noticed, "bit {bit} was ignored");
            }
            let cut = Assigned::decode(&bytes[..bytes.len() - 1]);
            assert!(cut.is_ok_and(|cut| cut.verify().is_err()), "a byte less of data");
        }
        assert!(matches!(Assigned::decode(&[]), Err(AssignedError::Kind)));
    }

    #[test]
    fn a_transaction_without_its_data_is_still_itself() {
        let Assigned::Transaction { transaction, .. } = transaction(1000) else { unreachable!() };
        let bare = Assigned::Transaction { transaction, data: None };
        let bytes = bare.encode().unwrap();
        assert!(bare.verify().is_ok());
        assert_eq!(Assigned::decode(&bytes).unwrap(), bare);
        assert!(Assigned::decode(&[&bytes[..], b"x"].concat()).is_err(), "data that is said to be absent");
    }
}

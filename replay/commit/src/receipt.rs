//! Receipts: what each step commits to.
//!
//! Not here: their order (`chain`), the log of receipts (`log`).
//!
//! Invariant: a receipt is 256 bytes with one meaning; `decode` accepts only what `encode` writes.

use crate::bytes::Fields;
use crate::{Hash, context, derive};

/// Size of an encoded receipt.
pub const RECEIPT_BYTES: usize = 256;

/// Begins the receipt of an assignment's own step.
const MAGIC: [u8; 8] = *b"AORCPT\0\x01";
/// Begins that of a cron tick.
const TICK_MAGIC: [u8; 8] = *b"AORCPT\0\x02";

macro_rules! outcomes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// How a step ended. Codes are part of the receipt format; new ones may be added, none may change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Outcome { $($(#[$doc])* $name = $code,)* }

        impl Outcome {
            /// Every outcome, by ascending code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The outcome of this code.
            pub fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

outcomes! {
    /// The guest answered.
    Ok = 0,
    /// The guest answered with an `Error`; memory is as before the step.
    ModuleError = 1,
    /// The guest's answer could not be understood.
    MalformedAnswer = 2,
    /// The guest answered that an allocation failed; memory is as before the step.
    AllocationFailure = 3,
    /// The guest answered without `ok`; memory is as before the step.
    Refused = 4,
    /// Trap: `unreachable`.
    Unreachable = 16,
    /// Trap: memory access out of bounds.
    MemoryOutOfBounds = 17,
    /// Trap: table access out of bounds.
    TableOutOfBounds = 18,
    /// Trap: indirect call through a null entry.
    IndirectCallToNull = 19,
    /// Trap: indirect call with the wrong signature.
    BadSignature = 20,
    /// Trap: integer overflow.
    IntegerOverflow = 21,
    /// Trap: division by zero.
    DivisionByZero = 22,
    /// Trap: conversion of NaN to an integer.
    BadConversionToInteger = 23,
    /// Trap: the bound on call depth.
    StackOverflow = 24,
    /// Another trap.
    OtherTrap = 31,
    /// The guest aborted.
    Abort = 32,
    /// The guest exited.
    Exit = 33,
    /// The gas limit.
    OutOfGas = 48,
    /// The memory limit.
    MemoryLimit = 49,
    /// The limit on the size of an answer.
    ResultTooLarge = 50,
    /// The message was evaluated at an earlier nonce and is skipped.
    SkippedDuplicate = 64,
    /// Skipped by another rule of the profile.
    Skipped = 65,
}

impl Outcome {
    /// Its name in text: lower case, words joined by hyphens.
    pub fn name(self) -> String {
        let mut name = String::new();
        for c in format!("{self:?}").chars() {
            if c.is_ascii_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(c.to_ascii_lowercase());
        }
        name
    }

    /// The code in a receipt.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// Bytes are not an encoded receipt.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// Not 256 bytes.
    #[error("a receipt has 256 bytes, not {actual}")]
    WrongLength {
        /// Bytes given.
        actual: usize,
    },
    /// Not a receipt, or of another version.
    #[error("no receipt of version 1 or 2: wrong first 8 bytes")]
    WrongMagic,
    /// A code this version doesn't define.
    #[error("unknown outcome {code} at offset 112")]
    UnknownOutcome {
        /// The code.
        code: u8,
    },
    /// Bytes that say nothing must be zero.
    #[error("bytes at offset {offset} have no meaning there")]
    NotCanonical {
        /// Where the field begins.
        offset: usize,
    },
}

/// What one step committed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The process.
    pub process: Hash,
    /// The nonce of the assignment; for a tick of the one before it.
    pub nonce: u64,
    /// Which of the cron ticks that follow the assignment, from 1 on; 0 is the assignment's own step.
    pub tick: u32,
    /// The id of the assignment of that nonce.
    pub assignment_id: Hash,
    /// Of [`input_hash`].
    pub input_hash: Hash,
    /// How it ended.
    pub outcome: Outcome,
    /// Of [`result_hash`].
    pub result_hash: Hash,
    /// Gas used.
    pub gas: u64,
    /// Id of the profile.
    pub profile: Hash,
    /// Hash of the receipt before, or the genesis of the chain.
    pub prev: Hash,
    /// The state after the step, where the policy wants it.
    pub state_root: Option<Hash>,
}

/// Hashes what a step was given: the message and the environment exactly as written for the guest.
pub fn input_hash(message_json: &[u8], env_json: &[u8]) -> Hash {
    derive(context::INPUT, &[&(message_json.len() as u64).to_le_bytes(), message_json, env_json])
}

/// Hashes a result: the exact bytes of the body that `GET /result` serves for the step.
pub fn result_hash(json: &[u8]) -> Hash {
    derive(context::RESULT, &[json])
}

impl Receipt {
    /// Lays the receipt out as in `FORMAT.md`.
    pub fn encode(&self) -> [u8; RECEIPT_BYTES] {
        let mut bytes = [0; RECEIPT_BYTES];
        let mut put = |offset: usize, field: &[u8]| {
            bytes[offset..offset + field.len()].copy_from_slice(field);
        };
        put(0, if self.tick == 0 { &MAGIC } else { &TICK_MAGIC });
        put(8, &self.process);
        put(40, &self.nonce.to_le_bytes());
        put(48, &self.assignment_id);
        put(80, &self.input_hash);
        put(112, &[self.outcome.code(), u8::from(self.state_root.is_some())]);
        put(116, &self.tick.to_le_bytes());
        put(120, &self.result_hash);
        put(152, &self.gas.to_le_bytes());
        put(160, &self.profile);
        put(192, &self.prev);
        put(224, &self.state_root.unwrap_or_default());
        bytes
    }

    /// Reads a receipt back.
    ///
    /// # Errors
    /// The bytes are not what [`Receipt::encode`] writes for any receipt.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if bytes.len() != RECEIPT_BYTES {
            return Err(ReceiptError::WrongLength { actual: bytes.len() });
        }
        let mut fields = Fields(bytes);
        let is_tick = match fields.take() {
            MAGIC => false,
            TICK_MAGIC => true,
            _ => return Err(ReceiptError::WrongMagic),
        };
        let process = fields.take();
        let nonce = fields.take_u64();
        let assignment_id = fields.take();
        let input_hash = fields.take();
        let [code, has_root] = fields.take();
        let padding: [u8; 2] = fields.take();
        let tick = u32::from_le_bytes(fields.take());
        let result_hash = fields.take();
        let gas = fields.take_u64();
        let profile = fields.take();
        let prev = fields.take();
        let root: Hash = fields.take();
        if has_root > 1 {
            return Err(ReceiptError::NotCanonical { offset: 113 });
        }
        if padding != [0; 2] {
            return Err(ReceiptError::NotCanonical { offset: 114 });
        }
        if (tick != 0) != is_tick {
            return Err(ReceiptError::NotCanonical { offset: 116 });
        }
        if has_root == 0 && root != [0; 32] {
            return Err(ReceiptError::NotCanonical { offset: 224 });
        }
        let outcome = Outcome::from_code(code).ok_or(ReceiptError::UnknownOutcome { code })?;
        let state_root = (has_root == 1).then_some(root);
        Ok(Self {
            process,
            nonce,
            tick,
            assignment_id,
            input_hash,
            outcome,
            result_hash,
            gas,
            profile,
            prev,
            state_root,
        })
    }

    /// The hash by which the next receipt, the receipt log and everyone else names this one.
    pub fn hash(&self) -> Hash {
        let context = if self.tick == 0 { context::RECEIPT } else { context::TICK_RECEIPT };
        derive(context, &[&self.encode()])
    }

    /// Whether `json`, the body of `GET /result`, is the result of this step.
    pub fn commits_to_result(&self, json: &[u8]) -> bool {
        result_hash(json) == self.result_hash
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            process: [1; 32],
            nonce: 31,
            tick: 0,
            assignment_id: [2; 32],
            input_hash: input_hash(b"{}", b"{}"),
            outcome: Outcome::Ok,
            result_hash: result_hash(b"{\"Output\":1}"),
            gas: 17,
            profile: [3; 32],
            prev: [4; 32],
            state_root: Some([5; 32]),
        }
    }

    #[test]
    fn encoding_is_frozen() {
        let receipt = receipt();
        assert_eq!(receipt.encode()[..8], *b"AORCPT\0\x01");
        assert_eq!(
            blake3::Hash::from(receipt.hash()).to_hex().as_str(),
            "4a3c4a45c23875256cf92f5e0594b85282ec7fad4fa4ac442cf7eeaaae77ab32"
        );
    }

    #[test]
    fn encoding_of_ticks_is_frozen() {
        let tick = Receipt { tick: 3, state_root: None, ..receipt() };
        assert_eq!(tick.encode()[..8], *b"AORCPT\0\x02");
        assert_eq!(tick.encode()[112..120], [0, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(
            blake3::Hash::from(tick.hash()).to_hex().as_str(),
            "5d8c469b37ca559c5427616ddfe04da9ca88e803313f601b29d22ef5e05b295e"
        );
    }

    #[test]
    fn every_flipped_bit_is_refused_or_changes_the_hash() {
        for receipt in [receipt(), Receipt { state_root: None, ..receipt() }, Receipt { tick: 1, ..receipt() }] {
            let bytes = receipt.encode();
            assert_eq!(Receipt::decode(&bytes), Ok(receipt.clone()));
            for bit in 0..8 * RECEIPT_BYTES {
                let mut flipped = bytes;
                flipped[bit / 8] ^= 1 << (bit % 8);
                if let Ok(other) = Receipt::decode(&flipped) {
                    assert_eq!(other.encode(), flipped, "bit {bit} was ignored");
                    assert_ne!(other.hash(), receipt.hash(), "bit {bit}");
                }
            }
            for len in [0, 255] {
                assert_eq!(Receipt::decode(&bytes[..len]), Err(ReceiptError::WrongLength { actual: len }));
            }
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(Receipt::decode(&longer), Err(ReceiptError::WrongLength { actual: 257 }));
        }
    }

    #[test]
    fn outcome_codes_read_back() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_code(outcome.code()), Some(*outcome));
        }
        assert_eq!((0..=255).filter_map(Outcome::from_code).count(), Outcome::ALL.len());
    }

    #[test]
    fn a_result_is_checked_against_its_receipt_alone() {
        assert!(receipt().commits_to_result(b"{\"Output\":1}"));
        assert!(!receipt().commits_to_result(b"{\"Output\": 1}"));
    }

    #[test]
    fn message_and_environment_cannot_trade_bytes() {
        assert_ne!(input_hash(b"ab", b"c"), input_hash(b"a", b"bc"));
    }

    proptest! {
        #[test]
        fn whatever_decodes_encodes_to_itself(bytes in prop::collection::vec(any::<u8>(), RECEIPT_BYTES), code in 0..70_u8) {
            let mut bytes = bytes;
            bytes[..8].copy_from_slice(&MAGIC);
            bytes[112..120].copy_from_slice(&[code, 1, 0, 0, 0, 0, 0, 0]);
            match Receipt::decode(&bytes) {
                Ok(receipt) => prop_assert_eq!(&receipt.encode()[..], &bytes[..]),
                Err(error) => prop_assert_eq!(error, ReceiptError::UnknownOutcome { code }),
            }
        }
    }
}

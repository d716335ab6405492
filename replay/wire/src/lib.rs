//! ANS-104 data items and bundles, Arweave transactions, tags, ids, deep hash, signatures, JWK: the bytes that people sign.
//!
//! *Not here:* what an item means to ao (assignments, nonces, hash chains: `ao-log`), JSON.
//!
//! # Acceptance
//!
//! The reference is npm `arbundles` 0.11.2 (`DataItem.verify`). Nothing is accepted here that it rejects. What it
//! accepts is accepted here too, with seven exceptions. The first four are header bytes that no signature covers: if
//! they could vary, one id would stand for several byte strings, and the fourth would let anyone strip all tags from
//! a signed message. The fifth is nonsense that only a broken or hostile signer makes. The last two the reference takes by
//! mistake, and under an empty bitmap or a key of small order one signature holds for many messages.
//!
//! | # | `arbundles` accepts | error here |
//! |---|---|---|
//! | 1 | a presence byte of 2..=255, read as "absent" | [`WireError::PresenceByte`] |
//! | 2 | an item cut before its tags, missing bytes read as zero or as nothing | [`WireError::Truncated`] |
//! | 3 | a tag section said to be longer than the item | [`WireError::Truncated`] |
//! | 4 | a tag count of 0 over tags that are there, read as no tags | [`WireError::TagCount`] |
//! | 5 | tags that are not an Avro array: no terminator, bytes after it, negative or over-long lengths, wrong block size | [`WireError::Truncated`], [`WireError::Trailing`], [`WireError::NegativeLength`], [`WireError::Overlong`], [`WireError::BlockBytes`] |
//! | 6 | signature type 6 signed by none of its keys | [`VerifyError::NoSigner`] |
//! | 7 | an Ed25519 key of small order, or a wrong signature moved by a point of order 4 | [`VerifyError::Owner`], [`VerifyError::Signature`] |
//!
//! **Invariant:** two verified items with the same owner and id are the same bytes. No input makes this crate panic or
//! allocate more than a constant above what it returns; parsing borrows and allocates nothing.

#![deny(unsafe_code)]

pub mod b64u;
mod batch;
mod build;
mod bundle;
mod deep_hash;
mod error;
mod id;
mod item;
mod jwk;
pub mod limits;
mod reader;
mod signature;
mod tags;
mod transaction;

pub use batch::verify_all;
pub use build::{BuildError, ItemBuilder, PssSalt, Signer};
pub use bundle::{Bundle, Items, bundle_bytes};
pub use deep_hash::{BlobHasher, DeepHash, ListHasher, deep_hash_list};
pub use error::{VerifyError, WireError};
pub use id::{AssignmentId, Id, IdError, MessageId, ModuleId, ProcessId};
pub use item::DataItem;
pub use jwk::{Jwk, JwkError};
pub use limits::Limits;
pub use signature::{SignatureType, verify_ed25519, verify_rsa_pss};
pub use tags::{Tag, Tags, encode_tags};
pub use transaction::{Transaction, TransactionError};

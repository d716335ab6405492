//! What can be wrong with bytes and with signatures.
//!
//! **Invariant:** every parse error names the offset, counted from the start of the slice the caller handed in.

use crate::{Id, SignatureType};

/// Bytes that are no item or bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A field reaches past the end of the input, or of the section that holds it.
    #[error("{field} at byte {offset} needs {needed} bytes, {available} are left")]
    Truncated {
        /// Where the field starts.
        offset: usize,
        /// Name of the field.
        field: &'static str,
        /// Bytes the field needs.
        needed: u64,
        /// Bytes that are left.
        available: u64,
    },
    /// The signature type is none of 1..=7.
    #[error("unknown signature type {found} at byte {offset}")]
    SignatureType {
        /// Where the type stands.
        offset: usize,
        /// The unknown type.
        found: u16,
    },
    /// A presence byte is neither 0 nor 1.
    #[error("presence byte of the {field} at byte {offset} is {found}, not 0 or 1")]
    PresenceByte {
        /// Where the byte stands.
        offset: usize,
        /// `target` or `anchor`.
        field: &'static str,
        /// Its value.
        found: u8,
    },
    /// A count or length is above its limit.
    #[error("{field} at byte {offset} is {found}, the limit is {max}")]
    Limit {
        /// Where the number stands.
        offset: usize,
        /// Name of the field.
        field: &'static str,
        /// Its value; `u64::MAX` for any larger number.
        found: u64,
        /// The limit, see [`crate::limits`].
        max: u64,
    },
    /// The header's tag count is not the number of tags that follow.
    #[error("the header at byte {offset} says {header} tags, {decoded} are encoded")]
    TagCount {
        /// Where the header's count stands.
        offset: usize,
        /// The header's count.
        header: u64,
        /// How many are there; one more than `header` if decoding stopped there.
        decoded: u64,
    },
    /// A number is longer than the ten bytes of a 64-bit Avro `long`, or above 64 bits.
    #[error("over-long number at byte {offset}")]
    Overlong {
        /// Where the number starts.
        offset: usize,
    },
    /// A tag's name or value has a negative length, or a block's size is negative.
    #[error("negative length {found} at byte {offset}")]
    NegativeLength {
        /// Where the length stands.
        offset: usize,
        /// The length.
        found: i64,
    },
    /// An Avro block with a stated size has another one.
    #[error("the tag block at byte {offset} says {stated} bytes and has {actual}")]
    BlockBytes {
        /// Where the block's first tag starts.
        offset: usize,
        /// The size it says.
        stated: u64,
        /// The size it has.
        actual: u64,
    },
    /// Bytes follow where the input or a section must end.
    #[error("{count} bytes left over after the {field}, from byte {offset}")]
    Trailing {
        /// The first byte too many.
        offset: usize,
        /// What has ended.
        field: &'static str,
        /// How many bytes are left over.
        count: u64,
    },
    /// A bundle's header names another id than the item has.
    #[error("the bundle header at byte {offset} names item {header}, the item there is {computed}")]
    ItemId {
        /// Where the header's id stands.
        offset: usize,
        /// The id it names.
        header: Id,
        /// The id of the item.
        computed: Id,
    },
    /// More bundles around an item than allowed.
    #[error("bundles nested {depth} deep, the limit is {max}")]
    Nesting {
        /// The refused depth.
        depth: u32,
        /// The limit, see [`crate::limits::NESTING_MAX`].
        max: u32,
    },
}

/// A signature that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The owner's bytes are no key (or address) of this type.
    #[error("the owner is no {0} key")]
    Owner(SignatureType),
    /// The signature was not made by the owner over this item.
    #[error("wrong {0} signature")]
    Signature(SignatureType),
    /// A multi-signature with an empty bitmap: nobody signed.
    #[error("a multi-signature that nobody signed")]
    NoSigner,
}

//! What can be wrong with a bundle. Every variant of reading says at which offset.

use std::io;

use thiserror::Error;

use super::frame::Kind;
use super::order::OrderFault;

/// Why bytes are not the payload of their kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PayloadFault {
    /// It ends inside a field.
    #[error("it ends inside a field")]
    Short,
    /// It goes on after its last field.
    #[error("it goes on after its last field")]
    Surplus,
    /// A flag is neither 0 nor 1.
    #[error("a flag is neither 0 nor 1")]
    Flag,
    /// An unknown hash-chain rule.
    #[error("unknown hash-chain rule")]
    ChainRule,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// A field is longer than its length prefix can say.
    #[error("a field is too long for its length prefix")]
    FieldTooLong,
}

/// Failure to read a bundle.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BundleReadError {
    /// The source failed.
    #[error("reading the bundle failed at offset {offset}")]
    Io {
        /// Where the read began.
        offset: u64,
        /// The source's own error.
        #[source]
        source: io::Error,
    },
    /// Not a bundle.
    #[error("not a replay bundle")]
    Magic,
    /// Made by a later version.
    #[error("bundle format version {found} is not supported")]
    Version {
        /// Version in the file.
        found: u16,
    },
    /// Flags this build does not know.
    #[error("bundle flags {found:#06x} are not supported")]
    Flags {
        /// Flags in the file.
        found: u16,
    },
    /// The source ends before the end record is complete.
    #[error("the bundle is truncated: it ends at offset {offset}, inside the record at {record}")]
    Truncated {
        /// Where it ends.
        offset: u64,
        /// Where the unfinished record begins.
        record: u64,
    },
    /// A kind this build does not know, or a damaged byte.
    #[error("unknown record kind {kind:#04x} at offset {offset}")]
    Kind {
        /// Where the record begins.
        offset: u64,
        /// The byte.
        kind: u8,
    },
    /// The record claims to be larger than its kind may be.
    #[error("{kind} record of {bytes} bytes at offset {offset}: at most {max}")]
    TooBig {
        /// Where the record begins.
        offset: u64,
        /// Its kind.
        kind: Kind,
        /// Size claimed.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The record or anything before it was changed.
    #[error("the {kind} record at offset {offset} fails its check: bytes were changed, moved or removed")]
    Check {
        /// Where the record begins.
        offset: u64,
        /// Its kind.
        kind: Kind,
    },
    /// The record is not where it may be.
    #[error("bad order at offset {offset}")]
    Order {
        /// Where the record begins.
        offset: u64,
        /// What is wrong.
        #[source]
        source: OrderFault,
    },
    /// The payload does not follow its layout.
    #[error("bad payload of the {kind} record at offset {offset}")]
    Payload {
        /// Where the record begins.
        offset: u64,
        /// Its kind.
        kind: Kind,
        /// What is wrong.
        #[source]
        source: PayloadFault,
    },
    /// The embedded module is not the one the bundle names.
    #[error("the embedded module that ends at offset {offset} has BLAKE3 {found}, the bundle names {named}")]
    ModuleHash {
        /// Where its last chunk begins.
        offset: u64,
        /// BLAKE3 of the chunks.
        found: blake3::Hash,
        /// BLAKE3 in the module record.
        named: blake3::Hash,
    },
    /// The end record counts otherwise.
    #[error("the end record at offset {offset} counts {counted} records or bytes where {found} came before it")]
    Count {
        /// Where the end record begins.
        offset: u64,
        /// What it says.
        counted: u64,
        /// What came.
        found: u64,
    },
    /// Bytes after the end record.
    #[error("the bundle goes on after its end at offset {offset}")]
    Trailing {
        /// Where the end record ended.
        offset: u64,
    },
    /// An earlier call failed.
    #[error("an earlier record of this bundle could not be read")]
    Stopped,
}

/// Failure to write a bundle. What was written so far is no bundle.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BundleWriteError {
    /// The sink failed.
    #[error("writing the bundle failed at offset {offset}")]
    Io {
        /// Where the write began.
        offset: u64,
        /// The sink's own error.
        #[source]
        source: io::Error,
    },
    /// The source of a module or checkpoint body failed.
    #[error("reading the body to be written at offset {offset} failed")]
    Body {
        /// Where it was to be written.
        offset: u64,
        /// The source's own error.
        #[source]
        source: io::Error,
    },
    /// A body does not have the size announced.
    #[error("the body has {found} bytes or more, {announced} were announced")]
    BodySize {
        /// Size announced.
        announced: u64,
        /// Size found; one more than announced if it goes on.
        found: u64,
    },
    /// The module is not the one announced.
    #[error("the module has BLAKE3 {found}, {named} was announced")]
    ModuleHash {
        /// BLAKE3 of the bytes.
        found: blake3::Hash,
        /// BLAKE3 announced.
        named: blake3::Hash,
    },
    /// `embedded` and the presence of a body contradict each other.
    #[error("an embedded module needs its bytes, a named one must not have them")]
    ModuleBody,
    /// The record is not due here.
    #[error("bad order")]
    Order(#[from] OrderFault),
    /// A field is outside its limit.
    #[error("bad {kind} record")]
    Payload {
        /// Kind of the record.
        kind: Kind,
        /// What is wrong.
        #[source]
        source: PayloadFault,
    },
    /// The record is larger than its kind may be.
    #[error("{kind} record of {bytes} bytes: at most {max}")]
    TooBig {
        /// Kind of the record.
        kind: Kind,
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// An earlier call failed.
    #[error("an earlier record of this bundle could not be written")]
    Poisoned,
}

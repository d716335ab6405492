//! The replay bundle: one file holding every input of a run of one process.
//!
//! A header, then framed records in one canonical order, each checked against a BLAKE3 chain over all
//! bytes before it, and a mandatory end record. The last 32 bytes are the [`BundleRoot`], which names
//! the content. Reader and writer hold one record in memory, whatever the size of the file.
//!
//! *Not here:* whether the items inside are validly signed and ordered ([`crate::LogVerifier`]), what
//! transcripts, receipts and checkpoints mean (opaque bytes here), compression.
//!
//! Invariant: equal records give equal bytes, and any change of any byte is an error of the reader.
//! The root protects against accident; against a forger it does once it is known from elsewhere.
//!
//! Byte tables: `replay/FORMAT.md`, "Replay bundle".

mod error;
mod frame;
mod order;
mod payload;
mod reader;
mod record;
#[cfg(test)]
mod tests;
mod writer;

pub use error::{BundleReadError, BundleWriteError, PayloadFault};
pub use frame::{BundleRoot, CHUNK_BYTES, Kind, MAX_ITEMS_BYTES, VERSION};
pub use order::OrderFault;
pub use reader::BundleReader;
pub use record::{Manifest, ModuleMeta, ModuleTag, Record};
pub use writer::BundleWriter;

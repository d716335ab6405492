//! Making an assignment: what the scheduler signs to give a message its place.
//!
//! Invariant: a log of these is one that `ao_log::LogVerifier` lets through.
//!
//! # Source
//! `permaweb/ao` `servers/su/src/domain/core/builder.rs` at `ff178d51`: tags and their order. The anchor, there 32 random
//! bytes that JSON cannot show, is the nonce in 32 digits here, so that whoever reads JSON has the signed bytes.

use ao_log::{BlockHeight, HashChain, Nonce, TimestampMs};
use ao_wire::{BuildError, Id, ItemBuilder, ProcessId, Signer, Tag};

/// A place in a log that is to be given away.
pub(crate) struct Place<'a> {
    pub(crate) process: ProcessId,
    pub(crate) nonce: Nonce,
    pub(crate) hash_chain: HashChain,
    pub(crate) block_height: BlockHeight,
    pub(crate) timestamp: TimestampMs,
    /// The process itself at its own nonce.
    pub(crate) message: Id,
    pub(crate) exclude: &'a [String],
}

impl Place<'_> {
    /// The signed item.
    pub(crate) fn sign(&self, signer: &Signer) -> Result<Vec<u8>, BuildError> {
        let process = self.process.to_string();
        let (nonce, chain, time) = (self.nonce.to_string(), self.hash_chain.to_string(), self.timestamp.to_string());
        let block = block_text(self.block_height);
        let message = self.message.to_string();
        let mut tags = vec![
            Tag::new("Process", &process),
            Tag::new("Epoch", "0"),
            Tag::new("Nonce", &nonce),
            Tag::new("Hash-Chain", &chain),
            Tag::new("Block-Height", &block),
            Tag::new("Timestamp", &time),
            Tag::new("Data-Protocol", "ao"),
            Tag::new("Type", "Assignment"),
            Tag::new("Variant", "ao.TN.1"),
        ];
        if self.message != self.process.id() {
            tags.push(Tag::new("Message", &message));
        }
        tags.extend(self.exclude.iter().map(|part| Tag::new("Exclude", part)));
        let mut anchor = [b'0'; 32];
        anchor[32 - nonce.len()..].copy_from_slice(nonce.as_bytes());
        ItemBuilder { target: None, anchor: Some(anchor), tags, data: &[] }.build(signer)
    }
}

/// A height as schedulers write it.
pub(crate) fn block_text(height: BlockHeight) -> String {
    format!("{:012}", height.0)
}

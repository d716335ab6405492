//! Hash chains: how a scheduler ties an assignment to those before it.
//!
//! *Not here:* comparing a log with its chain ([`crate::LogVerifier`]).
//!
//! Invariant: these functions are consensus rules; they never change.

use std::fmt;

use ao_wire::{AssignmentId, MessageId, ProcessId, b64u};
use sha2::{Digest, Sha256};

/// How a scheduler computes the `Hash-Chain` of its next assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ChainRule {
    /// The legacy scheduler's: over the ids of assignments.
    Legacy = 1,
    /// HyperBEAM's `scheduler@1.0`: over the ids of messages.
    HyperBeam = 2,
}

/// A value of `Hash-Chain`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashChain(pub [u8; 32]);

impl fmt::Display for HashChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&b64u::encode(self.0))
    }
}

impl fmt::Debug for HashChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashChain({self})")
    }
}

/// Chain value of the first assignment of a legacy log: SHA-256 of the process id's 32 bytes.
///
/// # Source
/// `permaweb/ao` `servers/su/src/domain/core/scheduler.rs` at `ff178d51`.
pub fn legacy_first(process: &ProcessId) -> HashChain {
    HashChain(sha256(&[process.id().as_bytes()]))
}

/// Chain value after a legacy assignment: SHA-256 of its id and its chain value, 32 bytes each.
///
/// # Source
/// `permaweb/ao` `servers/cu/src/effects/worker/hashChain/main.js` at `ff178d51`.
pub fn legacy_next(previous_id: &AssignmentId, previous: &HashChain) -> HashChain {
    HashChain(sha256(&[previous_id.id().as_bytes(), &previous.0]))
}

/// What HyperBEAM hashes in front of the message id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HyperBeamLink {
    /// Slot 0: nothing.
    First,
    /// The 32 bytes of the chain value before.
    Running(HashChain),
    /// Its 43 characters: after a restart the node reads its last chain value back as text.
    Restarted(HashChain),
}

/// Chain value of a HyperBEAM assignment: SHA-256 of the link and the message id *as text*.
///
/// # Source
/// `permaweb/HyperBEAM` `src/dev_scheduler_server.erl` `next_hashchain/3`, and `dev_scheduler_cache.erl`
/// `latest/1` for the restarted form. Versions that write `base-hashpath` have no hash chain.
pub fn hyperbeam(link: HyperBeamLink, message: &MessageId) -> HashChain {
    let id = message.to_string();
    HashChain(match link {
        HyperBeamLink::First => sha256(&[id.as_bytes()]),
        HyperBeamLink::Running(previous) => sha256(&[&previous.0, id.as_bytes()]),
        HyperBeamLink::Restarted(previous) => sha256(&[previous.to_string().as_bytes(), id.as_bytes()]),
    })
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESS: &str = "6oYAxVAnH8yKsZKpMgHSbRv7uVWey68PAqYuSXeZBbg";

    #[test]
    fn legacy_chain_equals_the_reference_scheduler() {
        let first = legacy_first(&PROCESS.parse().unwrap());
        assert_eq!(first.to_string(), "qCOl4IAHVCSTAaI-w752IbnbfP139t9VE8L6YrdncII");
        let next = legacy_next(&"boxXWZqkBaZmOKJ3Vh7PZzC07Q9OXmxF4QT_ikodfNY".parse().unwrap(), &first);
        assert_eq!(next.to_string(), "lGiSYbcRDez_7lmgtBaX5EkHgXtbsrsYp7aGxoaMF_Q");
    }

    #[test]
    fn hyperbeam_chain_hashes_the_message_id_as_text() {
        let message: MessageId = PROCESS.parse().unwrap();
        let first = hyperbeam(HyperBeamLink::First, &message);
        assert_eq!(first.0, <[u8; 32]>::from(Sha256::digest(PROCESS.as_bytes())));
        let mut running = first.0.to_vec();
        running.extend_from_slice(PROCESS.as_bytes());
        assert_eq!(hyperbeam(HyperBeamLink::Running(first), &message).0, <[u8; 32]>::from(Sha256::digest(&running)));
        let restarted = format!("{first}{PROCESS}");
        let expected: [u8; 32] = Sha256::digest(restarted.as_bytes()).into();
        assert_eq!(hyperbeam(HyperBeamLink::Restarted(first), &message).0, expected);
    }
}

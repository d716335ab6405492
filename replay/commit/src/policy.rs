//! When a state root is due.
//!
//! Whether a receipt carries a state root is part of what is committed, so it depends on the nonce and nothing else:
//! whoever resumes at any nonce gives the same receipts. When a machine refreshes its image for rollback is its own
//! affair and never shows in a receipt.
//!
//! Roots wanted at other times (on demand, at the end of a run, at handover) are computed beside the chain.
//!
//! Not here: taking roots (`memory`, `state`), images (`ao-kernel`).
//!
//! Invariant: `CheckpointPolicy::root_due` is a function of its own fields and the nonce.

/// Not a usable interval.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Garbage-collection marks alternate between messages: only over an even number of them do they cancel out.
    #[error("a state root every {every} steps: must be 1 or even")]
    Odd {
        /// The interval asked for.
        every: u32,
    },
}

/// At which nonces receipts carry a state root. Part of the genesis of a receipt chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointPolicy {
    every: u32,
}

impl CheckpointPolicy {
    /// A state root with every receipt.
    pub const STRICT: Self = Self { every: 1 };

    /// A state root every `every` steps: at nonces `every - 1`, `2 * every - 1` and so on.
    ///
    /// # Errors
    /// Zero, or odd and not 1.
    pub fn every(every: u32) -> Result<Self, PolicyError> {
        if every == 1 || (every > 0 && every.is_multiple_of(2)) {
            Ok(Self { every })
        } else {
            Err(PolicyError::Odd { every })
        }
    }

    /// Steps from one state root to the next.
    pub fn interval(self) -> u32 {
        self.every
    }

    /// Whether every receipt carries a state root.
    pub fn is_strict(self) -> bool {
        self.every == 1
    }

    /// Whether the receipt of this nonce carries a state root.
    pub fn root_due(self, nonce: u64) -> bool {
        // nonce + 1 would overflow at the last nonce.
        nonce % u64::from(self.every) == u64::from(self.every) - 1
    }
}

impl Default for CheckpointPolicy {
    fn default() -> Self {
        Self { every: 32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_one_or_even() {
        for every in [0, 3, 31, u32::MAX] {
            assert_eq!(CheckpointPolicy::every(every), Err(PolicyError::Odd { every }));
        }
        for every in [1, 2, 32] {
            assert_eq!(CheckpointPolicy::every(every).unwrap().interval(), every);
        }
    }

    #[test]
    fn roots_are_due_at_the_end_of_each_interval() {
        let due = |policy: CheckpointPolicy| (0..100).filter(|nonce| policy.root_due(*nonce)).collect::<Vec<_>>();
        assert_eq!(due(CheckpointPolicy::default()), [31, 63, 95]);
        assert_eq!(due(CheckpointPolicy::STRICT).len(), 100);
        assert!(CheckpointPolicy::STRICT.root_due(u64::MAX) && CheckpointPolicy::default().root_due(u64::MAX));
    }
}

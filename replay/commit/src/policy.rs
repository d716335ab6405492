//! When a state root is due, and when an image is worth taking.
//!
//! Two questions that must not be mixed. Whether a receipt carries a state root is part of what is committed, so it
//! depends on the nonce and nothing else: whoever resumes at any nonce gives the same receipts. When a unit refreshes
//! its image for rollback is its own affair, so that may depend on luck and history and never shows in a receipt.
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

/// When to refresh the image that failed steps roll back to.
///
/// A rollback replays the steps since the last image, and messages that trap can be sent on purpose. So a trap is followed
/// by an image at once, and by others after 1, 2, 4 … steps until the usual distance is reached again.
///
/// # Determinism
/// None needed: no receipt or root depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSchedule {
    policy: CheckpointPolicy,
    distance: u32,
    since: u32,
}

impl ImageSchedule {
    /// Images with the state roots of `policy`, until something fails.
    pub fn new(policy: CheckpointPolicy) -> Self {
        Self { policy, distance: policy.interval(), since: 0 }
    }

    /// Counts a step; whether to take an image after it. One is always due where a state root is.
    pub fn after_step(&mut self, nonce: u64, rolled_back: bool) -> bool {
        self.since += 1;
        if rolled_back {
            self.distance = 1;
        } else if self.since < self.distance && !self.policy.root_due(nonce) {
            return false;
        } else {
            self.distance = self.distance.saturating_mul(2).min(self.policy.interval());
        }
        self.since = 0;
        true
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

    #[test]
    fn images_follow_a_failure_closely_and_then_thin_out() {
        let mut schedule = ImageSchedule::new(CheckpointPolicy::default());
        let images: Vec<u64> = (0..128).filter(|nonce| schedule.after_step(*nonce, *nonce == 40)).collect();
        assert_eq!(images, [31, 40, 41, 43, 47, 55, 63, 95, 127]);
    }

    #[test]
    fn failing_every_time_takes_an_image_every_time() {
        let mut schedule = ImageSchedule::new(CheckpointPolicy::default());
        assert!((0..50).all(|nonce| schedule.after_step(nonce, true)));
    }
}

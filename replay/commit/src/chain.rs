//! The chain of receipts of one process, to be continued or checked.
//!
//! Not here: a receipt by itself (`receipt`), when a state root is due (`policy`).
//!
//! Invariant: a chain is a function of the steps and the policy, so it comes out the same wherever a run was interrupted
//! and resumed.

use crate::{CheckpointPolicy, Hash, Outcome, Receipt, context, derive};

/// A receipt does not continue the chain.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// A nonce was left out or repeated.
    #[error("receipt of nonce {actual} where {expected} is next")]
    WrongNonce {
        /// The nonce that is next.
        expected: u64,
        /// The nonce given.
        actual: u64,
    },
    /// A cron tick was left out or repeated, or comes before any assignment.
    #[error("receipt of tick {tick} of nonce {nonce} is not the one that is next")]
    WrongTick {
        /// Its nonce.
        nonce: u64,
        /// Its tick.
        tick: u32,
    },
    /// Of another process or made under another profile.
    #[error("receipt of nonce {nonce} is of another process or profile")]
    Foreign {
        /// Its nonce.
        nonce: u64,
    },
    /// Does not name the receipt before it.
    #[error("receipt of nonce {nonce} does not follow the one before")]
    BrokenLink {
        /// Its nonce.
        nonce: u64,
    },
    /// A state root is missing where the policy wants one, or present where it doesn't.
    #[error("receipt of nonce {nonce}: state root due: {due}")]
    StateRoot {
        /// Its nonce.
        nonce: u64,
        /// Whether the policy wants one.
        due: bool,
    },
}

/// What a step adds to the chain.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// As in [`Receipt`].
    pub nonce: u64,
    /// As in [`Receipt`].
    pub tick: u32,
    /// The id of the assignment.
    pub assignment_id: Hash,
    /// Of [`crate::input_hash`].
    pub input_hash: Hash,
    /// How it ended.
    pub outcome: Outcome,
    /// Of [`crate::result_hash`].
    pub result_hash: Hash,
    /// Gas used.
    pub gas: u64,
    /// The state after the step; exactly where [`CheckpointPolicy::root_due`] and it is no tick.
    pub state_root: Option<Hash>,
}

/// The end of a chain of receipts, to be continued or checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptChain {
    process: Hash,
    profile: Hash,
    policy: CheckpointPolicy,
    head: Hash,
    /// The nonce of the next assignment.
    next: u64,
    /// The tick that may come before it; `None` before the first assignment.
    next_tick: Option<u32>,
}

impl ReceiptChain {
    /// A chain without receipts. All that its receipts have in common is hashed into its genesis.
    pub fn start(process: Hash, module: Hash, profile: Hash, policy: CheckpointPolicy, first_nonce: u64) -> Self {
        let interval = policy.interval().to_le_bytes();
        let nonce = first_nonce.to_le_bytes();
        let head = derive(context::GENESIS, &[&process, &module, &profile, &interval, &nonce]);
        Self { process, profile, policy, head, next: first_nonce, next_tick: None }
    }

    /// The chain as it was right after `last`.
    pub fn resume(last: &Receipt, policy: CheckpointPolicy) -> Self {
        Self {
            process: last.process,
            profile: last.profile,
            policy,
            head: last.hash(),
            next: last.nonce.saturating_add(1),
            next_tick: last.tick.checked_add(1),
        }
    }

    /// Hash of the last receipt, or the genesis.
    pub fn head(&self) -> Hash {
        self.head
    }

    /// The nonce of the next assignment.
    pub fn next_nonce(&self) -> u64 {
        self.next
    }

    /// The rule by which receipts carry state roots.
    pub fn policy(&self) -> CheckpointPolicy {
        self.policy
    }

    /// Makes the receipt of the next step.
    ///
    /// # Errors
    /// Not the next nonce, or a state root where none is due, or none where one is.
    pub fn push(&mut self, step: Step) -> Result<Receipt, ChainError> {
        let receipt = Receipt {
            process: self.process,
            nonce: step.nonce,
            tick: step.tick,
            assignment_id: step.assignment_id,
            input_hash: step.input_hash,
            outcome: step.outcome,
            result_hash: step.result_hash,
            gas: step.gas,
            profile: self.profile,
            prev: self.head,
            state_root: step.state_root,
        };
        self.verify(&receipt)?;
        Ok(receipt)
    }

    /// Checks that a receipt is the next one, and steps over it. Its hashes of input, result and state are not judged here.
    ///
    /// # Errors
    /// Why it isn't; the chain then stays where it was.
    pub fn verify(&mut self, receipt: &Receipt) -> Result<(), ChainError> {
        let (nonce, tick) = (receipt.nonce, receipt.tick);
        if (receipt.process, receipt.profile) != (self.process, self.profile) {
            return Err(ChainError::Foreign { nonce });
        }
        if tick > 0 {
            if nonce.checked_add(1) != Some(self.next) || self.next_tick != Some(tick) {
                return Err(ChainError::WrongTick { nonce, tick });
            }
        } else if nonce != self.next {
            return Err(ChainError::WrongNonce { expected: self.next, actual: nonce });
        }
        if receipt.prev != self.head {
            return Err(ChainError::BrokenLink { nonce });
        }
        let due = tick == 0 && self.policy.root_due(nonce);
        if receipt.state_root.is_some() != due {
            return Err(ChainError::StateRoot { nonce, due });
        }
        self.head = receipt.hash();
        self.next = nonce.saturating_add(1);
        self.next_tick = tick.checked_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{input_hash, result_hash};

    fn step(chain: &ReceiptChain) -> Step {
        let nonce = chain.next_nonce();
        Step {
            nonce,
            tick: 0,
            assignment_id: [nonce as u8; 32],
            input_hash: input_hash(&nonce.to_le_bytes(), b"env"),
            outcome: if nonce.is_multiple_of(7) { Outcome::Unreachable } else { Outcome::Ok },
            result_hash: result_hash(&nonce.to_be_bytes()),
            gas: nonce * 3,
            state_root: chain.policy().root_due(nonce).then_some([9; 32]),
        }
    }

    fn chain() -> ReceiptChain {
        ReceiptChain::start([1; 32], [2; 32], [3; 32], CheckpointPolicy::every(4).unwrap(), 1)
    }

    fn run(chain: &mut ReceiptChain, steps: usize) -> Vec<Receipt> {
        (0..steps).map(|_| chain.push(step(chain)).unwrap()).collect()
    }

    #[test]
    fn genesis_is_frozen() {
        assert_eq!(
            blake3::Hash::from(chain().head()).to_hex().as_str(),
            "33a531a5fb42d79093cb892db1c3c5455384cc4f2fa83a8599a874d7e81de8a4"
        );
    }

    #[test]
    fn a_chain_resumed_at_any_nonce_gives_the_same_receipts() {
        let straight = run(&mut chain(), 20);
        for cut in 1..20 {
            let mut receipts = run(&mut chain(), cut);
            let last = Receipt::decode(&receipts[cut - 1].encode()).unwrap();
            receipts.extend(run(&mut ReceiptChain::resume(&last, chain().policy()), 20 - cut));
            assert_eq!(receipts, straight, "cut after {cut}");
        }
    }

    #[test]
    fn a_chain_notices_what_is_left_out_swapped_or_altered() {
        let receipts = run(&mut chain(), 8);
        let verify = |receipts: &[Receipt]| {
            let mut chain = chain();
            receipts.iter().try_for_each(|receipt| chain.verify(receipt))
        };
        assert_eq!(verify(&receipts), Ok(()));

        let mut gap = receipts.clone();
        gap.remove(3);
        assert_eq!(verify(&gap), Err(ChainError::WrongNonce { expected: 4, actual: 5 }));
        let altered = |change: fn(&mut Receipt)| {
            let mut receipts = receipts.clone();
            change(&mut receipts[3]);
            verify(&receipts)
        };
        assert_eq!(altered(|r| r.gas += 1), Err(ChainError::BrokenLink { nonce: 5 }));
        assert_eq!(altered(|r| r.prev[0] ^= 1), Err(ChainError::BrokenLink { nonce: 4 }));
        assert_eq!(altered(|r| r.process[0] ^= 1), Err(ChainError::Foreign { nonce: 4 }));
        assert_eq!(altered(|r| r.profile[0] ^= 1), Err(ChainError::Foreign { nonce: 4 }));
        assert_eq!(altered(|r| r.state_root = Some([0; 32])), Err(ChainError::StateRoot { nonce: 4, due: false }));
    }

    #[test]
    fn ticks_stand_between_assignments_in_order() {
        let mut chain = chain();
        let tick =
            |chain: &ReceiptChain, tick| Step { nonce: chain.next_nonce() - 1, tick, state_root: None, ..step(chain) };
        assert_eq!(
            chain.push(tick(&chain, 1)),
            Err(ChainError::WrongTick { nonce: 0, tick: 1 }),
            "nothing came before"
        );
        run(&mut chain, 3);
        for n in 1..4 {
            let receipt = chain.push(tick(&chain, n)).unwrap();
            assert_eq!((receipt.nonce, receipt.tick, receipt.state_root), (3, n, None));
            for wrong in [n, n + 2] {
                let error = ChainError::WrongTick { nonce: 3, tick: wrong };
                assert_eq!(chain.push(tick(&chain, wrong)), Err(error));
            }
            let mut resumed = ReceiptChain::resume(&Receipt::decode(&receipt.encode()).unwrap(), chain.policy());
            assert_eq!(resumed, chain, "after tick {n}");
            assert_eq!(resumed.push(step(&chain)).map(|receipt| receipt.nonce), Ok(4));
        }
        let early = Step { nonce: 4, ..tick(&chain, 4) };
        assert_eq!(chain.push(early), Err(ChainError::WrongTick { nonce: 4, tick: 4 }));
        run(&mut chain, 1);
        assert_eq!(chain.push(tick(&chain, 1)).map(|receipt| receipt.nonce), Ok(4));
    }

    #[test]
    fn chains_under_other_terms_share_no_receipt() {
        let policy = CheckpointPolicy::every(4).unwrap();
        let heads = [
            chain().head(),
            ReceiptChain::start([9; 32], [2; 32], [3; 32], policy, 1).head(),
            ReceiptChain::start([1; 32], [9; 32], [3; 32], policy, 1).head(),
            ReceiptChain::start([1; 32], [2; 32], [9; 32], policy, 1).head(),
            ReceiptChain::start([1; 32], [2; 32], [3; 32], CheckpointPolicy::STRICT, 1).head(),
            ReceiptChain::start([1; 32], [2; 32], [3; 32], policy, 0).head(),
        ];
        for (at, head) in heads.iter().enumerate() {
            assert!(!heads[..at].contains(head), "variant {at}");
        }
    }
}

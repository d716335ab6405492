//! What a verifier checks.

use ao_wire::Id;

use crate::ChainRule;

const SAMPLE_CONTEXT: &str = "aorta 2026-11 signature sample v1";

/// Which signatures are checked. A verdict must say which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signatures {
    /// Every one.
    All,
    /// The process', and of the rest so many in a thousand, chosen by item id and seed alone.
    Sample {
        /// How many in a thousand.
        per_mille: u16,
        /// Another seed, another sample.
        seed: u64,
    },
    /// None: ids are then claims.
    None,
}

/// What a message that occurs twice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// A fault.
    Refuse,
    /// A [`LogNote`](super::LogNote): a scheduler may have assigned an existing message once more.
    Note,
    /// Allowed and not told of: no ids are kept.
    Allow,
}

/// How a log is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyOptions {
    /// How its scheduler chains assignments.
    pub rule: ChainRule,
    /// Which signatures are checked.
    pub signatures: Signatures,
    /// What a repeated message is.
    pub duplicates: Duplicates,
}

impl VerifyOptions {
    /// Everything is checked.
    pub fn strict(rule: ChainRule) -> VerifyOptions {
        VerifyOptions { rule, signatures: Signatures::All, duplicates: Duplicates::Refuse }
    }
}

impl Signatures {
    /// Whether the signature of an item is among those to be checked.
    pub fn selects(&self, id: &Id) -> bool {
        match self {
            Signatures::All => true,
            Signatures::None => false,
            Signatures::Sample { per_mille, seed } => {
                let mut hasher = blake3::Hasher::new_derive_key(SAMPLE_CONTEXT);
                hasher.update(&seed.to_le_bytes()).update(id.as_bytes());
                let [low, high, ..] = *hasher.finalize().as_bytes();
                // 2^16 values onto 1000: the bias is below one in 65.
                u32::from(u16::from_le_bytes([low, high])) * 1000 / 65536 < u32::from(*per_mille)
            }
        }
    }
}

//! The receipt log: an RFC 6962 tree over receipt hashes, and its checkpoints as C2SP signed notes.
//!
//! One log holds the receipts of many processes in the order they were made, so that a unit that shows different receipts
//! to different people contradicts a tree head it signed.
//!
//! Not here: its files (`tiles`), its proofs as text (`note`), the signing key (the caller's).
//!
//! Invariant: an entry is the 32 bytes of a receipt's hash; anything RFC 6962 verifies about it holds here unchanged.
//!
//! # Source
//! RFC 6962 §2.1; C2SP tlog-checkpoint and signed-note, v1.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use sha2::{Digest, Sha256};

use crate::Hash;

/// Largest tree whose proofs are looked at; far beyond any, and within what the index arithmetic can take.
const SIZE_MAX: u64 = 1 << 62;

/// A proof about the receipt log was refused, or asked for what does not exist.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogProofError {
    /// No such entry, or no such earlier size.
    #[error("{position} lies outside a log of {size} entries")]
    OutOfRange {
        /// The index or the earlier size.
        position: u64,
        /// Entries in the log.
        size: u64,
    },
    /// The proof does not lead to the root.
    #[error("proof for {position} in a log of {size} entries does not hold")]
    Refused {
        /// The index or the earlier size.
        position: u64,
        /// Entries in the log.
        size: u64,
    },
}

/// An append-only log of receipt hashes, in memory.
#[derive(Clone, Debug, Default)]
pub struct ReceiptLog {
    tree: MemoryBackedTree<Sha256, Hash>,
}

impl ReceiptLog {
    /// An empty log.
    pub fn new() -> Self {
        Self { tree: MemoryBackedTree::new() }
    }

    /// Appends the hash of a receipt; returns its index.
    pub fn append(&mut self, receipt: Hash) -> u64 {
        self.tree.push(receipt);
        self.tree.len() - 1
    }

    /// Number of entries.
    pub fn len(&self) -> u64 {
        self.tree.len()
    }

    /// Whether nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// The tree head.
    pub fn root(&self) -> Hash {
        (*self.tree.root().as_bytes()).into()
    }

    /// The hashes that lead from an entry to the root.
    ///
    /// # Errors
    /// No such entry.
    pub fn prove_inclusion(&self, index: u64) -> Result<Vec<Hash>, LogProofError> {
        if index >= self.len() {
            return Err(LogProofError::OutOfRange { position: index, size: self.len() });
        }
        Ok(hashes(self.tree.prove_inclusion(index as usize).as_bytes()))
    }

    /// The hashes that show the first `old_size` entries to be those of an earlier log.
    ///
    /// # Errors
    /// The log was never of that size, or was empty then.
    pub fn prove_consistency(&self, old_size: u64) -> Result<Vec<Hash>, LogProofError> {
        if old_size == 0 || old_size > self.len() {
            return Err(LogProofError::OutOfRange { position: old_size, size: self.len() });
        }
        let additions = (self.len() - old_size) as usize;
        Ok(hashes(self.tree.prove_consistency(additions).as_bytes()))
    }
}

fn hashes(bytes: &[u8]) -> Vec<Hash> {
    bytes.as_chunks().0.to_vec()
}

fn root_hash(root: &Hash, size: u64) -> RootHash<Sha256> {
    RootHash::new((*root).into(), size)
}

/// Checks that entry `index` of the log with this head is this receipt.
///
/// # Errors
/// It isn't shown to be.
pub fn verify_inclusion(
    root: &Hash,
    size: u64,
    index: u64,
    receipt: &Hash,
    proof: &[Hash],
) -> Result<(), LogProofError> {
    if index >= size || size > SIZE_MAX {
        return Err(LogProofError::OutOfRange { position: index, size });
    }
    let refused = LogProofError::Refused { position: index, size };
    let Ok(proof) = InclusionProof::try_from_bytes(proof.as_flattened().to_vec()) else {
        return Err(refused);
    };
    root_hash(root, size).verify_inclusion(receipt, index, &proof).map_err(|_| refused)
}

/// Checks that a log with an old head became the one with this head by appending alone.
///
/// # Errors
/// It isn't shown to be; an empty old log proves nothing and is refused.
pub fn verify_consistency(
    root: &Hash,
    size: u64,
    old_root: &Hash,
    old_size: u64,
    proof: &[Hash],
) -> Result<(), LogProofError> {
    if old_size == 0 || old_size > size || size > SIZE_MAX {
        return Err(LogProofError::OutOfRange { position: old_size, size });
    }
    let refused = LogProofError::Refused { position: old_size, size };
    let Ok(proof) = ConsistencyProof::try_from_bytes(proof.as_flattened().to_vec()) else {
        return Err(refused);
    };
    let old = root_hash(old_root, old_size);
    root_hash(root, size).verify_consistency(&old, &proof).map_err(|_| refused)
}

/// A text is no checkpoint, or not one signed by whom it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Names must be non-empty, origins without line breaks, key names without spaces and plus signs too.
    #[error("not a usable name: {name:?}")]
    BadName {
        /// The name.
        name: String,
    },
    /// Not what [`Checkpoint::text`] writes.
    #[error("line {line} is not as in a checkpoint")]
    Malformed {
        /// Counted from 1.
        line: usize,
    },
    /// No signature of the key, or a wrong one.
    #[error("no valid signature by {name}")]
    NotSigned {
        /// The key's name.
        name: String,
    },
}

/// A tree head as it is signed and published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: a schema-less URL by custom.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
}

impl Checkpoint {
    /// The body of the note: what gets signed.
    ///
    /// # Errors
    /// An unusable origin.
    pub fn text(&self) -> Result<String, CheckpointError> {
        if self.origin.is_empty() || self.origin.contains(char::is_control) {
            return Err(CheckpointError::BadName { name: self.origin.clone() });
        }
        Ok(format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root)))
    }

    /// Reads the body back.
    ///
    /// # Errors
    /// Anything but what [`Checkpoint::text`] writes.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.split('\n');
        let mut next = |line| lines.next().ok_or(CheckpointError::Malformed { line });
        let origin = next(1)?.to_owned();
        let size = next(2)?.parse().map_err(|_| CheckpointError::Malformed { line: 2 })?;
        let root = STANDARD.decode(next(3)?).ok().and_then(|bytes| bytes.try_into().ok());
        let root = root.ok_or(CheckpointError::Malformed { line: 3 })?;
        let checkpoint = Self { origin, size, root };
        // One text for one checkpoint: no leading zeros, plus signs or lines behind.
        let canonical = checkpoint.text()?;
        match canonical.split('\n').zip(text.split('\n')).position(|(a, b)| a != b) {
            Some(line) => Err(CheckpointError::Malformed { line: line + 1 }),
            None if canonical.len() != text.len() => Err(CheckpointError::Malformed { line: 4 }),
            None => Ok(checkpoint),
        }
    }

    /// The note with one Ed25519 signature, made by `sign` over the body.
    ///
    /// # Errors
    /// An unusable origin or key name.
    pub fn sign_note(
        &self,
        key_name: &str,
        public_key: &[u8; 32],
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Result<String, CheckpointError> {
        check_key_name(key_name)?;
        let text = self.text()?;
        let mut signature = key_id(key_name, public_key).to_vec();
        signature.extend_from_slice(&sign(text.as_bytes()));
        Ok(format!("{text}\n— {key_name} {}\n", STANDARD.encode(signature)))
    }

    /// Reads a note that the key has signed, whoever else has; `verify` judges the Ed25519 signature over the body.
    ///
    /// # Errors
    /// No valid signature by this key, or no checkpoint.
    pub fn open_note(
        note: &str,
        key_name: &str,
        public_key: &[u8; 32],
        verify: impl Fn(&[u8], &[u8; 64]) -> bool,
    ) -> Result<Self, CheckpointError> {
        let not_signed = || CheckpointError::NotSigned { name: key_name.to_owned() };
        let (text, signatures) = note.rsplit_once("\n\n").ok_or_else(not_signed)?;
        let text = &note[..=text.len()];
        let id = key_id(key_name, public_key);
        let ours = |line: &str| {
            let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
            let bytes = STANDARD.decode(encoded).ok().filter(|_| name == key_name)?;
            let signature = <[u8; 64]>::try_from(bytes.strip_prefix(&id)?).ok()?;
            Some(verify(text.as_bytes(), &signature))
        };
        if signatures.lines().find_map(ours) == Some(true) { Self::parse(text) } else { Err(not_signed()) }
    }
}

pub(crate) fn check_key_name(name: &str) -> Result<(), CheckpointError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.contains(bad) {
        return Err(CheckpointError::BadName { name: name.to_owned() });
    }
    Ok(())
}

/// The key id of an Ed25519 key in a signed note.
pub(crate) fn key_id(name: &str, public_key: &[u8; 32]) -> [u8; 4] {
    let digest = Sha256::new().chain_update(name).chain_update([b'\n', 0x01]).chain_update(public_key).finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(size: u64) -> ReceiptLog {
        let mut log = ReceiptLog::new();
        for index in 0..size {
            assert_eq!(log.append(entry(index)), index);
        }
        log
    }

    fn entry(index: u64) -> Hash {
        *blake3::hash(&index.to_le_bytes()).as_bytes()
    }

    /// RFC 6962 §2.1, word for word.
    fn tree_hash(entries: &[Hash]) -> Hash {
        match entries {
            [] => Sha256::digest(b"").into(),
            [entry] => Sha256::new().chain_update([0]).chain_update(entry).finalize().into(),
            _ => {
                let split = entries.len().next_power_of_two() / 2;
                let (left, right) = entries.split_at(split);
                let node = Sha256::new().chain_update([1]).chain_update(tree_hash(left));
                node.chain_update(tree_hash(right)).finalize().into()
            }
        }
    }

    #[test]
    fn root_is_that_of_rfc_6962() {
        for size in 0..70 {
            let entries: Vec<Hash> = (0..size).map(entry).collect();
            assert_eq!(log(size).root(), tree_hash(&entries), "{size} entries");
        }
    }

    #[test]
    fn every_entry_is_provable_and_only_in_its_place() {
        for size in 1..40 {
            let log = log(size);
            let root = log.root();
            for index in 0..size {
                let proof = log.prove_inclusion(index).unwrap();
                assert_eq!(verify_inclusion(&root, size, index, &entry(index), &proof), Ok(()));
                for other in (0..size).filter(|other| *other != index) {
                    assert!(verify_inclusion(&root, size, other, &entry(index), &proof).is_err());
                }
                assert!(verify_inclusion(&root, size, index, &entry(99), &proof).is_err());
            }
            assert!(log.prove_inclusion(size).is_err());
        }
        assert!(verify_inclusion(&[0; 32], u64::MAX, u64::MAX - 1, &[0; 32], &[]).is_err());
    }

    #[test]
    fn every_earlier_log_is_a_provable_prefix_and_no_other() {
        for size in 1..40 {
            let new = log(size);
            for old_size in 1..=size {
                let old_root = log(old_size).root();
                let proof = new.prove_consistency(old_size).unwrap();
                assert_eq!(verify_consistency(&new.root(), size, &old_root, old_size, &proof), Ok(()));
                let forked = entry(1000);
                assert!(verify_consistency(&new.root(), size, &forked, old_size, &proof).is_err());
            }
            assert!(new.prove_consistency(0).is_err() && new.prove_consistency(size + 1).is_err());
        }
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "example.org/receipts".into(), size: 12, root: entry(5) }
    }

    #[test]
    fn a_checkpoint_has_one_text() {
        let text = checkpoint().text().unwrap();
        assert_eq!(text.lines().take(2).collect::<Vec<_>>(), ["example.org/receipts", "12"]);
        assert_eq!(Checkpoint::parse(&text), Ok(checkpoint()));
        for other in [
            text.replace("12", "012"),
            text.replace("12", "+12"),
            text.replace("12\n", "12\r\n"),
            format!("{text}\n"),
            text.trim_end().to_owned(),
            text.replace('=', ""),
            text.replace("example.org/receipts", ""),
            String::new(),
        ] {
            assert!(Checkpoint::parse(&other).is_err(), "accepted {other:?}");
        }
        let two_lines = Checkpoint { origin: "a\nb".into(), ..checkpoint() };
        assert!(two_lines.text().is_err());
    }

    /// Stands for Ed25519, whose key is the caller's affair.
    fn fake_signature(text: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        blake3::Hasher::new().update(text).finalize_xof().fill(&mut signature);
        signature
    }

    #[test]
    fn a_note_opens_only_under_the_key_that_signed_it() {
        let verify = |text: &[u8], signature: &[u8; 64]| *signature == fake_signature(text);
        let note = checkpoint().sign_note("example.org/receipts", &[7; 32], fake_signature).unwrap();
        let open = |note: &str, name: &str, key: &[u8; 32]| Checkpoint::open_note(note, name, key, verify);
        let name = "example.org/receipts";
        assert_eq!(open(&note, name, &[7; 32]), Ok(checkpoint()));
        let witnessed = format!("{note}— witness.example AAAAAA==\n");
        assert_eq!(open(&witnessed, name, &[7; 32]), Ok(checkpoint()));
        assert!(open(&note, name, &[8; 32]).is_err());
        assert!(open(&note, "example.org", &[7; 32]).is_err());
        assert!(open(&note.replace("\n12\n", "\n13\n"), name, &[7; 32]).is_err());
        assert!(checkpoint().sign_note("two words", &[7; 32], fake_signature).is_err());
    }

    #[test]
    fn key_id_is_that_of_the_signed_note_specification() {
        // The verifier key of the Go checksum database: name, id, and algorithm byte plus key in base64.
        let mut parts = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8".splitn(3, '+');
        let (name, id, key) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let key = STANDARD.decode(key).unwrap();
        assert_eq!(key[0], 1);
        let id = u32::from_str_radix(id, 16).unwrap();
        assert_eq!(key_id(name, key[1..].try_into().unwrap()), id.to_be_bytes());
    }
}

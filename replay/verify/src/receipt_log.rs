//! A receipt log in a folder: the static files of C2SP tlog-tiles, made, extended, checked and proved from.
//!
//! Not here: the files' layout (`ao_commit::tiles`), serving them.
//! Invariant: a published file is never changed and a signed head never contradicted; the head is written last, so
//! that a reader finds every file it calls for. One process writes at a time.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ao_commit::{
    Checkpoint, CheckpointError, GrowthNote, Hash, InclusionNote, LogProofError, NoteError, Receipt, ReceiptLog,
    TILE_WIDTH, VerifierKey, bundle_path, read_entry_bundle, tiles, verify_consistency, verify_inclusion,
};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use ao_commit::hex;

const CHECKPOINT: &str = "checkpoint";

/// What is wrong with a receipt log, or with a proof from one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptLogError {
    /// The file system refused.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The head is none, or not signed by the key.
    #[error("{}: the log's head", path.display())]
    Head {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: CheckpointError,
    },
    /// The head is of another log.
    #[error("the head is of log {found:?}, not {expected:?}")]
    Origin {
        /// Its origin.
        found: String,
        /// The log meant.
        expected: String,
    },
    /// The entries do not lead to the head that was signed.
    #[error("{} entries of {} lead to root {found}, the signed one is {signed}", size, path.display())]
    Root {
        /// The folder.
        path: PathBuf,
        /// Entries of the log.
        size: u64,
        /// Root of the entries there.
        found: String,
        /// Root in the head.
        signed: String,
    },
    /// A file holds something else than follows from the entries.
    #[error("{}: not what the log's entries give", path.display())]
    File {
        /// The file.
        path: PathBuf,
    },
    /// The receipt is not in the log.
    #[error("receipt {receipt} is not in the log")]
    NotInLog {
        /// Its hash.
        receipt: String,
    },
    /// A text is none of a proof or key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A proof does not hold.
    #[error(transparent)]
    Proof(#[from] LogProofError),
    /// A name that cannot be one.
    #[error(transparent)]
    Name(CheckpointError),
}

impl ReceiptLogError {
    /// Whether something was shown to be otherwise than claimed, as against being unreadable.
    pub fn is_refutation(&self) -> bool {
        use ReceiptLogError::*;
        matches!(self, Origin { .. } | Root { .. } | File { .. } | NotInLog { .. } | Proof(_))
            || matches!(self, Head { source: CheckpointError::NotSigned { .. }, .. })
    }

    /// Whether the host is to blame and not the input.
    pub fn is_host(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() != io::ErrorKind::NotFound)
    }
}

/// The key that signs a log's heads; it grows from a seed of 32 bytes.
pub struct LogKey {
    key: SigningKey,
    name: String,
}

impl LogKey {
    /// The key of the log `origin`.
    pub fn new(origin: &str, seed: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(seed), name: origin.to_owned() }
    }

    /// Its public half.
    pub fn verifier(&self) -> VerifierKey {
        VerifierKey { name: self.name.clone(), key: self.key.verifying_key().to_bytes() }
    }
}

/// Reads a signed head.
///
/// # Errors
/// A text that is none, or that the key has not signed, or the head of another log than the key's name says.
pub fn open_head(path: &Path, note: &str, key: &VerifierKey) -> Result<Checkpoint, ReceiptLogError> {
    let verify = |text: &[u8], signature: &[u8; 64]| {
        VerifyingKey::from_bytes(&key.key)
            .is_ok_and(|key| key.verify_strict(text, &Signature::from_bytes(signature)).is_ok())
    };
    let head = Checkpoint::open_note(note, &key.name, &key.key, verify);
    let head = head.map_err(|source| ReceiptLogError::Head { path: path.to_owned(), source })?;
    if head.origin == key.name {
        Ok(head)
    } else {
        Err(ReceiptLogError::Origin { found: head.origin, expected: key.name.clone() })
    }
}

/// A receipt log read from its folder; its entries lead to its signed head.
pub struct LogFiles {
    folder: PathBuf,
    entries: Vec<Hash>,
    log: ReceiptLog,
    /// The note of the head; `None` of a log that was never published.
    note: Option<String>,
}

impl LogFiles {
    /// Reads a log that `key` has signed, or an empty folder.
    ///
    /// # Errors
    /// A head that is not the key's, entries that do not lead to it, the file system's.
    pub fn open(folder: &Path, key: &VerifierKey) -> Result<Self, ReceiptLogError> {
        let mut files = Self { folder: folder.to_owned(), entries: Vec::new(), log: ReceiptLog::new(), note: None };
        let path = folder.join(CHECKPOINT);
        let Some(note) = read_if_there(&path)? else { return Ok(files) };
        let note = String::from_utf8_lossy(&note).into_owned();
        let head = open_head(&path, &note, key)?;
        for index in 0..head.size.div_ceil(TILE_WIDTH as u64) {
            let width = (head.size - index * TILE_WIDTH as u64).min(TILE_WIDTH as u64) as usize;
            files.read_bundle(index, width)?;
        }
        files.note = Some(note);
        if files.log.root() == head.root {
            Ok(files)
        } else {
            let (found, signed) = (hex(&files.log.root()), hex(&head.root));
            Err(ReceiptLogError::Root { path: files.folder, size: head.size, found, signed })
        }
    }

    /// Takes the first `width` entries of a bundle; a partial one may have given way to the full one.
    fn read_bundle(&mut self, index: u64, width: usize) -> Result<(), ReceiptLogError> {
        let partial = self.folder.join(bundle_path(index, width));
        let (path, bytes) = if let Some(bytes) = read_if_there(&partial)? {
            (partial, bytes)
        } else {
            let full = self.folder.join(bundle_path(index, TILE_WIDTH));
            let bytes = fs::read(&full).map_err(|source| ReceiptLogError::Io { path: partial, source })?;
            (full, bytes)
        };
        let entries = read_entry_bundle(&bytes).filter(|entries| entries.len() >= width);
        for entry in entries.ok_or(ReceiptLogError::File { path })?.into_iter().take(width) {
            self.push(entry);
        }
        Ok(())
    }

    fn push(&mut self, entry: Hash) {
        self.log.append(entry);
        self.entries.push(entry);
    }

    /// Entries of the log.
    pub fn size(&self) -> u64 {
        self.log.len()
    }

    /// Appends the receipts that are not in the log yet, in order; says how many those are.
    pub fn append<'r>(&mut self, receipts: impl IntoIterator<Item = &'r Receipt>) -> u64 {
        let before = self.size();
        let mut known: BTreeSet<Hash> = self.entries.iter().copied().collect();
        for receipt in receipts {
            let hash = receipt.hash();
            if known.insert(hash) {
                self.push(hash);
            }
        }
        self.size() - before
    }

    /// Writes the files that are new, and then the head, signed.
    ///
    /// # Errors
    /// A published file that holds something else, an unusable name, the file system's.
    pub fn publish(&self, key: &LogKey) -> Result<Checkpoint, ReceiptLogError> {
        let head = Checkpoint { origin: key.name.clone(), size: self.size(), root: self.log.root() };
        let verifier = key.verifier();
        let note = head.sign_note(&verifier.name, &verifier.key, |text| key.key.sign(text).to_bytes());
        let note = note.map_err(ReceiptLogError::Name)?;
        for (name, content) in tiles(&self.entries) {
            let path = self.folder.join(name);
            match read_if_there(&path)? {
                None => write_whole(&path, &content)?,
                Some(published) if published == content => {}
                Some(_) => return Err(ReceiptLogError::File { path }),
            }
        }
        write_whole(&self.folder.join(CHECKPOINT), note.as_bytes())?;
        Ok(head)
    }

    /// Compares every file of the log with what its entries give. A missing partial tile is let pass if the full one is there.
    ///
    /// # Errors
    /// The first file that differs or is missing; a folder without a log.
    pub fn audit(&self) -> Result<u64, ReceiptLogError> {
        self.note()?;
        let mut checked = 0;
        for (name, content) in tiles(&self.entries) {
            let path = self.folder.join(&name);
            let full = name.split_once(".p/").map(|(full, _)| self.folder.join(full));
            let found = match (read_if_there(&path)?, full) {
                (None, Some(full)) => read_if_there(&full)?.map(|mut bytes| {
                    bytes.truncate(content.len());
                    bytes
                }),
                (found, _) => found,
            };
            if found != Some(content) {
                return Err(ReceiptLogError::File { path });
            }
            checked += 1;
        }
        Ok(checked)
    }

    /// A proof that the receipt with this hash is in the log.
    ///
    /// # Errors
    /// It is not.
    pub fn prove_inclusion(&self, receipt: &Hash) -> Result<InclusionNote, ReceiptLogError> {
        let index = self.entries.iter().position(|entry| entry == receipt);
        let index = index.ok_or_else(|| ReceiptLogError::NotInLog { receipt: hex(receipt) })? as u64;
        Ok(InclusionNote { index, proof: self.log.prove_inclusion(index)?, checkpoint: self.note()?.to_owned() })
    }

    /// A proof that the log grew from the one with this head.
    ///
    /// # Errors
    /// It did not, or the older log was empty.
    pub fn prove_growth(&self, old: &Checkpoint) -> Result<GrowthNote, ReceiptLogError> {
        let proof = self.log.prove_consistency(old.size)?;
        verify_consistency(&self.log.root(), self.size(), &old.root, old.size, &proof)?;
        Ok(GrowthNote { old_size: old.size, proof, checkpoint: self.note()?.to_owned() })
    }

    fn note(&self) -> Result<&str, ReceiptLogError> {
        let missing =
            || ReceiptLogError::Io { path: self.folder.join(CHECKPOINT), source: io::ErrorKind::NotFound.into() };
        self.note.as_deref().ok_or_else(missing)
    }
}

/// Checks a proof that a receipt is in the log of `key`; gives the head that it leads to.
///
/// # Errors
/// A head that is not the key's, or a proof that does not lead to it.
pub fn check_inclusion(
    path: &Path,
    note: &InclusionNote,
    receipt: &Hash,
    key: &VerifierKey,
) -> Result<Checkpoint, ReceiptLogError> {
    let head = open_head(path, &note.checkpoint, key)?;
    verify_inclusion(&head.root, head.size, note.index, receipt, &note.proof)?;
    Ok(head)
}

/// Checks a proof that the log of `key` grew from the one with the head `old`; gives the head that it grew to.
///
/// # Errors
/// A head that is not the key's, a proof of growth from elsewhere, or one that does not hold.
pub fn check_growth(
    path: &Path,
    note: &GrowthNote,
    old: &Checkpoint,
    key: &VerifierKey,
) -> Result<Checkpoint, ReceiptLogError> {
    let head = open_head(path, &note.checkpoint, key)?;
    if note.old_size != old.size {
        return Err(LogProofError::Refused { position: old.size, size: head.size }.into());
    }
    verify_consistency(&head.root, head.size, &old.root, old.size, &note.proof)?;
    Ok(head)
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, ReceiptLogError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReceiptLogError::Io { path: path.to_owned(), source }),
    }
}

/// Writes a file that appears only when complete.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), ReceiptLogError> {
    let temporary = path.with_added_extension("partial");
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| ReceiptLogError::Io { path: path.to_owned(), source })
}

//! Where a log comes from: a replay bundle or a log folder, read as one stream of steps.
//!
//! Not here: whether the log can be trusted (`LogVerifier`), what its steps do (`session`).
//! Invariant: a stream holds one step in memory, whatever the size of the log.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use ao_commit::{RECEIPT_BYTES, Receipt};
use ao_log::bundle::{BundleReadError, BundleReader, BundleRoot, Manifest, ModuleMeta, Record};
use ao_log::{
    ASSIGNED_BYTES_MAX, Assigned, AssignedError, ChainRule, FolderError, LogEntry, LogFolder, Nonce, ProcessInfo,
};
use ao_wire::DataItem;

use crate::error::ReplayError;
use ao_commit::hex;

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file system refused.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The folder is not a log folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The file is not an intact bundle.
    #[error("{}: not an intact replay bundle", path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// What is wrong, and at which offset.
        #[source]
        source: BundleReadError,
    },
    /// What a bundle keeps for an assignment is no transaction.
    #[error("{}: nonce {nonce}: the transcript holds no assigned transaction", path.display())]
    Assigned {
        /// The bundle.
        path: PathBuf,
        /// The entry.
        nonce: Nonce,
        /// What is wrong.
        #[source]
        source: AssignedError,
    },
    /// The module's bytes are neither in the log nor given.
    #[error(
        "{}: the module with BLAKE3 {} is not embedded and none of the {tried} files given has that hash: --module FILE",
        path.display(),
        hex(blake3)
    )]
    NoModule {
        /// The bundle.
        path: PathBuf,
        /// The module's hash.
        blake3: [u8; 32],
        /// How many files were looked at.
        tried: usize,
    },
}

/// A state that a run can start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedState {
    /// Nonce of the last step in it.
    pub nonce: Nonce,
    /// The rest of the state; laid out as `FORMAT.md` says under "Saved state".
    pub meta: Vec<u8>,
    /// Groups of memory.
    pub body: Vec<u8>,
}

/// One nonce of a log with what a bundle keeps beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedStep {
    /// Assignment and message.
    pub entry: LogEntry,
    /// The recorded receipts, if there are any: one after the other those of the cron ticks before it, and its own.
    pub receipts: Option<Vec<u8>>,
    /// The transaction it assigns, if that lies beside the log. Neither its id nor its signature was looked at.
    pub assigned: Option<Assigned>,
}

impl LoggedStep {
    /// The recorded receipts in order, its own last; `None` if there are none.
    ///
    /// # Errors
    /// One of them is malformed.
    pub fn receipts(&self) -> Result<Option<Vec<Receipt>>, ReplayError> {
        let nonce = self.entry.nonce;
        let decode = |bytes: &Vec<u8>| bytes.chunks(RECEIPT_BYTES).map(Receipt::decode).collect();
        self.receipts.as_ref().map(decode).transpose().map_err(|source| ReplayError::Receipt { nonce, source })
    }
}

/// A log, opened.
pub struct Source {
    /// What the log is about.
    pub manifest: Manifest,
    /// The process' data item.
    pub process: Vec<u8>,
    /// The module's identity.
    pub module: ModuleMeta,
    /// The module's bytes, if the log holds them.
    pub wasm: Option<Vec<u8>>,
    /// The state before the first entry, if the log does not begin at the beginning.
    pub start: Option<SavedState>,
    path: PathBuf,
    steps: Steps,
}

enum Steps {
    Folder { folder: LogFolder, next: u64 },
    Bundle { reader: Box<BundleReader<BufReader<File>>>, pending: Option<LogEntry>, done: bool },
}

impl Source {
    /// Opens a log folder or a bundle.
    ///
    /// # Errors
    /// Whatever makes it neither.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        if path.is_dir() { Self::open_folder(path) } else { Self::open_bundle(path) }
    }

    fn open_folder(path: &Path) -> Result<Self, SourceError> {
        let folder = LogFolder::open(path)?;
        let ao_log::Module { meta, wasm } = folder.module()?;
        let first = folder.nonces().start;
        let manifest = Manifest {
            process: folder.process_info().id,
            first_nonce: Nonce(first),
            chain_rule: chain_rule(&folder)?,
            profile: ao_kernel::profile::Profile::default().name().into(),
            extra: Vec::new(),
        };
        Ok(Self {
            manifest,
            process: folder.process().to_vec(),
            module: meta,
            wasm: Some(wasm),
            start: None,
            path: path.into(),
            steps: Steps::Folder { folder, next: first },
        })
    }

    fn open_bundle(path: &Path) -> Result<Self, SourceError> {
        let damaged = |source| SourceError::Bundle { path: path.into(), source };
        let mut reader = open_reader(path)?;
        let mut header = Header::default();
        let mut state: Option<SavedState> = None;
        let mut pending = None;
        while let Some(record) = reader.next_record().map_err(damaged)? {
            match record {
                Record::Manifest(manifest) => header.manifest = Some(manifest),
                Record::Process(item) => header.process = item.to_vec(),
                Record::Module(meta) => header.module = Some(meta),
                Record::ModuleChunk(bytes) => header.wasm.extend_from_slice(bytes),
                Record::Checkpoint { nonce, meta, .. } => {
                    state = Some(SavedState { nonce, meta: meta.to_vec(), body: Vec::new() });
                }
                Record::CheckpointChunk(bytes) => extend(&mut state, bytes),
                Record::Entry { nonce, assignment, message } => {
                    pending = Some(log_entry(nonce, assignment, message));
                    break;
                }
                Record::Transcript { .. } | Record::Receipt { .. } => {}
            }
        }
        let done = pending.is_none();
        let (manifest, module) = header.manifest.zip(header.module).expect("the reader yields both before it ends");
        let wasm = module.embedded.then_some(header.wasm);
        let steps = Steps::Bundle { reader: Box::new(reader), pending, done };
        Ok(Self { manifest, process: header.process, module, wasm, start: state, path: path.into(), steps })
    }

    /// What the process' tags say.
    ///
    /// # Errors
    /// The item is no ao process.
    pub fn process_info(&self) -> Result<ProcessInfo, ao_log::LogFault> {
        let item = DataItem::parse(&self.process).map_err(ao_log::LogFault::ProcessItem)?;
        ProcessInfo::from_item(&item).map_err(ao_log::LogFault::Process)
    }

    /// The module's bytes: those in the log, else those of the file that has the log's hash.
    ///
    /// # Errors
    /// There are none.
    pub fn take_wasm(&mut self, files: &[PathBuf]) -> Result<Vec<u8>, SourceError> {
        let blake3 = self.module.wasm_blake3;
        if let Some(wasm) = self.wasm.take() {
            return Ok(wasm);
        }
        for path in files {
            let wasm = std::fs::read(path).map_err(|source| SourceError::Io { path: path.clone(), source })?;
            if *blake3::hash(&wasm).as_bytes() == blake3 {
                return Ok(wasm);
            }
        }
        Err(SourceError::NoModule { path: self.path.clone(), blake3, tried: files.len() })
    }

    /// The next step; `None` at the end, which for a bundle has proved it intact.
    ///
    /// # Errors
    /// The log is damaged from here on.
    pub fn next_step(&mut self) -> Result<Option<LoggedStep>, SourceError> {
        match &mut self.steps {
            Steps::Folder { folder, next } => {
                if *next >= folder.nonces().end {
                    return Ok(None);
                }
                let entry = folder.entry(Nonce(*next))?;
                *next += 1;
                let elsewhere = entry.elsewhere(folder.process_info().id);
                let assigned = elsewhere.map(|id| folder.assigned(id)).transpose()?.flatten();
                Ok(Some(LoggedStep { entry, receipts: None, assigned }))
            }
            Steps::Bundle { reader, pending, done } => {
                let damaged = |source| SourceError::Bundle { path: self.path.clone(), source };
                let Some(recorded) = next_of_bundle(reader, pending, done).map_err(damaged)? else { return Ok(None) };
                let Recorded { entry, receipts, transcript } = recorded;
                let nonce = entry.nonce;
                let assigned = transcript.map(|bytes| Assigned::decode(&bytes)).transpose();
                let assigned =
                    assigned.map_err(|source| SourceError::Assigned { path: self.path.clone(), nonce, source })?;
                Ok(Some(LoggedStep { entry, receipts, assigned }))
            }
        }
    }

    /// The last state saved after a nonce below `from`; folders hold none.
    ///
    /// # Errors
    /// The bundle is damaged.
    pub fn last_state_before(&self, from: Nonce) -> Result<Option<SavedState>, SourceError> {
        let Steps::Bundle { .. } = self.steps else { return Ok(None) };
        let damaged = |source| SourceError::Bundle { path: self.path.clone(), source };
        let mut reader = open_reader(&self.path)?;
        let mut state: Option<SavedState> = None;
        let mut wanted = false;
        while let Some(record) = reader.next_record().map_err(damaged)? {
            match record {
                Record::Checkpoint { nonce, meta, .. } => {
                    wanted = nonce < from;
                    if wanted {
                        state = Some(SavedState { nonce, meta: meta.to_vec(), body: Vec::new() });
                    }
                }
                Record::CheckpointChunk(bytes) if wanted => extend(&mut state, bytes),
                _ => {}
            }
        }
        Ok(state)
    }

    /// Root of the bundle, once it was read to its end; `None` for folders.
    pub fn bundle_root(&self) -> Option<BundleRoot> {
        match &self.steps {
            Steps::Bundle { reader, .. } => reader.root(),
            Steps::Folder { .. } => None,
        }
    }

    /// How many steps there are, where that is known without reading them.
    pub fn steps_hint(&self) -> Option<u64> {
        match &self.steps {
            Steps::Folder { folder, .. } => Some(folder.nonces().end - folder.nonces().start),
            Steps::Bundle { .. } => None,
        }
    }

    /// Bytes read so far and in all, for progress over a bundle.
    pub fn position(&self) -> Option<(u64, u64)> {
        let Steps::Bundle { reader, .. } = &self.steps else { return None };
        Some((reader.offset(), std::fs::metadata(&self.path).ok()?.len()))
    }
}

fn open_reader(path: &Path) -> Result<BundleReader<BufReader<File>>, SourceError> {
    let file = File::open(path).map_err(|source| SourceError::Io { path: path.into(), source })?;
    BundleReader::new(BufReader::with_capacity(1 << 20, file))
        .map_err(|source| SourceError::Bundle { path: path.into(), source })
}

#[derive(Default)]
struct Header {
    manifest: Option<Manifest>,
    process: Vec<u8>,
    module: Option<ModuleMeta>,
    wasm: Vec<u8>,
}

fn log_entry(nonce: Nonce, assignment: &[u8], message: Option<&[u8]>) -> LogEntry {
    LogEntry { nonce, assignment: assignment.to_vec(), message: message.map(<[u8]>::to_vec) }
}

/// The records of one step but for saved states.
struct Recorded {
    entry: LogEntry,
    receipts: Option<Vec<u8>>,
    transcript: Option<Vec<u8>>,
}

fn extend(state: &mut Option<SavedState>, bytes: &[u8]) {
    if let Some(state) = state {
        state.body.extend_from_slice(bytes);
    }
}

/// Collects what follows the pending entry up to the next one.
fn next_of_bundle(
    reader: &mut BundleReader<BufReader<File>>,
    pending: &mut Option<LogEntry>,
    done: &mut bool,
) -> Result<Option<Recorded>, BundleReadError> {
    let Some(entry) = pending.take().filter(|_| !*done) else { return Ok(None) };
    let mut step = Recorded { entry, receipts: None, transcript: None };
    loop {
        match reader.next_record()? {
            Some(Record::Entry { nonce, assignment, message }) => {
                *pending = Some(log_entry(nonce, assignment, message));
                return Ok(Some(step));
            }
            // What is longer than any transaction is cut, and then is none.
            Some(Record::Transcript { bytes, .. }) => {
                let transcript = step.transcript.get_or_insert_default();
                let room = (ASSIGNED_BYTES_MAX as usize + 1).saturating_sub(transcript.len());
                transcript.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Some(Record::Receipt { bytes, .. }) => step.receipts = Some(bytes.to_vec()),
            Some(_) => {}
            None => {
                *done = true;
                return Ok(Some(step));
            }
        }
    }
}

/// HyperBEAM's rule if the first assignment's chain value is right by it, else the legacy one.
fn chain_rule(folder: &LogFolder) -> Result<ChainRule, FolderError> {
    let Some(first) = folder.entries().next().transpose()? else { return Ok(ChainRule::Legacy) };
    let matches = || {
        let assignment = ao_log::Assignment::from_item(&DataItem::parse(&first.assignment).ok()?).ok()?;
        let message = match &first.message {
            Some(bytes) => DataItem::parse(bytes).ok()?.id().into(),
            None => assignment.message?,
        };
        Some(assignment.hash_chain == ao_log::hyperbeam(ao_log::HyperBeamLink::First, &message))
    };
    Ok(if matches() == Some(true) { ChainRule::HyperBeam } else { ChainRule::Legacy })
}

//! The log folder: one file per item, as a scheduler's uploads look when downloaded.
//!
//! ```text
//! process.ans104               the process' data item
//! module.ans104                the module's data item; or, for a module without one:
//! module.wasm, module.json     its binary, and {"id","owner","tags":[{"name","value"}]}
//! log/000000000000.ans104 ...  one ANS-104 bundle per nonce: [assignment] or [assignment, message]
//! assigned/<id>.ans104         a transaction that is assigned and not in the log, if it is a data item; else
//! assigned/<id>.json, .data    as an Arweave node gives it, and its data
//! ```
//!
//! *Not here:* whether the log is valid ([`crate::LogVerifier`]).
//!
//! Invariant: the file names of `log/` are the nonces, without a gap and without anything else.

mod error;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use ao_wire::{DataItem, MessageId, ModuleId, Transaction};

pub use error::FolderError;

use crate::bundle::{ModuleMeta, ModuleTag};
use crate::{Assigned, LogEntry, Nonce, ProcessInfo};

const PROCESS: &str = "process.ans104";
const MODULE_ITEM: &str = "module.ans104";
const MODULE_WASM: &str = "module.wasm";
const MODULE_JSON: &str = "module.json";
const LOG: &str = "log";
const ASSIGNED: &str = "assigned";
const SUFFIX: &str = ".ans104";
const NONCE_DIGITS: usize = 12;

/// A module with its binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its identity; `embedded` is set.
    pub meta: ModuleMeta,
    /// Its binary.
    pub wasm: Vec<u8>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct ModuleJson {
    id: ModuleId,
    owner: String,
    tags: Vec<ModuleTag>,
}

/// A log folder opened for reading.
#[derive(Debug)]
pub struct LogFolder {
    root: PathBuf,
    process: Vec<u8>,
    info: ProcessInfo,
    nonces: Range<u64>,
}

impl LogFolder {
    /// Opens a folder: reads the process and lists the log.
    ///
    /// # Errors
    /// An unreadable file, a process that is none, a file in `log/` that is no nonce, a missing nonce.
    pub fn open(root: impl Into<PathBuf>) -> Result<LogFolder, FolderError> {
        let root = root.into();
        let path = root.join(PROCESS);
        let process = read(&path)?;
        let item = parse(&path, &process)?;
        let info = ProcessInfo::from_item(&item).map_err(|source| FolderError::Process { path, source })?;
        let nonces = list_nonces(&root.join(LOG))?;
        Ok(LogFolder { root, process, info, nonces })
    }

    /// The process' data item.
    pub fn process(&self) -> &[u8] {
        &self.process
    }

    /// What its tags say.
    pub fn process_info(&self) -> &ProcessInfo {
        &self.info
    }

    /// The nonces of the log.
    pub fn nonces(&self) -> Range<u64> {
        self.nonces.clone()
    }

    /// The module. Neither its signature nor its binary is checked.
    ///
    /// # Errors
    /// No module, two of them, a damaged one, or one that the process does not run.
    pub fn module(&self) -> Result<Module, FolderError> {
        let exists = |name| {
            let path = self.root.join(name);
            path.try_exists().map_err(|source| FolderError::Io { path, source })
        };
        let loose = exists(MODULE_WASM)? || exists(MODULE_JSON)?;
        let (module, name) = match (exists(MODULE_ITEM)?, loose) {
            (true, true) => {
                return Err(FolderError::TwoModules { path: self.root.clone() });
            }
            (false, false) => {
                return Err(FolderError::NoModule { path: self.root.clone() });
            }
            (true, false) => (self.module_item()?, MODULE_ITEM),
            (false, true) => (self.module_files()?, MODULE_JSON),
        };
        let (found, named) = (module.meta.id, self.info.module);
        if found != named {
            return Err(FolderError::OtherModule { path: self.root.join(name), found, named });
        }
        Ok(module)
    }

    fn module_item(&self) -> Result<Module, FolderError> {
        let path = self.root.join(MODULE_ITEM);
        let bytes = read(&path)?;
        let item = parse(&path, &bytes)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let tags: Option<Vec<ModuleTag>> =
            item.tags().map(|tag| Some(ModuleTag { name: text(tag.name)?, value: text(tag.value)? })).collect();
        let json = ModuleJson {
            id: item.id().into(),
            owner: item.owner_address(),
            tags: tags.ok_or(FolderError::ModuleTag { path })?,
        };
        let prefix = bytes[..bytes.len() - item.data().len()].to_vec();
        Ok(Module::new(json, item.data().to_vec(), prefix))
    }

    fn module_files(&self) -> Result<Module, FolderError> {
        let path = self.root.join(MODULE_JSON);
        let json = serde_json::from_slice(&read(&path)?).map_err(|source| FolderError::ModuleJson { path, source })?;
        Ok(Module::new(json, read(&self.root.join(MODULE_WASM))?, Vec::new()))
    }

    /// The entries in order of nonce, each read when it is asked for.
    pub fn entries(&self) -> Entries<'_> {
        Entries { folder: self, left: self.nonces() }
    }

    /// The entry of one nonce.
    ///
    /// # Errors
    /// An unreadable file, or one that is no bundle of an assignment.
    pub fn entry(&self, nonce: Nonce) -> Result<LogEntry, FolderError> {
        let path = entry_path(&self.root, nonce)?;
        LogEntry::from_bundle(nonce, &read(&path)?).map_err(|source| FolderError::Entry { path, source })
    }

    /// A transaction that an assignment names and `log/` does not hold; `None` if `assigned/` does not hold it either.
    ///
    /// Its signature is not checked.
    ///
    /// # Errors
    /// An unreadable file, or one that is something else than its name says.
    pub fn assigned(&self, id: MessageId) -> Result<Option<Assigned>, FolderError> {
        let path = |suffix: &str| self.root.join(ASSIGNED).join(format!("{id}{suffix}"));
        let (item, json) = (path(SUFFIX), path(".json"));
        let (path, assigned) = if let Some(bytes) = read_if_there(&item)? {
            parse(&item, &bytes)?;
            (item, Assigned::Item(bytes))
        } else if let Some(bytes) = read_if_there(&json)? {
            let (transaction, inline) = Transaction::from_json(&bytes)
                .map_err(|source| FolderError::Assigned { path: json.clone(), source: source.into() })?;
            let data = match read_if_there(&path(".data"))? {
                None if inline.is_empty() && transaction.data_size > 0 => None,
                None => Some(inline),
                data => data,
            };
            (json, Assigned::Transaction { transaction: Box::new(transaction), data })
        } else {
            return Ok(None);
        };
        assigned.check_id(id).map_err(|source| FolderError::Assigned { path, source })?;
        Ok(Some(assigned))
    }
}

impl Module {
    fn new(json: ModuleJson, wasm: Vec<u8>, item_prefix: Vec<u8>) -> Module {
        let ModuleJson { id, owner, tags } = json;
        let (wasm_bytes, wasm_blake3) = (wasm.len() as u64, *blake3::hash(&wasm).as_bytes());
        let meta = ModuleMeta { id, owner, tags, wasm_bytes, wasm_blake3, embedded: true, item_prefix };
        Module { meta, wasm }
    }
}

/// Iterator over the entries of a [`LogFolder`].
#[derive(Debug)]
pub struct Entries<'a> {
    folder: &'a LogFolder,
    left: Range<u64>,
}

impl Iterator for Entries<'_> {
    type Item = Result<LogEntry, FolderError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left.next().map(|nonce| self.folder.entry(Nonce(nonce)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

/// Writes a log folder. Files are not synced: an export can be made again.
#[derive(Debug)]
pub struct LogFolderWriter {
    root: PathBuf,
}

impl LogFolderWriter {
    /// Creates the folder and writes the process. No file is ever overwritten.
    ///
    /// # Errors
    /// The file system's.
    pub fn create(root: impl Into<PathBuf>, process_item: &[u8]) -> Result<LogFolderWriter, FolderError> {
        let root = root.into();
        let path = root.join(LOG);
        fs::create_dir_all(&path).map_err(|source| FolderError::Io { path, source })?;
        write_new(&root.join(PROCESS), process_item)?;
        Ok(LogFolderWriter { root })
    }

    /// Goes on with a folder that is there; see [`LogFolder::open`] for what is in it.
    pub fn open(root: impl Into<PathBuf>) -> LogFolderWriter {
        LogFolderWriter { root: root.into() }
    }

    /// Writes the module: as its data item if that is known, else as binary and `module.json`.
    ///
    /// # Errors
    /// The file system's.
    pub fn module(&self, module: &Module) -> Result<(), FolderError> {
        let meta = &module.meta;
        if !meta.item_prefix.is_empty() {
            return write_new(&self.root.join(MODULE_ITEM), &[&meta.item_prefix[..], &module.wasm].concat());
        }
        write_new(&self.root.join(MODULE_WASM), &module.wasm)?;
        let json = ModuleJson { id: meta.id, owner: meta.owner.clone(), tags: meta.tags.clone() };
        let path = self.root.join(MODULE_JSON);
        match serde_json::to_vec_pretty(&json) {
            Ok(json) => write_new(&path, &json),
            Err(source) => Err(FolderError::ModuleJson { path, source }),
        }
    }

    /// Writes a transaction that an assignment names: a data item as such, another as `json`, the words of the node
    /// that it was read from, and its data.
    ///
    /// # Errors
    /// The file system's.
    pub fn assigned(&self, assigned: &Assigned, json: &[u8]) -> Result<(), FolderError> {
        let folder = self.root.join(ASSIGNED);
        fs::create_dir_all(&folder).map_err(|source| FolderError::Io { path: folder.clone(), source })?;
        let write = |suffix: &str, bytes: &[u8]| write_new(&folder.join(format!("{}{suffix}", assigned.id())), bytes);
        match assigned {
            Assigned::Item(item) => write(SUFFIX, item),
            Assigned::Transaction { data, .. } => {
                // What has no data file may have its data in the JSON: the file that names the transaction is last.
                data.as_ref().map_or(Ok(()), |data| write(".data", data))?;
                write(".json", json)
            }
        }
    }

    /// Removes what there is of a transaction that an assignment names, so that it can be written anew.
    ///
    /// # Errors
    /// The file system's.
    pub fn forget_assigned(&self, id: MessageId) -> Result<(), FolderError> {
        // The file that names the transaction goes first, as it comes last.
        for suffix in [".json", SUFFIX, ".data"] {
            let path = self.root.join(ASSIGNED).join(format!("{id}{suffix}"));
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(FolderError::Io { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes one entry.
    ///
    /// # Errors
    /// The file system's; items that are none; a nonce of more than 12 digits.
    pub fn entry(&self, entry: &LogEntry) -> Result<(), FolderError> {
        let path = entry_path(&self.root, entry.nonce)?;
        match entry.to_bundle() {
            Ok(bundle) => write_new(&path, &bundle),
            Err(source) => Err(FolderError::Entry { path, source: source.into() }),
        }
    }
}

fn entry_path(root: &Path, nonce: Nonce) -> Result<PathBuf, FolderError> {
    let digits = format!("{:0width$}", nonce.0, width = NONCE_DIGITS);
    if digits.len() > NONCE_DIGITS {
        return Err(FolderError::NonceTooBig { nonce });
    }
    Ok(root.join(LOG).join(digits + SUFFIX))
}

/// The nonces that the files of `log/` are named after.
fn list_nonces(log: &Path) -> Result<Range<u64>, FolderError> {
    let io = |source| FolderError::Io { path: log.to_path_buf(), source };
    let mut nonces = Vec::new();
    for file in fs::read_dir(log).map_err(io)? {
        let name = file.map_err(io)?.file_name();
        let nonce = name.to_str().and_then(parse_name);
        nonces.push(nonce.ok_or_else(|| FolderError::Unexpected { path: log.join(&name) })?);
    }
    nonces.sort_unstable();
    let (Some(&first), Some(&last)) = (nonces.first(), nonces.last()) else {
        return Ok(0..0);
    };
    if let Some((nonce, _)) = (first..=last).zip(&nonces).find(|(expected, found)| expected != *found) {
        let path = log.join(format!("{nonce:012}{SUFFIX}"));
        return Err(FolderError::Missing { path, nonce: Nonce(nonce) });
    }
    Ok(first..last + 1)
}

fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let plain = digits.len() == NONCE_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

fn read(path: &Path) -> Result<Vec<u8>, FolderError> {
    fs::read(path).map_err(|source| FolderError::Io { path: path.to_path_buf(), source })
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, FolderError> {
    match read(path) {
        Err(FolderError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<DataItem<'a>, FolderError> {
    DataItem::parse(bytes).map_err(|source| FolderError::Item { path: path.to_path_buf(), source })
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    let created: io::Result<File> = OpenOptions::new().write(true).create_new(true).open(path);
    let written = created.and_then(|mut file| file.write_all(bytes));
    written.map_err(|source| FolderError::Io { path: path.to_path_buf(), source })
}

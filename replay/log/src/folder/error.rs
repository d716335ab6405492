//! What can be wrong with a log folder. Every variant but one names the file.

use std::io;
use std::path::PathBuf;

use ao_wire::{ModuleId, WireError};
use thiserror::Error;

use super::{MODULE_ITEM, MODULE_JSON, MODULE_WASM, SUFFIX};
use crate::{AssignedError, EntryError, Nonce, ProcessError};

/// Failure to read or write a log folder.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FolderError {
    /// The file system refused.
    #[error("{}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The file system's own error.
        #[source]
        source: io::Error,
    },
    /// A file in `log/` that is not named after a nonce.
    #[error("{}: unexpected file, expected 12 digits and {SUFFIX}", path.display())]
    Unexpected {
        /// The file.
        path: PathBuf,
    },
    /// A nonce between others has no file.
    #[error("{}: nonce {nonce} is missing", path.display())]
    Missing {
        /// The file that should be there.
        path: PathBuf,
        /// Its nonce.
        nonce: Nonce,
    },
    /// The file is not a data item.
    #[error("{}: not a data item", path.display())]
    Item {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: WireError,
    },
    /// The file is not a process.
    #[error("{}: not an ao process", path.display())]
    Process {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: ProcessError,
    },
    /// The file is not the bundle of an entry.
    #[error("{}: not the bundle of an assignment", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: EntryError,
    },
    /// The file is not the transaction it is named after.
    #[error("{}: not the assigned transaction", path.display())]
    Assigned {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: AssignedError,
    },
    /// Neither `module.ans104` nor `module.wasm` is there.
    #[error("{}: no {MODULE_ITEM}, and no {MODULE_WASM} with {MODULE_JSON}", path.display())]
    NoModule {
        /// The folder.
        path: PathBuf,
    },
    /// Both `module.ans104` and `module.wasm` or `module.json` are there.
    #[error("{}: both {MODULE_ITEM} and {MODULE_WASM} or {MODULE_JSON}", path.display())]
    TwoModules {
        /// The folder.
        path: PathBuf,
    },
    /// `module.json` is not what it must be.
    #[error("{}: expected {{\"id\",\"owner\",\"tags\":[{{\"name\",\"value\"}}]}}", path.display())]
    ModuleJson {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A tag of the module's item is not text.
    #[error("{}: a tag is not UTF-8", path.display())]
    ModuleTag {
        /// The file.
        path: PathBuf,
    },
    /// The process runs another module.
    #[error("{}: module {found}, but the process runs {named}", path.display())]
    OtherModule {
        /// The file.
        path: PathBuf,
        /// Id of the module there.
        found: ModuleId,
        /// The process' `Module`.
        named: ModuleId,
    },
    /// The nonce has more digits than file names have.
    #[error("nonce {nonce} has more than 12 digits")]
    NonceTooBig {
        /// The nonce.
        nonce: Nonce,
    },
}

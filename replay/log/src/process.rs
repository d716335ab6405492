//! What the log needs to know of a process: who it is, which module it runs, who may order its messages.
//!
//! *Not here:* limits, cron and the rest of the spawn tags (`ao-kernel` and `cu/`).

use ao_wire::{DataItem, ModuleId, ProcessId};
use thiserror::Error;

use crate::tags::{self, Single};

/// A process, read from the tags of its data item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Id of the item.
    pub id: ProcessId,
    /// Address of its signer.
    pub owner: String,
    /// The module it runs.
    pub module: ModuleId,
    /// Addresses of its schedulers; legacy processes have exactly one.
    pub schedulers: Vec<String>,
}

/// Why an item is not a process.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// No `Data-Protocol` tag says `ao`.
    #[error("no Data-Protocol tag with value \"ao\"")]
    Protocol,
    /// A tag is missing or empty.
    #[error("no {tag} tag")]
    Missing {
        /// Its name.
        tag: &'static str,
    },
    /// A tag that must occur once occurs again.
    #[error("more than one {tag} tag")]
    Repeated {
        /// Its name.
        tag: &'static str,
    },
    /// The item says it is something else.
    #[error("Type is {found:?}, expected \"Process\"")]
    Type {
        /// What it says.
        found: String,
    },
    /// `Module` is not an id.
    #[error("Module is {value:?}, expected 43 characters of base64url")]
    Module {
        /// Its value.
        value: String,
    },
}

impl ProcessInfo {
    /// Reads a process. The signature is not checked.
    ///
    /// # Errors
    /// The first tag that is missing, repeated, or not what it must be.
    ///
    /// # Source
    /// `permaweb/ao` `servers/cu/src/domain/lib/loadProcessMeta.js` at `ff178d51`; HyperBEAM writes
    /// several schedulers into one tag, separated by commas.
    pub fn from_item(item: &DataItem<'_>) -> Result<ProcessInfo, ProcessError> {
        if !tags::values(item, "Data-Protocol").any(|value| value == b"ao") {
            return Err(ProcessError::Protocol);
        }
        let kind = required(item, "Type")?;
        if kind != b"Process" {
            return Err(ProcessError::Type { found: tags::lossy(kind) });
        }
        let module = required(item, "Module")?;
        let module = tags::parse_id(module).ok_or_else(|| ProcessError::Module { value: tags::lossy(module) })?;
        let schedulers: Vec<String> = tags::lossy(required(item, "Scheduler")?)
            .split(|c: char| c == ',' || c == '"' || c.is_ascii_whitespace())
            .filter(|address| !address.is_empty())
            .map(str::to_owned)
            .collect();
        if schedulers.is_empty() {
            return Err(ProcessError::Missing { tag: "Scheduler" });
        }
        Ok(ProcessInfo { id: item.id().into(), owner: item.owner_address(), module: module.into(), schedulers })
    }
}

fn required<'a>(item: &DataItem<'a>, tag: &'static str) -> Result<&'a [u8], ProcessError> {
    match tags::single(item, tag) {
        Single::Absent => Err(ProcessError::Missing { tag }),
        Single::One(value) => Ok(value),
        Single::Repeated => Err(ProcessError::Repeated { tag }),
    }
}

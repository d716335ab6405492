//! What is let in: items whose signature holds, that are what they say, and for processes of this unit.
//!
//! *Not here:* whether the process exists, whether the item came before (`sequencer`).
//!
//! Invariant: what is admitted is the bytes that were sent, to the last.

use ao_log::ProcessInfo;
use ao_wire::{DataItem, Id, Limits, ProcessId};
use bytes::Bytes;

use crate::SuError;
use crate::sequencer::Work;

/// The one variant of legacy processes.
const VARIANT: &str = "ao.TN.1";

/// Whom and what the unit serves.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Longest item, in bytes.
    pub item_bytes_max: usize,
    /// These processes only, if there are any; others cannot be spawned either.
    pub allow: Vec<ProcessId>,
    /// Never these.
    pub deny: Vec<ProcessId>,
    /// Whether nothing is taken in.
    pub read_only: bool,
}

impl Policy {
    /// Whether a process may have something put into its log.
    pub(crate) fn admit(&self, process: ProcessId) -> Result<(), SuError> {
        if self.read_only {
            return Err(SuError::ReadOnly);
        }
        if self.deny.contains(&process) || !self.allow.is_empty() && !self.allow.contains(&process) {
            return Err(SuError::Denied { process });
        }
        Ok(())
    }
}

/// Checks an item that was posted to the scheduler with this address; the process whose log it belongs into.
pub(crate) fn item(bytes: Bytes, scheduler: &str) -> Result<(ProcessId, Work), SuError> {
    let item = DataItem::parse_with(&bytes, &Limits::ARBUNDLES).map_err(SuError::Item)?;
    item.verify().map_err(SuError::Signature)?;
    let (mut protocol, mut kind) = (false, None);
    for tag in item.tags() {
        let (name, value) = (tag.name_str(), tag.value_str());
        // HyperBEAM's way to say that the value lies elsewhere: it would not be in the log.
        if name.ends_with("+link") || value.ends_with("+link") {
            let expected = "no value that is a link".to_owned();
            return Err(SuError::Tag { tag: "a tag", found: format!("{name}: {value}"), expected });
        }
        protocol |= name == "Data-Protocol" && value == "ao";
        if kind.is_none() && name.eq_ignore_ascii_case("Type") {
            kind = Some(value.into_owned());
        }
    }
    if !protocol {
        return Err(SuError::Missing { tag: "Data-Protocol=ao" });
    }
    let id = item.id();
    match kind.as_deref() {
        Some("Process") => {
            process(&item, scheduler)?;
            Ok((id.into(), Work::Item { id, bytes }))
        }
        Some("Message") => {
            let process = Id(*item.target().ok_or(SuError::NoTarget)?);
            Ok((process.into(), Work::Item { id, bytes }))
        }
        Some(other) => {
            let expected = "Process or Message".to_owned();
            Err(SuError::Tag { tag: "Type", found: other.to_owned(), expected })
        }
        None => Err(SuError::Missing { tag: "Type" }),
    }
}

/// A process must be one that can be verified later: of a module, and ordered by this unit.
fn process(item: &DataItem<'_>, scheduler: &str) -> Result<(), SuError> {
    let info = ProcessInfo::from_item(item)?;
    if !info.schedulers.iter().any(|named| named == scheduler) {
        let expected = format!("this unit's address {scheduler}");
        return Err(SuError::Tag { tag: "Scheduler", found: info.schedulers.join(", "), expected });
    }
    match item.tag("Variant") {
        Some(variant) if variant != VARIANT => {
            Err(SuError::Tag { tag: "Variant", found: variant.into_owned(), expected: VARIANT.to_owned() })
        }
        _ => Ok(()),
    }
}

//! The streaming verifier of a log.
//!
//! *Not here:* what the messages do; duplicates of *forwarded* messages by deep hash, which depend on
//! the profile (`ao-kernel`).
//!
//! Invariant: which fault is reported does not depend on paging or threads: it is the one at the lowest
//! nonce, structure before signatures, assignment before message.

mod fault;
mod options;
mod page;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ao_wire::{AssignmentId, DataItem, MessageId};

pub use fault::{LogFault, LogNote};
pub use options::{Duplicates, Signatures, VerifyOptions};

use crate::{
    Assignment, ChainRule, Epoch, HashChain, HyperBeamLink, LogEntry, Nonce, ProcessInfo, TimestampMs, hyperbeam,
    legacy_first, legacy_next,
};

/// The only epoch that schedulers have ever used.
const EPOCH: Epoch = Epoch(0);
/// Entries verified in one parallel call; also what is held in memory at a time.
const PAGE_ENTRIES: usize = 512;
/// Bytes after which a page is full before it has that many entries.
const PAGE_BYTES: usize = 32 << 20;

/// The end of a verified log: what the next assignment must continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainPoint {
    /// Nonce of the last assignment.
    pub nonce: Nonce,
    /// Its id.
    pub assignment: AssignmentId,
    /// Its chain value.
    pub hash_chain: HashChain,
    /// Its timestamp.
    pub timestamp: TimestampMs,
}

/// Whether a process is assigned to its own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessStyle {
    /// Nonce 0 is the process itself.
    New,
    /// Nonce 0 is the first message; the process precedes the log.
    Old,
}

/// What a verifier has seen so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogSummary {
    /// Entries verified.
    pub entries: u64,
    /// Known once nonce 0 was seen.
    pub style: Option<ProcessStyle>,
    /// The end of the log; `None` before the first entry.
    pub end: Option<ChainPoint>,
    /// Signatures checked, that of the process included.
    pub signatures_checked: u64,
    /// Assignments of existing transactions, whose content the log does not hold.
    pub messages_absent: u64,
    /// Oddities, in order of nonce.
    pub notes: Vec<LogNote>,
}

/// Checks entries in order of nonce, page by page. Strict: the first fault ends it.
///
/// # Limits
/// Holds about 150 bytes per entry to notice duplicates, unless they are [allowed](Duplicates::Allow).
#[derive(Debug)]
pub struct LogVerifier {
    process_item: Vec<u8>,
    process: ProcessInfo,
    options: VerifyOptions,
    next: Nonce,
    assignments: BTreeMap<AssignmentId, Nonce>,
    messages: BTreeMap<MessageId, Nonce>,
    summary: LogSummary,
}

impl LogVerifier {
    /// Begins at nonce 0 of a process.
    ///
    /// # Errors
    /// The item is no validly signed ao process; see the first variants of [`LogFault`].
    pub fn new(process_item: &[u8], options: VerifyOptions) -> Result<LogVerifier, LogFault> {
        let item = DataItem::parse(process_item).map_err(LogFault::ProcessItem)?;
        let process = ProcessInfo::from_item(&item).map_err(LogFault::Process)?;
        let mut summary = LogSummary::default();
        // One signature under which all the rest stands: sampling does not skip it.
        if options.signatures != Signatures::None {
            item.verify().map_err(|source| LogFault::ProcessSignature { id: process.id, source })?;
            summary.signatures_checked = 1;
        }
        Ok(LogVerifier {
            process_item: process_item.to_vec(),
            process,
            options,
            next: Nonce(0),
            assignments: BTreeMap::new(),
            messages: BTreeMap::new(),
            summary,
        })
    }

    /// Continues after a point verified earlier. Duplicates of what was before it go unnoticed.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn resume(process_item: &[u8], options: VerifyOptions, point: ChainPoint) -> Result<LogVerifier, LogFault> {
        let mut verifier = LogVerifier::new(process_item, options)?;
        verifier.next = after(point.nonce);
        verifier.summary.end = Some(point);
        Ok(verifier)
    }

    /// The process.
    pub fn process(&self) -> &ProcessInfo {
        &self.process
    }

    /// What was seen so far.
    pub fn summary(&self) -> &LogSummary {
        &self.summary
    }

    /// Checks a whole log, or the rest of one, holding one page of it in memory.
    ///
    /// # Errors
    /// The first fault, or the source's error if it comes earlier.
    pub fn check_all<E: From<LogFault>>(
        &mut self,
        entries: impl IntoIterator<Item = Result<LogEntry, E>>,
    ) -> Result<(), E> {
        let (mut page, mut bytes) = (Vec::new(), 0);
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.check_page(&page)?;
                    return Err(error);
                }
            };
            bytes += entry.bytes();
            page.push(entry);
            if page.len() == PAGE_ENTRIES || bytes >= PAGE_BYTES {
                self.check_page(&page)?;
                page.clear();
                bytes = 0;
            }
        }
        self.check_page(&page)?;
        Ok(())
    }

    /// Checks one entry but for its signatures, and moves over it.
    fn check_structure<'a>(&mut self, entry: &'a LogEntry) -> Result<Items<'a>, LogFault> {
        let nonce = entry.nonce;
        if nonce != self.next {
            return Err(LogFault::Gap { expected: self.next, found: nonce });
        }
        let item = DataItem::parse(&entry.assignment).map_err(|source| LogFault::AssignmentItem { nonce, source })?;
        let assignment = Assignment::from_item(&item).map_err(|source| LogFault::Assignment { nonce, source })?;
        self.check_binding(nonce, &assignment)?;
        let (id, message) = self.check_message(entry, &assignment)?;
        self.check_chain(nonce, &assignment, &id)?;
        self.check_duplicates(nonce, &assignment, id)?;
        self.advance(nonce, &assignment, id, message.is_none());
        // The process' signature was checked at the beginning.
        let message = message.filter(|_| id.id() != self.process.id.id());
        Ok(Items { assignment: item, message })
    }

    /// Place, process and signer of the assignment.
    fn check_binding(&self, nonce: Nonce, assignment: &Assignment) -> Result<(), LogFault> {
        if assignment.nonce != nonce {
            return Err(LogFault::AssignmentNonce { nonce, found: assignment.nonce });
        }
        if assignment.epoch != EPOCH {
            return Err(LogFault::Epoch { nonce, expected: EPOCH, found: assignment.epoch });
        }
        if assignment.process != self.process.id {
            let (expected, found) = (self.process.id, assignment.process);
            return Err(LogFault::AssignmentProcess { nonce, expected, found });
        }
        if !self.process.schedulers.contains(&assignment.signer) {
            let (expected, found) = (self.process.schedulers.join(", "), assignment.signer.clone());
            return Err(LogFault::Scheduler { nonce, expected, found });
        }
        Ok(())
    }

    /// Which message is assigned, and its item if the log holds it.
    fn check_message<'a>(
        &mut self,
        entry: &'a LogEntry,
        assignment: &Assignment,
    ) -> Result<(MessageId, Option<DataItem<'a>>), LogFault> {
        let nonce = entry.nonce;
        let own_id = MessageId::from(self.process.id.id());
        let Some(bytes) = &entry.message else {
            return match assignment.message {
                Some(named) => Ok((named, None)),
                None if nonce == Nonce(0) => Ok((own_id, None)),
                None => Err(LogFault::Unnamed { nonce }),
            };
        };
        let item = DataItem::parse(bytes).map_err(|source| LogFault::MessageItem { nonce, source })?;
        let found = MessageId::from(item.id());
        match assignment.message {
            Some(named) if named != found => {
                return Err(LogFault::MessageId { nonce, named, found });
            }
            // HyperBEAM's chain value covers the id of the message, so that one needn't be named.
            None if found != own_id && self.options.rule == ChainRule::Legacy => {
                return Err(LogFault::Unnamed { nonce });
            }
            _ => {}
        }
        if found == own_id {
            if *bytes != self.process_item {
                return Err(LogFault::ProcessDiffers { nonce });
            }
        } else if item.target() != Some(&self.process.id.id().0) {
            let (expected, found) = (self.process.id, item.target().map(|bytes| ao_wire::Id(*bytes)));
            return Err(LogFault::MessageTarget { nonce, expected, found });
        }
        Ok((found, Some(item)))
    }

    fn check_chain(&mut self, nonce: Nonce, assignment: &Assignment, message: &MessageId) -> Result<(), LogFault> {
        let found = assignment.hash_chain;
        let expected = match (self.options.rule, &self.summary.end) {
            (ChainRule::Legacy, None) => legacy_first(&self.process.id),
            (ChainRule::Legacy, Some(end)) => legacy_next(&end.assignment, &end.hash_chain),
            (ChainRule::HyperBeam, None) => hyperbeam(HyperBeamLink::First, message),
            (ChainRule::HyperBeam, Some(end)) => {
                if found == hyperbeam(HyperBeamLink::Restarted(end.hash_chain), message) {
                    self.summary.notes.push(LogNote::ChainRestarted { nonce });
                    return Ok(());
                }
                hyperbeam(HyperBeamLink::Running(end.hash_chain), message)
            }
        };
        if found == expected { Ok(()) } else { Err(LogFault::HashChain { nonce, expected, found }) }
    }

    fn check_duplicates(&mut self, nonce: Nonce, assignment: &Assignment, message: MessageId) -> Result<(), LogFault> {
        let id = assignment.id;
        if self.options.duplicates == Duplicates::Allow {
            return Ok(());
        }
        if let Some(&first) = self.assignments.get(&id) {
            return Err(LogFault::DuplicateAssignment { nonce, id, first });
        }
        self.assignments.insert(id, nonce);
        match self.messages.get(&message) {
            None => {
                self.messages.insert(message, nonce);
            }
            Some(&first) if self.options.duplicates == Duplicates::Note => {
                self.summary.notes.push(LogNote::DuplicateMessage { nonce, id: message, first });
            }
            Some(&first) => {
                return Err(LogFault::DuplicateMessage { nonce, id: message, first });
            }
        }
        Ok(())
    }

    fn advance(&mut self, nonce: Nonce, assignment: &Assignment, message: MessageId, absent: bool) {
        let own = message.id() == self.process.id.id();
        let (summary, found) = (&mut self.summary, assignment.timestamp);
        if let Some(ChainPoint { timestamp: previous, .. }) = summary.end
            && found < previous
        {
            summary.notes.push(LogNote::TimestampBack { nonce, previous, found });
        }
        if nonce == Nonce(0) {
            summary.style = Some(if own { ProcessStyle::New } else { ProcessStyle::Old });
        }
        summary.entries += 1;
        summary.messages_absent += u64::from(absent && !own);
        summary.end =
            Some(ChainPoint { nonce, assignment: assignment.id, hash_chain: assignment.hash_chain, timestamp: found });
        self.next = after(nonce);
    }
}

/// The items of an entry whose signatures are still to be checked.
struct Items<'a> {
    assignment: DataItem<'a>,
    message: Option<DataItem<'a>>,
}

/// The nonce that follows. At the end of the range the same one: it is refused as a duplicate.
fn after(nonce: Nonce) -> Nonce {
    nonce.next().unwrap_or(nonce)
}

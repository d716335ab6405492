//! The log of the unit: what was accepted, of all processes, in order of acceptance.
//!
//! A record is the bundle `[assignment, message]`, as it is uploaded; its number counts from 0 over all segment files
//! `log/<first record>.seg`. One file for all processes takes one sync for all who wait, and no handle per process.
//!
//! *Not here:* who gets which place (`sequencer`).
//!
//! Invariant: a record that was synced is read back whole, or there is an error; nothing before the durable end changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ao_log::segment::{FileStorage, Segment, SegmentHeader, SegmentReader, SyncPolicy, payload_at};
use ao_log::{Assignment, LogEntry, Nonce, TimestampMs};
use ao_wire::{DataItem, Id, ProcessId};

use crate::SuError;
use crate::error::RecordError;
use crate::index::{Head, Index, Location, Placed, UPLOADED};

/// Past this a new segment begins: only the last is read when the unit starts.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Records that may have to be put into the index again after a crash.
const UNSETTLED_MAX: usize = 4096;
/// Segment files open for reading.
const FILES_MAX: usize = 64;

/// The log, to read.
pub(crate) struct Ledger {
    folder: PathBuf,
    /// None while it lacks what the log has: after a write failed, until both were opened again.
    index: RwLock<Option<Arc<Index>>>,
    files: Mutex<BTreeMap<u64, Arc<FileStorage>>>,
    /// Records that are uploaded; in the index with the next that is put there.
    pub(crate) uploaded: AtomicU64,
}

/// The log, to write: there is one.
pub(crate) struct Writer {
    ledger: Arc<Ledger>,
    unit: ProcessId,
    /// The last segment and its first record; none after a write failed, until it was opened again.
    open: Option<(Segment<FileStorage>, u64)>,
    unsettled: usize,
}

fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:012}.seg"))
}

impl Ledger {
    /// Opens the log of the unit whose key has this hash, and brings its index up to it.
    pub(crate) fn open(dir: &Path, unit: Id) -> Result<Writer, SuError> {
        let folder = dir.join("log");
        fs::create_dir_all(&folder).map_err(SuError::io(&folder))?;
        let ledger =
            Arc::new(Self { folder, index: RwLock::default(), files: Mutex::default(), uploaded: AtomicU64::new(0) });
        let mut writer = Writer { ledger, unit: unit.into(), open: None, unsettled: 0 };
        writer.reopen()?;
        Ok(writer)
    }

    /// The index, in which is all that the log has.
    pub(crate) fn index(&self) -> Result<Arc<Index>, SuError> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(SuError::Broken)
    }

    fn set_index(&self, index: Option<Arc<Index>>) {
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
    }

    /// First records of the segments.
    fn segments(&self) -> Result<Vec<u64>, SuError> {
        let mut firsts = Vec::new();
        for file in fs::read_dir(&self.folder).map_err(SuError::io(&self.folder))? {
            let name = file.map_err(SuError::io(&self.folder))?.file_name();
            firsts.extend(name.to_str().and_then(|name| name.strip_suffix(".seg")?.parse::<u64>().ok()));
        }
        firsts.sort_unstable();
        Ok(firsts)
    }

    /// Puts those records of a segment into the index that are not before `from`.
    fn reindex(&self, index: &Index, first: u64, from: u64) -> Result<(), SuError> {
        let storage = FileStorage::open_read_only(&path(&self.folder, first)).map_err(SuError::io(&self.folder))?;
        let mut reader = SegmentReader::open(storage).map_err(SuError::segment(first))?;
        let (mut sequence, mut found) = (first, Vec::new());
        loop {
            let offset = reader.offset();
            let Some(payload) = reader.next_record().map_err(SuError::segment(first))? else { break };
            if sequence >= from {
                let placed = placed(payload).map_err(|source| SuError::Record { sequence, source })?;
                found.push((Location { sequence, segment: first, offset }, placed));
            }
            if found.len() >= UNSETTLED_MAX {
                index.put(&found, self.uploaded(), true)?;
                found.clear();
            }
            sequence += 1;
        }
        index.put(&found, self.uploaded(), true)
    }

    pub(crate) fn uploaded(&self) -> u64 {
        self.uploaded.load(Ordering::Relaxed)
    }

    /// The payload of a record.
    pub(crate) fn payload(&self, sequence: u64) -> Result<Option<Vec<u8>>, SuError> {
        let Some((first, offset)) = self.index()?.record(sequence)? else { return Ok(None) };
        payload_at(&*self.file(first)?, offset).map_err(SuError::segment(first)).map(Some)
    }

    /// The entry at a nonce, and its time.
    pub(crate) fn entry(&self, process: ProcessId, nonce: Nonce) -> Result<Option<(LogEntry, TimestampMs)>, SuError> {
        let Some((sequence, time)) = self.index()?.entry(process, nonce)? else { return Ok(None) };
        let payload = self.payload(sequence)?.ok_or(SuError::Row { sequence, process, nonce })?;
        let entry = LogEntry::from_bundle(nonce, &payload);
        let entry = entry.map_err(|source| SuError::Record { sequence, source: source.into() })?;
        Ok(Some((entry, time)))
    }

    /// The end of a log; an error if there is none.
    pub(crate) fn head(&self, process: ProcessId) -> Result<Head, SuError> {
        self.index()?.head(process)?.ok_or(SuError::NoProcess { process })
    }

    fn file(&self, first: u64) -> Result<Arc<FileStorage>, SuError> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(&first) {
            return Ok(Arc::clone(file));
        }
        let path = path(&self.folder, first);
        let file = Arc::new(FileStorage::open_read_only(&path).map_err(SuError::io(&path))?);
        if files.len() >= FILES_MAX {
            files.pop_first();
        }
        files.insert(first, Arc::clone(&file));
        Ok(file)
    }
}

impl Writer {
    /// To read it.
    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Number of the next record; none if an earlier write failed.
    pub(crate) fn end(&self) -> Option<u64> {
        self.open.as_ref().map(|(segment, _)| segment.next_nonce().0)
    }

    /// Gives up the handles that failed: what is on disk is known again when it is opened anew.
    pub(crate) fn close(&mut self) {
        self.open = None;
        self.ledger.set_index(None);
    }

    /// Opens log and index as after a crash, whatever they were, and puts into the index what the log has beyond it.
    pub(crate) fn reopen(&mut self) -> Result<(), SuError> {
        self.close();
        let ledger = &self.ledger;
        let firsts = ledger.segments()?;
        let first = firsts.last().copied().unwrap_or(0);
        let segment = open_segment(&ledger.folder, self.unit, first)?;
        let index = Index::open(&ledger.folder.with_file_name("index.redb"))?;
        let (indexed, records) = (index.indexed()?, segment.next_nonce().0);
        if indexed > records {
            return Err(SuError::IndexAhead { indexed, records });
        }
        ledger.uploaded.fetch_max(index.count(UPLOADED)?, Ordering::Relaxed);
        let last_before = firsts.partition_point(|first| *first <= indexed).saturating_sub(1);
        for first in firsts.into_iter().skip(last_before) {
            ledger.reindex(&index, first, indexed)?;
        }
        ledger.set_index(Some(Arc::new(index)));
        (self.open, self.unsettled) = (Some((segment, first)), 0);
        Ok(())
    }

    /// Appends records; all are durable and can be read when this returns. After an error the log is closed.
    pub(crate) fn append(&mut self, records: &[(Placed, Vec<u8>)]) -> Result<(), SuError> {
        let appended = self.append_all(records);
        if appended.is_err() {
            self.close();
        }
        appended
    }

    fn append_all(&mut self, records: &[(Placed, Vec<u8>)]) -> Result<(), SuError> {
        if records.is_empty() {
            return Ok(());
        }
        let (segment, first) = self.open.as_mut().ok_or(SuError::Broken)?;
        if segment.durable_end() > SEGMENT_BYTES_MAX {
            let next = segment.next_nonce().0;
            (*segment, *first) = (open_segment(&self.ledger.folder, self.unit, next)?, next);
        }
        let mut located = Vec::with_capacity(records.len());
        for (placed, payload) in records {
            let appended = segment.append(payload).map_err(SuError::segment(*first))?;
            let at = Location { sequence: appended.nonce.0, segment: *first, offset: appended.offset };
            located.push((at, *placed));
        }
        segment.sync().map_err(SuError::segment(*first))?;
        self.unsettled += records.len();
        let durable = self.unsettled >= UNSETTLED_MAX;
        self.ledger.index()?.put(&located, self.ledger.uploaded(), durable)?;
        if durable {
            self.unsettled = 0;
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let settled = self.ledger.index().and_then(|index| index.put(&[], self.ledger.uploaded(), true));
        if let Err(error) = settled {
            tracing::warn!(error = ao_http::chain(&error), "the index will be made up from the log at the next start");
        }
    }
}

fn open_segment(folder: &Path, unit: ProcessId, first: u64) -> Result<Segment<FileStorage>, SuError> {
    let path = path(folder, first);
    let storage = FileStorage::open_or_create(&path).map_err(SuError::io(&path))?;
    let header = SegmentHeader { process: unit, first_nonce: Nonce(first) };
    let opened = Segment::open_or_create(storage, header, SyncPolicy::Manual);
    let (segment, recovered) = opened.map_err(SuError::segment(first))?;
    if recovered.cut_bytes > 0 {
        tracing::info!(file = %path.display(), bytes = recovered.cut_bytes, "what was never acknowledged was cut off");
    }
    Ok(segment)
}

/// What a record says of itself.
fn placed(payload: &[u8]) -> Result<Placed, RecordError> {
    let entry = LogEntry::from_bundle(Nonce(0), payload)?;
    let assignment = Assignment::from_item(&DataItem::parse(&entry.assignment)?)?;
    Ok(Placed {
        process: assignment.process,
        nonce: assignment.nonce,
        timestamp: assignment.timestamp,
        hash_chain: assignment.hash_chain,
        block_height: assignment.block_height.0,
        assignment: assignment.id,
        message: assignment.message.map_or(assignment.process.id(), ao_wire::MessageId::id),
    })
}

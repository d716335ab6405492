//! Logs on disk: one chain of segment files per process, `logs/<process>/<first nonce>.seg`.
//!
//! *Not here:* whether a log is valid: entries are given by who verified them.
//!
//! Invariant: the segments of a process hold its nonces from 0 on without a gap.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use ao_log::segment::{Position, Segment, SegmentError, SegmentHeader, SegmentReader, Storage, SyncPolicy};
use ao_log::{LogEntry, Nonce};
use ao_wire::ProcessId;

use crate::{Disk, DiskFile, StoreError};

/// A file of the disk as the storage of a segment.
#[derive(Debug)]
struct SegmentFile(Arc<dyn DiskFile>);

impl Storage for SegmentFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buffer)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }
}

/// The log of one process, open for appending.
struct OpenLog {
    process: ProcessId,
    /// First nonces of all segments, the last one open.
    starts: Vec<Nonce>,
    segment: Segment<SegmentFile>,
    file: String,
    /// Next nonce that is not durable yet.
    durable: Nonce,
    /// Where the last reader stopped: the next one mostly goes on there, and need not read all before.
    mark: Arc<Mutex<Option<Mark>>>,
}

/// Where a reader stopped.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// First nonce of the segment.
    start: Nonce,
    /// The nonce it would have read next.
    nonce: Nonce,
    position: Position,
}

/// The logs of all processes.
pub(crate) struct Logs {
    disk: Arc<dyn Disk>,
    segment_bytes_max: u64,
    open_max: usize,
    open: Mutex<Opened>,
}

type Slot = Arc<Mutex<Option<OpenLog>>>;

#[derive(Default)]
struct Opened {
    logs: BTreeMap<ProcessId, (u64, Slot)>,
    /// Counts uses, to close the log that was used longest ago.
    clock: u64,
}

fn file(process: ProcessId, first: Nonce) -> String {
    format!("logs/{process}/{:012}.seg", first.0)
}

fn segment_error(file: &str) -> impl FnOnce(SegmentError) -> StoreError {
    move |source| StoreError::Segment { file: file.to_owned(), source: Box::new(source) }
}

impl Logs {
    pub(crate) fn new(disk: Arc<dyn Disk>, segment_bytes_max: u64, open_max: usize) -> Logs {
        Logs { disk, segment_bytes_max, open_max: open_max.max(1), open: Mutex::default() }
    }

    /// Appends entries; all are durable when this returns.
    pub(crate) fn append(&self, process: ProcessId, entries: &[LogEntry]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.with(process, |log| {
            let log = match log {
                Some(log) => log,
                none => none.insert(OpenLog::open(&*self.disk, process, vec![Nonce(0)])?),
            };
            for entry in entries {
                log.append(&*self.disk, self.segment_bytes_max, entry)?;
            }
            log.sync()
        })
    }

    /// The nonce that the stored log goes on at.
    pub(crate) fn next(&self, process: ProcessId) -> Result<Nonce, StoreError> {
        self.with(process, |log| Ok(log.as_ref().map_or(Nonce(0), |log| log.durable)))
    }

    /// The stored entries from `from` to before `end`.
    pub(crate) fn entries(&self, process: ProcessId, from: Nonce, end: Nonce) -> Result<LogEntries, StoreError> {
        self.with(process, |log| {
            let (starts, durable, mark) = match log {
                Some(log) => (&log.starts[..], log.durable, Arc::clone(&log.mark)),
                None => (&[][..], Nonce(0), Arc::default()),
            };
            let first = starts.partition_point(|start| *start <= from).saturating_sub(1);
            let starts = starts[first..].iter().copied().collect();
            let (disk, end) = (Arc::clone(&self.disk), end.min(durable));
            Ok(LogEntries { disk, process, starts, reader: None, from, end, mark })
        })
    }

    /// Runs `f` on the log of a process, open if there is one.
    fn with<T>(
        &self,
        process: ProcessId,
        f: impl FnOnce(&mut Option<OpenLog>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let slot = self.slot(process);
        let mut log = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if log.is_none() {
            let folder = format!("logs/{process}");
            let names = self.disk.list(&folder).map_err(StoreError::io(&folder, "cannot be listed"))?;
            let starts: Vec<Nonce> =
                names.iter().filter_map(|name| name.strip_suffix(".seg")?.parse().ok().map(Nonce)).collect();
            if !starts.is_empty() {
                *log = Some(OpenLog::open(&*self.disk, process, starts)?);
            }
        }
        f(&mut log)
    }

    /// The place for the open log of a process. Only this is shared between processes.
    fn slot(&self, process: ProcessId) -> Slot {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clock += 1;
        let clock = open.clock;
        if let Some((used, slot)) = open.logs.get_mut(&process) {
            *used = clock;
            return Arc::clone(slot);
        }
        if open.logs.len() >= self.open_max {
            let idle = open.logs.iter().filter(|(_, (_, slot))| Arc::strong_count(slot) == 1);
            if let Some(oldest) = idle.min_by_key(|(_, (used, _))| *used).map(|(process, _)| *process) {
                open.logs.remove(&oldest);
            }
        }
        let slot = Slot::default();
        open.logs.insert(process, (clock, Arc::clone(&slot)));
        slot
    }
}

impl OpenLog {
    fn open(disk: &dyn Disk, process: ProcessId, starts: Vec<Nonce>) -> Result<OpenLog, StoreError> {
        let (Some(Nonce(0)), Some(last)) = (starts.first(), starts.last()) else {
            return Err(StoreError::LogGap { process, nonce: Nonce(0) });
        };
        let (segment, file) = begin(disk, process, *last)?;
        let durable = segment.next_nonce();
        Ok(OpenLog { process, starts, segment, file, durable, mark: Arc::default() })
    }

    fn append(&mut self, disk: &dyn Disk, segment_bytes_max: u64, entry: &LogEntry) -> Result<(), StoreError> {
        let (process, nonce, expected) = (self.process, entry.nonce, self.segment.next_nonce());
        if nonce != expected {
            return Err(StoreError::NotNext { process, expected, found: nonce });
        }
        let bundle =
            entry.to_bundle().map_err(|source| StoreError::NotAnEntry { process, nonce, source: Box::new(source) })?;
        if self.segment.durable_end() >= segment_bytes_max {
            // What is in the file is durable before the next file says that it ends there.
            self.sync()?;
            (self.segment, self.file) = begin(disk, process, expected)?;
            self.starts.push(expected);
        }
        self.segment.append(&bundle).map_err(segment_error(&self.file))?;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.segment.sync().map_err(segment_error(&self.file))?;
        self.durable = self.segment.next_nonce();
        Ok(())
    }
}

fn begin(
    disk: &dyn Disk,
    process: ProcessId,
    first_nonce: Nonce,
) -> Result<(Segment<SegmentFile>, String), StoreError> {
    let name = file(process, first_nonce);
    let storage = disk.open(&name).map_err(StoreError::io(&name, "cannot be opened"))?;
    let header = SegmentHeader { process, first_nonce };
    let opened = Segment::open_or_create(SegmentFile(storage), header, SyncPolicy::Manual);
    let (segment, _) = opened.map_err(segment_error(&name))?;
    Ok((segment, name))
}

/// Iterator over stored entries, each read and checked when it is asked for. Later appends are not seen.
#[derive(Debug)]
pub struct LogEntries {
    disk: Arc<dyn Disk>,
    process: ProcessId,
    starts: std::collections::VecDeque<Nonce>,
    reader: Option<Reader>,
    from: Nonce,
    end: Nonce,
    mark: Arc<Mutex<Option<Mark>>>,
}

/// A reader of one segment.
#[derive(Debug)]
struct Reader {
    segment: SegmentReader<SegmentFile>,
    file: String,
    start: Nonce,
    /// What it reads next.
    nonce: Nonce,
}

impl Reader {
    /// On the segment that starts at `start`, before `from`: at `mark` if that lies between, else at its beginning.
    fn open(
        disk: &dyn Disk,
        process: ProcessId,
        start: Nonce,
        from: Nonce,
        mark: Option<Mark>,
    ) -> Result<Reader, StoreError> {
        let file = file(process, start);
        let storage = SegmentFile(disk.open_read_only(&file).map_err(StoreError::io(&file, "cannot be opened"))?);
        let (segment, nonce) = match mark.filter(|mark| mark.start == start && mark.nonce <= from) {
            Some(mark) => (SegmentReader::resume(storage, mark.position), mark.nonce),
            None => (SegmentReader::open(storage), start),
        };
        Ok(Reader { segment: segment.map_err(segment_error(&file))?, file, start, nonce })
    }
}

impl LogEntries {
    fn read(&mut self) -> Result<Option<LogEntry>, StoreError> {
        let process = self.process;
        while self.from < self.end {
            let Some(Reader { segment, file, nonce, .. }) = &mut self.reader else {
                let start = self.starts.pop_front().filter(|start| *start <= self.from);
                let start = start.ok_or(StoreError::LogGap { process, nonce: self.from })?;
                let mark = *self.mark.lock().unwrap_or_else(PoisonError::into_inner);
                self.reader = Some(Reader::open(&*self.disk, process, start, self.from, mark)?);
                continue;
            };
            if self.starts.front().is_some_and(|next| *nonce >= *next) {
                self.reader = None;
                continue;
            }
            let Some(record) = segment.next_record().map_err(segment_error(file))? else {
                return Err(StoreError::LogGap { process, nonce: *nonce });
            };
            let at = *nonce;
            nonce.0 += 1;
            if at < self.from {
                continue;
            }
            let entry = LogEntry::from_bundle(at, record);
            let entry = entry.map_err(|source| StoreError::Entry { process, nonce: at, source: Box::new(source) })?;
            self.from.0 += 1;
            return Ok(Some(entry));
        }
        Ok(None)
    }
}

impl Drop for LogEntries {
    fn drop(&mut self) {
        if let Some(Reader { segment, start, nonce, .. }) = &self.reader {
            let mark = Mark { start: *start, nonce: *nonce, position: segment.position() };
            *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = Some(mark);
        }
    }
}

impl Iterator for LogEntries {
    type Item = Result<LogEntry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.read();
        if entry.is_err() {
            self.end = self.from;
        }
        entry.transpose()
    }
}

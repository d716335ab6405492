//! Appending to a segment, and the policy of when it is synced.

use std::num::NonZeroU32;

use super::format::{self, Chain, HEADER_BYTES, MAX_PAYLOAD_BYTES, RECORD_HEADER_BYTES, RecordHeader};
use super::{RecordFault, Recovered, SegmentError, SegmentHeader, SegmentReader, Storage};
use crate::Nonce;

/// When appended records are made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before [`Segment::append`] returns: an answer to a client may follow at once.
    EveryRecord,
    /// After every so many records: the ones since are lost in a crash.
    EveryN(NonZeroU32),
    /// Only in [`Segment::sync`].
    Manual,
}

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Nonce of the record.
    pub nonce: Nonce,
    /// Offset of its first byte.
    pub offset: u64,
    /// Whether it survives a crash from now on.
    pub durable: bool,
}

/// A segment open for appending.
#[derive(Debug)]
pub struct Segment<S> {
    storage: S,
    header: SegmentHeader,
    policy: SyncPolicy,
    end: u64,
    durable_end: u64,
    records: u64,
    unsynced_records: u32,
    chain: Chain,
    buffer: Vec<u8>,
    poisoned: bool,
}

impl<S: Storage> Segment<S> {
    /// Opens a segment, or begins it if the storage is empty or its creation was torn.
    ///
    /// What remains is synced before this returns: records kept are acknowledged from then on.
    ///
    /// # Errors
    /// [`SegmentError::Corrupt`] when acknowledged bytes are damaged (nothing is cut then); a header that is
    /// damaged, of another process, nonce or version; a storage error.
    pub fn open_or_create(
        mut storage: S,
        header: SegmentHeader,
        policy: SyncPolicy,
    ) -> Result<(Segment<S>, Recovered), SegmentError> {
        let len = storage.len().map_err(SegmentError::io(0))?;
        if len <= HEADER_BYTES && !holds_whole_header(&storage, len)? {
            let reason = (len > 0).then_some(RecordFault::SegmentHeader);
            storage.truncate(0).map_err(SegmentError::io(0))?;
            storage.write_at(0, &header.encode()).map_err(SegmentError::io(0))?;
            storage.sync().map_err(SegmentError::io(0))?;
            let recovered = Recovered { records: 0, at_offset: 0, cut_bytes: len, reason };
            return Ok((Segment::at(storage, header, policy, HEADER_BYTES, 0, header.chain_seed()), recovered));
        }
        let reader = SegmentReader::open(storage)?;
        check_identity(&header, &reader.header())?;
        let (mut storage, position, reason) = reader.scan()?;
        let offset = position.offset;
        if reason.is_some() {
            storage.truncate(offset).map_err(SegmentError::io(offset))?;
        }
        // Intact records need not be durable yet: the last writer may have died before its sync.
        storage.sync().map_err(SegmentError::io(offset))?;
        let recovered = Recovered { records: position.records, at_offset: offset, cut_bytes: len - offset, reason };
        Ok((Segment::at(storage, header, policy, offset, position.records, position.chain), recovered))
    }

    fn at(storage: S, header: SegmentHeader, policy: SyncPolicy, end: u64, records: u64, chain: Chain) -> Self {
        Segment {
            storage,
            header,
            policy,
            end,
            durable_end: end,
            records,
            unsynced_records: 0,
            chain,
            buffer: Vec::new(),
            poisoned: false,
        }
    }

    /// Appends one record and syncs if the policy says so.
    ///
    /// # Limits
    /// 1 to [`MAX_PAYLOAD_BYTES`] bytes.
    ///
    /// # Errors
    /// A storage error, after which every further call answers [`SegmentError::Poisoned`]; a payload outside the limit.
    pub fn append(&mut self, payload: &[u8]) -> Result<Appended, SegmentError> {
        self.check_usable()?;
        if payload.is_empty() || payload.len() > MAX_PAYLOAD_BYTES as usize {
            return Err(SegmentError::PayloadSize { bytes: payload.len(), max: MAX_PAYLOAD_BYTES });
        }
        let header: [u8; RECORD_HEADER_BYTES] = RecordHeader::of(payload, self.durable_end).encode();
        let chain = format::next_chain(&self.chain, &header, payload);
        self.buffer.clear();
        self.buffer.extend_from_slice(&header);
        self.buffer.extend_from_slice(payload);
        self.buffer.extend_from_slice(&chain);
        let offset = self.end;
        if let Err(source) = self.storage.write_at(offset, &self.buffer) {
            self.poisoned = true;
            return Err(SegmentError::Io { offset, source });
        }
        let nonce = Nonce(self.header.first_nonce.0 + self.records);
        self.end += self.buffer.len() as u64;
        self.chain = chain;
        self.records += 1;
        self.unsynced_records += 1;
        let due = match self.policy {
            SyncPolicy::EveryRecord => true,
            SyncPolicy::EveryN(n) => self.unsynced_records >= n.get(),
            SyncPolicy::Manual => false,
        };
        if due {
            self.sync()?;
        }
        Ok(Appended { nonce, offset, durable: due })
    }

    /// Makes every record appended so far durable.
    ///
    /// # Errors
    /// As for [`append`](Segment::append).
    pub fn sync(&mut self) -> Result<(), SegmentError> {
        self.check_usable()?;
        if let Err(source) = self.storage.sync() {
            self.poisoned = true;
            return Err(SegmentError::Io { offset: self.end, source });
        }
        self.durable_end = self.end;
        self.unsynced_records = 0;
        Ok(())
    }

    /// What the segment is a segment of.
    pub fn header(&self) -> SegmentHeader {
        self.header
    }

    /// Number of records, durable or not.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Nonce of the record that [`append`](Segment::append) writes next.
    pub fn next_nonce(&self) -> Nonce {
        Nonce(self.header.first_nonce.0 + self.records)
    }

    /// End of what a crash cannot take.
    pub fn durable_end(&self) -> u64 {
        self.durable_end
    }

    fn check_usable(&self) -> Result<(), SegmentError> {
        if self.poisoned { Err(SegmentError::Poisoned) } else { Ok(()) }
    }
}

/// Whether a storage not longer than a header holds an intact one: creation syncs before anything follows it.
fn holds_whole_header<S: Storage>(storage: &S, len: u64) -> Result<bool, SegmentError> {
    if len < HEADER_BYTES {
        return Ok(false);
    }
    let mut bytes = [0; HEADER_BYTES as usize];
    storage.read_at(0, &mut bytes).map_err(SegmentError::io(0))?;
    Ok(!matches!(SegmentHeader::decode(&bytes), Err(SegmentError::BadHeader)))
}

fn check_identity(expected: &SegmentHeader, found: &SegmentHeader) -> Result<(), SegmentError> {
    if expected.process != found.process {
        return Err(SegmentError::OtherProcess { expected: expected.process, found: found.process });
    }
    if expected.first_nonce != found.first_nonce {
        let (expected, found) = (expected.first_nonce, found.first_nonce);
        return Err(SegmentError::OtherFirstNonce { expected, found });
    }
    Ok(())
}

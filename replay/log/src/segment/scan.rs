//! Reading a segment from its begin, and telling a torn tail from corruption.

use super::format::{self, CHAIN_BYTES, Chain, HEADER_BYTES, RECORD_HEADER_BYTES, RecordHeader};
use super::{RecordFault, SegmentError, SegmentHeader, Storage};

/// How much is read at a time when looking for intact records behind damage.
const SEARCH_WINDOW_BYTES: usize = 1 << 20;

/// What reopening a segment found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Intact records kept.
    pub records: u64,
    /// Where the file was cut; its length if nothing was.
    pub at_offset: u64,
    /// How many bytes were cut off there.
    pub cut_bytes: u64,
    /// Why; `None` if nothing was cut.
    pub reason: Option<RecordFault>,
}

/// Reads the records of a segment one by one; holds one record in memory.
#[derive(Debug)]
pub struct SegmentReader<S> {
    storage: S,
    header: SegmentHeader,
    len: u64,
    position: Position,
    payload: Vec<u8>,
}

/// The payload of the record that begins at `offset`, as [`Appended`](super::Appended) told it, checked against its own sums.
///
/// # Errors
/// [`SegmentError::Damaged`], where the record's index is not known and said to be 0; a storage error.
pub fn payload_at<S: Storage>(storage: &S, offset: u64) -> Result<Vec<u8>, SegmentError> {
    let damaged = |fault| SegmentError::Damaged { record: 0, offset, fault };
    let mut header = [0; RECORD_HEADER_BYTES];
    storage.read_at(offset, &mut header).map_err(SegmentError::io(offset))?;
    let header = RecordHeader::decode(&header).map_err(damaged)?;
    let mut payload = vec![0; header.payload_bytes as usize];
    storage.read_at(offset + RECORD_HEADER_BYTES as u64, &mut payload).map_err(SegmentError::io(offset))?;
    if crc32c::crc32c(&payload) == header.payload_crc { Ok(payload) } else { Err(damaged(RecordFault::Payload)) }
}

/// Where a reader stands between two records, to go on from there later.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    pub(super) offset: u64,
    pub(super) records: u64,
    pub(super) chain: Chain,
}

impl<S: Storage> SegmentReader<S> {
    /// Reads the header.
    ///
    /// # Errors
    /// A storage error, or a header that is not one of a segment this build knows.
    pub fn open(storage: S) -> Result<SegmentReader<S>, SegmentError> {
        let len = storage.len().map_err(SegmentError::io(0))?;
        if len < HEADER_BYTES {
            return Err(SegmentError::BadHeader);
        }
        let mut bytes = [0; HEADER_BYTES as usize];
        storage.read_at(0, &mut bytes).map_err(SegmentError::io(0))?;
        let header = SegmentHeader::decode(&bytes)?;
        let position = Position { offset: HEADER_BYTES, records: 0, chain: header.chain_seed() };
        Ok(SegmentReader { storage, header, len, position, payload: Vec::new() })
    }

    /// As [`open`](SegmentReader::open), going on where another reader of the same segment stood.
    ///
    /// # Errors
    /// As there; a segment that ends before that place is one with a bad header.
    pub fn resume(storage: S, position: Position) -> Result<SegmentReader<S>, SegmentError> {
        let reader = SegmentReader::open(storage)?;
        if reader.len < position.offset {
            return Err(SegmentError::BadHeader);
        }
        Ok(SegmentReader { position, ..reader })
    }

    /// Where it stands.
    pub fn position(&self) -> Position {
        self.position
    }

    /// What the segment is a segment of.
    pub fn header(&self) -> SegmentHeader {
        self.header
    }

    /// Where the next record begins.
    pub fn offset(&self) -> u64 {
        self.position.offset
    }

    /// Payload of the next record; `None` at the end of the file.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`] at the first record that is not intact, also for a torn tail; a storage error.
    pub fn next_record(&mut self) -> Result<Option<&[u8]>, SegmentError> {
        match self.step()? {
            Ok(true) => Ok(Some(&self.payload)),
            Ok(false) => Ok(None),
            Err(fault) => {
                let Position { offset, records: record, .. } = self.position;
                Err(SegmentError::Damaged { record, offset, fault })
            }
        }
    }

    /// Moves over one record; the inner result is what the bytes say, the outer what the storage says.
    fn step(&mut self) -> Result<Result<bool, RecordFault>, SegmentError> {
        let Position { offset, records, chain } = self.position;
        if offset == self.len {
            return Ok(Ok(false));
        }
        let mut header_bytes = [0; RECORD_HEADER_BYTES];
        if self.len - offset < RECORD_HEADER_BYTES as u64 {
            return Ok(Err(RecordFault::Short));
        }
        self.storage.read_at(offset, &mut header_bytes).map_err(SegmentError::io(offset))?;
        let header = match RecordHeader::decode(&header_bytes) {
            Ok(header) => header,
            Err(fault) => return Ok(Err(fault)),
        };
        if self.len - offset < header.record_bytes() {
            return Ok(Err(RecordFault::Short));
        }
        let body = offset + RECORD_HEADER_BYTES as u64;
        self.payload.resize(header.payload_bytes as usize + CHAIN_BYTES, 0);
        self.storage.read_at(body, &mut self.payload).map_err(SegmentError::io(body))?;
        let stored: Chain = format::array(&self.payload[header.payload_bytes as usize..]);
        self.payload.truncate(header.payload_bytes as usize);
        if crc32c::crc32c(&self.payload) != header.payload_crc {
            return Ok(Err(RecordFault::Payload));
        }
        let chain = format::next_chain(&chain, &header_bytes, &self.payload);
        if chain != stored {
            return Ok(Err(RecordFault::Chain));
        }
        self.position = Position { offset: offset + header.record_bytes(), records: records + 1, chain };
        Ok(Ok(true))
    }

    /// Reads to the end of the intact records.
    ///
    /// Returns the storage, where they end, and what is wrong there if the file goes on.
    pub(super) fn scan(mut self) -> Result<(S, Position, Option<RecordFault>), SegmentError> {
        loop {
            match self.step()? {
                Ok(true) => {}
                Ok(false) => return Ok((self.storage, self.position, None)),
                Err(fault) => {
                    let Position { offset, records: record, .. } = self.position;
                    if let Some(witness) = self.find_witness(offset)? {
                        return Err(SegmentError::Corrupt { record, offset, fault, witness });
                    }
                    return Ok((self.storage, self.position, Some(fault)));
                }
            }
        }
    }

    /// Looks behind damage at `damaged` for an intact record that was written when those bytes were durable already.
    fn find_witness(&mut self, damaged: u64) -> Result<Option<u64>, SegmentError> {
        let mut window = Vec::new();
        let mut start = damaged + 1;
        while start + RECORD_HEADER_BYTES as u64 <= self.len {
            let bytes = (self.len - start).min(SEARCH_WINDOW_BYTES as u64) as usize;
            window.resize(bytes, 0);
            self.storage.read_at(start, &mut window).map_err(SegmentError::io(start))?;
            let last = bytes - RECORD_HEADER_BYTES;
            let mut from = 0;
            while let Some(found) = format::find_record_magic(&window[from..]).map(|at| from + at) {
                if found > last {
                    break;
                }
                let header = RecordHeader::decode(&format::array(&window[found..found + RECORD_HEADER_BYTES]));
                let at = start + found as u64;
                if let Ok(header) = header
                    && self.attests(at, &header, damaged)?
                {
                    return Ok(Some(at));
                }
                from = found + 1;
            }
            // Windows overlap by one header less a byte, so that none is missed on the seam.
            start += last as u64 + 1;
        }
        Ok(None)
    }

    fn attests(&mut self, at: u64, header: &RecordHeader, damaged: u64) -> Result<bool, SegmentError> {
        let claims = header.durable_end > damaged && header.durable_end <= at;
        if !claims || self.len - at < header.record_bytes() {
            return Ok(false);
        }
        let body = at + RECORD_HEADER_BYTES as u64;
        self.payload.resize(header.payload_bytes as usize, 0);
        self.storage.read_at(body, &mut self.payload).map_err(SegmentError::io(body))?;
        Ok(crc32c::crc32c(&self.payload) == header.payload_crc)
    }
}

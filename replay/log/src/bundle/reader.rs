//! Reading a bundle, one record at a time.

use std::io::{BufReader, Read};

use super::error::{BundleReadError, PayloadFault};
use super::frame::{self, BundleRoot, CHECK_BYTES, Chain, END_BYTES, HEAD_BYTES, HEADER_BYTES, Kind};
use super::order::{Order, Shape};
use super::payload::{self, Fields};
use super::record::Record;

/// Reads a bundle; holds one record in memory.
///
/// Each record yielded is checked against everything before it. That nothing is missing *after* it is
/// known only once [`next_record`](Self::next_record) has answered `None`.
#[derive(Debug)]
pub struct BundleReader<R> {
    source: BufReader<R>,
    chain: Chain,
    order: Order,
    module: Option<ModuleBody>,
    offset: u64,
    payload: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Done,
    Failed,
}

/// The embedded module while its chunks go by.
#[derive(Debug)]
struct ModuleBody {
    hasher: blake3::Hasher,
    named: blake3::Hash,
    left: u64,
}

impl<R: Read> BundleReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// A source that is no bundle, of an unknown version or flags, or fails.
    pub fn new(source: R) -> Result<BundleReader<R>, BundleReadError> {
        let mut source = BufReader::with_capacity(1 << 16, source);
        let mut header = Vec::with_capacity(HEADER_BYTES);
        let read = (&mut source).take(HEADER_BYTES as u64).read_to_end(&mut header);
        read.map_err(|source| BundleReadError::Io { offset: 0, source })?;
        let seen = header.len().min(frame::MAGIC.len());
        if header[..seen] != frame::MAGIC[..seen] {
            return Err(BundleReadError::Magic);
        }
        let header: [u8; HEADER_BYTES] = header
            .try_into()
            .map_err(|short: Vec<u8>| BundleReadError::Truncated { offset: short.len() as u64, record: 0 })?;
        let version = u16::from_le_bytes([header[8], header[9]]);
        if version != frame::VERSION {
            return Err(BundleReadError::Version { found: version });
        }
        let flags = u16::from_le_bytes([header[10], header[11]]);
        if flags != 0 {
            return Err(BundleReadError::Flags { found: flags });
        }
        Ok(BundleReader {
            source,
            chain: Chain::new(&header),
            order: Order::new(),
            module: None,
            offset: HEADER_BYTES as u64,
            payload: Vec::new(),
            state: State::Open,
        })
    }

    /// The next record; `None` once the bundle proved complete.
    ///
    /// # Errors
    /// Any deviation from the format, with its offset; after one, [`BundleReadError::Stopped`].
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, BundleReadError> {
        match self.state {
            State::Open => {}
            State::Done => return Ok(None),
            State::Failed => return Err(BundleReadError::Stopped),
        }
        // Pessimistic, so that every early return leaves the reader stopped.
        self.state = State::Failed;
        let offset = self.offset;
        let kind = self.read_frame()?;
        if kind == Kind::End {
            self.check_end(offset)?;
            self.state = State::Done;
            return Ok(None);
        }
        let record =
            payload::decode(kind, &self.payload).map_err(|source| BundleReadError::Payload { offset, kind, source })?;
        self.order.accept(record.shape()).map_err(|source| BundleReadError::Order { offset, source })?;
        track_module(&mut self.module, &record, offset)?;
        self.state = State::Open;
        Ok(Some(record))
    }

    /// The root of the bundle, once it was read to its end.
    pub fn root(&self) -> Option<BundleRoot> {
        (self.state == State::Done).then(|| self.chain.root())
    }

    /// Offset of the next record; the size of the bundle once it was read to its end.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    #[cfg(test)]
    pub(super) fn payload_capacity(&self) -> usize {
        self.payload.capacity()
    }

    /// Reads one framed record into `self.payload` and checks it against the chain.
    fn read_frame(&mut self) -> Result<Kind, BundleReadError> {
        let record = self.offset;
        let mut head = [0; HEAD_BYTES];
        self.read_exact(&mut head, record)?;
        let [kind_byte, len @ ..] = head;
        let bytes = u64::from_le_bytes(len);
        let kind = Kind::from_byte(kind_byte).ok_or(BundleReadError::Kind { offset: record, kind: kind_byte })?;
        let max = kind.max_payload_bytes();
        if bytes > max {
            return Err(BundleReadError::TooBig { offset: record, kind, bytes, max });
        }
        self.payload.clear();
        // Grows with what is really there, not with what the head claims.
        let read = (&mut self.source).take(bytes).read_to_end(&mut self.payload);
        let read = read.map_err(|source| BundleReadError::Io { offset: self.offset, source })?;
        self.offset += read as u64;
        if (read as u64) < bytes {
            return Err(BundleReadError::Truncated { offset: self.offset, record });
        }
        let mut check = [0; CHECK_BYTES];
        let (records, payload_bytes) = (self.chain.records, self.chain.payload_bytes);
        self.read_exact(&mut check, record)?;
        if self.chain.advance(&head, &[&self.payload]) != check {
            return Err(BundleReadError::Check { offset: record, kind });
        }
        if kind == Kind::End {
            // The end record counts what came before it.
            (self.chain.records, self.chain.payload_bytes) = (records, payload_bytes);
        }
        Ok(kind)
    }

    fn read_exact(&mut self, buffer: &mut [u8], record: u64) -> Result<(), BundleReadError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.source.read(&mut buffer[filled..]) {
                Ok(0) => {
                    return Err(BundleReadError::Truncated { offset: self.offset, record });
                }
                Ok(read) => {
                    filled += read;
                    self.offset += read as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(BundleReadError::Io { offset: self.offset, source });
                }
            }
        }
        Ok(())
    }

    fn check_end(&mut self, offset: u64) -> Result<(), BundleReadError> {
        self.order.accept(Shape::End).map_err(|source| BundleReadError::Order { offset, source })?;
        let payload_error = |source| BundleReadError::Payload { offset, kind: Kind::End, source };
        if self.payload.len() as u64 != END_BYTES {
            return Err(payload_error(PayloadFault::Short));
        }
        let mut fields = Fields(&self.payload);
        for found in [self.chain.records, self.chain.payload_bytes] {
            let counted = fields.u64().map_err(payload_error)?;
            if counted != found {
                return Err(BundleReadError::Count { offset, counted, found });
            }
        }
        let mut surplus = Vec::new();
        let read = (&mut self.source).take(1).read_to_end(&mut surplus);
        match read.map_err(|source| BundleReadError::Io { offset: self.offset, source })? {
            0 => Ok(()),
            _ => Err(BundleReadError::Trailing { offset: self.offset }),
        }
    }
}

/// Compares the embedded module with the BLAKE3 it is named by.
fn track_module(body: &mut Option<ModuleBody>, record: &Record<'_>, offset: u64) -> Result<(), BundleReadError> {
    match record {
        Record::Module(meta) if meta.embedded => {
            let named = blake3::Hash::from_bytes(meta.wasm_blake3);
            *body = Some(ModuleBody { hasher: blake3::Hasher::new(), named, left: meta.wasm_bytes });
        }
        Record::ModuleChunk(bytes) => {
            let Some(open) = body else { return Ok(()) };
            open.hasher.update(bytes);
            open.left -= bytes.len() as u64;
        }
        _ => {}
    }
    if let Some(open) = body
        && open.left == 0
    {
        let (found, named) = (open.hasher.finalize(), open.named);
        *body = None;
        if found != named {
            return Err(BundleReadError::ModuleHash { offset, found, named });
        }
    }
    Ok(())
}

//! Writing a bundle, record by record, in canonical order.

use std::io::{BufWriter, Read, Write};

use super::error::BundleWriteError;
use super::frame::{self, BundleRoot, CHUNK_BYTES, Chain, END_BYTES, HEADER_BYTES, Kind};
use super::order::{Order, Shape};
use super::payload;
use super::record::{Manifest, ModuleMeta, Record};
use crate::Nonce;

/// Writes a bundle.
///
/// Call order: [`process`](Self::process), [`module`](Self::module), possibly [`checkpoint`](Self::checkpoint),
/// then for each nonce [`entry`](Self::entry), [`transcript`](Self::transcript)?, [`receipt`](Self::receipt)?,
/// [`checkpoint`](Self::checkpoint)?; at last [`finish`](Self::finish). After an error the writer is of no more use.
///
/// # Determinism
/// The same calls give the same bytes.
#[derive(Debug)]
pub struct BundleWriter<W: Write> {
    sink: BufWriter<W>,
    chain: Chain,
    order: Order,
    offset: u64,
    poisoned: bool,
}

impl<W: Write> BundleWriter<W> {
    /// Begins a bundle.
    ///
    /// # Errors
    /// The sink's; a manifest outside its limits.
    pub fn new(sink: W, manifest: &Manifest) -> Result<BundleWriter<W>, BundleWriteError> {
        let header = frame::encode_header();
        let mut writer = BundleWriter {
            sink: BufWriter::with_capacity(1 << 16, sink),
            chain: Chain::new(&header),
            order: Order::new(),
            offset: 0,
            poisoned: false,
        };
        writer.sink.write_all(&header).map_err(|source| BundleWriteError::Io { offset: 0, source })?;
        writer.offset = HEADER_BYTES as u64;
        writer.put(&Record::Manifest(manifest.clone()))?;
        Ok(writer)
    }

    /// Adds the process' data item.
    ///
    /// # Errors
    /// The sink's; a record out of order or above its limit, as for every record.
    pub fn process(&mut self, item: &[u8]) -> Result<(), BundleWriteError> {
        self.put(&Record::Process(item))
    }

    /// Adds the module: with its bytes if `meta.embedded`, else by name alone.
    ///
    /// # Errors
    /// As for [`process`](Self::process); bytes that are not those `meta` describes.
    pub fn module(&mut self, meta: &ModuleMeta, wasm: Option<&mut dyn Read>) -> Result<(), BundleWriteError> {
        if meta.embedded != wasm.is_some() {
            return Err(self.poison(BundleWriteError::ModuleBody));
        }
        self.put(&Record::Module(meta.clone()))?;
        let Some(wasm) = wasm else { return Ok(()) };
        let mut hasher = blake3::Hasher::new();
        self.body(meta.wasm_bytes, wasm, |writer, chunk| {
            hasher.update(chunk);
            writer.put(&Record::ModuleChunk(chunk))
        })?;
        let (found, named) = (hasher.finalize(), blake3::Hash::from_bytes(meta.wasm_blake3));
        if found != named {
            return Err(self.poison(BundleWriteError::ModuleHash { found, named }));
        }
        Ok(())
    }

    /// Adds the assignment of the next nonce, and its message if the log holds it.
    ///
    /// # Errors
    /// As for [`process`](Self::process).
    pub fn entry(&mut self, nonce: Nonce, assignment: &[u8], message: Option<&[u8]>) -> Result<(), BundleWriteError> {
        self.put(&Record::Entry { nonce, assignment, message })
    }

    /// Adds what the host calls of the step answered; nothing if `bytes` is empty.
    ///
    /// # Errors
    /// As for [`process`](Self::process).
    pub fn transcript(&mut self, nonce: Nonce, bytes: &[u8]) -> Result<(), BundleWriteError> {
        bytes.chunks(CHUNK_BYTES).try_for_each(|bytes| self.put(&Record::Transcript { nonce, bytes }))
    }

    /// Adds the receipt of the step.
    ///
    /// # Errors
    /// As for [`process`](Self::process).
    pub fn receipt(&mut self, nonce: Nonce, bytes: &[u8]) -> Result<(), BundleWriteError> {
        self.put(&Record::Receipt { nonce, bytes })
    }

    /// Adds the state after a step, or before the first entry the state the run starts from.
    ///
    /// # Errors
    /// As for [`process`](Self::process); a body of another size than announced.
    pub fn checkpoint(
        &mut self,
        nonce: Nonce,
        meta: &[u8],
        body_bytes: u64,
        body: &mut dyn Read,
    ) -> Result<(), BundleWriteError> {
        self.put(&Record::Checkpoint { nonce, body_bytes, meta })?;
        self.body(body_bytes, body, |writer, chunk| writer.put(&Record::CheckpointChunk(chunk)))
    }

    /// Writes the end record and flushes; the sink is handed back, not synced.
    ///
    /// # Errors
    /// As for [`process`](Self::process).
    pub fn finish(mut self) -> Result<(W, BundleRoot), BundleWriteError> {
        let mut end = [0; END_BYTES as usize];
        end[..8].copy_from_slice(&self.chain.records.to_le_bytes());
        end[8..].copy_from_slice(&self.chain.payload_bytes.to_le_bytes());
        self.put_framed(Kind::End, Shape::End, &[&end])?;
        let root = self.chain.root();
        let offset = self.offset;
        match self.sink.into_inner() {
            Ok(sink) => Ok((sink, root)),
            Err(error) => Err(BundleWriteError::Io { offset, source: error.into_error() }),
        }
    }

    fn put(&mut self, record: &Record<'_>) -> Result<(), BundleWriteError> {
        let kind = record.kind();
        match payload::encode(record) {
            Ok(encoded) => self.put_framed(kind, record.shape(), &encoded.parts()),
            Err(source) => Err(self.poison(BundleWriteError::Payload { kind, source })),
        }
    }

    fn put_framed(&mut self, kind: Kind, shape: Shape, parts: &[&[u8]]) -> Result<(), BundleWriteError> {
        if self.poisoned {
            return Err(BundleWriteError::Poisoned);
        }
        self.try_put(kind, shape, parts).map_err(|error| self.poison(error))
    }

    fn try_put(&mut self, kind: Kind, shape: Shape, parts: &[&[u8]]) -> Result<(), BundleWriteError> {
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        let max = kind.max_payload_bytes();
        if bytes > max {
            return Err(BundleWriteError::TooBig { kind, bytes, max });
        }
        self.order.accept(shape)?;
        let head = frame::encode_head(kind, bytes);
        let check = self.chain.advance(&head, parts);
        let offset = self.offset;
        let all = std::iter::once(&head[..]).chain(parts.iter().copied()).chain([&check[..]]);
        for part in all {
            self.sink.write_all(part).map_err(|source| BundleWriteError::Io { offset, source })?;
            self.offset += part.len() as u64;
        }
        Ok(())
    }

    /// Reads a body of a known size piece by piece and hands each to `put`.
    fn body<F>(&mut self, announced: u64, body: &mut dyn Read, mut put: F) -> Result<(), BundleWriteError>
    where
        F: FnMut(&mut Self, &[u8]) -> Result<(), BundleWriteError>,
    {
        let mut chunk = Vec::new();
        let mut found = 0;
        while found < announced {
            chunk.clear();
            let due = (announced - found).min(CHUNK_BYTES as u64);
            let read = body.take(due).read_to_end(&mut chunk).map_err(|source| self.body_error(source))?;
            found += read as u64;
            if (read as u64) < due {
                return Err(self.poison(BundleWriteError::BodySize { announced, found }));
            }
            put(self, &chunk)?;
        }
        chunk.clear();
        let surplus = body.take(1).read_to_end(&mut chunk).map_err(|source| self.body_error(source))?;
        if surplus > 0 {
            return Err(self.poison(BundleWriteError::BodySize { announced, found: announced + 1 }));
        }
        Ok(())
    }

    fn body_error(&mut self, source: std::io::Error) -> BundleWriteError {
        let offset = self.offset;
        self.poison(BundleWriteError::Body { offset, source })
    }

    fn poison(&mut self, error: BundleWriteError) -> BundleWriteError {
        self.poisoned = true;
        error
    }
}

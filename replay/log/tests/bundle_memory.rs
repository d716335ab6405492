//! A bundle far larger than memory may be is written and read through without ever being held.
//!
//! How: one generator implements `Read` by driving a `BundleWriter` into a small buffer, one record at a
//! time; a `BundleReader` reads from it. The peak of this process' memory is then compared with a bound.

#![allow(clippy::unwrap_used, reason = "helpers of a test fail by panicking")]

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use ao_log::bundle::{BundleReader, BundleRoot, BundleWriter, Manifest, ModuleMeta, Record};
use ao_log::{ChainRule, Nonce};
use ao_wire::{Id, ModuleId, ProcessId};

const BUNDLE_BYTES: u64 = 1 << 30;
const PEAK_BYTES_MAX: u64 = 200 << 20;
const CHECKPOINT_BYTES: u64 = 100 << 20;
const CHECKPOINT_EVERY: u64 = 128;

/// A sink that the generator drains.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A bundle that is made while it is read.
struct Generated {
    buffer: Shared,
    at: usize,
    writer: Option<BundleWriter<Shared>>,
    nonce: u64,
    made: u64,
    message: Vec<u8>,
    root: Option<BundleRoot>,
}

impl Generated {
    fn new() -> Generated {
        let buffer = Shared::default();
        let manifest = Manifest {
            process: ProcessId::from(Id([1; 32])),
            first_nonce: Nonce(0),
            chain_rule: ChainRule::Legacy,
            profile: "test".to_owned(),
            extra: Vec::new(),
        };
        let meta = ModuleMeta {
            id: ModuleId::from(Id([2; 32])),
            owner: "owner".to_owned(),
            tags: Vec::new(),
            wasm_bytes: 5,
            wasm_blake3: *blake3::hash(b"named").as_bytes(),
            embedded: false,
            item_prefix: Vec::new(),
        };
        let mut writer = BundleWriter::new(buffer.clone(), &manifest).unwrap();
        writer.process(b"process").unwrap();
        writer.module(&meta, None).unwrap();
        let message = vec![7; 2 << 20];
        Generated { buffer, at: 0, writer: Some(writer), nonce: 0, made: 0, message, root: None }
    }

    /// Makes the records of one nonce; a checkpoint goes into the buffer whole, as into any sink.
    fn make(&mut self) {
        let Some(mut writer) = self.writer.take() else {
            return;
        };
        if self.made >= BUNDLE_BYTES {
            self.root = Some(writer.finish().unwrap().1);
            return;
        }
        let nonce = Nonce(self.nonce);
        writer.entry(nonce, b"assignment", Some(&self.message)).unwrap();
        writer.transcript(nonce, b"transcript").unwrap();
        writer.receipt(nonce, b"receipt").unwrap();
        if self.nonce % CHECKPOINT_EVERY == CHECKPOINT_EVERY - 1 {
            let mut body = io::repeat(3).take(CHECKPOINT_BYTES);
            writer.checkpoint(nonce, b"meta", CHECKPOINT_BYTES, &mut body).unwrap();
        }
        self.nonce += 1;
        self.writer = Some(writer);
    }
}

impl Read for Generated {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.buffer.0.borrow().len() && self.root.is_none() {
            self.made += self.at as u64;
            self.at = 0;
            self.buffer.0.borrow_mut().clear();
            self.make();
        }
        let buffer = self.buffer.0.borrow();
        let read = out.len().min(buffer.len() - self.at);
        out[..read].copy_from_slice(&buffer[self.at..self.at + read]);
        self.at += read;
        Ok(read)
    }
}

/// The most memory this process ever held, as Linux tells it.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

#[test]
fn a_large_bundle_is_written_and_read_in_little_memory() {
    let mut reader = BundleReader::new(Generated::new()).unwrap();
    let (mut entries, mut checkpoint_bytes) = (0_u64, 0_u64);
    while let Some(record) = reader.next_record().unwrap() {
        match record {
            Record::Entry { nonce, .. } => {
                assert_eq!(nonce, Nonce(entries));
                entries += 1;
            }
            Record::CheckpointChunk(bytes) => checkpoint_bytes += bytes.len() as u64,
            _ => {}
        }
    }
    assert_eq!(checkpoint_bytes, entries / CHECKPOINT_EVERY * CHECKPOINT_BYTES);
    assert!(reader.offset() >= BUNDLE_BYTES);
    if let Some(peak) = peak_bytes() {
        assert!(peak < PEAK_BYTES_MAX, "peak of {peak} bytes for a bundle of {}", reader.offset());
    }
}

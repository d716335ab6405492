//! Replay bundles: any bytes are read or refused; payloads under right checks are read or refused, and what
//! is read is written back to the same bytes.
#![no_main]

use std::io::Read;

use ao_log::Nonce;
use ao_log::bundle::{BundleReader, BundleWriter, CHUNK_BYTES, Manifest, Record};
use libfuzzer_sys::fuzz_target;

const HEADER: [u8; 12] = *b"AORTABDL\x01\0\0\0";
const CONTEXT: &str = "aorta 2026-11 replay bundle chain v1";
const KINDS: [u8; 10] = [1, 2, 3, 4, 0x10, 0x11, 0x12, 0x13, 0x14, 0xff];

/// Frames payloads as FORMAT.md says, independently of the crate.
fn forge(records: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut out = HEADER.to_vec();
    let mut check = blake3::derive_key(CONTEXT, &HEADER);
    for (kind, payload) in records {
        let mut framed = vec![*kind];
        framed.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        framed.extend_from_slice(payload);
        check = blake3::derive_key(CONTEXT, &[&check[..], &framed].concat());
        out.extend_from_slice(&framed);
        out.extend_from_slice(&check);
    }
    out
}

fn read_through(bytes: &[u8]) -> bool {
    let Ok(mut reader) = BundleReader::new(bytes) else {
        return false;
    };
    loop {
        match reader.next_record() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// Every body of these inputs is below one chunk, so that each is complete with its first record.
fn write_back(bytes: &[u8]) -> Vec<u8> {
    let mut reader = BundleReader::new(bytes).expect("read before");
    let mut writer: Option<BundleWriter<Vec<u8>>> = None;
    let mut module = None;
    let mut checkpoint: Option<(Nonce, Vec<u8>, u64)> = None;
    while let Some(record) = reader.next_record().expect("read before") {
        if let Record::Manifest(manifest) = &record {
            let manifest: &Manifest = manifest;
            writer = Some(BundleWriter::new(Vec::new(), manifest).expect("was read"));
            continue;
        }
        let to = writer.as_mut().expect("the manifest is first");
        match record {
            Record::Manifest(_) => {}
            Record::Process(item) => to.process(item).expect("was read"),
            Record::Module(meta) if meta.embedded && meta.wasm_bytes > 0 => module = Some(meta),
            Record::Module(meta) => {
                let mut empty: &[u8] = &[];
                let body: Option<&mut dyn Read> = if meta.embedded { Some(&mut empty) } else { None };
                to.module(&meta, body).expect("was read");
            }
            Record::ModuleChunk(mut bytes) => {
                to.module(&module.take().expect("one chunk"), Some(&mut bytes)).expect("was read");
            }
            Record::Entry { nonce, assignment, message } => to.entry(nonce, assignment, message).expect("was read"),
            Record::Transcript { nonce, bytes } => to.transcript(nonce, bytes).expect("was read"),
            Record::Receipt { nonce, bytes } => to.receipt(nonce, bytes).expect("was read"),
            Record::Checkpoint { nonce, body_bytes: 0, meta } => {
                to.checkpoint(nonce, meta, 0, &mut &b""[..]).expect("was read");
            }
            Record::Checkpoint { nonce, body_bytes, meta } => checkpoint = Some((nonce, meta.to_vec(), body_bytes)),
            Record::CheckpointChunk(mut bytes) => {
                let (nonce, meta, size) = checkpoint.take().expect("one chunk");
                to.checkpoint(nonce, &meta, size, &mut bytes).expect("was read");
            }
        }
    }
    writer.expect("the manifest is first").finish().expect("was read").0
}

fuzz_target!(|data: &[u8]| {
    let _ = read_through(data);
    // Records as (kind, size of the payload, payload); an end record that fits is added.
    let (mut rest, mut records) = (data, Vec::new());
    while let [kind, size, tail @ ..] = rest {
        let (payload, tail) = tail.split_at(usize::from(*size).min(tail.len()));
        records.push((KINDS[usize::from(*kind) % KINDS.len()], payload.to_vec()));
        rest = tail;
    }
    let mut end = (records.len() as u64).to_le_bytes().to_vec();
    let sum: usize = records.iter().map(|(_, payload)| payload.len()).sum();
    end.extend_from_slice(&(sum as u64).to_le_bytes());
    records.push((0xff, end));
    let bytes = forge(&records);
    if read_through(&bytes) {
        assert!(sum < CHUNK_BYTES);
        assert_eq!(write_back(&bytes), bytes, "one content, two encodings");
    }
});

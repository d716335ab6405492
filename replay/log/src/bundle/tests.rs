//! Round trips, order, and damage of the replay bundle.

use std::io::Read;

use ao_wire::{Id, ModuleId, ProcessId};
use proptest::prelude::*;

use super::*;
use crate::{ChainRule, Nonce};

fn manifest(first_nonce: u64) -> Manifest {
    Manifest {
        process: ProcessId::from(Id([1; 32])),
        first_nonce: Nonce(first_nonce),
        chain_rule: ChainRule::Legacy,
        profile: "ao-loader-0.0.49".to_owned(),
        extra: b"K=32".to_vec(),
    }
}

fn module(wasm: &[u8], embedded: bool) -> ModuleMeta {
    ModuleMeta {
        id: ModuleId::from(Id([2; 32])),
        owner: "0xAb".to_owned(),
        tags: vec![ModuleTag { name: "Module-Format".to_owned(), value: "wasm32-unknown-emscripten4".to_owned() }],
        wasm_bytes: wasm.len() as u64,
        wasm_blake3: *blake3::hash(wasm).as_bytes(),
        embedded,
        item_prefix: vec![9; 5],
    }
}

/// A step with everything a step can have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    assignment: Vec<u8>,
    message: Option<Vec<u8>>,
    transcript: Vec<u8>,
    receipt: Option<Vec<u8>>,
    checkpoint: Option<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    first_nonce: u64,
    process: Vec<u8>,
    wasm: Vec<u8>,
    embedded: bool,
    start: Option<(Vec<u8>, Vec<u8>)>,
    steps: Vec<Step>,
}

fn write(content: &Content) -> Result<(Vec<u8>, BundleRoot), BundleWriteError> {
    let mut writer = BundleWriter::new(Vec::new(), &manifest(content.first_nonce))?;
    writer.process(&content.process)?;
    let mut wasm = &content.wasm[..];
    let body: Option<&mut dyn Read> = if content.embedded { Some(&mut wasm) } else { None };
    writer.module(&module(&content.wasm, content.embedded), body)?;
    if let Some((meta, body)) = &content.start {
        writer.checkpoint(Nonce(content.first_nonce - 1), meta, body.len() as u64, &mut &body[..])?;
    }
    for (nonce, step) in (content.first_nonce..).map(Nonce).zip(&content.steps) {
        writer.entry(nonce, &step.assignment, step.message.as_deref())?;
        writer.transcript(nonce, &step.transcript)?;
        if let Some(receipt) = &step.receipt {
            writer.receipt(nonce, receipt)?;
        }
        if let Some((meta, body)) = &step.checkpoint {
            writer.checkpoint(nonce, meta, body.len() as u64, &mut &body[..])?;
        }
    }
    writer.finish()
}

fn read(bytes: &[u8]) -> Result<(Content, BundleRoot), BundleReadError> {
    let mut reader = BundleReader::new(bytes)?;
    let mut content = Content {
        first_nonce: 0,
        process: Vec::new(),
        wasm: Vec::new(),
        embedded: false,
        start: None,
        steps: Vec::new(),
    };
    while let Some(record) = reader.next_record()? {
        match record {
            Record::Manifest(found) => content.first_nonce = found.first_nonce.0,
            Record::Process(item) => content.process = item.to_vec(),
            Record::Module(meta) => content.embedded = meta.embedded,
            Record::ModuleChunk(bytes) => content.wasm.extend_from_slice(bytes),
            Record::Entry { assignment, message, .. } => content.steps.push(Step {
                assignment: assignment.to_vec(),
                message: message.map(<[u8]>::to_vec),
                transcript: Vec::new(),
                receipt: None,
                checkpoint: None,
            }),
            Record::Transcript { bytes, .. } => content.steps.last_mut().unwrap().transcript.extend_from_slice(bytes),
            Record::Receipt { bytes, .. } => {
                content.steps.last_mut().unwrap().receipt = Some(bytes.to_vec());
            }
            Record::Checkpoint { meta, .. } => {
                let slot = content.steps.last_mut().map_or(&mut content.start, |step| &mut step.checkpoint);
                *slot = Some((meta.to_vec(), Vec::new()));
            }
            Record::CheckpointChunk(bytes) => {
                let slot = content.steps.last_mut().map_or(&mut content.start, |step| &mut step.checkpoint);
                slot.as_mut().unwrap().1.extend_from_slice(bytes);
            }
        }
    }
    Ok((content, reader.root().expect("read to the end")))
}

fn small() -> Content {
    let step = |i: u8| Step {
        assignment: vec![i; 20],
        message: (i != 1).then(|| vec![i + 1; 11]),
        transcript: vec![i; i as usize],
        receipt: Some(vec![i; 3]),
        checkpoint: (i == 1).then(|| (vec![7], vec![8; 17])),
    };
    Content {
        first_nonce: 4,
        process: vec![3; 13],
        wasm: b"\0asm\x01\0\0\0".to_vec(),
        embedded: true,
        start: Some((b"m".to_vec(), vec![5; 9])),
        steps: (0..3).map(step).collect(),
    }
}

#[test]
fn the_same_content_packs_to_the_same_bytes_and_root() {
    let (bytes, root) = write(&small()).unwrap();
    assert_eq!(write(&small()).unwrap(), (bytes.clone(), root));
    assert_eq!(read(&bytes).unwrap(), (small(), root));
    assert_eq!(bytes[bytes.len() - 32..], root.0, "the root is the end of the file");
}

#[test]
fn the_root_of_version_1_never_changes() {
    let (bytes, root) = write(&small()).unwrap();
    assert_eq!(
        (bytes.len(), root.to_string().as_str()),
        (1178, "cc694d2b8d1cafdbcdf93db187d80f83d1e67a2cbf0b223cd8c72e8082be995f")
    );
}

#[test]
fn single_bit_flip_is_detected() {
    let (bytes, _) = write(&small()).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&damaged).is_err(), "bit {} of byte {}", bit % 8, bit / 8);
    }
}

#[test]
fn truncation_at_any_byte_and_trailing_bytes_are_detected() {
    let (mut bytes, _) = write(&small()).unwrap();
    for len in 0..bytes.len() {
        let error = read(&bytes[..len]).unwrap_err();
        assert!(matches!(error, BundleReadError::Truncated { offset, .. } if offset == len as u64), "{len}: {error}");
    }
    let end = bytes.len() as u64;
    bytes.push(0);
    assert!(matches!(read(&bytes), Err(BundleReadError::Trailing { offset }) if offset == end));
}

/// Where the records of a bundle begin, and its end.
fn bounds(bytes: &[u8]) -> Vec<usize> {
    let mut bounds = vec![12];
    let mut reader = BundleReader::new(bytes).unwrap();
    while reader.next_record().unwrap().is_some() {
        bounds.push(reader.offset() as usize);
    }
    bounds.push(bytes.len());
    bounds
}

#[test]
fn removed_repeated_and_swapped_records_are_detected() {
    let (bytes, _) = write(&small()).unwrap();
    let bounds = bounds(&bytes);
    let record = |i: usize| &bytes[bounds[i]..bounds[i + 1]];
    for i in 0..bounds.len() - 1 {
        let (before, after) = (&bytes[..bounds[i]], &bytes[bounds[i + 1]..]);
        assert!(read(&[before, after].concat()).is_err(), "record {i} removed");
        assert!(read(&[before, record(i), record(i), after].concat()).is_err(), "record {i} repeated");
        if i + 2 < bounds.len() {
            let after = &bytes[bounds[i + 2]..];
            assert!(read(&[before, record(i + 1), record(i), after].concat()).is_err(), "record {i} swapped");
        }
    }
}

/// Frames raw records with right checks, so that only order and layout can be wrong.
fn forge(records: &[(u8, &[u8])]) -> Vec<u8> {
    let header = frame::encode_header();
    let (mut out, mut chain) = (header.to_vec(), frame::Chain::new(&header));
    for (kind, payload) in records {
        let mut head = [0; 9];
        head[0] = *kind;
        head[1..].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        let check = chain.advance(&head, &[payload]);
        out.extend_from_slice(&head);
        out.extend_from_slice(payload);
        out.extend_from_slice(&check);
    }
    out
}

#[test]
fn rechained_records_that_break_the_layout_are_refused() {
    let (bytes, _) = write(&small()).unwrap();
    let bounds = bounds(&bytes);
    let payloads: Vec<(u8, &[u8])> = bounds.windows(2).map(|w| (bytes[w[0]], &bytes[w[0] + 9..w[1] - 32])).collect();
    assert_eq!(forge(&payloads), bytes, "the forge makes real bundles");
    for i in 0..payloads.len() {
        let mut without = payloads.clone();
        without.remove(i);
        assert!(read(&forge(&without)).is_err(), "record {i} removed");
        let mut short = payloads.clone();
        short[i].1 = &short[i].1[..short[i].1.len() - 1];
        assert!(read(&forge(&short)).is_err(), "record {i} shortened: the end record counts bytes");
        let mut unknown = payloads.clone();
        unknown[i].0 = 0x7f;
        assert!(matches!(read(&forge(&unknown)), Err(BundleReadError::Kind { kind: 0x7f, .. })));
    }
}

#[test]
fn records_out_of_order_are_refused_by_writer_and_reader_alike() {
    let start = || {
        let mut writer = BundleWriter::new(Vec::new(), &manifest(0)).unwrap();
        writer.process(b"p").unwrap();
        writer.module(&module(b"w", false), None).unwrap();
        writer
    };
    let order = |result: Result<(), BundleWriteError>| match result {
        Err(BundleWriteError::Order(fault)) => fault,
        other => panic!("expected an order fault, got {other:?}"),
    };
    let nonce = |result| matches!(order(result), OrderFault::Nonce { .. });
    assert!(nonce(start().entry(Nonce(1), b"a", None)));
    let mut writer = start();
    writer.entry(Nonce(0), b"a", None).unwrap();
    assert!(nonce(writer.entry(Nonce(0), b"a", None)));
    assert!(matches!(writer.receipt(Nonce(0), b"r"), Err(BundleWriteError::Poisoned)));
    let mut writer = start();
    writer.entry(Nonce(0), b"a", None).unwrap();
    writer.receipt(Nonce(0), b"r").unwrap();
    assert!(matches!(order(writer.transcript(Nonce(0), b"t")), OrderFault::Kind { .. }));
    assert!(matches!(order(start().receipt(Nonce(0), b"r")), OrderFault::Kind { .. }));
    assert!(matches!(order(start().checkpoint(Nonce(0), b"", 0, &mut &b""[..])), OrderFault::Kind { .. }));
    let mut writer = start();
    writer.entry(Nonce(0), b"a", None).unwrap();
    writer.transcript(Nonce(0), b"t").unwrap();
    assert_eq!(order(writer.transcript(Nonce(0), b"t")), OrderFault::TranscriptSplit);
    assert!(nonce({
        let mut writer = start();
        writer.entry(Nonce(0), b"a", None).unwrap();
        writer.receipt(Nonce(1), b"r")
    }));
}

#[test]
fn a_module_that_is_not_the_announced_one_is_refused() {
    let writer = || {
        let mut writer = BundleWriter::new(Vec::new(), &manifest(0)).unwrap();
        writer.process(b"p").unwrap();
        writer
    };
    let meta = module(b"wasm", true);
    let put = |bytes: &'static [u8]| writer().module(&meta, Some(&mut &bytes[..])).unwrap_err();
    assert!(matches!(put(b"wasX"), BundleWriteError::ModuleHash { .. }));
    assert!(matches!(put(b"was"), BundleWriteError::BodySize { announced: 4, found: 3 }));
    assert!(matches!(put(b"wasm!"), BundleWriteError::BodySize { announced: 4, found: 5 }));
    assert!(matches!(writer().module(&meta, None), Err(BundleWriteError::ModuleBody)));
    let named = module(b"wasm", false);
    let surplus = writer().module(&named, Some(&mut &b"wasm"[..]));
    assert!(matches!(surplus, Err(BundleWriteError::ModuleBody)));
}

#[test]
fn an_embedded_module_with_another_hash_is_refused_by_the_reader() {
    let content = Content { start: None, steps: Vec::new(), first_nonce: 0, ..small() };
    let (bytes, _) = write(&content).unwrap();
    let bounds = bounds(&bytes);
    let mut payloads: Vec<(u8, Vec<u8>)> =
        bounds.windows(2).map(|w| (bytes[w[0]], bytes[w[0] + 9..w[1] - 32].to_vec())).collect();
    payloads[3].1[0] ^= 1;
    let forged: Vec<(u8, &[u8])> = payloads.iter().map(|(kind, bytes)| (*kind, &bytes[..])).collect();
    assert!(matches!(read(&forge(&forged)), Err(BundleReadError::ModuleHash { .. })));
}

#[test]
fn bodies_are_split_into_full_chunks_but_the_last() {
    for len in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES] {
        let body: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        let mut content = small();
        content.wasm = body.clone();
        content.steps[0].transcript = body.clone();
        content.steps[1].checkpoint = Some((Vec::new(), body));
        let (bytes, _) = write(&content).unwrap();
        assert!(read(&bytes).unwrap().0 == content, "body of {len} bytes");
    }
}

#[test]
fn a_claimed_size_allocates_nothing() {
    let mut bytes = frame::encode_header().to_vec();
    bytes.push(Kind::Process as u8);
    bytes.extend_from_slice(&MAX_ITEMS_BYTES.to_le_bytes());
    let mut reader = BundleReader::new(&bytes[..]).unwrap();
    assert!(matches!(reader.next_record(), Err(BundleReadError::Truncated { .. })));
    assert!(reader.payload_capacity() < 1 << 16);
    assert!(matches!(reader.next_record(), Err(BundleReadError::Stopped)));
    let last = bytes.len() - 8;
    bytes[last..].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut reader = BundleReader::new(&bytes[..]).unwrap();
    assert!(matches!(reader.next_record(), Err(BundleReadError::TooBig { bytes: u64::MAX, .. })));
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..max)
}

prop_compose! {
    fn step()(
        assignment in bytes(40),
        message in prop::option::of(bytes(40)),
        transcript in bytes(20),
        receipt in prop::option::of(bytes(20)),
        checkpoint in prop::option::of((bytes(5), bytes(60))),
    ) -> Step {
        Step { assignment, message, transcript, receipt, checkpoint }
    }
}

proptest! {
    #[test]
    fn what_was_packed_is_read_back(
        steps in prop::collection::vec(step(), 0..8),
        first_nonce in 1..u64::from(u32::MAX),
        process in bytes(30),
        wasm in bytes(30),
        start in prop::option::of((bytes(5), bytes(60))),
    ) {
        let content = Content { first_nonce, process, wasm, embedded: true, start, steps };
        let (packed, root) = write(&content).unwrap();
        prop_assert_eq!(read(&packed).unwrap(), (content, root));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(tail in bytes(200)) {
        let _ = read(&tail);
        let _ = read(&[&frame::encode_header()[..], &tail].concat());
        let kinds = [1, 2, 3, 4, 0x10, 0x11, 0x12, 0x13, 0x14, 0xff];
        let forged: Vec<(u8, &[u8])> = kinds.into_iter().map(|kind| (kind, &tail[..])).collect();
        for i in 0..forged.len() {
            let _ = read(&forge(&forged[i..]));
            let _ = read(&forge(&forged[..=i]));
        }
    }
}

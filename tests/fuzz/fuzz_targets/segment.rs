//! Segments: any bytes are read or refused; a damaged segment is cut to a true prefix or refused.
#![no_main]

use ao_log::Nonce;
use ao_log::segment::{MemoryStorage, Segment, SegmentHeader, SegmentReader, SyncPolicy};
use ao_wire::{Id, ProcessId};
use libfuzzer_sys::fuzz_target;

fn header() -> SegmentHeader {
    SegmentHeader { process: ProcessId::from(Id([1; 32])), first_nonce: Nonce(0) }
}

/// The records of a segment, up to its end or first damage.
fn records(storage: &MemoryStorage) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    if let Ok(mut reader) = SegmentReader::open(storage.clone()) {
        while let Ok(Some(record)) = reader.next_record() {
            out.push(record.to_vec());
        }
    }
    out
}

/// Opens, and if that works checks that opening again finds the same and cuts nothing.
fn recover(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let storage = MemoryStorage::with_bytes(bytes.to_vec());
    let (segment, first) = Segment::open_or_create(storage.clone(), header(), SyncPolicy::Manual).ok()?;
    drop(segment);
    let (_, second) = Segment::open_or_create(storage.clone(), header(), SyncPolicy::Manual).expect("recovered");
    assert_eq!((second.records, second.cut_bytes), (first.records, 0));
    let kept = records(&storage);
    assert_eq!(kept.len() as u64, first.records);
    Some(kept)
}

fuzz_target!(|data: &[u8]| {
    let _ = recover(data);
    let [at_low, at_high, xor, syncs, rest @ ..] = data else {
        return;
    };
    let storage = MemoryStorage::default();
    let (mut segment, _) = Segment::open_or_create(storage.clone(), header(), SyncPolicy::Manual).expect("new");
    let payloads: Vec<&[u8]> = rest.split(|&byte| byte == b'\n').filter(|payload| !payload.is_empty()).collect();
    for (i, payload) in payloads.iter().enumerate() {
        segment.append(payload).expect("memory takes it");
        if syncs >> (i % 8) & 1 == 1 {
            segment.sync().expect("memory takes it");
        }
    }
    let mut bytes = storage.live();
    assert_eq!(records(&storage), payloads);
    let at = usize::from(u16::from_le_bytes([*at_low, *at_high])) % bytes.len();
    bytes[at] ^= xor;
    if let Some(kept) = recover(&bytes) {
        assert!(payloads.starts_with(&kept.iter().map(Vec::as_slice).collect::<Vec<_>>()));
        assert!(*xor == 0 || kept.len() < payloads.len() || payloads.is_empty());
    }
});

//! Crash, corruption and round trips of the segment file, against the in-memory twin and a real file.

use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::Nonce;

fn header() -> SegmentHeader {
    SegmentHeader { process: ao_wire::ProcessId::from(ao_wire::Id([7; 32])), first_nonce: Nonce(5) }
}

fn open(storage: MemoryStorage, policy: SyncPolicy) -> Result<(Segment<MemoryStorage>, Recovered), SegmentError> {
    Segment::open_or_create(storage, header(), policy)
}

fn payload(i: u64) -> Vec<u8> {
    (0..=(i * 37 % 50)).map(|b| (b + i) as u8).collect()
}

fn read_all(storage: MemoryStorage) -> Result<Vec<Vec<u8>>, SegmentError> {
    let mut reader = SegmentReader::open(storage)?;
    let mut out = Vec::new();
    while let Some(record) = reader.next_record()? {
        out.push(record.to_vec());
    }
    Ok(out)
}

/// Appends until something fails; answers how many records were acknowledged as durable.
fn run_until_failure(storage: &MemoryStorage, policy: SyncPolicy, records: u64) -> u64 {
    let Ok((mut segment, recovered)) = open(storage.clone(), policy) else {
        return 0;
    };
    let mut acknowledged = recovered.records;
    for i in recovered.records..records {
        match segment.append(&payload(i)) {
            Ok(appended) if appended.durable => acknowledged = i + 1,
            Ok(_) => {}
            Err(_) => {
                assert!(matches!(segment.append(b"x"), Err(SegmentError::Poisoned)));
                assert!(matches!(segment.sync(), Err(SegmentError::Poisoned)));
                break;
            }
        }
    }
    acknowledged
}

fn policies() -> [SyncPolicy; 3] {
    [SyncPolicy::EveryRecord, SyncPolicy::EveryN(NonZeroU32::new(3).unwrap()), SyncPolicy::Manual]
}

/// Opens what a crash left and checks that it is a prefix holding all that was acknowledged.
fn check_crash_image(image: Vec<u8>, acknowledged: u64, context: &str) {
    let len = image.len() as u64;
    let storage = MemoryStorage::with_bytes(image);
    let (segment, recovered) = open(storage.clone(), SyncPolicy::EveryRecord).expect(context);
    assert!(recovered.records >= acknowledged, "{context}: kept {} of {acknowledged}", recovered.records);
    assert_eq!(recovered.reason.is_some(), recovered.cut_bytes > 0, "{context}");
    assert_eq!(recovered.at_offset + recovered.cut_bytes, len, "{context}");
    assert_eq!(segment.next_nonce(), Nonce(5 + recovered.records));
    let kept = read_all(storage.clone()).expect(context);
    let expected: Vec<_> = (0..recovered.records).map(payload).collect();
    assert_eq!(kept, expected, "{context}");
    drop(segment);
    let (_, again) = open(storage, SyncPolicy::EveryRecord).expect(context);
    assert_eq!((again.records, again.cut_bytes), (recovered.records, 0), "{context}: recovery is done once");
}

#[test]
fn every_acknowledged_record_survives_a_crash_at_any_sync_with_any_torn_length() {
    for policy in policies() {
        for frozen in 1..=8 {
            let storage = MemoryStorage::default();
            storage.freeze_from_sync(frozen);
            let acknowledged = run_until_failure(&storage, policy, 7);
            for torn in 0..=storage.pending_bytes() {
                let context = format!("{policy:?}, sync {frozen}, torn {torn}");
                check_crash_image(storage.crash_torn(torn), acknowledged, &context);
            }
        }
    }
}

#[test]
fn every_acknowledged_record_survives_writes_that_reach_the_disk_out_of_order() {
    for policy in policies() {
        for frozen in 2..=4 {
            let storage = MemoryStorage::default();
            storage.freeze_from_sync(frozen);
            let acknowledged = run_until_failure(&storage, policy, 6);
            for survivors in 0..1_u64 << storage.pending_changes() {
                let context = format!("{policy:?}, sync {frozen}, survivors {survivors:b}");
                check_crash_image(storage.crash_reordered(survivors), acknowledged, &context);
            }
        }
    }
}

#[test]
fn a_failed_write_poisons_the_handle_and_loses_nothing_acknowledged() {
    for budget in 0..400 {
        let storage = MemoryStorage::default();
        storage.fail_writes_after(budget);
        let acknowledged = run_until_failure(&storage, SyncPolicy::EveryRecord, 9);
        check_crash_image(storage.live(), acknowledged, &format!("budget {budget}"));
    }
}

#[test]
fn a_flipped_bit_is_corruption_before_the_last_record_and_a_named_cut_in_it() {
    let storage = MemoryStorage::default();
    run_until_failure(&storage, SyncPolicy::EveryRecord, 4);
    let bytes = storage.live();
    let last = bytes.len() as u64 - (RECORD_OVERHEAD_BYTES + payload(3).len() as u64);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let offset = bit as u64 / 8;
        assert!(read_all(MemoryStorage::with_bytes(damaged.clone())).is_err(), "reader missed bit {bit}");
        let storage = MemoryStorage::with_bytes(damaged.clone());
        match open(storage.clone(), SyncPolicy::EveryRecord) {
            Err(SegmentError::BadHeader) => assert!(offset < HEADER_BYTES, "bit {bit}"),
            Err(SegmentError::Corrupt { offset: at, witness, .. }) => {
                assert!((HEADER_BYTES..last).contains(&offset) && at <= offset && witness > at, "bit {bit}");
                assert_eq!(storage.live(), damaged, "an error must not cut");
            }
            Ok((_, recovered)) => {
                assert!(offset >= last, "bit {bit} was cut though acknowledged");
                assert_eq!((recovered.records, recovered.at_offset), (3, last));
            }
            Err(other) => panic!("bit {bit}: {other}"),
        }
    }
}

#[test]
fn removed_swapped_and_repeated_records_are_corruption() {
    let storage = MemoryStorage::default();
    let (mut segment, _) = open(storage.clone(), SyncPolicy::EveryRecord).unwrap();
    let mut bounds = vec![HEADER_BYTES as usize];
    for i in 0..4_u8 {
        segment.append(&[i; 10]).unwrap();
        bounds.push(segment.durable_end() as usize);
    }
    drop(segment);
    let bytes = storage.live();
    let pick = |order: &[usize]| {
        let mut out = bytes[..bounds[0]].to_vec();
        for &i in order {
            out.extend_from_slice(&bytes[bounds[i]..bounds[i + 1]]);
        }
        out
    };
    for order in [&[0, 2, 1, 3][..], &[0, 0, 1, 2, 3], &[1, 2, 3]] {
        let result = read_all(MemoryStorage::with_bytes(pick(order)));
        assert!(matches!(result, Err(SegmentError::Damaged { fault: RecordFault::Chain, .. })), "{order:?}");
    }
}

#[test]
fn another_process_or_first_nonce_is_refused() {
    let storage = MemoryStorage::default();
    open(storage.clone(), SyncPolicy::Manual).unwrap();
    let other = SegmentHeader { process: ao_wire::ProcessId::from(ao_wire::Id([8; 32])), ..header() };
    let result = Segment::open_or_create(storage.clone(), other, SyncPolicy::Manual);
    assert!(matches!(result, Err(SegmentError::OtherProcess { .. })));
    let other = SegmentHeader { first_nonce: Nonce(6), ..header() };
    let result = Segment::open_or_create(storage, other, SyncPolicy::Manual);
    assert!(matches!(result, Err(SegmentError::OtherFirstNonce { .. })));
}

#[test]
fn a_file_is_reopened_where_it_ended_and_locked_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.seg");
    for round in 0..3_u64 {
        let file = FileStorage::open_or_create(&path).unwrap();
        assert!(FileStorage::open_or_create(&path).is_err(), "a second writer must not get the file");
        let (mut segment, recovered) = Segment::open_or_create(file, header(), SyncPolicy::Manual).unwrap();
        assert_eq!((recovered.records, recovered.cut_bytes), (round, 0));
        segment.append(&payload(round)).unwrap();
        segment.sync().unwrap();
    }
    let mut reader = SegmentReader::open(FileStorage::open_read_only(&path).unwrap()).unwrap();
    for i in 0..3 {
        assert_eq!(reader.next_record().unwrap(), Some(&payload(i)[..]));
    }
    assert_eq!(reader.next_record().unwrap(), None);
}

#[test]
fn payloads_outside_the_limit_are_refused_without_poisoning() {
    let (mut segment, _) = open(MemoryStorage::default(), SyncPolicy::Manual).unwrap();
    assert!(matches!(segment.append(b""), Err(SegmentError::PayloadSize { .. })));
    let big = vec![0; MAX_PAYLOAD_BYTES as usize + 1];
    assert!(matches!(segment.append(&big), Err(SegmentError::PayloadSize { .. })));
    segment.append(b"a").unwrap();
}

proptest! {
    #[test]
    fn what_was_appended_is_read_back(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..20)) {
        let storage = MemoryStorage::default();
        let (mut segment, _) = open(storage.clone(), SyncPolicy::Manual).unwrap();
        for payload in &payloads {
            segment.append(payload).unwrap();
        }
        prop_assert_eq!(read_all(storage).unwrap(), payloads);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_all(MemoryStorage::with_bytes(bytes.clone()));
        let _ = open(MemoryStorage::with_bytes(bytes), SyncPolicy::Manual);
    }
}

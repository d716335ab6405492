//! Whatever a crash takes, nothing that was acknowledged is gone; a full disk is an error, not a loss.

#![allow(clippy::unwrap_used, reason = "helpers of a test fail by panicking")]

mod support;

use std::sync::Arc;

use ao_log::{LogEntry, Nonce};
use ao_store::{Options, Position, Query, Store, StoreError, TwinDisk};
use support::{entries, groups, process, step};

const OPTIONS: Options =
    Options { index_cache_bytes: 1 << 20, pack_bytes_max: 20_000, segment_bytes_max: 3000, open_logs_max: 2 };

/// What a run got acknowledged.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Acknowledged {
    entries: usize,
    results: u64,
    checkpoints: Vec<u64>,
}

/// The life of a store: entries, results small and large, checkpoints, retention, compaction. Ends at the first error.
fn live(store: &Store, log: &[LogEntry], done: &mut Acknowledged) -> Result<(), StoreError> {
    for (round, page) in log.chunks(2).enumerate() {
        store.put_entries(process(1), page)?;
        done.entries += page.len();
        let nonce = round as u64;
        store.put_results(&[result(nonce)])?;
        done.results += 1;
        let memory = groups(12, nonce);
        store.save_checkpoint(process(1), Nonce(nonce), b"m", memory.iter().map(|(i, g)| (*i, &g[..])))?;
        done.checkpoints.push(nonce);
        if round == 3 {
            // Until it is known whether they went, they may be there or not: neither is a loss.
            let given_up = done.checkpoints.drain(..2).count();
            assert_eq!(store.retain_checkpoints(process(1), 2)?, given_up);
            store.compact(900)?;
        }
    }
    Ok(())
}

fn result(nonce: u64) -> ao_store::StepRecord {
    let mut step = step(1, nonce);
    if nonce.is_multiple_of(2) {
        step.result_json = vec![nonce as u8; 5000];
    }
    step
}

/// Opens what a crash left and compares it with what was acknowledged; then goes on with it.
fn check(disk: TwinDisk, log: &[LogEntry], done: &Acknowledged, what: &str) {
    let store = Store::on(Arc::new(disk), OPTIONS).unwrap_or_else(|error| panic!("{what}: {error}: {error:?}"));
    let head = store.head(process(1)).unwrap();
    let found = head.next_entry.0 as usize;
    assert!(found >= done.entries, "{what}: {found} entries of {}", done.entries);
    let stored: Vec<LogEntry> =
        store.entries(process(1), Nonce(0), Nonce(u64::MAX)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(stored, log[..found], "{what}");
    let page = store.results(process(1), &Query { limit: 100, ..Query::default() }).unwrap();
    assert!(page.steps.len() as u64 >= done.results, "{what}");
    for (step, nonce) in page.steps.iter().zip(0..) {
        assert_eq!(*step, result(nonce), "{what}");
        assert_eq!(store.result(process(1), step.message.id()).unwrap().as_ref(), Some(step), "{what}");
    }
    for nonce in &done.checkpoints {
        let found = store.load_checkpoint(process(1), Nonce(*nonce)).unwrap().unwrap();
        let body: Vec<u8> =
            groups(12, *nonce).iter().flat_map(|(i, group)| [&i.to_le_bytes()[..], group].concat()).collect();
        assert_eq!((found.nonce, found.body), (Nonce(*nonce), body), "{what}");
    }
    store.put_entries(process(1), &log[found..]).unwrap();
    let next = page.steps.len() as u64;
    store.put_results(&[result(next)]).unwrap();
    assert_eq!(store.head(process(1)).unwrap().last_step, Some(Position::of(Nonce(next))), "{what}");
}

#[test]
fn nothing_acknowledged_is_lost_at_any_sync() {
    let log = entries(10);
    let whole = TwinDisk::default();
    let mut all = Acknowledged::default();
    live(&Store::on(Arc::new(whole.clone()), OPTIONS).unwrap(), &log, &mut all).unwrap();
    let syncs = whole.syncs();
    assert!(syncs > 40, "{syncs} syncs are too few to be all");
    for frozen in 1..=syncs {
        let disk = TwinDisk::default();
        disk.freeze_from_sync(frozen);
        let mut done = Acknowledged::default();
        // Creating may be what is cut short: then nothing was acknowledged.
        if let Ok(store) = Store::on(Arc::new(disk.clone()), OPTIONS) {
            // The last syncs are those of closing: all was acknowledged before.
            let ended = live(&store, &log, &mut done);
            assert!(ended.is_err() || done == all, "sync {frozen} was not noticed");
        }
        for kept in [0, 1, 2, usize::MAX] {
            check(disk.crash(|_| kept), &log, &done, &format!("sync {frozen}, {kept} changes kept"));
        }
        // Each file keeps another share.
        let mut share = 0;
        let mixed = disk.crash(|pending| {
            share += 1;
            pending * (share % 3) / 2
        });
        check(mixed, &log, &done, &format!("sync {frozen}, mixed"));
    }
}

#[test]
fn a_full_disk_is_told_and_the_store_goes_on_when_there_is_room_again() {
    let log = entries(10);
    for room in [0, 100, 5000, 30_000] {
        let disk = TwinDisk::default();
        let store = Store::on(Arc::new(disk.clone()), OPTIONS).unwrap();
        store.put_results(&[result(0)]).unwrap();
        disk.fail_writes_after(room);
        let mut done = Acknowledged { results: 0, ..Acknowledged::default() };
        let error = live(&store, &log, &mut done).unwrap_err();
        assert!(error.is_disk_full(), "room for {room}: {error:?}");
        disk.free_space();
        assert_eq!(store.result_at(process(1), Position::of(Nonce(0))).unwrap(), Some(result(0)), "room for {room}");
        let next = store.head(process(1)).unwrap().next_entry.0 as usize;
        assert!(next >= done.entries, "room for {room}");
        store.put_entries(process(1), &log[next..]).unwrap();
        drop(store);
        check(disk.crash(|_| 0), &log, &done, &format!("room for {room}"));
    }
}

#[test]
fn a_pack_that_lost_acknowledged_bytes_is_named() {
    let disk = TwinDisk::default();
    let store = Store::on(Arc::new(disk.clone()), OPTIONS).unwrap();
    store.put_results(&[result(0)]).unwrap();
    drop(store);
    let name = "bodies/0000000001.pack";
    let mut bytes = disk.bytes(name).unwrap();
    bytes.pop();
    disk.set_bytes(name, bytes);
    let error = Store::on(Arc::new(disk), OPTIONS).unwrap_err();
    assert!(matches!(&error, StoreError::PackShort { file, .. } if file == name), "{error}");
}

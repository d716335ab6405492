//! A store keeps what it is given, answers in the order of nonces, and says what is wrong.

mod support;

use std::sync::Arc;

use ao_log::{BlockHeight, Nonce, TimestampMs};
use ao_store::{Options, Order, Position, Query, Steps, Store, StoreError, TwinDisk};
use ao_wire::Id;
use support::{entries, groups, process, step};

fn store() -> (TwinDisk, Store) {
    let disk = TwinDisk::default();
    let store = Store::on(Arc::new(disk.clone()), Options::default()).expect("an empty disk can be opened");
    (disk, store)
}

#[test]
fn entries_come_back_in_order_across_segments_and_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes_max: 2000, open_logs_max: 1, ..Options::default() };
    let log = entries(20);
    {
        let store = Store::open(folder.path(), options).unwrap();
        for page in log.chunks(3) {
            store.put_entries(process(1), page).unwrap();
            store.put_entries(process(2), page).unwrap();
        }
    }
    let store = Store::open(folder.path(), options).unwrap();
    assert!(std::fs::read_dir(folder.path().join(format!("logs/{}", process(1)))).unwrap().count() > 2);
    for (from, end) in [(0, 20), (0, 100), (7, 13), (19, 20), (20, 30)] {
        let found: Vec<_> =
            store.entries(process(1), Nonce(from), Nonce(end)).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(found, log[from as usize..end.min(20) as usize], "{from}..{end}");
    }
    assert_eq!(store.head(process(2)).unwrap().next_entry, Nonce(20));
    assert_eq!(store.head(process(3)).unwrap().next_entry, Nonce(0));
    let error = store.put_entries(process(1), &log[19..]).unwrap_err();
    assert!(matches!(error, StoreError::NotNext { expected: Nonce(20), found: Nonce(19), .. }), "{error}");
}

#[test]
fn readers_that_go_on_where_others_stopped_read_what_one_alone_does() {
    let options = Options { segment_bytes_max: 4000, ..Options::default() };
    let store = Store::on(Arc::new(TwinDisk::default()), options).unwrap();
    let log = entries(40);
    store.put_entries(process(1), &log[..20]).unwrap();
    let read = |from: usize, end: usize| {
        let entries = store.entries(process(1), Nonce(from as u64), Nonce(end as u64)).unwrap();
        entries.collect::<Result<Vec<_>, _>>().unwrap()
    };
    for (from, end) in [(0, 3), (3, 6), (6, 16), (5, 8), (16, 20), (2, 20), (19, 20)] {
        assert_eq!(read(from, end), log[from..end], "{from}..{end}");
    }
    let mut broken_off = store.entries(process(1), Nonce(8), Nonce(20)).unwrap();
    assert_eq!(broken_off.next().unwrap().unwrap(), log[8]);
    store.put_entries(process(1), &log[20..]).unwrap();
    drop(broken_off);
    for (from, end) in [(9, 20), (20, 30), (30, 40), (10, 40)] {
        assert_eq!(read(from, end), log[from..end], "{from}..{end}");
    }
}

#[test]
fn results_are_found_by_message_by_assignment_and_by_place() {
    let (_, store) = store();
    let large = vec![b'x'; 100_000];
    let mut steps = [step(1, 8), step(1, 9), step(1, 10)];
    steps[1].result_json.clone_from(&large);
    store.put_results(&steps).unwrap();
    for step in &steps {
        assert_eq!(store.result(process(1), step.message.id()).unwrap().as_ref(), Some(step));
        assert_eq!(store.result(process(1), step.assignment.id()).unwrap().as_ref(), Some(step));
        assert_eq!(store.result_at(process(1), step.position).unwrap().as_ref(), Some(step));
    }
    assert_eq!(store.result(process(2), steps[0].message.id()).unwrap(), None, "of another process");
    assert_eq!(store.last_position(process(1)).unwrap(), Some(Position::of(Nonce(10))));
    assert_eq!(store.position_at(process(1), TimestampMs(1009)).unwrap(), Some(Position::of(Nonce(9))));
    assert_eq!(store.position_at(process(1), TimestampMs(7)).unwrap(), None);
}

#[test]
fn a_message_assigned_twice_keeps_its_first_result_and_each_assignment_its_own() {
    let (_, store) = store();
    let (first, mut second) = (step(1, 3), step(1, 7));
    second.message = first.message;
    store.put_results(std::slice::from_ref(&first)).unwrap();
    store.put_results(std::slice::from_ref(&second)).unwrap();
    assert_eq!(store.result(process(1), first.message.id()).unwrap(), Some(first));
    assert_eq!(store.result(process(1), second.assignment.id()).unwrap(), Some(second));
}

#[test]
fn the_first_message_of_an_id_or_content_is_found_whatever_else_has_that_id() {
    let (_, store) = store();
    let process = process(1);
    let mut steps: Vec<_> = (0..8).map(|nonce| step(1, nonce)).collect();
    // Known by its content, then the same content under another id.
    (steps[1].content, steps[2].content) = (Some([7; 48]), Some([7; 48]));
    // The item of the first, which is not known by its id, assigned twice.
    (steps[3].message, steps[4].message) = (steps[1].message, steps[1].message);
    // An assignment that is itself assigned, twice.
    steps[5].message = steps[0].assignment.id().into();
    steps[6].message = steps[5].message;
    // An ordinary message, assigned.
    steps[7].message = steps[0].message;
    for step in &steps {
        store.put_results(std::slice::from_ref(step)).unwrap();
    }
    assert_eq!(store.evaluated_content(process, [7; 48]).unwrap(), Some(Nonce(1)));
    assert_eq!(store.evaluated_content(process, [8; 48]).unwrap(), None);
    let found = |id: Id| store.evaluated_id(process, id).unwrap();
    assert_eq!(found(steps[0].message.id()), Some(Nonce(0)));
    assert_eq!(found(steps[1].message.id()), Some(Nonce(3)));
    assert_eq!(found(steps[2].message.id()), None);
    assert_eq!(found(steps[5].message.id()), Some(Nonce(5)));
    assert_eq!(found(steps[1].assignment.id()), None);
    assert_eq!(store.result_at(process, Position::of(Nonce(2))).unwrap().as_ref(), Some(&steps[2]));
}

#[test]
fn a_stored_result_never_changes() {
    let (_, store) = store();
    store.put_results(&[step(1, 1)]).unwrap();
    store.put_results(&[step(1, 1)]).unwrap();
    let mut other = step(1, 1);
    other.result_json = b"{}".to_vec();
    let error = store.put_results(&[step(1, 2), other]).unwrap_err();
    assert!(matches!(error, StoreError::Conflict { position, .. } if position == Position::of(Nonce(1))), "{error}");
    assert_eq!(store.result_at(process(1), Position::of(Nonce(2))).unwrap(), None, "all or none");
}

#[test]
fn listings_go_by_number_with_ticks_after_their_nonce_and_errors_cost_no_place() {
    let (_, store) = store();
    let mut steps: Vec<_> = (0..12).map(|nonce| step(1, nonce)).collect();
    for tick in [1, 2] {
        let mut more = step(1, 9);
        more.position.tick = tick;
        more.cron = Some("0-10-seconds".to_owned());
        steps.push(more);
    }
    steps[10].failed = true;
    steps[13].timestamp.0 += 1;
    store.put_results(&steps).unwrap();
    store.put_results(&[step(2, 5)]).unwrap();
    let (time, cron) = (steps[13].timestamp, "0-10-seconds");
    let tick = |nonce, time, cron| store.tick(process(1), Nonce(nonce), time, cron).unwrap();
    assert_eq!(tick(9, time, cron), Some(Position { nonce: Nonce(9), tick: 2 }));
    assert_eq!(tick(9, steps[12].timestamp, cron), Some(Position { nonce: Nonce(9), tick: 1 }));
    assert_eq!((tick(8, time, cron), tick(9, time, "1-10-seconds")), (None, None));
    let list = |query: Query| {
        let page = store.results(process(1), &query).unwrap();
        let places: Vec<_> = page.steps.iter().map(|step| (step.position.nonce.0, step.position.tick)).collect();
        (places, page.more)
    };
    let all = Query { limit: 100, ..Query::default() };
    let after = Some(Position::of(Nonce(8)));
    assert_eq!(list(Query { after, ..all }), (vec![(9, 0), (9, 1), (9, 2), (10, 0), (11, 0)], false));
    assert_eq!(list(Query { after, limit: 2, ..all }), (vec![(9, 0), (9, 1)], true));
    let answered = Query { after, steps: Steps::Answered, limit: 4, ..all };
    assert_eq!(list(answered), (vec![(9, 0), (9, 1), (9, 2), (11, 0)], false));
    assert_eq!(list(Query { steps: Steps::Cron, ..all }), (vec![(9, 1), (9, 2)], false));
    let up_to = Some(Position { nonce: Nonce(9), tick: 1 });
    let back = Query { up_to, order: Order::Descending, limit: 3, ..all };
    assert_eq!(list(back), (vec![(9, 1), (9, 0), (8, 0)], true));
    assert_eq!(list(Query { after: Some(Position::of(Nonce(u64::MAX))), ..all }), (vec![], false));
    assert_eq!(list(Query { limit: 0, ..all }), (vec![], true));
}

#[test]
fn checkpoints_share_what_did_not_change() {
    let (disk, store) = store();
    let memory = groups(400, 1);
    let size = || disk.bytes("pages/0000000001.pack").unwrap_or_default().len();
    store.save_checkpoint(process(1), Nonce(31), b"meta", memory.iter().map(|(i, g)| (*i, &g[..]))).unwrap();
    let first = size();
    let mut changed = memory.clone();
    changed[100].1[7] ^= 1;
    store.save_checkpoint(process(1), Nonce(63), b"later", changed.iter().map(|(i, g)| (*i, &g[..]))).unwrap();
    store.save_checkpoint(process(2), Nonce(5), b"other", memory.iter().map(|(i, g)| (*i, &g[..]))).unwrap();
    assert!(size() - first < first / 20, "{} of {first}", size() - first);

    let body = |memory: &[(u32, Vec<u8>)]| -> Vec<u8> {
        memory.iter().flat_map(|(index, group)| [&index.to_le_bytes()[..], group].concat()).collect()
    };
    for (at, nonce, meta, memory) in [(31, 31, "meta", &memory), (62, 31, "meta", &memory), (99, 63, "later", &changed)]
    {
        let found = store.load_checkpoint(process(1), Nonce(at)).unwrap().unwrap();
        assert_eq!((found.nonce, &found.meta[..], found.body), (Nonce(nonce), meta.as_bytes(), body(memory)));
    }
    assert_eq!(store.load_checkpoint(process(1), Nonce(30)).unwrap(), None);
    let backwards = memory.iter().rev().map(|(i, g)| (*i, &g[..]));
    assert!(matches!(
        store.save_checkpoint(process(1), Nonce(70), b"", backwards),
        Err(StoreError::Group { nonce: Nonce(70), .. })
    ));
}

#[test]
fn a_flipped_bit_in_a_page_is_told_and_older_checkpoints_still_load() {
    let (disk, store) = store();
    let memory = groups(40, 2);
    store.save_checkpoint(process(1), Nonce(1), b"", memory.iter().map(|(i, g)| (*i, &g[..]))).unwrap();
    let name = "pages/0000000001.pack";
    let intact = disk.bytes(name).unwrap().len();
    let other = groups(40, 3);
    store.save_checkpoint(process(1), Nonce(2), b"", other.iter().map(|(i, g)| (*i, &g[..]))).unwrap();
    let mut bytes = disk.bytes(name).unwrap();
    bytes[intact + 40] ^= 1;
    disk.set_bytes(name, bytes);
    let error = store.load_checkpoint(process(1), Nonce(2)).unwrap_err();
    assert!(error.to_string().contains(name), "{error}");
    assert!(store.load_checkpoint(process(1), Nonce(1)).unwrap().is_some());
}

#[test]
fn compaction_gives_back_the_space_of_given_up_checkpoints_only() {
    let (disk, store) = store();
    for nonce in 0..10 {
        let memory = groups(64, nonce);
        store.save_checkpoint(process(1), Nonce(nonce), b"m", memory.iter().map(|(i, g)| (*i, &g[..]))).unwrap();
    }
    let size = |disk: &TwinDisk| -> usize {
        let pages = disk.names().into_iter().filter(|name| name.starts_with("pages/"));
        pages.map(|name| disk.bytes(&name).unwrap().len()).sum()
    };
    let before = size(&disk);
    assert_eq!(store.retain_checkpoints(process(1), 2).unwrap(), 8);
    assert_eq!(store.retain_checkpoints(process(1), 2).unwrap(), 0);
    let kept: Vec<_> = [8, 9].map(|nonce| store.load_checkpoint(process(1), Nonce(nonce)).unwrap()).into();
    let done = store.compact(500).unwrap();
    assert_eq!((done.packs, done.units_dropped), (1, 8 * 16));
    assert!(size(&disk) < before / 3, "{} of {before}", size(&disk));
    let reopened = Store::on(Arc::new(disk.crash(|_| 0)), Options::default()).unwrap();
    for store in [&store, &reopened] {
        assert_eq!(store.checkpoints(process(1)).unwrap(), [Nonce(8), Nonce(9)]);
        let found: Vec<_> = [8, 9].map(|nonce| store.load_checkpoint(process(1), Nonce(nonce)).unwrap()).into();
        assert_eq!(found, kept);
    }
    assert_eq!(store.compact(500).unwrap().packs, 0, "nothing is left to do");
}

#[test]
fn processes_and_modules_come_back_whole() {
    let (_, store) = store();
    let log = ao_tests::LogBuilder::new(&ao_tests::Guest::load("counter", 64), &[("Memory-Limit", "1-gb")]);
    let id = ao_wire::DataItem::parse(log.process()).unwrap().id();
    store.put_process(id.into(), log.process()).unwrap();
    store.put_module(log.module()).unwrap();
    assert_eq!(store.process(id.into()).unwrap().as_deref(), Some(log.process()));
    assert_eq!(store.processes().unwrap(), [id.into()]);
    assert_eq!(store.module(log.module().meta.id).unwrap().as_ref(), Some(log.module()));
    assert_eq!(store.module(Id([1; 32]).into()).unwrap(), None);
    assert_eq!(step(1, 1).block_height, BlockHeight(77));
}

#[test]
fn a_second_unit_is_refused_while_one_holds_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Store::open(folder.path(), Options::default()).unwrap();
    let error = Store::open(folder.path(), Options::default()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
}

//! Logs are followed whole: by nonce and by time, across messages of one millisecond, resumed, repaired, saved.

mod support;

use ao_log::{LogEntry, LogFolder, LogVerifier, Nonce, VerifyOptions};
use ao_source::{FetchOptions, LogFetcher, Output, SourceError, fetch};
use ao_wire::{DataItem, Id, ItemBuilder, Signer, Tag, b64u};
use serde_json::json;
use support::{Pages, World, gateway, item_json, scheduler};

fn options(page_entries: usize) -> FetchOptions {
    FetchOptions { page_entries, page_entries_max: 64, ..FetchOptions::default() }
}

async fn rest(fetcher: &mut LogFetcher) -> Vec<LogEntry> {
    let mut entries = Vec::new();
    while let Some(page) = fetcher.next_page().await.expect("an honest log") {
        entries.extend(page);
    }
    entries
}

/// A log whose assignments have these times.
fn timed(times: &[u64]) -> World {
    let mut world = World::new(0);
    let (scheduler, user) = (Signer::ed25519(&[1; 32]), Signer::ed25519(&[2; 32]));
    let process = world.process.to_string();
    let mut chain = ao_log::legacy_first(&world.process);
    world.entries.clear();
    for (nonce, time) in times.iter().enumerate() {
        let protocol = [Tag::new("Data-Protocol", "ao"), Tag::new("Type", "Message")];
        // Every third anchor is no text: it survives only where it is shown as base64url.
        let anchor = (nonce % 3 == 0).then_some([0xe0 + nonce as u8; 32]);
        let target = Some(world.process.id().0);
        let data = nonce.to_string();
        let message = ItemBuilder { target, anchor: Some([b'a'; 32]), tags: protocol.to_vec(), data: data.as_bytes() };
        let message = message.build(&user).expect("an item");
        let (nonce, time, chain_text) = (nonce.to_string(), time.to_string(), chain.to_string());
        let id = DataItem::parse(&message).expect("an item").id().to_string();
        let tags = [
            ("Process", &process),
            ("Epoch", &"0".to_owned()),
            ("Nonce", &nonce),
            ("Hash-Chain", &chain_text),
            ("Block-Height", &"000001580000".to_owned()),
            ("Timestamp", &time),
            ("Data-Protocol", &"ao".to_owned()),
            ("Type", &"Assignment".to_owned()),
            ("Variant", &"ao.TN.1".to_owned()),
            ("Message", &id),
        ];
        let tags = tags.map(|(name, value)| Tag::new(name, value)).to_vec();
        let assignment = ItemBuilder { target: None, anchor, tags, data: b"" }.build(&scheduler).expect("an item");
        chain = ao_log::legacy_next(&DataItem::parse(&assignment).expect("an item").id().into(), &chain);
        world.entries.push(LogEntry { nonce: Nonce(world.entries.len() as u64), assignment, message: Some(message) });
    }
    world
}

#[tokio::test]
async fn a_log_is_followed_by_nonce_and_by_time_to_the_same_entries() {
    // One millisecond holds more than a page; then the clock goes back.
    let world = timed(&[5, 5, 5, 5, 5, 5, 5, 6, 7, 9, 8, 8, 9, 10]);
    for pages in [Pages::ByNonce, Pages::ByTime] {
        for page_entries in [1, 2, 3, 5, 100] {
            let server = world.scheduler(pages, 1000, |_, page| page);
            let mut fetcher = LogFetcher::new(scheduler(&server), None, &world.item, options(page_entries)).unwrap();
            assert_eq!(rest(&mut fetcher).await, world.entries, "{pages:?}, {page_entries} a page");
            assert_eq!(fetcher.next_page().await.unwrap(), None, "the end stays the end");
        }
    }
}

#[tokio::test]
async fn a_log_is_resumed_after_any_nonce() {
    let world = World::new(9);
    let options = options(4);
    let server = world.scheduler(Pages::ByNonce, 100, |_, page| page);
    let rule = ao_log::ChainRule::Legacy;
    for kept in 1..=world.entries.len() {
        let mut verifier = LogVerifier::new(&world.item, VerifyOptions::strict(rule)).unwrap();
        verifier.check_page(&world.entries[..kept]).unwrap();
        let point = verifier.summary().end.unwrap();
        let mut fetcher = LogFetcher::resume(scheduler(&server), None, &world.item, options, point).unwrap();
        assert_eq!(rest(&mut fetcher).await, world.entries[kept..], "after {kept}");
    }
    assert!(!server.seen.lock().unwrap().iter().any(|target| target.contains("from=")), "paged by nonce");
}

#[tokio::test]
async fn binary_data_and_lost_anchors_are_repaired_by_the_gateway() {
    let mut world = timed(&[1, 2, 3]);
    let user = Signer::ed25519(&[2; 32]);
    let binary = ItemBuilder {
        target: Some(world.process.id().0),
        anchor: Some([0xff; 32]),
        tags: vec![Tag::new("Data-Protocol", "ao"), Tag::new("Type", "Message")],
        data: &[0xff, 0, 0xfe],
    };
    let binary = binary.build(&user).unwrap();
    let id = DataItem::parse(&binary).unwrap().id();
    let end = DataItem::parse(&world.entries[2].assignment).unwrap();
    let end_chain = ao_log::Assignment::from_item(&end).unwrap().hash_chain;
    let (process, id_text) = (world.process.to_string(), id.to_string());
    let chain = ao_log::legacy_next(&end.id().into(), &end_chain).to_string();
    let tags = [
        ("Process", &process[..]),
        ("Epoch", "0"),
        ("Nonce", "3"),
        ("Hash-Chain", &chain),
        ("Block-Height", "1"),
        ("Timestamp", "4"),
        ("Data-Protocol", "ao"),
        ("Type", "Assignment"),
        ("Message", &id_text),
    ];
    let tags = tags.map(|(name, value)| Tag::new(name, value)).to_vec();
    let assignment = ItemBuilder { target: None, anchor: None, tags, data: b"" }.build(&Signer::ed25519(&[1; 32]));
    world.entries.push(LogEntry { nonce: Nonce(3), assignment: assignment.unwrap(), message: Some(binary.clone()) });

    let server = world.scheduler(Pages::ByNonce, 100, |_, page| page);
    let mut alone = LogFetcher::new(scheduler(&server), None, &world.item, options(100)).unwrap();
    let error = alone.next_page().await.unwrap_err();
    assert!(matches!(error, SourceError::Unreproducible { nonce: Nonce(3), what: "message", .. }), "{error}");

    let mut described = item_json(&binary);
    described["anchor"] = json!(b64u::encode([0xff; 32]));
    // Either the gateway describes the item and has its data, or it has the item whole.
    for (raw, described) in [(vec![(id, vec![0xff, 0, 0xfe])], vec![described]), (vec![(id, binary)], vec![])] {
        let other = world.gateway(raw, described);
        let gateway = Some(gateway(&other));
        let mut fetcher = LogFetcher::new(scheduler(&server), gateway, &world.item, options(100)).unwrap();
        assert_eq!(rest(&mut fetcher).await, world.entries);
    }
    let lying = world.gateway(vec![(id, vec![0xff, 0, 0xfd])], vec![]);
    let mut fetcher = LogFetcher::new(scheduler(&server), Some(gateway(&lying)), &world.item, options(100)).unwrap();
    let error = fetcher.next_page().await.unwrap_err();
    assert!(matches!(error, SourceError::Unreproducible { nonce: Nonce(3), .. }), "{error}");
}

#[tokio::test]
async fn processes_and_places_are_told() {
    let world = World::new(3);
    let server = world.scheduler(Pages::ByNonce, 100, |_, page| page);
    let client = scheduler(&server);
    assert_eq!(client.process(world.process, None).await.unwrap(), world.item);
    let message = DataItem::parse(world.entries[2].message.as_ref().unwrap()).unwrap().id();
    assert_eq!(client.locate(world.process, message).await.unwrap(), Some(Nonce(2)));
    let assignment = DataItem::parse(&world.entries[2].assignment).unwrap().id();
    assert_eq!(client.locate(world.process, assignment).await.unwrap(), Some(Nonce(2)), "by its assignment too");
    assert_eq!(client.latest(world.process).await.unwrap(), Some(Nonce(3)));
    assert!(client.locate(Id([1; 32]).into(), message).await.is_err(), "of another process");
}

#[tokio::test]
async fn a_whole_log_is_saved_as_folder_and_as_bundle_and_a_folder_goes_on() {
    let world = World::new(8);
    let server = world.scheduler(Pages::ByNonce, 100, |_, page| page);
    let helper = world.gateway(vec![], vec![]);
    let (client, gateway) = (scheduler(&server), gateway(&helper));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let output = Output::Folder(path.clone());
    let report = fetch(world.process, &client, &gateway, options(3), &output).await.unwrap();
    assert_eq!((report.fetched, report.kept), (9, 0));
    // A crash took the last files, and half of one.
    std::fs::remove_file(path.join("log/000000000008.ans104")).unwrap();
    let torn = path.join("log/000000000007.ans104");
    let bytes = std::fs::read(&torn).unwrap();
    std::fs::write(&torn, &bytes[..bytes.len() / 2]).unwrap();
    let report = fetch(world.process, &client, &gateway, options(3), &output).await.unwrap();
    assert_eq!((report.fetched, report.kept), (2, 7));
    let folder = LogFolder::open(&path).unwrap();
    let entries: Vec<LogEntry> = folder.entries().collect::<Result<_, _>>().unwrap();
    assert_eq!((entries, folder.module().unwrap()), (world.entries.clone(), world.module.clone()));

    let path = directory.path().join("some.bundle");
    let output = Output::Bundle { path: path.clone(), profile: "ao-loader-0.0.49".to_owned() };
    let report = fetch(world.process, &client, &gateway, options(3), &output).await.unwrap();
    let mut reader = ao_log::bundle::BundleReader::new(std::fs::File::open(&path).unwrap()).unwrap();
    let mut entries = 0;
    while let Some(record) = reader.next_record().unwrap() {
        entries += u64::from(matches!(record, ao_log::bundle::Record::Entry { .. }));
    }
    assert_eq!((entries, reader.root()), (9, report.root));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "nothing half written is left");
}

#[tokio::test]
async fn what_is_assigned_from_elsewhere_is_saved_with_the_log() {
    let mut world = timed(&[1, 2, 3]);
    // The log keeps the assignment; the message is had from the gateway.
    let elsewhere = world.entries[1].message.take().unwrap();
    let id = DataItem::parse(&elsewhere).unwrap().id();
    let server = world.scheduler(Pages::ByNonce, 100, |_, page| page);
    let helper = world.gateway(vec![(id, elsewhere.clone())], vec![]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let output = Output::Folder(path.clone());
    fetch(world.process, &scheduler(&server), &gateway(&helper), options(9), &output).await.unwrap();
    let folder = LogFolder::open(&path).unwrap();
    let whole = Some(ao_log::Assigned::Item(elsewhere.clone()));
    assert_eq!(folder.assigned(id.into()).unwrap(), whole);
    // A crash tore it, in front of its entry or behind it, or left the data of a transaction that is not there.
    let kept = path.join(format!("assigned/{id}.ans104"));
    for (left, entries) in [(elsewhere.len() / 2, 3), (elsewhere.len() - 1, 1), (0, 1)] {
        std::fs::write(&kept, &elsewhere[..left]).unwrap();
        std::fs::write(path.join(format!("assigned/{id}.data")), "half").unwrap();
        for nonce in entries..3 {
            std::fs::remove_file(path.join(format!("log/{nonce:012}.ans104"))).unwrap();
        }
        fetch(world.process, &scheduler(&server), &gateway(&helper), options(9), &output).await.unwrap();
        assert_eq!(LogFolder::open(&path).unwrap().assigned(id.into()).unwrap(), whole, "{left} bytes were left");
    }
    let path = directory.path().join("some.bundle");
    let output = Output::Bundle { path: path.clone(), profile: "ao-loader-0.0.49".to_owned() };
    fetch(world.process, &scheduler(&server), &gateway(&helper), options(9), &output).await.unwrap();
    let mut reader = ao_log::bundle::BundleReader::new(std::fs::File::open(&path).unwrap()).unwrap();
    let mut beside = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        if let ao_log::bundle::Record::Transcript { nonce, bytes } = record {
            beside.push((nonce, ao_log::Assigned::decode(bytes).unwrap()));
        }
    }
    assert_eq!(beside, [(Nonce(1), ao_log::Assigned::Item(elsewhere))]);

    let nobody = world.gateway(vec![], vec![]);
    let missing = fetch(world.process, &scheduler(&server), &gateway(&nobody), options(9), &output).await;
    assert!(matches!(missing, Err(SourceError::Status { status: 404, .. })), "{missing:?}");
}

//! A log is followed by what a HyperBEAM node shows of it, and what the node does not show is had elsewhere or refused.

mod support;

use ao_log::{LogEntry, Nonce};
use ao_source::{FetchOptions, LogFetcher, SchedulerClient, SourceError};
use ao_tests::{Guest, LogBuilder, aos2_json, item};
use ao_wire::{DataItem, Id, Signer, b64u};
use serde_json::{Value, json};
use support::{Server, World, gateway, http, item_json, ok, refused};

const OPTIONS: FetchOptions = FetchOptions {
    page_entries: 4,
    page_entries_max: 16,
    signatures: ao_log::Signatures::All,
    duplicates: ao_log::Duplicates::Refuse,
};

fn aos2(bytes: &[u8]) -> Value {
    aos2_json(&DataItem::parse(bytes).expect("an item"))
}

/// A node with this log, of which `twist` may change what is shown at a slot; pages have three entries.
fn node(world: &World, twist: impl Fn(u64, Value) -> Value + Send + 'static) -> Server {
    const PAGE: usize = 3;
    let (process, entries) = (world.process.to_string(), world.entries.clone());
    Server::new(move |request| {
        if request.path == format!("/{process}~process@1.0/slot/current") {
            return (200, vec![], (entries.len() - 1).to_string().into_bytes());
        }
        if request.path != "/~scheduler@1.0/schedule" || request.param("target") != Some(&process) {
            return refused(404);
        }
        assert_eq!(request.param("accept"), Some("application/aos-2"));
        let from = request.number("from").expect("a slot") as u64;
        let page = entries.iter().filter(|entry| entry.nonce.0 >= from).take(PAGE);
        let edges = page.map(|entry| {
            let message = entry.message.as_deref().map(aos2);
            let shown = twist(entry.nonce.0, json!({ "message": message, "assignment": aos2(&entry.assignment) }));
            json!({ "cursor": entry.nonce.0, "node": shown })
        });
        let more = from + (PAGE as u64) < entries.len() as u64;
        ok(&json!({ "page_info": { "process": process, "has_next_page": more }, "edges": edges.collect::<Vec<_>>() }))
    })
}

fn client(server: &Server) -> SchedulerClient {
    SchedulerClient::node(http(), &server.url)
}

async fn follow(world: &World, node: &Server, gateway: Option<&Server>) -> (Vec<LogEntry>, Option<SourceError>) {
    let (mut entries, gateway) = (Vec::new(), gateway.map(support::gateway));
    let mut fetcher = LogFetcher::new(client(node), gateway, &world.item, OPTIONS).expect("a process");
    loop {
        match fetcher.next_page().await {
            Ok(Some(page)) => entries.extend(page),
            Ok(None) => return (entries, None),
            Err(error) => return (entries, Some(error)),
        }
    }
}

#[tokio::test]
async fn a_log_is_followed_slot_by_slot_to_the_signed_bytes() {
    let world = World::new(10);
    let node = node(&world, |_, shown| shown);
    let client = client(&node);
    assert_eq!(client.process(world.process, None).await.unwrap(), world.item);
    assert_eq!(client.latest(world.process).await.unwrap(), Some(Nonce(10)));
    assert_eq!(client.latest(Id([1; 32]).into()).await.unwrap(), None, "of another process");
    let message = DataItem::parse(world.entries[2].message.as_ref().unwrap()).unwrap().id();
    assert_eq!(client.locate(world.process, message).await.unwrap(), None, "a node knows slots only");
    let (entries, error) = follow(&world, &node, None).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(entries, world.entries);
}

#[tokio::test]
async fn binary_data_and_the_keys_that_older_nodes_leave_out_are_had_from_the_gateway() {
    let mut log = LogBuilder::new(&Guest::load("counter", 64), &[]).message("text");
    let tags = [("Data-Protocol", "ao"), ("Type", "Message")];
    let binary = item(&Signer::ed25519(&[2; 32]), Some(log.process_id().id()), &tags, &[0xff, 0, 0xfe]);
    log.push(binary.clone());
    let world = World::of(&log);
    let id = DataItem::parse(&binary).unwrap().id();
    let shown = node(&world, |_, shown| shown);
    let (kept, error) = follow(&world, &shown, None).await;
    assert_eq!(kept, Vec::<LogEntry>::new(), "of a page that is not whole nothing is handed out");
    assert!(matches!(error, Some(SourceError::Unreproducible { nonce: Nonce(2), what: "message", .. })), "{error:?}");
    let whole = world.gateway(vec![(id, vec![0xff, 0, 0xfe])], vec![item_json(&binary)]);
    let (entries, error) = follow(&world, &shown, Some(&whole)).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(entries, world.entries);

    let older = node(&world, |_, mut shown| {
        for item in ["message", "assignment"] {
            shown[item].as_object_mut().map(|item| item.remove("PublicKey"));
        }
        shown
    });
    let items = world.entries.iter().flat_map(|entry| entry.message.iter().chain([&entry.assignment]));
    let described = items.map(|item| item_json(item)).collect();
    let knows = world.gateway(vec![(id, vec![0xff, 0, 0xfe])], described);
    let (entries, error) = follow(&world, &older, Some(&knows)).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(entries, world.entries);
    assert_eq!(client(&older).process(world.process, Some(&gateway(&knows))).await.unwrap(), world.item);
}

#[tokio::test]
async fn what_the_node_ordered_itself_and_what_it_tells_wrongly_is_refused() {
    let world = World::new(6);
    // Signed as an HTTP message is: its id is none of this signature's, or there is none.
    let own = node(&world, |slot, mut shown| {
        if slot == 4 {
            shown["assignment"]["Signature"] = json!(b64u::encode([7; 512]));
        }
        shown
    });
    let (entries, error) = follow(&world, &own, None).await;
    assert_eq!(entries, world.entries[..3]);
    assert!(matches!(error, Some(SourceError::OtherId { nonce: Nonce(4), what: "assignment", .. })), "{error:?}");
    let lying = node(&world, |slot, mut shown| {
        if slot == 5 {
            shown["message"]["Data"] = json!("another");
        }
        shown
    });
    let (_, error) = follow(&world, &lying, None).await;
    assert!(matches!(error, Some(SourceError::Unreproducible { nonce: Nonce(5), what: "message", .. })), "{error:?}");
    let nameless = node(&world, |slot, mut shown| {
        if slot == 3 {
            shown["assignment"]["Tags"].as_array_mut().unwrap().retain(|tag| tag["name"] != "Nonce");
        }
        shown
    });
    let (entries, error) = follow(&world, &nameless, None).await;
    assert_eq!(entries, world.entries[..3]);
    assert!(matches!(error, Some(SourceError::NoNonce { after: Some(Nonce(2)), .. })), "{error:?}");
}

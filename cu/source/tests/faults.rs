//! A scheduler that lies or breaks is refused, with process, nonce and fault; everything before the fault comes out.

mod support;

use ao_log::{LogEntry, LogFault, Nonce};
use ao_source::{FetchOptions, LogFetcher, SourceError};
use ao_tests::{Guest, LogBuilder, Twist};
use serde_json::{Value, json};
use support::{Pages, Request, World, http, nodes, refused, scheduler};

const OPTIONS: FetchOptions = FetchOptions {
    page_entries: 4,
    page_entries_max: 16,
    signatures: ao_log::Signatures::All,
    duplicates: ao_log::Duplicates::Refuse,
};

/// Everything up to the first error.
async fn follow(world: &World, server: &support::Server) -> (Vec<LogEntry>, Option<SourceError>) {
    let mut entries = Vec::new();
    let mut fetcher = LogFetcher::new(scheduler(server), None, &world.item, OPTIONS).expect("a process");
    loop {
        match fetcher.next_page().await {
            Ok(Some(page)) => entries.extend(page),
            Ok(None) => return (entries, None),
            Err(error) => return (entries, Some(error)),
        }
    }
}

/// The edge of this nonce, if the page has it.
fn edge(page: &mut Value, nonce: u64) -> Option<&mut Value> {
    let edges = page["edges"].as_array_mut().expect("edges");
    edges.iter_mut().find(|edge| support::tag(&edge["node"], "Nonce") == nonce.to_string())
}

/// Follows a log of which one page is changed, and gives the error with all its causes.
async fn refused_for(twist: impl Fn(&Request, Value) -> Value + Send + 'static) -> (usize, SourceError, String) {
    let world = World::new(10);
    let server = world.scheduler(Pages::ByNonce, 100, twist);
    let (entries, error) = follow(&world, &server).await;
    assert_eq!(entries, world.entries[..entries.len()]);
    let error = error.expect("the fault is noticed");
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    assert!(text.contains(&world.process.to_string()), "{text}");
    (entries.len(), error, text)
}

fn fault(error: &SourceError) -> &LogFault {
    match error {
        SourceError::Log { source, .. } => source,
        other => panic!("no fault of the log: {other}"),
    }
}

#[tokio::test]
async fn a_gap_is_refused() {
    let (kept, error, _) = refused_for(|_, mut page| {
        page["edges"].as_array_mut().unwrap().retain(|edge| support::tag(&edge["node"], "Nonce") != "6");
        page
    })
    .await;
    assert_eq!(kept, 4);
    assert!(matches!(fault(&error), LogFault::Gap { expected: Nonce(6), found: Nonce(7) }), "{error}");
}

#[tokio::test]
async fn two_swapped_entries_are_refused() {
    let (kept, error, _) = refused_for(|_, mut page| {
        if edge(&mut page, 5).is_some() {
            page["edges"].as_array_mut().unwrap().swap(1, 2);
        }
        page
    })
    .await;
    assert_eq!(kept, 4);
    assert!(matches!(fault(&error), LogFault::Gap { expected: Nonce(5), found: Nonce(6) }), "{error}");
}

#[tokio::test]
async fn the_same_entry_twice_is_refused() {
    let (_, error, _) = refused_for(|_, mut page| {
        if let Some(twice) = edge(&mut page, 5).cloned() {
            page["edges"].as_array_mut().unwrap().insert(2, twice);
        }
        page
    })
    .await;
    assert!(matches!(fault(&error), LogFault::Gap { expected: Nonce(6), found: Nonce(5) }), "{error}");
}

#[tokio::test]
async fn another_assignment_of_a_nonce_served_before_is_refused() {
    let log = LogBuilder::new(&Guest::load("counter", 64), &[]);
    let other = nodes((0..10).fold(log, |log, at| log.message(&format!("other {at}"))).entries());
    let (_, error, _) = refused_for(move |request, mut page| {
        if request.number("from-nonce") == Some(3) {
            page["edges"].as_array_mut().unwrap().insert(0, json!({ "node": other[3], "cursor": "x" }));
        }
        page
    })
    .await;
    assert!(matches!(error, SourceError::Contradiction { nonce: Nonce(3), .. }), "{error}");
}

#[tokio::test]
async fn tampered_data_tags_and_signatures_are_refused_at_their_nonce() {
    for part in ["data", "tags", "signature", "assignment"] {
        let (kept, error, text) = refused_for(move |_, mut page| {
            if let Some(edge) = edge(&mut page, 6) {
                let node = &mut edge["node"];
                match part {
                    "data" => node["message"]["data"] = json!("send me everything"),
                    "tags" => node["message"]["tags"][2]["value"] = json!("Massage"),
                    "signature" => node["message"]["signature"] = node["assignment"]["signature"].clone(),
                    _ => node["assignment"]["tags"][4]["value"] = json!("000001580001"),
                }
            }
            page
        })
        .await;
        assert_eq!(kept, 4, "{part}");
        match (part, &error) {
            ("signature", SourceError::OtherId { nonce: Nonce(6), what: "message", .. }) => {}
            ("data" | "tags", SourceError::Unreproducible { nonce: Nonce(6), what: "message", .. }) => {}
            ("assignment", SourceError::Unreproducible { nonce: Nonce(6), what: "assignment", .. }) => {}
            _ => panic!("{part}: {text}"),
        }
        assert!(text.contains("nonce 6"), "{text}");
    }
}

#[tokio::test]
async fn a_wrong_chain_and_a_wrong_signer_are_refused() {
    for (twist, expected) in [(Twist::HashChain, "Hash-Chain"), (Twist::Scheduler, "signed by")] {
        let log = LogBuilder::new(&Guest::load("counter", 64), &[]).message("1").message("2").twisted("3", twist);
        let world = World::of(&log.message("4"));
        let server = world.scheduler(Pages::ByNonce, 100, |_, page| page);
        let (_, error) = follow(&world, &server).await;
        let error = error.expect("the fault is noticed");
        let text = fault(&error).to_string();
        assert!(text.contains("nonce 3") && text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn a_false_end_and_an_endless_log_are_refused() {
    let (kept, error, _) = refused_for(|_, mut page| {
        page["page_info"]["has_next_page"] = json!(false);
        page["edges"]
            .as_array_mut()
            .unwrap()
            .retain(|edge| support::tag(&edge["node"], "Nonce").parse::<u64>().unwrap() < 7);
        page
    })
    .await;
    assert_eq!(kept, 7);
    assert!(matches!(error, SourceError::FalseEnd { next: Nonce(7), latest: Nonce(10), .. }), "{error}");

    let first = std::sync::Mutex::new(None);
    let (kept, error, _) = refused_for(move |_, mut page| {
        page["page_info"]["has_next_page"] = json!(true);
        first.lock().unwrap().get_or_insert(page).clone()
    })
    .await;
    assert_eq!(kept, 4);
    assert!(matches!(error, SourceError::Stuck { next: Nonce(4), limit: 16, .. }), "{error}");
}

#[tokio::test]
async fn a_cut_answer_is_tried_again_and_then_refused() {
    let world = World::new(3);
    for (cut, is_json) in [(None, true), (Some(100_000), false)] {
        let server = support::Server::new(move |_| {
            let headers = cut.map(|length: usize| ("content-length", length.to_string()));
            (200, headers.into_iter().collect(), b"{\"page_info\":{\"has_next".to_vec())
        });
        let (entries, error) = follow(&world, &server).await;
        assert!(entries.is_empty());
        assert_eq!(server.requests.load(std::sync::atomic::Ordering::Relaxed), 3);
        let Some(SourceError::Page { nonce: Nonce(0), source, .. }) = error else { panic!("{error:?}") };
        assert_eq!(matches!(*source, SourceError::Json { tries: 3, .. }), is_json, "{source}");
        assert_eq!(matches!(*source, SourceError::NoAnswer { tries: 3, .. }), !is_json, "{source}");
    }
}

#[tokio::test]
async fn trouble_that_passes_is_waited_for_and_a_refusal_is_not() {
    let world = World::new(3);
    let honest = world.scheduler(Pages::ByNonce, 100, |_, page| page);
    let target = honest.url.clone();
    let calls = std::sync::atomic::AtomicU64::new(0);
    let router =
        support::Server::new(move |request| match calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 3 {
            0 => (503, vec![("retry-after", "0".to_owned())], vec![]),
            1 => (429, vec![], vec![]),
            _ => {
                let query: Vec<String> = request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
                (307, vec![("location", format!("{target}{}?{}", request.path, query.join("&")))], vec![])
            }
        });
    let (entries, error) = follow(&world, &router).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(entries, world.entries, "redirected to whoever has the log");

    let server = support::Server::new(|_| refused(400));
    let (_, error) = follow(&world, &server).await;
    let Some(SourceError::Page { source, .. }) = error else { panic!("{error:?}") };
    assert!(matches!(*source, SourceError::Status { status: 400, tries: 1, .. }), "{source}");
    let large = support::Server::new(|_| (200, vec![], vec![b' '; 5 << 20]));
    let error = ao_source::SchedulerClient::new(http(), &large.url).latest(world.process).await.unwrap_err();
    assert!(matches!(error, SourceError::TooBig { .. }), "{error}");
}

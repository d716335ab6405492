//! A scheduler unit: what it ordered is a log that the compute unit and `replay` believe, and that survives.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ao_log::Nonce;
use ao_replay::{Options, Source, Verdict};
use ao_tests::{Guest, Network, item};
use ao_wire::{DataItem, Id, ItemBuilder, ModuleId, Signer, Tag};
use serde_json::Value;
use support::{Answer, Unit};

const AO: [(&str, &str); 2] = [("Data-Protocol", "ao"), ("Variant", "ao.TN.1")];

fn user() -> Signer {
    Signer::ed25519(&[2; 32])
}

/// A key that signs fast.
fn ed25519() -> String {
    format!(r#"{{"kty":"OKP","crv":"Ed25519","d":"{}"}}"#, ao_wire::b64u::encode([7; 32]))
}

/// A scheduler with a fast key, and its address.
fn start(network: &Network, folder: &Path, more: &[&str]) -> (Unit, String) {
    start_with(network, folder, &ed25519(), more)
}

fn start_with(network: &Network, folder: &Path, key: &str, more: &[&str]) -> (Unit, String) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("wallet.json"), key).unwrap();
    let unit = Unit::run("su", folder, &[&["--gateway", &network.url()], more].concat());
    let address = unit.get("/").ok()["address"].as_str().unwrap().to_owned();
    (unit, address)
}

fn process(module: ModuleId, scheduler: &str, number: u64) -> Vec<u8> {
    let (module, number) = (module.to_string(), number.to_string());
    let tags =
        [&AO[..], &[("Type", "Process"), ("Module", &module), ("Scheduler", scheduler), ("N", &number)]].concat();
    item(&user(), None, &tags, b"")
}

fn message(process: Id, data: &[u8]) -> Vec<u8> {
    item(&user(), Some(process), &[&AO[..], &[("Type", "Message")]].concat(), data)
}

fn id(item: &[u8]) -> Id {
    DataItem::parse(item).unwrap().id()
}

fn try_post(unit: &Unit, item: &[u8]) -> std::io::Result<Answer> {
    unit.try_ask("POST", "/", &[("content-type", "application/octet-stream")], item)
}

fn post(unit: &Unit, item: &[u8]) -> Value {
    try_post(unit, item).unwrap().ok()
}

fn edges(page: &Value) -> Vec<(u64, u64)> {
    let numbers = page["edges"].as_array().unwrap().iter().map(|edge| {
        let tags = edge["node"]["assignment"]["tags"].as_array().unwrap();
        let tag = |name: &str| tags.iter().find(|tag| tag["name"] == name).unwrap()["value"].as_str().unwrap();
        (tag("Nonce").parse().unwrap(), tag("Timestamp").parse().unwrap())
    });
    numbers.collect()
}

#[test]
fn a_log_it_ordered_is_followed_evaluated_and_verified() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let (su, address) = start(&network, &folder.path().join("su"), &[]);
    let module = network.publish(&Guest::load("counter", 64));
    let spawned = process(module, &address, 1);
    let process = id(&spawned);
    post(&su, &spawned);
    // Data and an anchor that no JSON carries.
    let anchor = ItemBuilder {
        target: Some(process.0),
        anchor: Some([0xff; 32]),
        tags: [&AO[..], &[("Type", "Message")]].concat().iter().map(|(n, v)| Tag::new(n, v)).collect(),
        data: b"anchored",
    };
    let messages: Vec<Vec<u8>> = [message(process, &[0xff, 0xfe, 0]), anchor.build(&user()).unwrap()]
        .into_iter()
        .chain((0..30_u8).map(|n| message(process, &[n])))
        .collect();
    let answers: Vec<Value> = messages.iter().map(|message| post(&su, message)).collect();
    assert_eq!(answers[0]["id"], id(&messages[0]).to_string());
    for (message, answer) in messages.iter().zip(&answers) {
        assert_eq!(&post(&su, message), answer, "sent again it has the place it had");
        assert_eq!(su.get(&format!("/raw/{}?process-id={process}", id(message))).body, *message, "bit for bit");
    }
    let (su_url, gateway) = (su.url(), network.url());
    let cu = Unit::run("cu", &folder.path().join("cu"), &["--su", &su_url, "--gateway", &gateway]);
    let last = id(messages.last().unwrap());
    assert_eq!(cu.get(&format!("/result/{last}?process-id={process}")).ok()["Output"], "33");
    let bundle = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(bundle.path(), cu.get(&format!("/bundle/{process}")).body).unwrap();
    let source = Source::open(bundle.path()).unwrap();
    let verdict = ao_replay::verify(source, &Options::default(), &mut |_| Ok(())).unwrap().1;
    assert_eq!(verdict, Verdict::Matched { first: Nonce(0), last: Nonce(32) });
}

#[test]
fn pages_by_time_and_by_nonce_say_exactly_whether_there_is_more() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let (su, address) = start(&network, folder.path(), &[]);
    let spawned = process(Id([5; 32]).into(), &address, 1);
    let process = id(&spawned);
    post(&su, &spawned);
    for n in 0..9_u8 {
        post(&su, &message(process, &[n]));
    }
    let page = |query: &str| su.get(&format!("/{process}?process-id={process}{query}")).ok();
    let all = edges(&page(""));
    assert_eq!(all.iter().map(|(nonce, _)| *nonce).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    assert!(all.windows(2).all(|pair| pair[0].1 < pair[1].1), "times rise: {all:?}");
    let time = |nonce: usize| all[nonce].1;
    for (query, first, count, more) in [
        ("&limit=10".to_owned(), 0, 10, false),
        ("&limit=9".to_owned(), 0, 9, true),
        ("&limit=1".to_owned(), 0, 1, true),
        (format!("&from={}&limit=3", time(4)), 5, 3, true),
        (format!("&from={}&to={}&limit=3", time(4), time(7)), 5, 3, false),
        (format!("&from={}", time(9)), 10, 0, false),
        ("&from-nonce=-1&limit=2".to_owned(), 0, 2, true),
        ("&from-nonce=7".to_owned(), 8, 2, false),
        ("&from-nonce=3&to-nonce=5&limit=2".to_owned(), 4, 2, false),
        ("&to-nonce=3&from=99999999999999".to_owned(), 0, 4, false),
    ] {
        let page = page(&query);
        let found: Vec<u64> = edges(&page).into_iter().map(|(nonce, _)| nonce).collect();
        assert_eq!(found, (first..first + count).collect::<Vec<_>>(), "{query}");
        assert_eq!(page["page_info"]["has_next_page"], more, "{query}");
    }
    assert_eq!(page("&limit=2")["edges"][1]["cursor"], time(1).to_string());
    assert_eq!(page("&from-nonce=0")["edges"][0]["cursor"], "1");
    for wrong in ["&limit=0", "&limit=-1", "&from=x", "&to-nonce=1.5"] {
        assert_eq!(su.get(&format!("/{process}?process-id={process}{wrong}")).status, 400, "{wrong}");
    }
    let latest = su.get(&format!("/{process}/latest")).ok();
    assert_eq!(su.get(&format!("/{}?process-id={process}", latest["assignment"]["id"].as_str().unwrap())).ok(), latest);
    let shown = su.get(&format!("/processes/{process}")).ok();
    assert_eq!((&shown["process_id"], &shown["block"]), (&process.to_string().into(), &"000001580000".into()));
}

#[test]
fn what_cannot_be_scheduled_is_refused_with_the_reason() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let (su, address) = start(&network, folder.path(), &["--item-bytes-max", "4096"]);
    let good = process(Id([5; 32]).into(), &address, 1);
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let stranger = message(Id([9; 32]), b"");
    for (item, status, error) in [
        (&good[..40], 400, "the body is no data item"),
        (&forged[..], 400, ""),
        (&item(&user(), None, &[("Type", "Process")], b"")[..], 400, "Data-Protocol=ao tag not present"),
        (&process(Id([5; 32]).into(), "elsewhere", 1)[..], 400, "Scheduler is \"elsewhere\""),
        (&item(&user(), None, &[&AO[..], &[("Type", "Message")]].concat(), b"")[..], 400, "must have a target"),
        (&item(&user(), None, &[&AO[..], &[("Type", "Other")]].concat(), b"")[..], 400, "Type is \"Other\""),
        (&stranger[..], 404, "is not scheduled here"),
        (&[0; 5000][..], 413, "more than 4096 bytes"),
    ] {
        let answer = try_post(&su, item).unwrap();
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.json()["error"].as_str().unwrap().contains(error), "{error}: {}", answer.text());
    }
    let process = id(&good);
    post(&su, &good);
    let half = su.post(&format!("/?process-id={process}"), "");
    assert_eq!((half.status, &half.json()["error"]), (400, &"'assign': process-id and assign, both or none".into()));
    let absent = su.post(&format!("/?process-id={process}&assign={}", Id([8; 32])), "");
    assert_eq!(absent.status, 422, "{}", absent.text());
    let shallow = su.post(&format!("/?process-id={process}&assign={}&base-layer", Id([8; 32])), "");
    assert_eq!(shallow.status, 422, "{}", shallow.text());
    assert_eq!(su.get(&format!("/{process}")).status, 400);
    assert_eq!(su.ask("PUT", "/", &[], "").status, 405);
    assert_eq!(su.stop(), Some(0));
    let (su, _) = start(&network, folder.path(), &["--read-only"]);
    assert_eq!(try_post(&su, &message(process, b"")).unwrap().status, 403);
    assert_eq!(su.get(&format!("/processes/{process}")).status, 200);
}

#[test]
fn an_upload_that_is_refused_holds_up_no_other_and_is_offered_again() {
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let (gateway, refusing) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(AtomicBool::new(true)));
    let (url, refuses) = (format!("http://{}", gateway.local_addr().unwrap()), Arc::clone(&refusing));
    // Takes everything but what says that it is too large, and that while it refuses.
    std::thread::spawn(move || {
        for stream in gateway.incoming() {
            let (mut stream, mut body) = (stream.unwrap(), Vec::new());
            while !body.ends_with(b"AORTA-END") {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).unwrap();
                body.extend_from_slice(&part[..read]);
            }
            let too_large = body.windows(9).any(|part| part == b"too large") && refuses.load(Ordering::Relaxed);
            let status = if too_large { "413 Too Large" } else { "200 OK" };
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}").unwrap();
        }
    });
    let metric = |su: &Unit, name: &str| -> u64 {
        let page = su.get("/metrics").text().to_owned();
        page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap().parse().unwrap()
    };
    let until = |su: &Unit, waiting: u64, refused: u64| {
        let end = Instant::now() + Duration::from_secs(30);
        let now = || (metric(su, "aorta_su_uploads_waiting"), metric(su, "aorta_su_uploads_refused"));
        while now() != (waiting, refused) {
            assert!(Instant::now() < end, "{:?}", now());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let (su, address) = start(&network, folder.path(), &["--upload", &url]);
    let module = network.publish(&Guest::load("counter", 64)).to_string();
    let tags = [("Type", "Process"), ("Module", &module), ("Scheduler", &address)];
    let spawned = item(&user(), None, &[&AO[..], &tags].concat(), b"AORTA-END");
    post(&su, &spawned);
    for data in ["one AORTA-END", "too large AORTA-END", "three AORTA-END"] {
        post(&su, &message(id(&spawned), data.as_bytes()));
    }
    until(&su, 0, 1);
    refusing.store(false, Ordering::Relaxed);
    assert_eq!(su.stop(), Some(0));
    let (su, _) = start(&network, folder.path(), &["--upload", &url]);
    until(&su, 0, 0);
}

/// Kills the unit while it is posted to, ten times, or `AORTA_KILLS` times.
#[test]
fn a_scheduler_killed_at_any_moment_has_everything_it_acknowledged_once() {
    let rounds: u64 = std::env::var("AORTA_KILLS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(10);
    let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
    let mut acknowledged: Vec<(Id, Id, Value)> = Vec::new();
    for round in 0..rounds {
        let (su, address) = start(&network, folder.path(), &[]);
        let spawned: Vec<Vec<u8>> = (0..4).map(|n| process(Id([5; 32]).into(), &address, round * 4 + n)).collect();
        let victim = su.id();
        let told: Vec<(Id, Id, Value)> = std::thread::scope(|scope| {
            let posting: Vec<_> = spawned.iter().map(|spawned| scope.spawn(|| flood(&su, spawned))).collect();
            std::thread::sleep(Duration::from_millis(30 + round * 37 % 170));
            assert!(Command::new("kill").args(["-9", &victim.to_string()]).status().unwrap().success());
            posting.into_iter().flat_map(|posting| posting.join().unwrap()).collect()
        });
        acknowledged.extend(told);
    }
    let (su, _) = start(&network, folder.path(), &[]);
    assert!(acknowledged.len() as u64 > 10 * rounds, "{} are too few", acknowledged.len());
    let processes: BTreeSet<Id> = acknowledged.iter().map(|(process, _, _)| *process).collect();
    let mut kept: BTreeMap<String, Value> = BTreeMap::new();
    for process in processes {
        let page = su.get(&format!("/{process}?process-id={process}&limit=5000")).ok();
        assert_eq!(page["page_info"]["has_next_page"], false);
        let places = edges(&page);
        assert!(places.iter().zip(0..).all(|((nonce, _), n)| *nonce == n), "no gap: {places:?}");
        assert!(places.is_sorted_by(|one, next| one.1 < next.1), "times rise: {places:?}");
        for (edge, (_, time)) in page["edges"].as_array().unwrap().iter().zip(places) {
            let message = edge["node"]["message"]["id"].as_str().unwrap().to_owned();
            assert_eq!(kept.insert(message, time.into()), None, "once");
        }
    }
    for (_, message, answer) in acknowledged {
        assert_eq!(kept.get(&message.to_string()), Some(&answer["timestamp"]));
    }
}

/// Posts a process and messages to it until nobody answers; what was acknowledged.
fn flood(su: &Unit, spawned: &[u8]) -> Vec<(Id, Id, Value)> {
    let process = id(spawned);
    let items = std::iter::once(spawned.to_vec()).chain((0..10_000_u32).map(|n| message(process, &n.to_le_bytes())));
    let answers = items.map_while(|item| {
        let answer = try_post(su, &item).ok().filter(|answer| answer.status == 200)?;
        Some((process, id(&item), answer.json()))
    });
    answers.collect()
}

/// How many posts a second are accepted, each durable, from 16 clients that make a connection for each:
/// `AORTA_SU_RATE=seconds cargo test --workspace --test su -- fast --nocapture`.
#[test]
fn a_fast_key_and_a_wallet_of_the_network_both_serve_many_clients() {
    let seconds: u64 = std::env::var("AORTA_SU_RATE").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let rsa = std::fs::read_to_string(ao_tests::root().join("fixtures/vectors/keys/user.json")).unwrap();
    for (kind, key) in [("Ed25519", ed25519()), ("RSA-4096", rsa)] {
        let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
        let (su, address) = start_with(&network, folder.path(), &key, &[]);
        let until = Instant::now() + Duration::from_secs(seconds);
        let accepted: u64 = std::thread::scope(|scope| {
            let posting = |n| {
                scope.spawn({
                    let (su, address) = (&su, &address);
                    move || post_until(su, address, n, until)
                })
            };
            let clients: Vec<_> = (0..16).map(posting).collect();
            clients.into_iter().map(|client| client.join().unwrap()).sum()
        });
        assert!(accepted >= 32, "{accepted}");
        if let Some(rate) = accepted.checked_div(seconds) {
            #[allow(clippy::print_stderr, reason = "a figure that was asked for")]
            {
                eprintln!("{kind}: {rate} accepted/s");
            }
        }
    }
}

/// Spawns a process and posts messages to it, one at least; how many were accepted.
fn post_until(su: &Unit, scheduler: &str, number: u64, until: Instant) -> u64 {
    let spawned = process(Id([5; 32]).into(), scheduler, number);
    let (process, mut accepted) = (id(&spawned), 1);
    post(su, &spawned);
    while accepted < 2 || Instant::now() < until {
        post(su, &message(process, &u64::to_le_bytes(accepted)));
        accepted += 1;
    }
    accepted
}

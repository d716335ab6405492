//! Every route against what it must answer, as request and response scripts in `conformance/`.
//!
//! A script is read line by line:
//! ```text
//! # comment
//! > METHOD path          a request; `>> name: value` a header of it, `| text` its body
//! < status               what must come; `<< name: value` a header that must be there (`*` stands for any value)
//! = text                 the whole body
//! ~ json                 a part of the body: objects may hold more, lists are complete
//! ```
//! `{process}`, `{message N}`, `{assignment N}`, `{cursor N SORT}` stand for what the log of the test has at nonce N;
//! `{absent}` for an id that nothing has.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;

use ao_tests::{Guest, Network};
use ao_wire::{Id, ProcessId};
use base64::Engine;
use serde_json::Value;
use support::{Answer, Unit};

const MESSAGES: usize = 6;
/// The message whose step fails.
const FAILING: usize = 4;

struct World {
    unit: Unit,
    process: ProcessId,
    messages: Vec<Id>,
    _folder: tempfile::TempDir,
    _network: Network,
}

impl World {
    fn start(more: &[&str]) -> Self {
        let (network, folder) = (Network::start(), tempfile::tempdir().unwrap());
        let process = network.spawn(network.publish(&Guest::load("error_answer", 32)), 1);
        let mut messages = vec![process.id()];
        for nonce in 1..=MESSAGES {
            let data = format!("{nonce}{}", if nonce == FAILING { "!" } else { "" });
            messages.push(network.send(process, &[], &data));
        }
        let unit = Unit::start(&network, folder.path(), more);
        Self { unit, process, messages, _folder: folder, _network: network }
    }

    /// The text with what its placeholders stand for.
    fn fill(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let value = after.split_once('}').and_then(|(name, behind)| Some((self.value(name)?, behind)));
            filled.push_str(before);
            let (value, behind) = value.unwrap_or_else(|| ("{".to_owned(), after));
            (filled, rest) = (filled + &value, behind);
        }
        filled + rest
    }

    fn value(&self, name: &str) -> Option<String> {
        let words: Vec<&str> = name.split(' ').collect();
        let nonce = words.get(1).and_then(|word| word.parse::<usize>().ok());
        Some(match (words[0], nonce) {
            ("process", None) => self.process.to_string(),
            ("absent", None) => "A".repeat(43),
            ("message", Some(nonce)) => self.messages[nonce].to_string(),
            ("cursor", Some(nonce)) => {
                let (time, sort) = (1_735_689_600_000 + nonce as u64 * 1000, words[2]);
                let json = format!(r#"{{"timestamp":{time},"ordinate":"{nonce}","cron":null,"sort":"{sort}"}}"#);
                base64::engine::general_purpose::STANDARD.encode(json)
            }
            _ => return None,
        })
    }

    /// Asks and compares all that a script says; the routes it asked for.
    fn play(&self, name: &str, script: &str) -> BTreeSet<String> {
        let mut routes = BTreeSet::new();
        let mut answer: Option<Answer> = None;
        let (mut request, mut headers, mut body) = (None::<(String, String)>, Vec::new(), String::new());
        for (at, line) in script.lines().enumerate() {
            let here = format!("{name}:{}: {line}", at + 1);
            let (sign, text) = line.split_once(' ').unwrap_or((line, ""));
            let text = self.fill(text);
            match sign {
                ">" => {
                    let (method, path) = text.split_once(' ').expect("a method and a path");
                    routes.insert(path.split(['/', '?']).nth(1).unwrap_or_default().to_owned());
                    request = Some((method.to_owned(), path.to_owned()));
                }
                ">>" => {
                    headers.push(text.split_once(": ").map(|(n, v)| (n.to_owned(), v.to_owned())).expect("a header"));
                }
                "|" => body.push_str(&text),
                "<" => {
                    let (method, path) = request.take().expect("a request comes first");
                    let sent: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (&n[..], &v[..])).collect();
                    let found = self.unit.ask(&method, &path, &sent, &body);
                    assert_eq!(found.status.to_string(), text, "{here}: {}", found.text());
                    (headers, body) = (Vec::new(), String::new());
                    answer = Some(found);
                }
                "<<" => {
                    let (name, value) = text.split_once(": ").expect("a header");
                    let found = answer.as_ref().and_then(|answer| answer.header(name));
                    let found = found.unwrap_or_else(|| panic!("{here}: no such header"));
                    assert!(value == "*" || found == value, "{here}: {found}");
                }
                "=" => assert_eq!(answer.as_ref().expect("an answer").text(), text, "{here}"),
                "~" => {
                    let found = answer.as_ref().expect("an answer").json();
                    let wanted: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{here}: {error}"));
                    assert!(is_part(&wanted, &found), "{here}: {found}");
                }
                "" | "#" => {}
                _ => panic!("{here}: no line of a script"),
            }
        }
        routes
    }
}

fn is_part(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            wanted.iter().all(|(name, value)| found.get(name).is_some_and(|found| is_part(value, found)))
        }
        (Value::Array(wanted), Value::Array(found)) => {
            wanted.len() == found.len() && wanted.iter().zip(found).all(|(wanted, found)| is_part(wanted, found))
        }
        _ => wanted == found,
    }
}

#[test]
fn every_route_answers_as_its_script_says() {
    let world = World::start(&[]);
    let mut routes = BTreeSet::new();
    for (name, script) in [
        ("result", include_str!("conformance/result.txt")),
        ("results", include_str!("conformance/results.txt")),
        ("dry-run", include_str!("conformance/dry-run.txt")),
        ("state", include_str!("conformance/state.txt")),
        ("sidecar", include_str!("conformance/sidecar.txt")),
        ("ours", include_str!("conformance/ours.txt")),
    ] {
        routes.extend(world.play(name, script));
    }
    // `/events` does not end and has a test of its own.
    let all = [
        "", "bundle", "cron", "dry-run", "head", "health", "metrics", "ready", "receipt", "result", "results", "state",
    ];
    assert!(all.iter().all(|route| routes.contains(*route)), "{routes:?}");
}

#[test]
fn callers_are_limited_and_processes_barred_as_configured() {
    let barred = "B".repeat(42) + "A";
    let world = World::start(&["--dry-run-rate", "2", "--deny", &barred]);
    world.play("limits", &include_str!("conformance/limits.txt").replace("{barred}", &barred));
}

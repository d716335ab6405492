//! How: `fixtures/vectors/cu/messages.json` holds items in parts and what the reference CU made of them.

use ao_wire::{DataItem, Id, ItemBuilder, Signer, Tag, b64u};

use super::dedup::{Key, Seen};
use super::{Assignment, Item, Message, MessageError, Party, Shown, needs_process_of_old, write_env};
use crate::json::{Value, parse};

/// Addresses of the two keys that the vectors use, by the length of the key in hex.
fn address(owner: &[u8]) -> &'static str {
    match owner.len() {
        512 => "F-ymmYZuDfegJuNeMfeKEr0A7yVlD9dGwpvuKqV2Vcg",
        65 => "0x545BF05351d8ddd7ea00ae3895D9397a479b601b",
        other => panic!("no such key: {other} bytes"),
    }
}

/// An item that owns its bytes.
struct Parts {
    id: Id,
    owner: Vec<u8>,
    signature: Vec<u8>,
    target: Vec<u8>,
    anchor: Vec<u8>,
    tags: Vec<(String, String)>,
    data: Vec<u8>,
}

impl Parts {
    fn read(item: &Value<'_>) -> Self {
        let bytes = |name| unhex(&text(item, name));
        Self {
            id: Id(bytes("id").try_into().expect("ids have 32 bytes")),
            owner: bytes("owner"),
            signature: bytes("signature"),
            target: bytes("target"),
            anchor: bytes("anchor"),
            tags: tags(item),
            data: bytes("data"),
        }
    }

    fn item<'a>(&'a self, tags: &'a [Tag<'a>]) -> Item<'a> {
        Item {
            id: self.id,
            signature: &self.signature,
            owner: address(&self.owner),
            target: &self.target,
            anchor: &self.anchor,
            tags,
            data: &self.data,
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("hex") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn string(value: &Value<'_>) -> String {
    let Value::String(text) = value else { panic!("not a string: {value:?}") };
    String::from_utf8(text.as_wtf8().to_vec()).expect("vectors hold no lone surrogates")
}

fn text(value: &Value<'_>, name: &str) -> String {
    string(value.get(name).unwrap_or_else(|| panic!("no {name}")))
}

fn tags(holder: &Value<'_>) -> Vec<(String, String)> {
    let Some(Value::Array(tags)) = holder.get("tags") else { panic!("tags is an array") };
    let pair = |tag: &Value<'_>| match tag {
        Value::Array(pair) => (string(&pair[0]), string(&pair[1])),
        _ => panic!("tags are pairs"),
    };
    tags.iter().map(pair).collect()
}

fn borrow(tags: &[(String, String)]) -> Vec<Tag<'_>> {
    tags.iter().map(|(name, value)| Tag::new(name, value)).collect()
}

const VECTORS: &str = include_str!("../../../../fixtures/vectors/cu/messages.json");

/// Runs `check` on every case of the vectors with the message, or why there is none.
fn for_each_case(check: impl Fn(&Value<'_>, Result<Message<'_>, MessageError>)) -> usize {
    let vectors = parse(VECTORS).expect("vectors are JSON");
    let Some(Value::Array(cases)) = vectors.get("cases") else { panic!("cases is an array") };
    for case in cases {
        let parts = Parts::read(case.get("item").expect("every case has an item"));
        let item_tags = borrow(&parts.tags);
        let item = parts.item(&item_tags);
        let assignment_tags = case.get("assignment").map(tags).unwrap_or_default();
        let assignment = || Assignment::from_tags(&borrow(&assignment_tags));
        let message = match text(case, "source").as_str() {
            "item" => assignment().map(|assignment| Message::Scheduled(item, assignment)),
            "assigned" => assignment().map(|assignment| Message::Assigned(item, assignment)),
            "process" => assignment().map(|assignment| Message::Process(item, assignment)),
            "synthetic" => Ok(Message::ProcessOfOld { item, timestamp_ms: 1_650_000_000_000, block_height: 900_000 }),
            other => panic!("unknown source {other}"),
        };
        check(case, message);
    }
    cases.len()
}

#[test]
fn messages_are_those_the_reference_unit_shows_its_modules() {
    let cases = for_each_case(|case, message| match (text(case, "name").as_str(), message) {
        ("not a number", message) => assert_eq!(message.err(), Some(MessageError::NotAnInteger { name: "Epoch" })),
        (name, message) => {
            let mut out = Vec::new();
            message.unwrap_or_else(|error| panic!("{name}: {error}")).write(&mut out);
            let out = String::from_utf8(out).expect("messages are UTF-8");
            match case.get("message") {
                Some(Value::Null) => {
                    assert_eq!(name, "assigned with one exclusion");
                    assert!(!out.contains("\"Data\":"));
                }
                _ => assert_eq!(out, text(case, "message"), "{name}"),
            }
        }
    });
    assert_eq!(cases, 44);
}

#[test]
fn pushed_messages_are_known_by_the_reference_units_deep_hash() {
    for_each_case(|case, message| {
        let Ok(message) = message else { return };
        let name = text(case, "name");
        match (message.key(), case.get("deepHash")) {
            (Some(Key::Content(hash)), Some(expected)) => {
                let expected = string(expected).replace('+', "-").replace('/', "_");
                assert_eq!(b64u::encode(hash), expected, "{name}");
            }
            (Some(Key::Id(id)), None) => assert_eq!(id, message.item().id, "{name}"),
            (None, None) => assert!(matches!(message, Message::ProcessOfOld { .. })),
            other => panic!("{name}: {other:?}"),
        }
    });
}

#[test]
fn the_environment_is_that_of_the_reference_unit() {
    let vectors = parse(VECTORS).expect("vectors are JSON");
    let [process, module] = ["process", "module"].map(|name| Parts::read(vectors.get(name).expect("both are there")));
    let (process_tags, module_tags) = (borrow(&process.tags), borrow(&module.tags));
    let (process_id, module_id) = (b64u::encode(process.id.0), b64u::encode(module.id.0));
    let mut out = Vec::new();
    write_env(
        Party { id: &process_id, owner: address(&process.owner), tags: &process_tags },
        Party { id: &module_id, owner: address(&module.owner), tags: &module_tags },
        &mut out,
    );
    assert_eq!(String::from_utf8(out).expect("UTF-8"), text(&vectors, "env"));
}

fn item<'a>(id: u8, tags: &'a [Tag<'a>], data: &'a [u8]) -> Item<'a> {
    Item { id: Id([id; 32]), signature: b"s", owner: "o", target: b"", anchor: b"", tags, data }
}

fn assignment() -> Assignment<'static> {
    let tags = ["Epoch", "Nonce", "Timestamp", "Block-Height", "Process"].map(|name| Tag::new(name, "1"));
    Assignment::from_tags(&tags).expect("all tags are there")
}

#[test]
fn a_signed_item_shows_its_parts() {
    let builder = ItemBuilder {
        target: Some([7; 32]),
        anchor: Some([b'0'; 32]),
        tags: vec![Tag::new("A", "1"), Tag::new("From", "x"), Tag::new("A", "2")],
        data: b"hi",
    };
    let signer = Signer::ethereum(&[1; 32]).expect("a usable key");
    let bytes = builder.build(&signer).expect("a legal item");
    let signed = DataItem::parse(&bytes).expect("an item");
    let (id, signature) = (signed.id(), b64u::encode(signed.signature()));
    let shown = Shown::new(signed);
    let mut out = Vec::new();
    Message::Scheduled(shown.item(), assignment()).write(&mut out);
    let owner = "0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1";
    let expected = format!(
        r#"{{"Id":"{id}","Signature":"{signature}","Data":"hi","Owner":"{owner}","Target":"1","Anchor":"{}","From":"{owner}","#,
        "0".repeat(32)
    ) + r#""Tags":[{"name":"A","value":"1"},{"name":"A","value":"2"}],"Epoch":1,"Nonce":1,"Timestamp":1,"Block-Height":1,"#
        + r#""Cron":false,"Read-Only":false}"#;
    assert_eq!(String::from_utf8(out).as_deref(), Ok(expected.as_str()));
}

#[test]
fn an_entry_is_taken_for_what_the_scheduler_makes_of_it() {
    let (process, message) = (item(1, &[], b"p"), item(2, &[], b"m"));
    let of = |in_log, elsewhere| Message::of_entry(process, assignment(), in_log, elsewhere);
    assert!(matches!(of(Some(message), None), Message::Scheduled(Item { data: b"m", .. }, _)));
    assert!(matches!(of(None, Some(message)), Message::Assigned(Item { data: b"m", .. }, _)));
    assert!(matches!(of(None, Some(process)), Message::Assigned(Item { data: b"p", .. }, _)));
    assert!(matches!(of(Some(process), None), Message::Process(..)));
    assert!(matches!(of(None, None), Message::Process(..)));
}

#[test]
fn only_pushed_and_assigned_messages_are_duplicates() {
    let pushed = [Tag::new("From-Process", "p")];
    let mut seen = Seen::default();
    let mut skips = |message: Message<'_>| seen.is_duplicate(&message, message.key(), |_| false);
    assert!(!skips(Message::Scheduled(item(1, &[], b"a"), assignment())));
    assert!(!skips(Message::Scheduled(item(1, &[], b"a"), assignment())), "a user's message is never skipped");
    assert!(skips(Message::Assigned(item(1, &[], b"a"), assignment())), "an assigned item was a message before");
    assert!(!skips(Message::Assigned(item(2, &pushed, b"a"), assignment())));
    assert!(skips(Message::Assigned(item(2, &pushed, b"b"), assignment())), "an assigned item is known by its id");
    assert!(!skips(Message::Scheduled(item(3, &pushed, b"a"), assignment())));
    assert!(
        skips(Message::Scheduled(item(4, &pushed, b"a"), assignment())),
        "a pushed message is known by its content"
    );
    assert!(!skips(Message::Scheduled(item(4, &pushed, b"b"), assignment())));
    let rebuilt: Seen = seen.keys().copied().collect();
    assert_eq!(rebuilt, seen);
}

#[test]
fn what_was_evaluated_earlier_is_asked_for_only_where_it_matters() {
    let pushed = [Tag::new("From-Process", "p")];
    let mut seen = Seen::default();
    let mut skips = |message: Message<'_>| {
        let mut asked = None;
        let skips = seen.is_duplicate(&message, message.key(), |key| {
            asked = Some(*key);
            true
        });
        assert_eq!(skips, asked.is_some());
        asked
    };
    assert_eq!(skips(Message::Scheduled(item(1, &[], b"a"), assignment())), None);
    assert!(matches!(skips(Message::Scheduled(item(1, &pushed, b"a"), assignment())), Some(Key::Content(_))));
    assert_eq!(skips(Message::Assigned(item(2, &[], b"a"), assignment())), Some(Key::Id(item(2, &[], b"a").id)));
}

#[test]
fn the_process_comes_first_unless_the_log_begins_with_it() {
    assert!(needs_process_of_old(None));
    assert!(needs_process_of_old(Some(&[])));
    assert!(needs_process_of_old(Some(&[Tag::new("Type", "Message")])));
    assert!(needs_process_of_old(Some(&[Tag::new("Type", "Process"), Tag::new("Type", "Process")])));
    assert!(!needs_process_of_old(Some(&[Tag::new("Type", "Process"), Tag::new("type", "Message")])));
}

#[test]
fn an_assignment_without_its_numbers_makes_no_message() {
    let with = |tags: &[Tag<'_>]| Assignment::from_tags(tags).err();
    assert_eq!(with(&[]), Some(MessageError::MissingTag { name: "Process" }));
    let twice = [Tag::new("Process", "1"), Tag::new("Process", "1")];
    assert_eq!(with(&twice), Some(MessageError::RepeatedTag { name: "Process" }));
    assert_eq!(with(&twice[..1]), Some(MessageError::MissingTag { name: "Epoch" }));
}

//! Assignments of transactions that lie beside the log: data items and transactions of Arweave, whole, in parts, wrong or missing.

mod support;

use std::fs;
use std::path::PathBuf;

use ao_commit::{Receipt, input_hash};
use ao_kernel::message::{Party, write_env};
use ao_log::Nonce;
use ao_log::bundle::{BundleReader, Record};
use ao_tests::{item, root};
use ao_wire::{DataItem, Id, Signer, Tag, b64u};
use serde_json::{Value, json};
use support::{Ended, Place, text};

/// Six entries, then one that assigns `id`.
fn log(place: &Place, name: &str, id: Id, exclude: &[&str]) -> PathBuf {
    let path = place.path(name);
    place.builder().assignment(id, exclude).write(&path);
    fs::create_dir(path.join("assigned")).expect("a temporary folder can be made");
    path
}

fn put(log: &std::path::Path, name: &str, bytes: &[u8]) {
    fs::write(log.join("assigned").join(name), bytes).expect("a temporary file can be written");
}

/// Of someone else, for someone else, with an exclamation mark in its data.
fn signed(data: &[u8]) -> Vec<u8> {
    item(&Signer::ed25519(&[7; 32]), Some(Id([5; 32])), &[("Action", "Notice")], data)
}

fn id(item: &[u8]) -> Id {
    DataItem::parse(item).expect("a signed item").id()
}

/// A transaction of format 2 that the reference library signed, as a node gives it, and its data of 1000 bytes.
fn transaction() -> (Id, Value, Vec<u8>) {
    let vectors = fs::read(root().join("fixtures/vectors/wire/transactions.json")).expect("vectors are there");
    let vectors: Vec<Value> = serde_json::from_slice(&vectors).expect("vectors are JSON");
    let vector = vectors.into_iter().find(|vector| vector["bytes"] == 1000).expect("it is there");
    let json = vector["json"].clone();
    let id = json["id"].as_str().expect("text").parse().expect("an id");
    (id, json, (0..1000).map(|i| (i * 31 + (i >> 8)) as u8).collect())
}

fn last_step(place: &Place, source: &std::path::Path) -> Value {
    let ended = place.replay(["trace", &text(source)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(ended.out.lines().last().expect("seven lines")).expect("a line of JSON")
}

fn refused(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(3), "{ended:?}");
    for words in words {
        assert!(ended.err.contains(words), "{words:?} is not in {}", ended.err);
    }
}

#[test]
fn an_assigned_item_is_shown_to_the_guest_and_kept_in_the_bundle() {
    let place = Place::new("error_answer");
    let item = signed(b"\xff\0 look!");
    let log = log(&place, "log", id(&item), &[]);
    put(&log, &format!("{}.ans104", id(&item)), &item);
    let step = last_step(&place, &log);
    assert_eq!((&step["message"], &step["outcome"]), (&id(&item).to_string().into(), &"module-error".into()));
    let bundle = place.pack(&log, "x.bundle", &["--checkpoint-every", "7"]);
    assert_eq!(last_step(&place, &bundle), step);
    let ended = place.replay(["verify", "--json", &text(&bundle)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let verdict: Value = serde_json::from_str(&ended.out).expect("JSON");
    assert_eq!((&verdict["verdict"], &verdict["assigned"]), (&"matched".into(), &1.into()));
    let shown = place.replay(["inspect", "--nonce", "6", "--json", &text(&bundle)]);
    let shown: Value = serde_json::from_str(&shown.out).expect("JSON");
    assert_eq!((&shown["message"], &shown["assigned"]["signature_valid"]), (&Value::Null, &true.into()));
    let again = place.pack(&bundle, "again.bundle", &["--checkpoint-every", "7"]);
    assert!(fs::read(&bundle).expect("a bundle") == fs::read(&again).expect("a bundle"), "repacking changes nothing");
}

#[test]
fn what_an_assignment_excludes_is_not_shown() {
    let place = Place::new("error_answer");
    let item = signed(b"look!");
    let file = format!("{}.ans104", id(&item));
    for (name, exclude, outcome) in [
        ("one", &["Data"][..], "ok"),
        ("more", &["Signature", "Anchor", "Data"], "ok"),
        ("none", &["Tags"], "module-error"),
    ] {
        let log = log(&place, name, id(&item), exclude);
        put(&log, &file, &item);
        assert_eq!(last_step(&place, &log)["outcome"], outcome, "{exclude:?}");
    }
}

#[test]
fn an_assigned_transaction_of_arweave_gives_the_input_a_gateway_would() {
    let place = Place::new("counter");
    let (id, json, data) = transaction();
    let log = log(&place, "log", id, &["Signature"]);
    put(&log, &format!("{id}.json"), json.to_string().as_bytes());
    put(&log, &format!("{id}.data"), &data);
    let bundle = place.pack(&log, "x.bundle", &[]);

    let field = |name: &str| json[name].as_str().expect("text").to_owned();
    let plain = |text: &Value| {
        let bytes = b64u::decode(text.as_str().expect("text")).expect("base64url");
        String::from_utf8(bytes).expect("the tags are text")
    };
    let owner = Id::sha256(&b64u::decode(field("owner")).expect("base64url")).to_string();
    let tags = json["tags"].as_array().expect("a list");
    let tags = tags
        .iter()
        .map(|tag| format!("{{\"name\":{},\"value\":{}}}", json!(plain(&tag["name"])), json!(plain(&tag["value"]))));
    let tags = tags.collect::<Vec<_>>().join(",");
    let (entry, receipt) = recorded(&bundle);
    let chain = DataItem::parse(&entry).expect("an item").tag("Hash-Chain").expect("a tag").into_owned();
    let message = format!(
        "{{\"Id\":\"{id}\",\"Data\":{},\"Owner\":\"{owner}\",\"Target\":\"{}\",\"Anchor\":\"{}\",\"From\":\"{owner}\",\
         \"Tags\":[{tags}],\"Epoch\":0,\"Nonce\":6,\"Timestamp\":1735689606000,\"Block-Height\":1580000,\
         \"Hash-Chain\":\"{chain}\",\"Cron\":false,\"Read-Only\":false}}",
        // JSON.stringify and serde_json escape the same characters of this text.
        json!(String::from_utf8_lossy(&data)),
        field("target"),
        field("last_tx"),
    );
    let built = place.builder();
    let process = ao_kernel::message::Shown::new(DataItem::parse(built.process()).expect("an item"));
    let meta = &built.module().meta;
    let module_tags: Vec<Tag<'_>> = meta.tags.iter().map(|tag| Tag::new(&tag.name, &tag.value)).collect();
    let mut env = Vec::new();
    write_env(
        Party { id: &process.item().id.to_string(), owner: process.item().owner, tags: process.item().tags },
        Party { id: &meta.id.to_string(), owner: &meta.owner, tags: &module_tags },
        &mut env,
    );
    assert_eq!(receipt.input_hash, input_hash(message.as_bytes(), &env), "{message}");
}

/// The last assignment of a bundle and its receipt.
fn recorded(bundle: &std::path::Path) -> (Vec<u8>, Receipt) {
    let mut reader = BundleReader::new(fs::File::open(bundle).expect("a bundle")).expect("a bundle");
    let (mut entry, mut receipt) = (Vec::new(), None);
    while let Some(record) = reader.next_record().expect("the bundle is intact") {
        match record {
            Record::Entry { assignment, .. } => entry = assignment.to_vec(),
            Record::Receipt { bytes, .. } => receipt = Receipt::decode(bytes).ok(),
            _ => {}
        }
    }
    (entry, receipt.expect("a receipt"))
}

#[test]
fn a_missing_transaction_ends_the_run_with_its_nonce_id_and_files() {
    let place = Place::new("counter");
    let log = log(&place, "log", Id([9; 32]), &[]);
    let id = Id([9; 32]);
    let file = format!("assigned/{id}.ans104");
    refused(&place.replay(["run", &text(&log)]), &["nonce 6", &id.to_string(), &file]);
    let (id, json, _) = transaction();
    for (name, exclude) in [("shown", &[][..]), ("hidden", &["Data"])] {
        let log = self::log(&place, name, id, exclude);
        put(&log, &format!("{id}.json"), json.to_string().as_bytes());
        let ended = place.replay(["run", &text(&log)]);
        if exclude.is_empty() {
            refused(&ended, &["nonce 6", &format!("assigned/{id}.data")]);
        } else {
            // What no guest sees need not be there.
            assert_eq!(ended.code, Some(0), "{ended:?}");
        }
    }
}

#[test]
fn a_tampered_transaction_is_refused() {
    let place = Place::new("counter");
    let good = signed(b"data");
    let log = log(&place, "item", id(&good), &[]);
    let mut other = good.clone();
    *other.last_mut().expect("bytes") ^= 1;
    let file = format!("{}.ans104", id(&good));
    put(&log, &file, &other);
    refused(&place.replay(["run", &text(&log)]), &["nonce 6", "not signed by its owner"]);
    // Without signatures what is said is believed, but for the id.
    assert_eq!(place.replay(["run", "--signatures", "none", &text(&log)]).code, Some(0));
    put(&log, &file, &signed(b"another"));
    refused(&place.replay(["run", "--signatures", "none", &text(&log)]), &[&file, "is assigned, this is"]);
    put(&log, &file, b"no item");
    refused(&place.replay(["run", &text(&log)]), &[&file, "not a data item"]);

    let (id, json, mut data) = transaction();
    let log = self::log(&place, "transaction", id, &[]);
    data[999] ^= 1;
    put(&log, &format!("{id}.json"), json.to_string().as_bytes());
    put(&log, &format!("{id}.data"), &data);
    refused(&place.replay(["run", &text(&log)]), &["nonce 6", "data_root"]);
    let mut forged = json.clone();
    forged["reward"] = "1".into();
    put(&log, &format!("{id}.json"), forged.to_string().as_bytes());
    refused(&place.replay(["run", &text(&log)]), &["nonce 6", "wrong signature"]);
}

#[test]
fn a_transaction_beside_an_entry_that_needs_none_is_refused() {
    let place = Place::new("counter");
    let bundle = place.pack(&place.log(), "x.bundle", &[]);
    let assigned = ao_log::Assigned::Item(signed(b"data")).encode().expect("small");
    let beside = |nonce: Nonce| if nonce.0 == 3 { assigned.clone() } else { Vec::new() };
    let path = place.rewrite(&bundle, beside, |_, receipt| receipt.to_vec());
    refused(&place.replay(["verify", &text(&path)]), &["nonce 3", "needs none"]);
}

#[test]
fn an_item_assigned_again_is_skipped_also_after_a_saved_state() {
    let place = Place::new("counter");
    let item = signed(b"data");
    let path = place.path("log");
    place.builder().assignment(id(&item), &[]).message("between").assignment(id(&item), &[]).write(&path);
    fs::create_dir(path.join("assigned")).expect("a temporary folder can be made");
    put(&path, &format!("{}.ans104", id(&item)), &item);
    let bundle = text(&place.pack(&path, "x.bundle", &["--allow-duplicates", "--checkpoint-every", "8"]));
    let whole = place.replay(["trace", "--allow-duplicates", &bundle]);
    let last = whole.out.lines().last().expect("nine lines").to_owned();
    assert!(last.contains("skipped-duplicate"), "{whole:?}");
    let part = place.replay(["trace", "--allow-duplicates", "--from", "8", &bundle]);
    assert_eq!(part.out.trim_end(), last, "{part:?}");
}

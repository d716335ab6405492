//! What clients are shown: the legacy scheduler's JSON, field by field in its order.
//!
//! JSON cannot carry data, anchors and tags that are no text; whoever needs the signed bytes asks for `/raw/{id}`.
//!
//! # Source
//! `permaweb/ao` `servers/su/src/domain/core/json.rs` at `ff178d51`.

use ao_log::{LogEntry, TimestampMs};
use ao_wire::{DataItem, Id, ProcessId, WireError, b64u};
use serde::Serialize;

#[derive(Serialize)]
struct Owner {
    /// The SHA-256 of the key, whatever kind of key it is.
    address: Id,
    key: String,
}

#[derive(Serialize)]
struct TagJson {
    name: String,
    value: String,
}

#[derive(Serialize)]
struct ProcessJson {
    process_id: Id,
    block: String,
    owner: Owner,
    tags: Vec<TagJson>,
    timestamp: u64,
    data: Option<String>,
    anchor: Option<String>,
    signature: String,
    target: Option<String>,
}

#[derive(Serialize)]
struct MessageJson {
    id: Id,
    owner: Owner,
    data: Option<String>,
    tags: Vec<TagJson>,
    signature: String,
    anchor: Option<String>,
    target: String,
}

#[derive(Serialize)]
struct AssignmentJson {
    id: Id,
    owner: Owner,
    tags: Vec<TagJson>,
    signature: String,
    anchor: Option<String>,
    target: &'static str,
}

#[derive(Serialize)]
struct Node {
    message: Option<MessageJson>,
    assignment: AssignmentJson,
}

/// One place of a log. An assignment of something that lies elsewhere shows no message.
pub(crate) fn node(entry: &LogEntry) -> Result<String, WireError> {
    let assignment = DataItem::parse(&entry.assignment)?;
    let assignment = AssignmentJson {
        id: assignment.id(),
        owner: owner(&assignment),
        tags: tags(&assignment),
        signature: b64u::encode(assignment.signature()),
        anchor: anchor(&assignment),
        target: "",
    };
    let message = match &entry.message {
        Some(bytes) => {
            let item = DataItem::parse(bytes)?;
            Some(MessageJson {
                id: item.id(),
                owner: owner(&item),
                data: Some(String::from_utf8_lossy(item.data()).into_owned()),
                tags: tags(&item),
                signature: b64u::encode(item.signature()),
                anchor: anchor(&item),
                target: target(&item).unwrap_or_default(),
            })
        }
        None => None,
    };
    Ok(text(&Node { message, assignment }))
}

/// A process, with the time and the block of its own assignment.
pub(crate) fn process(
    process: ProcessId,
    item: &[u8],
    timestamp: TimestampMs,
    block: String,
) -> Result<String, WireError> {
    let item = DataItem::parse(item)?;
    Ok(text(&ProcessJson {
        process_id: process.id(),
        block,
        owner: owner(&item),
        tags: tags(&item),
        timestamp: timestamp.0,
        data: std::str::from_utf8(item.data()).ok().map(str::to_owned),
        anchor: anchor(&item),
        signature: b64u::encode(item.signature()),
        target: target(&item),
    }))
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("structs of strings and numbers are JSON")
}

fn owner(item: &DataItem<'_>) -> Owner {
    Owner { address: Id::sha256(item.owner()), key: b64u::encode(item.owner()) }
}

fn tags(item: &DataItem<'_>) -> Vec<TagJson> {
    let json = |tag: ao_wire::Tag<'_>| TagJson { name: tag.name_str().into(), value: tag.value_str().into() };
    item.tags().map(json).collect()
}

fn anchor(item: &DataItem<'_>) -> Option<String> {
    Some(std::str::from_utf8(item.anchor()?).ok()?.to_owned())
}

fn target(item: &DataItem<'_>) -> Option<String> {
    item.target().map(|target| Id(*target).to_string())
}

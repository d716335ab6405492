//! An element of an outbox becomes an item that the unit signs: whose tags it carries.
//!
//! *Not here:* signing elsewhere, sending (`run`).
//!
//! Invariant: a tag that says who sent it is ours alone; every name that is added is there once.
//!
//! # Source
//! `permaweb/ao` `servers/mu/src/domain/lib` at `ff178d51`: `build-tx.js`, `spawn-process.js`, `build-success-tx.js`.

use ao_wire::{Id, ItemBuilder, ProcessId, Signer, Tag};
use serde_json::Value;

use crate::task::{Kind, Place, Trail};
use crate::units::{Failure, ProcessInfo};

type Pair = (String, String);

/// An item, signed.
pub(crate) struct Built {
    pub(crate) item: Vec<u8>,
    /// Whom it is for; none if it is a process.
    pub(crate) target: Option<ProcessId>,
    /// Processes that it is assigned to, too.
    pub(crate) also: Vec<ProcessId>,
    /// Tags of a spawn, as they were asked for.
    pub(crate) asked: Vec<Pair>,
}

/// What an assignment asks for.
pub(crate) struct AskedAssignment {
    pub(crate) process: ProcessId,
    pub(crate) message: Id,
    pub(crate) base_layer: bool,
    pub(crate) exclude: Vec<String>,
}

/// The item of an element, by the rules of its kind. `parent` is who emitted it.
pub(crate) fn build(
    place: &Place,
    element: &Value,
    trail: &Trail,
    parent: &ProcessInfo,
    signer: &Signer,
) -> Result<Built, Failure> {
    let asked = tags(element)?;
    let pushed_for = trail.initial.map(|id| id.to_string());
    let sender = place.process.to_string();
    let (target, tags) = match place.kind {
        Kind::Spawn => (None, spawn_tags(&asked, &sender, parent, pushed_for)?),
        Kind::Spawned => (Some(place.process), spawned_tags(&asked, &text(&element["Process"]))),
        Kind::Message | Kind::Assignment => {
            (Some(id("Target", &element["Target"])?.into()), message_tags(&asked, &sender, parent, pushed_for))
        }
    };
    let message = place.kind == Kind::Message;
    let data = Some(text(&element["Data"])).filter(|data| !data.is_empty()).unwrap_or_else(|| " ".into());
    let builder = ItemBuilder {
        target: target.map(|process: ProcessId| process.id().0),
        anchor: if message { anchor(&element["Anchor"])? } else { None },
        tags: tags.iter().map(|(name, value)| Tag::new(name, value)).collect(),
        data: data.as_bytes(),
    };
    let item = builder.build(signer).map_err(|error| unfit(&ao_http::chain(&error)))?;
    Ok(Built { item, target, also: if message { assignments(element)? } else { Vec::new() }, asked })
}

/// What an assignment, already one for each process, asks for.
pub(crate) fn assignment(element: &Value) -> Result<AskedAssignment, Failure> {
    let exclude = element["Exclude"].as_array().into_iter().flatten().map(text).collect();
    Ok(AskedAssignment {
        process: id("Processes", &element["Target"])?.into(),
        message: id("Message", &element["Message"])?,
        base_layer: element["BaseLayer"] == true,
        exclude,
    })
}

fn message_tags(asked: &[Pair], sender: &str, parent: &ProcessInfo, pushed_for: Option<String>) -> Vec<Pair> {
    let ours = ["Data-Protocol", "Type", "From-Process", "From-Module", "Assignments"];
    let mut tags = without(asked, &ours);
    for (name, value) in [("Data-Protocol", "ao"), ("Type", "Message"), ("From-Process", sender)] {
        tags.push((name.into(), value.into()));
    }
    tags.push(("From-Module".into(), parent.module.clone()));
    push_pushed_for(&mut tags, pushed_for);
    tags
}

fn spawn_tags(
    asked: &[Pair],
    sender: &str,
    parent: &ProcessInfo,
    pushed_for: Option<String>,
) -> Result<Vec<Pair>, Failure> {
    let variant =
        if asked.iter().any(|tag| tag == &("Variant".into(), "ao.N.1".into())) { "ao.N.1" } else { "ao.TN.1" };
    let mut tags = without(asked, &["Data-Protocol", "Type", "Variant", "From-Process"]);
    if !tags.iter().any(|(name, _)| name == "Module") {
        return Err(unfit("a spawn must have the tag Module"));
    }
    for (name, value) in &mut tags {
        if name == "From-Module" {
            value.clone_from(&parent.module);
        }
    }
    for (name, value) in [("Variant", variant), ("Data-Protocol", "ao"), ("Type", "Process"), ("From-Process", sender)]
    {
        tags.push((name.into(), value.into()));
    }
    push_pushed_for(&mut tags, pushed_for);
    if !tags.iter().any(|(name, _)| name == "Scheduler") {
        tags.push(("Scheduler".into(), parent.scheduler.clone()));
    }
    Ok(tags)
}

/// A parent is told by the unit, not by a process.
fn spawned_tags(asked: &[Pair], process: &str) -> Vec<Pair> {
    let kept = without(asked, &["Variant", "Type"]);
    let mut tags: Vec<Pair> = kept.into_iter().filter(|tag| tag != &("Data-Protocol".into(), "ao".into())).collect();
    for (name, value) in [("Data-Protocol", "ao"), ("Type", "Message"), ("Process", process)] {
        tags.push((name.into(), value.into()));
    }
    for (name, value) in [("Action", "Spawned"), ("Variant", "ao.TN.1")] {
        tags.push((name.into(), value.into()));
    }
    tags
}

/// What came from a cron was pushed for nothing: then what the process says stands.
fn push_pushed_for(tags: &mut Vec<Pair>, pushed_for: Option<String>) {
    if let Some(initial) = pushed_for {
        tags.retain(|(name, _)| name != "Pushed-For");
        tags.push(("Pushed-For".into(), initial));
    }
}

fn without(tags: &[Pair], names: &[&str]) -> Vec<Pair> {
    tags.iter().filter(|(name, _)| !names.contains(&&name[..])).cloned().collect()
}

/// The tags of an element; one that has none has none.
fn tags(element: &Value) -> Result<Vec<Pair>, Failure> {
    let tags = match &element["Tags"] {
        Value::Null => return Ok(Vec::new()),
        // An empty table of Lua may come as an object.
        Value::Object(object) if object.is_empty() => return Ok(Vec::new()),
        tags => tags.as_array().ok_or_else(|| unfit("Tags is no list"))?,
    };
    let pair = |tag: &Value| Some((tag.get("name")?.as_str()?.to_owned(), text(tag.get("value")?)));
    let wrong = || unfit("a tag is not {\"name\": text, \"value\": text}");
    tags.iter().map(|tag| pair(tag).ok_or_else(wrong)).collect()
}

/// The processes that a message's tag `Assignments` names, one or a list.
fn assignments(element: &Value) -> Result<Vec<ProcessId>, Failure> {
    let tags = element["Tags"].as_array().into_iter().flatten();
    let named = tags.filter(|tag| tag["name"] == "Assignments").flat_map(|tag| match &tag["value"] {
        Value::Array(processes) => processes.iter().map(text).collect(),
        one => serde_json::from_str(&text(one)).unwrap_or_else(|_| vec![text(one)]),
    });
    named.map(|process| Ok(id("Assignments", &Value::String(process))?.into())).collect()
}

/// 32 bytes of text; some write them in base64url.
fn anchor(anchor: &Value) -> Result<Option<[u8; 32]>, Failure> {
    let anchor = text(anchor);
    if anchor.is_empty() {
        return Ok(None);
    }
    let bytes = anchor.as_bytes().try_into().ok().or_else(|| Some(anchor.parse::<Id>().ok()?.0));
    bytes.map(Some).ok_or_else(|| unfit(&format!("Anchor has {} bytes, an item carries 32", anchor.len())))
}

fn id(field: &str, value: &Value) -> Result<Id, Failure> {
    text(value).parse().map_err(|_| unfit(&format!("{field} is {value}, an id of 43 characters is required")))
}

/// Text as it is; what else a process may say, as JSON has it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn unfit(why: &str) -> Failure {
    Failure::for_good("the element of the outbox makes no item", why)
}

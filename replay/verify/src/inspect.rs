//! `replay inspect`: what a log is about, or one nonce of it, without evaluating anything.

use ao_commit::hex;
use ao_kernel::cron::Crons;
use ao_log::{Assigned, Assignment, LogFault, ProcessInfo};
use ao_replay::shown;
use ao_replay::{LoggedStep, ReplayError, Source};
use ao_wire::{DataItem, Tag};
use serde_json::{Value, json};

use crate::args::Inspect;
use crate::output::print;

pub(crate) fn inspect(args: &Inspect) -> Result<(), ReplayError> {
    let mut source = Source::open(&args.source)?;
    let shown = match args.nonce {
        None => overview(&mut source)?,
        Some(nonce) => loop {
            match source.next_step()? {
                Some(step) if step.entry.nonce.0 == nonce => break one(&step)?,
                Some(_) => {}
                None => return Err(ReplayError::NoSuchNonce { nonce: ao_log::Nonce(nonce) }),
            }
        },
    };
    if args.json {
        print(&shown.to_string());
    } else {
        print_plain(&shown, 0);
    }
    Ok(())
}

fn overview(source: &mut Source) -> Result<Value, ReplayError> {
    let process = DataItem::parse(&source.process).map_err(LogFault::ProcessItem)?;
    let info = ProcessInfo::from_item(&process).map_err(LogFault::Process)?;
    let mut shown = json!({
        "process": info.id.to_string(),
        "owner": info.owner,
        "schedulers": info.schedulers,
        "tags": tags(process.tags()),
        "module": {
            "id": source.module.id.to_string(),
            "owner": source.module.owner,
            "bytes": source.module.wasm_bytes,
            "blake3": hex(&source.module.wasm_blake3),
            "embedded": source.wasm.is_some(),
            "tags": source.module.tags.iter().map(|tag| format!("{}={}", tag.name, tag.value)).collect::<Vec<_>>(),
        },
        "crons": Crons::read(&process.tags().collect::<Vec<_>>())?.ids().collect::<Vec<_>>(),
        "profile": source.manifest.profile,
        "chain_rule": format!("{:?}", source.manifest.chain_rule),
        "first_nonce": source.manifest.first_nonce.0,
    });
    let (mut entries, mut receipts, mut last) = (0_u64, 0_u64, None);
    while let Some(step) = source.next_step()? {
        entries += 1;
        receipts += step.receipts()?.map_or(0, |receipts| receipts.len() as u64);
        last = Some(step.entry.nonce.0);
    }
    shown["last_nonce"] = json!(last);
    shown["entries"] = json!(entries);
    shown["receipts"] = json!(receipts);
    shown["bundle_root"] = json!(source.bundle_root().map(|root| root.to_string()));
    Ok(shown)
}

fn one(step: &LoggedStep) -> Result<Value, ReplayError> {
    let nonce = step.entry.nonce;
    let item = DataItem::parse(&step.entry.assignment).map_err(|source| LogFault::AssignmentItem { nonce, source })?;
    let assignment = Assignment::from_item(&item).map_err(|source| LogFault::Assignment { nonce, source })?;
    let message = match &step.entry.message {
        Some(bytes) => Some(DataItem::parse(bytes).map_err(|source| LogFault::MessageItem { nonce, source })?),
        None => None,
    };
    let mut receipts = step.receipts()?.unwrap_or_default();
    let own = receipts.pop();
    Ok(json!({
        "nonce": nonce.0,
        "assignment": {
            "id": item.id().to_string(),
            "signer": assignment.signer,
            "timestamp": assignment.timestamp.0,
            "block_height": assignment.block_height.0,
            "hash_chain": assignment.hash_chain.to_string(),
            "message": assignment.message.map(|id| id.to_string()),
            "signature_valid": item.verify().is_ok(),
        },
        "message": message.map(|item| shown_item(&item)),
        "assigned": step.assigned.as_ref().map(assigned),
        "ticks_before": receipts.iter().map(shown::receipt).collect::<Vec<_>>(),
        "receipt": own.as_ref().map(shown::receipt),
    }))
}

fn shown_item(item: &DataItem<'_>) -> Value {
    json!({
        "id": item.id().to_string(),
        "owner": item.owner_address(),
        "signature_type": format!("{:?}", item.signature_type()),
        "signature_valid": item.verify().is_ok(),
        "tags": tags(item.tags()),
        "data": String::from_utf8_lossy(item.data()),
    })
}

/// A transaction that is assigned and lies beside the log.
fn assigned(assigned: &Assigned) -> Value {
    match assigned {
        Assigned::Item(bytes) => shown_item(&DataItem::parse(bytes).expect("parsed when it was read")),
        Assigned::Transaction { transaction, data } => json!({
            "id": transaction.id().to_string(),
            "owner": transaction.owner_address(),
            "signature_type": format!("transaction of format {}", transaction.format),
            "signature_valid": assigned.verify().is_ok(),
            "tags": tags(transaction.tags()),
            "data": data.as_deref().map(String::from_utf8_lossy),
        }),
    }
}

fn tags<'a>(tags: impl Iterator<Item = Tag<'a>>) -> Vec<String> {
    tags.map(|tag| format!("{}={}", tag.name_str(), tag.value_str())).collect()
}

fn print_plain(value: &Value, depth: usize) {
    let Value::Object(fields) = value else { return };
    for (name, value) in fields {
        let pad = "  ".repeat(depth);
        match value {
            Value::Object(_) => {
                print(&format!("{pad}{name}:"));
                print_plain(value, depth + 1);
            }
            Value::Array(items) => {
                print(&format!("{pad}{name}:"));
                for item in items {
                    print(&format!("{pad}  {}", item.as_str().map_or_else(|| item.to_string(), shown)));
                }
            }
            Value::String(text) => print(&format!("{pad}{name}: {}", shown(text))),
            other => print(&format!("{pad}{name}: {other}")),
        }
    }
}

/// Text of strangers for a terminal: no control character goes through, and not more than a screen of it.
fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 2000;
    let mut out: String = text
        .chars()
        .take(CHARS_MAX)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        out.push_str(" … (all of it with --json)");
    }
    out
}

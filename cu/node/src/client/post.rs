//! Items, signed and posted.
//!
//! Invariant: an id that is given back is that of an item which a unit accepted.

use anyhow::{Context as _, Result};
use ao_wire::{DataItem, Id, ItemBuilder, Signer, Tag};

use super::{Http, Units};

/// A new process of a module under a scheduler; its id.
pub(crate) async fn spawn(
    http: &Http,
    units: &Units,
    (module, scheduler): (Id, &str),
    mut tags: Vec<(String, String)>,
    data: &[u8],
    signer: &Signer,
) -> Result<Id> {
    let module = module.to_string();
    // Whose word a process takes for what others send it: our messenger says who it is, others' are named by a tag.
    if !tags.iter().any(|(name, _)| name == "Authority")
        && let Some(authority) = http.find(&format!("{}/info", units.mu)).await
        && let Some(authority) = authority["address"].as_str()
    {
        tags.push(("Authority".to_owned(), authority.to_owned()));
    }
    let tags = with_ours(tags, "Process", &[("Module", &module), ("Scheduler", scheduler)]);
    post(http, units, None, &tags, data, signer).await
}

/// A message to a process; its id.
pub(crate) async fn send(
    http: &Http,
    units: &Units,
    process: Id,
    tags: Vec<(String, String)>,
    data: &[u8],
    signer: &Signer,
) -> Result<Id> {
    post(http, units, Some(process), &with_ours(tags, "Message", &[]), data, signer).await
}

/// Has the messenger unit watch the crons of a process, as its owner may.
pub(crate) async fn monitor(http: &Http, units: &Units, process: Id, signer: &Signer) -> Result<()> {
    let item = ItemBuilder { target: Some(process.0), ..ItemBuilder::default() }.build(signer)?;
    http.post_item(&format!("{}/monitor/{process}", units.mu), item).await?;
    Ok(())
}

/// Gives the gateway an item; its id.
pub(crate) async fn publish(http: &Http, units: &Units, item: Vec<u8>) -> Result<Id> {
    let id = DataItem::parse(&item)?.id();
    http.post_item(&format!("{}/tx", units.gateway), item).await?;
    Ok(id)
}

/// The address of the scheduler unit.
pub(crate) async fn scheduler(http: &Http, units: &Units) -> Result<String> {
    let shown = http.get(&format!("{}/", units.su)).await?;
    Ok(shown["address"].as_str().context("the scheduler unit does not say its address")?.to_owned())
}

async fn post(
    http: &Http,
    units: &Units,
    target: Option<Id>,
    tags: &[(String, String)],
    data: &[u8],
    signer: &Signer,
) -> Result<Id> {
    let tags = tags.iter().map(|(name, value)| Tag::new(name, value)).collect();
    let item = ItemBuilder { target: target.map(|id| id.0), anchor: None, tags, data }.build(signer)?;
    let id = DataItem::parse(&item)?.id();
    http.post_item(&units.mu, item).await?;
    Ok(id)
}

fn with_ours(mut tags: Vec<(String, String)>, kind: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let ours = [("SDK", "aorta"), ("Data-Protocol", "ao"), ("Variant", "ao.TN.1"), ("Type", kind)];
    tags.extend(ours.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    tags
}

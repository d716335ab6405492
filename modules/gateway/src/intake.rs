//! What is taken: an item or a bundle, with every item in it, their signatures checked.
//!
//! Invariant: nothing of an upload is taken if one item of it is not what its owner signed.

use ao_wire::{Bundle, DataItem, Id, Limits, verify_all};

use crate::GatewayError;

/// A tag as it is looked for: name and value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// An item, and where in the upload it is.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) id: Id,
    pub(crate) owner: String,
    pub(crate) recipient: String,
    pub(crate) tags: Vec<Pair>,
    pub(crate) offset: u64,
    pub(crate) header_len: u64,
    pub(crate) len: u64,
    /// The item that carries it in a bundle.
    pub(crate) parent: Option<Id>,
}

/// The items of an upload, the outermost first.
pub(crate) fn items(bytes: &[u8]) -> Result<Vec<Found>, GatewayError> {
    let limits = Limits::ARBUNDLES;
    let mut items: Vec<(DataItem<'_>, Option<Id>)> = Vec::new();
    match DataItem::parse_with(bytes, &limits) {
        Ok(item) => items.push((item, None)),
        Err(error) => {
            // A bare bundle begins with its number of items, an item with its signature type.
            let bundle = Bundle::parse_with(bytes, &limits).map_err(|_| GatewayError::Item(error))?;
            for item in bundle.items() {
                items.push((item.map_err(GatewayError::Item)?, None));
            }
        }
    }
    let mut next = 0;
    while let Some((item, _)) = items.get(next).cloned() {
        if item.tag("Bundle-Format").as_deref() == Some("binary") && depth(&items, next) < limits.nesting_max as usize {
            let bundle = Bundle::parse_with(item.data(), &limits).map_err(GatewayError::Item)?;
            for nested in bundle.items() {
                items.push((nested.map_err(GatewayError::Item)?, Some(item.id())));
            }
        }
        next += 1;
    }
    let parsed: Vec<DataItem<'_>> = items.iter().map(|(item, _)| item.clone()).collect();
    for (item, verdict) in parsed.iter().zip(verify_all(&parsed)) {
        verdict.map_err(|source| GatewayError::Signature { id: item.id(), source })?;
    }
    let base = bytes.as_ptr() as usize;
    Ok(items.iter().map(|(item, parent)| found(item, *parent, base)).collect())
}

/// How many bundles enclose an item.
fn depth(items: &[(DataItem<'_>, Option<Id>)], mut at: usize) -> usize {
    let mut depth = 0;
    while let Some(parent) = items[at].1 {
        let Some(found) = items[..at].iter().position(|(item, _)| item.id() == parent) else { break };
        (at, depth) = (found, depth + 1);
    }
    depth
}

fn found(item: &DataItem<'_>, parent: Option<Id>, base: usize) -> Found {
    Found {
        id: item.id(),
        owner: item.owner_address(),
        recipient: item.target().map(|target| Id(*target).to_string()).unwrap_or_default(),
        tags: item.tags().map(|tag| (tag.name.to_vec(), tag.value.to_vec())).collect(),
        // Items borrow from the upload, so that their place in it is that of their bytes.
        offset: (item.bytes().as_ptr() as usize - base) as u64,
        header_len: (item.bytes().len() - item.data().len()) as u64,
        len: item.bytes().len() as u64,
        parent,
    }
}

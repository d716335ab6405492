//! What there is to ask for by GraphQL: transactions and blocks, in the words of Arweave's gateways.
//!
//! *Not here:* the language (`graphql`), where items are (`store`).
//!
//! # Source
//! The schema of `ar-io/ar-io-node`, as far as ao clients and units use it.

use std::borrow::Cow;

use ao_wire::{DataItem, Id, b64u};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::graphql::Arguments;
use crate::store::{By, Store, Stored, now_ms};
use crate::{GatewayError, block_at, block_time_ms};

/// Edges of an answer, if it is not said, and the most.
const FIRST: usize = 10;
const FIRST_MAX: usize = 1000;
/// Most items looked at for one answer.
const LOOKED_AT_MAX: usize = 200_000;

/// A condition on tags.
#[derive(Deserialize)]
struct TagFilter {
    name: String,
    values: Vec<String>,
    /// `EQ` or `NEQ`.
    #[serde(default)]
    op: Option<String>,
}

#[derive(Default, Deserialize)]
struct Heights {
    min: Option<i64>,
    max: Option<i64>,
}

/// What a transaction must be.
struct Filter {
    owners: Vec<String>,
    recipients: Vec<String>,
    tags: Vec<TagFilter>,
    bundled_in: Vec<String>,
    block: Heights,
}

/// An item that is asked for, and what is shown of it.
struct Transaction {
    stored: Stored,
    owner: String,
    recipient: String,
    tags: Vec<(String, String)>,
    json: Value,
}

/// Answers one field of a question.
pub(crate) fn resolve(store: &Store, field: &str, arguments: &Arguments) -> Result<Value, String> {
    let told = |error: GatewayError| ao_http::chain(&error);
    match field {
        "transaction" => {
            let id: String = argument(arguments, "id")?.ok_or("'id' is required")?;
            let Ok(id) = id.parse::<Id>() else { return Ok(Value::Null) };
            Ok(load(store, id).map_err(told)?.map_or(Value::Null, |transaction| transaction.json))
        }
        "transactions" => transactions(store, arguments),
        "block" => {
            let (id, newest): (Option<String>, u64) = (argument(arguments, "id")?, block_at(now_ms()));
            let Some(id) = id else { return Ok(block(newest)) };
            // A name of a block is a hash of its height: only those of a day are worth the search.
            let mut heights = (0..=720.min(newest)).map(|back| newest - back);
            Ok(heights.find(|height| block_id(*height).to_string() == id).map_or(Value::Null, block))
        }
        "blocks" => blocks(arguments),
        other => Err(format!("Cannot query field \"{other}\"")),
    }
}

/// An argument that may be absent or null.
fn argument<T: DeserializeOwned>(arguments: &Arguments, name: &str) -> Result<Option<T>, String> {
    let given = arguments.get(name).filter(|value| !value.is_null());
    given.map(|value| T::deserialize(value).map_err(|error| format!("'{name}': {error}"))).transpose()
}

/// A list, of which one value alone stands for itself.
fn list(arguments: &Arguments, name: &str) -> Result<Vec<String>, String> {
    match arguments.get(name) {
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        _ => Ok(argument(arguments, name)?.unwrap_or_default()),
    }
}

/// How many edges, beyond which cursor, from the newest on.
fn paging(arguments: &Arguments, default: usize) -> Result<(usize, Option<u64>, bool), String> {
    let first: usize = argument(arguments, "first")?.unwrap_or(default);
    let after: Option<String> = argument(arguments, "after")?;
    let after = after.filter(|after| !after.is_empty()).map(|after| after.parse());
    let after = after.transpose().map_err(|_| "'after': a cursor is required")?;
    let sort: Option<String> = argument(arguments, "sort")?;
    Ok((first.min(FIRST_MAX), after, !sort.is_some_and(|sort| sort.ends_with("_ASC"))))
}

fn transactions(store: &Store, arguments: &Arguments) -> Result<Value, String> {
    let filter = Filter {
        owners: list(arguments, "owners")?,
        recipients: list(arguments, "recipients")?,
        tags: argument(arguments, "tags")?.unwrap_or_default(),
        bundled_in: list(arguments, "bundledIn")?,
        block: argument(arguments, "block")?.unwrap_or_default(),
    };
    let ids = if arguments.get("ids").is_some_and(|ids| !ids.is_null()) { Some(list(arguments, "ids")?) } else { None };
    let (first, after, newest_first) = paging(arguments, ids.as_ref().map_or(FIRST, |ids| ids.len().max(FIRST)))?;
    let found = match ids {
        Some(ids) => of_ids(store, &ids, &filter, after, newest_first),
        None => scan(store, &filter, after, newest_first, first + 1),
    };
    let found = found.map_err(|error| ao_http::chain(&error))?;
    let more = found.len() > first;
    let edge = |found: Transaction| json!({ "cursor": found.stored.number.to_string(), "node": found.json });
    let edges: Vec<Value> = found.into_iter().take(first).map(edge).collect();
    Ok(json!({ "pageInfo": { "hasNextPage": more }, "count": edges.len().to_string(), "edges": edges }))
}

fn of_ids(
    store: &Store,
    ids: &[String],
    filter: &Filter,
    after: Option<u64>,
    newest_first: bool,
) -> Result<Vec<Transaction>, GatewayError> {
    let mut found = Vec::new();
    for id in ids.iter().take(FIRST_MAX).filter_map(|id| id.parse::<Id>().ok()) {
        found.extend(load(store, id)?.filter(|transaction| filter.admits(transaction)));
    }
    found.sort_by_key(|transaction| transaction.stored.number);
    found.dedup_by_key(|transaction| transaction.stored.number);
    if newest_first {
        found.reverse();
    }
    let beyond = |number: u64| after.is_none_or(|after| if newest_first { number < after } else { number > after });
    found.retain(|transaction| beyond(transaction.stored.number));
    Ok(found)
}

fn scan(
    store: &Store,
    filter: &Filter,
    after: Option<u64>,
    newest_first: bool,
    most: usize,
) -> Result<Vec<Transaction>, GatewayError> {
    let (mut found, mut left) = (Vec::new(), LOOKED_AT_MAX);
    store.scan(filter.narrowest(), newest_first, after, |id| {
        found.extend(load(store, id)?.filter(|transaction| filter.admits(transaction)));
        left -= 1;
        Ok(found.len() < most && left > 0)
    })?;
    Ok(found)
}

fn blocks(arguments: &Arguments) -> Result<Value, String> {
    let (first, after, newest_first) = paging(arguments, FIRST)?;
    let heights: Heights = argument(arguments, "height")?.unwrap_or_default();
    let newest = block_at(now_ms());
    let bound = |bound: Option<i64>| bound.map(|bound| u64::try_from(bound).unwrap_or(0));
    let (mut low, mut high) = (bound(heights.min).unwrap_or(0), bound(heights.max).unwrap_or(newest).min(newest));
    match after {
        Some(after) if newest_first => high = high.min(after.saturating_sub(1)),
        Some(after) => low = low.max(after.saturating_add(1)),
        None => {}
    }
    let shown = (high + 1).saturating_sub(low).min(first as u64);
    let heights = (0..shown).map(|n| if newest_first { high - n } else { low + n });
    let edges: Vec<Value> =
        heights.map(|height| json!({ "cursor": height.to_string(), "node": block(height) })).collect();
    let more = (high + 1).saturating_sub(low) > shown;
    Ok(json!({ "pageInfo": { "hasNextPage": more }, "edges": edges }))
}

impl Filter {
    /// What the index is asked for: a part of the filter that one key answers, the one likeliest to be rare.
    fn narrowest(&self) -> Option<By<'_>> {
        let exact = self.tags.iter().filter(|tag| tag.is_exact() && tag.values.len() == 1);
        let by_tag = exact.max_by_key(|tag| tag.values[0].len());
        let by_tag = by_tag.map(|tag| (tag.values[0].len(), By::Tag(tag.name.as_bytes(), tag.values[0].as_bytes())));
        match (by_tag, &self.owners[..], &self.recipients[..]) {
            // An id: hardly anything is rarer.
            (Some((43.., tag)), _, _) => Some(tag),
            (_, _, [recipient]) => Some(By::Recipient(recipient)),
            (_, [owner], _) => Some(By::Owner(owner)),
            (Some((_, tag)), _, _) => Some(tag),
            _ => None,
        }
    }

    fn admits(&self, transaction: &Transaction) -> bool {
        let any = |known: &[String], found: &String| known.is_empty() || known.contains(found);
        let tag = |filter: &TagFilter| {
            let is = |(name, value): &(String, String)| *name == filter.name && filter.values.contains(value);
            transaction.tags.iter().any(is) == filter.is_exact()
        };
        let height = block_at(transaction.stored.time_ms) as i64;
        let parent = transaction.stored.parent.map(|parent| parent.to_string());
        any(&self.owners, &transaction.owner)
            && any(&self.recipients, &transaction.recipient)
            && (self.bundled_in.is_empty() || parent.is_some_and(|parent| self.bundled_in.contains(&parent)))
            && self.block.min.is_none_or(|min| height >= min)
            && self.block.max.is_none_or(|max| height <= max)
            && self.tags.iter().all(tag)
    }
}

impl TagFilter {
    fn is_exact(&self) -> bool {
        self.op.as_deref() != Some("NEQ")
    }
}

fn load(store: &Store, id: Id) -> Result<Option<Transaction>, GatewayError> {
    let Some(stored) = store.find(id)? else { return Ok(None) };
    let header = store.header(&stored)?;
    let item = DataItem::parse(&header).map_err(GatewayError::Item)?;
    let tags: Vec<(String, String)> = item.tags().map(|tag| (tag.name_str().into(), tag.value_str().into())).collect();
    let owner = item.owner_address();
    let recipient = item.target().map(|target| Id(*target).to_string()).unwrap_or_default();
    let nothing = json!({ "winston": "0", "ar": "0.000000000000" });
    let parent = stored.parent.map_or(Value::Null, |parent| json!({ "id": parent }));
    let json = json!({
        "id": id,
        "anchor": item.anchor().map(text_or_b64u).unwrap_or_default(),
        "signature": b64u::encode(item.signature()),
        "recipient": recipient,
        "owner": { "address": owner, "key": b64u::encode(item.owner()) },
        "fee": nothing,
        "quantity": nothing,
        "data": { "size": stored.data_len().to_string(), "type": item.tag("Content-Type").map(Cow::into_owned) },
        "tags": tags.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect::<Vec<_>>(),
        "block": block(block_at(stored.time_ms)),
        "parent": parent,
        "bundledIn": parent,
    });
    Ok(Some(Transaction { stored, owner, recipient, tags, json }))
}

fn text_or_b64u(bytes: &[u8; 32]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| b64u::encode(bytes), str::to_owned)
}

/// The name of a block.
pub(crate) fn block_id(height: u64) -> Id {
    Id::sha256(format!("aorta block {height}").as_bytes())
}

fn block(height: u64) -> Value {
    json!({
        "id": block_id(height), "timestamp": block_time_ms(height) / 1000, "height": height,
        "previous": block_id(height.saturating_sub(1)),
    })
}

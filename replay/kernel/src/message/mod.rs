//! The two JSON texts a module is called with, byte for byte as the reference CU writes them.
//!
//! Not here: whether the log can be trusted (`ao-log`), which messages are duplicates ([`dedup`] computes keys and remembers them,
//! the step asks), cron and dry-run messages.
//! Invariant: the bytes depend on signed items and the assignment alone, never on who serves them.
//!
//! These bytes are copied into the guest's memory, so a different space or field order is a different state.
//!
//! # Source
//! permaweb/ao `ff178d51`, `servers/cu/src`: `effects/ao-su.js` (`mapNode`), `domain/lib/hydrateMessages.js`,
//! `domain/lib/loadMessages.js` (`maybePrependProcessMessage`), `domain/lib/evaluate.js` (`removeInvalidTags`), `domain/model.js`
//! (`messageSchema`, which fixes the order of the fields); `servers/su/src/domain/core/{json,bytes}.rs` for what is lossy.

mod assignment;
pub mod dedup;

pub use assignment::{Assignment, Excluded, MessageError};

use ao_wire::{DataItem, Id, Tag, b64u};

use crate::json::{write_number, write_str};

#[cfg(test)]
mod tests;

/// What a message shows of a signed item.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Its id.
    pub id: Id,
    /// The signature.
    pub signature: &'a [u8],
    /// The owner's address: EIP-55 for the 65-byte keys of Ethereum, else base64url of the key's SHA-256.
    pub owner: &'a str,
    /// The target, empty if absent.
    pub target: &'a [u8],
    /// The anchor, empty if absent.
    pub anchor: &'a [u8],
    /// The tags.
    pub tags: &'a [Tag<'a>],
    /// The data.
    pub data: &'a [u8],
}

/// A signed item with its address and tags at hand, which [`Item`] borrows.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    item: DataItem<'a>,
    owner: String,
    tags: Vec<Tag<'a>>,
}

impl<'a> Shown<'a> {
    /// Works out address and tags.
    pub fn new(item: DataItem<'a>) -> Self {
        Self { owner: item.owner_address(), tags: item.tags().collect(), item }
    }

    /// The parts a message shows.
    pub fn item(&self) -> Item<'_> {
        Item {
            id: self.item.id(),
            signature: self.item.signature(),
            owner: &self.owner,
            target: self.item.target().map_or(&[], |target| &target[..]),
            anchor: self.item.anchor().map_or(&[], |anchor| &anchor[..]),
            tags: &self.tags,
            data: self.item.data(),
        }
    }
}

/// One entry of a log, ready to be shown to a module.
#[derive(Clone, Debug)]
pub enum Message<'a> {
    /// A message and the assignment that came with it.
    Scheduled(Item<'a>, Assignment<'a>),
    /// An assignment of an item that lies elsewhere.
    Assigned(Item<'a>, Assignment<'a>),
    /// The process item itself, assigned nonce 0.
    Process(Item<'a>, Assignment<'a>),
    /// The process item of a log that does not hold it, shown before the first message: it has no assignment.
    ProcessOfOld {
        /// The process item.
        item: Item<'a>,
        /// When the scheduler took the process, in milliseconds since 1970.
        timestamp_ms: u64,
        /// The block height the scheduler knew then.
        block_height: u64,
    },
}

/// Whether a log whose first message is `first` needs [`Message::ProcessOfOld`] before it.
///
/// It does if there is no first message, or that does not carry exactly one `Type` tag, of value `Process`. The tags of an assigned
/// item are not known to the reference at that point: give `None`.
pub fn needs_process_of_old(first: Option<&[Tag<'_>]>) -> bool {
    let mut types = first.unwrap_or_default().iter().filter(|tag| tag.name == b"Type");
    !matches!((types.next(), types.next()), (Some(Tag { value: b"Process", .. }), None))
}

impl<'a> Message<'a> {
    /// Takes an entry of a log for what the reference scheduler makes of it.
    ///
    /// `in_log` is the message the entry holds; `elsewhere` the item it assigns if it holds none. An entry with neither assigns the
    /// process itself.
    pub fn of_entry(
        process: Item<'a>,
        assignment: Assignment<'a>,
        in_log: Option<Item<'a>>,
        elsewhere: Option<Item<'a>>,
    ) -> Self {
        match (in_log, elsewhere) {
            (Some(item), _) if item.id != process.id => Self::Scheduled(item, assignment),
            (None, Some(item)) => Self::Assigned(item, assignment),
            _ => Self::Process(process, assignment),
        }
    }

    /// The item a module sees.
    pub fn item(&self) -> &Item<'a> {
        match self {
            Self::Scheduled(item, _) | Self::Assigned(item, _) | Self::Process(item, _) => item,
            Self::ProcessOfOld { item, .. } => item,
        }
    }

    /// Appends the message's JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        let item = self.item();
        let excluded = self.excluded();
        out.reserve(item.data.len() + 4096);
        field(out, "{\"Id\":", &b64u::encode(item.id.0));
        if !excluded.signature {
            field(out, ",\"Signature\":", &b64u::encode(item.signature));
        }
        self.write_data(out);
        field(out, ",\"Owner\":", item.owner);
        self.write_target_and_anchor(out);
        let shown = if excluded.tags { &[] } else { item.tags };
        let from_process = shown.iter().find(|tag| tag.name == b"From-Process");
        match from_process {
            Some(tag) if !tag.value.is_empty() => {
                field(out, ",\"From\":", &tag.value_str());
            }
            _ => field(out, ",\"From\":", item.owner),
        }
        if from_process.is_some() && matches!(self, Self::Scheduled(..) | Self::Process(..)) {
            field(out, ",\"Forwarded-By\":", item.owner);
        }
        out.extend_from_slice(b",\"Tags\":");
        write_tags(shown.iter().filter(|tag| !matches!(tag.name, b"From" | b"Owner")), out);
        self.write_assignment(out);
        out.extend_from_slice(b",\"Cron\":false,\"Read-Only\":false}");
    }

    fn excluded(&self) -> Excluded {
        match self {
            Self::Assigned(_, assignment) => assignment.excluded,
            _ => Excluded::default(),
        }
    }

    fn write_data(&self, out: &mut Vec<u8>) {
        let data = self.item().data;
        match self {
            Self::Scheduled(..) => field(out, ",\"Data\":", &String::from_utf8_lossy(data)),
            // The scheduler gives a process' data only if it is text.
            Self::Process(..) => match std::str::from_utf8(data) {
                Ok(text) => field(out, ",\"Data\":", text),
                Err(_) => out.extend_from_slice(b",\"Data\":null"),
            },
            Self::Assigned(_, assignment) if assignment.excluded.data => {}
            // `Response.text()` drops a byte order mark.
            Self::Assigned(..) | Self::ProcessOfOld { .. } => {
                let data = data.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(data);
                field(out, ",\"Data\":", &String::from_utf8_lossy(data));
            }
        }
    }

    fn write_target_and_anchor(&self, out: &mut Vec<u8>) {
        let item = self.item();
        match self {
            Self::Scheduled(_, assignment) | Self::Process(_, assignment) => {
                field(out, ",\"Target\":", &assignment.process);
            }
            Self::Assigned(..) => field(out, ",\"Target\":", &b64u::encode(item.target)),
            Self::ProcessOfOld { .. } => field(out, ",\"Target\":", &b64u::encode(item.id.0)),
        }
        match self {
            Self::Assigned(_, assignment) if assignment.excluded.anchor => {}
            // Gateways give anchors as base64url, schedulers as text.
            Self::Assigned(..) => field(out, ",\"Anchor\":", &b64u::encode(item.anchor)),
            _ => match item.anchor_text() {
                Some(anchor) => field(out, ",\"Anchor\":", anchor),
                None => out.extend_from_slice(b",\"Anchor\":null"),
            },
        }
    }

    fn write_assignment(&self, out: &mut Vec<u8>) {
        match self {
            Self::Scheduled(_, assignment) | Self::Assigned(_, assignment) | Self::Process(_, assignment) => {
                number(out, ",\"Epoch\":", assignment.epoch);
                number(out, ",\"Nonce\":", assignment.nonce);
                number(out, ",\"Timestamp\":", assignment.timestamp);
                number(out, ",\"Block-Height\":", assignment.block_height);
                if let Some(hash_chain) = &assignment.hash_chain {
                    field(out, ",\"Hash-Chain\":", hash_chain);
                }
            }
            Self::ProcessOfOld { timestamp_ms, block_height, .. } => {
                number(out, ",\"Timestamp\":", *timestamp_ms as f64);
                number(out, ",\"Block-Height\":", *block_height as f64);
            }
        }
    }
}

impl<'a> Item<'a> {
    /// The anchor as a scheduler shows it: its text, or nothing if it is absent or no UTF-8.
    fn anchor_text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.anchor).ok().filter(|text| !text.is_empty())
    }
}

/// A process or a module, as the environment names it.
#[derive(Clone, Copy, Debug)]
pub struct Party<'a> {
    /// Its id: base64url of an item's or a transaction's.
    pub id: &'a str,
    /// The owner's address, as in [`Item::owner`].
    pub owner: &'a str,
    /// The tags, none removed.
    pub tags: &'a [Tag<'a>],
}

/// Appends the environment's JSON, the second argument of every call.
pub fn write_env(process: Party<'_>, module: Party<'_>, out: &mut Vec<u8>) {
    for (name, party) in [("{\"Process\":", process), (",\"Module\":", module)] {
        out.extend_from_slice(name.as_bytes());
        field(out, "{\"Id\":", party.id);
        field(out, ",\"Owner\":", party.owner);
        out.extend_from_slice(b",\"Tags\":");
        write_tags(party.tags.iter(), out);
        out.push(b'}');
    }
    out.push(b'}');
}

/// Writes tags as text. ANS-104 demands UTF-8 and the reference scheduler refuses anything else; here it is replaced.
pub(crate) fn write_tags<'t>(tags: impl Iterator<Item = &'t Tag<'t>>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (position, tag) in tags.enumerate() {
        field(out, if position == 0 { "{\"name\":" } else { ",{\"name\":" }, &tag.name_str());
        field(out, ",\"value\":", &tag.value_str());
        out.push(b'}');
    }
    out.push(b']');
}

pub(crate) fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    write_str(value, out);
}

pub(crate) fn number(out: &mut Vec<u8>, name: &str, value: f64) {
    out.extend_from_slice(name.as_bytes());
    write_number(value, out);
}

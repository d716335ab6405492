//! Which messages a process has already evaluated.
//!
//! Not here: what a duplicate results in (`result::Evaluated::duplicate`).
//! Invariant: what is remembered is a function of the log alone, whatever a step's outcome was: whoever resumes from a state can
//! rebuild it from the log before that state.
//!
//! A unit that pushes a message twice signs it anew, so the two have different ids; the reference therefore knows a pushed message
//! by a hash of its content, and an assigned item by its id.
//!
//! # Source
//! permaweb/ao `ff178d51`, `servers/cu/src`: `domain/lib/hydrateMessages.js` (`maybeMessageIdWith`), `domain/lib/evaluate.js`
//! (`doesMessageExist`), `effects/ao-evaluation.js` (`createMessageId`, `findMessageBeforeWith`); npm `warp-arbundles` 1.0.4.

use std::collections::BTreeSet;

use ao_wire::{DeepHash, Id, Tag, b64u, deep_hash_list, encode_tags};

use super::{Item, Message};

/// What a message is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The item's id: messages of users, and assigned items.
    Id(Id),
    /// A hash of the content: messages with a `From-Process` tag.
    Content(DeepHash),
}

impl Message<'_> {
    /// The key of this message; `None` for the process of a log that does not hold it, which is not remembered.
    pub fn key(&self) -> Option<Key> {
        match self {
            Self::ProcessOfOld { .. } => None,
            Self::Assigned(item, _) => Some(Key::Id(item.id)),
            Self::Scheduled(item, assignment) => Some(item.pushed_key(&assignment.process, item.data)),
            Self::Process(item, assignment) => {
                let data = std::str::from_utf8(item.data).map_or(&[][..], str::as_bytes);
                Some(item.pushed_key(&assignment.process, data))
            }
        }
    }

    /// Whether this message is skipped if its key is known: a user's own message never is, its scheduler sees to that.
    fn is_checked(&self, key: &Key) -> bool {
        matches!(self, Self::Assigned(..)) || matches!(key, Key::Content(_))
    }
}

impl Item<'_> {
    fn pushed_key(&self, target: &str, data: &[u8]) -> Key {
        if self.tags.iter().any(|tag| tag.name == b"From-Process") {
            Key::Content(self.content_hash(target, data))
        } else {
            Key::Id(self.id)
        }
    }

    /// The deep hash by which the reference knows a pushed message.
    ///
    /// The reference lays the message out as a data item without an owner and then hashes it through a reader that expects 512 bytes
    /// of owner. So the first 512 bytes behind the signature count as owner, and the rest is read as target, anchor, tags and data:
    /// presence bytes, tag count and tag length found there are in no hash. Two pushed messages that differ in nothing but those 18
    /// bytes of their content are one message to the reference, and so they are here; see `DETERMINISM.md`.
    fn content_hash(&self, target: &str, data: &[u8]) -> DeepHash {
        const OWNER_BYTES: usize = 512;
        let laid_out = self.lay_out(target, &String::from_utf8_lossy(data));
        let (owner, rest) = laid_out.split_at(laid_out.len().min(OWNER_BYTES));
        let (target, rest) = optional_32(rest);
        let (anchor, rest) = optional_32(rest);
        let (_count, rest) = split_within(rest, 8);
        let (length, rest) = split_within(rest, 8);
        let length = length.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let (tags, data) = split_within(rest, usize::try_from(length).unwrap_or(usize::MAX));
        deep_hash_list(&[b"dataitem", b"1", b"1", owner, target, anchor, tags, data])
    }

    /// Everything of a data item behind its owner.
    fn lay_out(&self, target: &str, data: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(data.len() + 1024);
        // What is no id cannot be a target; the reference fails on it for ever, here it stands for itself.
        let target = b64u::decode(target).unwrap_or_else(|_| target.as_bytes().to_vec());
        for part in [&target[..], self.anchor_text().unwrap_or_default().as_bytes()] {
            out.push(u8::from(!part.is_empty()));
            out.extend_from_slice(part);
        }
        out.extend_from_slice(&(self.tags.len() as u64).to_le_bytes());
        // The reference fails for ever on tags of more than 4096 bytes; here they are as good as others.
        let texts: Vec<_> = self.tags.iter().map(|tag| (tag.name_str(), tag.value_str())).collect();
        let tags = encode_tags(texts.iter().map(|(name, value)| Tag::new(name, value)));
        out.extend_from_slice(&(tags.len() as u64).to_le_bytes());
        out.extend_from_slice(&tags);
        out.extend_from_slice(data.as_bytes());
        out
    }
}

fn split_within(bytes: &[u8], length: usize) -> (&[u8], &[u8]) {
    bytes.split_at(length.min(bytes.len()))
}

/// A presence byte and, if it is 1, 32 bytes.
fn optional_32(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (presence, rest) = split_within(bytes, 1);
    split_within(rest, if presence == [1] { 32 } else { 0 })
}

/// The keys of all messages of one process so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    keys: BTreeSet<Key>,
}

impl Seen {
    /// Remembers a message of this key, and says whether it is a duplicate of one before it and must be skipped. `earlier`
    /// says whether one was evaluated before all that are remembered here.
    pub fn is_duplicate(
        &mut self,
        message: &Message<'_>,
        key: Option<Key>,
        earlier: impl FnOnce(&Key) -> bool,
    ) -> bool {
        key.is_some_and(|key| {
            let is_new = self.keys.insert(key);
            message.is_checked(&key) && (!is_new || earlier(&key))
        })
    }

    /// Forgets all, for a session that can ask somebody else.
    pub fn clear(&mut self) {
        self.keys.clear();
    }

    /// The keys in ascending order: ids, then content hashes.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Key> {
        self.keys.iter()
    }
}

impl FromIterator<Key> for Seen {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        Self { keys: keys.into_iter().collect() }
    }
}

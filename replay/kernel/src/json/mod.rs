//! JSON exactly as V8 reads and writes it: `write(parse(text))` is `JSON.stringify(JSON.parse(text))`, byte for byte.
//!
//! Not here: what the JSON means (`result`, `message`).
//! Invariant: output depends on the input text alone, is well-formed UTF-8, and parsing it again yields the same bytes.
//!
//! Why not `serde_json`: JavaScript reorders integer-like keys, keeps lone surrogates, rounds every number to a double and prints
//! doubles its own way. All of that is visible in the results a compute unit serves and a receipt commits to.

mod parse;
mod text;
mod write;

pub use parse::parse;
pub use text::Text;
pub use write::{write, write_number, write_str};

#[cfg(test)]
mod tests;

/// Nesting that is accepted: arrays and objects inside each other.
///
/// # Limits
/// The reference has no limit of its own in `JSON.parse`, but its `JSON.stringify` recurses on the native stack and fails between
/// 4,000 and 5,000 levels under Node 20's default stack. A fixed number makes every host agree.
pub const DEPTH_MAX: usize = 1_000;

/// Values that one text may hold, those inside others included.
///
/// # Limits
/// Bounds what parsing allocates to some 60 bytes a value, whatever the text. The reference knows no such limit.
pub const VALUES_MAX: usize = 4 << 20;

/// A JSON value as JavaScript holds it after `JSON.parse`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any number: a double, infinite if the literal overflows.
    Number(f64),
    /// A string of UTF-16 code units.
    String(Text<'a>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object.
    Object(Object<'a>),
}

impl<'a> Value<'a> {
    /// The property `name` as `value.name` reads it on a parsed value: `None` is `undefined`.
    ///
    /// Only objects own the names asked for in this crate; arrays, strings, numbers and booleans give `undefined`.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        match self {
            Self::Object(object) => object.get(name),
            _ => None,
        }
    }

    /// JavaScript's truthiness.
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Number(value) => *value != 0.0,
            Self::String(text) => !text.as_wtf8().is_empty(),
            Self::Array(_) | Self::Object(_) => true,
        }
    }
}

/// The own properties of an object in the order JavaScript enumerates them, each name once.
#[derive(Clone, Debug, PartialEq)]
pub struct Object<'a> {
    members: Vec<(Text<'a>, Value<'a>)>,
}

/// Objects up to this many members are searched linearly for duplicates; larger ones are sorted.
const LINEAR_MEMBERS_MAX: usize = 16;

impl<'a> Object<'a> {
    /// Orders members given as they were written: a repeated name keeps its first place and its last value, then
    /// array indices come first, ascending.
    fn from_written(members: Vec<(Text<'a>, Value<'a>)>) -> Self {
        let mut members = if members.len() <= LINEAR_MEMBERS_MAX { merge_few(members) } else { merge_many(members) };
        if members.iter().any(|(name, _)| name.array_index().is_some()) {
            // Stable: names that are no index keep the order in which they were written.
            members.sort_by_key(|(name, _)| name.array_index().map_or((1, 0), |index| (0, index)));
        }
        Self { members }
    }

    /// The value of a property.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.iter().find(|(key, _)| key.as_wtf8() == name.as_bytes()).map(|(_, value)| value)
    }

    /// The properties in enumeration order.
    pub fn iter(&self) -> impl Iterator<Item = &(Text<'a>, Value<'a>)> {
        self.members.iter()
    }
}

type Members<'a> = Vec<(Text<'a>, Value<'a>)>;

fn merge_few(members: Members<'_>) -> Members<'_> {
    let mut merged: Members<'_> = Vec::with_capacity(members.len());
    for (name, value) in members {
        match merged.iter_mut().find(|(seen, _)| *seen == name) {
            Some((_, slot)) => *slot = value,
            None => merged.push((name, value)),
        }
    }
    merged
}

fn merge_many(members: Members<'_>) -> Members<'_> {
    let mut written: Vec<_> = members.into_iter().enumerate().collect();
    written.sort_by(|(_, (a, _)), (_, (b, _))| a.as_wtf8().cmp(b.as_wtf8()));
    // Equal names are now neighbours in the order they were written: the first gives the place, the last the value.
    written.dedup_by(|(_, later), (_, first)| {
        let same = later.0 == first.0;
        if same {
            std::mem::swap(&mut later.1, &mut first.1);
        }
        same
    });
    written.sort_unstable_by_key(|(place, _)| *place);
    written.into_iter().map(|(_, member)| member).collect()
}

/// Why a text is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The text ends inside a value.
    #[error("JSON ends unexpectedly at byte {offset}")]
    UnexpectedEnd {
        /// Length of the text.
        offset: usize,
    },
    /// A byte the grammar does not allow here.
    #[error("unexpected byte in JSON at byte {offset}")]
    UnexpectedByte {
        /// Where the byte stands.
        offset: usize,
    },
    /// More than [`DEPTH_MAX`] levels.
    #[error("JSON nested deeper than {DEPTH_MAX} at byte {offset}")]
    TooDeep {
        /// Where the first bracket too many stands.
        offset: usize,
    },
    /// More than [`VALUES_MAX`] values.
    #[error("more than {VALUES_MAX} values in JSON at byte {offset}")]
    TooManyValues {
        /// Where the first value too many stands.
        offset: usize,
    },
}

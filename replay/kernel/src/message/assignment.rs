//! What a message shows of its assignment, read from the assignment's tags as JavaScript reads them.
//!
//! Not here: whether the assignment is right (`ao-log` is stricter and comes first).
//! Invariant: an assignment that is accepted gives the reference a message that satisfies its schema.

use std::borrow::Cow;

use ao_wire::Tag;

/// Why an assignment makes no message. The reference can never evaluate a process past such an assignment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// A tag that must be there is not.
    #[error("the assignment has no tag {name}")]
    MissingTag {
        /// The tag.
        name: &'static str,
    },
    /// A tag that must occur once occurs more often.
    #[error("the assignment repeats its tag {name}")]
    RepeatedTag {
        /// The tag.
        name: &'static str,
    },
    /// A value that does not begin with an integer.
    #[error("the assignment's tag {name} is no integer")]
    NotAnInteger {
        /// The tag.
        name: &'static str,
    },
}

/// The fields of an assignment that a message shows.
#[derive(Clone, Debug)]
pub struct Assignment<'a> {
    /// `Process`: the target.
    pub(super) process: Cow<'a, str>,
    pub(super) epoch: f64,
    pub(super) nonce: f64,
    pub(super) timestamp: f64,
    pub(super) block_height: f64,
    pub(super) hash_chain: Option<Cow<'a, str>>,
    pub(super) excluded: Excluded,
}

/// Parts of an assigned item that its module must not see (`Exclude` tags).
///
/// # Determinism
/// The reference reads a single `Exclude` tag as a string and then fails for ever on that process; here one works like several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Excluded {
    /// `Data` is left out.
    pub data: bool,
    /// `Tags` is empty, and `From` the owner.
    pub tags: bool,
    /// `Signature` is left out.
    pub signature: bool,
    /// `Anchor` is left out.
    pub anchor: bool,
}

impl<'a> Assignment<'a> {
    /// Reads the tags of an assignment item.
    ///
    /// # Errors
    /// A tag without which there is no message.
    pub fn from_tags(tags: &[Tag<'a>]) -> Result<Self, MessageError> {
        Ok(Self {
            process: text(tags, "Process")?.ok_or(MessageError::MissingTag { name: "Process" })?,
            epoch: integer(tags, "Epoch")?,
            nonce: integer(tags, "Nonce")?,
            timestamp: integer(tags, "Timestamp")?,
            block_height: integer(tags, "Block-Height")?,
            hash_chain: text(tags, "Hash-Chain")?,
            excluded: values(tags, "Exclude").collect(),
        })
    }
}

impl From<&ao_log::Assignment> for Assignment<'static> {
    /// What a verified log says, whose numbers are plain decimals.
    fn from(assignment: &ao_log::Assignment) -> Self {
        Self {
            process: assignment.process.to_string().into(),
            epoch: assignment.epoch.0 as f64,
            nonce: assignment.nonce.0 as f64,
            timestamp: assignment.timestamp.0 as f64,
            block_height: assignment.block_height.0 as f64,
            hash_chain: Some(assignment.hash_chain.to_string().into()),
            excluded: assignment.exclude.iter().map(|part| Cow::Borrowed(part.as_str())).collect(),
        }
    }
}

impl<'a> FromIterator<Cow<'a, str>> for Excluded {
    fn from_iter<I: IntoIterator<Item = Cow<'a, str>>>(parts: I) -> Self {
        let mut excluded = Self::default();
        for part in parts {
            match &*part {
                "Data" => excluded.data = true,
                "Tags" => excluded.tags = true,
                "Signature" => excluded.signature = true,
                "Anchor" => excluded.anchor = true,
                _ => {}
            }
        }
        excluded
    }
}

fn values<'t, 'a>(tags: &'t [Tag<'a>], name: &'static str) -> impl Iterator<Item = Cow<'a, str>> + use<'t, 'a> {
    tags.iter().filter(move |tag| tag.name == name.as_bytes()).map(Tag::value_str)
}

/// A tag that is text: repeated it would be an array, which the reference's schema refuses.
fn text<'a>(tags: &[Tag<'a>], name: &'static str) -> Result<Option<Cow<'a, str>>, MessageError> {
    let mut values = values(tags, name);
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(MessageError::RepeatedTag { name }),
    }
}

/// A tag that is a number: repeated it would be an array, whose text begins with its first value.
fn integer(tags: &[Tag<'_>], name: &'static str) -> Result<f64, MessageError> {
    let value = values(tags, name).next().ok_or(MessageError::MissingTag { name })?;
    parse_int(&value).ok_or(MessageError::NotAnInteger { name })
}

/// JavaScript's `parseInt(text)`: leading white space, a sign, `0x`, and as many digits as there are.
fn parse_int(text: &str) -> Option<f64> {
    let text = text.trim_start_matches(is_js_space);
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, text) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(rest) => (16, rest),
        None => (10, text),
    };
    let length = text.find(|digit: char| !digit.is_digit(radix)).unwrap_or(text.len());
    let digits = &text[..length];
    let magnitude: f64 = match (digits, radix) {
        ("", _) => return None,
        (_, 10) => digits.parse().expect("decimal digits are a number"),
        // More than 32 hex digits are no number that JSON could show exactly anyway.
        _ => u128::from_str_radix(digits, 16).ok()? as f64,
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// White space and line ends as ECMAScript's `StringToNumber` trims them.
fn is_js_space(c: char) -> bool {
    // Rust counts U+0085 in and U+FEFF out; ECMAScript does the reverse.
    c == '\u{FEFF}' || c.is_whitespace() && c != '\u{85}'
}

#[cfg(test)]
mod tests {
    use super::parse_int;

    #[test]
    fn integers_are_read_as_javascript_reads_them() {
        for (text, expected) in [
            ("000001331218", Some(1331218.0)),
            (" \u{feff}\u{a0}\n+12abc", Some(12.0)),
            ("-0x1F", Some(-31.0)),
            ("0x", None),
            ("1e3", Some(1.0)),
            ("1.9", Some(1.0)),
            ("\u{85}1", None),
            ("", None),
            ("- 1", None),
            ("9007199254740993", Some(9007199254740992.0)),
        ] {
            assert_eq!(parse_int(text), expected, "{text:?}");
        }
    }
}

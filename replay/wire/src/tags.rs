//! Tags: an Avro array of `{name, value}` records, read as transmitted and written in one block.
//!
//! Layout: blocks, then a zero. A block is a count and so many pairs of byte strings; a negative count means its
//! absolute value and is followed by the block's size in bytes. Numbers are zigzag varints, strings are length and
//! bytes. Numbers padded with zero groups are accepted up to ten bytes, as `arbundles` accepts them: the tag section is
//! signed as transmitted, so padding is the signer's choice and changes nothing but the id.
//!
//! **Invariant:** the order, duplicates and exact bytes of tags survive; no allocation while reading.

use std::borrow::Cow;

use crate::reader::Reader;
use crate::{Limits, WireError};

/// One tag, in the bytes of its item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag<'a> {
    /// The name's bytes, UTF-8 if the signer was well-behaved.
    pub name: &'a [u8],
    /// The value's bytes, UTF-8 if the signer was well-behaved.
    pub value: &'a [u8],
}

impl<'a> Tag<'a> {
    /// A tag of two strings.
    pub fn new(name: &'a str, value: &'a str) -> Tag<'a> {
        Tag { name: name.as_bytes(), value: value.as_bytes() }
    }

    /// The name as the reference tools show it: malformed UTF-8 becomes U+FFFD.
    pub fn name_str(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.name)
    }

    /// The value as the reference tools show it: malformed UTF-8 becomes U+FFFD.
    pub fn value_str(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.value)
    }
}

/// The tags of an item in order.
#[derive(Debug, Clone)]
pub struct Tags<'a> {
    reader: Reader<'a>,
    /// Tags of all blocks still to come.
    left: usize,
    /// Tags of the current block still to come.
    block_left: u64,
    /// Where the current block's first tag starts and how long the block says it is.
    block_size: Option<(usize, u64)>,
}

impl<'a> Tags<'a> {
    /// Decodes the whole tag section once. `raw` starts at byte `offset` of the input, the header's count at `count_at`.
    pub(crate) fn parse(
        raw: &'a [u8],
        offset: usize,
        (count_at, header): (usize, u64),
        limits: &Limits,
    ) -> Result<Tags<'a>, WireError> {
        if header > limits.tag_count_max {
            let max = limits.tag_count_max;
            return Err(WireError::Limit { offset: count_at, field: "tag count", found: header, max });
        }
        let start = Tags { reader: Reader::new(raw, offset), left: 0, block_left: 0, block_size: None };
        let (mut walk, mut decoded) = (start.clone(), 0u64);
        if !raw.is_empty() {
            while walk.read()?.is_some() {
                decoded += 1;
                if decoded > header {
                    break;
                }
            }
        }
        if decoded != header {
            return Err(WireError::TagCount { offset: count_at, header, decoded });
        }
        walk.reader.finish("tags")?;
        Ok(Tags { left: decoded as usize, ..start })
    }

    /// The next tag; `None` at the terminator.
    fn read(&mut self) -> Result<Option<Tag<'a>>, WireError> {
        if self.block_left == 0 {
            let count = read_long(&mut self.reader, "tag block count")?;
            if count == 0 {
                return Ok(None);
            }
            self.block_left = count.unsigned_abs();
            self.block_size = None;
            if count < 0 {
                let size = read_len(&mut self.reader, "tag block size")?;
                self.block_size = Some((self.reader.offset(), size));
            }
        }
        let name_len = read_len(&mut self.reader, "tag name length")?;
        let name = self.reader.take(name_len, "tag name")?;
        let value_len = read_len(&mut self.reader, "tag value length")?;
        let value = self.reader.take(value_len, "tag value")?;
        self.block_left -= 1;
        if let (0, Some((offset, stated))) = (self.block_left, self.block_size) {
            let actual = (self.reader.offset() - offset) as u64;
            if actual != stated {
                return Err(WireError::BlockBytes { offset, stated, actual });
            }
        }
        Ok(Some(Tag { name, value }))
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        self.left = self.left.checked_sub(1)?;
        let tag = self.read().expect("the section was decoded once when the item was parsed");
        Some(tag.expect("as many tags are left as were counted when the item was parsed"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Tags<'_> {}

/// The tag section for `tags`: one block and its terminator, or no bytes at all for no tags, as `arbundles` writes it.
pub fn encode_tags<'a>(tags: impl IntoIterator<Item = Tag<'a>, IntoIter: ExactSizeIterator>) -> Vec<u8> {
    let tags = tags.into_iter();
    let mut out = Vec::new();
    if tags.len() == 0 {
        return out;
    }
    write_len(&mut out, tags.len());
    for tag in tags {
        for bytes in [tag.name, tag.value] {
            write_len(&mut out, bytes.len());
            out.extend_from_slice(bytes);
        }
    }
    out.push(0);
    out
}

/// A zigzag varint of at most ten bytes and 64 bits.
fn read_long(reader: &mut Reader<'_>, field: &'static str) -> Result<i64, WireError> {
    let offset = reader.offset();
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let &[byte] = reader.array::<1>(field)?;
        let group = u64::from(byte & 0x7f);
        if group << shift >> shift != group {
            return Err(WireError::Overlong { offset });
        }
        value |= group << shift;
        if byte & 0x80 == 0 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    Err(WireError::Overlong { offset })
}

/// A zigzag varint that must not be negative.
fn read_len(reader: &mut Reader<'_>, field: &'static str) -> Result<u64, WireError> {
    let offset = reader.offset();
    let found = read_long(reader, field)?;
    u64::try_from(found).map_err(|_| WireError::NegativeLength { offset, found })
}

fn write_len(out: &mut Vec<u8>, len: usize) {
    let mut value = (len as u64) << 1;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(raw: &[u8], count: u64) -> Result<Vec<Tag<'_>>, WireError> {
        Tags::parse(raw, 100, (84, count), &Limits::LOG).map(Iterator::collect)
    }

    #[test]
    fn one_block_is_what_arbundles_writes() {
        let raw = encode_tags([Tag::new("a", "b")]);
        assert_eq!(raw, [2, 2, b'a', 2, b'b', 0]);
        assert_eq!(parse(&raw, 1).unwrap(), [Tag::new("a", "b")]);
        assert!(encode_tags([]).is_empty());
        assert_eq!(parse(&[], 0).unwrap(), []);
        assert_eq!(parse(&[0], 0).unwrap(), []);
    }

    #[test]
    fn several_blocks_and_sized_blocks_and_padded_numbers_are_read_in_order() {
        let raw = [2, 2, b'a', 2, b'b', 3, 16, 2, b'c', 2, b'd', 2, b'a', 2, b'e', 0x82, 0x80, 0, 0, 0, 0];
        let tags = parse(&raw, 4).unwrap();
        assert_eq!(tags, [Tag::new("a", "b"), Tag::new("c", "d"), Tag::new("a", "e"), Tag::new("", "")]);
    }

    #[test]
    fn damaged_sections_are_refused_with_the_offset() {
        let cases: [(&[u8], u64, WireError); 10] = [
            (&[2, 2, b'a', 2, b'b'], 1, truncated(105, "tag block count", 1, 0)),
            (&[2, 2, b'a', 4, b'b'], 1, truncated(104, "tag value", 2, 1)),
            (&[2, 2, b'a', 2, b'b', 0, 7], 1, WireError::Trailing { offset: 106, field: "tags", count: 1 }),
            (&[2, 1, 0], 1, WireError::NegativeLength { offset: 101, found: -1 }),
            (&[1, 1, 0, 0, 0], 1, WireError::NegativeLength { offset: 101, found: -1 }),
            (&[1, 6, 0, 0, 0], 1, WireError::BlockBytes { offset: 102, stated: 3, actual: 2 }),
            (&[0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0], 1, WireError::Overlong { offset: 100 }),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2], 1, WireError::Overlong { offset: 100 }),
            (&[2, 0, 0, 0], 0, WireError::TagCount { offset: 84, header: 0, decoded: 1 }),
            (&[2, 0, 0, 0], 2, WireError::TagCount { offset: 84, header: 2, decoded: 1 }),
        ];
        for (raw, count, error) in cases {
            assert_eq!(parse(raw, count), Err(error), "{raw:?}");
        }
    }

    #[test]
    fn huge_counts_and_lengths_end_at_the_input() {
        let most = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert!(matches!(parse(&most, 1), Err(WireError::Truncated { offset: 110, .. })));
        let least = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 0, 0, 0];
        assert!(matches!(parse(&least, 1), Err(WireError::Truncated { offset: 114, .. })));
        let mut long_name = vec![2];
        long_name.extend(most);
        assert!(matches!(parse(&long_name, 1), Err(WireError::Truncated { field: "tag name", .. })));
        let limit =
            WireError::Limit { offset: 84, field: "tag count", found: u64::MAX, max: Limits::LOG.tag_count_max };
        assert_eq!(parse(&[], u64::MAX), Err(limit));
    }

    fn truncated(offset: usize, field: &'static str, needed: u64, available: u64) -> WireError {
        WireError::Truncated { offset, field, needed, available }
    }

    proptest! {
        #[test]
        fn encoding_then_parsing_gives_the_same_tags(
            tags in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), prop::collection::vec(any::<u8>(), 0..200)), 0..20)
        ) {
            let tags: Vec<_> = tags.iter().map(|(name, value)| Tag { name, value }).collect();
            let raw = encode_tags(tags.iter().copied());
            prop_assert_eq!(parse(&raw, tags.len() as u64).unwrap(), tags);
        }

        #[test]
        fn any_bytes_parse_or_fail_without_panic(raw in prop::collection::vec(prop_oneof![0u8..8, any::<u8>()], 0..64), count in 0u64..8) {
            if let Ok(tags) = parse(&raw, count) {
                prop_assert_eq!(tags.len() as u64, count);
            }
        }
    }
}

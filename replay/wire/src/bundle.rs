//! ANS-104 bundles: many items in one byte string.
//!
//! | bytes | field |
//! |---|---|
//! | 32 | number of items `n`, little-endian like all numbers |
//! | 64 × n | size (32) and id (32) of each item |
//! | rest | the items, back to back, to the last byte |
//!
//! **Invariant:** the sizes of the header add up to exactly what follows it, before any item is looked at.

use crate::reader::Reader;
use crate::{DataItem, Id, Limits, WireError};

const COUNT_BYTES: usize = 32;
const ENTRY_BYTES: usize = 64;

/// A parsed bundle header over borrowed bytes.
#[derive(Debug, Clone)]
pub struct Bundle<'a> {
    header: Reader<'a>,
    body: Reader<'a>,
    count: usize,
    depth: u32,
    limits: Limits,
}

impl<'a> Bundle<'a> {
    /// Parses a bundle that is all of `bytes`, within [`Limits::LOG`].
    ///
    /// # Errors
    ///
    /// A header that is cut short, or whose sizes don't add up to the rest.
    pub fn parse(bytes: &'a [u8]) -> Result<Bundle<'a>, WireError> {
        Bundle::parse_with(bytes, &Limits::LOG)
    }

    /// Parses a bundle that is all of `bytes`, within `limits`.
    ///
    /// # Errors
    ///
    /// As [`Bundle::parse`], and what exceeds a limit.
    pub fn parse_with(bytes: &'a [u8], limits: &Limits) -> Result<Bundle<'a>, WireError> {
        Bundle::parse_deep(bytes, limits, 1)
    }

    fn parse_deep(bytes: &'a [u8], limits: &Limits, depth: u32) -> Result<Bundle<'a>, WireError> {
        if depth > limits.nesting_max {
            return Err(WireError::Nesting { depth, max: limits.nesting_max });
        }
        let mut reader = Reader::new(bytes, 0);
        let count = reader.bounded::<COUNT_BYTES>("bundle item count", limits.bundle_items_max)?;
        let header_at = reader.offset();
        let header = reader.take(count.saturating_mul(ENTRY_BYTES as u64), "bundle header")?;
        let (header, body) = (Reader::new(header, header_at), reader);

        let mut walk = header;
        for _ in 0..count {
            let size = walk.bounded::<32>("bundle item size", limits.item_bytes_max)?;
            walk.take(32, "bundle item id")?;
            reader.take(size, "bundle item")?;
        }
        reader.finish("bundle")?;
        Ok(Bundle { header, body, count: count as usize, depth, limits: *limits })
    }

    /// How many items it says it has.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has no items.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Parses the items in order, each checked against the id in the header. Signatures are not checked.
    ///
    /// A wrong item does not end the iteration: its neighbours are known from the header.
    pub fn items(&self) -> Items<'a> {
        Items { header: self.header, body: self.body, left: self.count, limits: self.limits }
    }

    /// The bundle that `item` of this bundle carries as its data, if its tags say that it carries one.
    ///
    /// # Errors
    ///
    /// Deeper than [`Limits::nesting_max`], or data that is no bundle. Offsets count from the start of the data.
    pub fn nested<'b>(&self, item: &DataItem<'b>) -> Result<Option<Bundle<'b>>, WireError> {
        let says = |name, value| item.tag(name).is_some_and(|found| found == value);
        if says("Bundle-Format", "binary") && says("Bundle-Version", "2.0.0") {
            return Bundle::parse_deep(item.data(), &self.limits, self.depth + 1).map(Some);
        }
        Ok(None)
    }
}

/// The items of a bundle, see [`Bundle::items`].
#[derive(Debug, Clone)]
pub struct Items<'a> {
    header: Reader<'a>,
    body: Reader<'a>,
    left: usize,
    limits: Limits,
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<DataItem<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let checked = "the header was walked once when the bundle was parsed";
        let size = self.header.number::<32>("bundle item size").expect(checked);
        let id_at = self.header.offset();
        let header = Id(*self.header.array("bundle item id").expect(checked));
        let item_at = self.body.offset();
        let bytes = self.body.take(size, "bundle item").expect(checked);
        Some(DataItem::parse_at(bytes, item_at, &self.limits).and_then(|item| {
            let computed = item.id();
            if computed == header { Ok(item) } else { Err(WireError::ItemId { offset: id_at, header, computed }) }
        }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Items<'_> {}

/// The bundle of `items`, which are whole items in bytes.
///
/// # Errors
///
/// One of them is no item: its id could not be named. The offset counts from that item's start.
pub fn bundle_bytes(items: &[&[u8]]) -> Result<Vec<u8>, WireError> {
    let body: usize = items.iter().map(|item| item.len()).sum();
    let mut out = Vec::with_capacity(COUNT_BYTES + items.len() * ENTRY_BYTES + body);
    push_number(&mut out, items.len());
    for item in items {
        push_number(&mut out, item.len());
        out.extend_from_slice(&DataItem::parse(item)?.id().0);
    }
    for item in items {
        out.extend_from_slice(item);
    }
    Ok(out)
}

fn push_number(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&(number as u64).to_le_bytes());
    out.extend_from_slice(&[0; 24]);
}

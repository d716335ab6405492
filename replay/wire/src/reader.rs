//! A cursor that knows where it is.
//!
//! **Invariant:** never reads past its slice; every error carries the absolute offset.

use crate::WireError;

/// Reads a slice front to back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`, whose first byte is number `offset` of the caller's input.
    pub(crate) fn new(bytes: &'a [u8], offset: usize) -> Reader<'a> {
        Reader { rest: bytes, offset }
    }

    /// Offset of the next byte.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// All bytes not yet read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: u64, field: &'static str) -> Result<&'a [u8], WireError> {
        let head = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let Some((head, rest)) = head else {
            let available = self.rest.len() as u64;
            return Err(WireError::Truncated { offset: self.offset, field, needed: len, available });
        };
        self.offset += head.len();
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<&'a [u8; N], WireError> {
        let bytes = self.take(N as u64, field)?;
        Ok(bytes.try_into().expect("take returned the length asked for"))
    }

    /// A little-endian number of `N` bytes, `u64::MAX` if it is larger than that.
    pub(crate) fn number<const N: usize>(&mut self, field: &'static str) -> Result<u64, WireError> {
        let bytes = self.array::<N>(field)?;
        let (low, high) = bytes.split_at(N.min(8));
        if high.iter().any(|&byte| byte != 0) {
            return Ok(u64::MAX);
        }
        Ok(low.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// A little-endian number of `N` bytes that is at most `max`.
    pub(crate) fn bounded<const N: usize>(&mut self, field: &'static str, max: u64) -> Result<u64, WireError> {
        let offset = self.offset;
        let found = self.number::<N>(field)?;
        if found > max {
            return Err(WireError::Limit { offset, field, found, max });
        }
        Ok(found)
    }

    /// An error unless everything has been read.
    pub(crate) fn finish(&self, field: &'static str) -> Result<(), WireError> {
        match self.rest.len() as u64 {
            0 => Ok(()),
            count => Err(WireError::Trailing { offset: self.offset, field, count }),
        }
    }
}

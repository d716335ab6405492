//! JavaScript strings that may hold lone surrogates.
//!
//! Not here: escapes of the JSON grammar (`parse`, `write`).
//! Invariant: one string of code units has one representation, so equality of bytes is equality of strings.

use std::borrow::Cow;

/// A JavaScript string in WTF-8: UTF-8, with surrogates that have no partner as three-byte sequences `ED A0..BF xx`.
///
/// Borrows from the parsed text where that holds no escape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<'a>(Cow<'a, [u8]>);

impl<'a> Text<'a> {
    /// A string without surrogates.
    pub fn from_utf8(text: &'a str) -> Self {
        Self(Cow::Borrowed(text.as_bytes()))
    }

    /// A string built unit by unit.
    pub(super) fn from_wtf8(bytes: Vec<u8>) -> Self {
        Self(Cow::Owned(bytes))
    }

    /// The WTF-8 bytes.
    pub fn as_wtf8(&self) -> &[u8] {
        &self.0
    }

    /// The number this name is as an array index: `0` to `4294967294` in canonical decimal.
    pub(super) fn array_index(&self) -> Option<u32> {
        let digits = self.as_wtf8();
        let canonical = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && digits.len() <= 10;
        if !canonical || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let index = digits.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        u32::try_from(index).ok().filter(|index| *index < u32::MAX)
    }
}

/// Appends a UTF-16 code unit, joining it with a high surrogate at the end of `bytes` if it is the low half.
pub(super) fn push_unit(bytes: &mut Vec<u8>, unit: u16) {
    if let 0xDC00..=0xDFFF = unit
        && let [.., 0xED, second @ 0xA0..=0xAF, third] = bytes[..]
    {
        let high = u32::from(second & 0x0F) << 6 | u32::from(third & 0x3F);
        let joined = 0x10000 + (high << 10 | u32::from(unit & 0x3FF));
        let joined = char::from_u32(joined).expect("two surrogates make a scalar value");
        bytes.truncate(bytes.len() - 3);
        bytes.extend_from_slice(joined.encode_utf8(&mut [0; 4]).as_bytes());
        return;
    }
    match char::from_u32(u32::from(unit)) {
        Some(scalar) => bytes.extend_from_slice(scalar.encode_utf8(&mut [0; 4]).as_bytes()),
        None => bytes.extend_from_slice(&[0xED, 0x80 | (unit >> 6 & 0x3F) as u8, 0x80 | (unit & 0x3F) as u8]),
    }
}

/// How many bytes stand before the first that JSON strings escape, or that may begin a surrogate.
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    const LANES: usize = 32;
    // Arithmetic instead of branches, so that the compiler checks a whole block in a few vector instructions.
    let special =
        |byte: u8| u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte == 0xED);
    let is_plain = |block: &&[u8]| block.iter().fold(0, |any, byte| any | special(*byte)) == 0;
    let plain = bytes.chunks_exact(LANES).take_while(is_plain).count() * LANES;
    let rest = bytes[plain..].iter();
    plain + rest.take_while(|byte| special(**byte) == 0).count()
}

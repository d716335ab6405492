//! Counts and times of a log, each with its own type so that two of them cannot be swapped.
//!
//! *Not here:* ids (`ao-wire`), gas and pages (`ao-kernel`).
//!
//! Invariant: a value read from text is the only value its text can mean; see [`parse_decimal`].

use std::fmt;

use thiserror::Error;

macro_rules! count {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

count! {
    /// Place of an assignment in its process' log, counted from 0. HyperBEAM calls it slot.
    Nonce
}
count! {
    /// Generation of a log. Schedulers have never used another than 0.
    Epoch
}
count! {
    /// Wall clock of the scheduler when it assigned.
    ///
    /// # Units
    /// Milliseconds since 1970. Neither unique nor monotonic in real logs.
    TimestampMs
}
count! {
    /// Height of the Arweave block the scheduler last knew of.
    BlockHeight
}

impl Nonce {
    /// The nonce after this one, or `None` at the end of the range.
    pub fn next(self) -> Option<Nonce> {
        self.0.checked_add(1).map(Nonce)
    }
}

/// Why a text is not a number of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NumberError {
    /// Nothing there.
    #[error("the value is empty")]
    Empty,
    /// A byte other than `0`-`9`: signs, spaces and fractions are refused.
    #[error("byte {at} is not a decimal digit")]
    NotADigit {
        /// Index of the byte in the value.
        at: usize,
    },
    /// A zero in front, where the writer is known not to pad.
    #[error("the value has a leading zero")]
    LeadingZero,
    /// More than 2^64 - 1.
    #[error("the value exceeds 64 bits")]
    TooBig,
}

/// Whether leading zeros are part of the writer's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// `Block-Height` of the legacy scheduler is padded to 12 digits.
    Allowed,
    /// Everything else is written plainly.
    Refused,
}

/// Reads a decimal number of an assignment tag.
///
/// # Errors
/// Anything but digits, an empty value, a leading zero where padding is refused, or overflow.
pub fn parse_decimal(text: &[u8], padding: Padding) -> Result<u64, NumberError> {
    if text.is_empty() {
        return Err(NumberError::Empty);
    }
    if padding == Padding::Refused && text.len() > 1 && text[0] == b'0' {
        return Err(NumberError::LeadingZero);
    }
    let mut value = 0_u64;
    for (at, byte) in text.iter().enumerate() {
        if !byte.is_ascii_digit() {
            return Err(NumberError::NotADigit { at });
        }
        value = value.checked_mul(10).and_then(|v| v.checked_add(u64::from(byte - b'0'))).ok_or(NumberError::TooBig)?;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_decimals_are_numbers() {
        assert_eq!(parse_decimal(b"0", Padding::Refused), Ok(0));
        assert_eq!(parse_decimal(b"18446744073709551615", Padding::Refused), Ok(u64::MAX));
        assert_eq!(parse_decimal(b"000001393008", Padding::Allowed), Ok(1_393_008));
        for (text, error) in [
            (&b""[..], NumberError::Empty),
            (b"01", NumberError::LeadingZero),
            (b"+1", NumberError::NotADigit { at: 0 }),
            (b"1 ", NumberError::NotADigit { at: 1 }),
            (b"1.0", NumberError::NotADigit { at: 1 }),
            (b"\xd9\xa1", NumberError::NotADigit { at: 0 }),
            (b"18446744073709551616", NumberError::TooBig),
        ] {
            assert_eq!(parse_decimal(text, Padding::Refused), Err(error), "{text:?}");
        }
    }
}

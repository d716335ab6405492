//! base64url without padding: how ao writes ids, keys and signatures.
//!
//! **Invariant:** decoding accepts exactly one text per byte string (no padding, no stray trailing bits).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
pub use base64::{DecodeError, DecodeSliceError};

/// The text of `bytes`.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of `text`.
///
/// # Errors
///
/// A character outside the alphabet, padding, an impossible length, or non-zero trailing bits.
pub fn decode(text: impl AsRef<[u8]>) -> Result<Vec<u8>, DecodeError> {
    URL_SAFE_NO_PAD.decode(text)
}

/// Decodes exactly 32 bytes without allocating; `None` for anything else.
pub(crate) fn decode_32(text: &str) -> Option<[u8; 32]> {
    if text.len() != 43 {
        return None;
    }
    let mut out = [0; 32];
    match URL_SAFE_NO_PAD.decode_slice(text, &mut out) {
        Ok(32) => Some(out),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_and_stray_bits_are_refused() {
        assert_eq!(encode([0xfb, 0xff]), "-_8");
        assert_eq!(decode("-_8").unwrap(), [0xfb, 0xff]);
        assert!(decode("-_8=").is_err(), "padding");
        assert!(decode("-_9").is_err(), "trailing bits");
        assert!(decode("+/8").is_err(), "standard alphabet");
    }
}

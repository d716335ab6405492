//! Hexadecimal digits, in which hashes and receipts are shown and read back.
//!
//! Not here: what is shown (`ao-replay`, units).

/// Bytes as digits, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// `N` bytes from their digits in either case, white space around them aside; `None` if it is anything else.
pub fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digits = text.trim_ascii();
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = (high? << 4 | low?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_as_they_are_written_and_nothing_else_is() {
        let bytes = [0x00, 0x1f, 0xa0, 0xff];
        assert_eq!(hex(&bytes), "001fa0ff");
        assert_eq!(unhex(b" 001FA0ff\n"), Some(bytes));
        for text in [&b"001fa0f"[..], b"001fa0ff00", b"001fa0fg", b""] {
            assert_eq!(unhex::<4>(text), None, "{text:?}");
        }
    }
}

//! Strings across the boundary: `UTF8ToString` and `stringToUTF8`.
//!
//! Not here: JSON. Invariant: text from memory is what the glue's own decoder (up to 16 bytes) or `TextDecoder`
//! (longer) makes of it. Text with lone surrogates, which only the former can produce, is held as the glue would
//! write it back, so two such strings may compare equal that JavaScript tells apart.

use super::mem::Heap;

/// Strings up to this length are decoded by the glue itself.
const DECODED_BY_GLUE_MAX: usize = 16;

/// The string at `address`, up to its first NUL or the end of memory; empty for null and bad pointers.
pub(crate) fn utf8_to_string(memory: &[u8], address: i64) -> String {
    let Some(tail) = usize::try_from(address).ok().filter(|&at| at != 0).and_then(|at| memory.get(at..)) else {
        return String::new();
    };
    let len = tail.iter().position(|&byte| byte == 0).unwrap_or(tail.len());
    if len > DECODED_BY_GLUE_MAX {
        let text = String::from_utf8_lossy(&tail[..len]);
        return text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
    }
    if tail[..len].is_ascii() {
        return tail[..len].iter().map(|&byte| char::from(byte)).collect();
    }
    encode_units(&glue_units(tail, len))
}

/// The glue's decoder: no validation, and a truncated last character reads past the NUL.
fn glue_units(tail: &[u8], len: usize) -> Vec<u16> {
    let mut units = Vec::with_capacity(len);
    let mut at = 0;
    let next = |at: &mut usize| {
        *at += 1;
        u32::from(tail.get(*at - 1).copied().unwrap_or(0))
    };
    while at < len {
        let first = next(&mut at);
        if first & 0x80 == 0 {
            units.push(first as u16);
            continue;
        }
        let second = next(&mut at) & 63;
        if first & 0xe0 == 0xc0 {
            units.push(((first & 31) << 6 | second) as u16);
            continue;
        }
        let third = next(&mut at) & 63;
        let point = if first & 0xf0 == 0xe0 {
            (first & 15) << 12 | second << 6 | third
        } else {
            (first & 7) << 18 | second << 12 | third << 6 | (next(&mut at) & 63)
        };
        if let Some(over) = point.checked_sub(0x1_0000) {
            units.extend([(0xd800 | over >> 10) as u16, (0xdc00 | over & 0x3ff) as u16]);
        } else {
            units.push(point as u16);
        }
    }
    units
}

/// `stringToUTF8Array`: any surrogate is taken as the first of a pair.
fn encode_units(units: &[u16]) -> String {
    let mut text = String::with_capacity(units.len());
    let mut rest = units.iter().map(|&unit| u32::from(unit));
    while let Some(unit) = rest.next() {
        let point = if (0xd800..=0xdfff).contains(&unit) {
            (0x1_0000 + ((unit & 0x3ff) << 10)) | (rest.next().unwrap_or(0) & 0x3ff)
        } else {
            unit
        };
        text.push(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    text
}

/// `stringToUTF8(text, address, max)`: whole characters that fit, then a NUL. Bytes outside memory are lost.
pub(crate) fn string_to_utf8(heap: &mut Heap<'_>, text: &str, address: i64, max: u64) {
    let Some(room) = max.checked_sub(1) else { return };
    let mut end = usize::try_from(room).map_or(text.len(), |room| room.min(text.len()));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let kept = &text.as_bytes()[..end];
    let terminated = kept.iter().copied().chain([0]);
    if let Ok(target) = heap.range(address as u64, kept.len() as u64 + 1) {
        target[..kept.len()].copy_from_slice(kept);
        target[kept.len()] = 0;
    } else {
        for (offset, byte) in (0_i64..).zip(terminated) {
            heap.set_u8(address.saturating_add(offset), byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::ModuleFormat;

    fn at_one(bytes: &[u8]) -> String {
        utf8_to_string(&[&[1], bytes].concat(), 1)
    }

    #[test]
    fn long_strings_decode_as_text_decoder_does() {
        assert_eq!(at_one(b"\xef\xbb\xbf0123456789abcdef\xff\xe2\x82!\0rest"), "0123456789abcdef\u{fffd}\u{fffd}!");
    }

    #[test]
    fn short_strings_decode_without_validation() {
        assert_eq!(at_one("é€😀\0".as_bytes()), "é€😀");
        assert_eq!(at_one(b"\xef\xbb\xbfa\0"), "\u{feff}a");
        assert_eq!(at_one(b"\xc3\0z"), "\u{c0}");
    }

    #[test]
    fn strings_end_with_memory_and_null_is_empty() {
        assert_eq!(at_one(b"abc"), "abc");
        assert_eq!(utf8_to_string(b"abc", 0), "");
        assert_eq!(utf8_to_string(b"abc", -1), "");
        assert_eq!(utf8_to_string(b"abc", 99), "");
    }

    #[test]
    fn encoding_keeps_whole_characters_and_drops_what_is_outside() {
        let mut bytes = [9_u8; 8];
        let mut heap = Heap::new(&mut bytes, ModuleFormat::Wasm64);
        string_to_utf8(&mut heap, "aé€", 0, 5);
        string_to_utf8(&mut heap, "xyz", 6, 9);
        string_to_utf8(&mut heap, "pq", -1, 9);
        assert_eq!(&bytes, &[b'q', 0, 0xa9, 0, 9, 9, b'x', b'y']);
    }
}

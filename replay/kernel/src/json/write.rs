//! The writer: `JSON.stringify` without indentation.
//!
//! Not here: which properties are written and in what order (`Object`, `result`, `message`).
//! Invariant: what is appended is well-formed UTF-8, also for strings that are not.

use super::{Text, Value};

/// Appends a value.
pub fn write(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(*number, out),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(object) => {
            out.push(b'{');
            for (position, (name, member)) in object.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_text(name, out);
                out.push(b':');
                write(member, out);
            }
            out.push(b'}');
        }
    }
}

/// Appends a number as JavaScript prints it: shortest round-trip digits, `-0` as `0`, no finite value as `null`.
pub fn write_number(number: f64, out: &mut Vec<u8>) {
    if number.is_finite() {
        out.extend_from_slice(ryu_js::Buffer::new().format_finite(number).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Appends a string in quotes.
pub fn write_str(text: &str, out: &mut Vec<u8>) {
    write_text(&Text::from_utf8(text), out);
}

/// What is done with each byte of a string: copied, escaped by a letter, escaped as `\u00xx`, or looked at (0xED).
const COPY: u8 = 0;
const UNICODE: u8 = 1;
const SURROGATE: u8 = 2;
static CLASS: [u8; 256] = {
    let mut class = [COPY; 256];
    let mut control = 0;
    while control < 0x20 {
        class[control] = UNICODE;
        control += 1;
    }
    class[0x08] = b'b';
    class[0x09] = b't';
    class[0x0A] = b'n';
    class[0x0C] = b'f';
    class[0x0D] = b'r';
    class[b'"' as usize] = b'"';
    class[b'\\' as usize] = b'\\';
    class[0xED] = SURROGATE;
    class
};

fn write_text(text: &Text<'_>, out: &mut Vec<u8>) {
    let bytes = text.as_wtf8();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut copied = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let class = CLASS[usize::from(byte)];
        if class == COPY {
            at += 1;
            continue;
        }
        let mut length = 1;
        if class == SURROGATE {
            length = 3;
            // U+D000 to U+D7FF share the lead byte and are ordinary characters.
            if bytes[at + 1] < 0xA0 {
                at += length;
                continue;
            }
        }
        out.extend_from_slice(&bytes[copied..at]);
        match class {
            UNICODE => write_unit(u16::from(byte), out),
            SURROGATE => {
                let [second, third] = [bytes[at + 1], bytes[at + 2]].map(u16::from);
                write_unit(0xD000 | (second & 0x3F) << 6 | third & 0x3F, out);
            }
            letter => out.extend_from_slice(&[b'\\', letter]),
        }
        at += length;
        copied = at;
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

/// Appends `\uxxxx` in lower case.
fn write_unit(unit: u16, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\u");
    out.extend([12, 8, 4, 0].map(|shift| HEX[usize::from(unit >> shift & 0xF)]));
}

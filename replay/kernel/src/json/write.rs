//! The writer: `JSON.stringify` without indentation.
//!
//! Not here: which properties are written and in what order (`Object`, `result`, `message`).
//! Invariant: what is appended is well-formed UTF-8, also for strings that are not.

use super::text::plain_len;
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

fn write_text(text: &Text<'_>, out: &mut Vec<u8>) {
    let mut rest = text.as_wtf8();
    out.reserve(rest.len() + 2);
    out.push(b'"');
    loop {
        let plain = plain_len(rest);
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        rest = match *rest {
            [] => break,
            [0xED, second @ 0xA0..=0xBF, third, ref rest @ ..] => {
                write_unit(0xD000 | u16::from(second & 0x3F) << 6 | u16::from(third & 0x3F), out);
                rest
            }
            // U+D000 to U+D7FF begin with the byte of surrogates and are ordinary characters.
            [0xED, ref rest @ ..] => {
                out.push(0xED);
                rest
            }
            [byte, ref rest @ ..] => {
                write_escape(byte, out);
                rest
            }
        };
    }
    out.push(b'"');
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    let letter = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0C => b'f',
        b'\r' => b'r',
        control => return write_unit(u16::from(control), out),
    };
    out.extend_from_slice(&[b'\\', letter]);
}

/// Appends `\uxxxx` in lower case.
fn write_unit(unit: u16, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\u");
    out.extend([12, 8, 4, 0].map(|shift| HEX[usize::from(unit >> shift & 0xF)]));
}

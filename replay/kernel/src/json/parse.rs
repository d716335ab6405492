//! The reader: the grammar of RFC 8259 exactly as V8's `JSON.parse` takes it.
//!
//! Not here: property order (`Object::from_written`).
//! Invariant: no recursion, so the depth that is accepted does not depend on the host's stack.

use super::text::{plain_len, push_unit};
use super::{DEPTH_MAX, JsonError, Object, Text, VALUES_MAX, Value};

/// Reads one JSON text with optional white space around it.
///
/// # Errors
/// The first place at which the text is no JSON or is nested deeper than [`DEPTH_MAX`].
pub fn parse(text: &str) -> Result<Value<'_>, JsonError> {
    let mut reader = Reader { text, at: 0, values: 0 };
    let value = reader.document()?;
    reader.skip_space();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.unexpected()),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Values begun.
    values: usize,
}

/// A container whose end is not yet read.
enum Open<'a> {
    Array(Vec<Value<'a>>),
    /// The finished members and the name of the one being read.
    Object(Vec<(Text<'a>, Value<'a>)>, Text<'a>),
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Value<'a>, JsonError> {
        let mut open: Vec<Open<'a>> = Vec::new();
        loop {
            self.skip_space();
            self.values += 1;
            if self.values > VALUES_MAX {
                return Err(JsonError::TooManyValues { offset: self.at });
            }
            let mut value = match self.peek() {
                Some(bracket @ (b'[' | b'{')) => {
                    if open.len() == DEPTH_MAX {
                        return Err(JsonError::TooDeep { offset: self.at });
                    }
                    self.at += 1;
                    match self.open(bracket)? {
                        Ok(empty) => empty,
                        Err(container) => {
                            open.push(container);
                            continue;
                        }
                    }
                }
                _ => self.scalar()?,
            };
            // Give the value to its container, and finished containers to theirs.
            loop {
                let Some(container) = open.pop() else {
                    return Ok(value);
                };
                match self.add(container, value)? {
                    Ok(finished) => value = finished,
                    Err(container) => {
                        open.push(container);
                        break;
                    }
                }
            }
        }
    }

    /// Enters a container: `Ok` if it is empty, else `Err` with the reader in front of its first value.
    fn open(&mut self, bracket: u8) -> Result<Result<Value<'a>, Open<'a>>, JsonError> {
        self.skip_space();
        let closing = if bracket == b'[' { b']' } else { b'}' };
        if self.peek() == Some(closing) {
            self.at += 1;
            return Ok(Ok(match bracket {
                b'[' => Value::Array(Vec::new()),
                _ => Value::Object(Object::from_written(Vec::new())),
            }));
        }
        Ok(Err(match bracket {
            b'[' => Open::Array(Vec::new()),
            _ => Open::Object(Vec::new(), self.name()?),
        }))
    }

    /// Adds a value to its container: `Ok` if that ends here, else `Err` with the reader in front of the next value.
    fn add(&mut self, container: Open<'a>, value: Value<'a>) -> Result<Result<Value<'a>, Open<'a>>, JsonError> {
        self.skip_space();
        let next = self.peek();
        match container {
            Open::Array(mut items) => {
                items.push(value);
                match next {
                    Some(b',') => {
                        self.at += 1;
                        Ok(Err(Open::Array(items)))
                    }
                    Some(b']') => {
                        self.at += 1;
                        Ok(Ok(Value::Array(items)))
                    }
                    _ => Err(self.unexpected()),
                }
            }
            Open::Object(mut members, name) => {
                members.push((name, value));
                match next {
                    Some(b',') => {
                        self.at += 1;
                        self.skip_space();
                        Ok(Err(Open::Object(members, self.name()?)))
                    }
                    Some(b'}') => {
                        self.at += 1;
                        Ok(Ok(Value::Object(Object::from_written(members))))
                    }
                    _ => Err(self.unexpected()),
                }
            }
        }
    }

    /// A property name and its colon.
    fn name(&mut self) -> Result<Text<'a>, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected());
        }
        let name = self.string()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(name)
    }

    fn scalar(&mut self) -> Result<Value<'a>, JsonError> {
        match self.peek() {
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            _ => Err(self.unexpected()),
        }
    }

    fn literal(&mut self, literal: &str, value: Value<'a>) -> Result<Value<'a>, JsonError> {
        for expected in literal.bytes() {
            if self.peek() != Some(expected) {
                return Err(self.unexpected());
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<f64, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        let literal = &self.text[start..self.at];
        // Correctly rounded, as V8 does it; overflow gives infinity in both.
        Ok(literal.parse().expect("the JSON number grammar is part of Rust's"))
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), JsonError> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.unexpected());
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    /// A string from its opening quote to its closing one.
    fn string(&mut self) -> Result<Text<'a>, JsonError> {
        self.at += 1;
        let plain = self.plain_run();
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Text::from_utf8(plain));
        }
        let mut bytes = plain.as_bytes().to_vec();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Text::from_wtf8(bytes));
                }
                Some(b'\\') => {
                    self.at += 1;
                    let unit = self.escape()?;
                    push_unit(&mut bytes, unit);
                }
                _ => return Err(self.unexpected()),
            }
            bytes.extend_from_slice(self.plain_run().as_bytes());
        }
    }

    /// Characters up to the next quote, backslash or control character.
    fn plain_run(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let mut length = plain_len(rest.as_bytes());
        while rest.as_bytes().get(length) == Some(&0xED) {
            length += 1 + plain_len(&rest.as_bytes()[length + 1..]);
        }
        self.at += length;
        &rest[..length]
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<u16, JsonError> {
        let unit = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0C,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                self.at += 1;
                return self.hex_unit();
            }
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(u16::from(unit))
    }

    fn hex_unit(&mut self) -> Result<u16, JsonError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let digit = digit.ok_or_else(|| self.unexpected())?;
            unit = unit << 4 | digit as u16;
            self.at += 1;
        }
        Ok(unit)
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn unexpected(&self) -> JsonError {
        match self.peek() {
            Some(_) => JsonError::UnexpectedByte { offset: self.at },
            None => JsonError::UnexpectedEnd { offset: self.at },
        }
    }
}

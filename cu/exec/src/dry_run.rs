//! The message of a dry-run: what a caller sends, as the module is shown it.
//!
//! Not here: running it (`executor`).
//! Invariant: the text depends on the body and on where the process stands, and on nothing else.
//!
//! # Source
//! permaweb/ao `ff178d51`, `servers/cu/src`: `routes/dryRun.js` (`inputSchema`), `domain/api/dryRun.js`, `domain/model.js`
//! (`messageSchema`, which drops fields it does not know and fixes the order of the others), `domain/lib/evaluate.js`
//! (`removeInvalidTags`).

use ao_kernel::json::{JsonError, Text, Value, parse, write, write_str};
use ao_log::{BlockHeight, TimestampMs};
use ao_wire::ProcessId;

/// Why a body is no dry-run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DryRunError {
    /// No JSON.
    #[error("the body is no JSON: {0}")]
    Json(#[from] JsonError),
    /// JSON of another kind.
    #[error("the body is no JSON object")]
    NoObject,
    /// A field is missing or is not what it must be.
    #[error("'{field}': {expected}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

/// A dry-run that can be made.
#[derive(Clone, Debug)]
pub struct DryRun {
    body: String,
}

/// The same, parsed.
struct Body<'a>(Value<'a>);

/// Where a process stands: what a message is dated with if it says nothing itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Of the last message evaluated.
    pub timestamp: TimestampMs,
    /// Of the last message evaluated.
    pub block_height: BlockHeight,
}

impl DryRun {
    /// Reads a body.
    ///
    /// # Errors
    /// What it lacks, by the name of the field.
    pub fn new(body: String) -> Result<Self, DryRunError> {
        Body::parse(&body)?;
        Ok(Self { body })
    }

    /// The JSON that the module is given.
    pub fn message(&self, process: ProcessId, at: Place) -> String {
        Body::parse(&self.body).expect("parsed when it was made").message(process, at)
    }
}

impl<'a> Body<'a> {
    fn parse(text: &'a str) -> Result<Self, DryRunError> {
        let body = Self(parse(text)?);
        if !matches!(body.0, Value::Object(_)) {
            return Err(DryRunError::NoObject);
        }
        for field in ["Id", "Signature", "Target", "Anchor"] {
            body.text(field)?;
        }
        if body.text("Owner")?.is_none_or(|owner| owner.as_wtf8().is_empty()) {
            return Err(DryRunError::Field { field: "Owner", expected: "a text that is not empty" });
        }
        for field in ["Timestamp", "Block-Height", "Epoch", "Nonce"] {
            body.number(field)?;
        }
        body.tags()?;
        Ok(body)
    }

    fn message(&self, process: ProcessId, at: Place) -> String {
        let mut out = Vec::new();
        let mut put = |name: &str, value: Option<&Value<'_>>| {
            let Some(value) = value else { return };
            out.push(if out.is_empty() { b'{' } else { b',' });
            write_str(name, &mut out);
            out.push(b':');
            write(value, &mut out);
        };
        let process = process.to_string();
        let process = Value::String(Text::from_utf8(&process));
        let dated = |name, default: u64| Value::Number(self.number(name).ok().flatten().unwrap_or(default as f64));
        for name in ["Id", "Signature", "Data", "Owner"] {
            put(name, self.0.get(name));
        }
        put("Target", self.0.get("Target").filter(|value| **value != Value::Null).or(Some(&process)));
        put("Anchor", self.0.get("Anchor"));
        put("From", self.from());
        put("Forwarded-By", self.0.get("Forwarded-By"));
        put("Tags", Some(&self.shown_tags()));
        put("Epoch", self.0.get("Epoch"));
        put("Nonce", self.0.get("Nonce"));
        put("Timestamp", Some(&dated("Timestamp", at.timestamp.0)));
        put("Block-Height", Some(&dated("Block-Height", at.block_height.0)));
        put("Hash-Chain", self.0.get("Hash-Chain"));
        put("Cron", self.0.get("Cron").or(Some(&Value::Bool(false))));
        put("Read-Only", Some(&Value::Bool(true)));
        out.push(b'}');
        String::from_utf8(out).expect("JSON is written as UTF-8")
    }

    /// The value of the first `From-Process` tag, else the owner.
    fn from(&self) -> Option<&Value<'a>> {
        let from_process = self.tag_list().iter().find(|tag| is_text(tag.get("name"), b"From-Process"));
        let from_process = from_process.and_then(|tag| tag.get("value")).filter(|value| value.is_truthy());
        from_process.or_else(|| self.0.get("Owner"))
    }

    /// The tags without those that would pass for fields.
    fn shown_tags(&self) -> Value<'a> {
        let shown = self.tag_list().iter().filter(|tag| {
            let name = tag.get("name");
            !is_text(name, b"From") && !is_text(name, b"Owner")
        });
        Value::Array(shown.cloned().collect())
    }

    fn tag_list(&self) -> &[Value<'a>] {
        match self.0.get("Tags") {
            Some(Value::Array(tags)) => tags,
            _ => &[],
        }
    }

    fn tags(&self) -> Result<(), DryRunError> {
        let is_tag =
            |tag: &Value<'_>| ["name", "value"].iter().all(|name| matches!(tag.get(name), Some(Value::String(_))));
        match self.0.get("Tags") {
            None | Some(Value::Null) => Ok(()),
            Some(Value::Array(tags)) if tags.iter().all(is_tag) => Ok(()),
            Some(_) => Err(DryRunError::Field { field: "Tags", expected: "an array of {name, value}, both text" }),
        }
    }

    fn text(&self, field: &'static str) -> Result<Option<&Text<'a>>, DryRunError> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(DryRunError::Field { field, expected: "a text" }),
        }
    }

    /// A number, also if it is written as text.
    fn number(&self, field: &'static str) -> Result<Option<f64>, DryRunError> {
        let number = match self.0.get(field) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => Some(*number),
            Some(Value::String(text)) => std::str::from_utf8(text.as_wtf8()).ok().and_then(|t| t.trim().parse().ok()),
            Some(_) => None,
        };
        let number = number.filter(|number| number.is_finite());
        number.map(Some).ok_or(DryRunError::Field { field, expected: "a number" })
    }
}

fn is_text(value: Option<&Value<'_>>, text: &[u8]) -> bool {
    matches!(value, Some(Value::String(value)) if value.as_wtf8() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Place = Place { timestamp: TimestampMs(1_700_000_000_123), block_height: BlockHeight(1_580_000) };

    fn process() -> ProcessId {
        ao_wire::Id([0; 32]).into()
    }

    #[test]
    fn what_aoconnect_sends_is_laid_out_as_the_reference_does() {
        let body = r#"{"Id":"1234","Target":"T","Owner":"1234","Anchor":"0","Data":"1234","Tags":[{"name":"Action","value":"Info"},{"name":"Data-Protocol","value":"ao"}],"other":1}"#;
        let message = DryRun::new(body.into()).unwrap().message(process(), AT);
        assert_eq!(
            message,
            r#"{"Id":"1234","Data":"1234","Owner":"1234","Target":"T","Anchor":"0","From":"1234","Tags":[{"name":"Action","value":"Info"},{"name":"Data-Protocol","value":"ao"}],"Timestamp":1700000000123,"Block-Height":1580000,"Cron":false,"Read-Only":true}"#
        );
    }

    #[test]
    fn a_bare_owner_is_enough_and_tags_that_pass_for_fields_are_dropped() {
        let body = r#"{"Owner":"o","Tags":[{"name":"From","value":"x"},{"name":"From-Process","value":"p"}],"Timestamp":"7","Read-Only":false}"#;
        let message = DryRun::new(body.into()).unwrap().message(process(), AT);
        let target = process().to_string();
        assert_eq!(
            message,
            format!(
                r#"{{"Owner":"o","Target":"{target}","From":"p","Tags":[{{"name":"From-Process","value":"p"}}],"Timestamp":7,"Block-Height":1580000,"Cron":false,"Read-Only":true}}"#
            )
        );
    }

    #[test]
    fn a_body_that_is_none_is_refused_by_the_name_of_its_field() {
        for (body, error) in [
            ("", "the body is no JSON: JSON ends unexpectedly at byte 0"),
            ("[]", "the body is no JSON object"),
            ("{}", "'Owner': a text that is not empty"),
            (r#"{"Owner":""}"#, "'Owner': a text that is not empty"),
            (r#"{"Owner":1}"#, "'Owner': a text"),
            (r#"{"Owner":"o","Tags":{}}"#, "'Tags': an array of {name, value}, both text"),
            (r#"{"Owner":"o","Tags":[{"name":"x"}]}"#, "'Tags': an array of {name, value}, both text"),
            (r#"{"Owner":"o","Timestamp":"soon"}"#, "'Timestamp': a number"),
        ] {
            assert_eq!(DryRun::new(body.into()).unwrap_err().to_string(), error, "{body}");
        }
    }
}

//! Ids in paths and parameters.

use ao_http::Field;
use ao_wire::{Id, ProcessId};

use crate::answer::Refusal;

/// A process id in a path or parameter.
pub(crate) fn process(field: &'static str, text: Option<&str>) -> Result<ProcessId, Refusal> {
    id(field, text, "a process id of 43 characters of base64url is required").map(ProcessId::from)
}

/// The id of a message or an assignment.
pub(crate) fn id(field: &'static str, text: Option<&str>, expected: &'static str) -> Result<Id, Refusal> {
    text.and_then(|text| text.parse().ok()).ok_or(Refusal::Field(Field { field, expected }))
}

//! Parameters of requests: what is missing or malformed is refused by its name.

use std::str::FromStr;

use ao_wire::{Id, ProcessId};

use crate::answer::Refusal;

/// The parameters behind the question mark, in the order they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn of(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The first of this name; one that is empty counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &value[..]).filter(|value| !value.is_empty())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// A number, if it is there.
    pub(crate) fn number<T: FromStr>(&self, field: &'static str, expected: &'static str) -> Result<Option<T>, Refusal> {
        let parsed = self.get(field).map(str::parse).transpose();
        parsed.map_err(|_| Refusal::Field { field, expected })
    }
}

/// A process id in a path or parameter.
pub(crate) fn process(field: &'static str, text: Option<&str>) -> Result<ProcessId, Refusal> {
    id(field, text, "a process id of 43 characters of base64url is required").map(ProcessId::from)
}

/// The id of a message or an assignment.
pub(crate) fn id(field: &'static str, text: Option<&str>, expected: &'static str) -> Result<Id, Refusal> {
    text.and_then(|text| text.parse().ok()).ok_or(Refusal::Field { field, expected })
}

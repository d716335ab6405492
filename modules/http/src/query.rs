//! Parameters of requests: what is missing or malformed is refused by its name.

use std::str::FromStr;

/// A parameter, a header or a part of the body that is missing or malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{field}': {expected}")]
pub struct Field {
    /// Its name.
    pub field: &'static str,
    /// What it must be.
    pub expected: &'static str,
}

/// The parameters behind the question mark, in the order they came.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Takes the part behind the question mark apart.
    pub fn of(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The first of this name; one that is empty counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &value[..]).filter(|value| !value.is_empty())
    }

    /// Whether it is there, with whatever value.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// A number, if it is there.
    ///
    /// # Errors
    /// It is there and is none.
    pub fn number<T: FromStr>(&self, field: &'static str, expected: &'static str) -> Result<Option<T>, Field> {
        self.get(field).map(str::parse).transpose().map_err(|_| Field { field, expected })
    }
}

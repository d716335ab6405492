//! Looking up tags of protocol items by name.
//!
//! The legacy units write `Block-Height`, HyperBEAM writes `block-height`: names are compared without
//! regard to ASCII case, and a name that occurs twice is an error of whoever needs one value.

use ao_wire::DataItem;

/// All values of a tag, in order.
pub(crate) fn values<'a>(item: &DataItem<'a>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    item.tags().filter(move |tag| tag.name.eq_ignore_ascii_case(name.as_bytes())).map(|tag| tag.value)
}

/// The only value of a tag.
pub(crate) enum Single<'a> {
    Absent,
    One(&'a [u8]),
    Repeated,
}

pub(crate) fn single<'a>(item: &DataItem<'a>, name: &str) -> Single<'a> {
    let mut values = values(item, name);
    match (values.next(), values.next()) {
        (None, _) => Single::Absent,
        (Some(value), None) => Single::One(value),
        (Some(_), Some(_)) => Single::Repeated,
    }
}

/// An id written as text.
pub(crate) fn parse_id(value: &[u8]) -> Option<ao_wire::Id> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// A value for an error message.
pub(crate) fn lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

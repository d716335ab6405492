//! Any bytes: an item or an error inside the input, and an item is nothing but its fields.
#![no_main]

use ao_wire::{DataItem, Limits, WireError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let item = match DataItem::parse(bytes) {
        Ok(item) => item,
        Err(error) => {
            assert!(DataItem::parse_with(bytes, &Limits::ARBUNDLES).is_err());
            if let WireError::Truncated { offset, needed, available, .. } = error {
                assert!(offset <= bytes.len() && available < needed);
            }
            return;
        }
    };
    let mut again = item.signature_type().code().to_le_bytes().to_vec();
    again.extend_from_slice(item.signature());
    again.extend_from_slice(item.owner());
    for field in [item.target(), item.anchor()] {
        again.push(u8::from(field.is_some()));
        again.extend(field.into_iter().flatten());
    }
    again.extend_from_slice(&(item.tags().len() as u64).to_le_bytes());
    again.extend_from_slice(&(item.raw_tags().len() as u64).to_le_bytes());
    again.extend_from_slice(item.raw_tags());
    again.extend_from_slice(item.data());
    assert_eq!(again, bytes);

    assert_eq!(item.tags().count(), item.tags().len());
    if let Some(tag) = item.tags().next() {
        assert!(item.tag(&tag.name_str()).is_some() || std::str::from_utf8(tag.name).is_err());
    }
    assert_eq!(item.verify(), item.verify());
    let _ = (item.id(), item.owner_address());
});

//! Any bytes: a bundle or an error, a bundle is nothing but its items, and nesting ends.
#![no_main]

use ao_wire::{Bundle, DataItem, bundle_bytes};
use libfuzzer_sys::fuzz_target;

fn walk(bundle: &Bundle<'_>, bytes: &[u8]) {
    assert_eq!(bundle.items().count(), bundle.len());
    let items: Vec<_> = bundle.items().filter_map(Result::ok).collect();
    if items.len() == bundle.len() {
        let parts: Vec<_> = items.iter().map(DataItem::bytes).collect();
        assert_eq!(bundle_bytes(&parts).as_deref(), Ok(bytes));
    }
    for item in &items {
        if let Ok(Some(inner)) = bundle.nested(item) {
            walk(&inner, item.data());
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(bundle) = Bundle::parse(bytes) {
        walk(&bundle, bytes);
    }
});

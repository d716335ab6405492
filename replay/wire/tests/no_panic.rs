//! Any bytes are parsed or refused; whatever is parsed can be asked everything.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use ao_wire::{Bundle, DataItem, ItemBuilder, Limits, SignatureType, Signer, Tag, WireError, bundle_bytes};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// Bytes that get past the signature type and the owner, so that the header behind them is reached.
fn headers() -> impl Strategy<Value = Vec<u8>> {
    let small = prop_oneof![3 => 0u8..6, 1 => any::<u8>()];
    (0u16..9, prop::collection::vec(small, 0..200)).prop_map(|(code, tail)| {
        let skip = SignatureType::from_code(code).map_or(0, |known| known.signature_len() + known.owner_len());
        let mut bytes = code.to_le_bytes().to_vec();
        bytes.resize(2 + skip, 4);
        bytes.extend(tail);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_item_bytes_are_parsed_or_refused_inside_the_input(bytes in headers()) {
        match DataItem::parse(&bytes) {
            Ok(item) => {
                prop_assert_eq!(item.tags().count(), item.tags().len());
                prop_assert!(item.verify().is_err());
                let _ = (item.id(), item.owner_address(), item.deep_hash(), item.tag("a"));
            }
            Err(WireError::Truncated { offset, .. } | WireError::TagCount { offset, .. } | WireError::Limit { offset, .. }) => {
                prop_assert!(offset <= bytes.len());
            }
            Err(_) => {}
        }
    }

    #[test]
    fn any_bundle_bytes_are_parsed_or_refused(
        count in 0u8..4,
        sizes in prop::collection::vec(0u8..90, 0..4),
        tail in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = vec![0; 32];
        bytes[0] = count;
        for size in sizes {
            bytes.push(size);
            bytes.extend([0; 63]);
        }
        bytes.extend(tail);
        if let Ok(bundle) = Bundle::parse(&bytes) {
            prop_assert_eq!(bundle.items().count(), bundle.len());
        }
    }

    #[test]
    fn what_is_built_is_read_back(
        target in any::<Option<[u8; 32]>>(),
        anchor in any::<Option<[u8; 32]>>(),
        tags in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<u8>(), 0..40)), 0..9),
        data in prop::collection::vec(any::<u8>(), 0..300),
        seed in any::<[u8; 32]>(),
    ) {
        let tags: Vec<_> = tags.iter().map(|(name, value)| Tag { name, value }).collect();
        let bytes = ItemBuilder { target, anchor, tags: tags.clone(), data: &data }.build(&Signer::ed25519(&seed)).unwrap();
        let item = DataItem::parse(&bytes).unwrap();
        prop_assert_eq!(item.verify(), Ok(()));
        prop_assert_eq!((item.target(), item.anchor(), item.data()), (target.as_ref(), anchor.as_ref(), &data[..]));
        prop_assert_eq!(item.tags().collect::<Vec<_>>(), tags);
        let bundle = bundle_bytes(&[&bytes, &bytes]).unwrap();
        let items: Vec<_> = Bundle::parse(&bundle).unwrap().items().map(|item| item.unwrap().id()).collect();
        prop_assert_eq!(items, [item.id(), item.id()]);
    }
}

#[test]
fn damaged_bundles_are_refused_with_the_offset() {
    let item = |data| ItemBuilder { data, ..ItemBuilder::default() }.build(&Signer::ed25519(&[1; 32])).unwrap();
    let (first, second) = (item(b"first"), item(b"second"));
    let good = bundle_bytes(&[&first, &second]).unwrap();
    let damage = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let parse = |bytes: &[u8]| Bundle::parse(bytes).map(|bundle| bundle.len());
    let end = good.len();
    assert_eq!(parse(&good), Ok(2));
    let trailing = [&good[..], &[0]].concat();
    assert_eq!(parse(&trailing), Err(WireError::Trailing { offset: end, field: "bundle", count: 1 }));
    let cut = WireError::Truncated {
        offset: end - second.len(),
        field: "bundle item",
        needed: second.len() as u64,
        available: second.len() as u64 - 1,
    };
    assert_eq!(parse(&good[..end - 1]), Err(cut));
    let short = WireError::Truncated { offset: 32, field: "bundle header", needed: 128, available: 68 };
    assert_eq!(parse(&good[..100]), Err(short));
    let count =
        |found| WireError::Limit { offset: 0, field: "bundle item count", found, max: Limits::LOG.bundle_items_max };
    assert_eq!(parse(&damage(31, 1)), Err(count(u64::MAX)));
    assert_eq!(parse(&damage(7, 1)), Err(count((1 << 56) + 2)));
    let size =
        WireError::Limit { offset: 96, field: "bundle item size", found: u64::MAX, max: Limits::LOG.item_bytes_max };
    assert_eq!(parse(&damage(96 + 8, 1)), Err(size));

    let wrong_id = damage(64, good[64] ^ 1);
    let mut items = Bundle::parse(&wrong_id).unwrap().items();
    assert!(matches!(items.next(), Some(Err(WireError::ItemId { offset: 64, .. }))));
    assert_eq!(items.next().unwrap().unwrap().data(), b"second", "its neighbour is not harmed");

    let second_at = end - second.len();
    let wrong_item = damage(second_at, 9);
    let error = Bundle::parse(&wrong_item).unwrap().items().nth(1).unwrap().unwrap_err();
    assert_eq!(error, WireError::SignatureType { offset: second_at, found: 9 });
}

#[test]
fn limits_refuse_what_is_just_above_them() {
    let signer = Signer::ed25519(&[2; 32]);
    let value = "v".repeat(4088);
    let tags = vec![Tag::new("N", &value)];
    let fits = ItemBuilder { tags, ..ItemBuilder::default() }.build(&signer).unwrap();
    assert_eq!(DataItem::parse(&fits).unwrap().raw_tags().len(), 4096 - 2);
    let value = "v".repeat(4091);
    let tags = vec![Tag::new("N", &value)];
    assert!(ItemBuilder { tags, ..ItemBuilder::default() }.build(&signer).is_err());

    let tight = Limits { item_bytes_max: fits.len() as u64 - 1, ..Limits::LOG };
    let refused = DataItem::parse_with(&fits, &tight).unwrap_err();
    assert!(matches!(refused, WireError::Limit { field: "item bytes", .. }));
    let tight = Limits { tag_bytes_max: 4093, ..Limits::LOG };
    assert!(matches!(DataItem::parse_with(&fits, &tight), Err(WireError::Limit { field: "tag bytes", .. })));
    let tight = Limits { tag_count_max: 0, ..Limits::LOG };
    assert!(matches!(DataItem::parse_with(&fits, &tight), Err(WireError::Limit { field: "tag count", .. })));
}

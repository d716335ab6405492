//! Arweave transactions made by the reference library are read and verified, and nothing else in their place.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use ao_wire::{Transaction, TransactionError};
use common::vectors;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Vector {
    address: String,
    bytes: usize,
    json: Value,
}

fn transactions() -> Vec<Vector> {
    let vectors: Vec<Vector> = vectors("wire/transactions.json");
    assert_eq!(vectors.len(), 13);
    vectors
}

fn read(json: &Value) -> Result<(Transaction, Vec<u8>), TransactionError> {
    Transaction::from_json(json.to_string().as_bytes())
}

fn data(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i * 31 + (i >> 8)) as u8).collect()
}

#[test]
fn transactions_of_both_formats_hold_with_data_of_every_chunking() {
    for vector in transactions() {
        let (transaction, inline) = read(&vector.json).unwrap();
        let at = format!("format {}, {} bytes", transaction.format, vector.bytes);
        let data = data(vector.bytes);
        assert_eq!(inline, if transaction.format == 1 { data.clone() } else { Vec::new() }, "{at}");
        assert_eq!(transaction.owner_address(), vector.address, "{at}");
        assert_eq!(transaction.id().to_string(), vector.json["id"].as_str().unwrap(), "{at}");
        assert!(transaction.verify(Some(&data)).is_ok(), "{at}");
        match (transaction.format, transaction.verify(None)) {
            (1, Err(TransactionError::DataAbsent)) | (2, Ok(())) => {}
            other => panic!("{at}: {other:?}"),
        }
    }
}

#[test]
fn no_field_can_change_under_its_signature() {
    for vector in transactions().into_iter().filter(|vector| vector.bytes > 0 && vector.bytes <= 1000) {
        let (good, _) = read(&vector.json).unwrap();
        let data = data(vector.bytes);
        type Change = fn(&mut Transaction);
        let changes: [(&str, Change); 7] = [
            ("last_tx", |it| it.last_tx[0] ^= 1),
            ("owner", |it| it.owner[511] ^= 2),
            ("target", |it| it.target.push(0)),
            ("quantity", |it| it.quantity.push('0')),
            ("reward", |it| it.reward.push('0')),
            ("tags", |it| it.tags[0].1.push(b'x')),
            ("signature", |it| it.signature[7] ^= 4),
        ];
        for (field, change) in changes {
            let mut changed = good.clone();
            change(&mut changed);
            let verdict = changed.verify(Some(&data));
            assert!(matches!(verdict, Err(TransactionError::Signature)), "{field}: {verdict:?}");
        }
        let mut other = data.clone();
        other[0] ^= 1;
        let refused = good.verify(Some(&other));
        match good.format {
            1 => assert!(matches!(refused, Err(TransactionError::Signature)), "{refused:?}"),
            _ => assert!(matches!(refused, Err(TransactionError::DataRoot)), "{refused:?}"),
        }
    }
}

#[test]
fn no_byte_of_a_big_transactions_data_can_change_or_be_missing() {
    let vector = transactions().into_iter().max_by_key(|vector| vector.bytes).unwrap();
    let (transaction, _) = read(&vector.json).unwrap();
    let good = data(vector.bytes);
    for at in [0, 262_143, 262_144, 600_000, good.len() - 1] {
        let mut other = good.clone();
        other[at] ^= 0x80;
        assert!(matches!(transaction.verify(Some(&other)), Err(TransactionError::DataRoot)), "byte {at}");
    }
    let short = transaction.verify(Some(&good[1..]));
    assert!(matches!(short, Err(TransactionError::DataSize { found: 1_126_399, signed: 1_126_400 })), "{short:?}");
}

#[test]
fn what_is_no_transaction_says_so() {
    let vector = transactions().swap_remove(1);
    let with = |field: &str, value: Value| {
        let mut json = vector.json.clone();
        json[field] = value;
        read(&json)
    };
    assert!(matches!(Transaction::from_json(b"{}"), Err(TransactionError::Json(_))));
    assert!(matches!(with("data_size", "-1".into()), Err(TransactionError::Json(_))));
    assert!(matches!(with("owner", "=".into()), Err(TransactionError::Base64 { field: "owner", .. })));
    assert!(matches!(with("id", vector.address.clone().into()), Err(TransactionError::Id { .. })));
    let (mut third, _) = with("format", 3.into()).unwrap();
    assert!(matches!(third.verify(Some(b"\0")), Err(TransactionError::Format { found: 3 })));
    third.owner.clear();
    assert!(matches!(third.verify(Some(b"\0")), Err(TransactionError::Scheme)));
}

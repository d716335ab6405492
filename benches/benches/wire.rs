//! Signatures: what bounds reading a log whose steps are already known.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking; criterion's macros write no docs")]

use std::time::Duration;

use ao_benches::at_root;
use ao_wire::{DataItem, ItemBuilder, Jwk, PssSalt, Signer, Tag, verify_all};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn signer(name: &str, salt: PssSalt) -> Signer {
    let wallet = std::fs::read(at_root(&format!("fixtures/vectors/keys/{name}.json"))).unwrap();
    Signer::arweave(&Jwk::parse(wallet).unwrap()).unwrap().with_salt(salt)
}

fn item(signer: &Signer, number: u64) -> Vec<u8> {
    let number = number.to_string();
    let tags = vec![Tag::new("Data-Protocol", "ao"), Tag::new("Action", "Eval"), Tag::new("Reference", &number)];
    ItemBuilder { target: Some([7; 32]), anchor: None, tags, data: b"return 1 + 1" }.build(signer).unwrap()
}

fn one(c: &mut Criterion) {
    let mut group = c.benchmark_group("verify an item");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
    group.throughput(Throughput::Elements(1));
    let kinds = [
        ("RSA-4096, salt of 32", signer("user", PssSalt::Digest)),
        ("RSA-4096, salt of 478", signer("user", PssSalt::Max)),
        ("Ed25519", Signer::ed25519(&[1; 32])),
    ];
    for (name, signer) in kinds {
        let bytes = item(&signer, 1);
        group.bench_function(name, |b| b.iter(|| DataItem::parse(&bytes).unwrap().verify().unwrap()));
    }
    group.finish();
}

/// A page of a log as it is served: every second item by the scheduler, on all cores.
fn page(c: &mut Criterion) {
    let (scheduler, user) = (signer("scheduler", PssSalt::Max), signer("user", PssSalt::Digest));
    let page: Vec<Vec<u8>> = (0..50).flat_map(|number| [item(&scheduler, number), item(&user, number)]).collect();
    let items: Vec<DataItem<'_>> = page.iter().map(|bytes| DataItem::parse(bytes).unwrap()).collect();
    let mut group = c.benchmark_group("verify a page");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
    group.throughput(Throughput::Elements(items.len() as u64));
    group.bench_function("100 RSA-4096 items", |b| {
        b.iter(|| assert!(verify_all(&items).iter().all(Result::is_ok)));
    });
    group.finish();
}

criterion_group!(benches, one, page);
criterion_main!(benches);

//! A memory saved by the reference unit is taken in if it is what it says, and is worth nothing until proven.

mod support;

use std::io::Write as _;
use std::sync::Arc;

use ao_log::Nonce;
use ao_store::{ImportError, Options, Store, TwinDisk};
use ao_wire::Tag;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};
use support::process;

const MAX: u64 = 1 << 20;

fn gzip(memory: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(memory).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

fn tags(memory: &[u8]) -> Vec<(&'static str, String)> {
    let sha256 = ao_tests::hex(&Sha256::digest(memory));
    vec![
        ("Type", "Checkpoint".to_owned()),
        ("Process", process(1).to_string()),
        ("Nonce", "41".to_owned()),
        ("Timestamp", "1735689600000".to_owned()),
        ("Block-Height", "000001580000".to_owned()),
        ("SHA-256", sha256),
        ("Content-Encoding", "gzip".to_owned()),
    ]
}

fn import(store: &Store, tags: &[(&str, String)], gzip: &[u8]) -> Result<ao_store::Imported, ImportError> {
    let tags: Vec<Tag<'_>> = tags.iter().map(|(name, value)| Tag::new(name, value)).collect();
    store.import_memory(process(1), &tags, gzip, MAX)
}

#[test]
fn an_imported_memory_is_unproven_until_a_replay_reached_it() {
    let store = Store::on(Arc::new(TwinDisk::default()), Options::default()).unwrap();
    let memory: Vec<u8> = (0..100_003_u32).map(|i| (i / 7) as u8).collect();
    let imported = import(&store, &tags(&memory), &gzip(&memory)).unwrap();
    assert_eq!((imported.nonce, imported.memory_bytes, imported.proven), (Nonce(41), 100_003, false));
    assert_eq!(store.imported(process(1), Nonce(40)).unwrap(), None);
    assert_eq!(store.imported(process(1), Nonce(99)).unwrap(), Some((imported.clone(), memory.clone())));
    assert_eq!(store.load_checkpoint(process(1), Nonce(99)).unwrap(), None, "it is no checkpoint of ours");

    assert!(!store.prove_import(process(1), Nonce(41), &[0; 32]).unwrap(), "another memory");
    assert!(!store.prove_import(process(1), Nonce(42), &imported.memory_root).unwrap(), "another nonce");
    assert!(!store.imported(process(1), Nonce(41)).unwrap().unwrap().0.proven);
    assert!(store.prove_import(process(1), Nonce(41), blake3::hash(&memory).as_bytes()).unwrap());
    store.compact(1000).unwrap();
    assert_eq!(
        store.imported(process(1), Nonce(41)).unwrap().map(|(found, bytes)| (found.proven, bytes)),
        Some((true, memory))
    );
}

#[test]
fn a_memory_that_is_not_what_its_tags_say_is_refused() {
    let store = Store::on(Arc::new(TwinDisk::default()), Options::default()).unwrap();
    let memory = vec![7; 9000];
    let (tags, packed) = (tags(&memory), gzip(&memory));
    assert!(matches!(import(&store, &tags, &gzip(&[8; 9000])), Err(ImportError::Sha256 { .. })));
    assert!(matches!(import(&store, &tags, &packed[..packed.len() - 9]), Err(ImportError::Gzip(_))));
    assert!(matches!(import(&store, &tags, &gzip(&vec![0; MAX as usize + 1])), Err(ImportError::TooBig { max: MAX })));
    for (at, (name, _)) in tags.iter().enumerate() {
        let mut without = tags.clone();
        without.remove(at);
        let error = import(&store, &without, &packed).unwrap_err();
        assert!(matches!(error, ImportError::Missing { tag } if tag == *name), "{error}");
    }
    let mut other = tags.clone();
    other[1].1 = process(2).to_string();
    assert!(matches!(import(&store, &other, &packed), Err(ImportError::Tag { tag: "Process", .. })));
    assert_eq!(store.imported(process(1), Nonce(99)).unwrap(), None);
}

//! Bundles of every released format version still verify, and lead to the roots written down beside them.

use std::path::{Path, PathBuf};

use ao_replay::{Options, Source, Verdict, verify};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_golden_bundle_matches_its_receipts_and_its_expected_roots() {
    let bundles = root().join("fixtures/bundles");
    let expected: Value = serde_json::from_slice(&std::fs::read(bundles.join("EXPECTED.json")).unwrap()).unwrap();
    let expected = expected.as_object().expect("an object of bundles");
    let mut seen = 0;
    for file in std::fs::read_dir(&bundles).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|extension| extension != "bundle") {
            continue;
        }
        seen += 1;
        let name = file.file_name().unwrap().to_str().unwrap();
        let options = Options { modules: vec![root().join("target/modules/aos2_0_6.wasm")], ..Options::default() };
        let (report, verdict) = verify(Source::open(&file).unwrap(), &options, &mut |_| Ok(())).unwrap();
        assert!(matches!(verdict, Verdict::Matched { .. }), "{name}: {verdict:?}");
        let hex = |bytes: [u8; 32]| blake3::Hash::from_bytes(bytes).to_hex().to_string();
        for (field, computed) in [
            ("memory_root", hex(report.end.memory_root)),
            ("state_root", hex(report.end.state_root)),
            ("last_receipt", hex(report.last.expect("golden bundles have steps").1)),
        ] {
            assert_eq!(expected[name][field], computed.as_str(), "{name}: {field}");
        }
    }
    assert_eq!(seen, expected.len(), "every bundle is expected and every expected bundle is there");
}

//! The host calls against the reference loader: real modules on wasmi, results and whole memories compared with what
//! `@permaweb/ao-loader@0.0.49` gave under Node 20 for the same messages (`golden/host_*.jsonl`).
//!
//! The loader ran with its entropy source answering zeros and its clock at 10000 while it built the file tree: the
//! two inputs of the host's that it lets into a guest's memory.

#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

#[path = "support/wasmi_guest.rs"]
mod wasmi_guest;

use std::path::Path;

use ao_kernel::guest::Guest;
use ao_kernel::host::{GAS_LIMIT_DEFAULT, HostState, ModuleFormat, boot, handle};
use serde_json::Value;
use sha2::{Digest, Sha256};
use wasmi_guest::WasmiGuest;

const FIELDS: [&str; 5] = ["Error", "Output", "Messages", "Spawns", "Assignments"];

/// Nested host calls put wasmi's frames on the native stack.
const STACK_BYTES: usize = 256 << 20;

fn assert_parity(module: &'static str, format: ModuleFormat) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || run(module, format)).unwrap();
    thread.join().unwrap();
}

fn run(module: &str, format: ModuleFormat) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(format!("../../target/modules/{module}.wasm"));
    let wasm = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `make modules`", path.display()));
    let golden = std::fs::read_to_string(root.join(format!("tests/golden/host_{module}.jsonl"))).unwrap();
    let mut engine = WasmiGuest::new(&wasm, HostState::new(format, GAS_LIMIT_DEFAULT, u64::MAX)).unwrap();
    let mut guest = engine.guest();
    boot(&mut guest).unwrap();
    for (nonce, line) in golden.lines().enumerate() {
        let expected: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| expected[field].as_str().unwrap().to_owned();
        let answer = handle(&mut guest, &text("message"), &text("environment")).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        for field in FIELDS {
            assert_eq!(answer["response"][field], expected["result"][field], "{module}, nonce {nonce}, {field}");
        }
        assert_eq!(expected["memory_bytes"], guest.memory().len(), "{module}, nonce {nonce}");
        assert_eq!(
            hex(&Sha256::digest(guest.memory())),
            text("memory_sha256"),
            "memory of {module} after nonce {nonce}"
        );
        let encoded = guest.host().encode();
        assert_eq!(HostState::decode(&encoded).as_ref(), Ok(&*guest.host()), "{module}, nonce {nonce}");
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

#[test]
fn aos_2_0_6_runs_as_in_the_reference_loader() {
    assert_parity("aos2_0_6", ModuleFormat::Wasm64);
}

#[test]
fn aos_2_0_4_32_runs_as_in_the_reference_loader() {
    assert_parity("aos2_0_4_32", ModuleFormat::Emscripten4);
}

#[test]
fn sqlite_with_a_database_file_runs_as_in_the_reference_loader() {
    assert_parity("sqlite", ModuleFormat::Wasm64);
}

//! What the benches share: a log to run, and the peers that run it beside us.
//!
//! Not here: the benches (`benches/`).
//! Invariant: every engine in a bench evaluates the same messages, byte for byte.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a bench that cannot be set up ends by panicking")]

pub mod bare;
pub mod client;
pub mod log;
pub mod ours;
pub mod peer;
pub mod work;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The format of `aos2_0_6.wasm`.
pub const AOS_FORMAT: ao_kernel::ModuleFormat = ao_kernel::ModuleFormat::Wasm64;

/// A path below the root of the repository.
pub fn at_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The module that all benches run.
pub fn aos() -> Vec<u8> {
    let path = at_root("target/modules/aos2_0_6.wasm");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `make setup`", path.display()))
}

/// The same module, lowered by Binaryen: addresses are cut to 32 bits, nothing is checked, bounded or canonical.
pub fn aos_lowered_by_binaryen() -> Vec<u8> {
    let lowered = at_root("target/modules/aos2_0_6.lowered.wasm");
    let status = Command::new("node")
        .arg(at_root("target/node/node_modules/binaryen/bin/wasm-opt"))
        .args(["--mvp-features", "--enable-memory64", "--enable-bulk-memory", "--enable-bulk-memory-opt"])
        .args(["--enable-sign-ext", "--enable-mutable-globals", "--enable-nontrapping-float-to-int"])
        .args(["--memory64-lowering", "-o"])
        .args([&lowered, &at_root("target/modules/aos2_0_6.wasm")])
        .status()
        .expect("node is on the path; run `make setup`");
    assert!(status.success(), "wasm-opt failed; run `make setup`");
    std::fs::read(lowered).unwrap()
}

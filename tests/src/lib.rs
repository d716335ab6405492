//! What the whole-system tests in `tests/`, one file per promise, have in common.
//!
//! Not here: any test, anything above `ao-log`, so that each package's own tests may use it.
//! Invariant: whatever is missing (Node, a module, a guest) fails the test that needs it; nothing is skipped.

mod log;
mod network;
mod node;

use std::path::{Path, PathBuf};

pub use log::{Guest, LOG_START_BLOCK, LOG_START_MS, LogBuilder, Twist, item};
pub use network::{Network, aos2_json};
pub use node::{Answer, Lines, Reference, Step, corpus, node};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The file of a real module, which `tests/node/setup.sh` fetches.
///
/// # Panics
/// If it is not there.
pub fn module_path(name: &str) -> PathBuf {
    let path = root().join(format!("target/modules/{name}.wasm"));
    assert!(path.exists(), "{} is missing: run tests/node/setup.sh", path.display());
    path
}

/// Hexadecimal digits, lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

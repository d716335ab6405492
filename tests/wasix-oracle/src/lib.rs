//! One standalone guest over two implementations of WASI preview 1: the kernel's, and that of the crate `wasmer-wasix` on
//! a file system in memory.
//!
//! Not here: what is compared, and which differences are on purpose (`tests/`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "only tests use this, which fail by panicking")]

mod ours;
mod script;
mod wasix;

pub use ours::Ours;
pub use script::{Answer, Script};
pub use wasix::Wasix;

/// How a message ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With an answer.
    Answer(String),
    /// `proc_exit` with this status.
    Exit(i32),
    /// A trap.
    Trap,
}

/// The text of the guest's answer.
///
/// # Panics
/// If the answer is none.
pub fn output(json: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(json).expect("the guest answers JSON");
    json.pointer("/response/Output")
        .or(json.pointer("/Output"))
        .and_then(|it| it.as_str())
        .expect("an output")
        .to_owned()
}

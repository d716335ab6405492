//! One deterministic step: module, state, message and environment to state, outcome and gas.
//!
//! [`Module`] is a module that was admitted, rewritten and compiled; [`Machine`] a process at work on one. What a message
//! looks like to a module is in [`message`], what its answer is worth in [`result`], and all semantics together in
//! [`profile`].
//!
//! Not here: whether a log can be believed (`ao-log`), hashing of states (`ao-commit`), files but for compiled artifacts.
//!
//! Invariant: a step depends on module, state, message and environment, and on nothing else; a failed step leaves no trace.

pub mod admission;
mod breaker;
pub mod cron;
mod engine;
mod error;
mod fork;
pub mod guest;
pub mod host;
pub mod json;
pub mod limits;
mod machine;
pub mod memory;
pub mod message;
mod module;
pub mod profile;
pub mod result;
pub mod rewrite;

pub use breaker::{BrokenOff, Evaluation, Watch};
pub use engine::{ArtifactCache, Engine};
pub use error::{EngineError, LoadError, MachineError, StartError};
pub use fork::Fork;
pub use host::{ModuleFormat, UnknownFormat};
pub use machine::{Machine, ProcessLimits, Registers, Step, Tracker};
pub use memory::GROUP_BYTES;
pub use module::Module;

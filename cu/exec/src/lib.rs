//! Thousands of processes at once: one serial lane each, hot instances under a budget, dry-runs on forks.
//!
//! [`Executor`] evaluates what stands in the logs of a store and stores what comes of it.
//!
//! Not here: where logs come from (`ao-source`), whether they may be believed (`ao-log`), HTTP (`ao-node`).
//!
//! Invariant: nobody is told of a result before it is durable; receipts are those of a single session that evaluates the
//! log alone, whatever is evicted, resumed, shared, cancelled or dry-run meanwhile.

mod dry_run;
mod error;
mod executor;
mod hot;
mod lane;
mod modules;

pub use dry_run::{DryRun, DryRunError, Place};
pub use error::ExecError;
pub use executor::{Counts, Executor, Options, Snapshot};

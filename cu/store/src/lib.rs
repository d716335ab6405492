//! What a unit keeps on disk: logs, results with their receipts, checkpoints, modules.
//!
//! [`Store`] is the one door. A directory holds `index.redb` (small values), `logs/` (one chain of segment files per
//! process), `bodies/` (large values) and `pages/` (pages of checkpoints); `FORMAT.md` beside this crate has the bytes.
//!
//! *Not here:* whether a log may be believed (`ao-log`), what a checkpoint means and its roots (`ao-replay`), networks.
//!
//! Invariant: what a call acknowledged survives a crash at any later moment, whole; what it did not acknowledge is
//! there whole or not at all. Everything read back is checked against a checksum or hash written with it.

mod checkpoint;
mod compact;
mod disk;
mod error;
mod import;
mod index;
mod log;
mod pack;
mod results;
mod rows;
mod store;
mod twin;

pub use checkpoint::{Checkpoint, GROUP_BYTES, UNIT_BYTES};
pub use compact::Compacted;
pub use disk::{Disk, DiskFile, FileDisk};
pub use error::StoreError;
pub use import::{ImportError, Imported};
pub use log::LogEntries;
pub use results::{Order, Page, Query, Steps};
pub use rows::{Position, StepRecord};
pub use store::{Head, Options, Store};
pub use twin::TwinDisk;

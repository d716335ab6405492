//! A messenger unit for legacy processes: takes signed items to their scheduler, and then what processes send to whom it is for.
//!
//! [`Messenger`] is the one door; its `answer` is a handler for `ao_http::serve`. In its directory lies `mu.redb`, the queue.
//!
//! *Not here:* what a message does to a process, where it stands in a log, settings and sockets.
//!
//! Invariant: what was accepted is delivered once in effect, or lies among the dead letters with the reason; a crash at any
//! point changes neither. An item is written down, signed, before it is first sent, so that it is sent again as it was.
//!
//! # Source
//! `permaweb/ao` `servers/mu` at `ff178d51`: routes, answers, tags.

mod answer;
mod build;
mod counts;
mod error;
mod lanes;
mod messenger;
mod monitor;
mod outbox;
mod run;
mod store;
mod task;
mod trust;
mod units;

pub use error::MuError;
pub use lanes::Retry;
pub use messenger::{Messenger, Options};
pub use units::Failure;

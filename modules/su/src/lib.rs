//! A scheduler unit for legacy processes: takes signed items, gives each a place in its process' log, signs that, keeps it,
//! shows it, and uploads it.
//!
//! [`Scheduler`] is the one door; its `answer` is a handler for `ao_http::serve`. In its directory lie `log/`, segment files
//! of all processes in order of acceptance, and `index.redb`, which is made again from them if it is lost.
//!
//! *Not here:* what a message does to a process, delivering its results, settings and sockets.
//!
//! Invariant: whoever was told of a place in a log finds it there for ever, whole and signed; nonces of a process have no gap,
//! its times rise, and an item has one place in it however often it is sent.
//!
//! # Source
//! `permaweb/ao` `servers/su` at `ff178d51`: routes, shapes, chain rule.

mod admit;
mod answer;
mod assign;
mod error;
mod index;
mod json;
mod ledger;
mod page;
mod scheduler;
mod sequencer;
mod upload;

pub use admit::Policy;
pub use error::SuError;
pub use scheduler::{Options, Scheduler};

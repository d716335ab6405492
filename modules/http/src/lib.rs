//! What every unit that serves HTTP has in common: connections, bodies within a bound, parameters, answers, databases that
//! come back after trouble.
//!
//! Not here: any route, anything that knows what ao is but for the headers by which units of ours say more than others', HTTP
//! that is asked (`ao-source`).
//! Invariant: an answer is JSON or the bytes asked for, errors too, and a stop finishes what was begun.

mod answer;
mod body;
mod query;
mod reopened;
mod server;
mod stream;

pub use answer::{
    ASSIGNMENT, Answer, Body, RECEIPT, chain, full, json_text, not_allowed, ok, preflight, refuse, typed,
};
pub use body::{BodyError, read, read_text};
pub use query::{Field, Query};
pub use reopened::Reopened;
pub use server::{serve, stop_on_signals, stopped};
pub use stream::{Received, Writing, channel};

/// A request as a handler is given it.
pub type Request = hyper::Request<hyper::body::Incoming>;

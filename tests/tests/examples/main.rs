//! The examples keep their invariants through random actions, and what they did is replayed offline.
//!
//! `AORTA_EXAMPLE_ACTIONS=10000 cargo test --workspace --test examples` takes minutes; by default the actions are few.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "how much was done is shown with --nocapture")]

mod amm;
mod chat;
mod market;
mod order_book;
mod random;
mod token;
mod town;

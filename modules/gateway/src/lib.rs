//! An embedded store that answers what ao units and clients ask of an Arweave gateway, so that a network runs offline.
//!
//! [`Gateway`] is the one door; its `answer` is a handler for `ao_http::serve`. In its directory lie `items.pack`, the items as
//! they came, and `index.redb`, where each is and how it is found.
//!
//! *Not here:* transactions of the base layer, payment, peers. Blocks are a rule of the clock ([`block_at`]).
//!
//! Invariant: what is taken was verified, is on disk when it is answered, and is given back bit for bit.

mod answer;
mod error;
mod graphql;
mod intake;
mod query;
mod store;

pub use answer::Gateway;
pub use error::GatewayError;

/// Milliseconds since 1970 of block [`BLOCK_FIRST`]: 2025-01-01.
const BLOCK_FIRST_MS: u64 = 1_735_689_600_000;
/// Height of the chain then, near enough; old enough that every unit checks hash chains.
const BLOCK_FIRST: u64 = 1_580_000;
/// Milliseconds from one block to the next, as on the real chain.
const BLOCK_MS: u64 = 120_000;

/// The height of the chain at a time in milliseconds since 1970: one block every two minutes since 2025, so that every unit
/// that asks is told the same, also after a restart.
pub fn block_at(time_ms: u64) -> u64 {
    BLOCK_FIRST + time_ms.saturating_sub(BLOCK_FIRST_MS) / BLOCK_MS
}

/// When a block was made, in milliseconds since 1970.
pub fn block_time_ms(height: u64) -> u64 {
    BLOCK_FIRST_MS + height.saturating_sub(BLOCK_FIRST) * BLOCK_MS
}

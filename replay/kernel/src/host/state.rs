//! Everything of the host that a process' future depends on: the clock, the files, the counters.
//!
//! Not here: what the calls do with it.
//! Invariant: `encode` is canonical, so equal states have equal bytes; a clone is a snapshot.

use serde::{Deserialize, Serialize};

use super::asyncify::Asyncify;
use super::files::Files;
use super::format::{Glue, ModuleFormat};
use crate::guest::Interrupt;

/// First reading of the virtual clock.
///
/// # Units
/// Milliseconds since 1970.
pub const CLOCK_START_MS: u64 = 10_000;

/// Gas limit of the loader when none is given.
pub const GAS_LIMIT_DEFAULT: u64 = 9_000_000_000_000_000;

/// Layout version of [`HostState::encode`].
const LAYOUT: u8 = 1;

/// The loader's deterministic clock: each reading is one millisecond later than the last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clock {
    now_ms: u64,
    frozen: bool,
}

impl Clock {
    fn start() -> Self {
        Self { now_ms: CLOCK_START_MS, frozen: false }
    }

    /// A clock that stands at the start.
    pub(crate) fn frozen() -> Self {
        Self { now_ms: CLOCK_START_MS, frozen: true }
    }

    /// The time, and on to the next.
    pub(crate) fn tick(&mut self) -> i64 {
        let now = self.now_ms;
        self.now_ms += u64::from(!self.frozen);
        now as i64
    }
}

/// The host's part of a process' state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    pub(crate) format: ModuleFormat,
    pub(crate) clock: Clock,
    pub(crate) files: Files,
    pub(crate) asyncify: Asyncify,
    /// High half of 64-bit results in wasm32 modules without such an export.
    pub(crate) temp_ret0: i32,
    /// Glues 1 and 2 set the time zone once.
    pub(crate) tz_is_set: bool,
    /// Linear memory may not grow beyond this.
    pub(crate) memory_bytes_max: u64,
    gas_limit_bits: u64,
    /// A double, as in the loader.
    gas_used_bits: u64,
}

/// The bytes are no encoded host state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Written by another version.
    #[error("host state has layout {0:?}, not {LAYOUT}")]
    Layout(Option<u8>),
    /// Truncated or no value of the layout.
    #[error("host state of {0} bytes does not decode")]
    Malformed(usize),
    /// Decodes, but `encode` would not have written it so.
    #[error("host state of {0} bytes is not in canonical form")]
    NotCanonical(usize),
}

impl HostState {
    /// The state before boot.
    ///
    /// # Units
    /// `memory_bytes_max` in bytes; the format's own ceiling holds as well.
    pub fn new(format: ModuleFormat, gas_limit: u64, memory_bytes_max: u64) -> Self {
        let files = if format.glue() == Glue::E1 { Files::default() } else { Files::at_boot() };
        Self {
            format,
            clock: Clock::start(),
            files,
            asyncify: Asyncify::default(),
            temp_ret0: 0,
            tz_is_set: false,
            memory_bytes_max,
            gas_limit_bits: (gas_limit as f64).to_bits(),
            gas_used_bits: 0,
        }
    }

    /// The module's format.
    pub fn format(&self) -> ModuleFormat {
        self.format
    }

    /// Gas used since the message began; 0 in modules that do not count.
    pub fn gas_used(&self) -> f64 {
        f64::from_bits(self.gas_used_bits)
    }

    /// The limit of one message.
    pub fn gas_limit(&self) -> f64 {
        f64::from_bits(self.gas_limit_bits)
    }

    /// `gas.refill()`: a message starts from zero.
    pub(crate) fn refill_gas(&mut self) {
        self.gas_used_bits = 0;
    }

    /// `metering.usegas`: adds first, then compares, in doubles.
    ///
    /// # Errors
    /// [`Interrupt::OutOfGas`] beyond the limit.
    pub fn use_gas(&mut self, amount: f64) -> Result<(), Interrupt> {
        let used = self.gas_used() + amount;
        self.gas_used_bits = used.to_bits();
        if used > self.gas_limit() { Err(Interrupt::OutOfGas) } else { Ok(()) }
    }

    /// Whether nothing is under way that only lives within a message.
    pub fn is_at_rest(&self) -> bool {
        self.asyncify.is_idle()
    }

    /// The canonical bytes.
    ///
    /// # Panics
    /// If the state is not at rest: between messages it always is.
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.is_at_rest(), "a host state is encoded between messages");
        let body = postcard::to_stdvec(self).expect("a state in memory has an encoding");
        [&[LAYOUT], body.as_slice()].concat()
    }

    /// Reads what `encode` wrote.
    ///
    /// # Errors
    /// If the bytes are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let Some((&LAYOUT, body)) = bytes.split_first() else {
            return Err(StateError::Layout(bytes.first().copied()));
        };
        let state: Self = postcard::from_bytes(body).map_err(|_| StateError::Malformed(bytes.len()))?;
        if state.is_at_rest() && state.encode() == bytes {
            Ok(state)
        } else {
            Err(StateError::NotCanonical(bytes.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_round_trip_and_damage_is_noticed() {
        let mut state = HostState::new(ModuleFormat::Wasm64, GAS_LIMIT_DEFAULT, 1 << 30);
        state.files.create_standard_streams(&mut state.clock).unwrap();
        state.use_gas(7.0).unwrap();
        let bytes = state.encode();
        assert_eq!(HostState::decode(&bytes), Ok(state));
        assert_eq!(HostState::decode(&[]), Err(StateError::Layout(None)));
        assert_eq!(HostState::decode(&bytes[..bytes.len() - 1]), Err(StateError::Malformed(bytes.len() - 1)));
        let trailing = [bytes.as_slice(), &[0]].concat();
        assert_eq!(HostState::decode(&trailing), Err(StateError::NotCanonical(trailing.len())));
    }

    #[test]
    fn gas_stops_beyond_its_limit_and_not_at_it() {
        let mut state = HostState::new(ModuleFormat::Wasm64Metering, 10, 0);
        assert_eq!(state.use_gas(10.0), Ok(()));
        assert_eq!(state.use_gas(1.0), Err(Interrupt::OutOfGas));
        state.refill_gas();
        assert_eq!(state.use_gas(1.0), Ok(()));
    }
}

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

/// Where waiting ends: the last time that nanoseconds in 63 bits can tell.
const NOW_MS_MAX: u64 = i64::MAX as u64 / 1_000_000;

/// Context of the key derivation that random bytes come from.
const RANDOM_CONTEXT: &str = "aorta 2026-11-25 wasi random v1";

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

    /// The next reading, without taking it.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Waits.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.now_ms = self.now_ms.saturating_add(ms).min(NOW_MS_MAX);
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
    /// What random bytes are drawn from: all messages and draws so far. Of the state in standalone formats alone.
    #[serde(skip)]
    entropy: [u8; 32],
    /// What the present step may use, if that is less than the limit.
    #[serde(skip)]
    allowance: Option<u64>,
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
            entropy: [0; 32],
            allowance: None,
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

    /// What a step may use, by any count.
    pub(crate) fn compute_max(&self) -> u64 {
        (self.gas_limit() as u64).min(self.allowance.unwrap_or(u64::MAX))
    }

    /// Lets steps use no more than this, or again as much as the limit.
    pub(crate) fn allow(&mut self, gas_max: Option<u64>) {
        self.allowance = gas_max;
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
        if used > self.compute_max() as f64 { Err(Interrupt::OutOfGas) } else { Ok(()) }
    }

    /// The same with an integer of 64 bits, which the glue of wasm64 alone makes a number.
    ///
    /// # Errors
    /// As `use_gas`; in all other formats what JavaScript throws when it adds a `BigInt` to a number.
    pub fn use_wide_gas(&mut self, amount: i64) -> Result<(), Interrupt> {
        if self.format.glue() != Glue::W64 {
            return Err(Interrupt::Abort("Cannot mix BigInt and other types, use explicit conversions".to_owned()));
        }
        self.use_gas(amount as f64)
    }

    /// Stirs a message into what random bytes come from.
    pub(crate) fn stir(&mut self, message_json: &str) {
        let mut hasher = blake3::Hasher::new_derive_key(RANDOM_CONTEXT);
        hasher.update(&self.entropy).update(message_json.as_bytes());
        self.entropy = *hasher.finalize().as_bytes();
    }

    /// Random bytes, different at each call.
    pub(crate) fn draw(&mut self) -> blake3::OutputReader {
        let mut bytes = blake3::Hasher::new_keyed(&self.entropy).finalize_xof();
        bytes.fill(&mut self.entropy);
        bytes
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
        let entropy: &[u8] = if self.format.is_standalone() { &self.entropy } else { &[] };
        [&[LAYOUT], body.as_slice(), entropy].concat()
    }

    /// Reads what `encode` wrote.
    ///
    /// # Errors
    /// If the bytes are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let Some((&LAYOUT, body)) = bytes.split_first() else {
            return Err(StateError::Layout(bytes.first().copied()));
        };
        let (mut state, rest) =
            postcard::take_from_bytes::<Self>(body).map_err(|_| StateError::Malformed(bytes.len()))?;
        if let Ok(entropy) = rest.try_into() {
            state.entropy = entropy;
        }
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

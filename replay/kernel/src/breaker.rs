//! Breaking a step off from another thread: the host's safety against a step that takes too long for it.
//!
//! A guest ends where it finds its gas below zero; whoever breaks it off writes such a count over its own. A guest that is
//! between reading and writing its count undoes that, so it is written many times. Nothing is done for this on the way of a
//! step but that each turn of a loop reads the count from memory.
//!
//! Not here: any clock, and who decides that it was too long (`ao-replay`).
//! Invariant: what was broken off is an error, never an outcome, however it ended; and its instance runs nothing any more.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// The host broke an evaluation off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host broke the evaluation off after {after:?}; nothing is known of its outcome")]
pub struct BrokenOff {
    /// For how long it had been seen to run.
    pub after: Duration,
}

/// What runs on the instances of modules that are [watched](crate::Module::watched).
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Mutex<Vec<Weak<Breaker>>>>);

/// One evaluation: of a message, or of what a module does before its first.
#[derive(Clone)]
pub struct Evaluation {
    breaker: Arc<Breaker>,
    number: u64,
}

impl Watch {
    pub(crate) fn add(&self, breaker: &Arc<Breaker>) {
        lock(&self.0).push(Arc::downgrade(breaker));
    }

    /// What is being evaluated now, on any thread.
    pub fn running(&self) -> Vec<Evaluation> {
        let mut breakers = lock(&self.0);
        breakers.retain(|breaker| breaker.strong_count() > 0);
        breakers.iter().filter_map(|breaker| Breaker::running(&breaker.upgrade()?)).collect()
    }
}

impl Evaluation {
    /// Ends it as [`BrokenOff`], soon, if it still goes on; whether it does.
    ///
    /// The compiler's code ends at the next turn of a loop or call of a function; the interpreter's at the next host call, or
    /// some hundredths of a second later. One that begins just now may miss it: whoever must be sure looks again, and breaks it off
    /// again, as a watchdog does.
    pub fn break_off(&self, after: Duration) -> bool {
        self.breaker.break_off(self.number, after)
    }
}

impl PartialEq for Evaluation {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.breaker, &other.breaker) && self.number == other.number
    }
}

/// What is written over a count: below zero, whatever the guest subtracts before it looks.
const SPENT: i64 = i64::MIN / 2;
/// How often it is written, over some microseconds. A watchdog that finds the evaluation still running does so again.
const WRITES: u32 = 64;

/// The gas counter of an instance of compiled code, wherever that keeps it.
#[derive(Clone, Copy)]
pub(crate) struct GasCell(NonNull<i64>);

// SAFETY: only accessed atomically, see `GasCell::count`.
unsafe impl Send for GasCell {}

impl GasCell {
    /// # Safety
    /// The place is valid and aligned for as long as this or a copy of it is used, and Rust accesses it in no other way
    /// once an evaluation begins.
    pub(crate) unsafe fn at(place: NonNull<i64>) -> Self {
        Self(place)
    }

    /// The count. Compiled code reads and writes it with single aligned moves beside this.
    pub(crate) fn count(&self) -> &AtomicI64 {
        // SAFETY: valid and aligned by the promise of whoever made this; all of Rust's accesses are atomic.
        unsafe { AtomicI64::from_ptr(self.0.as_ptr()) }
    }
}

/// By what one instance is broken off.
#[derive(Default)]
pub(crate) struct Breaker {
    state: Mutex<State>,
    broken: OnceLock<BrokenOff>,
}

#[derive(Default)]
struct State {
    /// Evaluations begun.
    begun: u64,
    running: bool,
    gas: Option<GasCell>,
}

impl Breaker {
    /// For an instance that counts its gas there; `retire` is to be called before the place becomes invalid.
    pub(crate) fn at(gas: GasCell) -> Self {
        let state = State { gas: Some(gas), ..State::default() };
        Self { state: Mutex::new(state), broken: OnceLock::new() }
    }

    /// The instance is about to be dropped.
    pub(crate) fn retire(&self) {
        let mut state = lock(&self.state);
        (state.running, state.gas) = (false, None);
    }

    /// An evaluation begins.
    ///
    /// # Errors
    /// One was broken off on this instance before.
    pub(crate) fn begin(&self) -> Result<(), BrokenOff> {
        self.check()?;
        let mut state = lock(&self.state);
        (state.begun, state.running) = (state.begun + 1, true);
        Ok(())
    }

    /// It ended.
    ///
    /// # Errors
    /// It was broken off.
    pub(crate) fn end(&self) -> Result<(), BrokenOff> {
        lock(&self.state).running = false;
        self.check()
    }

    /// # Errors
    /// An evaluation was broken off on this instance.
    pub(crate) fn check(&self) -> Result<(), BrokenOff> {
        self.broken.get().map_or(Ok(()), |broken| Err(*broken))
    }

    fn running(self: &Arc<Self>) -> Option<Evaluation> {
        let state = lock(&self.state);
        state.running.then(|| Evaluation { breaker: Arc::clone(self), number: state.begun })
    }

    fn break_off(&self, number: u64, after: Duration) -> bool {
        let state = lock(&self.state);
        let goes_on = state.running && state.begun == number;
        if goes_on {
            let _ = self.broken.set(BrokenOff { after });
            // Neither `end` nor `retire` gets past this lock meanwhile.
            for _ in 0..WRITES {
                let Some(gas) = &state.gas else { break };
                gas.count().store(SPENT, Ordering::Relaxed);
                std::hint::spin_loop();
            }
        }
        goes_on
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

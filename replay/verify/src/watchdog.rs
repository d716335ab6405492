//! The host's safety: evaluations that take too long by the clock are broken off.
//!
//! It decides no result: what it ends is an error of the host's, and evaluated again elsewhere, or later, gives the receipt
//! that it always gave. Gas ends a step everywhere alike; this is for a host that is slower than gas was fitted for.
//!
//! Not here: how a guest is made to end (`ao-kernel`).
//! Invariant: the clock is read on the watchdog's own thread and reaches nothing but the decision to break off.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use ao_kernel::{Evaluation, Watch};

/// Looks per limit: an evaluation is broken off at most this part of the limit too late.
const LOOKS: u32 = 8;

/// Breaks off what runs for longer than a limit, for as long as it lives.
pub struct Watchdog {
    watch: Watch,
    limit: Duration,
    /// Dropped to end the thread.
    _alive: Sender<()>,
}

impl Watchdog {
    /// Watches the instances of modules that are [`watched`](ao_kernel::Module::watched) by [`watch`](Self::watch).
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(limit: Duration) -> std::io::Result<Self> {
        let watch = Watch::default();
        let (alive, ended) = channel::<()>();
        let watched = watch.clone();
        let every = (limit / LOOKS).clamp(Duration::from_millis(1), Duration::from_secs(1));
        std::thread::Builder::new().name("watchdog".into()).spawn(move || {
            let mut seen = Vec::new();
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                seen = look(&watched, &seen, limit);
            }
        })?;
        Ok(Self { watch, limit, _alive: alive })
    }

    /// For modules that are to be watched.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// How long an evaluation may take.
    pub fn limit(&self) -> Duration {
        self.limit
    }
}

/// What runs now and since when, of which `seen` knows the times; what is over the limit is broken off.
#[allow(clippy::disallowed_methods, reason = "what is too long for the host is told by a clock, and is no result")]
fn look(watch: &Watch, seen: &[(Evaluation, Instant)], limit: Duration) -> Vec<(Evaluation, Instant)> {
    let now = Instant::now();
    let dated = |it: Evaluation| {
        let since = seen.iter().find(|(known, _)| *known == it).map_or(now, |(_, since)| *since);
        (it, since)
    };
    let running: Vec<_> = watch.running().into_iter().map(dated).collect();
    for (evaluation, since) in &running {
        let after = now.saturating_duration_since(*since);
        if after >= limit {
            evaluation.break_off(after);
        }
    }
    running
}

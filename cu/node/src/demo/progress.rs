//! Progress on standard error: a bar on a terminal, plain lines now and then in a pipe.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between plain lines.
const LINE_EVERY: Duration = Duration::from_secs(2);
const TEMPLATE: &str = "{prefix:>10} [{bar:32}] {pos}/{len} {msg}, {per_sec}, {elapsed}";

/// How far one phase has come; any thread may tell.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    label: &'static str,
    unit: &'static str,
    total: u64,
    done: AtomicU64,
    begun: Instant,
    line: Mutex<Instant>,
}

impl Progress {
    /// A phase of about `total` things that are called `unit`.
    pub(crate) fn new(label: &'static str, unit: &'static str, total: u64) -> Result<Self> {
        let style = ProgressStyle::with_template(TEMPLATE)?;
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
            bar.set_style(style);
            bar.set_prefix(label);
            bar.set_message(unit);
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let begun = Instant::now();
        Ok(Self { bar, label, unit, total, done: AtomicU64::new(0), begun, line: Mutex::new(begun) })
    }

    /// One more is done.
    pub(crate) fn step(&self) {
        self.show(self.done.fetch_add(1, Ordering::Relaxed) + 1);
    }

    /// So many are done, if not more were already.
    pub(crate) fn at(&self, done: u64) {
        self.show(self.done.fetch_max(done, Ordering::Relaxed).max(done));
    }

    fn show(&self, done: u64) {
        if let Some(bar) = &self.bar {
            // What goes beyond the estimate moves it.
            bar.set_length(self.total.max(done));
            bar.set_position(done);
            return;
        }
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if line.elapsed() >= LINE_EVERY {
            *line = Instant::now();
            self.print(done);
        }
    }

    /// How many are done.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends the phase; how long it took.
    pub(crate) fn finish(self) -> Duration {
        match &self.bar {
            Some(bar) => bar.finish(),
            None => self.print(self.done()),
        }
        self.begun.elapsed()
    }

    fn print(&self, done: u64) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let (label, total, unit) = (self.label, self.total.max(done), self.unit);
        let rate = done as f64 / seconds.max(1e-9);
        // Whoever reads no progress misses none.
        let _ = writeln!(std::io::stderr(), "{label:>10} {done}/{total} {unit}, {rate:.0} per second, {seconds:.0} s");
    }
}

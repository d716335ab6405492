//! Progress on standard error: a bar with rate and time left on a terminal, plain lines now and then in a pipe.
//!
//! Not here: anything a verdict depends on; this is the only place that looks at a clock.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Seconds between plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    plain: bool,
    label: String,
    started: Instant,
    last_line: Instant,
    steps: u64,
}

impl Progress {
    /// Progress over `total` steps, if known, else over a share of bytes told to `at`.
    #[allow(clippy::disallowed_methods, reason = "a progress bar shows time; no verdict depends on it")]
    pub(crate) fn new(label: String, total: Option<u64>, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let now = Instant::now();
        let bar = (!quiet && terminal).then(|| {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10));
            let template = match total {
                Some(_) => "{prefix} [{bar:32}] {pos}/{len} steps, {per_sec}, {eta} left",
                None => "{prefix} {spinner} {pos} steps, {per_sec}, {msg} read",
            };
            bar.set_style(ProgressStyle::with_template(template).expect("the template is well formed"));
            bar.set_prefix(label.clone());
            bar
        });
        Self { bar, plain: !quiet && !terminal, label, started: now, last_line: now, steps: 0 }
    }

    /// One more step is done; `position` is how many bytes of how many were read.
    pub(crate) fn step(&mut self, position: Option<(u64, u64)>) {
        self.steps += 1;
        if let Some(bar) = &self.bar {
            bar.inc(1);
            if let Some((read, all)) = position.filter(|_| self.steps.is_multiple_of(64)) {
                bar.set_message(format!("{} %", read * 100 / all.max(1)));
            }
        } else if self.plain && self.last_line.elapsed() >= LINE_EVERY {
            self.line();
        }
    }

    #[allow(clippy::print_stderr, clippy::disallowed_methods, reason = "progress is shown on standard error")]
    fn line(&mut self) {
        self.last_line = Instant::now();
        let rate = self.steps as f64 / self.started.elapsed().as_secs_f64();
        eprintln!("{}: {} steps, {rate:.0} per second", self.label, self.steps);
    }

    /// Removes the bar and says how long it all took.
    pub(crate) fn finish(&self) -> Duration {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.started.elapsed()
    }
}

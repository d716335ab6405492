//! Counters as Prometheus reads them.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use ao_http::{Answer, full, typed};
use hyper::StatusCode;

/// What is delivered, by name.
const DELIVERED: [&str; 4] = ["message", "spawn", "assignment", "upload"];

/// What the unit did since it began.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) accepted: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) dead: AtomicU64,
    crons: AtomicU64,
    delivered: [AtomicU64; DELIVERED.len()],
}

impl Counts {
    pub(crate) fn delivered(&self, what: &str) {
        if let Some(place) = DELIVERED.iter().position(|known| *known == what) {
            self.delivered[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn crons(&self, results: usize) {
        self.crons.fetch_add(results as u64, Ordering::Relaxed);
    }

    /// The page, with what lies in the queue and among the dead letters.
    pub(crate) fn render(&self, queued: u64, dead: u64, hops_max: u32) -> Answer {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut page = String::new();
        for (name, kind, help, value) in [
            ("aorta_mu_accepted_total", "counter", "Items taken from clients.", count(&self.accepted)),
            ("aorta_mu_retries_total", "counter", "Attempts that failed and are repeated.", count(&self.retries)),
            ("aorta_mu_given_up_total", "counter", "Tasks that became dead letters.", count(&self.dead)),
            ("aorta_mu_cron_results_total", "counter", "Results of crons read.", count(&self.crons)),
            ("aorta_mu_queued", "gauge", "Tasks in the queue.", queued),
            ("aorta_mu_dead_letters", "gauge", "Dead letters that can be replayed.", dead),
            ("aorta_mu_hops_max", "gauge", "Outboxes that one thing may pass.", hops_max.into()),
        ] {
            // Writing to a string cannot fail.
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        let name = "aorta_mu_delivered_total";
        let _ = writeln!(page, "# HELP {name} What processes sent and its receiver has.\n# TYPE {name} counter");
        for (what, counter) in DELIVERED.iter().zip(&self.delivered) {
            let _ = writeln!(page, "{name}{{what=\"{what}\"}} {}", count(counter));
        }
        typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", full(page))
    }
}

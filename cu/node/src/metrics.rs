//! Counters as Prometheus reads them.
//!
//! Not here: what is counted in evaluation (`ao_exec::Counts`).

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ao_exec::Counts;
use ao_http::{Answer, full, typed};
use hyper::StatusCode;

use crate::routes::Route;
use crate::unit;

const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Requests answered, by route and class of status.
#[derive(Default)]
pub(crate) struct Metrics {
    answered: [[AtomicU64; CLASSES.len()]; Route::ALL.len()],
    elsewhere: AtomicU64,
    /// Microseconds from a request to the head of its answer, by route.
    took_us: [AtomicU64; Route::ALL.len()],
}

impl Metrics {
    /// Counts an answer; `None` if there is no such route.
    pub(crate) fn answered(&self, route: Option<Route>, status: StatusCode) {
        let place = Route::ALL.iter().position(|(known, _)| Some(*known) == route);
        let class = (usize::from(status.as_u16()) / 100).clamp(2, 5) - 2;
        let counter = place.map_or(&self.elsewhere, |place| &self.answered[place][class]);
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the time until an answer began.
    pub(crate) fn took(&self, route: Route, time: Duration) {
        if let Some(place) = Route::ALL.iter().position(|(known, _)| *known == route) {
            self.took_us[place].fetch_add(time.as_micros() as u64, Ordering::Relaxed);
        }
    }

    /// The page.
    pub(crate) fn render(&self, counts: &Counts, fetched: &unit::Counts) -> Answer {
        let mut page = String::new();
        for (name, kind, help, value) in [
            ("aorta_messages_evaluated_total", "counter", "Messages evaluated and stored.", &counts.steps),
            ("aorta_dry_runs_total", "counter", "Dry-runs answered.", &counts.dry_runs),
            ("aorta_entries_fetched_total", "counter", "Log entries verified and stored.", &fetched.entries),
            ("aorta_follow_failures_total", "counter", "Times a log could not be followed on.", &fetched.failures),
            ("aorta_states_saved_total", "counter", "States of processes saved.", &counts.saved),
            ("aorta_processes_opened_total", "counter", "Processes brought into memory.", &counts.opened),
            ("aorta_processes_evicted_total", "counter", "Processes that gave up their memory.", &counts.evicted),
            ("aorta_broken_off_total", "counter", "Evaluations too long for this host.", &counts.broken_off),
            ("aorta_resident_bytes", "gauge", "Memory that guests wrote, with its images.", &counts.resident_bytes),
            ("aorta_http_unknown_routes_total", "counter", "Requests for no route.", &self.elsewhere),
        ] {
            let value = value.load(Ordering::Relaxed);
            // Writing to a string cannot fail.
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        let name = "aorta_http_requests_total";
        let _ = writeln!(page, "# HELP {name} Requests answered.\n# TYPE {name} counter");
        for ((_, route), classes) in Route::ALL.iter().zip(&self.answered) {
            for (class, count) in CLASSES.iter().zip(classes) {
                let count = count.load(Ordering::Relaxed);
                let _ = writeln!(page, "{name}{{route=\"{route}\",status=\"{class}\"}} {count}");
            }
        }
        let name = "aorta_http_seconds_total";
        let _ = writeln!(page, "# HELP {name} Time until answers began.\n# TYPE {name} counter");
        for ((_, route), took) in Route::ALL.iter().zip(&self.took_us) {
            let seconds = Duration::from_micros(took.load(Ordering::Relaxed)).as_secs_f64();
            let _ = writeln!(page, "{name}{{route=\"{route}\"}} {seconds}");
        }
        typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", full(page))
    }
}

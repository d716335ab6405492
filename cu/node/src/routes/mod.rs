//! Which request is answered by what.
//!
//! Not here: connections (`server`), what a process does (`unit`).
//! Invariant: a path has one name for metrics, and what is not named is not served.
//!
//! # Source
//! permaweb/ao `ff178d51`, `servers/cu/src/routes`: the legacy routes, their parameters and answers.

mod dry_run;
mod events;
mod head;
pub(crate) mod params;
mod result;
mod results;
mod state;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ao_http::{Answer, Query, Request, not_allowed, ok, preflight};
use ao_wire::ProcessId;
use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::sync::watch;

use crate::answer::Refusal;
use crate::bundle;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::rate::RateLimit;
use crate::unit::{Unit, UnitError};

/// What every request may need.
pub(crate) struct Context {
    pub(crate) unit: Arc<Unit>,
    pub(crate) config: Config,
    pub(crate) dry_run_rate: RateLimit,
    pub(crate) metrics: Metrics,
    /// Changes when the unit begins to stop.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Context {
    /// Refuses a process that is not to be served.
    pub(crate) fn admit(&self, process: ProcessId) -> Result<(), Refusal> {
        self.config.admit(process)?;
        Ok(self.unit.admit_owner_of(process)?)
    }
}

/// A request, taken apart.
pub(crate) struct Asked {
    pub(crate) query: Query,
    pub(crate) request: Request,
    pub(crate) caller: IpAddr,
}

/// The routes, by the name that metrics know them by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Root,
    Result,
    Results,
    Cron,
    State,
    DryRun,
    Metrics,
    Receipt,
    Head,
    Bundle,
    Events,
    Health,
    Ready,
}

impl Route {
    /// Every route, and what it is called.
    pub(crate) const ALL: [(Self, &'static str); 13] = [
        (Self::Root, "root"),
        (Self::Result, "result"),
        (Self::Results, "results"),
        (Self::Cron, "cron"),
        (Self::State, "state"),
        (Self::DryRun, "dry-run"),
        (Self::Metrics, "metrics"),
        (Self::Receipt, "receipt"),
        (Self::Head, "head"),
        (Self::Bundle, "bundle"),
        (Self::Events, "events"),
        (Self::Health, "health"),
        (Self::Ready, "ready"),
    ];

    /// The route of a path, and the parts of the path behind its name. As with the reference, case and slashes count.
    fn of(path: &str) -> Option<(Self, Vec<&str>)> {
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let named = |name: &str| Self::ALL.into_iter().find(|(_, known)| *known == name).map(|(route, _)| route);
        let (name, rest) = parts.split_first()?;
        let route = if name.is_empty() { Self::Root } else { named(name).filter(|route| *route != Self::Root)? };
        (rest.len() == route.parts()).then(|| (route, rest.to_vec()))
    }

    /// Parts of the path behind the name.
    fn parts(self) -> usize {
        match self {
            Self::Receipt => 2,
            Self::Result | Self::Results | Self::Cron | Self::State | Self::Head | Self::Bundle => 1,
            _ => 0,
        }
    }

    fn methods(self) -> &'static str {
        match self {
            Self::DryRun => "POST",
            // HyperBEAM posts the assignment it wants evaluated.
            Self::Result => "GET, POST",
            _ => "GET",
        }
    }
}

/// Answers a request, whatever it is.
pub(crate) async fn answer(context: Arc<Context>, request: Request, caller: IpAddr) -> Answer {
    let path = request.uri().path().to_owned();
    let Some((route, parts)) = Route::of(&path) else {
        context.metrics.answered(None, StatusCode::NOT_FOUND);
        return Refusal::NoRoute.into();
    };
    let (methods, begun) = (route.methods(), Instant::now());
    let answer = match request.method() {
        &Method::OPTIONS => preflight(&request, methods),
        method if !methods.split(", ").any(|known| known == method.as_str()) => {
            not_allowed(Refusal::Method.into(), methods)
        }
        _ => {
            let query = Query::of(request.uri().query().unwrap_or_default());
            let asked = Asked { query, request, caller };
            serve(&context, route, &parts, asked).await.unwrap_or_else(Answer::from)
        }
    };
    context.metrics.answered(Some(route), answer.status());
    context.metrics.took(route, begun.elapsed());
    answer
}

async fn serve(context: &Arc<Context>, route: Route, parts: &[&str], asked: Asked) -> Result<Answer, Refusal> {
    match route {
        Route::Root => Ok(root(context)),
        Route::Result if asked.request.method() == Method::POST => result::of_slot(context, parts[0], asked).await,
        Route::Result => result::of_message(context, parts[0], &asked.query).await,
        Route::Results => results::all(context, parts[0], &asked.query).await,
        Route::Cron => results::cron(context, parts[0], &asked.query).await,
        Route::State => state::memory(context, parts[0], &asked.query).await,
        Route::DryRun => dry_run::dry_run(context, asked).await,
        Route::Metrics => Ok(context.metrics.render(context.unit.executor.counts(), &context.unit.counts)),
        Route::Receipt => head::receipt(context, parts[0], parts[1], &asked.query),
        Route::Head => head::head(context, parts[0]),
        Route::Bundle => bundle::stream(context, parts[0], &asked.query).await,
        Route::Events => events::stream(context, &asked.query),
        Route::Health => Ok(ok(json!({ "status": "ok" }).to_string())),
        Route::Ready => ready(context),
    }
}

fn root(context: &Context) -> Answer {
    let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    ok(json!({ "address": context.config.address, "timestamp": timestamp }).to_string())
}

/// Whether it can do its work: the store answers, and it is not stopping.
fn ready(context: &Context) -> Result<Answer, Refusal> {
    if *context.stopping.borrow() {
        return Err(UnitError::Stopping.into());
    }
    let processes = context.unit.store.processes().map_err(UnitError::from)?.len();
    Ok(ok(json!({ "status": "ready", "processes": processes }).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_route_or_none() {
        for (path, route, parts) in [
            ("/", Route::Root, vec![]),
            ("/result/m", Route::Result, vec!["m"]),
            ("/dry-run", Route::DryRun, vec![]),
            ("/receipt/p/7", Route::Receipt, vec!["p", "7"]),
        ] {
            assert_eq!(Route::of(path), Some((route, parts)), "{path}");
        }
        for path in ["", "//", "/result", "/result/", "/result/m/x", "/Result/m", "/root", "/dry-run/", "/nothing"] {
            assert!(Route::of(path).is_none_or(|(_, parts)| parts == [""]), "{path}");
        }
    }
}

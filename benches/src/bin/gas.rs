//! `gas`: what gas is worth. Runs all work that gas is measured on, prints a table, and draws gas over time.
//!
//!     cargo run --release -p ao-benches --bin gas [-- FILE.svg]
//!
//! Not here: what counting gas costs (`benches/gas.rs`).
//! Invariant: gas is the same in every run; time is the least of several, by the clock of the thread.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement fails by panicking, and is for reading")]

use std::fmt::Write as _;
use std::time::Duration;

use ao_benches::aos;
use ao_benches::bare::Bare;
use ao_benches::log::EvalLog;
use ao_benches::ours::thread_time;
use ao_benches::work::{LUA, OPERATORS, PROGRAMS, Plain, TURNS, operator_loop, program};
use ao_kernel::profile::STACK_LIMIT;
use ao_kernel::rewrite::{Charging, Plan, WEIGHTS, instrument, lower};

/// Times each piece of work is run; the least counts.
const RUNS: u64 = 7;
const PLAN: Plan = Plan { stack_limit: Some(STACK_LIMIT), canonical_nan: true, gas: Some(Charging::DEFAULT) };

struct Point {
    name: String,
    gas: u64,
    ns: f64,
    operator: bool,
}

impl Point {
    fn gas_per_ns(&self) -> f64 {
        self.gas as f64 / self.ns
    }
}

fn main() {
    let mut points: Vec<Point> = OPERATORS.iter().map(|(name, body)| operator(name, body)).collect();
    points.extend(PROGRAMS.iter().map(|(name, rounds)| plain(name, &program(name), *rounds, false)));
    points.extend(LUA.iter().map(|(name, program)| lua(name, program)));
    println!("table {WEIGHTS}");
    for point in &points {
        let per_ns = point.gas_per_ns();
        println!("{:<26} {:>14} gas {:>12.1} ns {per_ns:>8.0} gas/ns", point.name, point.gas, point.ns);
    }
    if let Some(path) = std::env::args().nth(1) {
        std::fs::write(path, draw(&points)).unwrap();
    }
}

fn operator(name: &str, body: &str) -> Point {
    // A dear operator needs no more turns than give a millisecond or so.
    plain(name, &operator_loop(body), if name.contains("KiB") { TURNS / 200 } else { TURNS }, true)
}

fn plain(name: &str, wasm: &[u8], rounds: u32, operator: bool) -> Point {
    let mut guest = Plain::new(wasm, &PLAN);
    let (_, gas) = guest.run(rounds);
    let times = (0..RUNS).map(|_| thread_time(|| _ = guest.run(rounds)));
    point(name, gas, times.min(), operator)
}

fn lua(name: &str, program: &str) -> Point {
    let mut bare = Bare::new(&lower(&instrument(&aos(), &PLAN).unwrap()).unwrap());
    let mut log = EvalLog::of(program);
    // The spawn, and a few for Lua's heap to settle.
    for texts in log.take_texts(20) {
        bare.step(&texts.message, &texts.env);
    }
    let mut gas = Vec::new();
    let times = log
        .take_texts(RUNS)
        .into_iter()
        .map(|texts| thread_time(|| gas.push(bare.step_gas(&texts.message, &texts.env))));
    let least = times.min();
    gas.sort_unstable();
    point(name, gas[gas.len() / 2], least, false)
}

fn point(name: &str, gas: u64, least: Option<Duration>, operator: bool) -> Point {
    Point { name: name.into(), gas, ns: least.unwrap().as_nanos() as f64, operator }
}

/// Gas over time, both logarithmic, between the lines of half and twice the median.
fn draw(points: &[Point]) -> String {
    const SIDE: f64 = 640.0;
    let mut rates: Vec<f64> = points.iter().filter(|point| !point.operator).map(Point::gas_per_ns).collect();
    rates.sort_by(f64::total_cmp);
    let rate = rates[rates.len() / 2];
    // From 10 microseconds to 100 milliseconds.
    let x = |ns: f64| (ns.log10() - 4.0) / 4.0 * SIDE;
    let y = |gas: f64| SIDE - x(gas / rate);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-60 -20 920 720\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect x=\"-60\" y=\"-20\" width=\"920\" height=\"720\" fill=\"white\"/>\n\
         <rect width=\"{SIDE}\" height=\"{SIDE}\" fill=\"none\" stroke=\"#888\"/>\n"
    );
    for (factor, dash) in [(0.5, "4"), (1.0, "0"), (2.0, "4")] {
        let (from, to) = (y(1e4 * rate * factor), y(1e8 * rate * factor));
        let _ = writeln!(
            svg,
            "<line x1=\"0\" y1=\"{from:.1}\" x2=\"{SIDE}\" y2=\"{to:.1}\" stroke=\"#888\" stroke-dasharray=\"{dash}\"/>"
        );
    }
    for (ns, label) in [(1e4, "10 µs"), (1e5, "100 µs"), (1e6, "1 ms"), (1e7, "10 ms"), (1e8, "100 ms")] {
        let at = x(ns);
        let _ = writeln!(svg, "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>", SIDE + 20.0);
        let gas = format!("{:.0e}", ns * rate);
        let _ = writeln!(svg, "<text x=\"-8\" y=\"{:.1}\" text-anchor=\"end\">{gas}</text>", y(ns * rate));
    }
    for (number, point) in (1..).zip(points) {
        let (cx, cy) = (x(point.ns), y(point.gas as f64));
        let colour = if point.operator { "#58a" } else { "#c33" };
        let _ = writeln!(
            svg,
            "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3\" fill=\"{colour}\"><title>{}</title></circle>",
            point.name
        );
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"8\">{number}</text>", cx + 4.0, cy - 3.0);
        let (column, row) = ((number - 1) / 44, (number - 1) % 44);
        let (left, top) = (SIDE + 12.0 + f64::from(column) * 130.0, 8.0 + f64::from(row) * 14.6);
        let _ = writeln!(
            svg,
            "<text x=\"{left}\" y=\"{top:.1}\" font-size=\"9\" fill=\"{colour}\">{number} {}</text>",
            point.name
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">CPU time; the lines are half, once and twice {rate:.0} gas per ns; table {WEIGHTS}</text>\n</svg>",
        SIDE / 2.0,
        SIDE + 42.0
    );
    svg
}

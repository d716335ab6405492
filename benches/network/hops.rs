//! From a client to a result, and from a process to others.

use std::time::Instant;

use ao_wire::ProcessId;

use crate::units::{Up, text};
use crate::{id, message, ms, process};

/// Processes that are sent to: a messenger hands on to each in order, to several at once.
const RECEIVERS: u64 = 8;

/// Prints both figures.
pub(crate) fn measure(up: &Up, count: u64) {
    let sender = spawn(up, 0);
    // The first compiles the module.
    hop(up, sender, "return 'ready'");
    let mut times: Vec<f64> = (0..count.clamp(10, 1000)).map(|n| hop(up, sender, &format!("return {n}"))).collect();
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    let (half, most) = (at(50), at(99));
    println!("| client → messenger → scheduler → compute unit → result | p50 {half:.1} ms, p99 {most:.1} ms |");
    pushes(up, sender, count.clamp(16, 2000));
}

fn spawn(up: &Up, number: u64) -> ProcessId {
    let authority = text(&up.client("mu").get("/info"), "address");
    let item = process(up.told("scheduler"), up.told("module"), number, &[("Authority", &authority)]);
    up.client("mu").post("/", &item);
    id(&item).into()
}

/// Posts an Eval and reads its result; how long both took, in milliseconds.
fn hop(up: &Up, process: ProcessId, code: &str) -> f64 {
    let item = message(process, &[("Action", "Eval")], code);
    let path = format!("/result/{}?process-id={process}", id(&item));
    let (mut mu, mut cu) = (up.client("mu"), up.client("cu"));
    let begun = Instant::now();
    mu.post("/", &item);
    let result = cu.get(&path);
    let took = ms(begun.elapsed());
    assert!(!result.contains("\"Error\""), "{result}");
    took
}

/// One outbox of so many messages, until each has its place in the log of its receiver.
fn pushes(up: &Up, sender: ProcessId, count: u64) {
    let receivers: Vec<String> = (1..=RECEIVERS).map(|number| format!("'{}'", spawn(up, number))).collect();
    let delivered = || {
        let metrics = up.client("mu").get("/metrics");
        let lines = metrics.lines().find_map(|line| line.strip_prefix("aorta_mu_delivered_total{what=\"message\"} "));
        lines.and_then(|count| count.parse::<u64>().ok()).expect("a count")
    };
    let (before, receivers) = (delivered(), receivers.join(", "));
    let code = format!(
        "local to = {{ {receivers} }} for n = 1, {count} do ao.send({{ Target = to[n % #to + 1], Action = 'Nop' }}) end return {count}"
    );
    let begun = Instant::now();
    hop(up, sender, &code);
    while delivered() < before + count {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    println!("| pushes of a messenger, signed with RSA-4096, to {RECEIVERS} processes | {rate:.0} per second |");
}

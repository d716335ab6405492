//! Hostile guests give the host its memory back, and harm no process beside them.
//!
//! In a file of its own: the memory of the whole test process is measured.

use ao_kernel::{Machine, Module, ModuleFormat, ProcessLimits, Tracker};
use ao_tests::{Guest, root};

/// Little gas, so that guests without end take milliseconds.
const LIMITS: ProcessLimits = ProcessLimits { memory_bytes_max: 64 << 20, compute_max: 300_000_000 };
const STEPS: u64 = 1_000;

fn rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// Names of all guests for 64 bits.
fn names() -> Vec<String> {
    let folder = std::fs::read_dir(root().join("fixtures/guests/built")).expect("the guests");
    let files = folder.map(|file| file.expect("a file").file_name().into_string().expect("its name is text"));
    let mut names: Vec<String> = files.filter_map(|file| Some(file.strip_suffix("-wasm64.wasm")?.to_owned())).collect();
    // The one for WASI runs under a format of its own.
    names.retain(|name| name != "standalone");
    names.sort();
    names
}

fn message(data: &str) -> String {
    format!(r#"{{"Data":"{data}"}}"#)
}

/// Gives each guest its share of the steps, each time what it fails at, and the neighbour a message after each.
fn round(modules: &[(String, Module)], neighbour: &mut Machine, count: &mut u64) {
    for (name, module) in modules {
        let mut machine = Machine::start(module, "{}".into(), &LIMITS, Tracker::Best).expect("it starts");
        for _ in 0..=STEPS / modules.len() as u64 {
            machine.step(&message("now!")).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        *count += 1;
        let beside = neighbour.step(&message("plain")).expect("a step needs nothing of the host");
        let text = String::from_utf8(beside.evaluated.result_json).expect("a result is text");
        assert!(text.contains(&format!(r#""Output":"{count}""#)), "beside {name}: {text}");
    }
}

#[test]
fn a_thousand_hostile_steps_leave_the_memory_of_the_host_as_it_was() {
    let load = |name: &String| {
        let wasm = Guest::load(name, 64).wasm;
        (
            name.clone(),
            Module::load(&wasm, ModuleFormat::Wasm64, None).unwrap_or_else(|error| panic!("{name}: {error}")),
        )
    };
    let modules: Vec<_> = names().iter().map(load).collect();
    assert!(modules.len() > 30, "only {} guests", modules.len());
    let counter = Module::load(&Guest::load("counter", 64).wasm, ModuleFormat::Wasm64, None).expect("admitted");
    let mut neighbour = Machine::start(&counter, "{}".into(), &LIMITS, Tracker::Best).expect("it starts");
    let mut count = 0;
    round(&modules, &mut neighbour, &mut count);
    let before = rss_bytes();
    round(&modules, &mut neighbour, &mut count);
    let after = rss_bytes();
    println!("{before} bytes before, {after} after");
    assert!(after <= before + before / 20, "{before} bytes before, {after} after");
}

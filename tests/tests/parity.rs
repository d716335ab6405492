//! Real modules answer as under the reference loader, and leave the same memory, message by message.
//!
//! Each test makes the module's corpus (`fixtures/corpora`) and lets npm `@permaweb/ao-loader` and the kernel evaluate it side by
//! side. Results and memories are compared byte by byte.

use ao_kernel::{Machine, Module, ModuleFormat, ProcessLimits, Tracker};
use ao_tests::{Reference, Step, corpus, module_path};

const WASM64: &str = "wasm64-unknown-emscripten-draft_2024_02_15";
const WASM64_METERING: &str = "wasm64-unknown-emscripten-draft_2024_10_16-metering";
const WASM32: &str = "wasm32-unknown-emscripten4";
const WASM32_METERING: &str = "wasm32-unknown-emscripten-metering";

/// As in the corpora's environment; the reference loader knows no memory limit but the module's own.
const LIMITS: ProcessLimits = ProcessLimits { memory_bytes_max: (1 << 32) - 65536, compute_max: 9_000_000_000_000 };

/// Evaluates `steps` here and in the reference; both run at once, the slower one sets the pace.
fn assert_parity(module: &str, format: &str, steps: &[Step]) -> Vec<u64> {
    let path = module_path(module);
    let mut reference = Reference::mirrored(&path, format, steps);
    let wasm = std::fs::read(&path).expect("the module can be read");
    let format: ModuleFormat = format.parse().expect("a known format");
    let loaded = Module::load(&wasm, format, None).expect("a real module is admitted");
    let mut machine = Machine::start(&loaded, steps[0].env.clone(), &LIMITS, Tracker::Best).expect("it starts");
    let mut gas = Vec::new();
    let mut differing = Vec::new();
    for (position, step) in steps.iter().enumerate() {
        let found = machine.step(&step.msg).expect("a step needs nothing of the host");
        let expected = reference.next().unwrap_or_else(|| panic!("{module}: the reference ended before {}", step.name));
        let result = String::from_utf8(found.evaluated.result_json).expect("a result is text");
        if result != expected.result.get() {
            differing.push(format!("{position} {}: {result}\n  reference: {}", step.name, expected.result));
        } else if let Some(place) = first_difference(machine.memory(), reference.memory()) {
            differing.push(format!("{position} {}: memory differs {place}", step.name));
        }
        gas.extend(expected.gas.filter(|_| found.gas_used > 0));
    }
    assert!(reference.next().is_none(), "{module}: the reference has more answers than there were steps");
    assert!(differing.is_empty(), "{module}: {} of {} differ\n{}", differing.len(), steps.len(), differing.join("\n"));
    gas
}

/// Where two memories part, if they do.
fn first_difference(ours: &[u8], theirs: &[u8]) -> Option<String> {
    // The comparison of slices is the fast one.
    match (ours.len() == theirs.len(), ours == theirs) {
        (_, true) => None,
        (false, _) => Some(format!("in size: {} bytes, there {}", ours.len(), theirs.len())),
        (true, false) => {
            ours.iter().zip(theirs).position(|(ours, theirs)| ours != theirs).map(|at| format!("at {at:#x}"))
        }
    }
}

/// What format 4 gives the operator's shell to run, and we do not: the reference's answer depends on its host. See `DETERMINISM.md`.
const SHELL: &str = "eval.os.execute";

/// Each large module runs every second step of the themes that leave no state behind, one or the other half, and none that makes
/// its memory grow for good: each step is run by two modules or more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    All,
    Half(usize),
}

impl Share {
    fn of(self, steps: Vec<Step>) -> Vec<Step> {
        let Self::Half(half) = self else { return steps };
        let position = |name| steps.iter().position(|step| step.name == name).expect("a step of every corpus");
        let stateless = position("eval.float.print")..position("eval.memory.grow.lost!");
        let grows = [position("eval.recursion.infinite.caught"), position("eval.memory.limit.caught")];
        let runs = |at: &usize| !grows.contains(at) && (!stateless.contains(at) || at % 2 == half);
        steps.iter().enumerate().filter(|(at, _)| runs(at)).map(|(_, step)| step.clone()).collect()
    }
}

fn assert_corpus_parity(module: &str, format: &str, share: Share) {
    let mut steps = share.of(corpus(module));
    if format == WASM32 {
        steps.retain(|step| step.name != SHELL);
    }
    assert!(steps.len() >= 200, "{} steps are too few", steps.len());
    assert_parity(module, format, &steps);
}

#[test]
fn aos_of_early_2024_is_byte_for_byte_the_reference() {
    assert_corpus_parity("aos", WASM64, Share::Half(0));
}

#[test]
fn aos_2_0_1_is_byte_for_byte_the_reference() {
    assert_corpus_parity("aos2_0_1", WASM64, Share::Half(1));
}

#[test]
fn aos_2_0_3_is_byte_for_byte_the_reference() {
    assert_corpus_parity("aos2_0_3", WASM64, Share::Half(0));
}

#[test]
fn aos_2_0_4_for_32_bits_is_byte_for_byte_the_reference() {
    assert_corpus_parity("aos2_0_4_32", WASM32, Share::Half(0));
}

#[test]
fn aos_2_0_6_is_byte_for_byte_the_reference() {
    assert_corpus_parity("aos2_0_6", WASM64, Share::Half(1));
}

#[test]
fn sqlite_is_byte_for_byte_the_reference() {
    assert_corpus_parity("sqlite", WASM64, Share::All);
}

/// A few cheap steps of each kind: the reference is slow when it meters.
fn light_steps(module: &str) -> Vec<Step> {
    let kinds = ["spawn", "eval.state.", "eval.send.many", "eval.error.runtime!", "eval.pcall.", "eval.format.integer"];
    let mut steps = corpus(module);
    steps.retain(|step| kinds.iter().any(|kind| step.name.starts_with(kind)));
    steps.truncate(28);
    steps
}

fn assert_gas_parity(module: &str, format: &str) {
    let steps = light_steps(module);
    assert!(steps.len() >= 20, "{} steps are too few", steps.len());
    // `GasUsed` stands in the results, which were compared; here only that there was any.
    let gas = assert_parity(module, format, &steps);
    assert!(gas.len() >= 20 && gas.iter().all(|gas| *gas > 0), "{module}: gas {gas:?}");
}

#[test]
fn gas_of_aos_2_0_6_is_that_of_the_reference() {
    assert_gas_parity("aos2_0_6", WASM64_METERING);
}

#[test]
fn gas_of_aos_2_0_4_for_32_bits_is_that_of_the_reference() {
    assert_gas_parity("aos2_0_4_32", WASM32_METERING);
}

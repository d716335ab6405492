//! Real modules on both engines: the compiler on the lowered module, the interpreter on the one that is not.
//!
//! Compared after every step are result, interrupt and gas; every tenth step the whole state.

use ao_kernel::{Engine, Machine, Module, ModuleFormat, ProcessLimits, Tracker};
use ao_tests::{Step, corpus, module_path};

const WASM64: &str = "wasm64-unknown-emscripten-draft_2024_02_15";
const WASM32: &str = "wasm32-unknown-emscripten4";

const LIMITS: ProcessLimits = ProcessLimits { memory_bytes_max: 1 << 30, compute_max: 9_000_000_000_000 };

/// Messages of each module.
const STEPS: usize = 100;

/// What takes an interpreter long, by parts of the names.
const DEAR: [&str; 12] =
    ["~", "memory", "recursion", "loop", "sort", "gc", "kilobytes", "repeat", "pcall", "table", "long", "million"];

fn cheap_steps(module: &str, count: usize) -> Vec<Step> {
    let mut steps = corpus(module);
    steps.retain(|step| !DEAR.iter().any(|part| step.name.contains(part)));
    assert!(steps.len() >= count, "{} cheap steps are too few", steps.len());
    steps.truncate(count);
    steps
}

fn assert_agreement(module: &str, format: &str, engines: [Engine; 2], count: usize) {
    let wasm = std::fs::read(module_path(module)).expect("the module can be read");
    let format: ModuleFormat = format.parse().expect("a known format");
    let steps = cheap_steps(module, count);
    let [mut one, mut other] = engines.map(|engine| {
        let loaded = Module::load_on(engine, &wasm, format, None).expect("a real module is admitted");
        Machine::start(&loaded, steps[0].env.clone(), &LIMITS, Tracker::Best).expect("it starts")
    });
    for (position, step) in steps.iter().enumerate() {
        let [left, right] = [&mut one, &mut other].map(|machine| {
            let step = machine.step(&step.msg).expect("a step needs nothing of the host");
            let result = String::from_utf8(step.evaluated.result_json).expect("a result is text");
            (result, step.interrupt, step.gas_used)
        });
        assert_eq!(left, right, "{module}: {position} {}", step.name);
        if position % 10 == 0 || position + 1 == steps.len() {
            let [left, right] = [&mut one, &mut other].map(|machine| {
                let registers = machine.commit(|_| {}).expect("a commit needs nothing of the host");
                (registers, blake3::hash(machine.memory()))
            });
            assert_eq!(left, right, "{module}: state after {position} {}", step.name);
        }
    }
}

const COMPILED_AND_INTERPRETED: [Engine; 2] = [Engine::Wasmer, Engine::Wasmi];

#[test]
fn aos_of_early_2024_is_the_same_on_both_engines() {
    assert_agreement("aos", WASM64, COMPILED_AND_INTERPRETED, STEPS);
}

#[test]
fn aos_2_0_1_is_the_same_on_both_engines() {
    assert_agreement("aos2_0_1", WASM64, COMPILED_AND_INTERPRETED, STEPS);
}

#[test]
fn aos_2_0_3_is_the_same_on_both_engines() {
    assert_agreement("aos2_0_3", WASM64, COMPILED_AND_INTERPRETED, STEPS);
}

#[test]
fn aos_2_0_4_for_32_bits_is_the_same_on_both_engines() {
    assert_agreement("aos2_0_4_32", WASM32, COMPILED_AND_INTERPRETED, STEPS);
}

#[test]
fn aos_2_0_6_is_the_same_on_both_engines() {
    assert_agreement("aos2_0_6", WASM64, COMPILED_AND_INTERPRETED, STEPS);
}

#[test]
fn aos_2_0_6_as_published_is_what_the_compiler_makes_of_it() {
    assert_agreement("aos2_0_6", WASM64, [Engine::Wasmer, Engine::Original], 30);
}

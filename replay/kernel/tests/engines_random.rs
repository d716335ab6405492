//! Mutated guests: what both engines let in does the same on both, step by step; what one refuses, the other refuses.
//!
//! Half of the guests run in the metering formats, so that the reference's count is compared too. `ENGINES_MODULES` sets how many mutants,
//! `ENGINES_STEPS` how many messages each is given, `ENGINES_SEED` where to begin; a failure names its seed.

#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test says how much it did, takes its size from outside, and shares a support module"
)]

mod rewrite_support;

use std::path::Path;

use ao_kernel::{Engine, Machine, Module, ModuleFormat, ProcessLimits, Tracker};
use rewrite_support::Rng;
use wasmparser::{Parser, Payload};

const LIMITS: ProcessLimits = ProcessLimits { memory_bytes_max: 8 << 20, compute_max: 20_000_000 };

/// Opcodes that take no immediate, so that one often fits where another stood.
const OPCODES: [u8; 24] = [
    0x00, 0x01, 0x0F, 0x1A, 0x1B, 0x45, 0x46, 0x47, 0x48, 0x50, 0x67, 0x6A, 0x6B, 0x6C, 0x6D, 0x6E, 0x70, 0x71, 0x74,
    0x7C, 0x7F, 0xA3, 0xAA, 0xC0,
];

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn guests() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/guests/built");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| ["32", "64"].iter().any(|width| path.file_stem().unwrap().to_str().unwrap().ends_with(width)));
    paths.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

/// Where a guest's code, data, globals and element segments lie.
fn places(wasm: &[u8]) -> Vec<usize> {
    let ranges = Parser::new(0).parse_all(wasm).filter_map(|payload| match payload.unwrap() {
        Payload::CodeSectionEntry(body) => Some(body.range()),
        Payload::DataSection(section) => Some(section.range()),
        Payload::GlobalSection(section) => Some(section.range()),
        Payload::ElementSection(section) => Some(section.range()),
        _ => None,
    });
    ranges.flat_map(|range| range.start as usize..range.end as usize).collect()
}

/// A mutant that is a valid module, if one of a few is; else one that is not.
fn mutant(wasm: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut mutant = wasm.to_vec();
    for _ in 0..32 {
        mutant.copy_from_slice(wasm);
        mutate(&mut mutant, rng);
        if wasmparser::validate(&mutant).is_ok() {
            break;
        }
    }
    mutant
}

fn mutate(wasm: &mut [u8], rng: &mut Rng) {
    let places = places(wasm);
    for _ in 0..=rng.below(3) {
        let byte = &mut wasm[places[rng.below(places.len() as u64) as usize]];
        *byte = match rng.below(5) {
            0 => byte.wrapping_add(1),
            1 => byte.wrapping_sub(1),
            2 => *byte ^ 1 << rng.below(8),
            3 => OPCODES[rng.below(OPCODES.len() as u64) as usize],
            _ => rng.next() as u8,
        };
    }
}

fn message(rng: &mut Rng) -> String {
    let length = if rng.below(8) == 0 { rng.below(400) } else { rng.below(20) };
    (0..length).map(|_| char::from(b' ' + rng.below(95) as u8)).collect()
}

#[derive(Debug, Default)]
struct Tally {
    modules: u64,
    refused: u64,
    unbootable: u64,
    steps: u64,
    failed: u64,
}

fn state(machine: &mut Machine) -> (ao_kernel::Registers, blake3::Hash) {
    (machine.commit(|_| {}).unwrap(), blake3::hash(machine.memory()))
}

/// Gives a mutant to both engines, and then the same messages.
fn agree(seed: u64, guests: &[(String, Vec<u8>)], steps: u64, tally: &mut Tally) {
    let mut rng = Rng(seed);
    let (name, wasm) = &guests[rng.below(guests.len() as u64) as usize];
    let format = match (name.ends_with("64"), rng.below(2) == 0) {
        (false, false) => ModuleFormat::Emscripten4,
        (false, true) => ModuleFormat::Emscripten4Metering,
        (true, false) => ModuleFormat::Wasm64,
        (true, true) => ModuleFormat::Wasm64Metering,
    };
    let wasm = mutant(wasm, &mut rng);
    let seed = format!("seed {seed}, {name}");
    tally.modules += 1;
    let load = |engine| Module::load_on(engine, &wasm, format, None).map_err(|error| error.to_string());
    let (compiled, interpreted) = match (load(Engine::Wasmer), load(Engine::Wasmi)) {
        (Ok(compiled), Ok(interpreted)) => (compiled, interpreted),
        (compiled, interpreted) => {
            assert_eq!(compiled.err(), interpreted.err(), "{seed}: refusal");
            tally.refused += 1;
            return;
        }
    };
    let start = |module| Machine::start(module, "{}".into(), &LIMITS, Tracker::Best).map_err(|error| error.to_string());
    let (mut compiled, mut interpreted) = match (start(&compiled), start(&interpreted)) {
        (Ok(compiled), Ok(interpreted)) => (compiled, interpreted),
        (compiled, interpreted) => {
            assert_eq!(compiled.err(), interpreted.err(), "{seed}: start");
            tally.unbootable += 1;
            return;
        }
    };
    for step in 0..steps {
        let message = message(&mut rng);
        let [left, right] = [&mut compiled, &mut interpreted].map(|machine| {
            let step = machine.step(&message).unwrap();
            (step.evaluated.result_json, step.interrupt, step.gas_used, step.gas)
        });
        assert_eq!(left, right, "{seed}: step {step}, {message:?}");
        tally.steps += 1;
        tally.failed += u64::from(left.1.is_some());
        if step % 16 == 0 {
            assert_eq!(state(&mut compiled), state(&mut interpreted), "{seed}: state after step {step}, {message:?}");
        }
    }
    assert_eq!(state(&mut compiled), state(&mut interpreted), "{seed}: state at the end");
}

#[test]
fn mutated_guests_do_the_same_on_both_engines() {
    let guests = guests();
    let (modules, steps) = (variable("ENGINES_MODULES", 150), variable("ENGINES_STEPS", 20));
    let begin = variable("ENGINES_SEED", 0);
    let mut tally = Tally::default();
    for seed in begin..begin + modules {
        agree(seed, &guests, steps, &mut tally);
    }
    println!("{tally:?}");
    assert!(tally.steps > modules && tally.failed > 0 && tally.failed < tally.steps, "the steps show something");
}

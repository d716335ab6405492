//! Random modules: instrumented and lowered on wasmer they do what instrumented and unlowered they do on wasmi, use the
//! same gas, and run out of it at the same place.
//!
//! `REWRITE_MODULES` sets how many, `REWRITE_ROUNDS` how often each export is called, `REWRITE_SEED` where to begin; a
//! failure names its seed.

#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::format_push_string,
    clippy::format_collect,
    reason = "a test says how much it did, takes its size from outside, and shares a support module"
)]

mod rewrite_support;

use ao_kernel::rewrite::{Charging, EXPORT_DEPTH, EXPORT_START, Plan, instrument, lower};
use rewrite_support::{Machine, Rng, V, Wasmer, Wasmi};
use wasmparser::{ExternalKind, Payload, ValType};

const STACK_LIMIT: u32 = 20_000;
const PLAN: Plan = Plan { stack_limit: Some(STACK_LIMIT), canonical_nan: true, gas: Some(Charging::DEFAULT) };
const FUEL: u32 = 2_000;

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Module `seed`, or `None` if the generator made one outside of the admitted feature set.
fn module(seed: u64, memory64: bool) -> Option<Vec<u8>> {
    let mut rng = Rng(seed);
    let bytes: Vec<u8> = (0..1024).flat_map(|_| rng.next().to_le_bytes()).collect();
    let config = wasm_smith::Config {
        memory64_enabled: memory64,
        allow_start_export: true,
        export_everything: true,
        exceptions_enabled: false,
        extended_const_enabled: true,
        gc_enabled: false,
        max_funcs: 6,
        max_imports: 0,
        max_instructions: 300,
        max_memory32_bytes: 8 << 16,
        max_memory64_bytes: 8 << 16,
        max_table_elements: 64,
        memory_max_size_required: true,
        memory_offset_choices: wasm_smith::MemoryOffsetChoices(80, 15, 5),
        min_funcs: 1,
        min_memories: 1,
        relaxed_simd_enabled: false,
        shared_everything_threads_enabled: false,
        table_max_size_required: true,
        tail_call_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..wasm_smith::Config::default()
    };
    let mut module = wasm_smith::Module::new(config, &mut arbitrary::Unstructured::new(&bytes)).ok()?;
    module.ensure_termination(FUEL).ok()?;
    let wasm = module.to_bytes();
    wasmparser::Validator::new_with_features(features()).validate_all(&wasm).ok()?;
    Some(wasm)
}

fn features() -> wasmparser::WasmFeatures {
    use wasmparser::WasmFeatures as F;
    F::WASM2 | F::MEMORY64 | F::EXTENDED_CONST
}

/// Exported functions with their parameters, and whether the module has a 64-bit table.
fn functions(wasm: &[u8]) -> (Vec<(String, Vec<ValType>)>, bool) {
    let mut validator = wasmparser::Validator::new();
    let types = validator.validate_all(wasm).expect("valid");
    let types = types.as_ref();
    let (mut found, mut table64) = (Vec::new(), false);
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        match payload.expect("valid") {
            Payload::TableSection(tables) => {
                table64 |= tables.into_iter().any(|table| table.expect("valid").ty.table64);
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export.expect("valid");
                    if export.kind == ExternalKind::Func {
                        let ty = types[types.core_function_at(export.index)].unwrap_func();
                        found.push((export.name.to_owned(), ty.params().to_vec()));
                    }
                }
            }
            _ => {}
        }
    }
    (found, table64)
}

fn argument(rng: &mut Rng, ty: ValType) -> V {
    let bits = match rng.below(4) {
        0 => rng.below(1 << 16),
        1 => (1 << 32) + rng.below(1 << 16),
        2 => 0x7FF0_0000_0000_0001 | rng.next() << 48,
        _ => rng.next(),
    };
    match ty {
        ValType::I32 => V::I32(bits as u32),
        ValType::I64 => V::I64(bits),
        ValType::F32 => V::F32(bits as u32 | if rng.below(2) == 0 { 0x7F80_0000 } else { 0 }),
        ValType::F64 => V::F64(bits),
        ValType::V128 => V::V128(u128::from(bits) << 64 | u128::from(rng.next())),
        ValType::Ref(_) => V::Ref { null: true },
    }
}

#[derive(Default)]
struct Tally {
    modules: u64,
    calls: u64,
    traps: u64,
    /// Calls that ran out of gas.
    dry: u64,
}

fn agree(seed: u64, wasm: &[u8], tally: &mut Tally) {
    let instrumented = instrument(wasm, &PLAN).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let lowered = lower(&instrumented).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let mut valid = wasmparser::Validator::new_with_features(
        wasmparser::WasmFeatures::WASM2 | wasmparser::WasmFeatures::EXTENDED_CONST,
    );
    valid.validate_all(&lowered).unwrap_or_else(|error| panic!("seed {seed}: lowered module is invalid: {error}"));
    tally.modules += 1;

    let (mut fast, mut oracle) = match (Wasmer::start(&lowered), Wasmi::start(&instrumented)) {
        (Ok(fast), Ok(oracle)) => (fast, oracle),
        (fast, oracle) => {
            assert_eq!(fast.err(), oracle.err(), "seed {seed}: instantiation");
            return;
        }
    };
    assert_eq!(fast.state(), oracle.state(), "seed {seed}: state after instantiation");
    let mut rng = Rng(!seed);
    let (exports, _) = functions(&instrumented);
    for round in 0..variable("REWRITE_ROUNDS", 2) {
        for (name, params) in &exports {
            if name == EXPORT_START && round > 0 {
                continue;
            }
            let args: Vec<_> = params.iter().map(|ty| argument(&mut rng, *ty)).collect();
            // Sometimes so little that it runs out.
            let gas = if rng.below(2) == 0 { 1 << 40 } else { rng.below(20_000) as i64 };
            fast.set_global(EXPORT_DEPTH, V::I32(STACK_LIMIT));
            oracle.set_global(EXPORT_DEPTH, V::I32(STACK_LIMIT));
            fast.set_gas_left(gas);
            oracle.set_gas_left(gas);
            let (left, right) = (fast.call(name, &args), oracle.call(name, &args));
            assert_eq!(left, right, "seed {seed}: {name}{args:x?}");
            assert_eq!(fast.global(EXPORT_DEPTH), oracle.global(EXPORT_DEPTH), "seed {seed}: depth after {name}");
            assert_eq!(fast.gas_left(), oracle.gas_left(), "seed {seed}: gas after {name}{args:x?}");
            // Copies the memory: in long runs, not after every call.
            if round < 2 || round % 16 == 0 {
                assert_eq!(fast.state(), oracle.state(), "seed {seed}: state after {name}{args:x?}");
            }
            tally.calls += 1;
            tally.dry += u64::from(fast.gas_left() < 0);
            tally.traps += u64::from(left.is_err());
        }
    }
    assert_eq!(fast.state(), oracle.state(), "seed {seed}: state at the end");
}

fn run(memory64: bool, modules: u64) {
    let begin = variable("REWRITE_SEED", 0);
    let mut tally = Tally::default();
    for seed in begin.. {
        if tally.modules == modules {
            break;
        }
        let Some(wasm) = module(seed, memory64) else { continue };
        if functions(&wasm).1 {
            continue;
        }
        agree(seed, &wasm, &mut tally);
    }
    let Tally { modules, calls, traps, dry } = tally;
    println!("{modules} modules, {calls} calls, {traps} traps, {dry} out of gas");
    assert!(calls > modules && traps < calls && dry > 0, "the calls show something");
}

/// Gas of each export of module `seed`, block by block, by regions, and by regions with slack, where nothing trapped.
fn gas_of_calls(seed: u64, wasm: &[u8]) -> Vec<[i64; 3]> {
    let charging = [Charging::EachBlock, Charging::Regions { slack: 0 }, Charging::DEFAULT];
    let mut machines = charging.map(|gas| {
        let instrumented = instrument(wasm, &Plan { gas: Some(gas), ..PLAN }).expect("instruments");
        Wasmi::start(&instrumented).ok()
    });
    let mut rng = Rng(!seed);
    let mut found = Vec::new();
    for (name, params) in functions(wasm).0 {
        let args: Vec<_> = params.iter().map(|ty| argument(&mut rng, *ty)).collect();
        let mut used = [0; 3];
        for (machine, used) in machines.iter_mut().zip(&mut used) {
            let Some(machine) = machine else { return found };
            machine.set_global(EXPORT_DEPTH, V::I32(STACK_LIMIT));
            machine.set_gas_left(1 << 40);
            if machine.call(&name, &args).is_err() {
                return found;
            }
            *used = (1 << 40) - machine.gas_left();
        }
        found.push(used);
    }
    found
}

#[test]
fn charges_by_regions_add_up_to_those_block_by_block() {
    let (mut calls, mut exact, mut charged) = (0, 0, 0);
    for seed in 0..variable("REWRITE_MODULES", 700) {
        let Some(wasm) = module(seed, seed % 2 == 0).filter(|wasm| !functions(wasm).1) else { continue };
        for [blocks, regions, with_slack] in gas_of_calls(seed, &wasm) {
            assert_eq!(regions, blocks, "seed {seed}");
            assert!(with_slack >= blocks, "seed {seed}: {with_slack} {blocks}");
            calls += 1;
            exact += blocks;
            charged += with_slack;
        }
    }
    println!("{calls} calls: {exact} block by block, {charged} with slack");
    assert!(calls > 100 && exact > 0);
}

#[test]
fn lowered_random_memory64_modules_run_as_the_oracle_does() {
    run(true, variable("REWRITE_MODULES", 700));
}

#[test]
fn random_memory32_modules_run_as_the_oracle_does() {
    run(false, variable("REWRITE_MODULES", 300));
}

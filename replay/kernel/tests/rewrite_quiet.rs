//! Quiet twins: random functions that ask a global which is 0 at every turn do what their twins do.
//!
//! `REWRITE_MODULES` sets how many modules, `REWRITE_SEED` where to begin; a failure names its seed.

#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test says how much it did, takes its size from outside, and shares a support module"
)]

mod rewrite_support;

use std::fmt::Write as _;

use ao_kernel::rewrite::{Charging, EXPORT_DEPTH, EXPORT_QUIET_PREFIX, Plan, instrument, quieten};
use rewrite_support::{Machine, Rng, V, Wasmi};
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, ConstExpr, ExportKind, ExportSection, Function, FunctionSection, GlobalSection};
use wasm_encoder::{GlobalType, Instruction, TypeSection, ValType};
use wasmparser::{FunctionBody, Operator, WasmFeatures};

const STACK_LIMIT: u32 = 20_000;
const GAS_LIMIT: i64 = 1 << 40;
const SWITCHES: [(&str, i32); 4] = [
    ("asyncify_start_unwind", 1),
    ("asyncify_stop_unwind", 0),
    ("asyncify_start_rewind", 2),
    ("asyncify_stop_rewind", 0),
];

/// Makes a random module an asyncified one: half of its constants ask the state instead.
#[derive(Default)]
struct Asyncify {
    types: u32,
    functions: u32,
    globals: u32,
    in_body: bool,
}

impl Reencode for Asyncify {
    type Error = std::convert::Infallible;

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_type_section(self, types, section)?;
        self.types = types.len();
        types.ty().function([], []);
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_function_section(self, functions, section)?;
        self.functions = functions.len();
        for _ in SWITCHES {
            functions.function(self.types);
        }
        Ok(())
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: wasmparser::GlobalSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_global_section(self, globals, section)?;
        self.globals = globals.len();
        let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        globals.global(ty, &ConstExpr::i32_const(0));
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: wasmparser::ExportSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_export_section(self, exports, section)?;
        for ((name, _), index) in SWITCHES.iter().zip(self.functions..) {
            exports.export(name, ExportKind::Func, index);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: wasmparser::CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_code_section(self, code, section)?;
        for (_, value) in SWITCHES {
            let mut function = Function::new([]);
            function.instructions().i32_const(value).global_set(self.globals).end();
            code.function(&function);
        }
        Ok(())
    }

    fn parse_function_body(&mut self, code: &mut CodeSection, body: FunctionBody<'_>) -> Result<(), Error> {
        self.in_body = true;
        utils::parse_function_body(self, code, body)?;
        self.in_body = false;
        Ok(())
    }

    fn instruction<'a>(&mut self, op: Operator<'a>) -> Result<Instruction<'a>, Error> {
        match op {
            Operator::I32Const { value } if self.in_body && value & 1 == 0 => Ok(Instruction::GlobalGet(self.globals)),
            op => utils::instruction(self, op),
        }
    }
}

fn module(seed: u64) -> Option<Vec<u8>> {
    let mut rng = Rng(seed);
    let bytes: Vec<u8> = (0..1024).flat_map(|_| rng.next().to_le_bytes()).collect();
    let config = wasm_smith::Config {
        bulk_memory_enabled: false,
        exceptions_enabled: false,
        export_everything: true,
        gc_enabled: false,
        max_funcs: 6,
        max_imports: 0,
        max_instructions: 300,
        max_memory32_bytes: 4 << 16,
        max_memories: 1,
        max_table_elements: 64,
        max_tables: 1,
        memory_max_size_required: true,
        min_funcs: 1,
        min_globals: 1,
        reference_types_enabled: false,
        relaxed_simd_enabled: false,
        shared_everything_threads_enabled: false,
        table_max_size_required: true,
        tail_call_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..wasm_smith::Config::default()
    };
    let mut module = wasm_smith::Module::new(config, &mut arbitrary::Unstructured::new(&bytes)).ok()?;
    module.ensure_termination(2_000).ok()?;
    let mut pass = Asyncify::default();
    let mut asyncified = wasm_encoder::Module::new();
    pass.parse_core_module(&mut asyncified, wasmparser::Parser::new(0), &module.to_bytes()).ok()?;
    let wasm = asyncified.finish();
    wasmparser::Validator::new_with_features(WasmFeatures::WASM2).validate_all(&wasm).ok()?;
    Some(wasm)
}

/// The twins of a module with the types of their parameters.
fn twins(wasm: &[u8]) -> Vec<(String, Vec<wasmparser::ValType>)> {
    let mut validator = wasmparser::Validator::new_with_features(WasmFeatures::WASM2);
    let types = validator.validate_all(wasm).expect("a module with twins is valid");
    let types = types.as_ref();
    let mut twins = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        let wasmparser::Payload::ExportSection(exports) = payload.expect("valid") else { continue };
        for export in exports {
            let export = export.expect("valid");
            if let Some(name) = export.name.strip_prefix(EXPORT_QUIET_PREFIX) {
                let ty = types[types.core_function_at(export.index)].unwrap_func();
                twins.push((name.to_owned(), ty.params().to_vec()));
            }
        }
    }
    twins
}

fn argument(rng: &mut Rng, ty: wasmparser::ValType) -> V {
    let bits = if rng.below(2) == 0 { rng.below(4) } else { rng.next() };
    match ty {
        wasmparser::ValType::I32 => V::I32(bits as u32),
        wasmparser::ValType::I64 => V::I64(bits),
        wasmparser::ValType::F32 => V::F32(bits as u32),
        wasmparser::ValType::F64 => V::F64(bits),
        wasmparser::ValType::V128 => V::V128(u128::from(bits)),
        wasmparser::ValType::Ref(_) => V::Ref { null: true },
    }
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn twins_do_what_their_functions_do_while_nothing_unwinds() {
    let plan = Plan { stack_limit: Some(STACK_LIMIT), canonical_nan: true, gas: Some(Charging::DEFAULT) };
    let (wanted, mut modules, mut calls, mut folded) = (variable("REWRITE_MODULES", 400), 0, 0_u64, 0);
    for seed in variable("REWRITE_SEED", 0).. {
        if modules == wanted {
            break;
        }
        let Some(instrumented) = module(seed).map(|wasm| instrument(&wasm, &plan).expect("instruments")) else {
            continue;
        };
        let Some(quiet) = quieten(&instrumented).expect("is well formed") else { continue };
        modules += 1;
        folded += u64::from(quiet.len() < 2 * instrumented.len());
        let twins = twins(&quiet);
        let (Ok(mut own), Ok(mut twin)) = (Wasmi::start(&quiet), Wasmi::start(&quiet)) else { continue };
        let mut rng = Rng(!seed);
        for (name, params) in twins.iter().chain(&twins) {
            let args: Vec<_> = params.iter().map(|ty| argument(&mut rng, *ty)).collect();
            own.set_global(EXPORT_DEPTH, V::I32(STACK_LIMIT));
            twin.set_global(EXPORT_DEPTH, V::I32(STACK_LIMIT));
            own.set_gas_left(GAS_LIMIT);
            twin.set_gas_left(GAS_LIMIT);
            let (left, right) = (own.call(name, &args), twin.call(&format!("{EXPORT_QUIET_PREFIX}{name}"), &args));
            assert_eq!(left, right, "seed {seed}: {name}{args:x?}");
            assert_eq!(own.global(EXPORT_DEPTH), twin.global(EXPORT_DEPTH), "seed {seed}: depth after {name}");
            assert_eq!(own.gas_left(), twin.gas_left(), "seed {seed}: gas after {name}");
            assert_eq!(own.state(), twin.state(), "seed {seed}: state after {name}{args:x?}");
            calls += 1;
        }
    }
    println!("{modules} modules, {calls} calls, {folded} modules with smaller twins");
    assert!(calls > modules && folded > modules / 2, "the calls show something");
}

#[test]
fn asyncified_bodies_are_paid_for_exactly_while_quiet_and_never_less_than_they_cost() {
    let exact = [Charging::EachBlock, Charging::Regions { slack: 0 }, Charging::DEFAULT];
    let (wanted, mut modules, mut calls, mut dearer) = (variable("REWRITE_MODULES", 400), 0, 0_u64, 0_u64);
    for seed in variable("REWRITE_SEED", 0).. {
        if modules == wanted {
            break;
        }
        let Some(wasm) = module(seed) else { continue };
        modules += 1;
        let instrumented = exact.map(|charging| {
            let plan = Plan { stack_limit: Some(STACK_LIMIT), canonical_nan: true, gas: Some(charging) };
            instrument(&wasm, &plan).expect("instruments")
        });
        let Some(quiet) = quieten(&instrumented[0]).expect("reads") else { continue };
        let [Ok(each), Ok(regions), Ok(slack)] = instrumented.map(|wasm| Wasmi::start(&wasm)) else { continue };
        let mut machines = [each, regions, slack];
        let mut rng = Rng(seed);
        for (name, params) in twins(&quiet).iter().filter(|(name, _)| SWITCHES.iter().all(|(switch, _)| switch != name))
        {
            for (switch, state) in SWITCHES {
                let args: Vec<V> = params.iter().map(|ty| argument(&mut rng, *ty)).collect();
                let [each, regions, slack] = [0, 1, 2].map(|index| {
                    let machine = &mut machines[index];
                    machine.call(switch, &[]).expect("a switch only sets the state");
                    machine.set_gas_left(GAS_LIMIT);
                    machine.set_global(EXPORT_DEPTH, V::I32(STACK_LIMIT));
                    (machine.call(name, &args), GAS_LIMIT - machine.gas_left())
                });
                assert_eq!(each.0, regions.0, "seed {seed}, {name}");
                assert_eq!(each.0, slack.0, "seed {seed}, {name}");
                if each.0.is_ok() {
                    assert!(
                        each.1 <= regions.1 && regions.1 <= slack.1,
                        "seed {seed}, {name}: {each:?} {regions:?} {slack:?}"
                    );
                    assert!(state != 0 || each.1 == regions.1, "seed {seed}, {name}: {each:?} {regions:?}");
                    (calls, dearer) = (calls + 1, dearer + u64::from(each.1 < regions.1));
                }
            }
        }
    }
    println!("{calls} calls, {dearer} of them dearer than what they ran");
    assert!(calls > wanted && dearer > 0, "the calls show something");
}

/// Work that grew with the square of a condition's length would take hours here.
#[test]
fn endless_conditions_are_rewritten_in_time_that_grows_as_they_do() {
    const LONG: usize = 200_000;
    let to_the_left = format!("local.get 0 {}", "local.get 0 i32.or ".repeat(LONG));
    let to_the_right = format!("{}{}", "local.get 0 ".repeat(LONG + 1), "i32.and ".repeat(LONG));
    let (mut copies, mut switches) = (String::new(), String::new());
    for local in 1..40_000 {
        write!(copies, "global.get 0 local.set {local} i32.const 1 local.set {local} ").expect("a string takes all");
    }
    for (name, state) in SWITCHES {
        write!(switches, "(func (export \"{name}\") i32.const {state} global.set 0)").expect("a string takes all");
    }
    let locals = "i32 ".repeat(40_000);
    let text = format!(
        "(module (global (mut i32) (i32.const 0)) {switches}
           (func (export \"f\") (param i32) (local {locals}) {to_the_left} if end {to_the_right} if end {copies}))"
    );
    let plan = Plan { stack_limit: Some(STACK_LIMIT), canonical_nan: true, gas: Some(Charging::DEFAULT) };
    let instrumented = instrument(&wat::parse_str(text).expect("good text"), &plan).expect("instruments");
    let quiet = quieten(&instrumented).expect("reads").expect("has twins");
    wasmparser::validate(&quiet).expect("is valid");
}

#[test]
fn only_modules_that_are_sure_to_stay_quiet_get_twins() {
    let module = |extra: &str| {
        wat::parse_str(format!(
            r#"(module (memory (export "memory") 1) (table 4 funcref) (global $s (mut i32) (i32.const 0)) {extra}
            (func (export "asyncify_start_unwind") (global.set $s (i32.const 1)))
            (func (export "asyncify_stop_unwind") (global.set $s (i32.const 0)))
            (func (export "asyncify_start_rewind") (global.set $s (i32.const 2)))
            (func $stop (export "asyncify_stop_rewind") (global.set $s (i32.const 0)))
            (func $f (export "f") (result i32) (global.get $s)))"#
        ))
        .unwrap()
    };
    let has_twins = |extra: &str| {
        let plan = Plan { stack_limit: Some(STACK_LIMIT), canonical_nan: true, gas: Some(Charging::DEFAULT) };
        quieten(&instrument(&module(extra), &plan).unwrap()).unwrap().is_some()
    };
    assert!(has_twins("(elem (i32.const 0) $f)"));
    for extra in [
        r#"(func (export "g") (global.set $s (i32.const 1)))"#,
        r#"(func (export "g") (call $stop))"#,
        "(elem (i32.const 1) $stop)",
        "(elem (i32.const 1) funcref (ref.func $f))",
        "(elem declare func $f) (func (drop (ref.func $f)))",
        "(func (table.set 0 (i32.const 0) (ref.null func)))",
        "(table 1 funcref)",
    ] {
        assert!(!has_twins(extra), "{extra}");
    }
}

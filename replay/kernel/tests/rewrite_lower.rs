//! Lowering, operator by operator: what a 64-bit memory does at its edges, the lowered one does too.

#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::format_push_string,
    clippy::format_collect,
    reason = "a test says how much it did, takes its size from outside, and shares a support module"
)]

mod rewrite_support;

use ao_kernel::rewrite::{MEMORY_PAGES_MAX, Plan, RewriteError, instrument, lower};
use rewrite_support::{Machine, Outcome, Trap, V, Wasmer, Wasmi};

const PLAN: Plan = Plan { stack_limit: None, canonical_nan: false, gas: None };

/// Calls `run` on both engines and demands that outcome and memory agree.
fn run(text: &str, args: &[V]) -> Outcome {
    let instrumented = instrument(&wat::parse_str(text).expect("good text"), &PLAN).expect("instruments");
    let lowered = lower(&instrumented).expect("lowers");
    let (mut fast, mut oracle) = match (Wasmer::start(&lowered), Wasmi::start(&instrumented)) {
        (Ok(fast), Ok(oracle)) => (fast, oracle),
        (fast, oracle) => {
            assert_eq!(fast.err(), oracle.err(), "{text}");
            return Err(Trap::Instantiation);
        }
    };
    let (left, right) = (fast.call("run", args), oracle.call("run", args));
    assert_eq!(left, right, "{text}");
    assert_eq!(fast.state(), oracle.state(), "{text}");
    left
}

fn is_memory_trap(outcome: &Outcome) -> bool {
    *outcome == Err(Trap::Memory)
}

const LOADS: [(&str, &str, u64); 14] = [
    ("i32.load", "i32", 4),
    ("i64.load", "i64", 8),
    ("f32.load", "f32", 4),
    ("f64.load", "f64", 8),
    ("i32.load8_s", "i32", 1),
    ("i32.load8_u", "i32", 1),
    ("i32.load16_s", "i32", 2),
    ("i32.load16_u", "i32", 2),
    ("i64.load8_s", "i64", 1),
    ("i64.load8_u", "i64", 1),
    ("i64.load16_s", "i64", 2),
    ("i64.load16_u", "i64", 2),
    ("i64.load32_s", "i64", 4),
    ("i64.load32_u", "i64", 4),
];

const VECTOR_LOADS: [(&str, u64); 13] = [
    ("v128.load", 16),
    ("v128.load8x8_s", 8),
    ("v128.load8x8_u", 8),
    ("v128.load16x4_s", 8),
    ("v128.load16x4_u", 8),
    ("v128.load32x2_s", 8),
    ("v128.load32x2_u", 8),
    ("v128.load8_splat", 1),
    ("v128.load16_splat", 2),
    ("v128.load32_splat", 4),
    ("v128.load64_splat", 8),
    ("v128.load32_zero", 4),
    ("v128.load64_zero", 8),
];

const STORES: [(&str, &str, u64); 10] = [
    ("i32.store", "i32.const -2", 4),
    ("i64.store", "i64.const -2", 8),
    ("f32.store", "f32.const -0x1p-149", 4),
    ("f64.store", "f64.const -0x1p-1074", 8),
    ("i32.store8", "i32.const -2", 1),
    ("i32.store16", "i32.const -2", 2),
    ("i64.store8", "i64.const -2", 1),
    ("i64.store16", "i64.const -2", 2),
    ("i64.store32", "i64.const -2", 4),
    ("v128.store", "v128.const i64x2 -2 5", 16),
];

/// The last address at which `bytes` fit in one page, addresses around it, and what would alias it in 32 bits.
fn edges(bytes: u64) -> [(u64, bool); 6] {
    let last = 65536 - bytes;
    [(last, true), (last + 1, false), (1 << 32, false), ((1 << 32) + last, false), (u64::MAX, false), (1 << 63, false)]
}

fn at_edges(bytes: u64, text: &dyn Fn(u64) -> String) {
    for offset in [0, 3, 70_000, u64::from(u32::MAX), 1 << 32, u64::MAX - 20] {
        for (address, fits) in edges(bytes) {
            let fits =
                fits && offset == 0 || offset == 3 && address.checked_add(3 + bytes).is_some_and(|end| end <= 65536);
            let outcome = run(&text(offset), &[V::I64(address)]);
            assert_eq!(is_memory_trap(&outcome), !fits, "{} at {address:#x}: {outcome:?}", text(offset));
        }
    }
}

const DATA: &str =
    r#"(data (i64.const 65512) "\81\82\83\84\85\86\87\88\89\8a\8b\8c\8d\8e\8f\90\91\92\93\94\95\96\97\98")"#;

#[test]
fn every_load_reads_up_to_the_last_byte_and_traps_beyond() {
    for (load, ty, bytes) in LOADS {
        at_edges(bytes, &|offset| {
            format!(
                "(module (memory i64 1) {DATA} (func (export \"run\") (param i64) (result {ty}) local.get 0 {load} offset={offset}))"
            )
        });
    }
    for (load, bytes) in VECTOR_LOADS {
        at_edges(bytes, &|offset| {
            format!(
                "(module (memory i64 1) {DATA} (func (export \"run\") (param i64) (result v128) local.get 0 {load} offset={offset}))"
            )
        });
    }
}

#[test]
fn every_store_writes_up_to_the_last_byte_and_traps_beyond() {
    for (store, value, bytes) in STORES {
        at_edges(bytes, &|offset| {
            format!(
                "(module (memory i64 1) {DATA} (func (export \"run\") (param i64) local.get 0 {value} {store} offset={offset}))"
            )
        });
    }
}

#[test]
fn every_lane_access_reads_and_writes_up_to_the_last_byte_and_traps_beyond() {
    for (lanes, lane, bytes) in [(8, 15, 1), (16, 7, 2), (32, 3, 4), (64, 1, 8)] {
        at_edges(bytes, &|offset| {
            format!(
                "(module (memory i64 1) {DATA} (func (export \"run\") (param i64) (result v128) local.get 0 v128.const i64x2 -2 5 v128.load{lanes}_lane offset={offset} {lane}))"
            )
        });
        at_edges(bytes, &|offset| {
            format!(
                "(module (memory i64 1) {DATA} (func (export \"run\") (param i64) local.get 0 v128.const i64x2 -2 5 v128.store{lanes}_lane offset={offset} {lane}))"
            )
        });
    }
}

#[test]
fn operands_are_evaluated_before_an_access_out_of_bounds_traps() {
    let text = "(module (memory i64 1) (global (mut i64) (i64.const 0))
        (func $side (result i64) i64.const 7 global.set 0 i64.const 9)
        (func (export \"run\") i64.const 0x100000000 call $side i64.store offset=0x100000000))";
    assert!(is_memory_trap(&run(text, &[])));
}

#[test]
fn bulk_operators_check_all_bounds_before_they_write() {
    let big = 1_u64 << 32;
    // (destination, second operand, length, whether it succeeds)
    let cases = [
        (0, 100, 50, true),
        (65536, 0, 0, true),
        (65537, 0, 0, false),
        (65530, 0, 7, false),
        (big, 0, 0, false),
        (big + 4, 0, 4, false),
        (0, 0, big, false),
        (0, 0, u64::MAX, false),
        (u64::MAX, 0, 1, false),
    ];
    for (to, from, length, fits) in cases {
        let args = [V::I64(to), V::I64(from), V::I64(length)];
        let head = format!(
            "(module (memory i64 1) {DATA} (data $p \"0123456789\") (func (export \"run\") (param i64 i64 i64) local.get 0"
        );
        let fill = format!("{head} local.get 1 i32.wrap_i64 local.get 2 memory.fill))");
        assert_eq!(is_memory_trap(&run(&fill, &args)), !fits, "fill {args:?}");
        let copy = format!("{head} local.get 1 local.get 2 memory.copy))");
        assert_eq!(is_memory_trap(&run(&copy, &args)), !fits, "copy {args:?}");
        let init = format!("{head} i32.const 0 local.get 2 i32.wrap_i64 i32.const 15 i32.and memory.init $p))");
        let fits = to <= 65536 && to + (length & 15) <= 65536 && length & 15 <= 10;
        assert_eq!(is_memory_trap(&run(&init, &args)), !fits, "init {args:?}");
    }
    for from in [65536, 65537, big, u64::MAX] {
        let copy = "(module (memory i64 1) (func (export \"run\") (param i64) i64.const 0 local.get 0 i64.const 0 memory.copy))";
        assert_eq!(is_memory_trap(&run(copy, &[V::I64(from)])), from != 65536, "copy from {from:#x}");
    }
}

#[test]
fn memory_size_and_grow_are_right_at_the_limits() {
    let grow = |max: &str, by: u64| {
        let text = format!(
            "(module (memory i64 1 {max}) (func (export \"run\") (param i64) (result i64 i64) local.get 0 memory.grow memory.size))"
        );
        run(&text, &[V::I64(by)]).expect("no trap")
    };
    let unchanged = vec![V::I64(u64::MAX), V::I64(1)];
    assert_eq!(grow("3", 0), [V::I64(1), V::I64(1)]);
    assert_eq!(grow("3", 2), [V::I64(1), V::I64(3)]);
    assert_eq!(grow("3", 3), unchanged);
    for by in [65535, 65536, 1 << 32, (1 << 32) + 1, 1 << 63, u64::MAX] {
        assert_eq!(grow("", by), unchanged, "by {by:#x}");
        assert_eq!(grow("100000", by), unchanged, "by {by:#x}");
    }
}

#[test]
fn data_offsets_of_4_gib_and_more_fail_as_out_of_bounds() {
    let module = |offset: &str, bytes: &str| {
        format!("(module (memory i64 1) (data (offset {offset}) \"{bytes}\") (func (export \"run\")))")
    };
    assert_eq!(run(&module("i64.const 65536", ""), &[]), Ok(vec![]));
    assert_eq!(run(&module("(i64.add (i64.const 65500) (i64.const 35))", "a"), &[]), Ok(vec![]));
    for offset in ["i64.const 65537", "i64.const 0xFFFFFFFF", "i64.const 0x100000000", "i64.const -1"] {
        assert_eq!(run(&module(offset, ""), &[]), Err(Trap::Instantiation), "{offset}");
    }
}

#[test]
fn memories_beyond_the_limit_are_refused_or_cut() {
    let lowered = |text: &str| lower(&wat::parse_str(text).expect("good text"));
    assert!(lowered(&format!("(module (memory i64 {MEMORY_PAGES_MAX}))")).is_ok());
    let too_large = lowered(&format!("(module (memory i64 {}))", MEMORY_PAGES_MAX + 1));
    assert!(matches!(too_large, Err(RewriteError::MemoryTooLarge { pages: 65536 })));
    for text in ["(module (memory i64 1 0x1000000000000))", "(module (memory i64 1))", "(module (memory 1 65536))"] {
        let printed = lowered(text).expect("lowers");
        let memory = wasmparser::Parser::new(0).parse_all(&printed).find_map(|payload| match payload.expect("valid") {
            wasmparser::Payload::MemorySection(section) => section.into_iter().next(),
            _ => None,
        });
        let memory = memory.expect("a memory").expect("valid");
        assert_eq!((memory.memory64, memory.maximum), (false, Some(MEMORY_PAGES_MAX)), "{text}");
    }
}

#[test]
fn what_cannot_be_lowered_exactly_is_refused() {
    let refused = |text: &str| lower(&wat::parse_str(text).expect("good text")).expect_err("refused").to_string();
    assert!(refused("(module (memory i64 1 1 shared) (func i64.const 0 i32.atomic.load drop))").contains("threads"));
    assert!(refused("(module (table i64 1 funcref))").contains("64-bit table"));
    assert!(
        refused("(module (import \"a\" \"b\" (global i64)) (memory i64 1) (data (offset global.get 0) \"\"))")
            .contains("segment 0")
    );
    assert!(refused("(module (memory i64 1) (func return_call 0))").contains("tail_call"));
}

#[test]
fn custom_sections_survive_unless_they_name_code_offsets() {
    let wasm = wat::parse_str(
        "(module (@custom \"keep\" \"1\") (@custom \".debug_line\" \"2\") (memory i64 1) (func $named))",
    );
    let lowered = lower(&wasm.expect("good text")).expect("lowers");
    let names: Vec<_> = wasmparser::Parser::new(0)
        .parse_all(&lowered)
        .filter_map(|payload| match payload.expect("valid") {
            wasmparser::Payload::CustomSection(section) => Some(section.name().to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(names, ["keep", "name"]);
}

#[test]
fn damaged_modules_are_errors_and_never_panics() {
    let wasm = wat::parse_str(format!("(module (memory i64 1) {DATA} (func (export \"run\") (param i64) (result i64) (block (br_if 0 (i64.eqz (local.get 0)))) local.get 0 i64.load))")).expect("good text");
    for at in 0..wasm.len() {
        for bit in 0..8 {
            let mut damaged = wasm.clone();
            damaged[at] ^= 1 << bit;
            let _ = instrument(&damaged, &Plan { stack_limit: Some(100), canonical_nan: true, gas: None });
            let _ = lower(&damaged);
        }
        assert!(
            lower(&wasm[..at]).is_err() || at == 8 || wasmparser::Validator::new().validate_all(&wasm[..at]).is_ok()
        );
    }
}

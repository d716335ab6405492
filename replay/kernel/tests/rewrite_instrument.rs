//! Instrumentation: one NaN, one stack depth, and the guest's state in reach of the host, on both engines.

#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::format_push_string,
    clippy::format_collect,
    reason = "a test says how much it did, takes its size from outside, and shares a support module"
)]

mod rewrite_support;

use ao_kernel::rewrite::{
    DEPTH_EXCEEDED, EXPORT_DEPTH, EXPORT_GAS, EXPORT_START, Plan, RewriteError, instrument, lower,
};
use rewrite_support::{Machine, Outcome, Trap, V, Wasmer, Wasmi};

const NAN64: u64 = 0xFFF8_0000_0000_0000;
const NAN32: u32 = 0xFFC0_0000;
const LIMIT: u32 = 1000;

struct Both {
    fast: Wasmer,
    oracle: Wasmi,
}

impl Both {
    fn start(text: &str, plan: &Plan) -> Self {
        let instrumented = instrument(&wat::parse_str(text).expect("good text"), plan).expect("instruments");
        wasmparser::validate(&instrumented).unwrap_or_else(|error| panic!("{text}: {error}"));
        let fast = Wasmer::start(&lower(&instrumented).expect("lowers")).expect("instantiates");
        Self { fast, oracle: Wasmi::start(&instrumented).expect("instantiates") }
    }

    fn call(&mut self, name: &str, args: &[V]) -> Outcome {
        let (left, right) = (self.fast.call(name, args), self.oracle.call(name, args));
        assert_eq!(left, right, "{name}{args:x?}");
        assert_eq!(self.fast.global(EXPORT_DEPTH), self.oracle.global(EXPORT_DEPTH), "{name}{args:x?}");
        assert_eq!(self.fast.state(), self.oracle.state(), "{name}{args:x?}");
        left
    }

    fn depth(&mut self) -> i32 {
        match self.fast.global(EXPORT_DEPTH) {
            Some(V::I32(depth)) => depth as i32,
            other => panic!("{other:?} is no depth"),
        }
    }

    fn reset(&mut self) {
        self.fast.set_global(EXPORT_DEPTH, V::I32(LIMIT));
        self.oracle.set_global(EXPORT_DEPTH, V::I32(LIMIT));
    }
}

const NAN_PLAN: Plan = Plan { stack_limit: None, canonical_nan: true, gas: None };
const STACK_PLAN: Plan = Plan { stack_limit: Some(LIMIT), canonical_nan: false, gas: None };

/// Bits of NaNs: either sign, quiet and signalling, with payloads.
const NANS64: [u64; 5] =
    [NAN64, 0x7FF8_0000_0000_0000, 0x7FF0_0000_0000_0001, 0xFFF8_0000_DEAD_BEEF, 0x7FFF_FFFF_FFFF_FFFF];
const NANS32: [u32; 5] = [NAN32, 0x7FC0_0000, 0x7F80_0001, 0xFFC0_BEEF, 0x7FFF_FFFF];

const UNARY: [&str; 5] = ["sqrt", "ceil", "floor", "trunc", "nearest"];
const BINARY: [&str; 6] = ["add", "sub", "mul", "div", "min", "max"];

#[test]
fn every_scalar_operator_makes_the_one_nan() {
    let mut text = String::from("(module ");
    for op in UNARY {
        text += &format!(
            "(func (export \"f64.{op}\") (param i64) (result i64) (i64.reinterpret_f64 (f64.{op} (f64.reinterpret_i64 (local.get 0)))))"
        );
        text += &format!(
            "(func (export \"f32.{op}\") (param i32) (result i32) (i32.reinterpret_f32 (f32.{op} (f32.reinterpret_i32 (local.get 0)))))"
        );
    }
    for op in BINARY {
        text += &format!(
            "(func (export \"f64.{op}\") (param i64 i64) (result i64) (i64.reinterpret_f64 (f64.{op} (f64.reinterpret_i64 (local.get 0)) (f64.reinterpret_i64 (local.get 1)))))"
        );
        text += &format!(
            "(func (export \"f32.{op}\") (param i32 i32) (result i32) (i32.reinterpret_f32 (f32.{op} (f32.reinterpret_i32 (local.get 0)) (f32.reinterpret_i32 (local.get 1)))))"
        );
    }
    text += "(func (export \"demote\") (param i64) (result i32) (i32.reinterpret_f32 (f32.demote_f64 (f64.reinterpret_i64 (local.get 0)))))
        (func (export \"promote\") (param i32) (result i64) (i64.reinterpret_f64 (f64.promote_f32 (f32.reinterpret_i32 (local.get 0))))))";
    let mut both = Both::start(&text, &NAN_PLAN);
    for (wide, narrow) in NANS64.into_iter().zip(NANS32) {
        for op in UNARY {
            assert_eq!(both.call(&format!("f64.{op}"), &[V::I64(wide)]), Ok(vec![V::I64(NAN64)]));
            assert_eq!(both.call(&format!("f32.{op}"), &[V::I32(narrow)]), Ok(vec![V::I32(NAN32)]));
        }
        for op in BINARY {
            for (a, b) in [(wide, NANS64[3]), (wide, 1.5_f64.to_bits()), ((-0.5_f64).to_bits(), wide)] {
                assert_eq!(both.call(&format!("f64.{op}"), &[V::I64(a), V::I64(b)]), Ok(vec![V::I64(NAN64)]));
            }
            for (a, b) in [(narrow, NANS32[3]), (narrow, 1.5_f32.to_bits()), ((-0.5_f32).to_bits(), narrow)] {
                assert_eq!(both.call(&format!("f32.{op}"), &[V::I32(a), V::I32(b)]), Ok(vec![V::I32(NAN32)]));
            }
        }
        assert_eq!(both.call("demote", &[V::I64(wide)]), Ok(vec![V::I32(NAN32)]));
        assert_eq!(both.call("promote", &[V::I32(narrow)]), Ok(vec![V::I64(NAN64)]));
    }
    let zero = V::I64(0);
    assert_eq!(both.call("f64.div", &[zero, zero]), Ok(vec![V::I64(NAN64)]), "0/0");
    assert_eq!(both.call("f64.sqrt", &[V::I64((-1.0_f64).to_bits())]), Ok(vec![V::I64(NAN64)]), "sqrt(-1)");
    assert_eq!(both.call("f64.sqrt", &[V::I64(9.0_f64.to_bits())]), Ok(vec![V::I64(3.0_f64.to_bits())]));
    assert_eq!(both.call("f64.max", &[zero, V::I64(1 << 63)]), Ok(vec![zero]), "the sign of zero is left alone");
}

#[test]
fn every_vector_operator_makes_the_one_nan_in_each_lane() {
    let vector = |op: &str, operands: usize| {
        let gets: String = (0..operands).map(|index| format!("local.get {index} ")).collect();
        format!("(func (export \"{op}\") (param{}) (result v128) {gets} {op})", " v128".repeat(operands))
    };
    let mut text = String::from("(module ");
    for shape in ["f32x4", "f64x2"] {
        text.extend(UNARY.iter().map(|op| vector(&format!("{shape}.{op}"), 1)));
        text.extend(BINARY.iter().map(|op| vector(&format!("{shape}.{op}"), 2)));
    }
    text += &vector("f32x4.demote_f64x2_zero", 1);
    text += &vector("f64x2.promote_low_f32x4", 1);
    let mut both = Both::start(&(text + ")"), &NAN_PLAN);
    let lanes32 =
        |a: u32, b: u32| V::V128(u128::from(a) | u128::from(b) << 32 | u128::from(a) << 64 | u128::from(b) << 96);
    let lanes64 = |a: u64, b: u64| V::V128(u128::from(a) | u128::from(b) << 64);
    let (four32, four64) = (4.0_f32.to_bits(), 4.0_f64.to_bits());
    for (wide, narrow) in NANS64.into_iter().zip(NANS32) {
        for op in UNARY {
            let root = if op == "sqrt" { 2.0 } else { 4.0 };
            let expected = Ok(vec![lanes32(NAN32, (root as f32).to_bits())]);
            assert_eq!(both.call(&format!("f32x4.{op}"), &[lanes32(narrow, four32)]), expected);
            let expected = Ok(vec![lanes64(f64::to_bits(root), NAN64)]);
            assert_eq!(both.call(&format!("f64x2.{op}"), &[lanes64(four64, wide)]), expected);
        }
        for op in BINARY {
            let ones32 = lanes32(1.0_f32.to_bits(), NANS32[3]);
            assert_eq!(
                both.call(&format!("f32x4.{op}"), &[lanes32(narrow, narrow), ones32]),
                Ok(vec![lanes32(NAN32, NAN32)])
            );
            let ones64 = lanes64(1.0_f64.to_bits(), NANS64[3]);
            assert_eq!(
                both.call(&format!("f64x2.{op}"), &[lanes64(wide, wide), ones64]),
                Ok(vec![lanes64(NAN64, NAN64)])
            );
        }
        let demoted = V::V128(u128::from(NAN32) | u128::from(four32) << 32);
        assert_eq!(both.call("f32x4.demote_f64x2_zero", &[lanes64(wide, four64)]), Ok(vec![demoted]));
        assert_eq!(both.call("f64x2.promote_low_f32x4", &[lanes32(narrow, four32)]), Ok(vec![lanes64(NAN64, four64)]));
    }
}

#[test]
fn operators_that_only_move_bits_leave_a_nan_as_it_is() {
    let text = "(module (memory i64 1)
        (func (export \"neg\") (param i64) (result i64) (i64.reinterpret_f64 (f64.neg (f64.reinterpret_i64 (local.get 0)))))
        (func (export \"abs\") (param i64) (result i64) (i64.reinterpret_f64 (f64.abs (f64.reinterpret_i64 (local.get 0)))))
        (func (export \"move\") (param i64) (result i64)
            (i64.store (i64.const 8) (local.get 0))
            (f64.store (i64.const 0) (select (f64.load (i64.const 8)) (f64.const 1) (i32.const 1)))
            (i64.load (i64.const 0))))";
    let mut both = Both::start(text, &NAN_PLAN);
    for bits in NANS64 {
        assert_eq!(both.call("neg", &[V::I64(bits)]), Ok(vec![V::I64(bits ^ 1 << 63)]));
        assert_eq!(both.call("abs", &[V::I64(bits)]), Ok(vec![V::I64(bits & !(1 << 63))]));
        assert_eq!(both.call("move", &[V::I64(bits)]), Ok(vec![V::I64(bits)]));
    }
}

#[test]
fn every_way_out_of_a_function_gives_its_charge_back() {
    let text = "(module (table funcref (elem $leaf))
        (func $leaf (param i32) (result i32) local.get 0)
        (func (export \"fall\") (param i32) (result i32) (call $leaf (local.get 0)))
        (func (export \"return\") (param i32) (result i32)
            (loop (block (br_if 0 (call $leaf (local.get 0))) (return (i32.const 10)))) (i32.const 11))
        (func (export \"branch\") (param i32) (result i32)
            (block (br_if 1 (i32.const 20) (call $leaf (local.get 0))) drop) (br 0 (i32.const 21)))
        (func (export \"table\") (param i32) (result i32)
            (block (result i32) (block (result i32)
                (br_table 0 1 2 (i32.const 30) (call_indirect (param i32) (result i32) (local.get 0) (i32.const 0))))
                (i32.const 1) i32.add)
            (i32.const 1) i32.add)
        (func (export \"several\") (param i32) (result i32 i64 f32)
            (if (call $leaf (local.get 0)) (then (return (i32.const 1) (i64.const 2) (f32.const 3))))
            (i32.const 4) (i64.const 5) (f32.const 6)))";
    let mut both = Both::start(text, &STACK_PLAN);
    let one = |value| Ok(vec![V::I32(value)]);
    let cases = [
        ("fall", [one(0), one(1), one(2)]),
        ("return", [one(10), one(11), one(11)]),
        ("branch", [one(21), one(20), one(20)]),
        ("table", [one(32), one(31), one(30)]),
    ];
    for (name, expected) in cases {
        for (arg, outcome) in (0..).zip(expected) {
            assert_eq!(both.call(name, &[V::I32(arg)]), outcome, "{name}");
            assert_eq!(both.depth(), LIMIT as i32, "{name}");
        }
    }
    let floats = |value: f32| V::F32(value.to_bits());
    assert_eq!(both.call("several", &[V::I32(1)]), Ok(vec![V::I32(1), V::I64(2), floats(3.0)]));
    assert_eq!(both.call("several", &[V::I32(0)]), Ok(vec![V::I32(4), V::I64(5), floats(6.0)]));
    assert_eq!(both.depth(), LIMIT as i32);
}

#[test]
fn recursion_ends_at_the_depth_that_the_frame_cost_says() {
    // 8 for the frame, 1 parameter, 2 locals one of which is a vector (2 units), operands at most 2 high, times 2 as
    // the body uses vectors: 8 + 1 + 1 + 2 + 4.
    let text = "(module (global (mut i32) (i32.const 0))
        (func $down (export \"down\") (param i32) (local i32 v128)
            (global.set 0 (i32.add (global.get 0) (i32.const 1)))
            (local.set 2 (v128.const i64x2 0 0))
            (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1)))))))";
    let mut both = Both::start(text, &STACK_PLAN);
    let deepest = LIMIT / 16;
    assert_eq!(both.call("down", &[V::I32(deepest - 1)]), Ok(vec![]));
    assert_eq!(both.depth(), LIMIT as i32);
    assert_eq!(both.call("down", &[V::I32(deepest)]), Err(Trap::Unreachable));
    assert_eq!(both.depth(), DEPTH_EXCEEDED);
    assert_eq!(both.fast.global("aorta:g0"), Some(V::I32(2 * deepest)), "the last frame did not begin");
    both.reset();
    assert_eq!(both.call("down", &[V::I32(deepest - 1)]), Ok(vec![]));
}

#[test]
fn a_trap_of_the_guest_does_not_look_like_a_stack_overflow() {
    let mut both = Both::start("(module (func $leaf) (func (export \"run\") call $leaf unreachable))", &STACK_PLAN);
    assert_eq!(both.call("run", &[]), Err(Trap::Unreachable));
    assert!(both.depth() >= 0);
}

#[test]
fn small_functions_without_calls_are_free_and_large_ones_are_not() {
    let text = format!("(module (func (export \"small\")) (func (export \"large\") (local{})))", " i64".repeat(2000));
    let mut both = Both::start(&text, &STACK_PLAN);
    both.fast.set_global(EXPORT_DEPTH, V::I32(0));
    both.oracle.set_global(EXPORT_DEPTH, V::I32(0));
    assert_eq!(both.call("small", &[]), Ok(vec![]));
    assert_eq!(both.call("large", &[]), Err(Trap::Unreachable));
    assert_eq!(both.depth(), DEPTH_EXCEEDED);
}

#[test]
fn state_is_exported_under_hidden_names_and_start_waits_for_the_host() {
    let text = "(module (memory i64 1) (table 1 funcref) (table 2 externref)
        (global i32 (i32.const 1)) (global (mut i64) (i64.const 2)) (global (mut f32) (f32.const 3))
        (func $start (global.set 1 (i64.const 9))) (start $start))";
    let mut both = Both::start(text, &STACK_PLAN);
    assert_eq!(both.fast.global("aorta:g0"), None, "an immutable global is no state");
    assert_eq!(both.fast.global("aorta:g1"), Some(V::I64(2)));
    assert_eq!(both.call(EXPORT_START, &[]), Ok(vec![]));
    assert_eq!(both.fast.global("aorta:g1"), Some(V::I64(9)));
    assert_eq!(both.fast.memory().len(), 65536);
    let wasm = instrument(&wat::parse_str(text).expect("good text"), &STACK_PLAN).expect("instruments");
    let mut names = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(&wasm) {
        if let wasmparser::Payload::ExportSection(section) = payload.expect("valid") {
            names.extend(section.into_iter().map(|export| export.expect("valid").name.to_owned()));
        }
    }
    let guests = ["aorta:m", "aorta:g1", "aorta:g2", "aorta:t0", "aorta:t1", EXPORT_START];
    assert_eq!(names, [&guests[..], &[EXPORT_DEPTH, EXPORT_GAS]].concat());
}

#[test]
fn reserved_exports_and_impossible_limits_are_refused() {
    let wasm = wat::parse_str("(module (func (export \"aorta:depth\")))").expect("good text");
    assert!(matches!(instrument(&wasm, &STACK_PLAN), Err(RewriteError::ReservedExport { .. })));
    let plan = Plan { stack_limit: Some(1 << 31), canonical_nan: false, gas: None };
    let wasm = wat::parse_str("(module)").expect("good text");
    assert!(matches!(instrument(&wasm, &plan), Err(RewriteError::StackLimit { .. })));
}

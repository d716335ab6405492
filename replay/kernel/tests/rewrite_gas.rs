//! Gas: what is charged where, that both engines count alike at every end, and that nothing runs for ever.

#![allow(unreachable_pub, clippy::print_stdout, reason = "a test says how much it did, and shares a support module")]

mod rewrite_support;

use ao_kernel::rewrite::{Charging, DEPTH_EXCEEDED, EXPORT_DEPTH, GAS_SLACK, Plan, instrument, lower};
use rewrite_support::{Machine, Outcome, Trap, V, Wasmer, Wasmi};

const PLENTY: i64 = 1 << 40;
const STACK: u32 = 10_000;

struct Both {
    fast: Wasmer,
    oracle: Wasmi,
}

impl Both {
    fn start(text: &str, charging: Charging) -> Self {
        let plan = Plan { stack_limit: Some(STACK), canonical_nan: true, gas: Some(charging) };
        let instrumented = instrument(&wat::parse_str(text).expect("good text"), &plan).expect("instruments");
        wasmparser::validate(&instrumented).unwrap_or_else(|error| panic!("{text}: {error}"));
        let fast = Wasmer::start(&lower(&instrumented).expect("lowers")).expect("instantiates");
        Self { fast, oracle: Wasmi::start(&instrumented).expect("instantiates") }
    }

    /// The outcome of a call that may use `limit`, and what it used; the same on both engines, and the same state.
    fn call(&mut self, name: &str, args: &[V], limit: i64) -> (Outcome, i64) {
        self.fast.set_gas_left(limit);
        self.oracle.set_gas_left(limit);
        self.fast.set_global(EXPORT_DEPTH, V::I32(STACK));
        self.oracle.set_global(EXPORT_DEPTH, V::I32(STACK));
        let (left, right) = (self.fast.call(name, args), self.oracle.call(name, args));
        assert_eq!(left, right, "{name}{args:x?} with {limit}");
        assert_eq!(self.fast.gas_left(), self.oracle.gas_left(), "{name}{args:x?} with {limit}");
        assert_eq!(self.fast.state(), self.oracle.state(), "{name}{args:x?} with {limit}");
        (left, limit - self.fast.gas_left())
    }

    fn used(&mut self, name: &str, args: &[V]) -> i64 {
        let (outcome, used) = self.call(name, args, PLENTY);
        assert!(outcome.is_ok(), "{name}: {outcome:?}");
        used
    }
}

/// Programs over a 64-bit memory that leave a trace of how far they came; `run` takes a number that steers them.
const PROGRAMS: [(&str, &str); 7] = [
    (
        "arms",
        "(if (i32.and (local.get 0) (i32.const 1)) (then (call $mark (i32.const 1))) (else (call $mark (i32.div_u (i32.const 9) (i32.sub (local.get 0) (i32.const 4))))))
         (if (i32.and (local.get 0) (i32.const 2)) (then (return)))
         (call $mark (i32.const 3))",
    ),
    (
        "switch",
        "(loop $again
           (block $out (block $c (block $b (block $a (br_table $a $b $c $out (i32.rem_u (local.get 0) (i32.const 5))))
             (call $mark (i32.const 1)) (br $c))
             (i64.store (i64.const 64) (i64.extend_i32_u (i32.mul (local.get 0) (i32.const 3)))))
             (call $mark (i32.const 2)))
           (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))",
    ),
    (
        "nested",
        "(local $i i32)
         (loop $outer
           (local.set $i (local.get 0))
           (loop $inner
             (i32.store (i64.const 80) (i32.add (i32.load (i64.const 80)) (local.get $i)))
             (br_if $inner (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
           (if (i32.eq (local.get 0) (i32.const 4)) (then (call $mark (i32.const 4))))
           (br_if $outer (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))",
    ),
    (
        "search",
        "(local $i i32)
         (block $found
           (loop $next
             (br_if $found (i32.eq (local.get $i) (local.get 0)))
             (if (i32.gt_u (local.get $i) (i32.const 6)) (then (unreachable)))
             (local.set $i (i32.add (local.get $i) (i32.const 1)))
             (br $next)))
         (call $mark (local.get $i))",
    ),
    ("recursion", "(if (local.get 0) (then (call $run (i32.sub (local.get 0) (i32.const 1))) (call $run (i32.sub (local.get 0) (i32.const 1))))) (call $mark (local.get 0))"),
    (
        "bulk",
        "(memory.fill (i64.const 100) (local.get 0) (i64.extend_i32_u (i32.mul (local.get 0) (i32.const 7))))
         (memory.copy (i64.const 300) (i64.const 100) (i64.extend_i32_u (i32.mul (local.get 0) (i32.const 5))))
         (memory.init $words (i64.const 90) (i32.const 1) (local.get 0))
         (drop (memory.grow (i64.const 0)))
         (call $mark (local.get 0))",
    ),
    ("overflow", "(call $mark (local.get 0)) (call $run (local.get 0))"),
];

fn program(body: &str) -> String {
    format!(
        "(module (memory i64 1 40) (data $words \"abcdefgh\") (global $marks (mut i64) (i64.const 0))
           (func $mark (param i32)
             (global.set $marks (i64.add (i64.mul (global.get $marks) (i64.const 31)) (i64.extend_i32_u (local.get 0)))))
           (func $run (export \"run\") (param i32) {body}))"
    )
}

#[test]
fn both_engines_run_out_at_the_same_place_whatever_the_limit() {
    let (mut calls, mut dry) = (0, 0);
    for (name, body) in PROGRAMS {
        for charging in [Charging::EachBlock, Charging::Regions { slack: 0 }, Charging::DEFAULT] {
            let mut both = Both::start(&program(body), charging);
            for arg in [1, 2, 4, 7] {
                let (outcome, used) = both.call("run", &[V::I32(arg)], PLENTY);
                // Every limit up to what is used would take long: some, and those around the end.
                let stride = (used / 60).max(1);
                let limits = (0..used).step_by(stride as usize).chain([used - 1, used, used + 1]);
                for limit in limits {
                    let (limited, used_now) = both.call("run", &[V::I32(arg)], limit);
                    calls += 1;
                    dry += i32::from(used_now > limit);
                    if limit >= used {
                        assert_eq!((limited, used_now), (outcome.clone(), used), "{name}({arg}) with {limit}");
                    } else {
                        assert!(used_now > limit, "{name}({arg}) with {limit} used {used_now}");
                        assert!(used_now <= used, "{name}({arg}) with {limit} used {used_now}");
                    }
                }
            }
        }
    }
    println!("{calls} calls, {dry} out of gas");
}

#[test]
fn every_single_limit_of_a_small_program_stops_both_engines_alike() {
    let (_, body) = PROGRAMS[1];
    let mut both = Both::start(&program(body), Charging::DEFAULT);
    let used = both.used("run", &[V::I32(6)]);
    let ends: Vec<i64> = (0..=used).map(|limit| both.call("run", &[V::I32(6)], limit).1).collect();
    assert!(ends.is_sorted(), "more gas never ends earlier");
    assert_eq!(ends.last(), Some(&used));
}

#[test]
fn endless_loops_and_endless_trees_of_calls_end() {
    let text = "(module
        (func (export \"loop\") (loop (br 0)))
        (func $memory-less (export \"nest\") (loop $a (loop $b (br_if $a (i32.const 1)) (br $b))))
        (func (export \"table\") (loop (br_table 0 0 (i32.const 3))))
        (func $tree (export \"tree\") (param i32)
          (if (local.get 0) (then
            (call $tree (i32.sub (local.get 0) (i32.const 1)))
            (call $tree (i32.sub (local.get 0) (i32.const 1)))))))";
    for charging in [Charging::EachBlock, Charging::Regions { slack: 0 }, Charging::DEFAULT] {
        let mut both = Both::start(text, charging);
        for (name, args) in [("loop", vec![]), ("nest", vec![]), ("table", vec![]), ("tree", vec![V::I32(60)])] {
            let (outcome, used) = both.call(name, &args, 1_000_000);
            assert_eq!(outcome, Err(Trap::Unreachable), "{name}");
            assert!((1_000_001..1_005_000).contains(&used), "{name}: {used} is past the limit by more than a turn");
        }
    }
}

#[test]
fn whoever_traps_has_paid_for_the_region_and_no_more_than_whoever_does_not() {
    let text = "(module (memory i64 1)
        (func (export \"run\") (param i32) (result i32)
          (i32.store (i64.const 0) (i32.div_u (i32.const 8) (local.get 0)))
          (i32.mul (i32.load (i64.const 0)) (i32.const 3))))";
    let mut both = Both::start(text, Charging::DEFAULT);
    let used = both.used("run", &[V::I32(2)]);
    assert_eq!(both.call("run", &[V::I32(0)], PLENTY), (Err(Trap::DivisionByZero), used));
    assert_eq!(both.call("run", &[V::I32(0)], used - 1), (Err(Trap::DivisionByZero), used), "the count alone tells");
}

#[test]
fn bulk_operators_are_charged_by_what_they_are_asked_for() {
    let text = "(module (memory i64 2 3) (data $d \"0123456789\") (table 20 funcref)
        (func (export \"fill\") (param i64) (memory.fill (i64.const 0) (i32.const 1) (local.get 0)))
        (func (export \"copy\") (param i64) (memory.copy (i64.const 0) (i64.const 9) (local.get 0)))
        (func (export \"init\") (param i32) (memory.init $d (i64.const 0) (i32.const 0) (local.get 0)))
        (func (export \"table\") (param i32) (table.fill 0 (i32.const 0) (ref.null func) (local.get 0)))
        (func (export \"grow\") (param i64) (drop (memory.grow (local.get 0)))))";
    let mut both = Both::start(text, Charging::DEFAULT);
    let mut by = |name: &str, a: V, b: V| both.used(name, &[b]) - both.used(name, &[a]);
    let per_byte = by("fill", V::I64(0), V::I64(1));
    assert!(per_byte > 0);
    assert_eq!(by("fill", V::I64(10), V::I64(65_546)), 65_536 * per_byte);
    assert_eq!(by("copy", V::I64(10), V::I64(65_546)), 65_536 * per_byte);
    assert_eq!(by("init", V::I32(1), V::I32(9)), 8 * per_byte);
    let per_entry = by("table", V::I32(0), V::I32(1));
    assert_eq!(by("table", V::I32(0), V::I32(20)), 20 * per_entry);
    let refused = by("grow", V::I64(0), V::I64(7));
    assert_eq!(refused, 0, "pages that were not given are not charged");
    assert!(by("grow", V::I64(0), V::I64(1)) > 65_536);
    // More bytes than there are cost as if there were 4 GiB of them, and trap if that can be paid.
    for bytes in [1 << 32, u64::MAX] {
        assert_eq!(both.call("fill", &[V::I64(bytes)], PLENTY).0, Err(Trap::Memory));
        let (outcome, used) = both.call("fill", &[V::I64(bytes)], 1_000_000);
        assert_eq!(outcome, Err(Trap::Unreachable));
        assert!(used > per_byte << 32);
    }
}

#[test]
fn no_branch_costs_more_than_the_slack_too_much() {
    let arms = "(if (local.get 0) (then (global.set 0 (i32.const 1))))".repeat(50);
    let text = format!("(module (global (mut i32) (i32.const 0)) (func (export \"run\") (param i32) {arms}))");
    let used = |charging, arg| Both::start(&text, charging).used("run", &[V::I32(arg)]);
    let exact = Charging::Regions { slack: 0 };
    assert_eq!(used(Charging::DEFAULT, 1), used(exact, 1), "whoever takes every arm pays exactly");
    let (too_much, slack) = (used(Charging::DEFAULT, 0) - used(exact, 0), 50 * GAS_SLACK as i64);
    assert!((1..=slack).contains(&too_much), "{too_much}");
    assert_eq!(used(Charging::DEFAULT, 0), used(Charging::DEFAULT, 1), "arms this cheap are all paid for");
}

#[test]
fn code_behind_a_call_is_paid_for_before_it_where_only_asyncify_could_end_there() {
    let text = "(module (global $state (mut i32) (i32.const 0))
      (func (export \"asyncify_start_unwind\") (global.set $state (i32.const 1)))
      (func $callee)
      (func (export \"run\") (result i32)
        (call $callee)
        (if (i32.or (i32.eq (global.get $state) (i32.const 1)) (i32.const 0)) (then (return (i32.const 7))))
        (i32.div_u (i32.const 9) (i32.const 3))))";
    let used = |charging| {
        let mut both = Both::start(text, charging);
        let quiet = both.used("run", &[]);
        both.used("asyncify_start_unwind", &[]);
        (quiet, both.used("run", &[]))
    };
    let (each, regions) = (used(Charging::EachBlock), used(Charging::Regions { slack: 0 }));
    assert_eq!(each.0, regions.0);
    assert!(each.1 < each.0 && regions.1 > regions.0, "{each:?} {regions:?}");
}

#[test]
fn a_stack_overflow_and_an_empty_tank_are_told_apart() {
    let mut both = Both::start("(module (func $f (export \"run\") (call $f)))", Charging::DEFAULT);
    let (outcome, used) = both.call("run", &[], PLENTY);
    assert_eq!(outcome, Err(Trap::Unreachable));
    assert_eq!(both.fast.global(EXPORT_DEPTH), Some(V::I32(DEPTH_EXCEEDED as u32)));
    let (outcome, _) = both.call("run", &[], used / 2);
    assert_eq!(outcome, Err(Trap::Unreachable));
    assert_ne!(both.fast.global(EXPORT_DEPTH), Some(V::I32(DEPTH_EXCEEDED as u32)));
    assert!(both.fast.gas_left() < 0);
}

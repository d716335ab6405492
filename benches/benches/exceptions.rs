//! What legacy exceptions cost as we translate them: a loop over two calls, of which the inner one throws never, once in eight
//! rounds, or each time; beside it the same loop with status codes in place of exceptions, and with a trap.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking; criterion's macros write no docs")]

use std::time::Duration;

use ao_benches::ours::thread_time;
use ao_benches::work::Plain;
use ao_kernel::profile::STACK_LIMIT;
use ao_kernel::rewrite::{Charging, Plan, translate_exceptions};
use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};

const PLAN: Plan = Plan { stack_limit: Some(STACK_LIMIT), canonical_nan: true, gas: Some(Charging::DEFAULT) };

/// How often something is thrown: in rounds whose number has none of these bits.
const OFTEN: [(&str, u32); 3] = [("never thrown", u32::MAX), ("one in eight thrown", 7), ("each thrown", 0)];

/// Some thirty operators of work that no compiler folds.
const MIX: &str = "
  (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1103515245)) (local.get $n)))
  (local.set $x (i32.xor (local.get $x) (i32.shr_u (local.get $x) (i32.const 13))))
  (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 7))))";

/// Whether this round throws.
const THROWS: &str = "(i32.eqz (i32.and (local.get $n) (global.get $mask)))";

const EXCEPTIONS: &str = "
  (tag $thrown (param i32))
  (func $inner (param $x i32) (param $n i32) (result i32) MIX
    (if THROWS (then (throw $thrown (local.get $x))))
    (i32.add (local.get $x) (i32.const 1)))
  (func $outer (param $x i32) (param $n i32) (result i32)
    (i32.xor (call $inner (local.get $x) (local.get $n)) (i32.const 5)))
  (func (export \"run\") (param $n i32) (result i32) (local $x i32)
    (loop $next
      try (local.set $x (call $outer (local.get $x) (local.get $n)))
      catch $thrown i32.const 3 i32.mul local.set $x
      end
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $x))";

const STATUS: &str = "
  (func $inner (param $x i32) (param $n i32) (result i32 i32) MIX
    (if THROWS (then (return (local.get $x) (i32.const 1))))
    (i32.add (local.get $x) (i32.const 1)) (i32.const 0))
  (func $outer (param $x i32) (param $n i32) (result i32 i32) (local $status i32)
    (call $inner (local.get $x) (local.get $n)) (local.set $status) (local.set $x)
    (if (local.get $status) (then (return (local.get $x) (local.get $status))))
    (i32.xor (local.get $x) (i32.const 5)) (i32.const 0))
  (func (export \"run\") (param $n i32) (result i32) (local $x i32) (local $status i32)
    (loop $next
      (call $outer (local.get $x) (local.get $n)) (local.set $status) (local.set $x)
      (if (local.get $status) (then (local.set $x (i32.mul (local.get $x) (i32.const 3)))))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $x))";

const TRAP: &str = "
  (func $inner (param $x i32) (param $n i32) (result i32) MIX
    (if THROWS (then unreachable))
    (i32.add (local.get $x) (i32.const 1)))
  (func $outer (param $x i32) (param $n i32) (result i32)
    (i32.xor (call $inner (local.get $x) (local.get $n)) (i32.const 5)))
  (func (export \"run\") (param $n i32) (result i32) (local $x i32)
    (loop $next
      (local.set $x (call $outer (local.get $x) (local.get $n)))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $x))";

/// The guest of this text, translated if it needs to be.
fn guest(text: &str, mask: u32) -> Plain {
    let text = text.replace("MIX", &MIX.repeat(3)).replace("THROWS", THROWS);
    let wasm = wat::parse_str(format!("(module (global $mask (mut i32) (i32.const {mask})) {text})")).unwrap();
    Plain::new(&translate_exceptions(&wasm).unwrap(), &PLAN)
}

fn exceptions(c: &mut Criterion) {
    for (often, mask) in OFTEN {
        let mut group = c.benchmark_group(format!("exceptions, {often}"));
        group.sampling_mode(SamplingMode::Flat).sample_size(15);
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        let kinds = [("translated", EXCEPTIONS), ("status codes", STATUS), ("a trap", TRAP)];
        let may_throw = if mask == u32::MAX { 3 } else { 2 };
        let mut guests = kinds.map(|(_, text)| guest(text, mask));
        let ends: Vec<u32> = guests[..may_throw].iter_mut().map(|guest| guest.run(1000).0).collect();
        assert!(ends.iter().all(|end| *end == ends[0]), "{often}: {ends:?}");
        for ((name, _), guest) in kinds.iter().zip(&mut guests).take(may_throw) {
            group.bench_function(*name, |b| {
                b.iter_custom(|count| thread_time(|| _ = guest.run(u32::try_from(count).unwrap())));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, exceptions);
criterion_main!(benches);

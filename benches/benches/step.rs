//! One step of aos 2.0.6, a trivial Eval: ours with everything on, wasmer with nothing on, and the reference loader.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking; criterion's macros write no docs")]

use std::hint::black_box;
use std::time::Duration;

use ao_benches::bare::Bare;
use ao_benches::log::{EvalLog, Texts};
use ao_benches::ours::{machine_at, session_at, thread_time, time_forks, time_machine, time_session};
use ao_benches::peer::Reference;
use ao_benches::{aos, aos_lowered_by_binaryen};
use ao_commit::CheckpointPolicy;
use ao_kernel::profile::STACK_LIMIT;
use ao_kernel::rewrite::{Charging, Plan, instrument, lower};
use criterion::{BenchmarkGroup, Criterion, SamplingMode, criterion_group, criterion_main, measurement::WallTime};

/// Steps before anything is measured: the spawn, and enough for Lua's heap and the caches to settle.
const WARM_UP: u64 = 40;

fn group<'c>(c: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = c.benchmark_group(name);
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    group
}

/// Receipts, and a state root every 32 steps.
fn session(group: &mut BenchmarkGroup<'_, WallTime>) {
    let start = || {
        let (mut session, mut log) = session_at(CheckpointPolicy::default(), WARM_UP);
        let last = session.step(&log.take(1)[0]).unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&last.result_json).unwrap();
        assert_eq!(answer["Output"]["data"], "2", "{answer}");
        (session, log)
    };
    let mut running = None;
    group.bench_function("session", |b| {
        let (session, log) = running.get_or_insert_with(start);
        b.iter_custom(|count| time_session(session, &log.take(count)));
    });
}

/// The guest, its rollback and the merged result, without message building, receipts and roots.
fn machine(group: &mut BenchmarkGroup<'_, WallTime>) {
    let mut running = None;
    group.bench_function("machine", |b| {
        let (machine, log) = running.get_or_insert_with(|| machine_at(WARM_UP));
        b.iter_custom(|count| time_machine(machine, &log.take_texts(count)));
    });
}

/// The same as dry-runs, which leave nothing behind.
fn forks(group: &mut BenchmarkGroup<'_, WallTime>) {
    let mut running = None;
    group.bench_function("dry-run on a fork", |b| {
        let (machine, log) = running.get_or_insert_with(|| machine_at(WARM_UP));
        b.iter_custom(|count| time_forks(machine, &log.take_texts(count)));
    });
}

fn bare(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, wasm: impl Fn() -> Vec<u8>) {
    let run = |bare: &mut Bare, messages: &[Texts]| {
        thread_time(|| {
            for texts in messages {
                black_box(bare.step(&texts.message, &texts.env));
            }
        })
    };
    let start = || {
        let (mut bare, mut log) = (Bare::new(&wasm()), EvalLog::new());
        run(&mut bare, &log.take_texts(WARM_UP));
        (bare, log)
    };
    let mut running = None;
    group.bench_function(name, |b| {
        let (bare, log) = running.get_or_insert_with(start);
        b.iter_custom(|count| run(bare, &log.take_texts(count)));
    });
}

fn reference(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, copies: bool) {
    let start = || {
        let (mut reference, mut log) = (Reference::start(copies), EvalLog::new());
        reference.run(&log.take_texts(if copies { 3 } else { WARM_UP }));
        (reference, log)
    };
    let mut running = None;
    group.bench_function(name, |b| {
        let (reference, log) = running.get_or_insert_with(start);
        b.iter_custom(|count| reference.run(&log.take_texts(count)));
    });
}

fn step(c: &mut Criterion) {
    let mut group = group(c, "step");
    session(&mut group);
    bare(&mut group, "bare wasmer", aos_lowered_by_binaryen);
    machine(&mut group);
    forks(&mut group);
    reference(&mut group, "reference loader in place", false);
    group.sample_size(10);
    reference(&mut group, "reference loader with copies", true);
    group.finish();
}

/// What each rewriting costs the guest: the same bare engine over more and more of it.
fn rewriting(c: &mut Criterion) {
    let mut group = group(c, "step of bare wasmer");
    let stack_limit = Some(STACK_LIMIT);
    let plans = [
        ("exact addresses", Plan { stack_limit: None, canonical_nan: false, gas: None }),
        ("exact addresses, canonical NaN", Plan { stack_limit: None, canonical_nan: true, gas: None }),
        ("exact addresses, stack bound", Plan { stack_limit, canonical_nan: false, gas: None }),
        ("exact addresses, canonical NaN, stack bound", Plan { stack_limit, canonical_nan: true, gas: None }),
        ("all of these, gas", Plan { stack_limit, canonical_nan: true, gas: Some(Charging::DEFAULT) }),
        (
            "all of these, gas without slack",
            Plan { stack_limit, canonical_nan: true, gas: Some(Charging::Regions { slack: 0 }) },
        ),
        ("all of these, gas at each block", Plan { stack_limit, canonical_nan: true, gas: Some(Charging::EachBlock) }),
    ];
    bare(&mut group, "plainly lowered", aos_lowered_by_binaryen);
    for (name, plan) in plans {
        bare(&mut group, name, || lower(&instrument(&aos(), &plan).unwrap()).unwrap());
    }
    group.finish();
}

criterion_group!(benches, step, rewriting);
criterion_main!(benches);

//! One step of aos 2.0.6, a trivial Eval: ours with everything on, wasmer with nothing on, and the reference loader.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking; criterion's macros write no docs")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use ao_benches::bare::Bare;
use ao_benches::log::EvalLog;
use ao_benches::ours::{machine_at, session_at, time_machine, time_session};
use ao_benches::peer::Reference;
use ao_benches::{AOS_FORMAT, aos, aos_lowered_by_binaryen};
use ao_commit::CheckpointPolicy;
use ao_kernel::Module;
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
fn session(group: &mut BenchmarkGroup<'_, WallTime>, module: &Module) {
    let (mut session, mut log) = session_at(module, CheckpointPolicy::default(), WARM_UP);
    let last = session.step(&log.take(1)[0]).unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&last.result_json).unwrap();
    assert_eq!(answer["Output"]["data"], "2", "{answer}");
    group.bench_function("session", |b| b.iter_custom(|count| time_session(&mut session, &log.take(count))));
}

/// The guest, its rollback and the merged result, without message building, receipts and roots.
fn machine(group: &mut BenchmarkGroup<'_, WallTime>, module: &Module) {
    let (mut machine, mut log) = machine_at(module, WARM_UP);
    group.bench_function("machine", |b| b.iter_custom(|count| time_machine(&mut machine, &log.take_texts(count))));
}

fn bare(group: &mut BenchmarkGroup<'_, WallTime>) {
    let mut log = EvalLog::new();
    let mut bare = Bare::new(&aos_lowered_by_binaryen());
    for texts in log.take_texts(WARM_UP) {
        bare.step(&texts.message, &texts.env);
    }
    group.bench_function("bare wasmer", |b| {
        b.iter_custom(|count| {
            let texts = log.take_texts(count);
            let start = Instant::now();
            for texts in &texts {
                black_box(bare.step(&texts.message, &texts.env));
            }
            start.elapsed()
        });
    });
}

fn reference(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, copies: bool) {
    let mut log = EvalLog::new();
    let mut reference = Reference::start(copies);
    reference.run(&log.take_texts(if copies { 3 } else { WARM_UP }));
    group.bench_function(name, |b| b.iter_custom(|count| reference.run(&log.take_texts(count))));
}

fn step(c: &mut Criterion) {
    let module = Module::load(&aos(), AOS_FORMAT, None).unwrap();
    let mut group = group(c, "step");
    session(&mut group, &module);
    bare(&mut group);
    machine(&mut group, &module);
    reference(&mut group, "reference loader in place", false);
    group.sample_size(10);
    reference(&mut group, "reference loader with copies", true);
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);

//! What commitments cost: the memory tree, a receipt, and steps with and without state roots.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking; criterion's macros write no docs")]

use std::hint::black_box;
use std::time::Duration;

use ao_benches::log::EvalLog;
use ao_benches::ours::{machine_at, session_at, time_machine, time_session};
use ao_commit::{CheckpointPolicy, MemoryTree, Outcome, ReceiptChain, Step, input_hash, result_hash};
use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};

const MEMORY_BYTES: usize = 16 << 20;
const WARM_UP: u64 = 40;

/// Groups spread evenly over 16 MiB: the worst case, since neighbours share ancestors.
fn tree(c: &mut Criterion) {
    let mut group = c.benchmark_group("memory tree of 16 MiB");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
    let memory: Vec<u8> =
        (0..MEMORY_BYTES as u32 / 4).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let mut tree = MemoryTree::new(MEMORY_BYTES as u64).unwrap();
    tree.update(&memory, 0..tree.groups()).unwrap();
    for changed in [10, 50, 500] {
        let stride = tree.groups() as usize / changed;
        group.bench_function(format!("{changed} groups and the root"), |b| {
            b.iter(|| {
                tree.update(black_box(&memory), (0..tree.groups()).step_by(stride).take(changed)).unwrap();
                tree.root()
            });
        });
    }
    group.bench_function("peer: BLAKE3 of the whole memory", |b| b.iter(|| blake3::hash(black_box(&memory))));
    group.finish();
}

/// Hashes of input and result, and the receipt itself, for one trivial Eval.
fn receipt(c: &mut Criterion) {
    let mut log = EvalLog::new();
    let texts = log.take_texts(2).pop().unwrap();
    let (mut session, mut entries) = session_at(policy(32), 1);
    let result = session.step(&entries.take(1)[0]).unwrap().result_json;
    let mut chain = ReceiptChain::start([1; 32], [2; 32], [3; 32], policy(1 << 30), 0);
    c.bench_function("receipt", |b| {
        b.iter(|| {
            chain.push(Step {
                nonce: chain.next_nonce(),
                assignment_id: [4; 32],
                input_hash: input_hash(black_box(texts.message.as_bytes()), texts.env.as_bytes()),
                outcome: Outcome::Ok,
                result_hash: result_hash(black_box(&result)),
                gas: 0,
                state_root: None,
            })
        });
    });
}

fn policy(every: u32) -> CheckpointPolicy {
    CheckpointPolicy::every(every).unwrap()
}

/// The share of commitments is (with roots − without) / with. `machine` takes its images all the same.
fn share(c: &mut Criterion) {
    let mut group = c.benchmark_group("steps with commitments");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    let mut running = None;
    group.bench_function("none: machine alone", |b| {
        let (machine, log) = running.get_or_insert_with(|| machine_at(WARM_UP));
        b.iter_custom(|count| time_machine(machine, &log.take_texts(count)));
    });
    for (name, every) in [("receipts", 1 << 30), ("receipts, roots every 32", 32), ("receipts, a root each", 1)] {
        let mut running = None;
        group.bench_function(name, |b| {
            let (session, log) = running.get_or_insert_with(|| session_at(policy(every), WARM_UP));
            b.iter_custom(|count| time_session(session, &log.take(count)));
        });
    }
    group.finish();
}

criterion_group!(benches, tree, receipt, share);
criterion_main!(benches);

//! What commitments cost: the memory tree, a receipt, and steps with and without state roots.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking; criterion's macros write no docs")]

use std::hint::black_box;
use std::time::Duration;

use ao_benches::log::EvalLog;
use ao_benches::ours::{machine_at, session_at, thread_time, time_machine, time_session};
use ao_commit::{CheckpointPolicy, GROUP_BYTES, MemoryTree, Outcome, ReceiptChain, Step, input_hash, result_hash};
use ao_kernel::{Machine, Module, ModuleFormat, ProcessLimits, Tracker};
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
                tick: 0,
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

/// Adds 1 to a byte in each group of a memory of PAGES pages; a message that begins with `f` traps then.
const TOUCH: &str = r#"(module
  (memory (export "memory") PAGES)
  (global $side (mut i32) (i32.const 0))
  (data (i32.const 8) "{\"ok\":true,\"response\":{\"Output\":\"\"}}\00")
  (func (export "malloc") (param i32) (result i32)
    (global.set $side (i32.xor (global.get $side) (i32.const 64)))
    (i32.add (i32.const 1024) (global.get $side)))
  (func (export "handle") (param $message i32) (param i32) (result i32)
    (local $at i32)
    (local.set $at (i32.shl (memory.size) (i32.const 16)))
    (loop $next
      (local.set $at (i32.sub (local.get $at) (i32.const 4096)))
      (i32.store8 offset=2048 (local.get $at) (i32.add (i32.load8_u offset=2048 (local.get $at)) (i32.const 1)))
      (br_if $next (local.get $at)))
    (if (i32.eq (i32.load8_u (local.get $message)) (i32.const 102)) (then unreachable))
    (i32.const 8)))"#;

/// The most that a step can make its host copy, compare and hash for the least gas.
fn touch(c: &mut Criterion) {
    let mut group = c.benchmark_group("a step that writes to each group");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for mib in [16_u64, 256, 1023] {
        let wasm = wat::parse_str(TOUCH.replace("PAGES", &(16 * mib).to_string())).unwrap();
        let module = Module::load(&wasm, ModuleFormat::Wasip1, None).unwrap();
        let limits = ProcessLimits { memory_bytes_max: 1 << 30, compute_max: 9_000_000_000_000 };
        let mut machine = Machine::start(&module, "{}".into(), &limits, Tracker::Best).unwrap();
        let mut tree = MemoryTree::new(mib << 20).unwrap();
        let mut rooted = || {
            let step = machine.step("t").unwrap();
            let mut changed = Vec::new();
            machine.commit(|index| changed.push(index)).unwrap();
            assert!(step.interrupt.is_none() && changed.len() as u64 >= (mib << 20) / GROUP_BYTES as u64);
            tree.update(machine.memory(), changed).unwrap();
            black_box(tree.root());
            step.gas
        };
        let name = format!("{mib} MiB, {} million gas", rooted() / 1_000_000);
        group.bench_function(format!("{name}, and a root"), |b| {
            b.iter_custom(|count| thread_time(|| (0..count).for_each(|_| _ = rooted())));
        });
        group.bench_function(format!("{name}, and fails"), |b| {
            b.iter_custom(|count| {
                thread_time(|| (0..count).for_each(|_| assert!(machine.step("f").unwrap().interrupt.is_some())))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, tree, receipt, share, touch);
criterion_main!(benches);

//! From a module's bytes to something that runs: cold, and from the artifact cache.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking; criterion's macros write no docs")]

use std::time::Duration;

use ao_benches::{AOS_FORMAT, aos, aos_lowered_by_binaryen};
use ao_kernel::{ArtifactCache, Module};
use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use wasmer::sys::{Cranelift, CraneliftOptLevel, EngineBuilder};

fn cold(c: &mut Criterion) {
    let (published, lowered) = (aos(), aos_lowered_by_binaryen());
    let mut group = c.benchmark_group("compile aos 2.0.6");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_secs(5));
    group.bench_function("admit, rewrite, compile", |b| b.iter(|| Module::load(&published, AOS_FORMAT, None).unwrap()));
    group.bench_function("peer: wasmer compiles what Binaryen lowered", |b| {
        b.iter(|| {
            let mut compiler = Cranelift::default();
            compiler.opt_level(CraneliftOptLevel::Speed);
            let engine: wasmer::Engine = EngineBuilder::new(compiler).engine().into();
            wasmer::Module::new(&engine, &lowered).unwrap()
        });
    });
    group.finish();
}

fn cached(c: &mut Criterion) {
    let published = aos();
    let dir = tempfile::tempdir().unwrap();
    let cache = ArtifactCache::new(dir.path());
    let load = || Module::load(&published, AOS_FORMAT, Some(&cache)).unwrap();
    load();
    let mut group = c.benchmark_group("load aos 2.0.6");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.bench_function("from a warm cache", |b| b.iter(load));
    group.bench_function("peer: BLAKE3 of the module alone", |b| b.iter(|| blake3::hash(&published)));
    group.finish();
}

criterion_group!(benches, cold, cached);
criterion_main!(benches);

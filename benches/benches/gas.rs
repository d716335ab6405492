//! What counting gas costs: each piece of work with everything else on, without gas and with it. Programs of aos run bare, on the
//! module's own functions, and as a step truly runs: in a session, on quiet twins.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking; criterion's macros write no docs")]

use std::time::Duration;

use ao_benches::aos;
use ao_benches::bare::Bare;
use ao_benches::log::EvalLog;
use ao_benches::ours::{MODULE, UNCOUNTED, session_of, thread_time, time_session};
use ao_benches::work::{LUA, PROGRAMS, Plain, program};
use ao_commit::{CheckpointPolicy, Outcome};
use ao_kernel::profile::STACK_LIMIT;
use ao_kernel::rewrite::{Charging, Plan, instrument, lower};
use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};

const KINDS: [(&str, Option<Charging>); 2] = [("without gas", None), ("with gas", Some(Charging::DEFAULT))];
/// The spawn, and a few messages for Lua's heap to settle.
const WARM_UP: u64 = 20;

fn plan(gas: Option<Charging>) -> Plan {
    Plan { stack_limit: Some(STACK_LIMIT), canonical_nan: true, gas }
}

fn overhead(c: &mut Criterion) {
    for (name, source) in LUA {
        group(c, name, |gas| {
            let mut bare = Bare::new(&lower(&instrument(&aos(), &plan(gas)).unwrap()).unwrap());
            let mut log = EvalLog::of(source);
            let mut run = move |count| {
                let texts = log.take_texts(count);
                thread_time(|| texts.iter().for_each(|it| drop(bare.step(&it.message, &it.env))))
            };
            run(WARM_UP);
            run
        });
        group(c, &format!("{name}, a step"), |gas| {
            let module = if gas.is_some() { &MODULE } else { &UNCOUNTED };
            let (mut session, mut log) = session_of(module, EvalLog::of(source), CheckpointPolicy::default(), WARM_UP);
            let last = session.step(&log.take(1)[0]).unwrap().receipt;
            assert_eq!(last.outcome, Outcome::Ok);
            move |count| time_session(&mut session, &log.take(count))
        });
    }
    for (name, _) in PROGRAMS {
        group(c, name, |gas| {
            let mut guest = Plain::new(&program(name), &plan(gas));
            move |count| thread_time(|| _ = guest.run(count as u32))
        });
    }
}

/// `start` makes what runs a number of rounds and says how long they took.
fn group<R: FnMut(u64) -> Duration>(c: &mut Criterion, name: &str, start: impl Fn(Option<Charging>) -> R) {
    let mut group = c.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat).sample_size(15);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1500));
    for (kind, gas) in KINDS {
        let mut running = None;
        group.bench_function(kind, |b| {
            let run = running.get_or_insert_with(|| start(gas));
            b.iter_custom(&mut *run);
        });
    }
    group.finish();
}

criterion_group!(benches, overhead);
criterion_main!(benches);

//! Our own side of a bench: a process some steps into its log, and the time that further steps take.
//!
//! Invariant: signing and building of the inputs is outside of what is timed.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ao_commit::CheckpointPolicy;
use ao_kernel::{Machine, Module, ProcessLimits, Tracker};
use ao_log::{LogEntry, Nonce};
use ao_replay::{Session, Setup};

use crate::log::{EvalLog, Texts, module_meta};

/// A session `steps` into the log that it comes with.
pub fn session_at(module: &Module, policy: CheckpointPolicy, steps: u64) -> (Session, EvalLog) {
    let mut log = EvalLog::new();
    let setup = Setup::new(log.process(), &module_meta(), module.clone(), policy, Tracker::Best).unwrap();
    let mut session = Session::start(setup, Nonce(0)).unwrap();
    time_session(&mut session, &log.take(steps));
    (session, log)
}

/// What a session takes for the entries: parsing items, building messages, steps, rollback, receipts, roots.
pub fn time_session(session: &mut Session, entries: &[LogEntry]) -> Duration {
    let start = Instant::now();
    for entry in entries {
        black_box(session.step(entry).unwrap());
    }
    start.elapsed()
}

/// A machine `steps` into the log that it comes with.
pub fn machine_at(module: &Module, steps: u64) -> (Machine, EvalLog) {
    let mut log = EvalLog::new();
    let limits = ProcessLimits { memory_bytes_max: 1 << 30, compute_max: 9_000_000_000_000 };
    let mut machine = Machine::start(module, log.env(), &limits, Tracker::Best).unwrap();
    time_machine(&mut machine, &log.take_texts(steps));
    (machine, log)
}

/// What a machine takes for the messages: steps, rollback and merged results, nothing hashed.
pub fn time_machine(machine: &mut Machine, messages: &[Texts]) -> Duration {
    let start = Instant::now();
    for texts in messages {
        black_box(machine.step(&texts.message).unwrap());
    }
    start.elapsed()
}

//! Our own side of a bench: a process some steps into its log, and the time that further steps take.
//!
//! Invariant: signing and building of the inputs is outside of what is timed; time is that of the thread, so that what
//! else the machine does shows less.

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Duration;

use ao_commit::CheckpointPolicy;
use ao_kernel::{Machine, Module, ProcessLimits, Tracker};
use ao_log::{LogEntry, Nonce};
use ao_replay::{Session, Setup};

use crate::log::{EvalLog, Texts, module_meta};
use crate::{AOS_FORMAT, aos};

const LIMITS: ProcessLimits = ProcessLimits { memory_bytes_max: 1 << 30, compute_max: 9_000_000_000_000 };

/// What all sessions and machines here run.
pub static MODULE: LazyLock<Module> = LazyLock::new(|| Module::load(&aos(), AOS_FORMAT, None).unwrap());

/// The same without gas.
pub static UNCOUNTED: LazyLock<Module> = LazyLock::new(|| Module::load_uncounted(&aos(), AOS_FORMAT).unwrap());

/// CPU time of this thread that `work` takes.
pub fn thread_time(work: impl FnOnce()) -> Duration {
    let now = || {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call fills the structure it is given and keeps no pointer to it.
        let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
        assert_eq!(status, 0, "this system has no clock per thread");
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    let start = now();
    work();
    now().saturating_sub(start)
}

/// A session `steps` into the log that it comes with.
pub fn session_at(policy: CheckpointPolicy, steps: u64) -> (Session, EvalLog) {
    session_of(&MODULE, EvalLog::new(), policy, steps)
}

/// The same on another module and log.
pub fn session_of(module: &Module, mut log: EvalLog, policy: CheckpointPolicy, steps: u64) -> (Session, EvalLog) {
    let setup = Setup::new(log.process(), &module_meta(), module.clone(), policy, Tracker::Best).unwrap();
    let mut session = Session::start(setup, Nonce(0)).unwrap();
    time_session(&mut session, &log.take(steps));
    (session, log)
}

/// What a session takes for the entries: parsing items, building messages, steps, rollback, receipts, roots.
pub fn time_session(session: &mut Session, entries: &[LogEntry]) -> Duration {
    thread_time(|| {
        for entry in entries {
            black_box(session.step(entry).unwrap());
        }
    })
}

/// A machine `steps` into the log that it comes with.
pub fn machine_at(steps: u64) -> (Machine, EvalLog) {
    let mut log = EvalLog::new();
    let mut machine = Machine::start(&MODULE, log.env(), &LIMITS, Tracker::Best).unwrap();
    time_machine(&mut machine, &log.take_texts(steps));
    (machine, log)
}

/// What a machine takes for the messages: steps, rollback and merged results, nothing hashed.
pub fn time_machine(machine: &mut Machine, messages: &[Texts]) -> Duration {
    thread_time(|| {
        for texts in messages {
            black_box(machine.step(&texts.message).unwrap());
        }
    })
}

/// What the messages take as dry-runs, each on a fork of its own that is thrown away.
pub fn time_forks(machine: &mut Machine, messages: &[Texts]) -> Duration {
    thread_time(|| {
        for texts in messages {
            black_box(machine.fork(&MODULE, &LIMITS).unwrap().step(&texts.message).unwrap());
        }
    })
}

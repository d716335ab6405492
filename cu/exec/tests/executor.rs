//! Many processes on many threads: whatever is evicted, shared, cancelled, dry-run or killed, the receipts are those of
//! one session that evaluates the log alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ao_commit::CheckpointPolicy;
use ao_exec::{DryRun, ExecError, Executor, Options};
use ao_kernel::{Module, Tracker};
use ao_log::{Assigned, Nonce};
use ao_replay::{ReplayError, Session, Setup};
use ao_store::{Query, Store, TwinDisk};
use ao_tests::{Guest, LogBuilder, item};
use ao_wire::{DataItem, Id, MessageId, ProcessId, Signer};

const MESSAGES: u64 = 90;

/// Waits for a future on this thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn log(number: u32, messages: u64) -> LogBuilder {
    let guest = Guest::load(["counter", "memory_grow", "table_state"][number as usize % 3], 32);
    // Some have crons: with entries a second apart two ticks before most of them.
    let crons = [("Cron-Interval", "1-second"), ("Cron-Tag-Action", "Tick!"), ("Cron-Interval", "1-second")];
    let log = LogBuilder::tagged(&guest, if number % 4 == 1 { &crons } else { &[] }, number);
    (0..messages).fold(log, |mut log, message| {
        match message {
            // What another process sent, signed anew each time.
            _ if message % 10 == 7 => {
                let signer = Signer::ed25519(&[100 + message as u8; 32]);
                let tags = [("From-Process", "x"), ("Type", "Message"), ("Data-Protocol", "ao")];
                let data = (message / 20).to_string();
                log.push(item(&signer, Some(log.process_id().id()), &tags, data.as_bytes()));
            }
            _ if message % 20 == 13 => log.push_assignment(id(&elsewhere()), &[]),
            // A message of this very log.
            _ if message % 20 == 16 => log.push_assignment(id(log.entries()[2].message.as_ref().unwrap()), &[]),
            _ => return log.message(&format!("message {message}")),
        }
        log
    })
}

/// An item that is in no log.
fn elsewhere() -> Vec<u8> {
    item(&Signer::ed25519(&[99; 32]), None, &[("Some", "Tag")], b"elsewhere")
}

fn id(bytes: &[u8]) -> Id {
    DataItem::parse(bytes).unwrap().id()
}

/// What the entries of a log assign.
fn assigned(log: &LogBuilder) -> Vec<(MessageId, Vec<u8>)> {
    let items = [elsewhere(), log.entries()[2].message.clone().unwrap()];
    items.map(|item| (id(&item).into(), Assigned::Item(item).encode().unwrap())).into()
}

fn keep(store: &Store, log: &LogBuilder) {
    store.put_module(log.module()).unwrap();
    store.put_process(log.process_id(), log.process()).unwrap();
    store.put_assigned(&assigned(log)).unwrap();
    store.put_entries(log.process_id(), log.entries()).unwrap();
}

fn executor(store: &Arc<Store>, memory_bytes_max: u64) -> Executor {
    executor_within(store, memory_bytes_max, Duration::from_mins(10))
}

fn executor_within(store: &Arc<Store>, memory_bytes_max: u64, step_max: Duration) -> Executor {
    let options = Options {
        workers: 3,
        dry_run_workers: 2,
        dry_runs_waiting_max: 64,
        memory_bytes_max,
        checkpoint_every: 25,
        gas_max: 9_000_000_000_000,
        step_max,
        checkpoints_kept: 100,
        cache: None,
    };
    Executor::new(Arc::clone(store), options).unwrap()
}

/// The receipts of a session of its own.
fn alone(log: &LogBuilder) -> Vec<Vec<u8>> {
    let module = log.module();
    let format = module.meta.tags.iter().find(|tag| tag.name == "Module-Format").unwrap();
    let loaded = Module::load(&module.wasm, format.value.parse().unwrap(), None).unwrap();
    let setup = Setup::new(log.process(), &module.meta, loaded, CheckpointPolicy::default(), Tracker::Best).unwrap();
    let mut session = Session::start(setup, Nonce(0)).unwrap();
    let assigned: Vec<_> =
        assigned(log).into_iter().map(|(id, bytes)| (id, Assigned::decode(&bytes).unwrap())).collect();
    let mut receipts = Vec::new();
    for entry in log.entries() {
        let elsewhere = entry.elsewhere(log.process_id());
        let elsewhere = assigned.iter().find(|(id, _)| Some(*id) == elsewhere).map(|(_, assigned)| assigned);
        loop {
            let step = session.step_assigned(entry, elsewhere, |_| false).unwrap();
            receipts.push(step.receipt.encode().to_vec());
            if step.tick.is_none() {
                break;
            }
        }
    }
    receipts
}

fn stored(store: &Store, process: ProcessId) -> Vec<Vec<u8>> {
    let all = Query { limit: usize::MAX, ..Query::default() };
    store.results(process, &all).unwrap().steps.into_iter().map(|step| step.receipt).collect()
}

fn dry_run() -> DryRun {
    DryRun::new(r#"{"Owner":"someone","Data":"dry"}"#.into()).unwrap()
}

#[test]
fn many_processes_under_a_small_budget_give_the_receipts_of_sessions_that_run_alone() {
    let logs: Vec<LogBuilder> = (0..12).map(|number| log(number, MESSAGES)).collect();
    let store = Arc::new(Store::on(Arc::new(TwinDisk::default()), ao_store::Options::default()).unwrap());
    for log in &logs {
        keep(&store, log);
    }
    // Room for two or three of them.
    let executor = executor(&store, 60 << 10);
    std::thread::scope(|scope| {
        for (number, log) in logs.iter().enumerate() {
            let executor = &executor;
            scope.spawn(move || {
                let process = log.process_id();
                for to in [3, 40, 40, 41, MESSAGES] {
                    wait(executor.advance(process, Nonce(to))).unwrap();
                    wait(executor.dry_run(process, dry_run(), None)).unwrap();
                    if number % 4 == 0 {
                        wait(executor.dry_run(process, dry_run(), Some(Nonce(to / 2)))).unwrap();
                    }
                }
            });
        }
        // Others want the same at the same time.
        for log in &logs[..4] {
            let executor = &executor;
            scope.spawn(move || wait(executor.advance(log.process_id(), Nonce(MESSAGES))).unwrap());
        }
    });
    let evicted = executor.counts().evicted.load(std::sync::atomic::Ordering::Relaxed);
    assert!(evicted > 0, "nothing had to give way");
    for log in &logs {
        assert_eq!(stored(&store, log.process_id()), alone(log), "process {}", log.process_id());
    }
}

#[test]
fn a_dry_run_sees_the_state_at_its_nonce_and_leaves_none_behind() {
    let (log, store) = (log(0, 20), Store::on(Arc::new(TwinDisk::default()), ao_store::Options::default()).unwrap());
    let (store, process) = (Arc::new(store), log.process_id());
    keep(&store, &log);
    let executor = executor(&store, 1 << 30);
    wait(executor.advance(process, Nonce(20))).unwrap();
    let at = |nonce| wait(executor.dry_run(process, dry_run(), nonce)).unwrap();
    let now = at(None);
    assert_eq!(now, at(None));
    assert_eq!(now, at(Some(Nonce(20))));
    let before = at(Some(Nonce(7)));
    assert_ne!(now, before);
    assert_eq!(before, at(Some(Nonce(7))));
    assert_eq!(stored(&store, process), alone(&log));
}

#[test]
fn a_request_that_is_dropped_takes_nothing_with_it() {
    let (log, store) =
        (log(1, MESSAGES), Store::on(Arc::new(TwinDisk::default()), ao_store::Options::default()).unwrap());
    let (store, process) = (Arc::new(store), log.process_id());
    keep(&store, &log);
    let executor = executor(&store, 1 << 30);
    for to in 0..MESSAGES {
        let mut request = std::pin::pin!(executor.advance(process, Nonce(to)));
        // Begun, and given up at once.
        let _ = request.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    wait(executor.advance(process, Nonce(MESSAGES))).unwrap();
    assert_eq!(stored(&store, process), alone(&log));
}

#[test]
fn ticks_that_were_stored_before_a_crash_are_not_doubled_and_those_after_it_not_lost() {
    let guest = Guest::load("counter", 32);
    let log = LogBuilder::tagged(&guest, &[("Cron-Interval", "1-second")], 1).message("first");
    let log = log.at(ao_tests::LOG_START_MS + 500_000, ao_tests::LOG_START_BLOCK).message("much later");
    let (process, expected) = (log.process_id(), alone(&log));
    assert_eq!(expected.len(), 3 + 500);
    // With every number of results that may have become durable, in which more ticks come than are stored at once.
    for kept in [0, 1, 2, 3, 64, 65, 66, 500, 502] {
        let store = Arc::new(Store::on(Arc::new(TwinDisk::default()), ao_store::Options::default()).unwrap());
        keep(&store, &log);
        wait(executor(&store, 1 << 30).advance(process, Nonce(2))).unwrap();
        let all = store.results(process, &Query { limit: usize::MAX, ..Query::default() }).unwrap().steps;
        let store = Arc::new(Store::on(Arc::new(TwinDisk::default()), ao_store::Options::default()).unwrap());
        keep(&store, &log);
        store.put_results(&all[..kept]).unwrap();
        let executor = executor(&store, 1 << 30);
        wait(executor.dry_run(process, dry_run(), None)).unwrap();
        wait(executor.advance(process, Nonce(2))).unwrap();
        assert_eq!(stored(&store, process), expected, "{kept} kept");
    }
}

#[test]
fn an_executor_begun_anew_goes_on_from_the_last_state_and_checks_what_it_repeats() {
    let log = log(1, MESSAGES);
    let (store, process) =
        (Arc::new(Store::on(Arc::new(TwinDisk::default()), ao_store::Options::default()).unwrap()), log.process_id());
    keep(&store, &log);
    for to in [10, 37, 60, MESSAGES] {
        let executor = executor(&store, 1 << 30);
        wait(executor.advance(process, Nonce(to))).unwrap();
        if to == 37 {
            wait(executor.save_all());
            assert_eq!(store.last_checkpoint(process).unwrap(), Some(Nonce(37)));
        }
    }
    assert_eq!(stored(&store, process), alone(&log));
}

#[test]
fn nothing_is_told_that_a_full_disk_did_not_keep() {
    let log = log(0, MESSAGES);
    let disk = TwinDisk::default();
    let store = Arc::new(Store::on(Arc::new(disk.clone()), ao_store::Options::default()).unwrap());
    let process = log.process_id();
    keep(&store, &log);
    let executor = executor(&store, 1 << 30);
    wait(executor.advance(process, Nonce(5))).unwrap();
    disk.fail_writes_after(100);
    let error = wait(executor.advance(process, Nonce(MESSAGES))).unwrap_err();
    assert!(matches!(error, ExecError::Store { .. }), "{error}");
    disk.free_space();
    wait(executor.advance(process, Nonce(MESSAGES))).unwrap();
    assert_eq!(stored(&store, process), alone(&log));
}

#[test]
fn a_step_that_is_broken_off_harms_nothing_and_gives_its_receipt_when_it_is_given_time() {
    // A second or two of work, and then out of gas.
    let tags = [("Compute-Limit", "500000000000")];
    let endless = LogBuilder::numbered(&Guest::load("spin", 64), &tags, 7);
    let endless = ["one", "two", "now!", "three"].into_iter().fold(endless, LogBuilder::message);
    let other = log(0, MESSAGES);
    let store = Arc::new(Store::on(Arc::new(TwinDisk::default()), ao_store::Options::default()).unwrap());
    keep(&store, &endless);
    keep(&store, &other);
    let process = endless.process_id();
    let hasty = executor_within(&store, 1 << 30, Duration::from_millis(400));
    std::thread::scope(|scope| {
        // The second and third wait for the same step and are told with the first.
        let waiting = [3, 4, 4].map(|to| {
            let hasty = &hasty;
            scope.spawn(move || wait(hasty.advance(process, Nonce(to))).unwrap_err())
        });
        wait(hasty.advance(other.process_id(), Nonce(MESSAGES))).unwrap();
        for waiting in waiting {
            let error = waiting.join().unwrap();
            assert!(error.is_broken_off(), "{error}");
            let ExecError::Replay { process: of, source } = error else { unreachable!() };
            assert!(of == process && matches!(*source, ReplayError::Machine { nonce: Nonce(3), .. }), "{source}");
        }
    });
    assert_eq!(stored(&store, process).len(), 3, "what came before it is kept, of itself there is nothing");
    // The process is there for whoever asks for what it has.
    wait(hasty.advance(process, Nonce(2))).unwrap();
    wait(hasty.dry_run(process, dry_run(), None)).unwrap();
    drop(hasty);
    wait(executor(&store, 1 << 30).advance(process, Nonce(4))).unwrap();
    assert_eq!(stored(&store, process), alone(&endless));
    assert_eq!(stored(&store, other.process_id()), alone(&other));
}

#[test]
fn what_is_not_stored_is_refused_by_name() {
    let log = log(0, 3);
    let store = Arc::new(Store::on(Arc::new(TwinDisk::default()), ao_store::Options::default()).unwrap());
    let (executor, process) = (executor(&store, 1 << 30), log.process_id());
    let error = wait(executor.advance(process, Nonce(0))).unwrap_err();
    assert!(matches!(error, ExecError::NoProcess { .. }), "{error}");
    store.put_process(process, log.process()).unwrap();
    let error = wait(executor.advance(process, Nonce(0))).unwrap_err();
    assert!(matches!(error, ExecError::NoModule { .. }), "{error}");
    keep(&store, &log);
    let error = wait(executor.advance(process, Nonce(4))).unwrap_err();
    assert!(matches!(error, ExecError::NoEntry { nonce: Nonce(4), .. }), "{error}");
    assert_eq!(stored(&store, process), alone(&log));
}

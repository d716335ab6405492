//! Crons tick as the log says and not as it is cut, served, resumed or evaluated (faults 17 and 18 of the reference).

use std::path::Path;

use ao_commit::{CheckpointPolicy, Outcome, Receipt};
use ao_kernel::cron::GAP_TICKS_MAX;
use ao_kernel::{Engine, Module, Tracker};
use ao_log::Nonce;
use ao_replay::{
    Contents, Observed, Options, Session, Setup, Source, StepReport, Verdict, pack, resume, run, save, verify,
};
use ao_tests::{Guest, LogBuilder};

/// Every two seconds and every three blocks, the latter a step that fails.
const CRONS: &[(&str, &str)] = &[
    ("Cron-Interval", "2-seconds"),
    ("Cron-Tag-Action", "Tick"),
    ("Cron-Interval", "3-blocks"),
    ("Cron-Tag-Action", "Fail!"),
];

/// Of [`log`]: 32 seconds have 16; 50 blocks have 16, less 3 and 2 that others in their millisecond stand for.
const TICKS: usize = 16 + 11;

/// A log that stands still, jumps, and goes back.
fn log(guest: &str) -> LogBuilder {
    let start = LogBuilder::tagged(&Guest::load(guest, 64), CRONS, 1);
    let first = (ao_tests::LOG_START_MS, ao_tests::LOG_START_BLOCK);
    let moments =
        [(1, 0), (1, 0), (9000, 1), (9001, 14), (4000, 2), (30_000, 14), (31_999, 40), (32_000, 40), (32_000, 50)];
    moments.iter().enumerate().fold(start, |log, (number, (ms, blocks))| {
        log.at(first.0 + ms, first.1 + blocks).message(&format!("{number}{}", if number % 4 == 3 { "!" } else { "" }))
    })
}

fn setup(log: &LogBuilder) -> Setup {
    let ao_log::Module { meta, wasm } = log.module();
    let format = meta.tags.iter().find(|tag| tag.name == "Module-Format").expect("a module has a format");
    let module = Module::load(wasm, format.value.parse().expect("a known format"), None).expect("admitted");
    Setup::new(log.process(), meta, module, CheckpointPolicy::every(2).expect("even"), Tracker::Best)
        .expect("sound tags")
}

/// All steps on the way to an entry, and its own.
fn steps(session: &mut Session, entry: &ao_log::LogEntry) -> Vec<StepReport> {
    let mut steps = vec![session.step(entry).expect("the log is sound")];
    while steps.last().is_some_and(|step| step.tick.is_some()) {
        steps.push(session.step(entry).expect("the log is sound"));
    }
    steps
}

fn all(log: &LogBuilder) -> Vec<StepReport> {
    let mut session = Session::start(setup(log), Nonce(0)).expect("it starts");
    log.entries().iter().flat_map(|entry| steps(&mut session, entry)).collect()
}

fn receipts(steps: &[StepReport]) -> Vec<Receipt> {
    steps.iter().map(|step| step.receipt.clone()).collect()
}

#[test]
fn a_process_with_crons_interrupted_at_every_nonce_gives_the_same_receipts() {
    for guest in ["global_state", "table_state", "unreachable"] {
        let log = log(guest);
        let straight = all(&log);
        let ticks = straight.iter().filter(|step| step.tick.is_some()).count();
        assert_eq!(ticks, TICKS, "{guest}");
        let mut session = Session::start(setup(&log), Nonce(0)).expect("it starts");
        let mut found = Vec::new();
        for (position, entry) in log.entries().iter().enumerate() {
            found.extend(steps(&mut session, entry));
            let last: &StepReport = found.last().expect("an entry has a step");
            let state = save(&mut session, &last.receipt, &entry.assignment).expect("it can be saved");
            session = resume(setup(&log), &state).expect("it can be resumed");
            log.entries()[..=position].iter().for_each(|entry| session.skip(entry).expect("evaluated before"));
        }
        assert_eq!(receipts(&found), receipts(&straight), "{guest}");
    }
}

#[test]
fn a_bundle_with_crons_is_verified_from_its_beginning_from_any_state_in_it_and_on_both_engines() {
    let (folder, log) = (tempfile::tempdir().expect("a folder"), log("global_state"));
    let (source, bundle) = (folder.path().join("log"), folder.path().join("a.bundle"));
    log.write(&source);
    let open = |path: &Path| Source::open(path).expect("it opens");
    let contents = Contents { checkpoint_every: Some(1), ..Contents::default() };
    let options = Options::default();
    let report = pack(open(&source), &options, contents, &bundle, &mut |_| Ok(())).expect("it is packed");
    assert_eq!((report.steps, report.ticks), (log.entries().len() as u64 + TICKS as u64, TICKS as u64));
    for from in 0..log.entries().len() as u64 {
        for second in [None, Some(Engine::Wasmi)] {
            let options = Options { from: Some(Nonce(from)), second, ..Options::default() };
            let (_, verdict) = verify(open(&bundle), &options, &mut |_| Ok(())).expect("it is whole");
            let (first, last) = (Nonce(from), Nonce(log.entries().len() as u64 - 1));
            assert_eq!(verdict, Verdict::Matched { first, last });
        }
    }
    // The log itself, read in pages and evaluated by `run`, gives what a session gives.
    let mut found = Vec::new();
    run(open(&source), &options, &mut |observed: Observed<'_>| {
        found.push(observed.report.result_json.clone());
        Ok(())
    })
    .expect("the log is sound");
    assert_eq!(found, all(&log).into_iter().map(|step| step.result_json).collect::<Vec<_>>());
}

#[test]
fn messages_in_a_second_do_not_double_its_tick() {
    // The example of fault 17: one tick, at 1002500, if nothing lies between; two, at 1002100 and 1002900, if this does.
    let guest = Guest::load("counter", 64);
    let log = |moments: &[u64]| {
        let log = LogBuilder::tagged(&guest, &[("Cron-Interval", "2-seconds")], 1);
        let begin = ao_tests::LOG_START_MS;
        moments.iter().fold(log, |log, ms| log.at(begin + ms, 1_580_000).message(&ms.to_string()))
    };
    let ticks = |moments: &[u64]| -> Vec<(u64, [u8; 32])> {
        let steps = all(&log(moments));
        let ticks = steps.iter().filter_map(|step| Some((step.tick.as_ref()?, step)));
        ticks.map(|(ticked, step)| (ticked.at.timestamp_ms - ao_tests::LOG_START_MS, step.receipt.input_hash)).collect()
    };
    let whole = ticks(&[1000, 3999]);
    assert_eq!(whole.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [2000]);
    assert_eq!(ticks(&[1000, 1600, 2400, 3999]), whole, "the guest is shown the same bytes");
    assert_eq!(ticks(&[1000, 2000, 2000, 2001, 3999]), whole);
}

#[test]
fn the_ticks_of_a_gap_use_no_more_than_one_message_may() {
    let limit = 50_000_000;
    let tags = [("Cron-Interval", "1-second"), ("Cron-Tag-Action", "spin!"), ("Compute-Limit", "50000000")];
    let begin = ao_tests::LOG_START_MS;
    let log = LogBuilder::tagged(&Guest::load("spin", 64), &tags, 1);
    let log = log.at(begin + 100_000_000, 1_580_000).message("after a day").message("at once");
    let steps = all(&log);
    let (gap, rest) = steps[1..].split_at(GAP_TICKS_MAX);
    assert!(gap.iter().all(|step| step.tick.is_some() && step.receipt.outcome == Outcome::OutOfGas));
    assert!(gap[0].receipt.gas > limit && gap[1..].iter().all(|step| step.receipt.gas == 0), "one ran, to the end");
    assert_eq!(
        gap[0].tick.as_ref().map(|tick| tick.at.timestamp_ms),
        Some(begin + 100_000_000 - 999_000),
        "the latest"
    );
    assert!(
        rest.iter().all(|step| step.tick.is_none() && step.receipt.outcome == Outcome::Ok),
        "messages have their own"
    );
    // The process shows the same tag and fails as its ticks do: that none of them left a trace shows in the count.
    let count = |step: &StepReport| String::from_utf8_lossy(&step.result_json).contains("\"Output\":\"1\"");
    assert_eq!((steps[0].receipt.outcome, count(&rest[0])), (Outcome::OutOfGas, true));
}

#[test]
fn a_gap_is_not_left_halfway() {
    let log = log("counter");
    let mut session = Session::start(setup(&log), Nonce(0)).expect("it starts");
    for entry in &log.entries()[..3] {
        steps(&mut session, entry);
    }
    let (next, later) = (&log.entries()[3], &log.entries()[4]);
    assert!(session.step(next).expect("the log is sound").tick.is_some());
    assert!(session.step(later).is_err(), "ticks and an entry come before");
    assert_eq!(session.next_nonce(), Nonce(3));
}

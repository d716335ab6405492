//! Nothing but the inputs shows in a receipt or root: not threads, trackers, caches, nor where a run was interrupted.

use std::path::{Path, PathBuf};

use ao_commit::{CheckpointPolicy, Hash};
use ao_kernel::{ArtifactCache, Module, StartError, Tracker};
use ao_log::{LogEntry, LogFolder};
use ao_replay::{Commitment, Observed, Options, ReplayError, Session, Setup, Source, resume, run, save};
use ao_tests::{Guest, LogBuilder, node};
use tempfile::TempDir;

/// A log, where its receipts lead, and machine code already made.
struct Fixture {
    folder: PathBuf,
    temporary: TempDir,
}

/// All that must not vary.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    receipts: Vec<Hash>,
    end: Commitment,
}

impl Fixture {
    fn new(make: impl FnOnce(&Path)) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = temporary.path().join("log");
        make(&folder);
        Self { folder, temporary }
    }

    /// More steps than lie between two state roots, with state in memory and beside it: in a global, where many steps fail, or
    /// in a table.
    fn guest(name: &str) -> Self {
        let guest = Guest::load(name, 64);
        let log = (0..70).fold(LogBuilder::new(&guest, &[]), |log, i| {
            log.message(&format!("{i}{}", if i % 3 == 0 { "" } else { ": count, or fail!" }))
        });
        Self::new(|folder| log.write(folder))
    }

    /// A dozen messages to a real module.
    fn aos() -> Self {
        Self::new(|folder| {
            let arguments = ["--script", "small", "--module", "aos2_0_6", "--out", folder.to_str().expect("text")];
            assert_eq!(node("make-log.mjs", &arguments).count(), 1);
        })
    }

    fn all() -> [Self; 3] {
        [Self::guest("global_state"), Self::guest("table_state"), Self::aos()]
    }

    fn cache(&self) -> PathBuf {
        self.temporary.path().join("artifacts")
    }

    fn options(&self) -> Options {
        Options { cache: Some(ArtifactCache::new(self.cache())), ..Options::default() }
    }

    fn run(&self, options: &Options) -> Result<Outcome, ReplayError> {
        let mut receipts = Vec::new();
        let report = run(Source::open(&self.folder)?, options, &mut |observed: Observed<'_>| {
            receipts.push(observed.report.receipt_hash);
            Ok(())
        })?;
        Ok(Outcome { receipts, end: report.end })
    }

    fn usual(&self) -> Outcome {
        self.run(&self.options()).expect("the log is sound")
    }

    fn setup(&self) -> Setup {
        let folder = LogFolder::open(&self.folder).expect("a log folder");
        let ao_log::Module { meta, wasm } = folder.module().expect("the log has its module");
        let format = meta.tags.iter().find(|tag| tag.name == "Module-Format").expect("a module has a format");
        let format = format.value.parse().expect("a known format");
        let module = Module::load(&wasm, format, Some(&ArtifactCache::new(self.cache()))).expect("admitted");
        Setup::new(folder.process(), &meta, module, CheckpointPolicy::default(), Tracker::Best).expect("sound tags")
    }

    fn entries(&self) -> Vec<LogEntry> {
        let folder = LogFolder::open(&self.folder).expect("a log folder");
        folder.entries().map(|entry| entry.expect("the folder is sound")).collect()
    }

    /// Saves the process after every step and goes on with a new one brought back from that.
    fn interrupted(&self) -> Outcome {
        let entries = self.entries();
        let mut session = Session::start(self.setup(), entries[0].nonce).expect("it starts");
        let mut receipts = Vec::new();
        for (position, entry) in entries.iter().enumerate() {
            let report = session.step(entry).expect("the log is sound");
            receipts.push(report.receipt_hash);
            let state = save(&mut session, &report.receipt, &entry.assignment).expect("it can be saved");
            session = resume(self.setup(), &state).expect("it can be resumed");
            for earlier in &entries[..=position] {
                session.skip(earlier).expect("evaluated before");
            }
        }
        Outcome { receipts, end: session.commit().expect("memory").0 }
    }
}

#[test]
fn the_number_of_workers_shows_nowhere() {
    for fixture in Fixture::all() {
        let usual = fixture.usual();
        for workers in [1, 2, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).build().expect("threads");
            let found = pool.install(|| fixture.run(&fixture.options())).expect("the log is sound");
            assert_eq!(found, usual, "{workers} workers");
        }
    }
}

#[test]
fn both_trackers_lead_to_the_same_roots() {
    for fixture in Fixture::all() {
        let usual = fixture.usual();
        let with = |tracker| fixture.run(&Options { tracker, ..fixture.options() });
        assert_eq!(with(Tracker::Compare).expect("works everywhere"), usual);
        match with(Tracker::PageTables) {
            Ok(found) => assert_eq!(found, usual),
            Err(ReplayError::Start(StartError::Tracker(_))) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn compiled_code_from_a_cache_gives_what_fresh_code_gives() {
    let fixture = Fixture::aos();
    let fresh = fixture.run(&Options { cache: None, ..Options::default() }).expect("the log is sound");
    assert_eq!(fixture.usual(), fresh, "while the cache is filled");
    assert_eq!(fixture.usual(), fresh, "from the cache");
    let mut damaged = 0;
    for file in std::fs::read_dir(fixture.cache()).expect("the cache was filled") {
        let path = file.expect("a folder can be listed").path();
        let mut bytes = std::fs::read(&path).expect("a file of the cache");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).expect("a file of the cache");
        damaged += 1;
    }
    assert!(damaged > 0);
    assert_eq!(fixture.usual(), fresh, "from a damaged cache");
}

#[test]
fn a_process_interrupted_at_every_nonce_gives_the_same_receipts() {
    for fixture in Fixture::all() {
        assert_eq!(fixture.interrupted(), fixture.usual());
    }
}

#[test]
fn how_often_roots_are_taken_does_not_change_the_state() {
    for fixture in Fixture::all() {
        let usual = fixture.usual();
        for policy in [CheckpointPolicy::STRICT, CheckpointPolicy::every(6).expect("even")] {
            let found = fixture.run(&Options { policy, ..fixture.options() }).expect("the log is sound");
            assert_eq!(found.end, usual.end);
            assert_ne!(found.receipts, usual.receipts, "the interval is part of the chain");
        }
    }
}

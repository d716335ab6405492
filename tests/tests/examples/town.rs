//! Processes that send each other messages, without units between them: what stands in an outbox is signed and delivered
//! here, in order from one process to another and in a random order otherwise.
//!
//! Every process keeps its signed log, which is replayed at the end.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use ao_commit::CheckpointPolicy;
use ao_kernel::{ArtifactCache, Module, Tracker};
use ao_log::{LogEntry, Nonce};
use ao_replay::{Options, Session, Setup, Source};
use ao_tests::{Guest, LogBuilder, item};
use ao_wire::{Id, Signer};
use serde_json::Value;

use crate::random::Random;

/// Tags of a message that its messenger writes, whatever the outbox says.
const MESSENGERS: [&str; 4] = ["Data-Protocol", "Type", "From-Process", "From-Module"];

/// Random actions of each example: `AORTA_EXAMPLE_ACTIONS`, else few, so that all tests together stay short.
pub(crate) fn actions() -> u64 {
    std::env::var("AORTA_EXAMPLE_ACTIONS").map_or(150, |count| count.parse().unwrap())
}

/// A process, by its number in the town.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(usize);

struct Process {
    log: LogBuilder,
    session: Session,
    /// Hash of the last receipt.
    head: [u8; 32],
}

/// All processes, and what is on its way between them.
pub(crate) struct Town {
    pub(crate) random: Random,
    processes: Vec<Process>,
    lanes: BTreeMap<(Place, Place), VecDeque<Vec<u8>>>,
    messenger: Signer,
    /// Messages of users so far: no two are the same.
    sent: u64,
    name: &'static str,
}

/// What a step made known.
pub(crate) struct Done {
    pub(crate) result: Value,
}

fn cache() -> ArtifactCache {
    ArtifactCache::new(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("artifacts"))
}

/// Who owns all processes: as test logs have it.
pub(crate) fn owner() -> Signer {
    Signer::ed25519(&[2; 32])
}

/// Someone who owns none.
pub(crate) fn user(number: u64) -> Signer {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    Signer::ed25519(&seed)
}

/// The aos module, read once.
pub(crate) fn aos() -> &'static Guest {
    static AOS: OnceLock<Guest> = OnceLock::new();
    AOS.get_or_init(|| Guest::real("aos2_0_6"))
}

/// The code of an example.
pub(crate) fn code(path: &str) -> String {
    let path = ao_tests::root().join("fixtures/examples").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Town {
    pub(crate) fn new(name: &'static str) -> Self {
        let (processes, lanes) = Default::default();
        Self { random: Random::new(2026), processes, lanes, messenger: Signer::ed25519(&[5; 32]), sent: 0, name }
    }

    /// A process of aos that runs this code, which returns `says`.
    pub(crate) fn aos(&mut self, code: &str, says: &str) -> Place {
        let place = self.spawn(aos());
        assert_eq!(self.eval(place, code), says);
        place
    }

    pub(crate) fn spawn(&mut self, guest: &Guest) -> Place {
        let place = Place(self.processes.len());
        let module = LogBuilder::new(guest, &[]).module().clone();
        let (scheduler, authority) = (Signer::ed25519(&[1; 32]).address(), self.messenger.address());
        let (id, number) = (module.meta.id.to_string(), place.0.to_string());
        let tags = [
            ("Data-Protocol", "ao"),
            ("Variant", "ao.TN.1"),
            ("Type", "Process"),
            ("Module", &id),
            ("Scheduler", &scheduler),
            ("Authority", &authority),
        ];
        let log = LogBuilder::of(item(&owner(), None, &tags, number.as_bytes()), module.clone());
        // One at a time: the others then find it compiled.
        static COMPILING: Mutex<()> = Mutex::new(());
        let loaded = {
            let _turn = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
            Module::load(&guest.wasm, guest.format.parse().unwrap(), Some(&cache())).unwrap()
        };
        let policy = CheckpointPolicy::default();
        let setup = Setup::new(log.process(), &module.meta, loaded, policy, Tracker::Best).unwrap();
        let session = Session::start(setup, Nonce(0)).unwrap();
        self.processes.push(Process { log, session, head: [0; 32] });
        self.step(place);
        place
    }

    /// The id of a process.
    pub(crate) fn id(&self, place: Place) -> String {
        self.processes[place.0].log.process_id().to_string()
    }

    /// Has a user's message evaluated at once.
    pub(crate) fn send(&mut self, user: &Signer, place: Place, tags: &[(&str, &str)], data: &str) -> Done {
        self.sent += 1;
        let number = self.sent.to_string();
        let ours = [("Data-Protocol", "ao"), ("Variant", "ao.TN.1"), ("Type", "Message"), ("Number-Sent", &number)];
        let tags: Vec<_> = tags.iter().copied().chain(ours).collect();
        let target = self.processes[place.0].log.process_id().id();
        self.push(place, item(user, Some(target), &tags, data.as_bytes()))
    }

    /// Has the owner's line of Lua evaluated; what it returns, as text.
    pub(crate) fn eval(&mut self, place: Place, code: &str) -> String {
        self.send(&owner(), place, &[("Action", "Eval")], code).output()
    }

    /// As [`Town::eval`], of a line that returns a whole number.
    pub(crate) fn number(&mut self, place: Place, code: &str) -> u64 {
        let said = self.eval(place, code);
        said.parse().unwrap_or_else(|_| panic!("{}: {code} is {said}", self.name))
    }

    /// Delivers so many of the messages on their way, if there are that many.
    pub(crate) fn deliver(&mut self, count: u64) {
        for _ in 0..count {
            let waiting = self.lanes.len() as u64;
            if waiting == 0 {
                break;
            }
            let chosen = self.random.below(waiting) as usize;
            let lane = *self.lanes.keys().nth(chosen).unwrap();
            let queue = self.lanes.get_mut(&lane).unwrap();
            let message = queue.pop_front().unwrap();
            if queue.is_empty() {
                self.lanes.remove(&lane);
            }
            self.push(lane.1, message);
        }
    }

    /// Delivers all, and what that leads to.
    pub(crate) fn settle(&mut self) {
        while !self.lanes.is_empty() {
            self.deliver(1);
        }
    }

    fn push(&mut self, place: Place, message: Vec<u8>) -> Done {
        self.processes[place.0].log.push(message);
        self.step(place)
    }

    /// Evaluates the last entry of a log and takes what stands in the outbox.
    fn step(&mut self, place: Place) -> Done {
        let Process { log, session, head } = &mut self.processes[place.0];
        let entry: &LogEntry = log.entries().last().unwrap();
        let report = session.step(entry).unwrap();
        *head = report.receipt_hash;
        let result: Value = serde_json::from_slice(&report.result_json).unwrap();
        assert!(result.get("Error").is_none_or(Value::is_null), "{}: {place:?} {result}", self.name);
        let module = log.module().meta.id.to_string();
        let from = self.id(place);
        for element in result["Messages"].as_array().into_iter().flatten() {
            let target: Option<Id> = element["Target"].as_str().and_then(|id| id.parse().ok());
            let target = target.unwrap_or_else(|| panic!("{}: whom is it for? {element}", self.name));
            let to = self.processes.iter().position(|process| process.log.process_id().id() == target);
            // What is for wallets ends here.
            let Some(to) = to.map(Place) else { continue };
            let asked = element["Tags"].as_array().into_iter().flatten();
            let asked = asked.map(|tag| (tag["name"].as_str().unwrap(), tag["value"].as_str().unwrap()));
            let ours =
                [("Data-Protocol", "ao"), ("Type", "Message"), ("From-Process", &from), ("From-Module", &module)];
            let tags: Vec<_> = asked.filter(|(name, _)| !MESSENGERS.contains(name)).chain(ours).collect();
            let data = element["Data"].as_str().filter(|data| !data.is_empty()).unwrap_or(" ");
            let message = item(&self.messenger, Some(target), &tags, data.as_bytes());
            self.lanes.entry((place, to)).or_default().push_back(message);
        }
        Done { result }
    }

    /// Replays every log from its folder: nothing but signed entries and the module lead to the same receipts and roots.
    pub(crate) fn replay(mut self) {
        let (mut steps, processes) = (0, self.processes.len());
        for process in &mut self.processes {
            let folder = tempfile::tempdir().unwrap();
            process.log.write(folder.path());
            let (end, _) = process.session.commit().unwrap();
            let options = Options { cache: Some(cache()), ..Options::default() };
            let source = Source::open(folder.path()).unwrap();
            let report = ao_replay::run(source, &options, &mut |_| Ok(())).unwrap();
            assert_eq!(report.end, end, "{}: the state", self.name);
            assert_eq!(report.last.map(|(_, hash)| hash), Some(process.head), "{}: the last receipt", self.name);
            assert_eq!((report.steps, report.failed), (process.log.entries().len() as u64, 0), "{}", self.name);
            steps += report.steps;
        }
        eprintln!("{}: {steps} messages of {processes} processes, replayed with equal receipts and roots", self.name);
    }
}

impl Done {
    /// What an Eval returned, as text.
    pub(crate) fn output(&self) -> String {
        let output = &self.result["Output"];
        let data = output.get("data").unwrap_or(output);
        let data = data.get("output").unwrap_or(data);
        data.as_str().map_or_else(|| data.to_string(), str::to_owned)
    }

    /// The outbox: whom each message is for, and its tags but those that every message has.
    pub(crate) fn outbox(&self) -> Vec<(String, BTreeMap<String, String>)> {
        let dull = ["Data-Protocol", "Variant", "Type", "Reference"];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let message = |element: &Value| {
            let tags = element["Tags"].as_array().into_iter().flatten();
            let tags = tags.map(|tag| (text(&tag["name"]), text(&tag["value"])));
            (text(&element["Target"]), tags.filter(|(name, _)| !dull.contains(&&name[..])).collect())
        };
        self.result["Messages"].as_array().into_iter().flatten().map(message).collect()
    }
}

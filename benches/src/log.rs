//! A log of one owner who evaluates one program again and again, a trivial one unless told otherwise.
//!
//! Not here: chains and signatures that a `LogVerifier` would accept; a session does not look at them.
//! Invariant: entry `n` is the same in every run.

use ao_kernel::message::{Assignment, Message, Party, Shown, write_env};
use ao_log::bundle::{ModuleMeta, ModuleTag};
use ao_log::{LogEntry, Nonce};
use ao_wire::{DataItem, Id, ItemBuilder, Signer, Tag};

/// The program unless another is given.
const PROGRAM: &str = "return 1 + 1";

/// The log, which grows as it is read.
pub struct EvalLog {
    owner: Signer,
    scheduler: Signer,
    process: Vec<u8>,
    program: String,
    next: u64,
}

/// One message as a module sees it.
pub struct Texts {
    /// The message's JSON.
    pub message: String,
    /// The environment's JSON.
    pub env: String,
}

impl EvalLog {
    /// A log whose next entry spawns the process.
    #[expect(clippy::new_without_default, reason = "a log is not a default value")]
    pub fn new() -> Self {
        Self::of(PROGRAM)
    }

    /// The same with another program.
    pub fn of(program: &str) -> Self {
        let (owner, scheduler) = (Signer::ed25519(&[1; 32]), Signer::ed25519(&[2; 32]));
        let (module, scheduler_id) = (Id([7; 32]).to_string(), Id::sha256(scheduler.owner()).to_string());
        let tags = [("Type", "Process"), ("Module", module.as_str()), ("Scheduler", scheduler_id.as_str())];
        let process = sign(&owner, None, &tags, b"1984");
        Self { owner, scheduler, process, program: program.into(), next: 0 }
    }

    /// The process' item.
    pub fn process(&self) -> &[u8] {
        &self.process
    }

    /// The next entries.
    pub fn take(&mut self, count: u64) -> Vec<LogEntry> {
        (0..count).map(|_| self.entry()).collect()
    }

    /// The next messages as JSON.
    pub fn take_texts(&mut self, count: u64) -> Vec<Texts> {
        (0..count).map(|_| self.texts()).collect()
    }

    fn entry(&mut self) -> LogEntry {
        let nonce = self.next;
        self.next += 1;
        let process = DataItem::parse(&self.process).unwrap().id();
        let message = if nonce == 0 {
            self.process.clone()
        } else {
            let reference = nonce.to_string();
            let tags = [("Type", "Message"), ("Action", "Eval"), ("Reference", &reference)];
            sign(&self.owner, Some(process), &tags, self.program.as_bytes())
        };
        let id = DataItem::parse(&message).unwrap().id();
        let (timestamp, chain) = (1_735_689_600_000 + nonce * 1000, Id::sha256(&nonce.to_le_bytes()));
        let tags = [
            ("Type", "Assignment"),
            ("Process", &process.to_string()),
            ("Epoch", "0"),
            ("Nonce", &nonce.to_string()),
            ("Hash-Chain", &chain.to_string()),
            ("Block-Height", "000001580000"),
            ("Timestamp", &timestamp.to_string()),
            ("Message", &id.to_string()),
        ];
        let assignment = sign(&self.scheduler, None, &tags, b"");
        LogEntry { nonce: Nonce(nonce), assignment, message: Some(message) }
    }

    fn texts(&mut self) -> Texts {
        let entry = self.entry();
        let process = Shown::new(DataItem::parse(&self.process).unwrap());
        let assignment = DataItem::parse(&entry.assignment).unwrap();
        let tags: Vec<Tag<'_>> = assignment.tags().collect();
        let item = Shown::new(DataItem::parse(entry.message.as_ref().unwrap()).unwrap());
        let assignment = Assignment::from_tags(&tags).unwrap();
        let mut message = Vec::new();
        Message::of_entry(process.item(), assignment, Some(item.item()), None).write(&mut message);
        Texts { message: String::from_utf8(message).unwrap(), env: self.env() }
    }

    /// The environment's JSON.
    pub fn env(&self) -> String {
        let process = Shown::new(DataItem::parse(&self.process).unwrap());
        let (id, module) = (process.item().id.to_string(), module_meta());
        let tags: Vec<Tag<'_>> = module.tags.iter().map(|tag| Tag::new(&tag.name, &tag.value)).collect();
        let mut env = Vec::new();
        write_env(
            Party { id: &id, owner: process.item().owner, tags: process.item().tags },
            Party { id: &module.id.to_string(), owner: &module.owner, tags: &tags },
            &mut env,
        );
        String::from_utf8(env).unwrap()
    }
}

/// What the log's module is published as.
pub fn module_meta() -> ModuleMeta {
    let tag = |name: &str, value: &str| ModuleTag { name: name.into(), value: value.into() };
    ModuleMeta {
        id: Id([7; 32]).into(),
        owner: Id([8; 32]).to_string(),
        tags: vec![tag("Memory-Limit", "1-gb"), tag("Compute-Limit", "9000000000000")],
        wasm_bytes: 0,
        wasm_blake3: [0; 32],
        embedded: false,
        item_prefix: Vec::new(),
    }
}

fn sign(signer: &Signer, target: Option<Id>, tags: &[(&str, &str)], data: &[u8]) -> Vec<u8> {
    let own = [("Data-Protocol", "ao"), ("Variant", "ao.TN.1")];
    let tags = own.iter().chain(tags).map(|(name, value)| Tag::new(name, value)).collect();
    ItemBuilder { target: target.map(|id| id.0), anchor: None, tags, data }.build(signer).unwrap()
}

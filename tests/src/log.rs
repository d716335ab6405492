//! Small logs of truly signed items, the same bytes at every run: all keys are ed25519.

use std::path::Path;

use ao_log::bundle::{ModuleMeta, ModuleTag};
use ao_log::{HashChain, LogEntry, LogFolderWriter, Module, Nonce, legacy_first, legacy_next};
use ao_wire::{DataItem, Id, ItemBuilder, ProcessId, Signer, Tag, b64u};

use crate::{module_path, root};

/// One of the guests in `fixtures/guests`.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Its binary.
    pub wasm: Vec<u8>,
    /// Its file.
    pub path: std::path::PathBuf,
    /// Its `Module-Format`.
    pub format: &'static str,
}

impl Guest {
    /// The tags of a signed item that publishes it.
    pub fn published_tags(&self) -> [(&'static str, &str); 8] {
        [
            ("Data-Protocol", "ao"),
            ("Variant", "ao.TN.1"),
            ("Type", "Module"),
            ("Module-Format", self.format),
            ("Input-Encoding", "JSON-V1"),
            ("Output-Encoding", "JSON-V1"),
            ("Memory-Limit", "1-gb"),
            ("Compute-Limit", "9000000000000"),
        ]
    }

    /// The guest of this name with pointers of 32 or 64 bits.
    ///
    /// # Panics
    /// If there is none.
    pub fn load(name: &str, bits: u32) -> Self {
        let path = root().join(format!("fixtures/guests/built/{name}-wasm{bits}.wasm"));
        let wasm = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let format = match bits {
            32 => "wasm32-unknown-emscripten4",
            _ => "wasm64-unknown-emscripten-draft_2024_02_15",
        };
        Self { wasm, path, format }
    }

    /// A real module of 64-bit pointers, which `tests/node/setup.sh` fetches.
    ///
    /// # Panics
    /// If it is not there.
    pub fn real(name: &str) -> Self {
        let path = module_path(name);
        let wasm = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { wasm, path, format: "wasm64-unknown-emscripten-draft_2024_02_15" }
    }
}

/// What is wrong with one assignment, on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    /// Nothing.
    None,
    /// Someone else signs it.
    Scheduler,
    /// Its `Hash-Chain` does not continue the chain.
    HashChain,
}

/// Time of the first assignment of a log made here, in milliseconds since 1970.
pub const LOG_START_MS: u64 = 1_735_689_600_000;

/// Its block.
pub const LOG_START_BLOCK: u64 = 1_580_000;

/// A log that grows by one entry at a time.
pub struct LogBuilder {
    scheduler: Signer,
    user: Signer,
    module: Module,
    process: Vec<u8>,
    entries: Vec<LogEntry>,
    chain: HashChain,
    /// What the next assignments say of time and blocks, if it is not a second more than the one before.
    now: Option<(u64, u64)>,
}

impl LogBuilder {
    /// A log that holds its own process at nonce 0.
    ///
    /// `tags` are added to those of the module.
    pub fn new(guest: &Guest, tags: &[(&str, &str)]) -> Self {
        Self::numbered(guest, tags, 1984)
    }

    /// As [`LogBuilder::new`], of a process that is another one for each number.
    pub fn numbered(guest: &Guest, tags: &[(&str, &str)], number: u32) -> Self {
        let module = module(guest, tags);
        let process = process_item(&module.meta.id.to_string(), &[], number);
        Self::of(process, module)
    }

    /// As [`LogBuilder::numbered`], of a process with these tags beside those it needs.
    pub fn tagged(guest: &Guest, tags: &[(&str, &str)], number: u32) -> Self {
        let module = module(guest, &[]);
        let process = process_item(&module.meta.id.to_string(), tags, number);
        Self::of(process, module)
    }

    /// Has the next assignments say this of time, in milliseconds since 1970, and blocks.
    #[must_use]
    pub fn at(mut self, timestamp_ms: u64, block_height: u64) -> Self {
        self.now = Some((timestamp_ms, block_height));
        self
    }

    /// A log that holds this process at nonce 0, which names the test scheduler.
    pub fn of(process: Vec<u8>, module: Module) -> Self {
        let (scheduler, user) = (Signer::ed25519(&[1; 32]), Signer::ed25519(&[2; 32]));
        let mut log =
            Self { scheduler, user, module, process, entries: Vec::new(), chain: HashChain([0; 32]), now: None };
        log.chain = legacy_first(&log.process_id());
        let process = log.process.clone();
        log.assign(None, Some(process), &[], Twist::None);
        log
    }

    /// Adds a message with this data.
    #[must_use]
    pub fn message(self, data: &str) -> Self {
        self.twisted(data, Twist::None)
    }

    /// Adds a message that someone signed.
    pub fn push(&mut self, message: Vec<u8>) {
        self.assign(Some(id(&message)), Some(message), &[], Twist::None);
    }

    /// Adds a message whose assignment has something wrong.
    #[must_use]
    pub fn twisted(mut self, data: &str, twist: Twist) -> Self {
        let message = message_item(self.process_id(), &[], data);
        self.assign(Some(id(&message)), Some(message), &[], twist);
        self
    }

    /// Adds an assignment of a transaction that the log does not hold, with these `Exclude` tags.
    #[must_use]
    pub fn assignment(mut self, id: Id, exclude: &[&str]) -> Self {
        self.push_assignment(id, exclude);
        self
    }

    /// As [`LogBuilder::assignment`].
    pub fn push_assignment(&mut self, id: Id, exclude: &[&str]) {
        self.assign(Some(id), None, exclude, Twist::None);
    }

    /// The entries so far.
    pub fn entries(&self) -> &[LogEntry] {
        &self.entries
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// The process' data item.
    pub fn process(&self) -> &[u8] {
        &self.process
    }

    /// Writes the log as a folder.
    ///
    /// # Panics
    /// If the file system refuses.
    pub fn write(&self, folder: &Path) {
        let writer = LogFolderWriter::create(folder, &self.process).expect("the folder can be made");
        writer.module(&self.module).expect("the module can be written");
        for entry in &self.entries {
            writer.entry(entry).expect("an entry can be written");
        }
    }

    /// The process.
    pub fn process_id(&self) -> ProcessId {
        id(&self.process).into()
    }

    fn assign(&mut self, named: Option<Id>, message: Option<Vec<u8>>, exclude: &[&str], twist: Twist) {
        let nonce = self.entries.len() as u64;
        let chain = if twist == Twist::HashChain { HashChain([9; 32]) } else { self.chain };
        let (process, nonce_text, chain_text) = (self.process_id().to_string(), nonce.to_string(), chain.to_string());
        let (timestamp, block_height) = self.now.unwrap_or((LOG_START_MS + nonce * 1000, LOG_START_BLOCK));
        let (timestamp, block_height) = (timestamp.to_string(), format!("{block_height:012}"));
        let named = named.map(|id| id.to_string());
        let mut tags = vec![
            ("Process", &process[..]),
            ("Epoch", "0"),
            ("Nonce", &nonce_text),
            ("Hash-Chain", &chain_text),
            ("Block-Height", &block_height),
            ("Timestamp", &timestamp),
            ("Data-Protocol", "ao"),
            ("Type", "Assignment"),
            ("Variant", "ao.TN.1"),
        ];
        tags.extend(named.as_deref().map(|id| ("Message", id)));
        tags.extend(exclude.iter().map(|part| ("Exclude", *part)));
        let signer = if twist == Twist::Scheduler { &self.user } else { &self.scheduler };
        let assignment = item(signer, None, &tags, b"");
        self.chain = legacy_next(&id(&assignment).into(), &chain);
        self.entries.push(LogEntry { nonce: Nonce(nonce), assignment, message });
    }
}

/// A process of this module, which anyone may spawn under the test scheduler, with these tags behind those it needs.
pub(crate) fn process_item(module: &str, more: &[(&str, &str)], number: u32) -> Vec<u8> {
    let scheduler = scheduler();
    let mut tags = vec![
        ("Data-Protocol", "ao"),
        ("Variant", "ao.TN.1"),
        ("Type", "Process"),
        ("Module", module),
        ("Scheduler", &scheduler),
    ];
    tags.extend(more);
    item(&Signer::ed25519(&[2; 32]), None, &tags, number.to_string().as_bytes())
}

/// The address of the test scheduler.
pub(crate) fn scheduler() -> String {
    address(&Signer::ed25519(&[1; 32]))
}

/// A message to a process with these tags before those of ao.
pub(crate) fn message_item(process: ProcessId, tags: &[(&str, &str)], data: &str) -> Vec<u8> {
    let ours = [("Data-Protocol", "ao"), ("Variant", "ao.TN.1"), ("Type", "Message")];
    let tags: Vec<_> = tags.iter().copied().chain(ours).collect();
    item(&Signer::ed25519(&[2; 32]), Some(process.id()), &tags, data.as_bytes())
}

fn module(guest: &Guest, more: &[(&str, &str)]) -> Module {
    let tags = [
        ("Data-Protocol", "ao"),
        ("Type", "Module"),
        ("Module-Format", guest.format),
        ("Input-Encoding", "JSON-V1"),
        ("Output-Encoding", "JSON-V1"),
    ];
    let tags = tags.iter().chain(more).map(|(name, value)| ModuleTag { name: (*name).into(), value: (*value).into() });
    let meta = ModuleMeta {
        id: Id::sha256(&guest.wasm).into(),
        owner: address(&Signer::ed25519(&[3; 32])),
        tags: tags.collect(),
        wasm_bytes: guest.wasm.len() as u64,
        wasm_blake3: *blake3::hash(&guest.wasm).as_bytes(),
        embedded: true,
        item_prefix: Vec::new(),
    };
    Module { meta, wasm: guest.wasm.clone() }
}

/// A signed item.
///
/// # Panics
/// If the tags are more than an item may have.
pub fn item(signer: &Signer, target: Option<Id>, tags: &[(&str, &str)], data: &[u8]) -> Vec<u8> {
    let tags = tags.iter().map(|(name, value)| Tag::new(name, value)).collect();
    let builder = ItemBuilder { target: target.map(|id| id.0), anchor: None, tags, data };
    builder.build(signer).expect("a small item can be signed")
}

fn id(item: &[u8]) -> Id {
    DataItem::parse(item).expect("made here").id()
}

fn address(signer: &Signer) -> String {
    b64u::encode(Id::sha256(signer.owner()).0)
}

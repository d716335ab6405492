//! A network of four units, each a process of its own with its own address, that can be killed and come back one by one.
//!
//! *Not here:* what is sent through it (`traffic`), what must be true of it afterwards (`ledger`).

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod ledger;
pub(crate) mod traffic;
pub(crate) mod trouble;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ao_tests::{Guest, item};
use ao_wire::{DataItem, Id, ModuleId, ProcessId, Signer};

use crate::support::Unit;
use trouble::{Wire, ignoring};

pub(crate) const AO: [(&str, &str); 2] = [("Data-Protocol", "ao"), ("Variant", "ao.TN.1")];

/// The units, in the order in which they can be started.
pub(crate) const UNITS: [&str; 4] = ["gateway", "su", "cu", "mu"];
/// Port of the first unit, and of the first wire.
const PORT: usize = 4000;
const WIRE: usize = 4100;
/// Longest that the network may take to become quiet when nothing is down.
const QUIET_MAX: Duration = Duration::from_mins(5);

/// Four units, and the folder of their folders.
pub(crate) struct Network {
    folder: PathBuf,
    host: String,
    /// How units reach each other, unit by unit, if not at once.
    wires: Vec<Wire>,
    units: Mutex<[Option<Unit>; 4]>,
}

/// Numbers from a seed, the same at every run (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Who owns all processes and posts all messages.
pub(crate) fn user() -> Signer {
    Signer::ed25519(&[2; 32])
}

pub(crate) fn id(item: &[u8]) -> Id {
    DataItem::parse(item).unwrap().id()
}

fn place(unit: &str) -> usize {
    UNITS.iter().position(|known| *known == unit).unwrap()
}

impl Network {
    /// Starts the units; `wired`: they reach each other by wires that can be made ill.
    ///
    /// They have an address of this machine that no connection begins at, so that a port stays free while its unit is down.
    pub(crate) fn start(folder: &Path, wired: bool) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let (number, pid) = (NUMBER.fetch_add(1, Ordering::Relaxed), std::process::id());
        let host =
            format!("127.{}.{}.{}", 1 + pid / 250 / 250 % 60 + 60 * (number % 4), 1 + pid / 250 % 250, 1 + pid % 250);
        let lay = |place| Wire::lay(&format!("{host}:{}", WIRE + place), format!("{host}:{}", PORT + place));
        let wires = if wired { (0..4).map(lay).collect() } else { Vec::new() };
        let network = Self { folder: folder.to_owned(), host, wires, units: Mutex::default() };
        for (unit, wallet) in [("su", ed25519()), ("mu", rsa())] {
            fs::create_dir_all(network.folder(unit)).unwrap();
            fs::write(network.folder(unit).join("wallet.json"), wallet).unwrap();
        }
        // Compiled once for all networks: an artifact is keyed by everything it depends on.
        fs::create_dir_all(Self::artifacts()).unwrap();
        fs::create_dir_all(network.folder("cu")).unwrap();
        std::os::unix::fs::symlink(Self::artifacts(), network.folder("cu").join("modules")).unwrap();
        for unit in UNITS {
            network.begin(unit);
        }
        network
    }

    /// Compiled modules.
    pub(crate) fn artifacts() -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("artifacts")
    }

    pub(crate) fn folder(&self, unit: &str) -> PathBuf {
        self.folder.join(unit)
    }

    pub(crate) fn url(&self, unit: &str) -> String {
        format!("http://{}:{}", self.host, PORT + place(unit))
    }

    /// How others reach a unit.
    fn way(&self, unit: &str) -> String {
        let first = if self.wires.is_empty() { PORT } else { WIRE };
        format!("http://{}:{}", self.host, first + place(unit))
    }

    /// The way to a unit.
    pub(crate) fn wire(&self, unit: &str) -> &Wire {
        &self.wires[place(unit)]
    }

    /// No file of the unit can be written beyond its first 4 KiB.
    pub(crate) fn fill_disk(&self, unit: &str) {
        self.bound_files(unit, Some(4096));
    }

    /// There is room again.
    pub(crate) fn free_disk(&self, unit: &str) {
        self.bound_files(unit, None);
    }

    fn bound_files(&self, unit: &str, bytes: Option<u64>) {
        let units = self.units.lock().unwrap();
        trouble::bound_files(units[place(unit)].as_ref().unwrap().id(), bytes);
    }

    /// A client of a unit, whether it is there or not.
    pub(crate) fn client(&self, unit: &str) -> Unit {
        Unit::at(&self.url(unit))
    }

    /// Starts a unit that is down, on its folder and at its address, and waits until it serves. `AORTA_BIN` names another build.
    pub(crate) fn begin(&self, unit: &str) {
        let (su, cu, gateway) = (self.way("su"), self.way("cu"), self.way("gateway"));
        let others: &[&str] = match unit {
            "gateway" => &[],
            "su" => &["--gateway", &gateway, "--upload", &gateway],
            // States are saved often, so that a killed unit is soon back and states are loaded too.
            "cu" => &["--workers", "2", "--checkpoint-every", "100", "--su", &su, "--gateway", &gateway],
            _ => &["--su", &su, "--cu", &cu, "--gateway", &gateway],
        };
        let log = File::options().create(true).append(true).open(self.folder.join(format!("{unit}.log"))).unwrap();
        let aorta = std::env::var("AORTA_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_aorta").into());
        let mut command = ignoring(&aorta);
        command.args([unit, "--host", &self.host, "--port", &(PORT + place(unit)).to_string(), "--dir"]);
        command.arg(self.folder(unit)).args(others);
        command.stdout(Stdio::piped()).stderr(log).env("AORTA_LOG", "warn");
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines().next();
        let begun = Unit::of(child, &self.url(unit));
        assert!(said.is_some_and(|line| line.unwrap() == self.url(unit)), "{unit} does not begin");
        self.units.lock().unwrap()[place(unit)] = Some(begun);
    }

    /// Ends a unit where it is.
    pub(crate) fn kill(&self, unit: &str) {
        let unit = self.units.lock().unwrap()[place(unit)].take();
        unit.unwrap().kill();
    }

    /// Publishes the real aos.
    pub(crate) fn publish(&self) -> ModuleId {
        let guest = Guest::real("aos2_0_6");
        let item = item(&user(), None, &guest.published_tags(), &guest.wasm);
        let answer = self.client("gateway").try_ask("POST", "/tx", &[], &item).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        id(&item).into()
    }

    /// Spawns a process that trusts the messenger.
    pub(crate) fn spawn(&self, module: ModuleId, number: usize) -> ProcessId {
        let text = |unit: &str, path: &str| self.client(unit).get(path).ok()["address"].as_str().unwrap().to_owned();
        let (scheduler, authority) = (text("su", "/"), text("mu", "/info"));
        let (module, number) = (module.to_string(), number.to_string());
        let tags = [
            ("Type", "Process"),
            ("Module", &module),
            ("Scheduler", &scheduler),
            ("Authority", &authority),
            ("Name", &number),
        ];
        let item = item(&user(), None, &[&AO[..], &tags].concat(), b"");
        let answer = self.client("mu").try_ask("POST", "/", &[], &item).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text());
        id(&item).into()
    }

    /// Waits until the messenger has nothing to do and the scheduler has nothing to upload.
    pub(crate) fn quiet(&self) {
        let until = Instant::now() + QUIET_MAX;
        while self.busy() {
            assert!(Instant::now() < until, "it does not become quiet: {:?}", self.backlog());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn busy(&self) -> bool {
        // A task that ends puts the next one in the queue within one change, so that an empty queue stays empty.
        self.backlog() != Some((0, 0))
    }

    /// Tasks of the messenger, and records that the scheduler has not uploaded.
    pub(crate) fn backlog(&self) -> Option<(u64, u64)> {
        // A unit whose disk is full may answer, and say no.
        let get = |unit: &str, path: &str| {
            self.client(unit).try_ask("GET", path, &[], b"").ok().filter(|answer| answer.status == 200)
        };
        let queued = get("mu", "/info")?.ok()["queued"].as_u64()?;
        let metrics = get("su", "/metrics")?;
        let waiting = metrics.text().lines().find_map(|line| line.strip_prefix("aorta_su_uploads_waiting "))?.parse();
        Some((queued, waiting.ok()?))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for unit in UNITS {
            let log = fs::read_to_string(self.folder.join(format!("{unit}.log"))).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            #[allow(clippy::print_stderr, reason = "what the units said belongs to the failure")]
            {
                eprintln!("--- {unit}, its last lines:\n{}", lines[lines.len().saturating_sub(15)..].join("\n"));
            }
        }
    }
}

/// A key that signs fast.
fn ed25519() -> String {
    format!(r#"{{"kty":"OKP","crv":"Ed25519","d":"{}"}}"#, ao_wire::b64u::encode([7; 32]))
}

/// A messenger's key; a public one, for tests.
fn rsa() -> String {
    fs::read_to_string(ao_tests::root().join("fixtures/vectors/keys/user.json")).unwrap()
}

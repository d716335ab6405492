//! Units as children, of the `aorta` beside this binary.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ao_benches::client::Client;
use serde_json::Value;

/// A unit.
pub(crate) struct Unit {
    child: Child,
    /// What it printed until it was ready.
    lines: Vec<String>,
}

impl Unit {
    fn start(kind: &str, arguments: &[&str], dir: &Path, last: &str) -> Self {
        let aorta = std::env::current_exe().expect("this runs").with_file_name("aorta");
        let mut command = Command::new(&aorta);
        command.arg(kind).args(arguments).arg("--dir").arg(dir).stdout(Stdio::piped()).env("AORTA_LOG", "error");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}: build aorta too", aorta.display()));
        let mut output = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut lines: Vec<String> = Vec::new();
        while !lines.last().is_some_and(|line| line.starts_with(last)) {
            lines.push(output.next().unwrap_or_else(|| panic!("{kind} ended after {lines:?}")).expect("text"));
        }
        Self { child, lines }
    }

    fn url(&self) -> &str {
        &self.lines[0]
    }

    pub(crate) fn address(&self) -> &str {
        self.url().trim_start_matches("http://")
    }

    /// A field of an answer.
    pub(crate) fn field(&self, path: &str, field: &str) -> String {
        text(&Client::connect(self.address()).get(path), field)
    }

    pub(crate) fn stop(mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // One that has ended cannot be killed.
        let _ = self.child.kill();
    }
}

/// A field of JSON that is a string.
pub(crate) fn text(json: &str, field: &str) -> String {
    let json: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    json[field].as_str().unwrap_or_else(|| panic!("{json} has no {field}")).to_owned()
}

/// A gateway, and a scheduler that signs with this key.
pub(crate) fn scheduler(folder: &Path, key: &str) -> (Unit, Unit) {
    let su = folder.join("su");
    std::fs::create_dir_all(&su).and_then(|()| std::fs::write(su.join("wallet.json"), key)).expect("a folder");
    let gateway = Unit::start("gateway", &["--port", "0"], &folder.join("gateway"), "http://");
    let scheduler = Unit::start("su", &["--port", "0", "--gateway", gateway.url()], &su, "http://");
    (gateway, scheduler)
}

/// A network in one process.
pub(crate) struct Up(Unit);

impl Up {
    pub(crate) fn start(folder: &Path) -> Self {
        let module = ao_tests::module_path("aos2_0_6").display().to_string();
        let arguments = ["--ports", "gateway=0,mu=0,su=0,cu=0", "--module", &module];
        Self(Unit::start("up", &arguments, folder, "ready"))
    }

    /// The first word of what it told of a name.
    pub(crate) fn told(&self, name: &str) -> &str {
        let words = self.0.lines.iter().map(|line| line.split_whitespace());
        let mut told = words.filter_map(|mut words| (words.next() == Some(name)).then(|| words.next())?);
        told.next().unwrap_or_else(|| panic!("it told of no {name}"))
    }

    pub(crate) fn client(&self, unit: &str) -> Client {
        Client::connect(self.told(unit).trim_start_matches("http://"))
    }

    pub(crate) fn stop(self) {
        self.0.stop();
    }
}

pub(crate) fn ed25519() -> String {
    format!(r#"{{"kty":"OKP","crv":"Ed25519","d":"{}"}}"#, ao_wire::b64u::encode([7; 32]))
}

pub(crate) fn rsa() -> String {
    let path = ao_tests::root().join("fixtures/vectors/keys/user.json");
    std::fs::read_to_string(path).expect("a key of the fixtures")
}

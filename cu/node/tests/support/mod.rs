//! The `aorta` command as a child, and a client that asks it.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ao_tests::Network;
use serde_json::Value;

/// Longest that an answer may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// A unit, until it is dropped.
pub(crate) struct Unit {
    child: Option<Child>,
    address: String,
}

/// A network in one process, and what it printed.
pub(crate) struct Up {
    pub(crate) unit: Unit,
    told: BTreeMap<String, String>,
}

impl Up {
    /// Starts one on free ports, with the real aos.
    pub(crate) fn start(folder: &Path, more: &[&str]) -> Self {
        let module = ao_tests::module_path("aos2_0_6");
        let mut command = Command::new(env!("CARGO_BIN_EXE_aorta"));
        command.args(["up", "--ports", "gateway=0,mu=0,su=0,cu=0", "--dir"]).arg(folder);
        command.arg("--module").arg(module).args(more);
        let (unit, lines) = Unit::spawn(command, "ready");
        let pair = |line: &String| line.split_once(' ').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Self { unit, told: lines.iter().filter_map(pair).collect() }
    }

    /// The first word of what it told of a name.
    pub(crate) fn word(&self, name: &str) -> String {
        self.told[name].split(' ').next().unwrap().to_owned()
    }

    pub(crate) fn unit(&self, name: &str) -> Unit {
        Unit::at(&self.told[name])
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Unit {
    /// Starts a unit on a free port and waits until it serves.
    pub(crate) fn start(network: &Network, folder: &Path, more: &[&str]) -> Self {
        let (su, gateway) = (network.url(), network.url());
        Self::run("cu", folder, &[&["--workers", "2", "--su", &su, "--gateway", &gateway], more].concat())
    }

    /// Starts a unit of some kind, as above.
    pub(crate) fn run(kind: &str, folder: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aorta"));
        command.args([kind, "--port", "0", "--dir"]).arg(folder).args(more);
        let (mut unit, lines) = Self::spawn(command, "http://");
        lines[0].strip_prefix("http://").unwrap().clone_into(&mut unit.address);
        unit
    }

    /// Starts a command and waits for a line that begins with `last`; its lines up to there.
    pub(crate) fn spawn(mut command: Command, last: &str) -> (Self, Vec<String>) {
        command.stdout(Stdio::piped()).env("AORTA_LOG", "warn");
        let mut child = command.spawn().unwrap();
        let (mut output, mut lines) = (BufReader::new(child.stdout.take().unwrap()).lines(), Vec::<String>::new());
        let unit = Self { child: Some(child), address: String::new() };
        while !lines.last().is_some_and(|line| line.starts_with(last)) {
            lines.push(output.next().unwrap_or_else(|| panic!("it ended after {lines:?}")).unwrap());
        }
        (unit, lines)
    }

    /// A unit that was started in another way and serves at this address.
    pub(crate) fn of(child: Child, url: &str) -> Self {
        let mut unit = Self::at(url);
        unit.child = Some(child);
        unit
    }

    /// A unit that someone else runs.
    pub(crate) fn at(url: &str) -> Self {
        Self { child: None, address: url.strip_prefix("http://").unwrap().to_owned() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Tells it to stop; its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let status = Command::new("kill").arg(self.id().to_string()).status().unwrap();
        assert!(status.success());
        self.child.take().unwrap().wait().unwrap().code()
    }

    /// Ends it where it is.
    pub(crate) fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[], body)
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.try_ask(method, path, headers, body.as_bytes()).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// As `ask`, for a unit that may be gone.
    pub(crate) fn try_ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let headers: String = headers.iter().flat_map(|(name, value)| [*name, ": ", *value, "\r\n"]).collect();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
        )?;
        stream.write_all(body)?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Answer::parse(&bytes).ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // One that has ended cannot be killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Answer {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let header = |line: &str| line.split_once(": ").map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()));
        let mut answer = Self { status, headers: lines.filter_map(header).collect(), body: bytes[end + 4..].to_vec() };
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = unchunked(&answer.body)?;
        } else if let Some(length) = answer.header("content-length") {
            let whole = length.parse() == Ok(answer.body.len());
            whole.then_some(())?;
        }
        Some(answer)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &value[..])
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body of an answer that must be 200.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }
}

/// The pieces of a body that was sent in pieces; `None` if the last one is missing.
fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(end + 2..end + 2 + length)?);
        bytes = &bytes[end + 2 + length + 2..];
    }
}

//! The reference tools, run by Node from `tests/node`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tempfile::TempDir;

use crate::root;

/// One message as a module is given it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Step {
    /// What it is about, for failure messages.
    #[serde(default)]
    pub name: String,
    /// The message's JSON.
    pub msg: String,
    /// The environment's JSON.
    pub env: String,
}

/// What the reference made of one step; see `tests/node/README.md`.
#[derive(Debug, Deserialize)]
pub struct Answer {
    /// What `GET /result` serves.
    pub result: Box<RawValue>,
    /// Of the memory in force after the step; empty where that is mirrored.
    #[serde(default)]
    pub memory_sha256: String,
    /// How many chunks the step wrote, where the memory is mirrored.
    #[serde(default)]
    memory_written: usize,
    /// Its size.
    pub memory_bytes: u64,
    /// `GasUsed`, where the answer has one.
    pub gas: Option<u64>,
    /// Whether the step's memory was adopted.
    pub keep: bool,
    /// What was thrown, if not the module's own answer.
    pub threw: Option<String>,
}

/// The lines a script prints, while it runs.
#[derive(Debug)]
pub struct Lines {
    child: Child,
    output: BufReader<ChildStdout>,
    script: String,
}

/// Starts a script of `tests/node`.
///
/// # Panics
/// If there is no Node; while reading, if the script fails.
pub fn node<S: AsRef<std::ffi::OsStr>>(script: &str, arguments: &[S]) -> Lines {
    let mut command = Command::new("node");
    command.arg("--experimental-wasm-memory64").arg(root().join("tests/node").join(script)).args(arguments);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("Node 20 or newer is on the PATH");
    let output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
    Lines { child, output, script: script.to_owned() }
}

impl Iterator for Lines {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the output of a script is UTF-8");
        if line.is_empty() {
            let status = self.child.wait().expect("a child can be waited for");
            assert!(status.success(), "{} ended with {status}", self.script);
            return None;
        }
        line.truncate(line.trim_end_matches('\n').len());
        Some(line)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // A test that fails half way leaves a script that would run on; one that has ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The parity corpus of a real module.
///
/// # Panics
/// If it cannot be made.
pub fn corpus(module: &str) -> Vec<Step> {
    node("corpus.mjs", &["--module", module]).map(|line| parse(&line)).collect()
}

/// The reference loader at work on a list of steps.
#[derive(Debug)]
pub struct Reference {
    lines: Lines,
    mirror: Option<Mirror>,
    _steps: TempDir,
}

/// The memory in force over there, kept up to date from what each step wrote.
#[derive(Debug)]
struct Mirror {
    memory: Vec<u8>,
    written: File,
}

impl Mirror {
    /// `CHUNK` of `loader.mjs`.
    const CHUNK: usize = 16 * 1024;

    fn follow(&mut self, answer: &Answer) {
        self.memory.resize(answer.memory_bytes as usize, 0);
        for _ in 0..answer.memory_written {
            let mut number = [0; 4];
            self.written.read_exact(&mut number).expect("the script wrote as many chunks as it says");
            let at = u32::from_le_bytes(number) as usize * Self::CHUNK;
            self.written.read_exact(&mut self.memory[at..at + Self::CHUNK]).expect("the script wrote whole chunks");
        }
    }
}

impl Reference {
    /// Starts the reference for `module`, which lies at `wasm` and has this `Module-Format`.
    ///
    /// # Panics
    /// If it cannot be started; while reading, if it fails.
    pub fn start(wasm: &Path, format: &str, steps: &[Step]) -> Self {
        Self::run(wasm, format, steps, false)
    }

    /// The same, with its memory at hand ([`Reference::memory`]) instead of a hash of it.
    ///
    /// # Panics
    /// As [`Reference::start`].
    pub fn mirrored(wasm: &Path, format: &str, steps: &[Step]) -> Self {
        Self::run(wasm, format, steps, true)
    }

    /// The memory in force over there after the last step that was read; nothing if it is not mirrored.
    pub fn memory(&self) -> &[u8] {
        self.mirror.as_ref().map_or(&[], |mirror| &mirror.memory)
    }

    fn run(wasm: &Path, format: &str, steps: &[Step], mirrored: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("steps.jsonl");
        let mut file = fs::File::create(&path).expect("a temporary file can be made");
        for step in steps {
            let line = serde_json::to_string(step).expect("text is JSON");
            writeln!(file, "{line}").expect("a temporary file can be written");
        }
        let memory = folder.path().join("memory");
        let mut arguments = vec![
            "--module".as_ref(),
            wasm.as_os_str(),
            "--format".as_ref(),
            format.as_ref(),
            "--steps".as_ref(),
            path.as_os_str(),
        ];
        let mut mirror = None;
        if mirrored {
            File::create(&memory).expect("a temporary file can be made");
            let written = File::open(&memory).expect("a temporary file can be read");
            mirror = Some(Mirror { memory: Vec::new(), written });
            arguments.extend(["--memory-to".as_ref(), memory.as_os_str()]);
        }
        Self { lines: node("reference.mjs", &arguments), mirror, _steps: folder }
    }
}

impl Iterator for Reference {
    type Item = Answer;

    fn next(&mut self) -> Option<Answer> {
        let answer = parse(&self.lines.next()?);
        if let Some(mirror) = &mut self.mirror {
            mirror.follow(&answer);
        }
        Some(answer)
    }
}

fn parse<'a, T: Deserialize<'a>>(line: &'a str) -> T {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {}", &line[..line.len().min(200)]))
}

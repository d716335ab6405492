//! The reference loader as a peer: a Node process that evaluates what it is given and says how long that took.
//!
//! Not here: how the loader is driven (`reference.mjs`, and `tests/node/loader.mjs` below it).
//! Invariant: only evaluation is timed, neither the pipe nor JSON that a unit would not have to parse.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::at_root;
use crate::log::Texts;

/// One process of the module, inside a Node process of its own.
pub struct Reference {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Reference {
    /// With `copies` the whole memory moves in and out at each message, as in the reference unit; without, the loader
    /// evaluates in place.
    pub fn start(copies: bool) -> Self {
        let mut child = Command::new("node")
            .arg(at_root("benches/reference.mjs"))
            .args(copies.then_some("--copies"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node is on the path");
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    /// Evaluates the messages one after the other.
    pub fn run(&mut self, messages: &[Texts]) -> Duration {
        for Texts { message, env } in messages {
            writeln!(self.input, "{}", json!({ "msg": message, "env": env })).unwrap();
        }
        writeln!(self.input).unwrap();
        self.input.flush().unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        Duration::from_nanos(line.trim().parse().expect("reference.mjs prints nanoseconds"))
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! The `replay` command as a test runs it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use ao_tests::{Guest, LogBuilder};
use tempfile::TempDir;

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A folder of its own for one test: log, bundles, compiled modules.
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) guest: Guest,
}

impl Place {
    pub(crate) fn new(guest: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self { folder, guest: Guest::load(guest, 32) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A log of the process and five messages, every second one asking for what the guest is named for.
    pub(crate) fn builder(&self) -> LogBuilder {
        let log = LogBuilder::new(&self.guest, &[]);
        ["one", "two!", "three", "four!", "five"].iter().fold(log, |log, data| log.message(data))
    }

    pub(crate) fn log(&self) -> PathBuf {
        let path = self.path("log");
        self.builder().write(&path);
        path
    }

    pub(crate) fn replay<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_replay"));
        let output = command.args(arguments).env("AORTA_CACHE", self.path("artifacts")).output().expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("the command prints text");
        Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Packs a source with these further arguments.
    #[allow(dead_code, reason = "not every test packs")]
    pub(crate) fn pack(&self, source: &Path, name: &str, more: &[&str]) -> PathBuf {
        let path = self.path(name);
        let ended = self.replay(arguments(&["pack", "--quiet", &text(source), "-o", &text(&path)], more));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        path
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("a temporary path is text").to_owned()
}

#[allow(dead_code, reason = "not every test packs")]
pub(crate) fn arguments(first: &[&str], more: &[&str]) -> Vec<String> {
    first.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
}

//! The `replay` command as a test runs it.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use ao_log::Nonce;
use ao_log::bundle::{BundleReader, BundleWriter, Record};
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
    #[allow(dead_code, reason = "not every test uses it")]
    pub(crate) fn builder(&self) -> LogBuilder {
        let log = LogBuilder::new(&self.guest, &[]);
        ["one", "two!", "three", "four!", "five"].iter().fold(log, |log, data| log.message(data))
    }

    #[allow(dead_code, reason = "not every test uses it")]
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

    /// Copies a bundle with transcripts put in and receipts changed.
    #[allow(dead_code, reason = "not every test forges")]
    pub(crate) fn rewrite(
        &self,
        bundle: &Path,
        transcript: impl Fn(Nonce) -> Vec<u8>,
        receipt: impl Fn(Nonce, &[u8]) -> Vec<u8>,
    ) -> PathBuf {
        let mut reader = BundleReader::new(File::open(bundle).expect("a bundle")).expect("a bundle");
        let path = self.path("forged.bundle");
        let (mut writer, mut module) = (None, None);
        while let Some(record) = reader.next_record().expect("the bundle is intact") {
            if let Record::Manifest(manifest) = &record {
                let sink = File::create(&path).expect("a temporary file can be made");
                writer = BundleWriter::new(sink, manifest).ok();
                continue;
            }
            let writer = writer.as_mut().expect("the manifest comes first");
            match record {
                Record::Process(item) => writer.process(item).expect("in order"),
                Record::Module(meta) => module = Some(meta),
                Record::ModuleChunk(mut chunk) => {
                    let meta = module.take().expect("a guest is one chunk");
                    writer.module(&meta, Some(&mut chunk)).expect("in order");
                }
                Record::Entry { nonce, assignment, message } => {
                    writer.entry(nonce, assignment, message).expect("in order");
                    writer.transcript(nonce, &transcript(nonce)).expect("in order");
                }
                Record::Receipt { nonce, bytes } => writer.receipt(nonce, &receipt(nonce, bytes)).expect("in order"),
                other => panic!("no {} was packed", other.kind()),
            }
        }
        writer.expect("the manifest was there").finish().expect("complete");
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

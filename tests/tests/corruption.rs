//! No damage to a bundle goes unnoticed: every bit of a small one is flipped, one at a time.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ao_kernel::ArtifactCache;
use ao_replay::{Contents, Options, Source, Verdict, pack, verify};
use ao_tests::{Guest, LogBuilder};
use tempfile::TempDir;

/// Threads that flip bits, each in a file of its own.
const THREADS: usize = 2;

struct Bundle {
    path: PathBuf,
    bytes: Vec<u8>,
    options: Options,
    temporary: TempDir,
}

/// The process, a message and one that fails; the module, a few hundred bytes, is beside it.
fn bundle() -> Bundle {
    let temporary = tempfile::tempdir().expect("a temporary folder can be made");
    let guest = Guest::load("unreachable", 32);
    let folder = temporary.path().join("log");
    LogBuilder::new(&guest, &[]).message("plain").message("now!").write(&folder);
    let cache = Some(ArtifactCache::new(temporary.path().join("artifacts")));
    let options = Options { modules: vec![guest.path], cache, ..Options::default() };
    let path = temporary.path().join("small.bundle");
    let contents = Contents { detach_module: true, checkpoint_every: None };
    let source = Source::open(&folder).expect("a log folder");
    pack(source, &options, contents, &path, &mut |_| Ok(())).expect("the log is sound");
    let bytes = fs::read(&path).expect("the bundle was written");
    Bundle { path, bytes, options, temporary }
}

fn matches(path: &Path, options: &Options) -> bool {
    let verdict = Source::open(path).map_err(Into::into).and_then(|source| verify(source, options, &mut |_| Ok(())));
    matches!(verdict, Ok((_, Verdict::Matched { .. })))
}

fn flip(file: &File, bytes: &[u8], bit: usize) {
    let flipped = bytes[bit / 8] ^ (1 << (bit % 8));
    file.write_all_at(&[flipped], (bit / 8) as u64).expect("a temporary file can be written");
}

fn restore(file: &File, bytes: &[u8], bit: usize) {
    file.write_all_at(&bytes[bit / 8..=bit / 8], (bit / 8) as u64).expect("a temporary file can be written");
}

#[test]
fn every_flipped_bit_of_a_bundle_is_noticed() {
    let bundle = bundle();
    assert!(matches(&bundle.path, &bundle.options), "the bundle is sound");
    let bits = bundle.bytes.len() * 8;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let bundle = &bundle;
            scope.spawn(move || {
                let path = bundle.temporary.path().join(format!("flipped-{thread}.bundle"));
                fs::write(&path, &bundle.bytes).expect("a temporary file can be written");
                let file = OpenOptions::new().write(true).open(&path).expect("it was just written");
                for bit in (thread..bits).step_by(THREADS) {
                    flip(&file, &bundle.bytes, bit);
                    assert!(!matches(&path, &bundle.options), "bit {bit} of {bits} went unnoticed");
                    restore(&file, &bundle.bytes, bit);
                }
                assert!(matches(&path, &bundle.options), "every bit was put back");
            });
        }
    });
}

#[test]
fn a_bundle_cut_anywhere_is_noticed() {
    let bundle = bundle();
    for length in (0..bundle.bytes.len()).step_by(7) {
        fs::write(&bundle.path, &bundle.bytes[..length]).expect("a temporary file can be written");
        assert!(!matches(&bundle.path, &bundle.options), "cut to {length} bytes");
    }
    fs::write(&bundle.path, [&bundle.bytes[..], &[0]].concat()).expect("a temporary file can be written");
    assert!(!matches(&bundle.path, &bundle.options), "a byte too long");
}

//! The demo: a network is run, processes trade on it, and every one of them is verified offline, again by whoever likes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use ao_kernel::ArtifactCache;
use ao_replay::{Options, Source, Verdict};

fn demo(folder: &Path, more: &[&str]) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aorta"));
    let output = command.args(["demo", "--dir"]).arg(folder).args(more).output().unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    (output, said)
}

#[test]
fn processes_that_trade_conserve_what_they_have_and_each_is_verified_offline() {
    let folder = tempfile::tempdir().unwrap();
    let module = ao_tests::module_path("aos2_0_6");
    let (output, said) =
        demo(folder.path(), &["--processes", "5", "--messages", "100", "--module", module.to_str().unwrap()]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}{error}");
    for phase in ["opening 10/10 messages", "trading ", "verifying "] {
        assert!(error.contains(phase), "{error}");
    }
    let sum = said.lines().find(|line| line.contains("5 processes")).unwrap();
    assert!(sum.contains("5 matched"), "{said}");
    assert!(said.contains("5000 of 5000 gold, 5000 of 5000 silver: conserved"), "{said}");
    let repeat = format!("verify {}/*.bundle", folder.path().join("bundles").display());
    assert!(said.contains(&repeat), "{said}");

    let bundles: Vec<_> = std::fs::read_dir(folder.path().join("bundles")).unwrap().collect();
    assert_eq!(bundles.len(), 5);
    let compiled = Some(ArtifactCache::new(folder.path().join("compiled")));
    let options = Options { cache: compiled, ..Options::default() };
    let (mut messages, mut ticks) = (0, 0);
    for bundle in bundles {
        let source = Source::open(&bundle.unwrap().path()).unwrap();
        let (report, verdict) = ao_replay::verify(source, &options, &mut |_| Ok(())).unwrap();
        assert!(matches!(verdict, Verdict::Matched { .. }), "{verdict:?}");
        messages += report.steps - report.ticks;
        ticks += report.ticks;
    }
    assert!(
        sum.contains(&format!(" {messages} ")) && sum.contains(&format!(" {ticks} ")),
        "{messages}, {ticks}: {sum}"
    );
    // 30 trades and greetings, nearly all with two messages that follow.
    assert!(messages > 80, "{sum}");
    // The module alone takes longer to compile than the clock to tick.
    assert!(ticks > 0, "{sum}");
}

#[test]
fn what_cannot_be_run_is_said() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(demo(folder.path(), &["--processes", "1"]).0.status.code(), Some(2));
    let (output, _) = demo(folder.path(), &["--module", "/dev/null"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/dev/null is no WebAssembly"));
}

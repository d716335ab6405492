//! The scripts of the examples, as anyone runs them against `aorta up`: each checks its invariant itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::process::Command;

use support::Unit;

#[test]
fn every_script_of_the_examples_ends_well_on_a_running_network() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aorta"));
    command.args(["up", "--ports", "gateway=0,mu=0,su=0,cu=0", "--dir"]).arg(folder.path().join("up"));
    command.arg("--module").arg(ao_tests::module_path("aos2_0_6"));
    let (_network, told) = Unit::spawn(command, "ready");
    let told = |name: &str| {
        let line = told.iter().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    for example in ["token", "order-book", "amm", "market", "chat"] {
        let script = ao_tests::root().join(format!("fixtures/examples/{example}/run.sh"));
        let mut command = Command::new("sh");
        for (name, unit) in [("MU", "mu"), ("SU", "su"), ("CU", "cu"), ("GATEWAY", "gateway")] {
            command.env(format!("AORTA_{name}_URL"), told(unit));
        }
        command.env("AORTA", env!("CARGO_BIN_EXE_aorta")).env("AORTA_MODULE", told("module"));
        command.env("AORTA_WALLET", folder.path().join("user.json")).arg(&script);
        let output = command.output().unwrap();
        let [said, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(output.status.code(), Some(0), "{example}: {said}{error}");
        assert!(said.lines().count() >= 3, "{example} shows little: {said}");
    }
}

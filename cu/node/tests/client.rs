//! The command line against a whole network: what one types is done, and what a process sends to another arrives.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use support::Unit;

#[test]
fn a_process_is_spawned_evaluated_and_read_from_the_command_line_and_sends_to_another() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aorta"));
    command.args(["up", "--ports", "gateway=0,mu=0,su=0,cu=0", "--dir"]).arg(folder.path().join("up"));
    command.arg("--module").arg(ao_tests::module_path("aos2_0_6"));
    let (_network, told) = Unit::spawn(command, "ready");
    let url = |name: &str| {
        let line = told.iter().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    let aorta = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aorta"));
        for (name, unit) in [("MU", "mu"), ("SU", "su"), ("CU", "cu"), ("GATEWAY", "gateway")] {
            command.env(format!("AORTA_{name}_URL"), url(unit));
        }
        command.env("AORTA_WALLET", folder.path().join("user.json")).env("AORTA_LOG", "error").args(arguments);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), said.trim_end().to_owned(), String::from_utf8(output.stderr).unwrap())
    };
    let done = |arguments: &[&str]| {
        let (code, said, error) = aorta(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said} {error}");
        said
    };
    assert_eq!(done(&["wallet"]), done(&["wallet"]), "a wallet that was made is kept");
    let process = done(&["spawn", "--tag", "Name=one"]);
    let other = done(&["spawn", "--tag", "Name=two"]);
    for count in ["1", "2"] {
        let said = done(&["eval", &process, "Count = (Count or 0) + 1; return Count"]);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], count, "{said}");
        assert!(lines.iter().any(|line| line.starts_with("gas ")), "{said}");
        assert!(lines.iter().any(|line| line.starts_with("receipt ")), "{said}");
    }
    let code = format!("Send({{ Target = '{other}', Action = 'Ping', Data = 'no' }}); return 'sent'");
    let said = done(&["eval", &process, &code]);
    assert!(said.contains(&format!("message   to {other} [")), "{said}");
    // The process itself is the first there.
    let counted = "return #Inbox";
    let deadline = Instant::now() + Duration::from_mins(1);
    while done(&["eval", &other, counted]).lines().next() != Some("2") {
        assert!(Instant::now() < deadline, "what a process sent did not arrive");
        std::thread::sleep(Duration::from_millis(100));
    }
    let message = done(&["send", &process, "--tag", "Action=Eval", "return 40 + 2"]);
    assert!(done(&["result", &process, &message]).starts_with("42"));
    assert!(done(&["result", &process, &message, "--json"]).contains("\"GasUsed\""));
    assert!(done(&["tail", &process, "--all", "--limit", "3"]).lines().any(|line| line == "2"));
    let (code, _, error) = aorta(&["result", &process, &process.replace(|c: char| c.is_ascii_digit(), "A")]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("says 4"), "{error}");
    assert_eq!(aorta(&["send", &process, "--tag", "nothing"]).0, Some(2));
}

//! A page in a browser, of another origin than the units, works with a whole network by the real client's browser build.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use support::Up;

#[test]
fn a_page_in_chromium_spawns_sends_and_reads_a_result() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path(), &[]);
    let names = ["gateway", "mu", "cu", "scheduler", "module"];
    let arguments: Vec<String> = names.iter().flat_map(|name| [format!("--{name}"), up.word(name)]).collect();
    let lines: Vec<String> = ao_tests::node("browser.mjs", &arguments).collect();
    let told: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(told["result"]["Output"]["data"], "42", "{told}");
    assert!(told["agent"].as_str().unwrap().contains("Chrome"), "{told}");
    assert_ne!(told["origin"], up.word("mu"), "the units are another origin, which CORS must allow");
    let result =
        format!("/result/{}?process-id={}", told["message"].as_str().unwrap(), told["process"].as_str().unwrap());
    assert_eq!(up.unit("cu").get(&result).ok()["Output"]["data"], "42");
}

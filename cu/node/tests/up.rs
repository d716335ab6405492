//! A whole network in one process: the real client works with it, what it made is verified offline, and it goes on after a stop.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use ao_replay::{Options, Source, Verdict};
use serde_json::Value;
use support::{Unit, Up};

/// What the real client makes of it.
fn client(up: &Up, more: &[&str]) -> Value {
    let [gateway, mu, cu, scheduler, module] = ["gateway", "mu", "cu", "scheduler", "module"].map(|name| up.word(name));
    let graphql = format!("{gateway}/graphql");
    let arguments = ["--cu", &cu, "--mu", &mu, "--graphql", &graphql, "--module", &module, "--scheduler", &scheduler];
    let lines: Vec<String> =
        ao_tests::node("aoconnect.mjs", &[&arguments[..], &["--assign", "--monitor"], more].concat()).collect();
    serde_json::from_str(&lines[0]).unwrap()
}

#[test]
fn the_real_client_works_with_a_network_whose_logs_are_verified_and_that_goes_on_after_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path(), &[]);
    let told = client(&up, &["--cron"]);
    assert_eq!(told["result"]["data"], "42", "{told}");
    assert_eq!(told["dryrun"]["data"], "42", "{told}");
    let bundle = tempfile::NamedTempFile::new().unwrap();
    let process = told["process"].as_str().unwrap();
    let cron = told["cron"].as_str().unwrap();
    for process in [process, cron] {
        std::fs::write(bundle.path(), up.unit("cu").get(&format!("/bundle/{process}")).body).unwrap();
        let options = Options { modules: vec![ao_tests::module_path("aos2_0_6")], ..Options::default() };
        let verdict = ao_replay::verify(Source::open(bundle.path()).unwrap(), &options, &mut |_| Ok(())).unwrap().1;
        assert!(matches!(verdict, Verdict::Matched { .. }), "{verdict:?}");
    }
    // What the cron of a watched process sent arrived once each, dated with its tick.
    let ticks = up.unit("cu").get(&format!("/cron/{cron}")).ok();
    let sent = ticks["edges"].as_array().unwrap().iter().flat_map(|edge| edge["node"]["Messages"].as_array().unwrap());
    let sent: Vec<&str> = sent.map(|message| message["Data"].as_str().unwrap()).collect();
    let mut arrived: Vec<&str> = told["ticked"].as_array().unwrap().iter().map(|time| time.as_str().unwrap()).collect();
    arrived.sort_unstable();
    assert!(arrived.len() >= 4, "{told}");
    assert_eq!(arrived, sent, "{told}");
    let result = format!("/result/{}?process-id={process}", told["message"].as_str().unwrap());
    let before = up.unit("cu").get(&result).ok();
    let module = up.word("module");
    assert_eq!(up.unit.stop(), Some(0));

    let up = Up::start(folder.path(), &[]);
    assert_eq!(up.word("module"), module, "a module keeps its id");
    assert_eq!(up.unit("cu").get(&result).ok(), before);
    assert_eq!(client(&up, &[])["result"]["data"], "42");
    assert_eq!(up.unit.stop(), Some(0));

    let up = Up::start(folder.path(), &["--fresh"]);
    assert_eq!(up.unit("su").get(&format!("/processes/{process}")).status, 404);
}

#[test]
fn a_gateway_that_is_there_already_is_used_in_place_of_one_of_its_own() {
    let (folder, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let gateway = Unit::run("gateway", store.path(), &[]);
    let up = Up::start(folder.path(), &["--gateway", &gateway.url()]);
    assert_eq!(up.word("gateway"), gateway.url());
    assert!(!folder.path().join("gateway").exists());
    let told = client(&up, &[]);
    assert_eq!(told["result"]["data"], "42", "{told}");
    assert_eq!(gateway.get(&format!("/tx/{}", up.word("module"))).status, 200);
    // The scheduler uploads in its own time.
    let message = format!("/tx/{}", told["message"].as_str().unwrap());
    let end = Instant::now() + Duration::from_secs(30);
    while gateway.get(&message).status != 200 {
        assert!(Instant::now() < end, "the message is not uploaded");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(up.unit.stop(), Some(0));
}

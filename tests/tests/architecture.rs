//! The house rules that a compiler does not hold: who may depend on whom, and how long a file may be.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use ao_tests::root;
use serde_json::Value;

/// Lowest first: each may depend on those before it.
const LAYERS: [&str; 5] = ["ao-wire", "ao-log", "ao-kernel", "ao-commit", "ao-replay"];

/// The units' crates, and what of ours each may use itself.
const UNIT: [(&str, &[&str]); 8] = [
    ("ao-http", &[]),
    ("ao-mu", &["ao-wire", "ao-commit", "ao-http"]),
    ("ao-gateway", &["ao-wire", "ao-http"]),
    ("ao-su", &["ao-wire", "ao-log", "ao-source", "ao-http"]),
    ("ao-store", &["ao-wire", "ao-log"]),
    ("ao-source", &["ao-wire", "ao-log"]),
    ("ao-exec", &["ao-wire", "ao-log", "ao-kernel", "ao-commit", "ao-replay", "ao-store"]),
    (
        "ao-node",
        &[
            "ao-wire",
            "ao-log",
            "ao-kernel",
            "ao-commit",
            "ao-replay",
            "ao-store",
            "ao-source",
            "ao-exec",
            "ao-http",
            "ao-mu",
            "ao-su",
            "ao-gateway",
        ],
    ),
];

/// What nothing in `replay/` may come to depend on, however far down.
const BANNED: [&str; 8] = ["tokio", "hyper", "mio", "rustls", "redb", "reqwest", "socket2", "async-std"];

/// What `replay/` may not use itself. The compiler brings `rand` along, by way of its linker's profiler, and never calls it.
const BANNED_DIRECTLY: [&str; 2] = ["rand", "getrandom"];

const LINES_MAX: usize = 600;

fn cargo(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO")).current_dir(root()).args(arguments).arg("--offline").output().expect("cargo runs");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints text")
}

fn metadata() -> Value {
    serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--no-deps"])).expect("JSON")
}

/// The packages of the workspace with their direct dependencies, those of tests left out.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let metadata = metadata();
    let name = |value: &Value| value["name"].as_str().expect("every package has a name").to_owned();
    let packages = metadata["packages"].as_array().expect("a workspace has packages");
    let direct = |package: &Value| {
        let all = package["dependencies"].as_array().expect("a list");
        all.iter().filter(|dependency| dependency["kind"].is_null()).map(name).collect()
    };
    packages.iter().map(|package| (name(package), direct(package))).collect()
}

#[test]
fn the_trusted_base_depends_downwards_only() {
    let dependencies = dependencies();
    for (level, package) in LAYERS.iter().enumerate() {
        let ours = dependencies[*package].iter().filter(|name| dependencies.contains_key(*name));
        for dependency in ours {
            assert!(LAYERS[..level].contains(&&dependency[..]), "{package} depends on {dependency}");
        }
        for banned in BANNED_DIRECTLY {
            assert!(!dependencies[*package].iter().any(|name| name == banned), "{package} depends on {banned}");
        }
    }
}

#[test]
fn the_trusted_base_reaches_no_network_no_runtime_and_no_database() {
    for package in LAYERS {
        let tree = cargo(&["tree", "--package", package, "--edges", "normal", "--prefix", "none"]);
        let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(names.contains(&package), "{package} is not in its own tree");
        for banned in BANNED {
            assert!(!names.contains(&banned), "{package} depends on {banned}");
        }
    }
}

#[test]
fn benches_alone_may_leave_gas_out() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("a workspace has packages");
    let turns_on = |package: &&Value| {
        let all = package["dependencies"].as_array().expect("a list").iter();
        let mut features = all.flat_map(|dependency| dependency["features"].as_array().expect("a list"));
        let passes_on = package["features"].to_string().contains("ao-kernel/uncounted");
        passes_on || features.any(|feature| feature == "uncounted")
    };
    let names: Vec<&Value> = packages.iter().filter(turns_on).map(|package| &package["name"]).collect();
    assert_eq!(names, ["ao-benches"]);
}

#[test]
fn only_the_node_brings_the_unit_together() {
    let dependencies = dependencies();
    for (package, allowed) in UNIT {
        for dependency in dependencies[package].iter().filter(|name| dependencies.contains_key(*name)) {
            assert!(allowed.contains(&&dependency[..]), "{package} depends on {dependency}");
        }
    }
}

#[test]
fn no_source_file_is_longer_than_the_ceiling() {
    let mut files = 0;
    for folder in
        ["replay", "cu", "modules", "tests/src", "tests/tests", "benches", "fixtures/guests/src", "tests/node"]
    {
        check_lines(&root().join(folder), &mut files);
    }
    assert!(files > 100, "{files} files are too few to be all");
}

fn check_lines(folder: &Path, files: &mut usize) {
    for entry in std::fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target" && name != "node_modules") {
                check_lines(&path, files);
            }
        } else if path.extension().is_some_and(|extension| ["rs", "mjs", "wat"].iter().any(|known| extension == *known))
        {
            let lines = std::fs::read_to_string(&path).expect("source is text").lines().count();
            assert!(lines <= LINES_MAX, "{} has {lines} lines", path.display());
            *files += 1;
        }
    }
}

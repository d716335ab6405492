//! A signed log becomes the messages the reference unit would make of it, and they lead where it would lead.
//!
//! `tests/node/make-log.mjs` signs a log with npm `arbundles`, and `log-steps.mjs` makes the JSON from it by the rules of the
//! reference unit, without any code of ours.

use ao_commit::input_hash;
use ao_kernel::message::{Assignment, Message, Party, Shown, write_env};
use ao_log::LogFolder;
use ao_replay::{Observed, Options, Source, run};
use ao_tests::{Reference, Step, hex, module_path, node};
use ao_wire::{DataItem, Tag};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const FORMAT: &str = "wasm64-unknown-emscripten-draft_2024_02_15";
const MODULE: &str = "aos2_0_6";

/// A log of a dozen messages, each with something of its own, and its steps as the reference unit has them.
fn log() -> (TempDir, Vec<Step>) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().to_str().expect("a temporary path is text");
    assert_eq!(node("make-log.mjs", &["--script", "small", "--module", MODULE, "--out", path]).count(), 1);
    let steps = node("log-steps.mjs", &["--log", path]);
    let steps = steps.map(|line| serde_json::from_str(&line).expect("a step")).collect();
    (folder, steps)
}

/// What the kernel shows a module, built from the files alone.
fn our_steps(folder: &LogFolder) -> Vec<(String, String)> {
    let process = Shown::new(DataItem::parse(folder.process()).expect("a signed item"));
    let module = folder.module().expect("the log has its module").meta;
    let module_tags: Vec<Tag<'_>> = module.tags.iter().map(|tag| Tag::new(&tag.name, &tag.value)).collect();
    let (process_id, module_id) = (process.item().id.to_string(), module.id.to_string());
    let mut env = Vec::new();
    write_env(
        Party { id: &process_id, owner: process.item().owner, tags: process.item().tags },
        Party { id: &module_id, owner: &module.owner, tags: &module_tags },
        &mut env,
    );
    let text = |bytes| String::from_utf8(bytes).expect("JSON is text");
    let env = text(env);
    let steps = folder.entries().map(|entry| {
        let entry = entry.expect("the folder is sound");
        let tags: Vec<Tag<'_>> = DataItem::parse(&entry.assignment).expect("a signed item").tags().collect();
        let assignment = Assignment::from_tags(&tags).expect("an assignment");
        let item = entry.message.as_deref().map(|bytes| Shown::new(DataItem::parse(bytes).expect("a signed item")));
        let mut json = Vec::new();
        Message::of_entry(process.item(), assignment, item.as_ref().map(Shown::item), None).write(&mut json);
        (text(json), env.clone())
    });
    steps.collect()
}

#[test]
fn messages_and_environment_are_byte_for_byte_those_of_the_reference_unit() {
    let (folder, expected) = log();
    let found = our_steps(&LogFolder::open(folder.path()).expect("a log folder"));
    assert_eq!(found.len(), expected.len());
    for (nonce, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found.0, expected.msg, "message of nonce {nonce}");
        assert_eq!(found.1, expected.env, "environment at nonce {nonce}");
    }
}

#[test]
fn a_replayed_log_gives_the_results_and_memories_of_the_reference_loader() {
    let (folder, steps) = log();
    let mut reference = Reference::start(&module_path(MODULE), FORMAT, &steps);
    let mut position = 0;
    let source = Source::open(folder.path()).expect("a log folder");
    let report = run(source, &Options::default(), &mut |observed: Observed<'_>| {
        let (step, expected) = (&steps[position], reference.next().expect("an answer for each step"));
        let report = observed.report;
        assert_eq!(report.receipt.input_hash, input_hash(step.msg.as_bytes(), step.env.as_bytes()), "nonce {position}");
        assert_eq!(String::from_utf8_lossy(&report.result_json), expected.result.get(), "nonce {position}");
        let memory = observed.session.memory();
        assert_eq!(memory.len() as u64, expected.memory_bytes, "nonce {position}");
        assert_eq!(hex(&Sha256::digest(memory)), expected.memory_sha256, "nonce {position}");
        position += 1;
        Ok(())
    });
    let report = report.expect("the log is sound");
    assert_eq!((report.steps as usize, position), (steps.len(), steps.len()));
    assert!(report.failed > 0, "one of the messages is meant to fail");
    assert!(reference.next().is_none());
}

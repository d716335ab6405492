//! Modules of every shape run: the glues of the old formats, modules that count their own gas, legacy exceptions, and standalone
//! modules over WASI; where the reference loader runs them too, with its results and its memory.

use std::path::{Path, PathBuf};

use ao_kernel::guest::{Interrupt, TrapKind};
use ao_kernel::{Engine, Machine, Module, ModuleFormat, ProcessLimits, Step, Tracker};
use ao_tests::{Guest, Reference, hex, node, root};
use sha2::{Digest, Sha256};

const LIMITS: ProcessLimits = ProcessLimits { memory_bytes_max: 1 << 30, compute_max: 9_000_000_000_000 };
const ENVIRONMENT: &str = "{\"Process\":{\"Id\":\"p\",\"Owner\":\"o\",\"Tags\":[]}}";

fn built(file: &str) -> PathBuf {
    root().join("fixtures/guests/built").join(file)
}

fn load_on(engine: Engine, path: &Path, format: &str) -> Module {
    let wasm = std::fs::read(path).expect("a guest");
    let format = format.parse().expect("a known format");
    Module::load_on(engine, &wasm, format, None).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn load(path: &Path, format: &str) -> Module {
    load_on(Engine::default(), path, format)
}

fn start(module: &Module) -> Machine {
    Machine::start(module, ENVIRONMENT.into(), &LIMITS, Tracker::Best).expect("a guest starts")
}

fn step(machine: &mut Machine, data: &str) -> Step {
    machine.step(&message(data)).expect("a step needs nothing of the host")
}

fn text(step: &Step) -> String {
    String::from_utf8_lossy(&step.evaluated.result_json).into_owned()
}

fn output(step: &Step) -> String {
    let json: serde_json::Value = serde_json::from_slice(&step.evaluated.result_json).expect("a result is JSON");
    json["Output"].as_str().unwrap_or_else(|| panic!("no output in {json}")).to_owned()
}

fn message(data: &str) -> String {
    format!("{{\"Data\":\"{data}\"}}")
}

/// Lets the guest answer on every engine, and compares result, gas and memory after each message.
fn assert_engines_agree(path: &Path, format: &str, messages: &[&str]) -> Vec<(String, String)> {
    let run = |engine| {
        let mut machine = start(&load_on(engine, path, format));
        let answers = messages.iter().map(|data| {
            let answer = text(&step(&mut machine, data));
            (answer, hex(&Sha256::digest(machine.memory())))
        });
        answers.collect::<Vec<_>>()
    };
    let answers = run(Engine::Wasmer);
    for engine in [Engine::Wasmi, Engine::Original] {
        for (position, (found, expected)) in run(engine).iter().zip(&answers).enumerate() {
            assert_eq!(found, expected, "{}, message {position} on {engine:?}", path.display());
        }
    }
    answers
}

/// The same, and the reference too.
fn assert_parity(path: &Path, format: &str, messages: &[&str]) -> Vec<String> {
    let one = |data: &&str| ao_tests::Step { name: (*data).to_owned(), msg: message(data), env: ENVIRONMENT.into() };
    let steps: Vec<_> = messages.iter().map(one).collect();
    let mut reference = Reference::start(path, format, &steps);
    let answers = assert_engines_agree(path, format, messages);
    for (position, (result, memory)) in answers.iter().enumerate() {
        let expected = reference.next().expect("an answer for each step");
        let place = format!("{}, message {position}, {:?}", path.display(), expected.threw);
        assert_eq!(result, expected.result.get(), "{place}");
        assert_eq!(*memory, expected.memory_sha256, "{place}");
    }
    answers.into_iter().map(|(result, _)| result).collect()
}

/// Twice through all that the guest can do, with messages in between that ask for nothing: a failed message does not count, and a
/// third time asks for that which would fail again.
const TURNS: [&str; 26] = [
    "go!",
    "go!",
    "go!",
    "go!",
    "go!",
    "plain",
    "plain",
    "go!",
    "go!",
    "go!",
    "go!",
    "go!",
    "go!",
    "go!",
    "ünïcödé ✓",
    "go!",
    "go!",
    "go!",
    "plain",
    "plain",
    "plain",
    "go!",
    "plain",
    "plain",
    "go!",
    "end",
];

#[test]
fn the_glues_of_formats_1_to_3_give_what_they_gave_with_the_arguments_of_the_profile() {
    for (glue, format, main) in [
        ("emscripten1", "wasm32-unknown-emscripten", "\"Output\":\"0\""),
        ("emscripten2", "wasm32-unknown-emscripten2", "\"Output\":\"1014\""),
        ("emscripten3", "wasm32-unknown-emscripten3", "\"Output\":\"0\""),
    ] {
        let answers = assert_parity(&built(&format!("old_glue-{glue}.wasm")), format, &TURNS);
        let all = answers.join("\n");
        assert!(all.contains("\"Output\":\"7094\""), "{format} showed its environment: {all}");
        assert!(all.contains("\"status\":3"), "{format} let the guest exit: {all}");
        assert!(all.contains("\"Error\":{}"), "{format} let the guest trap: {all}");
        assert!(all.contains(main), "{format} called main: {all}");
    }
}

#[test]
fn modules_that_count_their_own_gas_use_what_the_reference_says() {
    let messages = ["plain", "go!", "plain", "go!", "go!", "plain", "go!"];
    for bits in [32, 64] {
        let guest = Guest::load("usegas", bits);
        let answers = assert_parity(&guest.path, guest.format, &messages);
        assert!(answers[1].contains("\"GasUsed\":1995") && answers[3].contains("\"GasUsed\":3995"), "{answers:?}");
        let mut machine = start(&load(&guest.path, guest.format));
        let all: Vec<_> = messages.iter().map(|data| step(&mut machine, data)).collect();
        assert_eq!(all[4].interrupt, Some(Interrupt::OutOfGas), "{bits} bits");
        let mut interpreted = start(&load_on(Engine::Wasmi, &guest.path, guest.format));
        let checked: Vec<_> = messages.iter().map(|data| step(&mut interpreted, data).gas).collect();
        assert_eq!(all.iter().map(|step| step.gas).collect::<Vec<_>>(), checked, "{bits} bits: our own gas");
        let guest = Guest::load("usegas_wide", bits);
        let answers = assert_parity(&guest.path, guest.format, &messages);
        let wide = if bits == 64 { "\"GasUsed\":4886718343" } else { "\"Error\":{}" };
        assert!(answers[1].contains(wide), "{answers:?}");
    }
}

#[test]
fn a_module_that_counts_its_own_gas_is_refused_where_the_reference_would_count_too() {
    for (bits, format) in [(32, ModuleFormat::Emscripten4Metering), (64, ModuleFormat::Wasm64Metering)] {
        let error = Module::load(&Guest::load("usegas", bits).wasm, format, None).err().expect("refused");
        assert!(error.to_string().contains("already imports `metering.usegas`"), "{error}");
        let error = Module::load(&Guest::load("exceptions", bits).wasm, format, None).err().expect("refused");
        assert!(error.to_string().contains("tag section in a metered module"), "{error}");
    }
}

#[test]
fn legacy_exceptions_are_caught_and_rethrown_as_in_the_reference() {
    for bits in [32, 64] {
        let guest = Guest::load("exceptions", bits);
        let answers = assert_parity(&guest.path, guest.format, &["plain", "go!", "go!", "plain", "go!", "go!"]);
        assert_eq!(answers.iter().filter(|answer| answer.contains("\"Output\":\"30")).count(), 4, "{answers:?}");
        let guest = Guest::load("exception_uncaught", bits);
        assert_parity(&guest.path, guest.format, &["plain", "go!", "plain", "go!", "go!", "plain"]);
    }
}

#[test]
fn an_exception_that_nobody_catches_leaves_no_trace() {
    for bits in [32, 64] {
        let guest = Guest::load("exception_uncaught", bits);
        let module = load(&guest.path, guest.format);
        let (mut failing, mut sound) = (start(&module), start(&module));
        for _ in 0..5 {
            let failed = step(&mut failing, "go!");
            assert_eq!(failed.interrupt, Some(Interrupt::Trap(TrapKind::Unreachable)));
            assert_eq!(text(&step(&mut failing, "plain")), text(&step(&mut sound, "plain")));
            let state = |machine: &mut Machine| machine.commit(|_| ()).expect("a commit needs nothing of the host");
            assert_eq!(state(&mut failing), state(&mut sound), "{bits} bits");
            assert!(failing.memory() == sound.memory(), "{bits} bits");
        }
    }
}

const WASI: &str = "wasm32-unknown-wasip1";

fn wasi() -> Module {
    load(&built("wasi_files.wasm"), WASI)
}

#[test]
fn a_standalone_module_has_files_clocks_and_random_numbers_of_the_state() {
    let module = wasi();
    let mut machine = start(&module);
    let mut ask = |data: &str| output(&step(&mut machine, data));
    assert_eq!(ask(""), "1");
    let time = ask("time");
    let times: Vec<u64> = time.split(' ').map(|text| text.parse().expect("a number")).collect();
    assert!(times[0] == 2 && times[1] >= 10_000 && times[2] == times[1] + 1, "{time}");
    assert_eq!(ask("sleep"), "3 2501 ms");
    let first = ask("random");
    let second = ask("random");
    let words: Vec<&str> = first.split(' ').chain(second.split(' ')).collect();
    assert_eq!((words[0], words[3], words.len()), ("4", "5", 6));
    assert!(words[1] != words[2] && words[1] != words[4] && words[2] != words[5], "{words:?}");
    assert_eq!(ask("outside"), "6 0 arguments, 0 variables");
    assert_eq!(ask("print"), "7 0 bytes of standard input");
    let files = ask("files");
    let expected = "8 tail=6789 at=10 len=5 all=012xy+end list=er:true,c:false,0:false copied=9 missing=44 taken=20 full=55 file=54 \
                    folder=31 outside=none modified=";
    assert!(files.starts_with(expected), "{files}");
    assert_eq!(ask(""), "9");
}

#[test]
fn standalone_modules_run_with_pointers_of_either_width() {
    let messages = ["plain", "go!", "plain", "go!", "go!", "go!", "go!", "plain", "go!"];
    let [narrow, wide] = [(32, WASI), (64, "wasm64-unknown-wasip1")].map(|(bits, format)| {
        let answers = assert_engines_agree(&Guest::load("standalone", bits).path, format, &messages);
        answers.into_iter().map(|(result, _)| result).collect::<Vec<_>>()
    });
    assert_eq!(narrow, wide);
    let all = narrow.join("\n");
    for seen in ["\"Output\":\"33\"", "\"Output\":\"1000", "\"status\":9"] {
        assert!(all.contains(seen), "{seen} in {all}");
    }
}

/// What a guest said of files, without what any host may choose: the order of a directory, and times.
fn chosen(output: &str) -> Vec<String> {
    let words = output.split(' ').filter(|word| !word.starts_with("modified="));
    words
        .map(|word| {
            let Some(list) = word.strip_prefix("list=") else { return word.to_owned() };
            let mut names: Vec<&str> = list.split(',').collect();
            names.sort_unstable();
            names.join(",")
        })
        .collect()
}

#[test]
fn a_standalone_module_sees_the_files_it_sees_over_the_wasi_of_node() {
    let path = built("wasi_files.wasm");
    let messages = ["", "files", "outside", "print", "", "files"];
    let arguments: Vec<_> = std::iter::once(path.as_os_str()).chain(messages.iter().map(AsRef::as_ref)).collect();
    let mut expected = node("wasi.mjs", &arguments);
    let mut machine = start(&wasi());
    for data in messages {
        let line: String = serde_json::from_str(&expected.next().expect("an answer for each message")).expect("a text");
        let answer: serde_json::Value = serde_json::from_str(&line).expect("the guest answers JSON");
        let expected = answer["response"]["Output"].as_str().expect("an output").to_owned();
        assert_eq!(chosen(&output(&step(&mut machine, data))), chosen(&expected), "{data:?}");
    }
}

#[test]
fn a_standalone_module_that_fails_loses_what_it_wrote() {
    let mut machine = start(&wasi());
    for round in 0..3 {
        assert_eq!(output(&step(&mut machine, "")), (2 * round + 1).to_string());
        let panicked = step(&mut machine, "panic");
        assert_eq!(panicked.interrupt, Some(Interrupt::Trap(TrapKind::Unreachable)));
        assert_eq!(step(&mut machine, "exit").interrupt, Some(Interrupt::Exit(7)));
        assert_eq!(output(&step(&mut machine, "")), (2 * round + 2).to_string());
    }
}

#[test]
fn a_standalone_module_goes_on_from_a_saved_state_as_if_it_had_never_stopped() {
    let module = wasi();
    let messages = ["", "files", "random", "map", "time", "panic", "map", "random", "files", ""];
    let mut unbroken = start(&module);
    assert_engines_agree(&built("wasi_files.wasm"), WASI, &messages);
    let whole: Vec<String> = messages.iter().map(|data| text(&step(&mut unbroken, data))).collect();
    for cut in 1..messages.len() {
        let mut machine = start(&module);
        for (data, expected) in messages.iter().zip(&whole).take(cut) {
            assert_eq!(text(&step(&mut machine, data)), *expected);
        }
        let registers = machine.commit(|_| ()).expect("a commit needs nothing of the host");
        let groups: Vec<(u32, Vec<u8>)> = machine.committed_groups().map(|(at, bytes)| (at, bytes.to_vec())).collect();
        let groups = groups.iter().map(|(at, bytes)| (*at, &bytes[..]));
        let mut resumed = Machine::resume(&module, ENVIRONMENT.into(), &LIMITS, Tracker::Best, &registers, groups)
            .expect("a state of its own");
        for (data, expected) in messages.iter().zip(&whole).skip(cut) {
            assert_eq!(text(&step(&mut resumed, data)), *expected, "after {cut} messages");
        }
    }
}

#[test]
fn random_bytes_differ_between_processes_whose_messages_differ() {
    let module = wasi();
    let random = |message: &str| {
        let mut machine = start(&module);
        let found = machine.step(message).expect("a step needs nothing of the host");
        output(&found)
    };
    let message = "{\"Id\":\"a\",\"Data\":\"random\"}";
    assert_eq!(random(message), random(message));
    assert_ne!(random(message), random("{\"Id\":\"b\",\"Data\":\"random\"}"));
}

//! Guests that fail get an answer, leave no trace, and cannot take more than they are given.
//!
//! Each guest of `fixtures/guests` does what it is named for when a message holds an exclamation mark; else it answers how many
//! messages it has counted in its memory. So the count tells whether a failed step was taken back.

use ao_kernel::guest::{Interrupt, TrapKind};
use ao_kernel::result::OutcomeKind;
use ao_kernel::{Machine, Module, ModuleFormat, ProcessLimits, Registers, StartError, Step, Tracker};
use ao_tests::{Guest, Reference, hex, node};
use sha2::{Digest, Sha256};

const LIMITS: ProcessLimits = ProcessLimits { memory_bytes_max: 1 << 30, compute_max: 9_000_000_000_000 };
const PAGE_BYTES: u64 = 65536;

/// How a guest ends when it does what it is named for.
#[derive(Clone, Copy, Debug)]
enum End {
    Trap(TrapKind),
    Answer(OutcomeKind),
}

use End::{Answer, Trap};
use OutcomeKind::{AllocationFailure, Evaluated, Malformed, ModuleError, Refused};

/// Every guest whose answers are also the reference's.
const GUESTS: [(&str, End); 31] = [
    ("counter", Answer(Evaluated)),
    ("unreachable", Trap(TrapKind::Unreachable)),
    ("divide_by_zero", Trap(TrapKind::DivisionByZero)),
    ("integer_overflow", Trap(TrapKind::IntegerOverflow)),
    ("nan_to_integer", Trap(TrapKind::BadConversionToInteger)),
    ("float_out_of_range", Trap(TrapKind::IntegerOverflow)),
    ("load_out_of_bounds", Trap(TrapKind::MemoryOutOfBounds)),
    ("store_out_of_bounds", Trap(TrapKind::MemoryOutOfBounds)),
    ("store_across_end", Trap(TrapKind::MemoryOutOfBounds)),
    ("copy_out_of_bounds", Trap(TrapKind::MemoryOutOfBounds)),
    ("fill_out_of_bounds", Trap(TrapKind::MemoryOutOfBounds)),
    ("call_null", Trap(TrapKind::IndirectCallToNull)),
    ("call_outside_table", Trap(TrapKind::TableOutOfBounds)),
    ("call_bad_signature", Trap(TrapKind::BadSignature)),
    ("infinite_recursion", Trap(TrapKind::StackOverflow)),
    ("resize_heap", Answer(Evaluated)),
    ("huge_result", Answer(Evaluated)),
    ("error_answer", Answer(ModuleError)),
    ("error_object", Answer(ModuleError)),
    ("error_empty", Answer(Evaluated)),
    ("not_ok", Answer(Refused)),
    ("not_ok_without_response", Answer(Refused)),
    ("buffer_allocation", Answer(AllocationFailure)),
    ("output_kinds", Answer(Evaluated)),
    ("invalid_json", Answer(Malformed)),
    ("empty_result", Answer(Malformed)),
    ("invalid_utf8", Answer(Evaluated)),
    ("null_result", Answer(Malformed)),
    ("result_outside_memory", Answer(Malformed)),
    ("clock", Answer(Evaluated)),
    ("nan_bits", Answer(Evaluated)),
];

fn load(name: &str, bits: u32) -> Module {
    let guest = Guest::load(name, bits);
    let format = guest.format.parse().expect("a known format");
    Module::load(&guest.wasm, format, None).unwrap_or_else(|error| panic!("{name}, {bits} bits: {error}"))
}

fn start(module: &Module, limits: &ProcessLimits) -> Machine {
    Machine::start(module, "{}".into(), limits, Tracker::Best).expect("a guest starts")
}

fn step(machine: &mut Machine, data: &str) -> Step {
    machine.step(&format!("{{\"Data\":\"{data}\"}}")).expect("a step needs nothing of the host")
}

fn text(step: &Step) -> String {
    String::from_utf8_lossy(&step.evaluated.result_json).into_owned()
}

/// The number a guest answered.
fn number(step: &Step) -> u64 {
    let json: serde_json::Value = serde_json::from_slice(&step.evaluated.result_json).expect("a result is JSON");
    json["Output"].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no number in {json}"))
}

/// Everything a later step can see.
fn state(machine: &mut Machine) -> (Registers, String) {
    let registers = machine.commit(|_| ()).expect("a commit needs nothing of the host");
    (registers, hex(&Sha256::digest(machine.memory())))
}

fn assert_ends(name: &str, step: &Step, end: End) {
    match end {
        Trap(kind) => {
            assert_eq!(step.interrupt, Some(Interrupt::Trap(kind)), "{name}");
            assert_eq!(step.evaluated.kind, OutcomeKind::Failed, "{name}");
        }
        Answer(kind) => assert_eq!((step.evaluated.kind, &step.interrupt), (kind, &None), "{name}: {}", text(step)),
    }
}

#[test]
fn every_guest_ends_as_it_is_named_and_the_next_message_finds_the_state_before() {
    for bits in [32, 64] {
        for (name, end) in GUESTS {
            let mut machine = start(&load(name, bits), &LIMITS);
            assert_eq!(number(&step(&mut machine, "plain")), 1, "{name}");
            let before = state(&mut machine);
            let asked = step(&mut machine, "now!");
            assert_ends(name, &asked, end);
            let kept = asked.evaluated.keeps_previous_memory();
            if kept {
                assert_eq!(state(&mut machine), before, "{name}, {bits} bits");
            }
            assert_eq!(number(&step(&mut machine, "again")), if kept { 2 } else { 3 }, "{name}, {bits} bits");
        }
    }
}

#[test]
fn failures_between_two_commits_leave_what_never_having_failed_leaves() {
    for (name, end) in GUESTS {
        let fails = !matches!(end, Answer(Evaluated));
        if !fails {
            continue;
        }
        let module = load(name, 64);
        let (mut failing, mut sound) = (start(&module, &LIMITS), start(&module, &LIMITS));
        for i in 0..40 {
            let data = format!("plain {i}");
            assert_eq!(text(&step(&mut failing, &data)), text(&step(&mut sound, &data)), "{name}");
            if i % 3 == 0 {
                step(&mut failing, "now!");
            }
        }
        assert_eq!(state(&mut failing), state(&mut sound), "{name}");
    }
}

#[test]
fn guests_answer_as_under_the_reference_loader() {
    let steps: Vec<ao_tests::Step> =
        node::<&str>("guest-steps.mjs", &[]).map(|line| serde_json::from_str(&line).expect("a step")).collect();
    for bits in [32, 64] {
        for (name, _) in GUESTS {
            let guest = Guest::load(name, bits);
            let mut reference = Reference::start(&guest.path, guest.format, &steps);
            let module = load(name, bits);
            let mut machine = Machine::start(&module, steps[0].env.clone(), &LIMITS, Tracker::Best).expect("it starts");
            for one in &steps {
                let found = machine.step(&one.msg).expect("a step needs nothing of the host");
                let expected = reference.next().expect("an answer for each step");
                assert_eq!(text(&found), expected.result.get(), "{name}, {bits} bits, {:?}", one.name);
                let sha256 = hex(&Sha256::digest(machine.memory()));
                assert_eq!(sha256, expected.memory_sha256, "{name}, {bits} bits, {:?}", one.name);
            }
        }
    }
}

#[test]
fn memory_grows_to_the_limit_of_the_process_and_no_further() {
    for bits in [32, 64] {
        let module = load("memory_grow", bits);
        let refused = u64::from(u32::MAX);
        for (limit_pages, granted) in [(6, 3), (3, 0), (1000, 61)] {
            let limits = ProcessLimits { memory_bytes_max: limit_pages * PAGE_BYTES, ..LIMITS };
            let mut machine = start(&module, &limits);
            for pages in 3..3 + granted {
                assert_eq!(number(&step(&mut machine, "now!")), pages, "{bits} bits, limit of {limit_pages} pages");
            }
            assert_eq!(number(&step(&mut machine, "now!")), refused, "{bits} bits, limit of {limit_pages} pages");
            assert_eq!(machine.memory().len() as u64, (3 + granted) * PAGE_BYTES);
        }
        let limits = ProcessLimits { memory_bytes_max: 2 * PAGE_BYTES, ..LIMITS };
        let error = Machine::start(&module, "{}".into(), &limits, Tracker::Best).err();
        assert!(matches!(error, Some(StartError::MemoryLimit { .. })), "{error:?}");
    }
}

#[test]
fn globals_are_taken_back_with_memory() {
    for bits in [32, 64] {
        let mut machine = start(&load("global_state", bits), &LIMITS);
        for calls in 1..20 {
            assert_eq!(number(&step(&mut machine, "count!")), 100 + calls, "{bits} bits");
            let before = state(&mut machine);
            assert_ends("global_state", &step(&mut machine, "count and fail!"), Trap(TrapKind::Unreachable));
            assert_eq!(state(&mut machine), before, "{bits} bits");
            assert_eq!(number(&step(&mut machine, "plain")), 2 * calls, "{bits} bits");
        }
    }
}

#[test]
fn a_table_is_part_of_the_state() {
    for bits in [32, 64] {
        let module = load("table_state", bits);
        let mut machine = start(&module, &LIMITS);
        let mut seen = Vec::new();
        for i in 0..6 {
            let before = state(&mut machine).0;
            assert_eq!(number(&step(&mut machine, "swap!")), if i % 2 == 0 { 2 } else { 1 }, "{bits} bits");
            assert_ne!(state(&mut machine).0, before, "{bits} bits");
            seen.push(before);
        }
        // The first swap also fills the place it swaps by.
        assert_eq!(seen[1], seen[3], "swapped twice, {bits} bits");
    }
}

#[test]
fn a_guest_that_never_ends_runs_out_of_gas_in_every_format() {
    let limits = ProcessLimits { compute_max: 3_000_000_000, ..LIMITS };
    let formats = [
        (32, ModuleFormat::Emscripten4),
        (32, ModuleFormat::Emscripten4Metering),
        (64, ModuleFormat::Wasm64),
        (64, ModuleFormat::Wasm64Metering),
    ];
    for (bits, format) in formats {
        let module = Module::load(&Guest::load("spin", bits).wasm, format, None).expect("admitted");
        let mut machine = start(&module, &limits);
        assert_eq!(number(&step(&mut machine, "plain")), 1);
        let before = state(&mut machine).1;
        for _ in 0..2 {
            let spun = step(&mut machine, "now!");
            assert_eq!(spun.interrupt, Some(Interrupt::OutOfGas), "{bits} bits");
            assert_eq!(state(&mut machine).1, before, "{bits} bits");
        }
        assert_eq!(number(&step(&mut machine, "plain")), 2);
    }
}

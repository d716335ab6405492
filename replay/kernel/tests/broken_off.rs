//! What another thread breaks off is an error and never an outcome, and leaves no trace but in the machine that it hit.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and watches by the clock"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ao_kernel::guest::Interrupt;
use ao_kernel::{
    BrokenOff, Engine, Evaluation, Machine, MachineError, Module, ModuleFormat, ProcessLimits, StartError, Tracker,
    Watch,
};

/// Hours of gas for the loops below.
const LIMITS: ProcessLimits = ProcessLimits { memory_bytes_max: 1 << 20, compute_max: 9_000_000_000_000_000 };
/// What the evaluations that nobody breaks off may use.
const SHORT: ProcessLimits = ProcessLimits { compute_max: 1_000_000_000, ..LIMITS };
const LIMIT: Duration = Duration::from_millis(50);
const BROKEN: BrokenOff = BrokenOff { after: LIMIT };

/// Counts in memory; a message that begins with `l` loops, one with `h` loops over a host call.
const GUEST: &str = r#"
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 2)
  (global $side (mut i32) (i32.const 0))
  (data (i32.const 8) "{\"ok\":true,\"response\":{\"Output\":\"A\"}}\00")
  (func (export "malloc") (param i32) (result i32)
    (global.set $side (i32.xor (global.get $side) (i32.const 16384)))
    (i32.add (i32.const 65536) (global.get $side)))
  (func $asks (param $message i32) (param $letter i32) (result i32)
    (i32.eq (i32.load8_u (local.get $message)) (local.get $letter)))
  (func (export "handle") (param $message i32) (param i32) (result i32)
    (i32.store8 (i32.const 41) (i32.add (i32.load8_u (i32.const 41)) (i32.const 1)))
    (if (call $asks (local.get $message) (i32.const 108)) (then (loop $spin (br $spin))))
    (if (call $asks (local.get $message) (i32.const 104)) (then
      (loop $spin (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 1024))) (br $spin))))
    (i32.const 8))
"#;

fn module(engine: Engine, more: &str) -> Module {
    let wasm = wat::parse_str(format!("(module {GUEST} {more})")).unwrap();
    Module::load_on(engine, &wasm, ModuleFormat::Wasip1, None).unwrap()
}

fn start(module: &Module, limits: &ProcessLimits) -> Machine {
    Machine::start(module, "{}".into(), limits, Tracker::Best).unwrap()
}

fn state(machine: &mut Machine) -> (ao_kernel::Registers, Vec<u8>) {
    (machine.commit(|_| ()).unwrap(), machine.memory().to_vec())
}

/// Does `work` while what runs is broken off once it has been seen for `LIMIT`.
fn broken_off<T>(watch: &Watch, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut seen: Option<(Evaluation, Instant)> = None;
            while !done.load(Ordering::Relaxed) {
                let running = watch.running();
                match (&seen, running.first()) {
                    (Some((known, since)), Some(now)) if known == now && since.elapsed() >= LIMIT => {
                        now.break_off(LIMIT);
                    }
                    (Some((known, _)), Some(now)) if known == now => {}
                    (_, now) => seen = now.map(|now| (now.clone(), Instant::now())),
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

#[test]
fn a_step_that_is_broken_off_is_an_error_for_ever_and_elsewhere_what_it_always_was() {
    let watch = Watch::default();
    let plain = module(Engine::Wasmer, "");
    let watched = plain.clone().watched(&watch);
    for endless in ["loop", "host"] {
        let (mut hit, mut other) = (start(&watched, &LIMITS), start(&watched, &SHORT));
        hit.step("a").unwrap();
        let began = Instant::now();
        let error = broken_off(&watch, || hit.step(endless)).unwrap_err();
        assert!(matches!(error, MachineError::BrokenOff(BROKEN)), "{error}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert!(matches!(hit.step("a"), Err(MachineError::BrokenOff(BROKEN))));
        assert!(matches!(hit.commit(|_| ()), Err(MachineError::BrokenOff(BROKEN))));
        assert!(matches!(hit.fork(&watched, &LIMITS), Err(StartError::BrokenOff(BROKEN))));
        // One that was watched all the while and one that never was end the same message alike.
        let mut never = start(&plain, &SHORT);
        for message in ["a", endless, "b"] {
            let (left, right) = (other.step(message).unwrap(), never.step(message).unwrap());
            assert_eq!((left.interrupt.clone(), left.gas), (right.interrupt, right.gas));
            assert_eq!(left.interrupt, (message == endless).then_some(Interrupt::OutOfGas));
            assert_eq!(left.evaluated.result_json, right.evaluated.result_json);
        }
        assert_eq!(state(&mut other), state(&mut never));
    }
}

#[test]
fn a_dry_run_that_is_broken_off_leaves_its_process_and_later_ones_alone() {
    let watch = Watch::default();
    let module = module(Engine::Wasmer, "").watched(&watch);
    let mut machine = start(&module, &LIMITS);
    machine.step("a").unwrap();
    let before = state(&mut machine);
    let fork = machine.fork(&module, &LIMITS).unwrap();
    let error = broken_off(&watch, || fork.step("loop")).unwrap_err();
    assert!(matches!(error, StartError::BrokenOff(BROKEN)), "{error}");
    assert_eq!(machine.fork(&module, &LIMITS).unwrap().step("a").unwrap().interrupt, None);
    assert_eq!(state(&mut machine), before);
    assert_eq!(machine.step("a").unwrap().interrupt, None);
}

#[test]
fn a_module_that_loops_before_its_first_message_is_broken_off_too() {
    let watch = Watch::default();
    let module = module(Engine::Wasmer, "(start $forever) (func $forever (loop $spin (br $spin)))").watched(&watch);
    let start = || Machine::start(&module, "{}".into(), &LIMITS, Tracker::Best).err();
    let error = broken_off(&watch, start).unwrap();
    assert!(matches!(error, StartError::BrokenOff(BROKEN)), "{error}");
}

#[test]
fn the_interpreter_is_broken_off_in_a_loop_and_at_a_host_call() {
    let watch = Watch::default();
    for (engine, endless) in [Engine::Wasmi, Engine::Original].into_iter().flat_map(|it| [(it, "loop"), (it, "host")]) {
        let mut machine = start(&module(engine, "").watched(&watch), &LIMITS);
        let error = broken_off(&watch, || machine.step(endless)).unwrap_err();
        assert!(matches!(error, MachineError::BrokenOff(BROKEN)), "{engine:?}: {error}");
    }
}

#[test]
fn the_interpreter_pauses_in_any_operator_without_a_difference() {
    // Each pauses several times, the first two in the operator that all its fuel goes to.
    let bodies = [
        "(loop $again (drop (memory.grow (i32.const 1000))) (br_if $again (i32.lt_u (memory.size) (i32.const 15000))))",
        "(drop (memory.grow (i32.const 2000))) (loop $again
           (memory.fill (i32.const 131072) (local.get 1) (i32.const 67108864))
           (memory.copy (i32.const 131073) (i32.const 131072) (i32.const 67108864))
           (br_if $again (i32.lt_u (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (i32.const 12))))",
        "(loop $again (i32.store (i32.const 131000) (i32.add (i32.load (i32.const 131000)) (local.get 1)))
           (br_if $again (i32.lt_u (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (i32.const 5000000))))",
    ];
    for body in bodies {
        let handle = format!(
            r#"(func (export "handle") (param i32 i32) (result i32) (local.set 1 (i32.const 0)) {body} (i32.const 8))"#
        );
        let text = format!("(module {} {handle})", &GUEST[..GUEST.find("(func $asks").unwrap()]);
        let limits = ProcessLimits { memory_bytes_max: 1 << 30, ..LIMITS };
        let [compiled, interpreted] = [Engine::Wasmer, Engine::Wasmi].map(|engine| {
            let module = Module::load_on(engine, &wat::parse_str(&text).unwrap(), ModuleFormat::Wasip1, None).unwrap();
            let mut machine = start(&module, &limits);
            let step = machine.step("a").unwrap();
            let seen = machine.memory();
            let written = blake3::hash(&seen[..seen.len().min(131_072 + 100)]);
            (step.interrupt, step.gas, step.evaluated.result_json, machine.memory().len(), written)
        });
        assert_eq!(compiled.0, None, "{compiled:?} {body}");
        assert_eq!(compiled, interpreted, "{body}");
    }
}

#[test]
fn what_has_ended_can_no_longer_be_broken_off() {
    let watch = Watch::default();
    let plain = module(Engine::Wasmer, "");
    let mut machine = start(&plain.watched(&watch), &ProcessLimits { compute_max: 100_000_000_000, ..LIMITS });
    assert!(watch.running().is_empty());
    let caught = std::thread::scope(|scope| {
        let caught = scope.spawn(|| {
            let deadline = Instant::now() + Duration::from_secs(20);
            loop {
                if let Some(evaluation) = watch.running().pop() {
                    return evaluation;
                }
                assert!(Instant::now() < deadline, "nothing was seen to run");
            }
        });
        assert_eq!(machine.step("loop").unwrap().interrupt, Some(Interrupt::OutOfGas));
        caught.join().unwrap()
    });
    assert!(!caught.break_off(LIMIT));
    assert_eq!(machine.step("a").unwrap().interrupt, None);
    drop(machine);
    assert!(watch.running().is_empty() && !caught.break_off(LIMIT));
}

//! The machine on small guests, on every engine: what a failed step leaves behind, which must be nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ao_kernel::guest::{Interrupt, TrapKind};
use ao_kernel::{Engine, GROUP_BYTES, Machine, Module, ModuleFormat, ProcessLimits, Registers, Step, Tracker};

const LIMITS: ProcessLimits = ProcessLimits { memory_bytes_max: 64 << 20, compute_max: 1 << 40 };

/// The exports that the glue of wasm32-unknown-emscripten4 asks for, a count of messages in memory, and an answer that
/// shows it as one letter from A on. `$asks` says whether the message contains an exclamation mark.
const ABI: &str = r#"
  (memory (export "memory") 4 64)
  (global $sp (mut i32) (i32.const 65536))
  (data (i32.const 65600) "{\"ok\":true,\"response\":{\"Output\":\"@\"}}\00")
  (func (export "__wasm_call_ctors"))
  (func (export "fflush") (param i32) (result i32) (i32.const 0))
  (func (export "setThrew") (param i32 i32))
  (func (export "emscripten_stack_init"))
  (func (export "emscripten_stack_get_base") (result i32) (i32.const 65536))
  (func (export "emscripten_stack_get_end") (result i32) (i32.const 1024))
  (func (export "emscripten_stack_get_free") (result i32) (i32.sub (global.get $sp) (i32.const 1024)))
  (func (export "emscripten_stack_get_current") (result i32) (global.get $sp))
  (func (export "_emscripten_stack_restore") (param i32) (global.set $sp (local.get 0)))
  (func (export "_emscripten_stack_alloc") (param i32) (result i32)
    (global.set $sp (i32.and (i32.sub (global.get $sp) (local.get 0)) (i32.const -16)))
    (global.get $sp))
  (func (export "malloc") (param i32) (result i32) (i32.const 131072))
  (func (export "free") (param i32))
  (func $asks (param $text i32) (result i32)
    (loop $next
      (if (i32.eq (i32.load8_u (local.get $text)) (i32.const 33)) (then (return (i32.const 1))))
      (local.set $text (i32.add (local.get $text) (i32.const 1)))
      (br_if $next (i32.load8_u (i32.sub (local.get $text) (i32.const 1)))))
    (i32.const 0))
  (func $count (result i32)
    (i32.store8 (i32.const 65633) (i32.add (i32.load8_u (i32.const 65633)) (i32.const 1)))
    (i32.const 65600))
"#;

/// A module of this body on each engine.
fn modules(body: &str) -> [Module; 3] {
    let (imports, body) = body.split_once("---").unwrap_or(("", body));
    let wasm = wat::parse_str(format!("(module {imports} {ABI} {body})")).unwrap();
    [Engine::Wasmer, Engine::Wasmi, Engine::Original]
        .map(|engine| Module::load_on(engine, &wasm, ModuleFormat::Emscripten4, None).unwrap())
}

fn start(module: &Module) -> Machine {
    Machine::start(module, "{}".into(), &LIMITS, Tracker::Best).unwrap()
}

fn output(step: &Step) -> String {
    let json = String::from_utf8(step.evaluated.result_json.clone()).unwrap();
    let (_, rest) = json.split_once("\"Output\":\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

fn state(machine: &mut Machine) -> (Registers, blake3::Hash) {
    let registers = machine.commit(|_| {}).unwrap();
    (registers, blake3::hash(machine.memory()))
}

/// Counts at the letter the table holds, and `!` changes table, global and memory and then traps.
const TABLE: &str = r#"
  (table (export "__indirect_function_table") 4 funcref)
  (global $mark (mut i64) (i64.const 7))
  (elem (i32.const 1) func $one $two)
  (elem declare func $two)
  (type $letter (func (result i32)))
  (func $one (type $letter) (i32.const 1))
  (func $two (type $letter) (i32.const 2))
  (func (export "handle") (param i32 i32) (result i32)
    (if (call $asks (local.get 0)) (then
      (table.set 0 (i32.const 1) (ref.func $two))
      (table.set 0 (i32.const 3) (ref.func $one))
      (global.set $mark (i64.const 9))
      (drop (memory.grow (i32.const 1)))
      (i32.store (i32.const 200000) (i32.const 1))
      (unreachable)))
    (if (i32.eqz (i32.load8_u (i32.const 65633))) (then (unreachable)))
    (i32.store8 (i32.const 65633)
      (i32.add (i32.load8_u (i32.const 65633)) (call_indirect (type $letter) (i32.const 1))))
    (i32.const 65600))
"#;

#[test]
fn a_trapped_step_leaves_no_trace_in_tables_globals_or_memory() {
    for module in modules(TABLE) {
        let mut machine = start(&module);
        assert_eq!(output(&machine.step("1").unwrap()), "A");
        let before = state(&mut machine);
        for _ in 0..3 {
            let step = machine.step("!").unwrap();
            assert_eq!(step.interrupt, Some(Interrupt::Trap(TrapKind::Unreachable)));
            assert_eq!(state(&mut machine), before);
        }
        assert_eq!(output(&machine.step("2").unwrap()), "B");
    }
}

#[test]
fn steps_between_image_and_failure_survive_the_rollback() {
    for module in modules(TABLE) {
        let mut machine = start(&module);
        let letters: Vec<String> = (0..5).map(|_| output(&machine.step("x").unwrap())).collect();
        assert_eq!(letters, ["A", "B", "C", "D", "E"]);
        machine.step("!").unwrap();
        assert_eq!(output(&machine.step("x").unwrap()), "F");
    }
}

#[test]
fn a_changed_table_is_brought_back_into_a_fresh_instance() {
    let body = r#"
  (table (export "__indirect_function_table") 2 funcref)
  (type $letter (func (result i32)))
  (elem declare func $two)
  (func $two (type $letter) (i32.const 2))
  (func (export "handle") (param i32 i32) (result i32)
    (if (call $asks (local.get 0)) (then
      (table.set 0 (i32.const 1) (ref.func $two)) (return (call $count))))
    (i32.store8 (i32.const 65633)
      (i32.add (i32.load8_u (i32.const 65633)) (call_indirect (type $letter) (i32.const 1))))
    (i32.const 65600))
"#;
    let modules = modules(body);
    for (position, module) in modules.iter().enumerate() {
        let mut machine = start(module);
        assert_eq!(machine.step("x").unwrap().interrupt, Some(Interrupt::Trap(TrapKind::IndirectCallToNull)));
        assert_eq!(output(&machine.step("!").unwrap()), "A");
        let (registers, hash) = state(&mut machine);
        let groups: Vec<(u32, Vec<u8>)> = machine.committed_groups().map(|(i, g)| (i, g.to_vec())).collect();
        assert!(groups.iter().all(|(_, group)| group.len() == GROUP_BYTES));
        let groups = groups.iter().map(|(index, group)| (*index, &group[..]));
        // A state means the same to every engine.
        let other = &modules[(position + 1) % modules.len()];
        let mut resumed = Machine::resume(other, "{}".into(), &LIMITS, Tracker::Best, &registers, groups).unwrap();
        assert_eq!(state(&mut resumed), (registers, hash));
        for machine in [&mut machine, &mut resumed] {
            assert_eq!(output(&machine.step("x").unwrap()), "C");
        }
    }
}

#[test]
fn endless_recursion_ends_at_the_same_depth_whether_direct_or_through_the_host() {
    let direct = r#"
  (table (export "__indirect_function_table") 1 funcref)
  (func $deeper (param i32) (result i32) (call $deeper (i32.add (local.get 0) (i32.const 1))))
  (func (export "handle") (param i32 i32) (result i32)
    (if (call $asks (local.get 0)) (then (drop (call $deeper (i32.const 0)))))
    (call $count))
"#;
    let through_host = r#"
  (import "env" "invoke_v" (func $invoke_v (param i32)))
  ---
  (table (export "__indirect_function_table") 2 funcref)
  (elem (i32.const 1) func $deeper)
  (func $deeper (call $invoke_v (i32.const 1)))
  (func (export "handle") (param i32 i32) (result i32)
    (if (call $asks (local.get 0)) (then (call $deeper)))
    (call $count))
"#;
    for body in [direct, through_host] {
        for module in modules(body) {
            let mut machine = start(&module);
            assert_eq!(output(&machine.step("x").unwrap()), "A");
            for _ in 0..3 {
                let step = machine.step("!").unwrap();
                assert_eq!(step.interrupt, Some(Interrupt::Trap(TrapKind::StackOverflow)));
            }
            assert_eq!(output(&machine.step("x").unwrap()), "B");
        }
    }
}

#[test]
fn state_that_cannot_be_rolled_back_is_refused_by_name() {
    for (body, message) in [
        ("(table 1 funcref) (func (drop (table.grow 0 (ref.null func) (i32.const 1))))", "`table.grow`"),
        ("(data $d \"x\") (func (data.drop $d))", "`data.drop`"),
        ("(global (mut funcref) (ref.null func))", "mutable global 0"),
        ("(global (mut v128) (v128.const i64x2 0 0))", "mutable global 0"),
    ] {
        let wasm = wat::parse_str(format!("(module (memory 1) {body})")).unwrap();
        let error = Module::load(&wasm, ModuleFormat::Emscripten4, None).err().expect("refused");
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn forks_answer_at_once_and_from_other_threads_and_leave_no_trace() {
    modules(TABLE).iter().for_each(forks_leave_no_trace);
}

fn forks_leave_no_trace(module: &Module) {
    let (mut plain, mut forked) = (start(module), start(module));
    let mut next = b'A';
    for round in 0..24 {
        let message = if round % 9 == 5 { "!" } else { "x" };
        let forks: Vec<_> = (0..3).map(|_| forked.fork(module, &LIMITS).unwrap()).collect();
        assert_eq!(output(&forked.step(message).unwrap()), output(&plain.step(message).unwrap()), "round {round}");
        let answers: Vec<_> = std::thread::scope(|scope| {
            let run = |fork: ao_kernel::Fork| scope.spawn(move || output(&fork.step("x").unwrap()));
            let running: Vec<_> = forks.into_iter().map(run).collect();
            running.into_iter().map(|fork| fork.join().unwrap()).collect()
        });
        // Seen from the state before `message`, whatever that message did meanwhile.
        assert_eq!(answers, vec![char::from(next).to_string(); 3], "round {round}");
        next += u8::from(message == "x");
        let trap = forked.fork(module, &LIMITS).unwrap().step("!").unwrap();
        assert_eq!(trap.interrupt, Some(Interrupt::Trap(TrapKind::Unreachable)));
        if round % 7 == 0 {
            assert_eq!(state(&mut forked), state(&mut plain), "round {round}");
        }
    }
    assert_eq!(state(&mut forked), state(&mut plain));
}

#[test]
fn a_commit_beside_a_fork_that_was_not_used_yet_changes_neither() {
    let [module, ..] = modules(TABLE);
    let mut machine = start(&module);
    machine.step("x").unwrap();
    let old = machine.fork(&module, &LIMITS).unwrap();
    machine.step("x").unwrap();
    let committed = state(&mut machine);
    let new = machine.fork(&module, &LIMITS).unwrap();
    assert_eq!(output(&old.step("x").unwrap()), "B");
    assert_eq!(output(&new.step("x").unwrap()), "C");
    assert_eq!(state(&mut machine), committed);
    assert_eq!(output(&machine.step("x").unwrap()), "C");
}

#[test]
fn an_endless_loop_ends_as_out_of_gas_and_is_taken_back() {
    let body = r#"
  (table (export "__indirect_function_table") 1 funcref)
  (func (export "handle") (param i32 i32) (result i32)
    (if (call $asks (local.get 0)) (then (i32.store (i32.const 200000) (i32.const 1)) (loop $spin (br $spin))))
    (call $count))
"#;
    let wasm = wat::parse_str(format!("(module {ABI} {body})")).unwrap();
    let limits = ProcessLimits { compute_max: 10_000_000, ..LIMITS };
    let gas = [Engine::Wasmer, Engine::Wasmi].map(|engine| {
        let module = Module::load_on(engine, &wasm, ModuleFormat::Emscripten4, None).unwrap();
        let mut machine = Machine::start(&module, "{}".into(), &limits, Tracker::Best).unwrap();
        let answered = machine.step("x").unwrap();
        assert_eq!(output(&answered), "A");
        assert!((1..limits.compute_max).contains(&answered.gas));
        let before = state(&mut machine);
        let step = machine.step("!").unwrap();
        assert_eq!(step.interrupt, Some(Interrupt::OutOfGas));
        assert!(step.gas > limits.compute_max);
        assert_eq!(state(&mut machine), before);
        assert_eq!(output(&machine.step("x").unwrap()), "B");
        (answered.gas, step.gas)
    });
    assert_eq!(gas[0], gas[1]);
}

#[test]
fn the_compute_limit_decides_in_a_format_without_metering() {
    let wasm = wat::parse_str(format!(
        "(module {ABI} (table (export \"__indirect_function_table\") 1 funcref)
           (func (export \"handle\") (param i32 i32) (result i32) (call $count)))"
    ))
    .unwrap();
    let module = Module::load(&wasm, ModuleFormat::Emscripten4, None).unwrap();
    let step = |compute_max| {
        let limits = ProcessLimits { compute_max, ..LIMITS };
        Machine::start(&module, "{}".into(), &limits, Tracker::Best)
            .map(|mut machine| machine.step(&"x".repeat(5000)).unwrap())
    };
    let needed = step(1 << 40).unwrap().gas;
    assert_eq!(step(needed).unwrap().interrupt, None, "the limit itself may be used");
    let short = step(needed - 1).unwrap();
    assert_eq!((short.interrupt, short.gas), (Some(Interrupt::OutOfGas), needed));
    assert!(step(1).is_err(), "boot is bounded too");
}

/// Asyncified by hand: `!` opens a file through WeaveDrive, which unwinds, and answers when it was rewound.
const ASYNCIFIED: &str = r#"
  (import "env" "__asyncjs__weavedrive_open" (func $open (param i32 i32) (result i32)))
  ---
  (table (export "__indirect_function_table") 1 funcref)
  (global $state (mut i32) (i32.const 0))
  (func (export "asyncify_start_unwind") (param i32) (global.set $state (i32.const 1)))
  (func (export "asyncify_stop_unwind") (global.set $state (i32.const 0)))
  (func (export "asyncify_start_rewind") (param i32) (global.set $state (i32.const 2)))
  (func (export "asyncify_stop_rewind") (global.set $state (i32.const 0)))
  (func (export "handle") (param i32 i32) (result i32)
    (if (i32.eqz (global.get $state)) (then (drop (call $count))))
    (if (call $asks (local.get 0)) (then
      (drop (call $open (i32.const 65600) (i32.const 65600)))
      (if (i32.eq (global.get $state) (i32.const 1)) (then (return (i32.const 0))))))
    (i32.const 65600))
"#;

#[test]
fn a_step_that_must_unwind_is_the_same_with_and_without_quiet_twins() {
    let [wasmer, wasmi, _] = modules(ASYNCIFIED);
    let run = |module: &Module, compute_max: u64| {
        let limits = ProcessLimits { compute_max, ..LIMITS };
        let mut machine = Machine::start(module, "{}".into(), &limits, Tracker::Best).ok()?;
        let steps = ["a", "b", "!", "c", "d!"].map(|message| {
            let step = machine.step(message).unwrap();
            (step.gas, step.interrupt, String::from_utf8(step.evaluated.result_json).unwrap())
        });
        let (registers, memory) = state(&mut machine);
        Some((steps, registers, memory))
    };
    let (steps, ..) = run(&wasmer, LIMITS.compute_max).unwrap();
    assert!(steps.iter().all(|(_, interrupt, _)| interrupt.is_none()), "{steps:?}");
    let mut machine = start(&wasmer);
    machine.step("a").unwrap();
    let mut forked = |message| machine.fork(&wasmer, &LIMITS).unwrap().step(message).unwrap();
    for (message, (gas, ..)) in [("b", &steps[1]), ("!", &steps[2]), ("b", &steps[1])] {
        let step = forked(message);
        assert_eq!((step.interrupt, step.gas), (None, *gas), "a fork that is given {message}");
    }
    let unwound = steps[2].0;
    // Wherever gas runs out: before the call that unwinds, in it, while it unwinds, and when it was rewound.
    for limit in (0..=unwound).step_by(61) {
        let (left, right) = (run(&wasmer, limit), run(&wasmi, limit));
        let steps = |run: &Option<([_; 5], Registers, _)>| run.as_ref().map(|(steps, ..)| steps.clone());
        assert_eq!(steps(&left), steps(&right), "limit {limit} of {unwound}");
        assert!(left == right, "limit {limit} of {unwound}: the states differ");
    }
}

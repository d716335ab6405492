//! Legacy exceptions, translated to plain code, do on both engines what V8 makes of them as they are.
//!
//! `EXCEPTION_PROGRAMS` sets how many random programs, `EXCEPTION_SEED` where to begin; a failure names its seed.

#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::format_push_string,
    reason = "a test says how much it did, takes its size from outside, and shares a support module"
)]

mod rewrite_support;

use ao_kernel::rewrite::{EXPORT_DEPTH, Plan, RewriteError, instrument, lower, translate_exceptions};
use ao_tests::node;
use rewrite_support::{Machine, Rng, Trap, V, Wasmer, Wasmi};

const STACK_LIMIT: u32 = 20_000;
const PLAN: Plan = Plan { stack_limit: Some(STACK_LIMIT), canonical_nan: true, gas: None };
const FUNCTIONS: u64 = 5;
/// Arguments of the calls, one after another in one instance.
const ARGUMENTS: [u32; 5] = [0, 1, 2, 7, 1_000_003];

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// What a label is.
#[derive(Clone, Copy, Default)]
struct Label {
    /// Whether a branch there goes back, which only the loop itself may, for its fuel.
    back: bool,
    /// Whether branching there takes an i32.
    takes: bool,
    /// Whether it is a clause, whose exception can be rethrown.
    clause: bool,
}

/// Writes a random function `(i32) -> i32`: what it does shows in the global `$trace`, how long it may in `$fuel`.
struct Writer {
    rng: Rng,
    labels: Vec<Label>,
    text: String,
}

impl Writer {
    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// Makes what was reached visible: in the local, and in the trace.
    fn mark(&mut self) {
        let number = self.rng.below(1000);
        self.line(&format!(
            "global.get $trace i32.const 31 i32.mul local.get 0 i32.add i32.const {number} i32.add global.set $trace"
        ));
    }

    /// A condition that depends on all that happened before.
    fn condition(&mut self) {
        let (shift, mask) = (self.rng.below(8), [1, 1, 3, 7][self.rng.below(4) as usize]);
        self.line(&format!(
            "global.get $trace i32.const {shift} i32.shr_u local.get 0 i32.xor i32.const {mask} i32.and i32.eqz"
        ));
    }

    fn statements(&mut self, depth: u32) {
        for _ in 0..=self.rng.below(3) {
            self.statement(depth);
        }
    }

    fn statement(&mut self, depth: u32) {
        let kinds = if depth == 0 { 9 } else { 16 };
        match self.rng.below(kinds) {
            0 => self.mark(),
            1 | 2 => {
                self.condition();
                let thrown = [
                    "throw $none",
                    "local.get 0 throw $one",
                    "global.get $trace i64.extend_i32_u local.get 0 f64.const 1.5 throw $three",
                ];
                let thrown = thrown[self.rng.below(3) as usize];
                self.line(&format!("if {thrown} end"));
            }
            3 | 4 => {
                let callee = self.rng.below(FUNCTIONS);
                self.line(&format!("local.get 0 i32.const {callee} i32.add call $f{callee} local.set 0"));
            }
            5 => {
                let entry = self.rng.below(FUNCTIONS);
                self.line(&format!("local.get 0 i32.const {entry} call_indirect (param i32) (result i32) local.set 0"));
            }
            6 => self.branch(),
            7 => {
                let clauses: Vec<usize> =
                    self.labels.iter().rev().enumerate().filter(|(_, it)| it.clause).map(|(at, _)| at).collect();
                if let Some(at) = clauses.get(self.rng.below(4) as usize % clauses.len().max(1)).copied() {
                    self.condition();
                    self.line(&format!("if rethrow {} end", at + 1));
                }
            }
            8 if self.rng.below(6) == 0 => {
                self.condition();
                self.line("if i32.const 1 i32.const 0 i32.div_u drop end");
            }
            8 => self.line("local.get 0 i32.const 7 i32.mul i32.const 3 i32.add local.set 0"),
            9 => {
                let block = ["block", "loop"][self.rng.below(2) as usize];
                self.line(block);
                self.labels.push(Label { back: block == "loop", ..Label::default() });
                self.statements(depth - 1);
                if block == "loop" {
                    self.line("global.get $fuel i32.const 1 i32.sub global.set $fuel");
                    self.line(
                        "global.get $fuel i32.const 0 i32.gt_s global.get $trace i32.const 1 i32.and i32.and br_if 0",
                    );
                }
                self.labels.pop();
                self.line("end");
            }
            10 => {
                self.condition();
                self.line("if (result i32)");
                self.labels.push(Label { takes: true, ..Label::default() });
                self.statements(depth - 1);
                self.line("local.get 0 else");
                self.statements(depth - 1);
                self.line("i32.const 5");
                self.labels.pop();
                self.line("end local.set 0");
            }
            _ => self.attempt(depth - 1),
        }
    }

    fn branch(&mut self) {
        let depth = self.rng.below(self.labels.len() as u64 + 1) as usize;
        let Some(label) = self.labels.iter().rev().nth(depth).copied() else {
            self.condition();
            return self.line("if local.get 0 return end");
        };
        if label.back {
            return self.mark();
        }
        if self.rng.below(3) == 0 && !label.takes {
            let other = self.labels.iter().rev().position(|it| !it.takes && !it.back).expect("this one");
            return self.line(&format!(
                "block local.get 0 i32.const 3 i32.and br_table {} 0 {} end",
                other + 1,
                depth + 1
            ));
        }
        if label.takes {
            self.line("local.get 0");
        }
        self.condition();
        self.line(&format!("br_if {depth}"));
        if label.takes {
            self.line("drop");
        }
    }

    /// A `try` of every shape.
    fn attempt(&mut self, depth: u32) {
        let shape = self.rng.below(3);
        self.line(["try", "try (result i32)", "local.get 0 try (param i32) (result i32)"][shape as usize]);
        let takes = shape > 0;
        let last = if takes { "local.get 0" } else { "" };
        self.labels.push(Label { takes, ..Label::default() });
        if shape == 2 {
            self.line("i32.const 11 i32.add local.set 0");
        }
        self.statements(depth);
        self.line(last);
        if self.rng.below(4) == 0 {
            self.labels.pop();
            let label = self.rng.below(self.labels.len() as u64 + 1);
            self.line(&format!("delegate {label}"));
        } else {
            let clauses = self.rng.below(8);
            for (bit, clause) in [
                (1, "catch $none local.get 0"),
                (2, "catch $one"),
                (4, "catch $three i32.trunc_f64_s i32.add global.set $trace i32.wrap_i64 global.get $trace i32.xor"),
            ] {
                if clauses & bit != 0 {
                    self.clause(clause, depth);
                    self.line(last);
                }
            }
            if self.rng.below(3) == 0 {
                self.clause("catch_all i32.const 77", depth);
                self.line(last);
            }
            self.labels.pop();
            self.line("end");
        }
        if takes {
            self.line("local.set 0");
        }
    }

    /// A clause, which begins with an i32 on the stack.
    fn clause(&mut self, text: &str, depth: u32) {
        self.line(text);
        self.line("local.set 0");
        if let Some(label) = self.labels.last_mut() {
            label.clause = true;
        }
        self.mark();
        self.statements(depth);
    }
}

fn program(seed: u64) -> String {
    let mut writer = Writer { rng: Rng(seed), labels: Vec::new(), text: String::new() };
    writer.line(
        "(module (tag $none) (tag $one (param i32)) (tag $three (param i64 i32 f64))
        (global $trace (export \"trace\") (mut i32) (i32.const 1)) (global $fuel (mut i32) (i32.const 0))
        (table funcref (elem $f0 $f1 $f2 $f3 $f4))",
    );
    for function in 0..FUNCTIONS {
        writer.line(&format!("(func $f{function} (param i32) (result i32)"));
        writer.line("global.get $fuel i32.const 1 i32.sub global.set $fuel");
        writer.line("global.get $fuel i32.const 0 i32.lt_s if local.get 0 return end");
        writer.statements(4);
        writer.line("local.get 0)");
    }
    writer.line(
        "(func (export \"run\") (param i32) (result i32) (i32.const 60) (global.set $fuel) (call $f0 (local.get 0))))",
    );
    writer.text
}

/// What a call gave, as the script prints it, and the trace after it.
type Seen = (String, u32);

fn run<M: Machine>(wasm: &[u8]) -> Vec<Seen> {
    let mut machine = M::start(wasm).expect("no start function");
    let calls = ARGUMENTS.iter().map(|argument| {
        let seen = match machine.call("run", &[V::I32(*argument)]) {
            Ok(values) => {
                assert_eq!(machine.global(EXPORT_DEPTH), Some(V::I32(STACK_LIMIT)), "every frame gave its charge back");
                let [V::I32(value)] = values[..] else { panic!("{values:?}") };
                value.to_string()
            }
            Err(Trap::Unreachable) => "exception".to_owned(),
            Err(Trap::DivisionByZero) => "trap".to_owned(),
            Err(trap) => panic!("{trap:?}"),
        };
        machine.set_global(EXPORT_DEPTH, V::I32(STACK_LIMIT));
        let Some(V::I32(trace)) = machine.global("trace") else { panic!("no trace") };
        (seen, trace)
    });
    calls.collect()
}

#[test]
fn random_programs_catch_and_rethrow_as_in_v8() {
    let (first, count) = (variable("EXCEPTION_SEED", 1), variable("EXCEPTION_PROGRAMS", 300));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let programs: Vec<(u64, Vec<u8>)> = (first..first + count)
        .map(|seed| {
            let text = program(seed);
            (seed, wat::parse_str(&text).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}")))
        })
        .collect();
    for (seed, wasm) in &programs {
        std::fs::write(folder.path().join(format!("{seed:012}.wasm")), wasm).expect("a temporary file");
    }
    let arguments: Vec<String> = ARGUMENTS.iter().map(u32::to_string).collect();
    let arguments = [folder.path().to_str().expect("UTF-8"), &arguments.join(",")];
    let mut expected = node("run-modules.mjs", &arguments);
    let (mut thrown, mut answered) = (0, 0);
    for (seed, wasm) in programs {
        let line = expected.next().expect("a line for each program");
        let expected: Vec<Seen> = serde_json::from_str(&line).expect("a list");
        let translated = translate_exceptions(&wasm).expect("a legacy module");
        wasmparser::validate(&translated).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let instrumented = instrument(&translated, &PLAN).expect("a module without exceptions");
        assert_eq!(run::<Wasmi>(&instrumented), expected, "seed {seed}, wasmi beside V8");
        assert_eq!(run::<Wasmer>(&lower(&instrumented).expect("valid")), expected, "seed {seed}, wasmer beside V8");
        thrown += expected.iter().filter(|(seen, _)| seen == "exception").count();
        answered += expected.iter().filter(|(seen, _)| seen.parse::<u32>().is_ok()).count();
    }
    println!(
        "{count} programs, {} calls: {answered} answered, {thrown} left by an exception",
        count as usize * ARGUMENTS.len()
    );
    assert!(answered > 0 && thrown > 0, "the programs do both");
}

fn translated(text: &str) -> Result<Vec<u8>, RewriteError> {
    translate_exceptions(&wat::parse_str(text).expect("good text"))
}

#[test]
fn functions_that_cannot_throw_keep_their_code() {
    let wasm = translated(
        "(module (tag $t) (func $quiet (export \"quiet\") (param i32) (result i32) local.get 0 i32.const 1 i32.add)
            (func (export \"calls\") (param i32) (result i32) local.get 0 call $quiet) (func (export \"throws\") throw $t))",
    );
    let counts = operator_counts(&wasm.expect("translated"));
    assert_eq!(counts, [4, 3], "no test stands behind a call of a function that cannot throw");
}

/// The number of operators in the first two functions.
fn operator_counts(wasm: &[u8]) -> [usize; 2] {
    let mut counts =
        wasmparser::Parser::new(0).parse_all(wasm).filter_map(|payload| match payload.expect("well-formed") {
            wasmparser::Payload::CodeSectionEntry(body) => {
                Some(body.get_operators_reader().expect("a body").into_iter().count())
            }
            _ => None,
        });
    [counts.next().expect("a body"), counts.next().expect("a body")]
}

#[test]
fn traps_and_stack_overflow_pass_every_handler() {
    let wasm = translated(
        "(module (tag $t) (func $deep (param i32) (result i32) local.get 0 call $deep i32.const 1 i32.add)
            (func $maybe (param i32) (local.get 0) if throw $t end)
            (func (export \"run\") (param i32) (result i32)
              try (result i32)
                (call $maybe (i32.const 0))
                local.get 0 if (result i32) i32.const 1 call $deep else i32.const 1 i32.const 0 i32.div_u end
              catch_all i32.const 42 end))",
    );
    let wasm = instrument(&wasm.expect("translated"), &PLAN).expect("plain code");
    let lowered = lower(&wasm).expect("plain code");
    for (argument, trap) in [(0, Trap::DivisionByZero), (1, Trap::Unreachable)] {
        assert_eq!(Wasmi::start(&wasm).expect("starts").call("run", &[V::I32(argument)]), Err(trap));
        assert_eq!(Wasmer::start(&lowered).expect("starts").call("run", &[V::I32(argument)]), Err(trap));
    }
}

#[test]
fn an_exception_that_nobody_catches_is_gone_at_the_next_call() {
    let wasm = translated(
        "(module (tag $t (param i64)) (func $throws (param i32) local.get 0 if i64.const 5 throw $t end)
            (func (export \"run\") (param i32) (result i32) local.get 0 call $throws i32.const 9))",
    );
    let mut machine =
        Wasmi::start(&instrument(&wasm.expect("translated"), &PLAN).expect("plain code")).expect("starts");
    assert_eq!(machine.call("run", &[V::I32(1)]), Err(Trap::Unreachable));
    machine.set_global(EXPORT_DEPTH, V::I32(STACK_LIMIT));
    assert_eq!(machine.call("run", &[V::I32(0)]), Ok(vec![V::I32(9)]));
}

#[test]
fn payloads_keep_every_bit() {
    let wasm = translated(
        "(module (tag $t (param f32 f64 f32)) (func $throws (param f32 f64 f32) local.get 0 local.get 1 local.get 2 throw $t)
            (func (export \"run\") (param f32 f64 f32) (result i32 i64 i32)
              try (result f32 f64 f32) local.get 0 local.get 1 local.get 2 call $throws unreachable catch $t end
              local.set 2 local.set 1
              i32.reinterpret_f32 local.get 1 i64.reinterpret_f64 local.get 2 i32.reinterpret_f32))",
    );
    let mut machine = Wasmi::start(&wasm.expect("translated")).expect("starts");
    let bits = (0x7F80_1234, 0x7FF0_0000_0000_0001, 0xFFC0_0001);
    let answer = machine.call("run", &[V::F32(bits.0), V::F64(bits.1), V::F32(bits.2)]);
    assert_eq!(answer, Ok(vec![V::I32(bits.0), V::I64(bits.1), V::I32(bits.2)]));
}

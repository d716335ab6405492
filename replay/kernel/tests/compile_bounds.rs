//! No small module costs hours or gibibytes to compile: each way of making one is refused, by the name of what there is too much of.
//!
//! `AORTA_COMPILE_BOUNDS=1` compiles the dearest module of each kind that is let in, and prints what it took.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, a measurement is asked for from outside and printed"
)]

use std::fmt::Write;

use ao_kernel::admission::{AdmissionError, AdmissionLimits, Work, admit};
use ao_kernel::{Module, ModuleFormat};

fn repeat(n: usize, f: impl Fn(usize) -> String) -> String {
    (0..n).fold(String::new(), |mut text, i| {
        write!(text, "{} ", f(i)).unwrap();
        text
    })
}

/// A function with parameters and locals of `i32`, `x` as its type of many values.
fn function(params: usize, locals: usize, values: usize, body: &str) -> String {
    let many = "i32 ".repeat(values);
    format!(
        "(module (memory 1) (type $x (func (param {many}) (result {many}))) (func $f (param {}) (local {}) {body}))",
        "i32 ".repeat(params),
        "i32 ".repeat(locals)
    )
}

/// `blocks` in each other, left from the innermost by one branch table, so that each end joins two values of each local.
fn joins(blocks: usize, locals: usize) -> String {
    let sets = repeat(locals, |l| format!("i32.const 8 i32.load local.set {l}"));
    let uses = repeat(locals, |l| format!("i32.const 0 local.get {l} i32.store"));
    let targets = repeat(blocks, |i| i.to_string());
    let ends = repeat(blocks - 1, |_| "i32.const 0 i32.const 7 i32.store end".into());
    function(
        0,
        locals,
        0,
        &format!("{} i32.const 0 i32.load br_table {targets} end {sets} {ends} {uses}", "block ".repeat(blocks)),
    )
}

/// As many `if` in a row, each of which sets one of the locals, all read at the end.
fn ifs(blocks: usize, locals: usize) -> String {
    let sets = repeat(blocks, |i| format!("i32.const 0 i32.load if i32.const {i} local.set {} end", i % locals));
    let uses = repeat(locals, |l| format!("i32.const 0 local.get {l} i32.store"));
    function(0, locals, 0, &(sets + &uses))
}

/// Calls that each take and give `values`.
fn calls(count: usize, values: usize) -> String {
    let many = "i32 ".repeat(values);
    let gets = repeat(values, |l| format!("local.get {l}"));
    format!(
        "(module (func $f (param {many}) (result {many}) {gets} {} {gets} return))",
        "call $f ".repeat(count) + &"drop ".repeat(values)
    )
}

/// As many loads whose results are all alive at once.
fn alive(count: usize) -> String {
    function(
        0,
        1,
        0,
        &format!("{} {} local.set 0", "i32.const 0 i32.load ".repeat(count), "i32.add ".repeat(count - 1)),
    )
}

fn targets(count: usize) -> String {
    function(1, 0, 0, &format!("block block local.get 0 br_table {} end end", "0 1 ".repeat(count / 2)))
}

fn types(count: usize, values: usize) -> String {
    let ty = |i: usize| repeat(values, |bit| if i >> bit.min(31) & 1 == 1 { "i64" } else { "i32" }.into());
    repeat(count, |i| format!("(type (func (param {})))", ty(i)))
}

fn constant(operators: usize) -> String {
    format!("(module (global i32 i32.const 0 {}))", "i32.const 1 i32.add ".repeat((operators - 1) / 2))
}

fn elements(count: usize) -> String {
    format!("(module (func $f) (elem func {}))", "$f ".repeat(count))
}

fn admitted(text: &str, limits: &AdmissionLimits) -> Result<(), AdmissionError> {
    admit(&wat::parse_str(text).unwrap(), limits, &|_, _, _| true).map(|_| ())
}

#[test]
fn small_modules_that_cost_hours_to_compile_are_refused_by_the_name_of_what_they_have_too_much_of() {
    let bombs = [
        (joins(300, 1000), "299000 locals joined after blocks, limit 64000"),
        (ifs(10_000, 100), "10100000000 blocks squared times locals, limit 3200000000"),
        (ifs(60_000, 1), "7200000000 blocks squared times locals"),
        (calls(10_000, 60), "values carried by calls and branches, limit 200000"),
        (targets(100_002), "100002 branch table targets, limit 100000"),
        (alive(170_000), "operators, limit 500000"),
        (calls(1, 65), "type section: 130 parameters and results, limit 128"),
        (format!("(module {})", types(2501, 12)), "type section: 2501 types, limit 2500"),
        (constant(103), "global section: 103 operators in a constant expression, limit 100"),
        (elements(1_000_001), "element section: 1000001 entries, limit 1000000"),
        ("(module (table 60000 funcref) (table 60000 funcref))".into(), "120000 initial entries, limit 100000"),
    ];
    for (text, expected) in bombs {
        let error = admitted(&text, &AdmissionLimits::default()).expect_err(expected);
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}

#[test]
fn bounds_on_work_hold_from_one_more_on_in_a_function_and_in_a_module() {
    // Two functions, each: 3 blocks and 2 locals set, 7 joins, 9 targets and defaults, values as counted below.
    let body = "block block block i32.const 0 local.tee 0 local.set 1 local.get 0 br_table 0 1 2 0 0 0 0 0 1 end end \
                i32.const 1 local.set 2 end call $f";
    let text = format!("(module (func $f (local i32 i32 i32) {body}) (func (local i32 i32 i32) {body}))");
    let exact = Work { operators: 15, spans: 36, joins: 7, carried: 0, targets: 9 };
    let module = Work { operators: 30, spans: 72, joins: 14, carried: 0, targets: 18 };
    let with = |function_work_max, module_work_max| AdmissionLimits {
        function_work_max,
        module_work_max,
        ..AdmissionLimits::default()
    };
    admitted(&text, &with(exact, module)).unwrap();
    type Less = fn(&mut Work);
    let less: [Less; 4] = [|w| w.operators -= 1, |w| w.spans -= 1, |w| w.joins -= 1, |w| w.targets -= 1];
    for one in less {
        let (mut function, mut whole) = (exact, module);
        one(&mut function);
        one(&mut whole);
        let error = admitted(&text, &with(function, module)).unwrap_err();
        assert!(matches!(error, AdmissionError::FunctionTooLarge { .. }), "{error}");
        let error = admitted(&text, &with(exact, whole)).unwrap_err();
        assert!(matches!(error, AdmissionError::TooMany { section: "code", .. }), "{error}");
    }
}

#[test]
fn values_are_counted_where_calls_branches_and_blocks_hand_them_over() {
    for (body, carried) in [
        ("i32.const 1 call $two drop drop", 3),
        ("i32.const 1 i32.const 0 call_indirect (type $t) drop drop", 3),
        ("block (result i32) i32.const 1 br 0 end drop", 2),
        ("i32.const 1 loop (type $t) br 0 end drop drop", 4),
        ("i32.const 1 i32.const 0 br_if 0 drop", 0),
        ("i32.const 1 if return end", 0),
    ] {
        let body = body.replace("i32.const 1 i32.const 0 br_if 0 drop", "i32.const 0 br_if 0");
        let text = format!(
            "(module (table 1 funcref) (type $t (func (param i32) (result i32 i32)))
              (func $two (type $t) i32.const 1 i32.const 2) (func {body}))"
        );
        let with = |carried| AdmissionLimits {
            function_work_max: Work { carried, ..AdmissionLimits::default().function_work_max },
            ..AdmissionLimits::default()
        };
        admitted(&text, &with(carried)).unwrap();
        if carried > 0 {
            admitted(&text, &with(carried - 1)).unwrap_err();
        }
    }
}

#[test]
fn real_modules_stay_far_below_the_bounds() {
    for (name, part) in [("aos2_0_6", 20), ("sqlite", 4)] {
        let path = format!("{}/../../target/modules/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
        let wasm = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}; run `make modules`"));
        let AdmissionLimits { mut function_work_max, mut module_work_max, .. } = AdmissionLimits::default();
        for work in [&mut function_work_max, &mut module_work_max] {
            for count in [&mut work.operators, &mut work.spans, &mut work.joins, &mut work.carried, &mut work.targets] {
                *count /= part;
            }
        }
        let limits = AdmissionLimits { function_work_max, module_work_max, ..AdmissionLimits::default() };
        admit(&wasm, &limits, &|_, _, _| true).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
}

/// Most memory held since this was last called.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

#[test]
fn the_dearest_modules_of_each_kind_compile() {
    if std::env::var_os("AORTA_COMPILE_BOUNDS").is_none() {
        return;
    }
    let modules = [
        ("locals joined", joins(64, 1000)),
        ("locals joined", joins(1000, 63)),
        ("spans, few blocks", ifs(1700, 1000)),
        ("spans, many blocks", ifs(7500, 50)),
        ("spans, one local", ifs(38_000, 1)),
        ("values carried", calls(1600, 60)),
        ("values alive", alive(166_000)),
        ("targets", targets(100_000)),
        ("types", format!("(module {} {})", types(2500, 128), repeat(2500, |i| format!("(func (type {i}))")))),
        ("functions", format!("(module {})", "(func)".repeat(50_000))),
        ("elements", elements(1_000_000)),
    ];
    for (name, text) in modules {
        let wasm = wat::parse_str(text).unwrap();
        peak_mib();
        let before = cpu_ms();
        Module::load(&wasm, ModuleFormat::Emscripten4, None).unwrap();
        eprintln!("{name}: {} bytes, {} ms CPU, {} MiB at most", wasm.len(), cpu_ms() - before, peak_mib());
    }
}

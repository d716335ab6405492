//! Every host call, given pointers and numbers that no honest guest gives: it ends as some outcome, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;

use ao_kernel::host::{ValType, served};
use ao_kernel::{Machine, Module, ModuleFormat, ProcessLimits, Tracker};

const LIMITS: ProcessLimits = ProcessLimits { memory_bytes_max: 1 << 30, compute_max: 1 << 40 };

/// Ends and near-ends of memory (three pages), of 32, 53 and 64 bits, null, small and odd.
const HOSTILE: [i64; 20] = [
    0,
    1,
    2,
    3,
    7,
    21523,
    65_600,
    196_607,
    196_604,
    196_608,
    1 << 31,
    (1 << 31) - 1,
    (1 << 32) - 1,
    1 << 32,
    (1 << 53) - 8,
    1 << 53,
    i64::MAX,
    i64::MIN,
    -1,
    -100,
];

fn name(ty: ValType) -> &'static str {
    match ty {
        ValType::I32 => "i32",
        ValType::I64 => "i64",
        ValType::F32 => "f32",
        ValType::F64 => "f64",
    }
}

/// A guest whose message `A`, `B`, … makes the call with one choice of arguments after the other.
fn guest(import: &str, params: &[ValType], results: &[ValType], wide: bool) -> Vec<u8> {
    let abi = include_str!("../../../fixtures/guests/src/abi.wat");
    let (abi, _) = abi.split_once(";; Every message is counted").unwrap();
    let types = |types: &[ValType]| types.iter().map(|ty| name(*ty)).collect::<Vec<_>>().join(" ");
    let mut calls = String::new();
    for choice in 0..2 * HOSTILE.len() {
        let argument = |(i, ty): (usize, &ValType)| {
            // First all alike, then each another.
            let at = if choice < HOSTILE.len() { choice } else { choice * 7 + i * 3 };
            let value = HOSTILE[at % HOSTILE.len()];
            match ty {
                ValType::I32 => format!("(i32.const {})", value as i32),
                _ => format!("({}.const {value})", name(*ty)),
            }
        };
        let arguments: String = params.iter().enumerate().map(argument).collect();
        let call = format!("(call $host {arguments})");
        let call = if results.is_empty() { call } else { format!("(drop {call})") };
        write!(calls, "(if (i32.eq (i32.load8_u (local.get $msg)) (i32.const {})) (then {call}))", 65 + choice)
            .unwrap();
    }
    let text = format!(
        "(module (import \"env\" \"{import}\" (func $host (param {}) (result {}))) {abi}
          (func (export \"handle\") (param $msg ptr) (param $env ptr) (result ptr) (local $n i32)
            (local.set $n (call $count)) {calls} (call $answer (local.get $n))))",
        types(params),
        types(results)
    );
    let (ptr, limits, wrap, extend) = if wide {
        ("i64", "i64", "i32.wrap_i64", "i64.extend_i32_u")
    } else {
        ("i32", "", "block (result i32)", "block (result i32)")
    };
    let text = text.replace("@limits", limits).replace("@pages", "3").replace("@wrap", wrap).replace("@extend", extend);
    wat::parse_str(text.replace("ptr", ptr)).unwrap()
}

#[test]
fn no_host_call_panics_or_harms_the_next_message_whatever_its_arguments() {
    for format in [ModuleFormat::Emscripten4, ModuleFormat::Wasm64] {
        let imports = served(format);
        assert!(imports.len() > 40, "{format}");
        for (import, params, results) in imports {
            let wasm = guest(import, &params, &results, format.is_wide());
            let module = Module::load(&wasm, format, None).unwrap();
            let mut machine = Machine::start(&module, "{}".into(), &LIMITS, Tracker::Best).unwrap();
            for choice in 0..2 * HOSTILE.len() {
                let message = char::from(65 + choice as u8).to_string();
                machine.step(&message).unwrap_or_else(|error| panic!("{import}, {choice}: {error}"));
                // A call that answered may have written over the guest's counter and answer; nothing else is left to break.
                let next = machine.step("x").unwrap();
                assert!(next.interrupt.is_none(), "{import}, {choice}: {:?}", next.interrupt);
            }
        }
    }
}

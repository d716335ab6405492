//! Metering: the same amounts at the same points as `@permaweb/wasm-metering` 0.2.2, whose output for the modules here
//! was read off with Node.

use ao_kernel::rewrite::{MeterType, RewriteError, meter_reference};
use wasmparser::{Operator, Parser, Payload};

/// The code of each function, an operator a word; amounts as `gas N`.
fn metered(text: &str, ty: MeterType) -> Vec<String> {
    let wasm = meter_reference(&wat::parse_str(text).expect("good text"), ty).expect("meters");
    wasmparser::validate(&wasm).expect("valid");
    let mut functions = Vec::new();
    for payload in Parser::new(0).parse_all(&wasm) {
        let Payload::CodeSectionEntry(body) = payload.expect("valid") else { continue };
        let words = body.get_operators_reader().expect("valid").into_iter().map(|op| match op.expect("valid") {
            Operator::I32Const { value } if ty == MeterType::I32 => value.to_string(),
            Operator::I64Const { value } if ty == MeterType::I64 => value.to_string(),
            Operator::Call { function_index } => format!("call{function_index}"),
            op => format!("{op:?}").split(' ').next().unwrap_or_default().to_lowercase(),
        });
        functions.push(words.collect::<Vec<_>>().join(" "));
    }
    functions
}

const BRANCHES: &str = "(module (import \"env\" \"f\" (func (param f32)))
    (func (param i32) (result i64)
        (block (loop (br_if 1 (local.get 0)) (br 0)))
        (if (result i64) (local.get 0) (then (i64.div_s (i64.const 1) (i64.const 2))) (else (return (i64.const 3)))))
    (func (call 0 (f32.div (f32.const 1) (f32.const 2))) (call 1 (i32.const 5)) (drop) nop)
    (func))";

#[test]
fn segments_end_at_branches_and_cost_what_the_reference_charges() {
    // block+loop 2, local.get+br_if 210, br 90, ends free, local.get+if 121, 2 consts + div_s 36002 + else 90,
    // const + return 91; each plus 91 for the statement.
    let first = "93 call1 block loop 301 call1 localget brif 181 call1 br end end \
                 212 call1 localget if 36183 call1 i64const i64const i64divs else \
                 182 call1 i64const return end end";
    // Two consts, a free f32.div, call 90, const, call 90, drop 120, nop 1; and an empty body costs nothing.
    let second = "395 call1 f32const f32const f32div call0 5 call2 drop nop end";
    assert_eq!(metered(BRANCHES, MeterType::I32), [first, second, "end"]);
}

#[test]
fn both_argument_types_get_the_same_amounts() {
    let text = "(module (memory 1) (func (param f64) (result i32) (memory.grow (i32.const 1)) (memory.size) i32.add
        (f64.lt (local.get 0) (f64.const 1)) i32.mul))";
    let tail = "memorysize i32add localget f64const f64lt i32mul end";
    let code = metered(text, MeterType::I64);
    assert_eq!(code, [format!("10092 call0 i32const memorygrow 402 call0 {tail}")]);
    let code = metered(text, MeterType::I32);
    assert_eq!(code, [format!("10092 call0 1 memorygrow 402 call0 {tail}")]);
}

#[test]
fn every_reference_to_a_function_is_shifted() {
    let text = "(module (import \"env\" \"f\" (func)) (table 3 funcref) (elem (i32.const 0) 0 1 2) (func $a) (func $b)
        (export \"f\" (func 0)) (export \"b\" (func $b)) (start $a))";
    let wasm = meter_reference(&wat::parse_str(text).expect("good text"), MeterType::I32).expect("meters");
    wasmparser::validate(&wasm).expect("valid");
    let mut seen = Vec::new();
    for payload in Parser::new(0).parse_all(&wasm) {
        match payload.expect("valid") {
            Payload::ExportSection(section) => {
                seen.extend(section.into_iter().map(|export| export.expect("valid").index));
            }
            Payload::StartSection { func, .. } => seen.push(func),
            Payload::ElementSection(section) => {
                for element in section {
                    if let wasmparser::ElementItems::Functions(items) = element.expect("valid").items {
                        seen.extend(items.into_iter().map(|item| item.expect("valid")));
                    }
                }
            }
            Payload::CustomSection(section) => {
                if let wasmparser::KnownCustom::Name(names) = section.as_known() {
                    for name in names {
                        if let wasmparser::Name::Function(map) = name.expect("valid") {
                            seen.extend(map.into_iter().map(|naming| naming.expect("valid").index));
                        }
                    }
                }
            }
            _ => {}
        }
    }
    assert_eq!(seen, [0, 3, 2, 0, 2, 3, 2, 3]);
}

#[test]
fn modules_that_the_reference_cannot_read_are_refused() {
    let refused = |text: &str| {
        let error = meter_reference(&wat::parse_str(text).expect("good text"), MeterType::I64).expect_err("refused");
        assert!(matches!(error, RewriteError::Unsupported { .. }), "{text}: {error}");
    };
    refused("(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0))))");
    refused("(module (func (result i32) (i32.trunc_sat_f32_s (f32.const 0))))");
    refused("(module (func (result v128) (v128.const i64x2 0 0)))");
    refused("(module (func (result i32 i32) unreachable))");
    refused("(module (type (func)) (type (func (param i32))) (func i32.const 0 (block (type 1) drop)))");
    refused("(module (memory 1) (data \"passive\"))");
    refused("(module (table 1 externref))");
    refused("(module (table 1 funcref) (func $f) (elem func $f))");
    refused("(module (global i32 (i32.add (i32.const 1) (i32.const 2))))");
    let twice = "(module (import \"metering\" \"usegas\" (func (param i32))))";
    let error = meter_reference(&wat::parse_str(twice).expect("good text"), MeterType::I32).expect_err("refused");
    assert!(matches!(error, RewriteError::AlreadyMetered));
}

#[test]
fn a_segment_too_dear_for_its_argument_is_refused() {
    let division = "(drop (i32.div_u (i32.const 1) (i32.const 1)))".repeat(60_000);
    let wasm = wat::parse_str(format!("(module (func {division}))")).expect("good text");
    assert!(meter_reference(&wasm, MeterType::I64).is_ok());
    let error = meter_reference(&wasm, MeterType::I32).expect_err("refused");
    assert!(matches!(error, RewriteError::MeterOverflow { function: 0, cost } if cost == 60_000 * 36_122 + 91));
}

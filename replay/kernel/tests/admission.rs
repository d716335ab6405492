//! What is let in, what is refused, and whether the refusal says where.

use ao_kernel::admission::{AdmissionError, AdmissionLimits, Facts, Item, MemoryFact, admit};
use wasmparser::FuncType;

fn known(module: &str, name: &str, ty: &FuncType) -> bool {
    (module, name) == ("env", "known") && ty.params().len() == 1
}

fn admitted(text: &str) -> Result<Facts, AdmissionError> {
    admit(&wat::parse_str(text).expect("good text"), &AdmissionLimits::default(), &known)
}

fn refusal(text: &str) -> String {
    admitted(text).expect_err(text).to_string()
}

#[test]
fn facts_describe_the_module_as_published() {
    let facts = admitted(
        "(module (import \"env\" \"known\" (func (param i32))) (memory (export \"memory\") i64 2 7) (table 3 9 funcref)
            (global i64 (i64.const 1)) (global (mut f64) (f64.const 0)) (func $start) (start $start)
            (func (export \"handle\") (param i64) (result i64) local.get 0))",
    );
    let facts = facts.expect("admitted");
    assert_eq!(facts.memory, Some(MemoryFact { is64: true, initial_pages: 2, max_pages: Some(7) }));
    assert_eq!((facts.tables[0].initial, facts.tables[0].max), (3, Some(9)));
    assert_eq!(facts.globals.iter().map(|global| global.mutable).collect::<Vec<_>>(), [false, true]);
    assert_eq!(facts.imports[0].name, "known");
    let exports: Vec<_> = facts.exports.iter().map(|export| (export.name.as_str(), export.index)).collect();
    assert_eq!(exports, [("memory", 0), ("handle", 2)]);
    assert_eq!((facts.functions, facts.has_start, facts.mutates_tables), (2, true, false));
    assert_eq!(facts.custom_sections, ["name"]);
}

#[test]
fn code_that_changes_a_table_is_noticed() {
    for code in [
        "i32.const 0 ref.null func table.set 0",
        "i32.const 0 ref.null func i32.const 1 table.fill 0",
        "i32.const 0 i32.const 0 i32.const 1 table.copy",
    ] {
        assert!(admitted(&format!("(module (table 1 funcref) (func {code}))")).expect("admitted").mutates_tables);
    }
    let read = "(module (table 1 funcref) (func i32.const 0 table.get 0 drop))";
    assert!(!admitted(read).expect("admitted").mutates_tables);
}

#[test]
fn refusals_name_section_and_item() {
    let cases = [
        ("(module (import \"env\" \"open\" (func (param i64))))", "import section: unknown import `env.open`"),
        ("(module (import \"env\" \"known\" (func (param i32 i32))))", "unknown import `env.known`"),
        (
            "(module (import \"env\" \"known\" (func (param i32))) (import \"env\" \"known\" (func (param i64))))",
            "import section: `env.known` is imported with two types",
        ),
        ("(module (import \"env\" \"m\" (memory 1)))", "import section: `env.m` is not a function"),
        ("(module (table i64 1 funcref))", "table section: table 0 has 64-bit indexes"),
        ("(module (table 100001 funcref))", "table section: 100001 initial entries, limit 100000"),
        ("(module (memory i64 65536))", "memory section: 65536 initial pages, limit 65535"),
        ("(module (memory 1 1 shared))", "memory section"),
        ("(module (memory 1) (memory 1))", "memory section"),
        ("(module (tag (param i32 v128)))", "tag section: tag 0 carries a value of type v128"),
        ("(module (type (func (param exnref))))", "type section, as a whole: exception references are not supported"),
        ("(module (global exnref ref.null exn))", "global section, as a whole: exception references"),
        ("(module (table 1 exnref))", "table section, as a whole: exception references"),
        ("(module (func $kept (local exnref)))", "code section, function 0 `kept`: exception references"),
        ("(module (func $null ref.null exn drop))", "code section, function 0 `null`: exception references"),
        ("(module (func $later (try_table)))", "code section, function 0 `later`: exception references"),
        (
            "(module (func $again (param i32) unreachable throw_ref))",
            "code section, function 0 `again`: exception references",
        ),
        ("(module (func (export \"aorta:depth\")))", "export section: `aorta:depth` is a reserved name"),
        ("(module (table 1 9 funcref) (func $more ref.null func i32.const 1 table.grow drop))", "`more`: `table.grow`"),
        ("(module (memory 1) (data $d \"x\") (func $drop data.drop $d))", "`drop`: `data.drop`"),
        ("(module (global (mut externref) ref.null extern))", "global section: mutable global 0 has type"),
        ("(module (func) (func $bad i32.const 0))", "code section, function 1 `bad`"),
        ("(module (func $tail return_call 0))", "code section, function 0 `tail`"),
        (
            "(module (func $r (param v128) (result v128) local.get 0 local.get 0 i8x16.relaxed_swizzle))",
            "function 0 `r`",
        ),
        ("(module (memory 1) (func $a i32.const 0 i32.atomic.load drop))", "code section, function 0 `a`"),
    ];
    for (text, expected) in cases {
        let message = refusal(text);
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn legacy_exceptions_are_let_in_and_noticed() {
    let throws = |text: &str| admitted(text).expect("admitted").throws;
    assert!(throws("(module (tag (param i32 i64 f32 f64)) (func))"));
    assert!(throws("(module (func try catch_all end))"));
    assert!(throws("(module (func block try delegate 0 end))"));
    assert!(!throws("(module (func block end))"));
}

#[test]
fn every_function_limit_names_the_function() {
    let nested = format!("(module (func $deep {}{}))", "block ".repeat(2001), "end ".repeat(2001));
    assert!(refusal(&nested).contains("function 0 `deep`: 2001 nested blocks, limit 2000"));
    let locals = format!("(module (func $wide (local{})))", " i32".repeat(20_001));
    assert!(refusal(&locals).contains("function 0 `wide`: 20001 locals, limit 20000"));
}

#[test]
fn limits_are_exact() {
    let wasm = wat::parse_str("(module (func) (func))").expect("good text");
    let with = |functions_max| admit(&wasm, &AdmissionLimits { functions_max, ..AdmissionLimits::default() }, &known);
    assert!(with(2).is_ok());
    assert!(matches!(with(1), Err(AdmissionError::TooMany { section: "function", found: 2, max: 1, .. })));
}

#[test]
fn invalid_bytes_are_refused_with_their_offset() {
    let wasm = wat::parse_str("(module (memory i64 1) (func i64.const 1 drop))").expect("good text");
    for length in 0..wasm.len() {
        if length != 8 && admit(&wasm[..length], &AdmissionLimits::default(), &known).is_ok() {
            assert!(wasmparser::validate(&wasm[..length]).is_ok(), "{length} bytes");
        }
    }
    let mut damaged = wasm.clone();
    *damaged.last_mut().expect("bytes") = 0xFF;
    match admit(&damaged, &AdmissionLimits::default(), &known) {
        Err(AdmissionError::Invalid { section: "code", item: Item::Function { index: 0, .. }, offset, .. }) => {
            assert!(offset as usize >= wasm.len() - 6, "{offset}");
        }
        other => panic!("{other:?}"),
    }
}

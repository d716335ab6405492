//! How: a fixed table of odd corners whose answers were read off Node, then thousands of generated documents, half of them damaged,
//! given to this module and to one Node process.

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{DEPTH_MAX, JsonError, VALUES_MAX, Value, parse, write};

fn round_trip(text: &str) -> Result<String, JsonError> {
    let mut out = Vec::new();
    write(&parse(text)?, &mut out);
    Ok(String::from_utf8(out).expect("the writer writes UTF-8"))
}

#[test]
fn corners_of_javascript_are_kept() {
    for (text, expected) in [
        (
            r#"{"b":1,"10":2,"9":3,"a":4,"4294967294":5,"4294967295":6,"01":7,"-1":8}"#,
            r#"{"9":3,"10":2,"4294967294":5,"b":1,"a":4,"4294967295":6,"01":7,"-1":8}"#,
        ),
        (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
        (r#"{"__proto__":{"x":1},"constructor":1}"#, r#"{"__proto__":{"x":1},"constructor":1}"#),
        (r#"{"\u0061":1,"a":2}"#, r#"{"a":2}"#),
        (
            "[-0,0.0,1e21,1E+2,123456789012345678901,0.1,1e-7,5e-324,1e400,-1e400]",
            "[0,0,1e+21,100,123456789012345680000,0.1,1e-7,5e-324,null,null]",
        ),
        (r#""\ud83d\ude00 \ude00\ud83d \ud83d\u0041 \uD7FF""#, "\"😀 \\ude00\\ud83d \\ud83dA \u{D7FF}\""),
        ("\"\\/\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}\u{2028}\"", "\"/\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}\u{2028}\""),
        ("\t\r\n null ", "null"),
    ] {
        assert_eq!(round_trip(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn invalid_text_is_refused_with_its_offset() {
    use JsonError::{UnexpectedByte, UnexpectedEnd};
    for (text, error) in [
        ("", UnexpectedEnd { offset: 0 }),
        ("[1,]", UnexpectedByte { offset: 3 }),
        ("{\"a\":1,}", UnexpectedByte { offset: 7 }),
        ("01", UnexpectedByte { offset: 1 }),
        ("1.", UnexpectedEnd { offset: 2 }),
        ("\"\n\"", UnexpectedByte { offset: 1 }),
        ("\"\\x\"", UnexpectedByte { offset: 2 }),
        ("nul", UnexpectedEnd { offset: 3 }),
        ("\u{feff}1", UnexpectedByte { offset: 0 }),
        ("\u{a0}1", UnexpectedByte { offset: 0 }),
        ("[1}", UnexpectedByte { offset: 2 }),
        ("1 2", UnexpectedByte { offset: 2 }),
        ("NaN", UnexpectedByte { offset: 0 }),
    ] {
        assert_eq!(parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn depth_is_bounded_without_recursion() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(round_trip(&nested(DEPTH_MAX)).is_ok());
    assert_eq!(parse(&nested(DEPTH_MAX + 1)), Err(JsonError::TooDeep { offset: DEPTH_MAX }));
    assert_eq!(parse(&"[".repeat(10_000_000)), Err(JsonError::TooDeep { offset: DEPTH_MAX }));
}

#[test]
fn values_are_counted_so_that_a_text_cannot_blow_up() {
    let zeros = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
    assert!(parse(&zeros(VALUES_MAX - 1)).is_ok());
    let offset = 2 * VALUES_MAX - 1;
    assert_eq!(parse(&zeros(VALUES_MAX)), Err(JsonError::TooManyValues { offset }));
    assert!(size_of::<Value<'_>>() <= 32);
}

#[test]
fn many_duplicate_names_keep_first_place_and_last_value() {
    let names = (0..5_000).map(|n| format!("\"k{}\":{n}", n % 700)).collect::<Vec<_>>();
    let expected = (0..700).map(|k| format!("\"k{k}\":{}", if k < 100 { 4_900 + k } else { 4_200 + k }));
    let expected = format!("{{{}}}", expected.collect::<Vec<_>>().join(","));
    assert_eq!(round_trip(&format!("{{{}}}", names.join(","))), Ok(expected));
}

fn string_literal() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z0-9 ]{0,6}",
        2 => "\\PC{0,3}",
        2 => "\\\\u[dD][89abcdefABCDEF][0-9a-fA-F]{2}",
        1 => "\\\\u[0-9a-fA-F]{4}",
        1 => "\\\\[\"\\\\/bfnrt]",
        1 => Just("\u{2028}\u{7f}".to_owned()),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", escape_bare(&pieces.concat())))
}

/// Puts a backslash before quotes that `\PC` produced, and doubles backslashes that begin no escape.
fn escape_bare(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => {
                out.push('\\');
                match chars.peek() {
                    Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u') => {
                        out.extend(chars.next());
                    }
                    _ => out.push('\\'),
                }
            }
            c => out.push(c),
        }
    }
    out
}

fn number_literal() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| format!("{f:e}")),
        any::<i64>().prop_map(|n| n.to_string()),
        (-1000i32..1000).prop_map(|n| n.to_string()),
        "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?",
    ]
}

fn name_literal() -> impl Strategy<Value = String> {
    prop_oneof![
        string_literal(),
        (0u64..12).prop_map(|n| format!("\"{n}\"")),
        (4294967290u64..4294967300).prop_map(|n| format!("\"{n}\"")),
        "\"[0-9]{1,11}\"",
        Just("\"__proto__\"".to_owned()),
        "\"[ab]\"",
    ]
}

fn document() -> impl Strategy<Value = String> {
    let space = "[ \t\r\n]{0,2}";
    let leaf = prop_oneof![
        string_literal(),
        number_literal(),
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
    ];
    leaf.prop_recursive(5, 60, 20, move |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..6), space)
                .prop_map(|(items, space)| format!("[{space}{}]", items.join(&format!(",{space}")))),
            (prop::collection::vec((name_literal(), inner), 0..24), space).prop_map(|(members, space)| {
                let members = members.iter().map(|(name, value)| format!("{name}{space}:{value}")).collect::<Vec<_>>();
                format!("{{{}{space}}}", members.join(&format!("{space},")))
            }),
        ]
    })
}

/// Half of the documents have one character replaced, removed or doubled.
fn maybe_damaged() -> impl Strategy<Value = String> {
    (document(), any::<prop::sample::Index>(), 0..6u8, any::<char>()).prop_map(|(text, place, damage, random)| {
        let mut chars = text.chars().collect::<Vec<_>>();
        let place = place.index(chars.len());
        match damage {
            0 => drop(chars.remove(place)),
            1 => chars.insert(place, chars[place]),
            2 => chars[place] = random,
            _ => return text,
        }
        chars.into_iter().collect()
    })
}

#[test]
fn four_thousand_generated_documents_agree_with_node() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = maybe_damaged();
    let documents: Vec<String> =
        (0..4_000).map(|_| strategy.new_tree(&mut runner).expect("documents can be generated").current()).collect();
    let answers = ask_node(&documents);
    let accepted = answers.iter().filter(|answer| answer.is_some()).count();
    assert!((2_000..4_000).contains(&accepted), "{accepted} accepted: the generator no longer covers both sides");
    for (document, answer) in documents.iter().zip(answers) {
        let ours = round_trip(document).ok();
        assert_eq!(ours, answer, "{document:?}");
        if let Some(ours) = ours {
            assert_eq!(round_trip(&ours).as_deref(), Ok(ours.as_str()), "printing is idempotent");
        }
    }
}

/// One Node process for all documents; `None` where it refuses.
fn ask_node(documents: &[String]) -> Vec<Option<String>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/node/json-stringify.mjs");
    let mut node = Command::new("node")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs Node.js on the path");
    let mut input = Vec::new();
    for document in documents {
        input.extend_from_slice(&(document.len() as u32).to_le_bytes());
        input.extend_from_slice(document.as_bytes());
    }
    // The script reads everything before it writes, so this cannot block on its output.
    node.stdin.take().expect("stdin is piped").write_all(&input).expect("node reads its input");
    let output = node.wait_with_output().expect("node ends");
    assert!(output.status.success(), "node failed");
    let mut rest = output.stdout.as_slice();
    let answers = std::iter::from_fn(|| {
        let (head, body) = rest.split_at_checked(5)?;
        let length = u32::from_le_bytes(head[1..].try_into().expect("four bytes")) as usize;
        let (text, remaining) = body.split_at(length);
        rest = remaining;
        Some((head[0] == 1).then(|| String::from_utf8(text.to_vec()).expect("node writes UTF-8")))
    });
    let answers = answers.collect::<Vec<_>>();
    assert_eq!(answers.len(), documents.len());
    answers
}

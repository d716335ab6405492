//! How: `fixtures/vectors/cu/results.json` holds what the reference CU served for each answer.

use super::{ANSWER_BYTES_MAX, Evaluated, GuestFailure, OUTBOX_ITEMS_MAX, OutcomeKind, merge};
use crate::json::{Value, parse};

fn text<'v>(vector: &'v Value<'_>, name: &str) -> Option<&'v str> {
    match vector.get(name)? {
        Value::String(text) => Some(std::str::from_utf8(text.as_wtf8()).expect("vectors hold no lone surrogates")),
        _ => None,
    }
}

#[test]
fn results_are_those_of_the_reference_unit() {
    let file = include_str!("../../../../fixtures/vectors/cu/results.json");
    let Ok(Value::Array(vectors)) = parse(file) else { panic!("results.json is an array") };
    let mut unserved = 0;
    for vector in &vectors {
        let Some(Value::Number(gas)) = vector.get("gas") else { panic!("gas is a number") };
        let answer = match text(vector, "thrown") {
            None => Ok(text(vector, "answer").expect("an answer or a failure")),
            Some("error") => Err(GuestFailure::Error),
            Some("exit") => Err(GuestFailure::Exit(3)),
            Some("longjmp") => Err(GuestFailure::LongJmp),
            Some(other) => panic!("unknown failure {other}"),
        };
        let merged = merge(answer, *gas as u64);
        assert_eq!(Some(&Value::Bool(merged.keeps_previous_memory())), vector.get("keeps"), "{vector:?}");
        let served = String::from_utf8(merged.result_json).expect("results are UTF-8");
        if let Some(expected) = text(vector, "served") {
            assert_eq!(served, expected, "{vector:?}");
        } else {
            unserved += 1;
            assert_eq!(served, r#"{"Messages":[],"Assignments":[],"Spawns":[],"Output":"","GasUsed":0}"#);
        }
    }
    assert_eq!((vectors.len(), unserved), (183, 30));
}

#[test]
fn outcome_kinds_tell_the_ways_to_end_apart() {
    for (answer, kind) in [
        (r#"{"ok":true,"response":{}}"#, OutcomeKind::Evaluated),
        (r#"{"ok":true,"response":{"Error":"x"}}"#, OutcomeKind::ModuleError),
        (
            r#"{"ok":true,"response":{"Output":"not enough memory for buffer allocation"}}"#,
            OutcomeKind::AllocationFailure,
        ),
        (r#"{"ok":false,"response":"x"}"#, OutcomeKind::Refused),
        ("[]", OutcomeKind::Refused),
        ("null", OutcomeKind::Malformed),
        (r#"{"ok":true}"#, OutcomeKind::Malformed),
        ("", OutcomeKind::Malformed),
    ] {
        assert_eq!(merge(Ok(answer), 0).kind, kind, "{answer}");
    }
    assert_eq!(merge(Err(GuestFailure::Error), 0).kind, OutcomeKind::Failed);
}

#[test]
fn a_duplicate_gives_an_empty_result_on_the_old_memory() {
    let duplicate = Evaluated::duplicate();
    assert!(duplicate.keeps_previous_memory());
    assert_eq!(duplicate.result_json, br#"{"Messages":[],"Assignments":[],"Spawns":[],"Output":""}"#);
}

#[test]
fn an_answer_over_the_limit_is_malformed() {
    let answer = format!("\"{}\"", " ".repeat(ANSWER_BYTES_MAX - 2));
    assert_eq!(merge(Ok(&answer), 0).kind, OutcomeKind::Refused);
    assert_eq!(merge(Ok(&format!("{answer} ")), 0).kind, OutcomeKind::Malformed);
}

#[test]
fn an_outbox_over_the_limit_is_malformed() {
    let answer = |messages: usize, spawns: usize| {
        let list = |count| vec!["{}"; count].join(",");
        let answer =
            format!(r#"{{"ok":1,"response":{{"Messages":[{}],"Spawns":[{}]}}}}"#, list(messages), list(spawns));
        merge(Ok(&answer), 0).kind
    };
    assert_eq!(answer(OUTBOX_ITEMS_MAX - 1, 1), OutcomeKind::Evaluated);
    assert_eq!(answer(OUTBOX_ITEMS_MAX, 1), OutcomeKind::Malformed);
}

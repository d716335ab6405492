//! From what a guest answered to the result that `GET /result` serves, and whether the new memory stands.
//!
//! Not here: running the guest (`engine`, `host`), rolling memory back (the step), receipts (`ao-commit`).
//! Invariant: the served bytes are those the reference CU serves for the same answer, wherever it serves any.
//!
//! # Source
//! permaweb/ao `ff178d51`: `loader/src/index.cjs` (the last lines of `handle`), `servers/cu/src/effects/worker/evaluate.js`
//! (`mergeOutput`), `servers/cu/src/domain/model.js` (`evaluationSchema.output`, which fixes the order of the fields).

use crate::json::{Value, parse, write, write_number, write_str};

#[cfg(test)]
mod tests;

/// Longest answer of a guest that is read, in bytes of UTF-8; a longer one counts as malformed.
///
/// # Limits
/// The reference has no other limit than V8's longest string (about 512 MiB).
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Most messages, spawns and assignments together that one answer may hold; one with more counts as malformed.
///
/// # Limits
/// The reference has none, and gives all of them to its messenger unit one by one.
pub const OUTBOX_ITEMS_MAX: usize = 1 << 16;

/// End of an `Output` by which modules of old report that Lua ran out of memory; the step then changes nothing.
const ALLOCATION_FAILURE: &[u8] = b"not enough memory for buffer allocation";

/// How a step ended.
///
/// # Determinism
/// The discriminants enter receipts and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum OutcomeKind {
    /// The module answered without an error; the new memory stands.
    Evaluated = 0,
    /// The module answered with a truthy `Error` beside its outbox.
    ModuleError = 1,
    /// The module answered, and its `Output` says that an allocation failed.
    AllocationFailure = 2,
    /// The answer was JSON without a truthy `ok`.
    Refused = 3,
    /// The answer was no JSON, `null`, too long or with too full an outbox, or `ok` without a `response`.
    Malformed = 4,
    /// The guest gave no answer: trap, out of gas, abort, exit.
    Failed = 5,
    /// The message was a duplicate of one already evaluated and was not given to the guest.
    Duplicate = 6,
}

/// Why a guest gave no answer, as far as the served result shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestFailure {
    /// A JavaScript `Error`: wasm trap, abort, out of gas. Its text is not enumerable, so it is served as `{}`.
    Error,
    /// `exit(status)`: the glue throws an `ExitStatus`, an object with three plain fields.
    Exit(i32),
    /// A `longjmp` that nothing caught: the glue throws the number `Infinity`, which JSON shows as `null`.
    LongJmp,
}

/// A merged result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluated {
    /// Body of `GET /result`: `Messages`, `Assignments`, `Spawns`, `Output` and, if defined, `GasUsed` and `Error`.
    pub result_json: Vec<u8>,
    /// How the step ended.
    pub kind: OutcomeKind,
}

impl Evaluated {
    /// What a duplicate message gives: nothing, on unchanged memory.
    ///
    /// The reference serves the result of whatever message came before, so that an outbox is pushed twice.
    pub fn duplicate() -> Self {
        Self { result_json: Fields::default().write(), kind: OutcomeKind::Duplicate }
    }

    /// Whether the state before the step is kept.
    pub fn keeps_previous_memory(&self) -> bool {
        self.kind != OutcomeKind::Evaluated
    }
}

/// Merges the answer of a guest's `handle`, or its failure, and the gas it used.
///
/// `gas_used` is what the loader counted since its refill: zero in modules without metering. It is served with every answer that
/// has a truthy `ok`, and with nothing else.
///
/// # Determinism
/// Where the reference serves no result at all, because `Messages`, `Assignments` or `Spawns` is neither absent nor an array (it
/// answers 500, though the memory stands), the field is `[]` here.
pub fn merge(answer: Result<&str, GuestFailure>, gas_used: u64) -> Evaluated {
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => return failed(failure),
    };
    let answer = if answer.len() <= ANSWER_BYTES_MAX { parse(answer).unwrap_or(Value::Null) } else { Value::Null };
    if answer == Value::Null {
        // A SyntaxError, or the TypeError of destructuring `null`; any other value without `ok` merely lacks it.
        return threw(OutcomeKind::Malformed, Some(Thrown::Error));
    }
    let response = answer.get("response");
    if !answer.get("ok").is_some_and(Value::is_truthy) {
        return threw(OutcomeKind::Refused, defined(response).map(Thrown::Value));
    }
    match defined(response) {
        Some(response) => answered(response, gas_used),
        // Reading a property of `undefined` or `null` is a TypeError.
        None => threw(OutcomeKind::Malformed, Some(Thrown::Error)),
    }
}

fn answered(response: &Value<'_>, gas_used: u64) -> Evaluated {
    let property = |name| defined(response.get(name));
    let error = property("Error");
    let output = property("Output");
    let kind = if error.is_some_and(Value::is_truthy) {
        OutcomeKind::ModuleError
    } else if output.is_some_and(reports_allocation_failure) {
        OutcomeKind::AllocationFailure
    } else {
        OutcomeKind::Evaluated
    };
    let fields = Fields {
        messages: property("Messages"),
        assignments: property("Assignments"),
        spawns: property("Spawns"),
        output,
        gas_used: Some(gas_used),
        error: error.map(Thrown::Value),
    };
    if fields.outbox_items() > OUTBOX_ITEMS_MAX {
        return threw(OutcomeKind::Malformed, Some(Thrown::Error));
    }
    Evaluated { result_json: fields.write(), kind }
}

/// Whether `Output`, or the `Output.data.output` of aos, is a string that ends with [`ALLOCATION_FAILURE`].
fn reports_allocation_failure(output: &Value<'_>) -> bool {
    let text = match output {
        Value::String(_) => Some(output),
        _ => output.get("data").and_then(|data| data.get("output")),
    };
    matches!(text, Some(Value::String(text)) if text.as_wtf8().ends_with(ALLOCATION_FAILURE))
}

fn failed(failure: GuestFailure) -> Evaluated {
    threw(
        OutcomeKind::Failed,
        Some(match failure {
            GuestFailure::Error => Thrown::Error,
            GuestFailure::Exit(status) => Thrown::ExitStatus(status),
            GuestFailure::LongJmp => Thrown::Value(&Value::Null),
        }),
    )
}

fn threw(kind: OutcomeKind, error: Option<Thrown<'_>>) -> Evaluated {
    Evaluated { result_json: Fields { error, ..Fields::default() }.write(), kind }
}

/// `undefined` and `null` are one to the reference's `pathOr`.
fn defined<'v, 'a>(value: Option<&'v Value<'a>>) -> Option<&'v Value<'a>> {
    value.filter(|value| **value != Value::Null)
}

/// What stands in `Error`.
enum Thrown<'v> {
    /// A JavaScript `Error`.
    Error,
    /// The glue's `ExitStatus`.
    ExitStatus(i32),
    /// A value the module chose.
    Value(&'v Value<'v>),
}

/// The fields of a result in the order they are served; absent lists are empty, an absent output is `""`.
#[derive(Default)]
struct Fields<'v> {
    messages: Option<&'v Value<'v>>,
    assignments: Option<&'v Value<'v>>,
    spawns: Option<&'v Value<'v>>,
    output: Option<&'v Value<'v>>,
    gas_used: Option<u64>,
    error: Option<Thrown<'v>>,
}

impl Fields<'_> {
    fn outbox_items(&self) -> usize {
        let lists = [self.messages, self.assignments, self.spawns].into_iter().flatten();
        lists.map(|list| if let Value::Array(items) = list { items.len() } else { 0 }).sum()
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, list) in
            [("{\"Messages\":", self.messages), (",\"Assignments\":", self.assignments), (",\"Spawns\":", self.spawns)]
        {
            out.extend_from_slice(name.as_bytes());
            match list {
                Some(list @ Value::Array(_)) => write(list, &mut out),
                _ => out.extend_from_slice(b"[]"),
            }
        }
        out.extend_from_slice(b",\"Output\":");
        match self.output {
            Some(Value::Number(number)) if number.is_finite() => {
                out.push(b'"');
                write_number(*number, &mut out);
                out.push(b'"');
            }
            Some(Value::Number(number)) => write_str(if *number < 0.0 { "-Infinity" } else { "Infinity" }, &mut out),
            Some(output) => write(output, &mut out),
            None => write_str("", &mut out),
        }
        if let Some(gas_used) = self.gas_used {
            out.extend_from_slice(b",\"GasUsed\":");
            write_number(gas_used as f64, &mut out);
        }
        match &self.error {
            None => {}
            Some(Thrown::Error) => out.extend_from_slice(b",\"Error\":{}"),
            Some(Thrown::ExitStatus(status)) => {
                let text = format!(
                    ",\"Error\":{{\"name\":\"ExitStatus\",\"message\":\"Program terminated with exit({status})\",\"status\":{status}}}"
                );
                out.extend_from_slice(text.as_bytes());
            }
            Some(Thrown::Value(error)) => {
                out.extend_from_slice(b",\"Error\":");
                write(error, &mut out);
            }
        }
        out.push(b'}');
        out
    }
}

//! The outbox of a result, element by element.
//!
//! Invariant: every element becomes a task; none is left out for how it looks, and its number is its place in its list.

use ao_wire::ProcessId;
use serde_json::{Value, json};

use crate::task::{Kind, Place, Task, Trail};

/// What is to be sent, in the order in which the result has it: messages, spawns, assignments.
pub(crate) fn tasks(process: ProcessId, of: &str, result: &Value, trail: &Trail) -> Vec<Task> {
    let list = |name: &str| result[name].as_array().cloned().unwrap_or_default();
    // One for each process; an assignment that names none is shown as what it is.
    let assignments = list("Assignments").into_iter().flat_map(|assignment| {
        let processes = assignment["Processes"].as_array().cloned().unwrap_or_default();
        let processes = if processes.is_empty() { vec![Value::Null] } else { processes };
        processes.into_iter().map(move |process| {
            json!({ "Target": process, "Message": assignment["Message"], "BaseLayer": assignment["BaseLayer"],
                "Exclude": assignment["Exclude"] })
        })
    });
    let lists =
        [(Kind::Message, list("Messages")), (Kind::Spawn, list("Spawns")), (Kind::Assignment, assignments.collect())];
    let task = |kind, (index, element): (usize, Value)| {
        let place = Place { process, of: of.to_owned(), kind, index: index as u32 };
        Task::element(place, element.to_string(), trail.clone())
    };
    lists.into_iter().flat_map(|(kind, list)| list.into_iter().enumerate().map(move |each| task(kind, each))).collect()
}

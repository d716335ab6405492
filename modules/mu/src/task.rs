//! What there is to do, as it lies in the queue.
//!
//! *Not here:* doing it (`run`), the queue (`store`).
//!
//! Invariant: what an outbox asks for has one delivery id, whoever reads the outbox and how often.

use ao_wire::{Id, ProcessId};
use serde::{Deserialize, Serialize};

/// How something came to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trail {
    /// The item that a client posted; none if a cron began it.
    pub(crate) initial: Option<Id>,
    /// Outboxes between that and this.
    pub(crate) hops: u32,
}

/// A list of an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Message,
    Spawn,
    Assignment,
    /// What tells a parent of its child; in no list, but of a spawn.
    Spawned,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Spawn => "spawn",
            Self::Assignment => "assignment",
            Self::Spawned => "spawned",
        }
    }
}

/// Where an element stands: in which list of which outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Whose outbox.
    pub(crate) process: ProcessId,
    /// The message that it answers, or the cursor of a cron's result.
    pub(crate) of: String,
    pub(crate) kind: Kind,
    pub(crate) index: u32,
}

impl Place {
    /// The delivery id.
    pub(crate) fn delivery(&self) -> Id {
        let (kind, index) = (self.kind.name(), self.index);
        Id::sha256(format!("delivery\n{}\n{}\n{kind}\n{index}", self.process, self.of).as_bytes())
    }
}

/// What happens when the scheduler has an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Then {
    /// The outbox of the message is emptied; it is assigned to these, too.
    Message { also: Vec<ProcessId> },
    /// The outbox of the process is emptied; whom it is for is assigned it.
    Process { target: Option<ProcessId> },
    /// As above, and its parent is told, with these tags of the spawn.
    Spawn { place: Place, tags: Vec<(String, String)> },
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// An element of an outbox becomes a signed item, or an assignment.
    Build { place: Place, element: String },
    /// A signed item goes to whom it is for. `client`: it was posted, not built here.
    Post { item: Vec<u8>, process: ProcessId, then: Then, client: bool, lane: Id },
    /// An item that is at hand or on chain is assigned.
    Assign { process: ProcessId, message: Id, base_layer: bool, exclude: Vec<String>, lane: Id },
    /// The outbox of a message is emptied; the compute unit is asked by the id `ask`, the message's or its assignment's.
    Crank { process: ProcessId, message: Id, ask: Id, timestamp: u64 },
}

/// One thing to do, with its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) work: Work,
    pub(crate) trail: Trail,
    /// Of what an outbox asked for: its delivery.
    pub(crate) delivery: Option<Id>,
    /// Failures in a row, and when the first was, in milliseconds since 1970.
    pub(crate) failures: u32,
    pub(crate) failing_since: u64,
}

impl Task {
    pub(crate) fn new(work: Work, trail: Trail) -> Self {
        Self { work, trail, delivery: None, failures: 0, failing_since: 0 }
    }

    /// An element of an outbox.
    pub(crate) fn element(place: Place, element: String, trail: Trail) -> Self {
        let delivery = Some(place.delivery());
        Self { delivery, ..Self::new(Work::Build { place, element }, trail) }
    }

    /// The same delivery, one step on.
    pub(crate) fn next(&self, work: Work) -> Self {
        Self { delivery: self.delivery, ..Self::new(work, self.trail.clone()) }
    }

    /// Things to do in the same lane are done in order, one after the other: what one process sends to another, and the
    /// outboxes of a process.
    pub(crate) fn lane(&self) -> Id {
        let lane = match &self.work {
            Work::Build { place, element } => format!("from\n{}\n{}", place.process, target(element)),
            Work::Post { lane, .. } | Work::Assign { lane, .. } => return *lane,
            Work::Crank { process, .. } => format!("crank\n{process}"),
        };
        Id::sha256(lane.as_bytes())
    }

    /// Within a lane the lowest is next: outboxes go by the time the scheduler gave.
    pub(crate) fn order(&self) -> u64 {
        match &self.work {
            Work::Crank { timestamp, .. } => *timestamp,
            _ => 0,
        }
    }
}

/// Whom an element is for, as it says.
fn target(element: &str) -> String {
    let element: serde_json::Value = serde_json::from_str(element).unwrap_or_default();
    element.get("Target").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

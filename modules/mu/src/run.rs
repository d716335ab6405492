//! Doing a task once: what comes of it, or why nothing does.
//!
//! *Not here:* trying again, giving up, what is written down of it (`lanes`).
//!
//! Invariant: a task that is done twice, since nobody could write down that it was done, has the effect of one: its item is
//! the same bytes, an assignment the same assignment, an outbox the same deliveries.

use std::sync::Arc;

use ao_wire::{DataItem, Id, ProcessId};
use serde_json::{Value, json};

use crate::build::{assignment, build};
use crate::messenger::Messenger;
use crate::outbox;
use crate::task::{Kind, Place, Task, Then, Trail, Work};
use crate::units::{Failure, ProcessInfo, Scheduled};

/// Processes whose module and owner are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// What came of a task.
#[derive(Default)]
pub(crate) struct Done {
    /// What is to be done in its place.
    pub(crate) replace: Option<Task>,
    /// And what else.
    pub(crate) put: Vec<Task>,
    /// What the scheduler said.
    pub(crate) scheduled: Option<Scheduled>,
    /// What was delivered, for metrics.
    pub(crate) delivered: Option<&'static str>,
}

impl Messenger {
    pub(crate) async fn run(&self, task: &Task) -> Result<Done, Failure> {
        match &task.work {
            Work::Build { place, element } => self.build(task, place, element).await,
            Work::Post { item, process, then, client, .. } => self.deliver(task, item, *process, then, *client).await,
            Work::Assign { process, message, base_layer, exclude, .. } => {
                let scheduled = self.units.assign(*process, *message, *base_layer, exclude).await?;
                let put = vec![crank(*process, *message, scheduled, &task.trail)];
                Ok(Done { put, scheduled: Some(scheduled), delivered: Some("assignment"), ..Done::default() })
            }
            Work::Crank { process, message, ask, .. } => {
                let result = self.units.result(*process, *message, *ask).await?;
                let trail = Trail { hops: task.trail.hops + 1, ..task.trail };
                Ok(Done { put: outbox::tasks(*process, &message.to_string(), &result, &trail), ..Done::default() })
            }
        }
    }

    async fn build(&self, task: &Task, place: &Place, element: &str) -> Result<Done, Failure> {
        let (hops, most) = (task.trail.hops, self.options.hops_max);
        if hops > most {
            let why = format!("{hops} outboxes lie between what a client or cron began and this, {most} may");
            return Err(Failure::for_good("the limit of hops is reached", why));
        }
        let element: Value = serde_json::from_str(element).unwrap_or_default();
        if place.kind == Kind::Assignment {
            let asked = assignment(&element)?;
            let scheduled = self.units.assign(asked.process, asked.message, asked.base_layer, &asked.exclude).await?;
            let put = vec![crank(asked.process, asked.message, scheduled, &task.trail)];
            return Ok(Done { put, delivered: Some(place.kind.name()), ..Done::default() });
        }
        let parent = self.process(place.process.id()).await?;
        let parent = parent
            .ok_or_else(|| Failure::passing("the scheduler does not know the sender", place.process.to_string()))?;
        let (signer, trail, built_of) = (Arc::clone(&self.signer), task.trail.clone(), place.clone());
        let built = tokio::task::spawn_blocking(move || build(&built_of, &element, &trail, &parent, &signer)).await;
        let built = built.map_err(|error| Failure::passing("signing broke off", error.to_string()))??;
        let id = id_of(&built.item)?;
        let (process, then) = match built.target {
            None => (id.into(), Then::Spawn { place: place.clone(), tags: built.asked }),
            Some(target) => (target, Then::Message { also: built.also }),
        };
        let work = Work::Post { item: built.item, process, then, client: false, lane: task.lane() };
        Ok(Done { replace: Some(task.next(work)), ..Done::default() })
    }

    async fn deliver(
        &self,
        task: &Task,
        item: &[u8],
        process: ProcessId,
        then: &Then,
        client: bool,
    ) -> Result<Done, Failure> {
        let id = id_of(item)?;
        if matches!(then, Then::Message { .. }) && !client && self.process(process.id()).await?.is_none() {
            self.units.upload(item).await?;
            return Ok(Done { delivered: Some("upload"), ..Done::default() });
        }
        let scheduled = self.units.schedule(item, id).await?;
        let trail = &task.trail;
        let mut put = vec![crank(process, id, scheduled, trail)];
        let assigned = |process: ProcessId| {
            let lane = Id::sha256(format!("assign\n{process}\n{id}").as_bytes());
            Task::new(
                Work::Assign { process, message: id, base_layer: false, exclude: Vec::new(), lane },
                trail.clone(),
            )
        };
        let delivered = match then {
            Then::Message { also } => {
                put.extend(also.iter().copied().map(assigned));
                "message"
            }
            Then::Process { target } => {
                put.extend(target.iter().copied().map(assigned));
                "spawn"
            }
            Then::Spawn { place, tags } => {
                let tags: Vec<Value> =
                    tags.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
                let element = json!({ "Process": id, "Tags": tags }).to_string();
                put.push(Task::element(Place { kind: Kind::Spawned, ..place.clone() }, element, trail.clone()));
                "spawn"
            }
        };
        let delivered = (!client).then_some(delivered);
        Ok(Done { put, scheduled: Some(scheduled), delivered, ..Done::default() })
    }

    /// What the scheduler says of a process; `None` if it has none.
    pub(crate) async fn process(&self, process: Id) -> Result<Option<ProcessInfo>, Failure> {
        let known = crate::messenger::lock(&self.processes).get(&process).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let found = self.units.process(process).await?;
        if let Some(info) = &found {
            let mut processes = crate::messenger::lock(&self.processes);
            if processes.len() >= REMEMBERED_MAX {
                processes.clear();
            }
            processes.insert(process, info.clone());
        }
        Ok(found)
    }
}

/// Empties the outbox of what was scheduled.
pub(crate) fn crank(process: ProcessId, message: Id, scheduled: Scheduled, trail: &Trail) -> Task {
    let Scheduled { id: ask, timestamp } = scheduled;
    Task::new(Work::Crank { process, message, ask, timestamp }, trail.clone())
}

fn id_of(item: &[u8]) -> Result<Id, Failure> {
    let parsed = DataItem::parse(item).map_err(|error| Failure::for_good("an item of the queue", error.to_string()))?;
    Ok(parsed.id())
}

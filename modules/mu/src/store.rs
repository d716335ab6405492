//! The queue on disk: one redb file, written by one thread that commits together what comes together.
//!
//! *Not here:* what is done with a task (`run`), when (`lanes`).
//!
//! Invariant: a change is on disk, whole, when it is answered; a delivery is put in the queue once, ever.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use ao_http::Reopened;
use ao_wire::Id;
use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, TableDefinition, WriteTransaction,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::MuError;
use crate::task::{Task, Trail};

pub(crate) type Key = ([u8; 32], u64, u64);

/// lane, order, sequence → task.
const QUEUE: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("queue");
/// Deliveries that were put in the queue, ever.
const DELIVERIES: TableDefinition<'_, [u8; 32], ()> = TableDefinition::new("deliveries");
/// number → dead letter.
const DEAD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("dead");
/// process → where its crons were read to.
const MONITORS: TableDefinition<'_, [u8; 32], &str> = TableDefinition::new("monitors");
/// Items that began or ended a monitor.
const USED: TableDefinition<'_, [u8; 32], ()> = TableDefinition::new("used");
/// What is counted.
const COUNTS: TableDefinition<'_, &str, u64> = TableDefinition::new("counts");
const SEQUENCE: &str = "sequence";

/// Changes that may wait for the thread, and most that are committed together.
const WAITING_MAX: usize = 1024;
const TOGETHER_MAX: usize = 256;
/// Bytes that redb may hold in memory.
const CACHE_BYTES: usize = 64 << 20;

/// What could not be done, and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Dead {
    pub(crate) task: Task,
    pub(crate) error: String,
    /// Milliseconds since 1970.
    pub(crate) at: u64,
}

/// A change, and who waits for it.
struct Job {
    change: Change,
    reply: oneshot::Sender<Result<Vec<Key>, MuError>>,
}

/// The database, opened again after a write failed.
type Queue = Reopened<Database, MuError>;

/// The open queue.
pub(crate) struct Store {
    database: Arc<Queue>,
    jobs: mpsc::Sender<Job>,
}

/// What one change does, all or nothing.
#[derive(Default)]
pub(crate) struct Change {
    /// Done.
    pub(crate) remove: Option<Key>,
    /// In its place, and with its turn.
    pub(crate) replace: Option<(Key, Task)>,
    /// New; those of a delivery that was put in before are left out.
    pub(crate) put: Vec<Task>,
    /// Given up.
    pub(crate) dead: Option<Dead>,
    /// Taken back.
    pub(crate) revive: Option<u64>,
    /// A monitor begins, was read to somewhere, ends.
    pub(crate) monitor: Option<(Id, Watch)>,
    /// An item is spent.
    pub(crate) used: Option<Id>,
}

/// A change of a monitor.
pub(crate) enum Watch {
    Begin(String),
    Advance(String),
    End,
}

impl Store {
    pub(crate) fn open(path: &Path) -> Result<(Self, JoinHandle<()>), MuError> {
        let file = path.to_owned();
        let database = Arc::new(Reopened::new(move || open(&file))?);
        let (jobs, mut waiting) = mpsc::channel::<Job>(WAITING_MAX);
        let writer = Arc::clone(&database);
        let thread = std::thread::Builder::new().name("mu-queue".into());
        let thread = thread.spawn(move || {
            while let Some(first) = waiting.blocking_recv() {
                let more = std::iter::from_fn(|| waiting.try_recv().ok()).take(TOGETHER_MAX);
                commit(&writer, std::iter::once(first).chain(more).collect());
            }
        });
        let thread = thread.map_err(|source| MuError::Io { path: path.display().to_string(), source })?;
        Ok((Self { database, jobs }, thread))
    }

    /// Makes a change; the keys of what it put in.
    pub(crate) async fn change(&self, change: Change) -> Result<Vec<Key>, MuError> {
        let (reply, answer) = oneshot::channel();
        let job = Job { change, reply };
        self.jobs.send(job).await.map_err(|_| MuError::Stopping)?;
        answer.await.map_err(|_| MuError::Stopping)?
    }

    /// Tasks in the queue.
    pub(crate) fn queued(&self) -> Result<u64, MuError> {
        let queue = self.read()?.open_table(QUEUE).map_err(MuError::queue("queue"))?;
        queue.len().map_err(MuError::queue("the queue cannot be counted"))
    }

    /// The next task of a lane.
    pub(crate) fn first(&self, lane: [u8; 32]) -> Result<Option<(Key, Task)>, MuError> {
        let queue = self.read()?.open_table(QUEUE).map_err(MuError::queue("queue"))?;
        let mut rows = queue.range((lane, 0, 0)..=(lane, u64::MAX, u64::MAX)).map_err(MuError::queue("queue"))?;
        let Some(row) = rows.next() else { return Ok(None) };
        let (key, task) = row.map_err(MuError::queue("a task cannot be read"))?;
        Ok(Some((key.value(), decode("queue", task.value())?)))
    }

    /// The lanes that hold tasks.
    pub(crate) fn lanes(&self) -> Result<Vec<[u8; 32]>, MuError> {
        let queue = self.read()?.open_table(QUEUE).map_err(MuError::queue("queue"))?;
        let mut lanes = Vec::new();
        for row in queue.iter().map_err(MuError::queue("queue"))? {
            let lane = row.map_err(MuError::queue("a task cannot be read"))?.0.value().0;
            if lanes.last() != Some(&lane) {
                lanes.push(lane);
            }
        }
        Ok(lanes)
    }

    /// Dead letters from a number on.
    pub(crate) fn dead(&self, from: u64, most: usize) -> Result<Vec<(u64, Dead)>, MuError> {
        let dead = self.read()?.open_table(DEAD).map_err(MuError::queue("dead"))?;
        let rows = dead.range(from..).map_err(MuError::queue("dead"))?.take(most);
        let letters = rows.map(|row| {
            let (id, letter) = row.map_err(MuError::queue("a dead letter cannot be read"))?;
            Ok((id.value(), decode("dead", letter.value())?))
        });
        letters.collect()
    }

    /// The first dead letter that is meant.
    pub(crate) fn find_dead(&self, is: impl Fn(&Dead) -> bool) -> Result<Option<u64>, MuError> {
        Ok(self.dead(0, usize::MAX)?.into_iter().find(|(_, dead)| is(dead)).map(|(id, _)| id))
    }

    pub(crate) fn dead_count(&self) -> Result<u64, MuError> {
        let dead = self.read()?.open_table(DEAD).map_err(MuError::queue("dead"))?;
        dead.len().map_err(MuError::queue("dead letters cannot be counted"))
    }

    /// What is watched, and the cursor of each.
    pub(crate) fn monitors(&self) -> Result<Vec<(Id, String)>, MuError> {
        let monitors = self.read()?.open_table(MONITORS).map_err(MuError::queue("monitors"))?;
        let rows = monitors.iter().map_err(MuError::queue("monitors"))?.map(|row| {
            let (process, cursor) = row.map_err(MuError::queue("a monitor cannot be read"))?;
            Ok((Id(process.value()), cursor.value().to_owned()))
        });
        rows.collect()
    }

    fn read(&self) -> Result<redb::ReadTransaction, MuError> {
        self.database.with(|database| database.begin_read().map_err(MuError::queue("a read cannot begin")))
    }
}

fn open_tables(write: &WriteTransaction) -> Result<(), MuError> {
    write.open_table(QUEUE).map_err(MuError::queue("queue"))?;
    write.open_table(DELIVERIES).map_err(MuError::queue("deliveries"))?;
    write.open_table(DEAD).map_err(MuError::queue("dead"))?;
    write.open_table(MONITORS).map_err(MuError::queue("monitors"))?;
    write.open_table(USED).map_err(MuError::queue("used"))?;
    write.open_table(COUNTS).map_err(MuError::queue("counts"))?;
    Ok(())
}

/// Opens the file, after a crash or trouble as after a stop.
fn open(path: &Path) -> Result<Database, MuError> {
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(path);
    let database = database.map_err(MuError::queue("cannot be opened"))?;
    let write = database.begin_write().map_err(MuError::queue("a write cannot begin"))?;
    open_tables(&write)?;
    write.commit().map_err(MuError::queue("a commit failed"))?;
    Ok(database)
}

/// Makes these changes in one commit, and answers them.
fn commit(database: &Queue, mut jobs: Vec<Job>) {
    let made = database.with(|database| {
        let mut write = database.begin_write().map_err(MuError::queue("a write cannot begin"))?;
        // After a crash the file opens at once.
        write.set_quick_repair(true);
        let changes = jobs.iter_mut().map(|job| std::mem::take(&mut job.change));
        let outcomes = changes.map(|change| make(&write, change)).collect::<Result<Vec<_>, _>>()?;
        write.commit().map_err(MuError::queue("a commit failed"))?;
        Ok(outcomes)
    });
    let outcomes = made.unwrap_or_else(|error| {
        database.close();
        let error = Arc::new(error);
        jobs.iter().map(|_| Err(Arc::clone(&error).into())).collect()
    });
    for (job, outcome) in jobs.into_iter().zip(outcomes) {
        // Whoever no longer waits needs no answer.
        let _ = job.reply.send(outcome);
    }
}

/// Makes a change. A refusal is an answer, and takes nothing of the others down; a failure of the disk takes all.
fn make(write: &WriteTransaction, change: Change) -> Result<Result<Vec<Key>, MuError>, MuError> {
    match refusal(write, &change)? {
        Some(refusal) => Ok(Err(refusal)),
        None => apply(write, change).map(Ok),
    }
}

/// Why a change is not made, if its conditions do not hold.
fn refusal(write: &WriteTransaction, change: &Change) -> Result<Option<MuError>, MuError> {
    if let Some(id) = change.used {
        let used = write.open_table(USED).map_err(MuError::queue("used"))?;
        if used.get(id.0).map_err(MuError::queue("used"))?.is_some() {
            return Ok(Some(MuError::Used { id }));
        }
    }
    if let Some((process, watch)) = &change.monitor {
        let monitors = write.open_table(MONITORS).map_err(MuError::queue("monitors"))?;
        let watched = monitors.get(process.0).map_err(MuError::queue("monitors"))?.is_some();
        match watch {
            Watch::Begin(_) if watched => return Ok(Some(MuError::Watched)),
            Watch::Advance(_) | Watch::End if !watched => return Ok(Some(MuError::NotWatched)),
            _ => {}
        }
    }
    if let Some(id) = change.revive {
        let dead = write.open_table(DEAD).map_err(MuError::queue("dead"))?;
        if dead.get(id).map_err(MuError::queue("dead"))?.is_none() {
            return Ok(Some(MuError::NoDeadLetter { id }));
        }
    }
    Ok(None)
}

fn apply(write: &WriteTransaction, change: Change) -> Result<Vec<Key>, MuError> {
    let failed = "a row cannot be written";
    let mut queue = write.open_table(QUEUE).map_err(MuError::queue("queue"))?;
    let mut deliveries = write.open_table(DELIVERIES).map_err(MuError::queue("deliveries"))?;
    let mut dead = write.open_table(DEAD).map_err(MuError::queue("dead"))?;
    let mut counts = write.open_table(COUNTS).map_err(MuError::queue("counts"))?;
    let row = counts.get(SEQUENCE).map_err(MuError::queue("counts"))?.map(|row| row.value());
    let mut sequence = row.unwrap_or_default();
    let mut put = Vec::new();
    if let Some(key) = change.remove {
        queue.remove(key).map_err(MuError::queue(failed))?;
    }
    if let Some((key, task)) = change.replace {
        if task.lane().0 == key.0 {
            queue.insert(key, &encode(&task)[..]).map_err(MuError::queue(failed))?;
        } else {
            queue.remove(key).map_err(MuError::queue(failed))?;
            put.push(task);
        }
    }
    if let Some(id) = change.revive
        && let Some(row) = dead.remove(id).map_err(MuError::queue(failed))?
    {
        // It begins anew, its hops too.
        let Dead { task: Task { work, trail, delivery, .. }, .. } = decode("dead", row.value())?;
        put.push(Task { delivery, ..Task::new(work, Trail { hops: 0, ..trail }) });
    }
    for task in change.put {
        let known = match task.delivery {
            Some(id) => deliveries.insert(id.0, ()).map_err(MuError::queue(failed))?.is_some(),
            None => false,
        };
        if !known {
            put.push(task);
        }
    }
    if let Some(letter) = change.dead {
        dead.insert(sequence, &encode(&letter)[..]).map_err(MuError::queue(failed))?;
        sequence += 1;
    }
    let mut keys = Vec::with_capacity(put.len());
    for task in put {
        let key = (task.lane().0, task.order(), sequence);
        queue.insert(key, &encode(&task)[..]).map_err(MuError::queue(failed))?;
        keys.push(key);
        sequence += 1;
    }
    counts.insert(SEQUENCE, sequence).map_err(MuError::queue(failed))?;
    if let Some(id) = change.used {
        write.open_table(USED).map_err(MuError::queue("used"))?.insert(id.0, ()).map_err(MuError::queue(failed))?;
    }
    if let Some((process, watch)) = change.monitor {
        let mut monitors = write.open_table(MONITORS).map_err(MuError::queue("monitors"))?;
        match watch {
            Watch::Begin(at) | Watch::Advance(at) => {
                monitors.insert(process.0, &at[..]).map_err(MuError::queue(failed))?;
            }
            Watch::End => {
                monitors.remove(process.0).map_err(MuError::queue(failed))?;
            }
        }
    }
    Ok(keys)
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("structs of bytes, strings and numbers have an encoding")
}

fn decode<T: DeserializeOwned>(table: &'static str, bytes: &[u8]) -> Result<T, MuError> {
    postcard::from_bytes(bytes).map_err(MuError::row(table))
}

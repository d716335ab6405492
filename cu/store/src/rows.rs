//! Rows of the index: keys that sort as positions do, values with fixed fields first. Byte tables: `FORMAT.md`.
//!
//! *Not here:* the tables themselves (`index`).
//!
//! Invariant: decoding accepts exactly what encoding writes.

use std::fmt;

use ao_log::{BlockHeight, Nonce, TimestampMs};
use ao_wire::{AssignmentId, DeepHash, Id, MessageId, ProcessId};

use crate::StoreError;
use crate::pack::Pointer;

/// Values up to this size stand in the index itself, larger ones in `bodies/`.
pub(crate) const INLINE_BYTES_MAX: usize = 4096;
const STEP_VERSION: u8 = 2;
const FAILED: u8 = 1;
const CRON: u8 = 2;
const CONTENT: u8 = 4;

/// A place among the results of a process: a nonce, and which of the cron ticks that follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The nonce.
    pub nonce: Nonce,
    /// 0 is the assignment's own step, *n* the *n*th tick after it.
    pub tick: u32,
}

impl Position {
    /// The step of an assignment.
    pub const fn of(nonce: Nonce) -> Position {
        Position { nonce, tick: 0 }
    }

    pub(crate) const LAST: Position = Position { nonce: Nonce(u64::MAX), tick: u32::MAX };

    fn encode(self) -> [u8; 12] {
        let mut out = [0; 12];
        out[..8].copy_from_slice(&self.nonce.0.to_be_bytes());
        out[8..].copy_from_slice(&self.tick.to_be_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Position> {
        let (nonce, tick) = bytes.split_first_chunk::<8>()?;
        Some(Position { nonce: Nonce(u64::from_be_bytes(*nonce)), tick: u32::from_be_bytes(tick.try_into().ok()?) })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nonce {}", self.nonce)?;
        if self.tick > 0 { write!(f, ", tick {}", self.tick) } else { Ok(()) }
    }
}

/// What is kept of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRecord {
    /// The process.
    pub process: ProcessId,
    /// The place.
    pub position: Position,
    /// The message, or the process at its own nonce; for a tick whatever names it.
    pub message: MessageId,
    /// The hash by which the message is known, if that is not its id.
    pub content: Option<DeepHash>,
    /// The assignment; for a tick that of the nonce before it.
    pub assignment: AssignmentId,
    /// The message's time.
    pub timestamp: TimestampMs,
    /// The message's block.
    pub block_height: BlockHeight,
    /// Which cron a tick belongs to, in the words of the reference unit; `None` for an assignment's own step.
    pub cron: Option<String>,
    /// Whether the result has an `Error`.
    pub failed: bool,
    /// The encoded receipt; empty if there is none.
    pub receipt: Vec<u8>,
    /// Body of `GET /result`.
    pub result_json: Vec<u8>,
}

/// A value in the index, or where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Blob {
    Inline(Vec<u8>),
    Body(Pointer),
}

impl Blob {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Blob::Inline(bytes) => {
                out.push(0);
                out.extend_from_slice(bytes);
            }
            Blob::Body(pointer) => {
                out.push(1);
                out.extend_from_slice(&pointer.encode());
            }
        }
    }

    /// A blob is always the rest of its row.
    pub(crate) fn take(bytes: &[u8]) -> Option<Blob> {
        match bytes.split_first()? {
            (0, inline) => Some(Blob::Inline(inline.to_vec())),
            (1, pointer) => Some(Blob::Body(Pointer::decode(pointer)?)),
            _ => None,
        }
    }
}

/// `process ‖ position`.
pub(crate) fn step_key(process: ProcessId, position: Position) -> [u8; 44] {
    joined(process, &position.encode())
}

pub(crate) fn position_of(step_key: &[u8]) -> Option<Position> {
    Position::decode(step_key.get(32..)?)
}

/// `process ‖ id`.
pub(crate) fn id_key(process: ProcessId, id: Id) -> [u8; 64] {
    joined(process, &id.0)
}

/// `process ‖ hash of content`.
pub(crate) fn content_key(process: ProcessId, content: DeepHash) -> [u8; 80] {
    joined(process, &content)
}

/// `process ‖ timestamp ‖ position`.
pub(crate) fn time_key(process: ProcessId, time: TimestampMs, position: Position) -> [u8; 52] {
    let mut tail = [0; 20];
    tail[..8].copy_from_slice(&time.0.to_be_bytes());
    tail[8..].copy_from_slice(&position.encode());
    joined(process, &tail)
}

/// `process ‖ nonce`.
pub(crate) fn nonce_key(process: ProcessId, nonce: Nonce) -> [u8; 40] {
    joined(process, &nonce.0.to_be_bytes())
}

pub(crate) fn nonce_of(key: &[u8]) -> Option<Nonce> {
    Some(Nonce(u64::from_be_bytes(key.get(32..)?.try_into().ok()?)))
}

pub(crate) fn process_of(key: &[u8]) -> Option<ProcessId> {
    Some(Id(*key.first_chunk()?).into())
}

pub(crate) fn encode_position(position: Position) -> [u8; 12] {
    position.encode()
}

fn joined<const N: usize>(process: ProcessId, tail: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out[..32].copy_from_slice(process.id().as_bytes());
    out[32..].copy_from_slice(tail);
    out
}

/// The row of a step; its result is in `result`.
pub(crate) fn encode_step(step: &StepRecord, result: &Blob) -> Result<Vec<u8>, StoreError> {
    let too_long = |field| StoreError::TooLong { process: step.process, position: step.position, field };
    let cron = step.cron.as_deref().unwrap_or_default();
    let cron_bytes = u8::try_from(cron.len()).map_err(|_| too_long("cron"))?;
    let receipt_bytes = u16::try_from(step.receipt.len()).map_err(|_| too_long("receipt"))?;
    let flags = [(step.failed, FAILED), (step.cron.is_some(), CRON), (step.content.is_some(), CONTENT)];
    let flags = flags.iter().filter(|(is_set, _)| *is_set).fold(0, |flags, (_, flag)| flags | flag);
    let mut out = vec![STEP_VERSION, flags];
    out.extend_from_slice(step.message.id().as_bytes());
    out.extend(step.content.iter().flatten());
    out.extend_from_slice(step.assignment.id().as_bytes());
    out.extend_from_slice(&step.timestamp.0.to_le_bytes());
    out.extend_from_slice(&step.block_height.0.to_le_bytes());
    out.push(cron_bytes);
    out.extend_from_slice(cron.as_bytes());
    out.extend_from_slice(&receipt_bytes.to_le_bytes());
    out.extend_from_slice(&step.receipt);
    result.put(&mut out);
    Ok(out)
}

/// A step but for its result, and where that is.
pub(crate) fn decode_step(process: ProcessId, position: Position, row: &[u8]) -> Option<(StepRecord, Blob)> {
    let mut rest = row;
    let [STEP_VERSION, flags] = take(&mut rest)? else { return None };
    let message: MessageId = Id(take(&mut rest)?).into();
    let content = if flags & CONTENT != 0 { Some(take(&mut rest)?) } else { None };
    let assignment: AssignmentId = Id(take(&mut rest)?).into();
    let timestamp = TimestampMs(u64::from_le_bytes(take(&mut rest)?));
    let block_height = BlockHeight(u64::from_le_bytes(take(&mut rest)?));
    let [cron_bytes] = take(&mut rest)?;
    let (cron, after) = rest.split_at_checked(cron_bytes.into())?;
    rest = after;
    let cron = std::str::from_utf8(cron).ok()?;
    let receipt_bytes = u16::from_le_bytes(take(&mut rest)?);
    let (receipt, blob) = rest.split_at_checked(receipt_bytes.into())?;
    let step = StepRecord {
        process,
        position,
        message,
        content,
        assignment,
        timestamp,
        block_height,
        cron: (flags & CRON != 0).then(|| cron.to_owned()),
        failed: flags & FAILED != 0,
        receipt: receipt.to_vec(),
        result_json: Vec::new(),
    };
    (flags & !(FAILED | CRON | CONTENT) == 0).then_some(())?;
    Some((step, Blob::take(blob)?))
}

pub(crate) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*bytes)
}

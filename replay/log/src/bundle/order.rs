//! The one order records may have; reader and writer run the same machine.

use thiserror::Error;

use super::frame::{CHUNK_BYTES, Kind};
use crate::Nonce;

/// A record at a place where it may not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OrderFault {
    /// Another kind belongs here.
    #[error("a {found} record cannot follow here: expected {expected}")]
    Kind {
        /// Kind of the record.
        found: Kind,
        /// What may follow.
        expected: &'static str,
    },
    /// The nonce isn't the one that follows.
    #[error("the {kind} record has nonce {found}, expected {expected}")]
    Nonce {
        /// Kind of the record.
        kind: Kind,
        /// Nonce in it.
        found: Nonce,
        /// Nonce due.
        expected: Nonce,
    },
    /// A piece of a body is not of its only size.
    #[error("a {kind} record of {found} bytes, expected {expected}")]
    Chunk {
        /// Kind of the record.
        kind: Kind,
        /// Bytes in it.
        found: u64,
        /// Bytes due: [`CHUNK_BYTES`], or the rest of the body.
        expected: u64,
    },
    /// A piece of transcript is empty, or follows one that was not full.
    #[error("a transcript is split into full records but the last, none of them empty")]
    TranscriptSplit,
    /// No nonce is left.
    #[error("the nonces are exhausted")]
    NonceOverflow,
}

/// What the order depends on in a record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Manifest { first_nonce: Nonce },
    Process,
    Module { body_bytes: u64 },
    ModuleChunk { bytes: u64 },
    Entry { nonce: Nonce },
    Transcript { nonce: Nonce, bytes: u64 },
    Receipt { nonce: Nonce },
    Checkpoint { nonce: Nonce, body_bytes: u64 },
    CheckpointChunk { bytes: u64 },
    End,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Begin,
    Manifest,
    Process,
    ModuleBody {
        left: u64,
    },
    /// The module is complete; a checkpoint to start from may follow.
    Start,
    CheckpointBody {
        left: u64,
    },
    /// After an entry.
    Entry,
    /// After a piece of its transcript.
    Transcript {
        full: bool,
    },
    /// After its receipt.
    Receipt,
    /// After its checkpoint.
    Checkpoint,
    End,
}

impl Stage {
    fn expected(self) -> &'static str {
        match self {
            Stage::Begin => "manifest",
            Stage::Manifest => "process",
            Stage::Process => "module",
            Stage::ModuleBody { .. } => "module chunk",
            Stage::Start => "checkpoint, entry or end",
            Stage::CheckpointBody { .. } => "checkpoint chunk",
            Stage::Entry | Stage::Transcript { .. } => "transcript, receipt, checkpoint, entry or end",
            Stage::Receipt => "checkpoint, entry or end",
            Stage::Checkpoint => "entry or end",
            Stage::End => "nothing",
        }
    }
}

#[derive(Debug)]
pub(super) struct Order {
    stage: Stage,
    next: Nonce,
    /// The nonce that transcripts, receipts and checkpoints belong to; `None` before nonce 0.
    current: Option<Nonce>,
}

impl Order {
    pub(super) fn new() -> Order {
        Order { stage: Stage::Begin, next: Nonce(0), current: None }
    }

    /// Moves over a record, or says why it may not be here.
    pub(super) fn accept(&mut self, shape: Shape) -> Result<(), OrderFault> {
        let stage = self.stage;
        let after_entry = matches!(stage, Stage::Entry | Stage::Transcript { .. });
        let between = after_entry || matches!(stage, Stage::Start | Stage::Receipt | Stage::Checkpoint);
        self.stage = match (stage, shape) {
            (Stage::Begin, Shape::Manifest { first_nonce }) => {
                self.next = first_nonce;
                self.current = first_nonce.0.checked_sub(1).map(Nonce);
                Stage::Manifest
            }
            (Stage::Manifest, Shape::Process) => Stage::Process,
            (Stage::Process, Shape::Module { body_bytes }) => module_body(body_bytes),
            (Stage::ModuleBody { left }, Shape::ModuleChunk { bytes }) => {
                module_body(chunk(Kind::ModuleChunk, left, bytes)?)
            }
            (_, Shape::Entry { nonce }) if between => {
                expect_nonce(Kind::Entry, nonce, self.next)?;
                self.next = nonce.next().ok_or(OrderFault::NonceOverflow)?;
                self.current = Some(nonce);
                Stage::Entry
            }
            (_, Shape::Transcript { nonce, bytes }) if after_entry => {
                self.expect_current(Kind::Transcript, nonce)?;
                if bytes == 0 || matches!(stage, Stage::Transcript { full: false }) {
                    return Err(OrderFault::TranscriptSplit);
                }
                Stage::Transcript { full: bytes == CHUNK_BYTES as u64 }
            }
            (_, Shape::Receipt { nonce }) if after_entry => {
                self.expect_current(Kind::Receipt, nonce)?;
                Stage::Receipt
            }
            (_, Shape::Checkpoint { nonce, body_bytes }) if between && !matches!(stage, Stage::Checkpoint) => {
                self.expect_current(Kind::Checkpoint, nonce)?;
                checkpoint_body(body_bytes)
            }
            (Stage::CheckpointBody { left }, Shape::CheckpointChunk { bytes }) => {
                checkpoint_body(chunk(Kind::CheckpointChunk, left, bytes)?)
            }
            (_, Shape::End) if between => Stage::End,
            _ => {
                return Err(OrderFault::Kind { found: shape.kind(), expected: stage.expected() });
            }
        };
        Ok(())
    }

    fn expect_current(&self, kind: Kind, found: Nonce) -> Result<(), OrderFault> {
        match self.current {
            Some(expected) => expect_nonce(kind, found, expected),
            None => Err(OrderFault::Kind { found: kind, expected: "entry 0 or end" }),
        }
    }
}

impl Shape {
    fn kind(self) -> Kind {
        match self {
            Shape::Manifest { .. } => Kind::Manifest,
            Shape::Process => Kind::Process,
            Shape::Module { .. } => Kind::Module,
            Shape::ModuleChunk { .. } => Kind::ModuleChunk,
            Shape::Entry { .. } => Kind::Entry,
            Shape::Transcript { .. } => Kind::Transcript,
            Shape::Receipt { .. } => Kind::Receipt,
            Shape::Checkpoint { .. } => Kind::Checkpoint,
            Shape::CheckpointChunk { .. } => Kind::CheckpointChunk,
            Shape::End => Kind::End,
        }
    }
}

fn module_body(left: u64) -> Stage {
    if left == 0 { Stage::Start } else { Stage::ModuleBody { left } }
}

fn checkpoint_body(left: u64) -> Stage {
    if left == 0 { Stage::Checkpoint } else { Stage::CheckpointBody { left } }
}

/// What is left of a body after a piece of it.
fn chunk(kind: Kind, left: u64, found: u64) -> Result<u64, OrderFault> {
    let expected = left.min(CHUNK_BYTES as u64);
    if found == expected { Ok(left - found) } else { Err(OrderFault::Chunk { kind, found, expected }) }
}

fn expect_nonce(kind: Kind, found: Nonce, expected: Nonce) -> Result<(), OrderFault> {
    if found == expected { Ok(()) } else { Err(OrderFault::Nonce { kind, found, expected }) }
}

//! A saved state: what a bundle keeps so that a run may start in the middle.
//!
//! ```text
//! meta  u8 version · receipt[256] · state root[32] · u64 memory bytes · chain value[32] · u64 timestamp ·
//!       with version 2, of a process with crons: u64 timestamp, u64 block height of the first assignment, both of
//!       the furthest · u32 globals × (u32 index, u8 type, u64 bits) ·
//!       u32 tables × (u32 entries × u32 function index, 0xFFFF_FFFF for none) · host state
//! body  groups that are not all zero, in ascending order: (u32 index, 4096 bytes)
//! ```
//!
//! Not here: trusting it. A run from a saved state proves what follows it, not what led to it; its receipt and state
//! root are checked against the content, so that a saved state at least is what the chain says it is.
//! Invariant: decoding accepts exactly what encoding writes.

use ao_commit::{RECEIPT_BYTES, Receipt};
use ao_kernel::cron::{Course, Moment};
use ao_kernel::guest::Val;
use ao_kernel::{GROUP_BYTES, Registers};
use ao_log::{Assignment, ChainPoint, HashChain, LogVerifier, Nonce, TimestampMs, VerifyOptions};
use ao_wire::{DataItem, Id};

use crate::error::ReplayError;
use crate::session::Session;
use crate::setup::Setup;
use crate::source::{SavedState, Source};

const VERSION: u8 = 1;
const VERSION_WITH_CRONS: u8 = 2;
const GROUP_RECORD_BYTES: usize = 4 + GROUP_BYTES;

struct Meta {
    receipt: Receipt,
    registers: Registers,
    hash_chain: [u8; 32],
    timestamp_ms: u64,
    course: Option<Course>,
    state_root: [u8; 32],
}

/// Saves a session right after the step of `receipt`, whose assignment's item is `assignment`.
///
/// # Errors
/// The host's trouble, or an assignment that is none.
pub fn save(session: &mut Session, receipt: &Receipt, assignment: &[u8]) -> Result<SavedState, ReplayError> {
    let nonce = Nonce(receipt.nonce);
    let item = DataItem::parse(assignment).map_err(|source| ao_log::LogFault::AssignmentItem { nonce, source })?;
    let assignment = Assignment::from_item(&item).map_err(|source| ao_log::LogFault::Assignment { nonce, source })?;
    let (commitment, registers) = session.commit()?;
    let course = session.course;
    let mut meta = vec![if course.is_some() { VERSION_WITH_CRONS } else { VERSION }];
    meta.extend_from_slice(&receipt.encode());
    meta.extend_from_slice(&commitment.state_root);
    meta.extend_from_slice(&registers.memory_bytes.to_le_bytes());
    meta.extend_from_slice(&assignment.hash_chain.0);
    meta.extend_from_slice(&assignment.timestamp.0.to_le_bytes());
    if let Some(Course { origin, reached }) = course {
        let numbers = [origin, reached].map(|at| [at.timestamp_ms, at.block_height]);
        meta.extend(numbers.as_flattened().iter().flat_map(|number| number.to_le_bytes()));
    }
    meta.extend_from_slice(&(registers.globals.len() as u32).to_le_bytes());
    for (index, value) in &registers.globals {
        meta.extend_from_slice(&index.to_le_bytes());
        meta.push(type_code(*value));
        meta.extend_from_slice(&value.as_u64().to_le_bytes());
    }
    meta.extend_from_slice(&(registers.tables.len() as u32).to_le_bytes());
    for table in &registers.tables {
        meta.extend_from_slice(&(table.len() as u32).to_le_bytes());
        meta.extend(table.iter().flat_map(|entry| entry.unwrap_or(u32::MAX).to_le_bytes()));
    }
    meta.extend_from_slice(&registers.host);
    let mut body = Vec::new();
    for (index, group) in session.committed_groups() {
        body.extend_from_slice(&index.to_le_bytes());
        body.extend_from_slice(group);
    }
    Ok(SavedState { nonce, meta, body })
}

/// A session as it was saved; its content must give the state root it was saved with.
///
/// # Errors
/// A saved state that is malformed, of another process, or not what it claims.
pub fn resume(setup: Setup, state: &SavedState) -> Result<Session, ReplayError> {
    let wrong = |what| ReplayError::SavedState { nonce: state.nonce, what };
    let meta = Meta::decode(&state.meta).ok_or(wrong("its description is malformed"))?;
    if meta.receipt.nonce != state.nonce.0 {
        return Err(wrong("its receipt is of another nonce"));
    }
    if meta.receipt.process != setup.process_id() {
        return Err(wrong("its receipt is of another process"));
    }
    if meta.receipt.state_root.is_some_and(|root| root != meta.state_root) {
        return Err(wrong("its receipt has another state root"));
    }
    if meta.course.is_some() != setup.has_crons() {
        return Err(wrong("it and the process do not agree on whether there are crons"));
    }
    if !state.body.len().is_multiple_of(GROUP_RECORD_BYTES) {
        return Err(wrong("its memory ends within a group"));
    }
    let groups = state.body.chunks_exact(GROUP_RECORD_BYTES).map(|record| {
        let (index, group) = record.split_at(4);
        (u32::from_le_bytes(index.try_into().expect("split at 4")), group)
    });
    let mut session = Session::resume(setup, &meta.receipt, meta.course, &meta.registers, groups)?;
    if session.commit()?.0.state_root == meta.state_root {
        Ok(session)
    } else {
        Err(wrong("its content has another root"))
    }
}

/// A verifier that continues the log after a saved state, for logs that do not hold what was before.
///
/// # Errors
/// As [`resume`].
pub(crate) fn continue_log(
    source: &Source,
    options: VerifyOptions,
    state: &SavedState,
) -> Result<LogVerifier, ReplayError> {
    let wrong = ReplayError::SavedState { nonce: state.nonce, what: "its description is malformed" };
    let meta = Meta::decode(&state.meta).ok_or(wrong)?;
    let point = ChainPoint {
        nonce: state.nonce,
        assignment: Id(meta.receipt.assignment_id).into(),
        hash_chain: HashChain(meta.hash_chain),
        timestamp: TimestampMs(meta.timestamp_ms),
    };
    Ok(LogVerifier::resume(&source.process, options, point)?)
}

impl Meta {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let with_crons = match take(&mut rest)? {
            [VERSION] => false,
            [VERSION_WITH_CRONS] => true,
            _ => return None,
        };
        let receipt = Receipt::decode(&take::<RECEIPT_BYTES>(&mut rest)?).ok()?;
        let state_root = take(&mut rest)?;
        let memory_bytes = u64::from_le_bytes(take(&mut rest)?);
        let hash_chain = take(&mut rest)?;
        let timestamp_ms = u64::from_le_bytes(take(&mut rest)?);
        let course = if with_crons {
            let (origin, reached) = (moment(&mut rest)?, moment(&mut rest)?);
            Some(Course { origin, reached })
        } else {
            None
        };
        let count = u32::from_le_bytes(take(&mut rest)?);
        let mut globals = Vec::new();
        for _ in 0..count {
            let index = u32::from_le_bytes(take(&mut rest)?);
            let [code] = take(&mut rest)?;
            globals.push((index, value(code, u64::from_le_bytes(take(&mut rest)?))?));
        }
        let mut tables = Vec::new();
        for _ in 0..u32::from_le_bytes(take(&mut rest)?) {
            let mut table = Vec::new();
            for _ in 0..u32::from_le_bytes(take(&mut rest)?) {
                table.push(Some(u32::from_le_bytes(take(&mut rest)?)).filter(|function| *function != u32::MAX));
            }
            tables.push(table);
        }
        let registers = Registers { globals, tables, host: rest.to_vec(), memory_bytes };
        Some(Self { receipt, registers, hash_chain, timestamp_ms, course, state_root })
    }
}

fn moment(rest: &mut &[u8]) -> Option<Moment> {
    let timestamp_ms = u64::from_le_bytes(take(rest)?);
    Some(Moment { timestamp_ms, block_height: u64::from_le_bytes(take(rest)?) })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*bytes)
}

/// The codes of the WebAssembly binary format.
fn type_code(value: Val) -> u8 {
    match value {
        Val::I32(_) => 0x7F,
        Val::I64(_) => 0x7E,
        Val::F32(_) => 0x7D,
        Val::F64(_) => 0x7C,
    }
}

fn value(code: u8, bits: u64) -> Option<Val> {
    let narrow = u32::try_from(bits).ok();
    match code {
        0x7F => Some(Val::I32(narrow? as i32)),
        0x7E => Some(Val::I64(bits as i64)),
        0x7D => Some(Val::F32(narrow?)),
        0x7C => Some(Val::F64(bits)),
        _ => None,
    }
}

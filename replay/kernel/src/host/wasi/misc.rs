//! Arguments, environment, clocks, waiting; and what is not supported.
//!
//! Not here: files, random numbers (the parent).
//! Invariant: time moves by readings and by waiting.

use super::Job;
use crate::host::files::{Errno, Fail};

const NS_PER_MS: u64 = 1_000_000;
const CLOCKS: u32 = 4;

pub(super) fn nothing(_: &mut Job<'_>) -> Result<(), Fail> {
    Ok(())
}

pub(super) fn unsupported(_: &mut Job<'_>) -> Result<(), Fail> {
    Err(Errno::ENOTSUP.into())
}

/// `args_sizes_get`, `environ_sizes_get`: none.
pub(super) fn no_strings(job: &mut Job<'_>) -> Result<(), Fail> {
    let (count, size) = (job.int(), job.int());
    job.put_u32(count, 0)?;
    Ok(job.put_u32(size, 0)?)
}

/// All four clocks are the one of the state.
fn known_clock(id: u32) -> Result<(), Errno> {
    if id < CLOCKS { Ok(()) } else { Err(Errno::EINVAL) }
}

pub(super) fn clock_resolution(job: &mut Job<'_>) -> Result<(), Fail> {
    let (clock, target) = (job.int(), job.long());
    known_clock(clock)?;
    Ok(job.put_u64(target, NS_PER_MS)?)
}

pub(super) fn clock_time(job: &mut Job<'_>) -> Result<(), Fail> {
    let (clock, _precision, target) = (job.int(), job.long(), job.long());
    known_clock(clock)?;
    let now = job.clock.tick() as u64;
    Ok(job.put_u64(target, now.saturating_mul(NS_PER_MS))?)
}

/// `poll_oneoff`: descriptors are always ready; else the time of the earliest timeout comes at once.
pub(super) fn poll(job: &mut Job<'_>) -> Result<(), Fail> {
    const SUBSCRIPTION: u32 = 48;
    const EVENT: u32 = 32;
    const ABSOLUTE: u16 = 1;
    let (subscriptions, events, count, stored) = (job.int(), job.int(), job.int(), job.int());
    if count == 0 {
        return Err(Errno::EINVAL.into());
    }
    let bytes = count.checked_mul(SUBSCRIPTION).ok_or(Errno::EFAULT)?;
    let subscriptions = job.bytes(subscriptions, bytes)?.to_vec();
    job.bytes(events, count * EVENT)?;
    let word = |of: &[u8], at: usize| of[at..at + 8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let now = job.clock.now_ms().saturating_mul(NS_PER_MS);
    // Nanoseconds until each subscription; descriptors wait for nothing.
    let waits: Vec<u64> = subscriptions
        .chunks_exact(SUBSCRIPTION as usize)
        .map(|it| match (it[8], word(it, 24), u16::from_le_bytes([it[40], it[41]])) {
            (0, timeout, flags) if flags & ABSOLUTE != 0 => timeout.saturating_sub(now),
            (0, timeout, _) => timeout,
            _ => 0,
        })
        .collect();
    let wait = waits.iter().copied().min().unwrap_or(0);
    job.clock.pass(wait.div_ceil(NS_PER_MS));
    let mut ready = 0;
    for (it, _) in subscriptions.chunks_exact(SUBSCRIPTION as usize).zip(waits).filter(|(_, of)| *of <= wait) {
        let mut event = [0; EVENT as usize];
        event[..8].copy_from_slice(&it[..8]);
        event[10] = it[8];
        let fd = i32::from_le_bytes([it[16], it[17], it[18], it[19]]);
        if it[8] != 0 && job.files.device(fd).is_err() {
            event[8] = Errno::EBADF.0 as u8;
        }
        job.put(events + ready * EVENT, &event)?;
        ready += 1;
    }
    Ok(job.put_u32(stored, ready)?)
}

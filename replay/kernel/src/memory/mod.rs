//! The guest's linear memory: where it lives, what was written, and the way back to the last commit.
//!
//! [`Mapping`] is the memory itself, [`Image`] the copy of its last committed content, and a [`DirtyTracker`] names the
//! groups that may differ between the two, so that committing and rolling back cost what was written and not what exists.
//!
//! Not here: hashing of memory (`ao-commit`), the engine's view of a memory (`engine`), persistence of images.
//!
//! Invariant: a tracker only ever narrows where to look. What changed is decided by comparing bytes with the image, so
//! every tracker leads to the same groups, and one that knows nothing is merely slow.

mod frozen;
mod image;
mod mapping;
#[cfg(target_os = "linux")]
mod pagemap;
#[cfg(test)]
mod tests;
mod tracker;
#[cfg(target_os = "linux")]
mod uapi;

use std::io;
use std::ops::Range;

pub(crate) use frozen::{Lease, Seen};
pub use image::{CommitStats, Image, RestoreStats};
pub use mapping::{Epoch, Mapping, Reservation};
#[cfg(target_os = "linux")]
pub use pagemap::PagemapScan;
pub use tracker::{DirtyTracker, MemcmpTracker, Unavailable, best_tracker};

/// Bytes of a group: the unit in which memory is compared, copied and hashed.
///
/// Equal to the page of x86-64 and of most aarch64 kernels. It is part of no format: the memory root is the same for any value.
pub const GROUP_BYTES: usize = 4096;

/// Bytes of a WebAssembly page, which every memory length is a multiple of.
pub const WASM_PAGE_BYTES: u64 = 65_536;

/// Consecutive groups by index: group `i` is bytes `i * GROUP_BYTES..` of linear memory.
pub type GroupRange = Range<u32>;

/// The host could not provide or change a guest memory. Never a guest's fault, and never part of a root.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// A length that is no multiple of a WebAssembly page.
    #[error("memory length {bytes} is not a multiple of 65536")]
    Unaligned {
        /// The length asked for.
        bytes: u64,
    },
    /// More than the reservation holds; a guest's own limits are checked before this.
    #[error("memory of {bytes} bytes exceeds its reservation of {bytes_max}")]
    AboveMaximum {
        /// The length asked for.
        bytes: u64,
        /// The most this reservation can hold.
        bytes_max: u64,
    },
    /// `grow_to` below, or `shrink_to` above, the present length.
    #[error("memory of {from} bytes cannot be resized to {to} in this direction")]
    WrongDirection {
        /// The present length.
        from: u64,
        /// The length asked for.
        to: u64,
    },
    /// No address space for the reservation.
    #[error("cannot reserve {bytes} bytes of address space")]
    Reserve {
        /// Size of the reservation with its guard.
        bytes: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The access rights or the backing of a part could not be changed.
    #[error("cannot {action} {bytes} bytes at offset {offset}")]
    Remap {
        /// What was tried.
        action: &'static str,
        /// First byte concerned.
        offset: u64,
        /// Number of bytes concerned.
        bytes: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No file to show a committed memory from.
    #[error("cannot make a file of {bytes} bytes in memory")]
    File {
        /// Its size.
        bytes: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A rollback was asked of an image that holds no commit.
    #[error("nothing was committed to return to")]
    NothingCommitted,
}

/// Appends `range`, joining it to the last one where they touch. Ranges must come in ascending order.
fn push_range(ranges: &mut Vec<GroupRange>, range: GroupRange) {
    match ranges.last_mut() {
        Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
        _ => ranges.push(range),
    }
}

/// Number of groups of a memory of `bytes`, a multiple of a WebAssembly page.
pub(crate) fn groups_in(bytes: u64) -> u32 {
    (bytes / GROUP_BYTES as u64) as u32
}

/// The bytes of group `index`.
fn group(memory: &[u8], index: u32) -> &[u8] {
    let start = index as usize * GROUP_BYTES;
    &memory[start..start + GROUP_BYTES]
}

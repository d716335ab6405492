//! The tracker that has the kernel note which pages were written.
//!
//! Not here: the system calls (`uapi`), the comparison (`image`).
//!
//! Invariant: a page counts as written unless it carries the write-protect mark, which only `arm` sets, only on pages that
//! equal the image, and which the first write removes. So whatever is forgotten, fails or was never registered makes
//! pages *count as written*; nothing can make a written page count as clean.
//!
//! A page that was never touched has no mark and no contents: it is not reported, and reads as the zeros it had before.
//! Pages that lose their contents by shrinking fall into the same gap; the mapping's low-water mark covers those.

use std::io;

use super::tracker::{everything, touched};
use super::uapi::{Match, PRESENT, Pagemap, SWAPPED, Userfaultfd, WRITTEN};
use super::{DirtyTracker, GROUP_BYTES, GroupRange, Mapping, Reservation, Unavailable, push_range};

/// How many commits in a row a written page must be found unchanged before it is watched again.
///
/// A page written between most commits costs a fault (1.2 µs) for each time it is watched, and a comparison (0.2 µs) for
/// each commit in which it is not.
const COLD_AFTER: u8 = 8;

/// Written pages that exist. PRESENT alone would miss those swapped out since; WRITTEN alone also names every page that was
/// never touched, of which a fresh memory mostly consists.
const WRITTEN_CONTENTS: Match = Match { all: WRITTEN, any: PRESENT | SWAPPED, none: 0 };

/// Tracks pages with PAGEMAP_SCAN over userfaultfd's asynchronous write protection (Linux 6.7).
///
/// Pages written lately stay writable and are compared at each commit; a page that proves cold is write-protected
/// until its next write. Keep one for each memory: the ages of its pages are kept here.
#[derive(Debug)]
pub struct PagemapScan {
    /// By group: commits in a row that found it written before, and unchanged.
    idle: Vec<u8>,
    cold_after: u8,
}

impl PagemapScan {
    /// A tracker for one memory. The first call in a process opens the descriptors and tries them out.
    ///
    /// # Errors
    /// What this host lacks.
    pub fn new() -> Result<Self, Unavailable> {
        let bytes = super::mapping::page_bytes();
        if bytes != GROUP_BYTES {
            return Err(Unavailable::PageSize { bytes });
        }
        Userfaultfd::get().map_err(|source| Unavailable::Userfaultfd(copy(source)))?;
        Pagemap::get().map_err(|source| Unavailable::Pagemap(copy(source)))?;
        self_test()?;
        Ok(Self { idle: Vec::new(), cold_after: COLD_AFTER })
    }

    /// With another patience, so that tests reach the protected state soon.
    #[cfg(test)]
    pub(super) fn with_cold_after(commits: u8) -> Result<Self, Unavailable> {
        Ok(Self { cold_after: commits, ..Self::new()? })
    }

    /// Counts an unchanged group; true when it has just become cold.
    fn cools(&mut self, group: u32) -> bool {
        let idle = &mut self.idle[group as usize];
        *idle += 1;
        let cold = *idle >= self.cold_after;
        if cold {
            *idle = 0;
        }
        cold
    }
}

impl DirtyTracker for PagemapScan {
    fn name(&self) -> &'static str {
        "pagemap-scan"
    }

    fn populated(&mut self, memory: &Mapping, out: &mut Vec<GroupRange>) {
        if touched(memory, out).is_err() {
            everything(memory, out);
        }
    }

    fn collect(&mut self, memory: &Mapping, out: &mut Vec<GroupRange>) {
        if scan_groups(memory, WRITTEN_CONTENTS, out).is_err() {
            everything(memory, out);
        }
    }

    fn arm(&mut self, memory: &Mapping, changed: &[GroupRange], unchanged: &[GroupRange]) {
        let groups = super::groups_in(memory.len()) as usize;
        if self.idle.len() < groups {
            self.idle.resize(groups, 0);
        }
        for range in changed {
            self.idle[range.start as usize..range.end as usize].fill(0);
        }
        let mut cold = Vec::new();
        for group in unchanged.iter().cloned().flatten() {
            if self.cools(group) {
                push_range(&mut cold, group..group + 1);
            }
        }
        for range in cold {
            // A range left unprotected stays a candidate, so a failure costs time and nothing else.
            if watch(memory, range).is_err() {
                break;
            }
        }
    }
}

/// Write-protects the written pages of `range`, all of which equal the image.
fn watch(memory: &Mapping, range: GroupRange) -> io::Result<()> {
    let start = address(memory, range.start);
    let end = address(memory, range.end);
    let pagemap = Pagemap::get().map_err(copy)?;
    match pagemap.protect(start, end) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            // Not registered yet. The whole reservation at once, so that growth needs nothing more.
            let bytes = memory.reservation().addressable_bytes;
            Userfaultfd::get().map_err(copy)?.register(memory.base() as u64, bytes)?;
            pagemap.protect(start, end)
        }
        done => done,
    }
}

/// The groups of `memory` whose pages match.
///
/// # Errors
/// As [`Pagemap::scan`]; `out` is then incomplete.
pub(super) fn scan_groups(memory: &Mapping, wanted: Match, out: &mut Vec<GroupRange>) -> io::Result<()> {
    out.clear();
    if super::mapping::page_bytes() != GROUP_BYTES {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    let base = memory.base() as u64;
    let group = |address: u64| ((address - base) / GROUP_BYTES as u64) as u32;
    Pagemap::get().map_err(copy)?.scan(base, base + memory.len(), wanted, &mut |region| {
        push_range(out, group(region.start)..group(region.end));
    })
}

fn address(memory: &Mapping, group: u32) -> u64 {
    memory.base() as u64 + u64::from(group) * GROUP_BYTES as u64
}

/// Another owner of the same operating-system error.
fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// Kernels differ, and some accept such calls without acting on them: see a written page reported, protected, silent,
/// and reported again.
fn self_test() -> Result<(), Unavailable> {
    let reservation = Reservation::unguarded(super::WASM_PAGE_BYTES);
    let mut memory = Mapping::with_reservation(super::WASM_PAGE_BYTES, super::WASM_PAGE_BYTES, reservation)
        .map_err(|_| Unavailable::SelfTest)?;
    let written = |memory: &Mapping| {
        let mut out = Vec::new();
        scan_groups(memory, WRITTEN_CONTENTS, &mut out).map(|()| out).map_err(Unavailable::Pagemap)
    };
    memory.as_mut_slice()[5 * GROUP_BYTES] = 1;
    memory.as_mut_slice()[7 * GROUP_BYTES] = 1;
    let before = written(&memory)?;
    watch(&memory, 0..16).map_err(Unavailable::Userfaultfd)?;
    let silent = written(&memory)?;
    memory.as_mut_slice()[5 * GROUP_BYTES] = 2;
    memory.as_mut_slice()[9 * GROUP_BYTES] = 1;
    let after = written(&memory)?;
    let expected: [&[GroupRange]; 3] = [&[5..6, 7..8], &[], &[5..6, 9..10]];
    if [&before[..], &silent, &after] == expected { Ok(()) } else { Err(Unavailable::SelfTest) }
}

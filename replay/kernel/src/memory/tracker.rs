//! Which groups of a memory need a look: the trait, and the tracker that needs no help from the kernel.
//!
//! Not here: the comparison itself (`image`), the tracker with kernel help (`pagemap`).
//!
//! Invariant: a tracker may name too many groups but never too few.

use std::io;

#[cfg(target_os = "linux")]
use super::GROUP_BYTES;
use super::{GroupRange, Mapping, groups_in};

/// Narrows down where a memory may differ from its image. Nothing runs the guest during these calls.
///
/// Ranges come out in ascending order, do not touch, and end at the memory's length; `out` is empty on entry.
pub trait DirtyTracker: Send {
    /// What to call it in logs.
    fn name(&self) -> &'static str;

    /// Every group that may hold anything but zeros, except those that lost their contents by shrinking.
    fn populated(&mut self, memory: &Mapping, out: &mut Vec<GroupRange>);

    /// Every group that may have been written since it was last named in `unchanged` to [`DirtyTracker::arm`].
    fn collect(&mut self, memory: &Mapping, out: &mut Vec<GroupRange>);

    /// Learns the verdict on groups it named: those whose contents differed from the image, and those that equalled it
    /// and may therefore be watched for the next write. Both ascend; together they are what was looked at.
    fn arm(&mut self, memory: &Mapping, changed: &[GroupRange], unchanged: &[GroupRange]);
}

/// The tracker that has every group compared; portable, at the speed of memory.
///
/// On Linux it leaves out pages that were never touched, if the kernel can name them.
#[derive(Debug)]
pub struct MemcmpTracker {
    skip_untouched: bool,
}

impl MemcmpTracker {
    /// Leaves out untouched pages where the system can tell.
    pub fn new() -> Self {
        Self { skip_untouched: true }
    }

    /// Leaves out nothing and asks the system nothing: the yardstick for other trackers.
    pub fn exhaustive() -> Self {
        Self { skip_untouched: false }
    }
}

impl Default for MemcmpTracker {
    fn default() -> Self {
        Self::new()
    }
}

impl DirtyTracker for MemcmpTracker {
    fn name(&self) -> &'static str {
        if self.skip_untouched { "memcmp" } else { "memcmp-exhaustive" }
    }

    fn populated(&mut self, memory: &Mapping, out: &mut Vec<GroupRange>) {
        if !self.skip_untouched || touched(memory, out).is_err() {
            everything(memory, out);
        }
    }

    fn collect(&mut self, memory: &Mapping, out: &mut Vec<GroupRange>) {
        self.populated(memory, out);
    }

    fn arm(&mut self, _: &Mapping, _: &[GroupRange], _: &[GroupRange]) {}
}

/// Names all of `memory`.
pub(super) fn everything(memory: &Mapping, out: &mut Vec<GroupRange>) {
    out.clear();
    if !memory.is_empty() {
        out.push(0..groups_in(memory.len()));
    }
}

/// The groups whose page was ever read or written.
#[cfg(target_os = "linux")]
pub(super) fn touched(memory: &Mapping, out: &mut Vec<GroupRange>) -> io::Result<()> {
    use super::uapi::{Match, PRESENT, SWAPPED};
    let wanted = Match { any: PRESENT | SWAPPED, ..Match::default() };
    super::pagemap::scan_groups(memory, wanted, out)
}

#[cfg(not(target_os = "linux"))]
fn touched(_: &Mapping, _: &mut Vec<GroupRange>) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// The groups of a projected memory that are its own: written, and not the file's since.
#[cfg(target_os = "linux")]
pub(super) fn own(memory: &Mapping, out: &mut Vec<GroupRange>) -> io::Result<()> {
    use super::uapi::{FILE, Match, PRESENT, SWAPPED};
    super::pagemap::scan_groups(memory, Match { any: PRESENT | SWAPPED, none: FILE, ..Match::default() }, out)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn own(_: &Mapping, _: &mut Vec<GroupRange>) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// Why the kernel does not track pages here. Results are the same without; commits take longer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// Only Linux has it.
    #[error("page tracking needs Linux 6.7 or newer")]
    NotLinux,
    /// Pages and groups must coincide.
    #[error("pages of {bytes} bytes, where page tracking needs 4096")]
    PageSize {
        /// The page size of this host.
        bytes: usize,
    },
    /// The kernel is too old, or a sandbox filter forbids the call.
    #[error("userfaultfd with asynchronous write protection was refused")]
    Userfaultfd(#[source] io::Error),
    /// The page table cannot be scanned.
    #[error("PAGEMAP_SCAN was refused")]
    Pagemap(#[source] io::Error),
    /// The calls succeed but a trial write was not reported as it should be.
    #[error("page tracking does not report what a trial run wrote")]
    SelfTest,
}

/// The fastest tracker this host has, and if that is not page tracking, why.
#[cfg(target_os = "linux")]
pub fn best_tracker() -> (Box<dyn DirtyTracker>, Option<Unavailable>) {
    let bytes = super::mapping::page_bytes();
    if bytes != GROUP_BYTES {
        return (Box::new(MemcmpTracker::exhaustive()), Some(Unavailable::PageSize { bytes }));
    }
    match super::PagemapScan::new() {
        Ok(tracker) => (Box::new(tracker), None),
        Err(why) => (Box::new(MemcmpTracker::new()), Some(why)),
    }
}

/// The fastest tracker this host has, and if that is not page tracking, why.
#[cfg(not(target_os = "linux"))]
pub fn best_tracker() -> (Box<dyn DirtyTracker>, Option<Unavailable>) {
    (Box::new(MemcmpTracker::new()), Some(Unavailable::NotLinux))
}

//! The last committed content of a memory: what the next commit is compared with, and what a failed step returns to.
//!
//! Not here: the search for candidates (`tracker`), hashing of what changed (`ao-commit`).
//!
//! Invariant: after `commit` and after `restore`, image and memory agree in length and in every byte.

use std::sync::Arc;

use super::frozen::{Frozen, Lease};
use super::mapping::Epoch;
use super::{DirtyTracker, GROUP_BYTES, GroupRange, Mapping, MemoryError, Reservation, group, groups_in, push_range};

const ZERO_GROUP: [u8; GROUP_BYTES] = [0; GROUP_BYTES];

/// What a commit did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitStats {
    /// Groups compared.
    pub candidates: u64,
    /// Groups that differed and were copied.
    pub changed_groups: u64,
    /// Bytes copied.
    pub bytes: u64,
}

/// What a rollback did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreStats {
    /// Groups compared.
    pub candidates: u64,
    /// Groups that differed and were put back.
    pub restored_groups: u64,
}

/// A copy of a memory as of its last commit. Groups of zeros take no space in it.
#[derive(Debug)]
pub struct Image {
    shadow: Mapping,
    /// The file the shadow lies in, once it was leased.
    frozen: Option<Arc<Frozen>>,
    held: Bitmap,
    epoch: Option<Epoch>,
    // Kept between calls for their capacity only.
    candidates: Vec<GroupRange>,
    changed: Vec<GroupRange>,
    unchanged: Vec<GroupRange>,
}

impl Image {
    /// An image for memories of up to `bytes_max`, holding nothing yet.
    ///
    /// # Errors
    /// As [`Mapping::new`].
    pub fn new(bytes_max: u64) -> Result<Self, MemoryError> {
        Ok(Self {
            shadow: private_shadow(bytes_max)?,
            frozen: None,
            held: Bitmap::default(),
            epoch: None,
            candidates: Vec::new(),
            changed: Vec::new(),
            unchanged: Vec::new(),
        })
    }

    /// Length of the memory at the last commit.
    pub fn len(&self) -> u64 {
        self.shadow.len()
    }

    /// Whether that memory had no bytes, or nothing was committed.
    pub fn is_empty(&self) -> bool {
        self.shadow.is_empty()
    }

    /// Bytes of memory it takes.
    pub fn held_bytes(&self) -> u64 {
        self.held.words.iter().map(|word| u64::from(word.count_ones())).sum::<u64>() * GROUP_BYTES as u64
    }

    /// Lets others show the committed content in memories of their own, until the lease is dropped. The first lease
    /// copies the image once; further ones cost nothing.
    ///
    /// # Errors
    /// The host has no memory for it.
    pub(crate) fn lease(&mut self) -> Result<Lease, MemoryError> {
        if self.frozen.is_none() {
            let bytes_max = self.shadow.bytes_max();
            let frozen = Frozen::new(bytes_max)?;
            self.move_to(Mapping::shared(frozen.file(), self.len(), bytes_max)?);
            self.frozen = Some(frozen);
        }
        Ok(Lease::new(self.frozen.as_ref().expect("made just above")))
    }

    /// Leaves a leased file to those who hold it on.
    fn reclaim(&mut self) -> Result<(), MemoryError> {
        let Some(frozen) = &self.frozen else { return Ok(()) };
        if frozen.is_free() {
            frozen.will_change();
            return Ok(());
        }
        let mut shadow = private_shadow(self.shadow.bytes_max())?;
        shadow.grow_to(self.len())?;
        self.move_to(shadow);
        self.frozen = None;
        Ok(())
    }

    /// Takes an empty shadow of the same length into use.
    fn move_to(&mut self, mut shadow: Mapping) {
        for index in self.held.iter() {
            let start = index as usize * GROUP_BYTES;
            let content = group(self.shadow.as_slice(), index);
            shadow.as_mut_slice()[start..start + GROUP_BYTES].copy_from_slice(content);
        }
        self.shadow = shadow;
    }

    /// The committed groups that are not all zero, in ascending order.
    pub fn groups(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.held.iter().map(|index| (index, group(self.shadow.as_slice(), index)))
    }

    /// Takes the memory as it is now for the committed state and reports each group whose contents changed since the last
    /// commit, in ascending order. Groups above the new length are not reported.
    ///
    /// Works on any memory with any tracker; only if both are those of the last commit is it cheap.
    ///
    /// # Errors
    /// The host has no memory for the copy. The image then holds no commit.
    pub fn commit(
        &mut self,
        memory: &Mapping,
        tracker: &mut dyn DirtyTracker,
        changed: &mut dyn FnMut(u32, &[u8]),
    ) -> Result<CommitStats, MemoryError> {
        self.reclaim()?;
        self.resize(memory.len())?;
        self.find_candidates(memory, tracker);
        self.epoch = None;
        self.changed.clear();
        self.unchanged.clear();
        let mut stats = CommitStats::default();
        let contents = memory.as_slice();
        let candidates = std::mem::take(&mut self.candidates);
        for index in candidates.iter().cloned().flatten() {
            let now = group(contents, index);
            stats.candidates += 1;
            if self.agrees(index, now) {
                push_range(&mut self.unchanged, index..index + 1);
                continue;
            }
            self.store(index, now)?;
            push_range(&mut self.changed, index..index + 1);
            stats.changed_groups += 1;
            changed(index, now);
        }
        self.candidates = candidates;
        stats.bytes = stats.changed_groups * GROUP_BYTES as u64;
        tracker.arm(memory, &self.changed, &self.unchanged);
        self.epoch = Some(memory.begin_epoch());
        Ok(stats)
    }

    /// Makes a memory what it was at the last commit, in length and content: rollback of the memory committed last, or
    /// a copy into another one.
    ///
    /// # Errors
    /// Nothing was committed; or the host could not resize the memory, which is then in no defined state.
    pub fn restore(
        &mut self,
        memory: &mut Mapping,
        tracker: &mut dyn DirtyTracker,
    ) -> Result<RestoreStats, MemoryError> {
        if self.epoch.is_none() {
            return Err(MemoryError::NothingCommitted);
        }
        if memory.len() > self.len() {
            memory.shrink_to(self.len())?;
        } else {
            memory.grow_to(self.len())?;
        }
        self.find_candidates(memory, tracker);
        let mut stats = RestoreStats::default();
        let mut cleared = Vec::new();
        for index in self.candidates.iter().cloned().flatten() {
            stats.candidates += 1;
            if self.agrees(index, group(memory.as_slice(), index)) {
                continue;
            }
            stats.restored_groups += 1;
            if self.held.contains(index) {
                let start = index as usize * GROUP_BYTES;
                let content = group(self.shadow.as_slice(), index);
                memory.as_mut_slice()[start..start + GROUP_BYTES].copy_from_slice(content);
            } else {
                push_range(&mut cleared, index..index + 1);
            }
        }
        for range in cleared {
            memory.zero_groups(range)?;
        }
        Ok(stats)
    }

    /// Whether `content` is what group `index` held at the last commit.
    fn agrees(&self, index: u32, content: &[u8]) -> bool {
        if self.held.contains(index) { content == group(self.shadow.as_slice(), index) } else { content == ZERO_GROUP }
    }

    fn store(&mut self, index: u32, content: &[u8]) -> Result<(), MemoryError> {
        if content == ZERO_GROUP {
            self.held.remove(index);
            return self.shadow.zero_groups(index..index + 1);
        }
        self.held.insert(index);
        let start = index as usize * GROUP_BYTES;
        self.shadow.as_mut_slice()[start..start + GROUP_BYTES].copy_from_slice(content);
        Ok(())
    }

    fn resize(&mut self, bytes: u64) -> Result<(), MemoryError> {
        if bytes < self.len() {
            self.held.truncate(groups_in(bytes));
            return self.shadow.shrink_to(bytes);
        }
        self.shadow.grow_to(bytes)
    }

    /// Fills `candidates` with every group in which memory and image, of equal length, may differ.
    fn find_candidates(&mut self, memory: &Mapping, tracker: &mut dyn DirtyTracker) {
        self.candidates.clear();
        // Another memory, or one that another image was compared with since: what was written since *our* commit is
        // unknown. But a difference needs a side that is not zero.
        let ours = self.epoch == Some(memory.epoch());
        let lost_from = if ours {
            tracker.collect(memory, &mut self.candidates);
            groups_in(memory.low_water())
        } else {
            tracker.populated(memory, &mut self.candidates);
            0
        };
        // Where the memory was shrunk it became zero unseen: look at all that the image holds there.
        let before = self.candidates.len();
        for index in self.held.iter_from(lost_from) {
            push_range_after(&mut self.candidates, before, index);
        }
        if self.candidates.len() > before {
            self.candidates.sort_unstable_by_key(|range| range.start);
            let mut joined = Vec::with_capacity(self.candidates.len());
            self.candidates.drain(..).for_each(|range| push_range(&mut joined, range));
            self.candidates = joined;
        }
    }
}

fn private_shadow(bytes_max: u64) -> Result<Mapping, MemoryError> {
    Mapping::with_reservation(0, bytes_max, Reservation::unguarded(bytes_max))
}

/// Appends one group to the run that starts at `ranges[from]`, which ascends independently of what is before it.
fn push_range_after(ranges: &mut Vec<GroupRange>, from: usize, index: u32) {
    match ranges.get_mut(from..).and_then(<[_]>::last_mut) {
        Some(last) if last.end == index => last.end += 1,
        _ => ranges.push(index..index + 1),
    }
}

/// A growing set of group indexes.
#[derive(Debug, Default)]
struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    fn contains(&self, index: u32) -> bool {
        self.words.get(index as usize / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    fn insert(&mut self, index: u32) {
        let word = index as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (index % 64);
    }

    fn remove(&mut self, index: u32) {
        if let Some(word) = self.words.get_mut(index as usize / 64) {
            *word &= !(1 << (index % 64));
        }
    }

    /// Removes every index from `end` on.
    fn truncate(&mut self, end: u32) {
        self.words.truncate(end.div_ceil(64) as usize);
        if let Some(word) = self.words.get_mut(end as usize / 64) {
            *word &= (1 << (end % 64)) - 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        self.iter_from(0)
    }

    fn iter_from(&self, start: u32) -> impl Iterator<Item = u32> {
        let first = start as usize / 64;
        self.words.iter().enumerate().skip(first).flat_map(move |(at, &word)| {
            let word = if at == first { word & (u64::MAX << (start % 64)) } else { word };
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                rest &= rest.wrapping_sub(1);
                (bit < 64).then_some(at as u32 * 64 + bit)
            })
        })
    }
}

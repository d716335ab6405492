//! A linear memory at a fixed address: one reservation of address space, of which a prefix is accessible.
//!
//! Not here: what was written (`tracker`), what it is compared with (`image`).
//!
//! Invariant: bytes below `len` are readable and writable, everything above faults; bytes that become accessible, again
//! or for the first time, are zero; the base address never changes.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{GROUP_BYTES, GroupRange, MemoryError, WASM_PAGE_BYTES, groups_in, tracker};

/// Pages of its own that a projected memory keeps for its next use.
const KEPT_BYTES_MAX: u64 = 16 << 20;

/// How much address space a memory takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Bytes that may become accessible. Generated code omits bounds checks only if this is 4 GiB.
    pub addressable_bytes: u64,
    /// Inaccessible bytes behind them, for the constant offsets of loads and stores.
    pub guard_bytes: u64,
}

impl Reservation {
    /// Every 32-bit address, and 2 GiB of guard for the offsets compiled into accesses.
    pub const WASM32: Self = Self { addressable_bytes: 1 << 32, guard_bytes: 1 << 31 };

    /// Just `bytes`, without a guard: for memories that only the host touches.
    pub const fn unguarded(bytes: u64) -> Self {
        Self { addressable_bytes: bytes, guard_bytes: 0 }
    }
}

/// Names the moment at which a memory was last compared with an image. No two are equal within a program run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(u64);

static NEXT_EPOCH: AtomicU64 = AtomicU64::new(1);

/// A guest's linear memory.
///
/// # Limits
/// A memory and its image take 10 GiB of address space and up to four kernel areas (`vm.max_map_count`), so some twelve
/// thousand fit in a 47-bit address space. Only touched pages take memory.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    reservation: Reservation,
    len: u64,
    bytes_max: u64,
    /// Whether the bytes are those of a file that other memories show too.
    shared: bool,
    epoch: AtomicU64,
    low_water: AtomicU64,
}

// SAFETY: the mapping owns its address range; nothing about it is bound to a thread.
unsafe impl Send for Mapping {}
// SAFETY: through `&self` the contents can only be read, and the interior fields are atomic. Whoever writes through
// the raw `base` (generated code) needs exclusive access by its own contract.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserves the address space of a wasm32 memory and makes its first `initial_bytes` accessible, all zero.
    ///
    /// # Limits
    /// Lengths are multiples of 64 KiB; `bytes_max` is at most 4 GiB.
    ///
    /// # Errors
    /// A length out of these limits, or no address space left.
    pub fn new(initial_bytes: u64, bytes_max: u64) -> Result<Self, MemoryError> {
        Self::with_reservation(initial_bytes, bytes_max, Reservation::WASM32)
    }

    /// As [`Mapping::new`], with another amount of address space.
    ///
    /// # Errors
    /// As [`Mapping::new`]; `bytes_max` must not exceed the addressable part.
    pub fn with_reservation(initial_bytes: u64, bytes_max: u64, reservation: Reservation) -> Result<Self, MemoryError> {
        check_aligned(bytes_max)?;
        check_aligned(reservation.addressable_bytes)?;
        let addressable = reservation.addressable_bytes.min(Reservation::WASM32.addressable_bytes);
        if bytes_max > addressable {
            return Err(MemoryError::AboveMaximum { bytes: bytes_max, bytes_max: addressable });
        }
        let bytes = total_bytes(reservation);
        let base = reserve(bytes as usize).map_err(|source| MemoryError::Reserve { bytes, source })?;
        let (epoch, low_water) = (AtomicU64::new(0), AtomicU64::new(0));
        let mut mapping = Self { base, reservation, len: 0, bytes_max, shared: false, epoch, low_water };
        mapping.grow_to(initial_bytes)?;
        Ok(mapping)
    }

    /// A memory whose bytes are those of `file`, which has `bytes_max` of them: what is written here is written there.
    ///
    /// # Errors
    /// As [`Mapping::new`].
    pub(super) fn shared(file: &File, initial_bytes: u64, bytes_max: u64) -> Result<Self, MemoryError> {
        let mut mapping = Self::with_reservation(0, bytes_max, Reservation::unguarded(bytes_max))?;
        mapping.map_file(file, libc::MAP_SHARED)?;
        mapping.shared = true;
        mapping.grow_to(initial_bytes)?;
        Ok(mapping)
    }

    /// Makes this memory what the file holds. What is written here stays here; what was not written follows the file.
    ///
    /// # Errors
    /// The system refuses, and the memory is in no defined state.
    pub(crate) fn project(&mut self, file: &File) -> Result<(), MemoryError> {
        self.map_file(file, libc::MAP_PRIVATE)?;
        self.protect(0, self.len, libc::PROT_READ | libc::PROT_WRITE, "make accessible")
    }

    /// Makes this memory, projected on `file`, what the file holds now, whatever was written here. Pages of its own are
    /// written over and kept, since having them made by a fault again costs far more; with too many of them, or if the
    /// system can't tell which they are, all are given back. Says how many bytes it keeps.
    ///
    /// # Errors
    /// The file cannot be read, and the memory is in no defined state; or the system refuses.
    pub(crate) fn take_back(&mut self, file: &File) -> Result<u64, MemoryError> {
        let mut own = Vec::new();
        let known = tracker::own(self, &mut own).is_ok();
        let kept = own.iter().map(|range| u64::from(range.end - range.start)).sum::<u64>() * GROUP_BYTES as u64;
        if !known || kept > KEPT_BYTES_MAX {
            return self.discard(0, self.len).map(|()| 0);
        }
        for range in own {
            let (offset, end) = (range.start as usize * GROUP_BYTES, range.end as usize * GROUP_BYTES);
            let read = file.read_exact_at(&mut self.as_mut_slice()[offset..end], offset as u64);
            read.map_err(|source| MemoryError::File { bytes: self.bytes_max, source })?;
        }
        Ok(kept)
    }

    fn map_file(&mut self, file: &File, kind: libc::c_int) -> Result<(), MemoryError> {
        let bytes = self.bytes_max;
        if bytes == 0 {
            return Ok(());
        }
        let (flags, place) = (kind | libc::MAP_FIXED | libc::MAP_NORESERVE, self.base.as_ptr().cast());
        // SAFETY: replaces pages of our own reservation (bytes_max <= addressable) that no slice borrows (`&mut self`),
        // at the same address; they are inaccessible until `grow_to`.
        let mapped = unsafe { libc::mmap(place, bytes as usize, libc::PROT_NONE, flags, file.as_raw_fd(), 0) };
        if mapped == libc::MAP_FAILED {
            let source = io::Error::last_os_error();
            return Err(MemoryError::Remap { action: "map a file over", offset: 0, bytes, source });
        }
        advise(place, bytes as usize);
        Ok(())
    }

    /// The address of byte 0; the same for the life of the mapping.
    pub fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// The accessible bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no byte is accessible.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most bytes this memory may grow to.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// The address space taken.
    pub fn reservation(&self) -> Reservation {
        self.reservation
    }

    /// Makes the bytes up to `bytes` accessible; the new ones are zero.
    ///
    /// # Errors
    /// A length below the present one, unaligned or above the maximum; or the system has no memory to promise.
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), MemoryError> {
        check_aligned(bytes)?;
        if bytes < self.len {
            return Err(MemoryError::WrongDirection { from: self.len, to: bytes });
        }
        if bytes > self.bytes_max {
            return Err(MemoryError::AboveMaximum { bytes, bytes_max: self.bytes_max });
        }
        self.protect(self.len, bytes - self.len, libc::PROT_READ | libc::PROT_WRITE, "make accessible")?;
        self.len = bytes;
        Ok(())
    }

    /// Gives the bytes from `bytes` on back to the system; they are zero if they become accessible again.
    ///
    /// # Errors
    /// A length above the present one or unaligned; or the system refuses.
    pub fn shrink_to(&mut self, bytes: u64) -> Result<(), MemoryError> {
        check_aligned(bytes)?;
        if bytes > self.len {
            return Err(MemoryError::WrongDirection { from: self.len, to: bytes });
        }
        // Noted before the change: a failure half way must not hide that contents were lost.
        self.low_water.fetch_min(bytes, Ordering::Relaxed);
        let rest = self.len - bytes;
        self.discard(bytes, rest)?;
        self.protect(bytes, rest, libc::PROT_NONE, "make inaccessible")?;
        self.len = bytes;
        Ok(())
    }

    /// The accessible bytes. Nothing may run the guest while the slice lives.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `base..base + len` is one live, readable mapping and every byte of it is initialised (zero at first).
        // It stays until `self` is dropped or resized, both of which need `&mut self`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len as usize) }
    }

    /// The accessible bytes, writable. Writes are seen by every tracker, as the guest's are.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and writable; `&mut self` makes the slice the only view.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len as usize) }
    }

    /// The comparison with an image that happened last; epoch 0 if none did.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Relaxed))
    }

    /// Notes that an image now equals this memory. Epochs of different memories differ, so an image recognises its own.
    pub(super) fn begin_epoch(&self) -> Epoch {
        let epoch = NEXT_EPOCH.fetch_add(1, Ordering::Relaxed);
        self.epoch.store(epoch, Ordering::Relaxed);
        self.low_water.store(self.len, Ordering::Relaxed);
        Epoch(epoch)
    }

    /// The smallest length in this epoch: groups above it lost their contents without being written.
    pub(super) fn low_water(&self) -> u64 {
        self.low_water.load(Ordering::Relaxed)
    }

    /// Makes accessible groups zero and gives their pages back. No tracker sees it: the caller knows that they ought to be zero.
    pub(crate) fn zero_groups(&mut self, groups: GroupRange) -> Result<(), MemoryError> {
        let bytes = u64::from(groups.end - groups.start) * GROUP_BYTES as u64;
        let offset = u64::from(groups.start) * GROUP_BYTES as u64;
        debug_assert!(groups.end <= groups_in(self.len));
        if page_bytes() == GROUP_BYTES {
            return self.discard(offset, bytes);
        }
        self.as_mut_slice()[offset as usize..(offset + bytes) as usize].fill(0);
        Ok(())
    }

    fn protect(&self, offset: u64, bytes: u64, rights: libc::c_int, action: &'static str) -> Result<(), MemoryError> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the range lies in our own reservation (offset + bytes <= bytes_max <= addressable), is page-aligned
        // because lengths are multiples of 64 KiB, and no slice into it lives: all callers hold `&mut self`.
        let code = unsafe { libc::mprotect(self.base.as_ptr().add(offset as usize).cast(), bytes as usize, rights) };
        check(code).map_err(|source| MemoryError::Remap { action, offset, bytes, source })
    }

    /// Drops the pages of an accessible, page-aligned range; it reads as zero afterwards.
    fn discard(&mut self, offset: u64, bytes: u64) -> Result<(), MemoryError> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the range lies in our own reservation and no slice into it lives (`&mut self`). Dropped pages come back
        // as those of the file a private mapping shows, or else as zero pages; either are valid bytes.
        let code = unsafe { drop_pages(self.base.as_ptr().add(offset as usize), bytes as usize, self.shared) };
        check(code).map_err(|source| MemoryError::Remap { action: "discard", offset, bytes, source })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `reserve` returned, unmapped once; no slice outlives `self`. Failure would
        // mean that the range was not ours; there is nothing left to do about it then.
        unsafe { libc::munmap(self.base.as_ptr().cast(), total_bytes(self.reservation) as usize) };
    }
}

fn total_bytes(reservation: Reservation) -> u64 {
    // mmap refuses an empty range; a memory that can hold nothing still needs an address.
    (reservation.addressable_bytes + reservation.guard_bytes).max(WASM_PAGE_BYTES)
}

fn check_aligned(bytes: u64) -> Result<(), MemoryError> {
    if bytes.is_multiple_of(WASM_PAGE_BYTES) { Ok(()) } else { Err(MemoryError::Unaligned { bytes }) }
}

fn check(code: libc::c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn reserve(bytes: usize) -> io::Result<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: asks for fresh address space wherever the kernel likes; touches no existing mapping.
    let base = unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    advise(base, bytes);
    NonNull::new(base.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
}

/// Both are advice that a kernel may lack, hence no check. Huge pages would back a sparse heap with 2 MiB each and blur
/// what was written; a forked child must not share these pages, because the copy-on-write of a fork is not tracked in
/// the child.
fn advise(base: *mut libc::c_void, bytes: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: neither advice changes what any byte reads as.
    unsafe {
        libc::madvise(base, bytes, libc::MADV_NOHUGEPAGE);
        libc::madvise(base, bytes, libc::MADV_DONTFORK);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (base, bytes);
}

/// # Safety
/// The range is page-aligned, accessible memory of the caller, and nothing borrows from it.
#[cfg(target_os = "linux")]
unsafe fn drop_pages(start: *mut u8, bytes: usize, shared: bool) -> libc::c_int {
    let advice = if shared { libc::MADV_REMOVE } else { libc::MADV_DONTNEED };
    // SAFETY: by the caller's promise. On Linux the pages are gone when the call returns; of a shared file too.
    unsafe { libc::madvise(start.cast(), bytes, advice) }
}

/// # Safety
/// The range is page-aligned, accessible memory of the caller, and nothing borrows from it.
#[cfg(not(target_os = "linux"))]
unsafe fn drop_pages(start: *mut u8, bytes: usize, shared: bool) -> libc::c_int {
    if shared {
        // SAFETY: by the caller's promise the range is its own to write.
        unsafe { ptr::write_bytes(start, 0, bytes) };
        return 0;
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
    // Elsewhere MADV_DONTNEED may keep the contents: map fresh pages over the old ones.
    // SAFETY: by the caller's promise the range is its own to replace.
    let base = unsafe { libc::mmap(start.cast(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if base == libc::MAP_FAILED { -1 } else { 0 }
}

/// The page size of this host.
pub(super) fn page_bytes() -> usize {
    // SAFETY: reads a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(0)
}

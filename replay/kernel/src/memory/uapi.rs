//! The two kernel interfaces behind page tracking: userfaultfd and PAGEMAP_SCAN, as thin calls.
//!
//! Not here: what to scan and protect, and when (`pagemap`).
//!
//! Invariant: nothing here changes the contents of memory, and every call applies to the process that opened the
//! descriptors; in a forked child each of them fails.
//!
//! One descriptor of each kind serves all memories of the process: ranges are registered with the same userfaultfd, and
//! in write-protect-async mode it delivers no events, so nothing is shared but the descriptor.

use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

/// `PAGE_IS_WRITTEN`: not write-protected, be it populated or not.
pub(super) const WRITTEN: u64 = 1 << 1;
/// `PAGE_IS_FILE`: in memory, and that of a file.
pub(super) const FILE: u64 = 1 << 2;
/// `PAGE_IS_PRESENT`: in memory.
pub(super) const PRESENT: u64 = 1 << 3;
/// `PAGE_IS_SWAPPED`: in swap, in migration, or only marked.
pub(super) const SWAPPED: u64 = 1 << 4;

const PM_SCAN_WP_MATCHING: u64 = 1 << 0;
const PM_SCAN_CHECK_WPASYNC: u64 = 1 << 1;
const UFFD_API: u64 = 0xAA;
const UFFD_USER_MODE_ONLY: libc::c_int = 1;
const UFFD_FEATURE_WP_UNPOPULATED: u64 = 1 << 13;
const UFFD_FEATURE_WP_ASYNC: u64 = 1 << 15;
const UFFDIO_REGISTER_MODE_WP: u64 = 1 << 1;

/// `struct page_region` of linux/fs.h: addresses `start..end` share `categories`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PageRegion {
    pub(super) start: u64,
    pub(super) end: u64,
    categories: u64,
}

/// `struct pm_scan_arg` of linux/fs.h.
#[repr(C)]
#[derive(Debug, Default)]
struct ScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

#[repr(C)]
struct ApiArg {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct RegisterArg {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

/// `_IOC(read | write, kind, number, size_of::<T>())`, in the layout of x86, Arm and RISC-V.
const fn iowr<T>(kind: u8, number: u8) -> u64 {
    (3 << 30) | ((size_of::<T>() as u64) << 16) | ((kind as u64) << 8) | number as u64
}

const PAGEMAP_SCAN: u64 = iowr::<ScanArg>(b'f', 16);
const UFFDIO_API: u64 = iowr::<ApiArg>(0xAA, 0x3F);
const UFFDIO_REGISTER: u64 = iowr::<RegisterArg>(0xAA, 0x00);
/// `_IO(0xAA, 0)`, on `/dev/userfaultfd`; the argument is the flags of the new descriptor.
const USERFAULTFD_IOC_NEW: u64 = 0xAA00;

/// Which pages a scan reports.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Match {
    /// All of these…
    pub(super) all: u64,
    /// …and at least one of these, if any are named…
    pub(super) any: u64,
    /// …and none of these.
    pub(super) none: u64,
}

/// A descriptor that means something only in the process that opened it.
#[derive(Debug)]
struct Bound<T> {
    handle: T,
    process: u32,
}

impl<T: AsRawFd> Bound<T> {
    fn new(handle: T) -> Self {
        Self { handle, process: std::process::id() }
    }

    /// The descriptor, unless this is a forked child: there it still names the memory of the parent.
    fn fd(&self) -> io::Result<RawFd> {
        if std::process::id() == self.process {
            Ok(self.handle.as_raw_fd())
        } else {
            Err(io::Error::from_raw_os_error(libc::ESRCH))
        }
    }
}

/// `/proc/self/pagemap`.
#[derive(Debug)]
pub(super) struct Pagemap(Bound<File>);

impl Pagemap {
    /// The one descriptor of this process.
    pub(super) fn get() -> Result<&'static Self, &'static io::Error> {
        static PAGEMAP: OnceLock<io::Result<Pagemap>> = OnceLock::new();
        PAGEMAP.get_or_init(|| Ok(Self(Bound::new(File::open("/proc/self/pagemap")?)))).as_ref()
    }

    /// Calls `found` with the matching address ranges within `start..end`, ascending, in units of pages.
    ///
    /// # Errors
    /// The kernel lacks the call (before 6.7), or this is a forked child. Ranges may have been reported before.
    pub(super) fn scan(
        &self,
        start: u64,
        end: u64,
        wanted: Match,
        found: &mut dyn FnMut(PageRegion),
    ) -> io::Result<()> {
        let mut regions = [PageRegion::default(); 256];
        let mut from = start;
        // The call returns early when `regions` is full: go on where it stopped, not behind the last region.
        while from < end {
            let mut arg = ScanArg {
                start: from,
                end,
                vec: regions.as_mut_ptr() as u64,
                vec_len: regions.len() as u64,
                category_inverted: wanted.none,
                category_mask: wanted.all | wanted.none,
                category_anyof_mask: wanted.any,
                return_mask: wanted.all | wanted.any,
                ..ScanArg::default()
            };
            let count = self.call(&mut arg)?;
            regions[..count.min(regions.len())].iter().copied().for_each(&mut *found);
            if arg.walk_end <= from {
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            }
            from = arg.walk_end;
        }
        Ok(())
    }

    /// Write-protects the written pages within `start..end`: the next write to each takes the protection off again.
    ///
    /// # Errors
    /// `EPERM` if a part of the range is not registered.
    pub(super) fn protect(&self, start: u64, end: u64) -> io::Result<()> {
        let mut from = start;
        while from < end {
            let mut arg = ScanArg {
                flags: PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
                start: from,
                end,
                category_mask: WRITTEN,
                return_mask: WRITTEN,
                ..ScanArg::default()
            };
            self.call(&mut arg)?;
            if arg.walk_end <= from {
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            }
            from = arg.walk_end;
        }
        Ok(())
    }

    fn call(&self, arg: &mut ScanArg) -> io::Result<usize> {
        arg.size = size_of::<ScanArg>() as u64;
        let fd = self.0.fd()?;
        // SAFETY: `arg` is the structure this request expects and says its own size; `vec`/`vec_len` name either nothing
        // or the caller's array, which outlives the call. Contents of the scanned memory are neither read nor changed.
        let code = unsafe { libc::ioctl(fd, PAGEMAP_SCAN as _, ptr_of(arg)) };
        usize::try_from(code).map_err(|_| io::Error::last_os_error())
    }
}

/// A userfaultfd in write-protect-async mode.
#[derive(Debug)]
pub(super) struct Userfaultfd(Bound<OwnedFd>);

impl Userfaultfd {
    /// The one descriptor of this process.
    pub(super) fn get() -> Result<&'static Self, &'static io::Error> {
        static USERFAULTFD: OnceLock<io::Result<Userfaultfd>> = OnceLock::new();
        USERFAULTFD.get_or_init(Self::open).as_ref()
    }

    fn open() -> io::Result<Self> {
        let fd = open_by_syscall().or_else(|refused| open_by_device().map_err(|_| refused))?;
        let features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED;
        let mut arg = ApiArg { api: UFFD_API, features, ioctls: 0 };
        // SAFETY: `arg` is the structure this request expects, and the descriptor is a fresh userfaultfd.
        let code = unsafe { libc::ioctl(fd.as_raw_fd(), UFFDIO_API as _, ptr_of(&mut arg)) };
        if code != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(Bound::new(fd)))
    }

    /// Lets pages within `start..start + bytes` be write-protected. Harmless if they already are registered here.
    pub(super) fn register(&self, start: u64, bytes: u64) -> io::Result<()> {
        let mut arg = RegisterArg { start, len: bytes, mode: UFFDIO_REGISTER_MODE_WP, ioctls: 0 };
        let fd = self.0.fd()?;
        // SAFETY: `arg` is the structure this request expects. Registering changes how write faults are handled, and in
        // async mode the kernel resolves those itself: no access to the range can block or fail because of it.
        let code = unsafe { libc::ioctl(fd, UFFDIO_REGISTER as _, ptr_of(&mut arg)) };
        if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

fn open_by_syscall() -> io::Result<OwnedFd> {
    // User mode only is what an unprivileged process may have. It is no restriction here: it forbids faults of the
    // kernel to be *delivered*, and in async mode none are; those of `read(2)` into the memory are tracked like others.
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | UFFD_USER_MODE_ONLY;
    // SAFETY: takes no pointer; returns a new descriptor or -1.
    let code = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
    own(RawFd::try_from(code).unwrap_or(-1))
}

fn open_by_device() -> io::Result<OwnedFd> {
    let device = File::open("/dev/userfaultfd")?;
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
    // SAFETY: the argument of this request is a number; it returns a new descriptor or -1.
    own(unsafe { libc::ioctl(device.as_raw_fd(), USERFAULTFD_IOC_NEW as _, flags) })
}

fn own(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn ptr_of<T>(arg: &mut T) -> *mut T {
    arg
}

//! A committed memory as a file that any number of other memories show, each with its own changes on top.
//!
//! Not here: what is in it (`image`), who runs on it (`crate::fork`).
//!
//! Invariant: while a [`Lease`] lives, no byte of the file changes.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::Duration;

use super::MemoryError;

/// How long a commit waits for those who run on the image before it copies the image and leaves the old one to them.
const WAIT_MS: u64 = 20;

/// The file behind an image.
#[derive(Debug)]
pub(crate) struct Frozen {
    file: File,
    leases: Mutex<usize>,
    returned: Condvar,
    /// How often its content changed.
    changes: AtomicU64,
}

/// A content that a memory was made to show.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    frozen: Weak<Frozen>,
    changes: u64,
}

/// The right to rely on the file's present content.
#[derive(Debug)]
pub(crate) struct Lease(Arc<Frozen>);

impl Frozen {
    /// A file of `bytes` zeros, without a name and without pages.
    pub(super) fn new(bytes: u64) -> Result<Arc<Self>, MemoryError> {
        let file = anonymous_file().and_then(|file| file.set_len(bytes).map(|()| file));
        let file = file.map_err(|source| MemoryError::File { bytes, source })?;
        let (leases, returned, changes) = Default::default();
        Ok(Arc::new(Self { file, leases, returned, changes }))
    }

    /// To be called before its content changes, while nobody holds a lease.
    pub(super) fn will_change(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Whether nobody holds a lease, be it after a short while.
    pub(super) fn is_free(&self) -> bool {
        let leases = self.leases.lock().expect("nothing panics while this is locked");
        let wait = Duration::from_millis(WAIT_MS);
        let waited = self.returned.wait_timeout_while(leases, wait, |leases| *leases > 0);
        *waited.expect("nothing panics while this is locked").0 == 0
    }
}

impl Lease {
    pub(super) fn new(frozen: &Arc<Frozen>) -> Self {
        *frozen.leases.lock().expect("nothing panics while this is locked") += 1;
        Self(Arc::clone(frozen))
    }

    pub(crate) fn file(&self) -> &File {
        &self.0.file
    }

    /// The content it is for.
    pub(crate) fn content(&self) -> Seen {
        Seen { frozen: Arc::downgrade(&self.0), changes: self.0.changes.load(Ordering::Relaxed) }
    }
}

impl Seen {
    /// Whether it was a content of the same file.
    pub(crate) fn is_of_file_of(&self, other: &Seen) -> bool {
        self.frozen.ptr_eq(&other.frozen)
    }

    /// Whether it is the same.
    pub(crate) fn is(&self, other: &Seen) -> bool {
        self.is_of_file_of(other) && self.changes == other.changes
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        *self.0.leases.lock().expect("nothing panics while this is locked") -= 1;
        self.0.returned.notify_all();
    }
}

#[cfg(target_os = "linux")]
fn anonymous_file() -> io::Result<File> {
    use std::os::fd::FromRawFd;
    // SAFETY: the name is a C string; the call touches no memory of ours.
    let fd = unsafe { libc::memfd_create(c"aorta-image".as_ptr(), libc::MFD_CLOEXEC) };
    // SAFETY: a descriptor the system just made for us, which nobody else owns.
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(unsafe { File::from_raw_fd(fd) }) }
}

/// A temporary file whose name is gone before it is used.
#[cfg(not(target_os = "linux"))]
fn anonymous_file() -> io::Result<File> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("aorta-image-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

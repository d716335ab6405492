//! Where a segment's bytes live: a file, or the in-memory twin of the tests.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Bytes that can be extended, cut and made durable.
///
/// An implementor guarantees: when [`sync`](Storage::sync) returns `Ok`, all earlier writes and
/// cuts survive a crash; before that, any part of them may be lost, in any order.
pub trait Storage {
    /// Length in bytes.
    ///
    /// # Errors
    /// The storage's own.
    fn len(&self) -> io::Result<u64>;

    /// Whether nothing was ever written.
    ///
    /// # Errors
    /// The storage's own.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the storage ends before; the storage's own.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, extending the storage as needed.
    ///
    /// # Errors
    /// The storage's own; part of the bytes may have been written.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the storage to `len` bytes.
    ///
    /// # Errors
    /// The storage's own.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// The storage's own; nothing is known then about what is durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file, held under an exclusive lock for as long as it is open for writing.
///
/// Creating: `open(O_CREAT)`, `flock`, `fsync(directory)`. Appending: `pwrite`, `fdatasync`.
#[derive(Debug)]
pub struct FileStorage {
    file: File,
}

impl FileStorage {
    /// Opens `path` for appending, creating it if absent; the entry in its directory is durable on return.
    ///
    /// # Errors
    /// `WouldBlock` when another handle holds the file; the file system's own.
    pub fn open_or_create(path: &Path) -> io::Result<FileStorage> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.try_lock()?;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Not only on creation: the creator may have died between creating and syncing.
        File::open(parent)?.sync_all()?;
        Ok(FileStorage { file })
    }

    /// Opens `path` for reading; writes will fail.
    ///
    /// # Errors
    /// The file system's own.
    pub fn open_read_only(path: &Path) -> io::Result<FileStorage> {
        Ok(FileStorage { file: File::open(path)? })
    }
}

impl Storage for FileStorage {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

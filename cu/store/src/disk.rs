//! Where the store's files live: a directory, or the in-memory twin of the tests ([`crate::TwinDisk`]).
//!
//! *Not here:* what is in the files.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A flat name space of files; `/` in a name separates folders.
pub trait Disk: Send + Sync + fmt::Debug + 'static {
    /// Opens a file for reading and writing, alone; creates it if absent. That it exists is durable on return.
    ///
    /// # Errors
    /// `WouldBlock` when someone else holds it; the disk's own.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading, whoever else holds it.
    ///
    /// # Errors
    /// `NotFound`; the disk's own.
    fn open_read_only(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Names of the files directly in `folder`, sorted; none if there is no such folder.
    ///
    /// # Errors
    /// The disk's own.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Removes a file. Whether that is durable on return is unspecified.
    ///
    /// # Errors
    /// The disk's own.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A file. An implementor guarantees: once [`sync`](DiskFile::sync) returned `Ok`, all earlier writes and cuts survive a
/// crash; before that, any part of them may be lost.
#[expect(clippy::len_without_is_empty, reason = "a file's length is asked for, never whether it is empty")]
pub trait DiskFile: Send + Sync + fmt::Debug + 'static {
    /// Length in bytes.
    ///
    /// # Errors
    /// The disk's own.
    fn len(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before; the disk's own.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, extending the file as needed.
    ///
    /// # Errors
    /// The disk's own; part of the bytes may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts or extends (with zeros) the file.
    ///
    /// # Errors
    /// The disk's own.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes everything done so far durable.
    ///
    /// # Errors
    /// The disk's own; nothing is known then about what is durable.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the file system.
#[derive(Debug, Clone)]
pub struct FileDisk {
    root: PathBuf,
}

impl FileDisk {
    /// The directory `root`, created if absent.
    ///
    /// # Errors
    /// The file system's.
    pub fn new(root: impl Into<PathBuf>) -> io::Result<FileDisk> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        Ok(FileDisk { root })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Disk for FileDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.root.join(name);
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent)?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        file.try_lock()?;
        // Not only on creation: the creator may have died between creating and syncing.
        for folder in parent.ancestors().take_while(|folder| folder.starts_with(&self.root)) {
            File::open(folder)?.sync_all()?;
        }
        Ok(Arc::new(file))
    }

    fn open_read_only(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(File::open(self.root.join(name))?))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.root.join(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.root.join(name))
    }
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

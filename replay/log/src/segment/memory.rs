//! The in-memory twin of a file: keeps live and durable bytes apart, so that a test can crash it.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use super::Storage;

/// A change not yet made durable.
#[derive(Debug, Clone)]
enum Pending {
    Write { offset: u64, bytes: Vec<u8> },
    Truncate { len: u64 },
}

#[derive(Debug, Default)]
struct Disk {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
    syncs: u64,
    /// From this sync on (counted from 1) every sync fails and nothing becomes durable.
    frozen_from_sync: Option<u64>,
    /// The write with this many bytes left to write fails half way.
    write_budget: Option<u64>,
}

/// A storage in memory; clones share the same bytes, so a test keeps one to look inside.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    disk: Rc<RefCell<Disk>>,
}

impl MemoryStorage {
    /// A storage whose bytes are all durable already.
    pub fn with_bytes(bytes: Vec<u8>) -> MemoryStorage {
        let disk = Disk { live: bytes.clone(), durable: bytes, ..Disk::default() };
        MemoryStorage { disk: Rc::new(RefCell::new(disk)) }
    }

    /// Makes sync number `sync` (from 1) and every later one fail.
    pub fn freeze_from_sync(&self, sync: u64) {
        self.disk.borrow_mut().frozen_from_sync = Some(sync);
    }

    /// Lets `bytes` more bytes be written, then fails every write, the first one half done.
    pub fn fail_writes_after(&self, bytes: u64) {
        self.disk.borrow_mut().write_budget = Some(bytes);
    }

    /// How many syncs were asked for.
    pub fn syncs(&self) -> u64 {
        self.disk.borrow().syncs
    }

    /// How many bytes of writes are not durable yet.
    pub fn pending_bytes(&self) -> u64 {
        let disk = self.disk.borrow();
        disk.pending.iter().map(Pending::bytes).sum()
    }

    /// How many changes are not durable yet.
    pub fn pending_changes(&self) -> usize {
        self.disk.borrow().pending.len()
    }

    /// The bytes as the running program sees them.
    pub fn live(&self) -> Vec<u8> {
        self.disk.borrow().live.clone()
    }

    /// What a crash leaves when only the first `torn` bytes of the pending writes reached the disk.
    pub fn crash_torn(&self, torn: u64) -> Vec<u8> {
        let disk = self.disk.borrow();
        let mut image = disk.durable.clone();
        let mut left = torn;
        for change in &disk.pending {
            if left < change.bytes() {
                change.apply(&mut image, left);
                break;
            }
            change.apply(&mut image, change.bytes());
            left -= change.bytes();
        }
        image
    }

    /// What a crash leaves when the pending changes with a 1 bit in `survivors` reached the disk, and no other.
    ///
    /// Disks reorder: a later write may survive where an earlier one was lost, with zeros between.
    pub fn crash_reordered(&self, survivors: u64) -> Vec<u8> {
        let disk = self.disk.borrow();
        let mut image = disk.durable.clone();
        for (i, change) in disk.pending.iter().enumerate() {
            if survivors >> i & 1 == 1 {
                change.apply(&mut image, change.bytes());
            }
        }
        image
    }
}

impl Pending {
    fn bytes(&self) -> u64 {
        match self {
            Pending::Write { bytes, .. } => bytes.len() as u64,
            Pending::Truncate { .. } => 0,
        }
    }

    fn apply(&self, image: &mut Vec<u8>, first: u64) {
        match self {
            Pending::Truncate { len } => image.resize(*len as usize, 0),
            Pending::Write { offset, bytes } => overwrite(image, *offset, &bytes[..first as usize]),
        }
    }
}

fn overwrite(image: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + bytes.len());
    if bytes.is_empty() {
        return;
    }
    if image.len() < end {
        image.resize(end, 0);
    }
    image[start..end].copy_from_slice(bytes);
}

impl Storage for MemoryStorage {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.borrow().live.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let disk = self.disk.borrow();
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        let bytes = disk.live.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        let allowed = disk.write_budget.map_or(bytes.len(), |budget| bytes.len().min(budget as usize));
        if let Some(budget) = &mut disk.write_budget {
            *budget -= allowed as u64;
        }
        overwrite(&mut disk.live, offset, &bytes[..allowed]);
        disk.pending.push(Pending::Write { offset, bytes: bytes[..allowed].to_vec() });
        if allowed < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        disk.live.resize(len as usize, 0);
        disk.pending.push(Pending::Truncate { len });
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        disk.syncs += 1;
        if disk.frozen_from_sync.is_some_and(|first| disk.syncs >= first) {
            return Err(io::Error::other("sync failed on purpose"));
        }
        let Disk { live, durable, .. } = &mut *disk;
        durable.clone_from(live);
        disk.pending.clear();
        Ok(())
    }
}

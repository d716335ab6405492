//! The tree and streams that the loader makes before the first message.
//!
//! Not here: what the guest does with them. Invariant: inode numbers 1 to 20 as in the reference loader.

use std::collections::BTreeSet;

use super::tree::{Body, Found, Last, Node, ROOT, S_IFCHR, S_IFDIR, S_IFLNK};
use super::{CLOCK_START_MS, Clock, Errno, Fail, Files};

/// The streams of a process: path and flags.
const STANDARD: [(&str, &str, u32); 3] =
    [("stdin", "/dev/tty", 0), ("stdout", "/dev/tty", 1), ("stderr", "/dev/tty1", 1)];

impl Files {
    /// `FS.staticInit`. Its times come from the host's clock in the loader; here all are the virtual clock's start.
    pub(crate) fn at_boot() -> Self {
        let mut files = Self { next_inode: ROOT, ..Self::default() };
        let clock = &mut Clock::frozen();
        files.insert(Node {
            parent: ROOT,
            name: "/".to_owned(),
            mode: S_IFDIR | 0o777,
            time: CLOCK_START_MS as i64,
            body: Body::Directory(BTreeSet::new()),
        });
        files.directory(ROOT, "tmp", clock);
        let home = files.directory(ROOT, "home", clock);
        files.directory(home, "web_user", clock);
        let dev = files.directory(ROOT, "dev", clock);
        for (name, mode, number) in [
            ("null", 0o666, 0x103),
            ("tty", 0o666, 0x500),
            ("tty1", 0o666, 0x600),
            ("random", 0o555, 0x4000),
            ("urandom", 0o555, 0x4100),
        ] {
            files.create(dev, name, S_IFCHR | mode, Body::Device(number), clock);
        }
        let shm = files.directory(dev, "shm", clock);
        files.directory(shm, "tmp", clock);
        let proc = files.directory(ROOT, "proc", clock);
        let own = files.directory(proc, "self", clock);
        files.directory(own, "fd", clock);
        files.create(own, "fd", S_IFDIR | 0o777, Body::Streams, clock);
        files
    }

    fn directory(&mut self, parent: u32, name: &str, clock: &mut Clock) -> u32 {
        self.create(parent, name, S_IFDIR | 0o777, Body::Directory(BTreeSet::new()), clock)
    }

    /// `FS.init`: the standard streams, three readings of the clock.
    pub(crate) fn create_standard_streams(&mut self, clock: &mut Clock) -> Result<(), Fail> {
        let Found::Node(dev) = self.lookup("/dev", Last::NoFollow)?.1 else { return Err(Errno::ENOENT.into()) };
        for (name, target, _) in STANDARD {
            self.create(dev, name, S_IFLNK | 0o777, Body::Link(target.to_owned()), clock);
        }
        for (name, _, flags) in STANDARD {
            self.open(&format!("/dev/{name}"), flags, 0, clock)?;
        }
        Ok(())
    }
}

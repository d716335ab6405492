//! Trouble between units that no killing makes: one that answers late, one that answers 500, a disk without room.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a [`Wire`] answers in the place of its unit, if it is told to.
const FAILED: &[u8] =
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 11\r\nconnection: close\r\n\r\nit is ill\r\n";
const ILL: u64 = u64::MAX;

/// A way to a unit that can be made slow or broken.
#[derive(Clone)]
pub(crate) struct Wire(Arc<AtomicU64>);

impl Wire {
    /// Begins to take connections at `from` for `to`.
    pub(crate) fn lay(from: &str, to: String) -> Self {
        let (wire, listener) = (Self(Arc::default()), TcpListener::bind(from).unwrap());
        let laid = wire.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let (wire, to) = (wire.clone(), to.clone());
                // Whoever hangs up meets an error here, and nobody else does.
                std::thread::spawn(move || connection.and_then(|client| wire.carry(client, &to)));
            }
        });
        laid
    }

    /// Every request arrives so much later.
    pub(crate) fn delay(&self, ms: u64) {
        self.0.store(ms, Ordering::Relaxed);
    }

    /// Every request is answered with 500.
    pub(crate) fn fail(&self) {
        self.0.store(ILL, Ordering::Relaxed);
    }

    /// As if it were not there.
    pub(crate) fn heal(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn carry(&self, mut client: TcpStream, to: &str) -> std::io::Result<()> {
        let mut bytes = vec![0; 64 << 10];
        let mut unit = None;
        loop {
            let read = client.read(&mut bytes)?;
            let trouble = self.0.load(Ordering::Relaxed);
            if read == 0 {
                return unit.map_or(Ok(()), |unit: TcpStream| unit.shutdown(Shutdown::Write));
            }
            if trouble == ILL {
                client.write_all(FAILED)?;
                return client.shutdown(Shutdown::Both);
            }
            std::thread::sleep(Duration::from_millis(trouble));
            if unit.is_none() {
                let Ok(begun) = TcpStream::connect(to) else { return client.shutdown(Shutdown::Both) };
                let (mut answers, mut back) = (begun.try_clone()?, client.try_clone()?);
                std::thread::spawn(move || {
                    let carried = std::io::copy(&mut answers, &mut back);
                    let _ = back.shutdown(Shutdown::Both);
                    carried
                });
                unit = Some(begun);
            }
            let unit = unit.as_mut().ok_or(ErrorKind::NotConnected)?;
            unit.write_all(&bytes[..read])?;
        }
    }
}

/// Bounds how long the files of a process may grow, in bytes; `None`: as long as there is room. Writes past it fail, as on a
/// full disk, since [`ignoring`] keeps the signal away.
pub(crate) fn bound_files(process: u32, bytes: Option<u64>) {
    let bytes = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
    let mut command = Command::new("prlimit");
    let status = command.args(["--pid", &process.to_string(), &format!("--fsize={bytes}:")]).status();
    assert!(status.unwrap().success());
}

/// The command, to which a file that may not grow is an error and not a signal that ends it. Its process is the same.
pub(crate) fn ignoring(program: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", program]);
    command
}

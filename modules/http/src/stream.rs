//! Bodies that are made while they are sent: a channel between who writes and who sends.
//!
//! Invariant: a writer that failed breaks the connection off, so that nobody takes a part for the whole.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;

/// What was written, as a body.
pub struct Received(mpsc::Receiver<io::Result<Bytes>>);

/// The writing end, for asynchronous writers and for a thread that may block.
#[derive(Clone)]
pub struct Writing(mpsc::Sender<io::Result<Bytes>>);

/// Both ends; `waiting_max` pieces may wait for the network.
pub fn channel(waiting_max: usize) -> (Writing, Received) {
    let (sender, receiver) = mpsc::channel(waiting_max);
    (Writing(sender), Received(receiver))
}

impl Writing {
    /// Sends a piece; whether anyone still listens.
    pub async fn send(&self, piece: String) -> bool {
        self.0.send(Ok(piece.into())).await.is_ok()
    }

    /// Breaks the body off.
    pub fn fail(&self, error: io::Error) {
        // Nobody listens any more: then nobody is misled either.
        let _ = self.0.blocking_send(Err(error));
    }
}

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl hyper::body::Body for Received {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(ready!(self.0.poll_recv(context)).map(|piece| piece.map(Frame::data)))
    }
}

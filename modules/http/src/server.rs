//! Connections: taken until the unit is told to stop, then finished.
//!
//! Not here: what a request is answered with.
//! Invariant: a stop breaks nothing off that can still be finished in time.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::{Answer, Request};

/// How long a caller may take over the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after the system gave no connection, as when it has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stopping` is true, then takes no more connections and finishes what was begun, `stop_max` at most.
///
/// `handler` is given a request and the address of its caller.
pub async fn serve<H, F>(listener: TcpListener, handler: H, stopping: watch::Receiver<bool>, stop_max: Duration)
where
    H: Fn(Request, IpAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    // Every connection holds a sender: when the last is gone, so are they.
    let (open, mut closed) = mpsc::channel::<()>(1);
    let mut told = stopping.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut told) => break,
        };
        match accepted {
            Ok((stream, caller)) => {
                tokio::spawn(connection(stream, caller, handler.clone(), stopping.clone(), open.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, open));
    if tokio::time::timeout(stop_max, closed.recv()).await.is_err() {
        tracing::warn!("some requests were not finished in time");
    }
}

/// Waits until the unit is told to stop.
pub async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // A sender that is gone without a word can tell nobody to go on.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Becomes true at the first SIGTERM or SIGINT.
///
/// # Errors
/// The system gives no signals.
pub fn stop_on_signals() -> std::io::Result<watch::Receiver<bool>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.send_replace(true);
    });
    Ok(stopping)
}

async fn connection<H, F>(
    stream: TcpStream,
    caller: SocketAddr,
    handler: H,
    mut stopping: watch::Receiver<bool>,
    _open: mpsc::Sender<()>,
) where
    H: Fn(Request, IpAddr) -> F,
    F: Future<Output = Answer>,
{
    // Answers are whole when they are written: waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let answer = handler(request, caller.ip());
        async move { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%caller, %error, "a connection broke off");
    }
}

//! Connections: taken until the unit is told to stop, then finished.
//!
//! Not here: what a request is answered with (`routes`).
//! Invariant: a stop loses nothing: what was answered is durable, what was begun is finished or was never told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::routes::{Context, answer};

/// How long a caller may take over the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after the system gave no connection, as when it has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until SIGTERM or SIGINT, then finishes what was begun and saves the states in memory.
///
/// # Errors
/// The system gives no signals.
pub(crate) async fn serve(
    listener: TcpListener,
    context: Arc<Context>,
    stopping: watch::Sender<bool>,
) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // Every connection holds a sender: when the last is gone, so are they.
    let (open, mut closed) = mpsc::channel::<()>(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        match accepted {
            Ok((stream, caller)) => {
                tokio::spawn(connection(stream, caller, Arc::clone(&context), open.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tracing::info!("stopping");
    stopping.send_replace(true);
    drop(open);
    let most = Duration::from_secs(context.config.stop_s_max);
    if tokio::time::timeout(most, closed.recv()).await.is_err() {
        tracing::warn!("some requests were not finished in time");
    }
    context.unit.executor.save_all().await;
    tracing::info!("stopped");
    Ok(())
}

/// Waits until the unit is told to stop.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // The sender goes only when serving has ended.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn connection(stream: TcpStream, caller: SocketAddr, context: Arc<Context>, _open: mpsc::Sender<()>) {
    // Answers are whole when they are written: waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    let mut stopping = context.stopping.clone();
    let service = service_fn(move |request| {
        let context = Arc::clone(&context);
        async move { Ok::<_, std::convert::Infallible>(answer(context, request, caller.ip()).await) }
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

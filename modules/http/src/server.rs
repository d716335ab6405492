//! Connections: taken until the unit is told to stop, then finished.
//!
//! Not here: what a request is answered with.
//! Invariant: a stop breaks nothing off that can still be finished in time; no flood of requests takes more than a bounded
//! number of them in.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tower::{Service, ServiceBuilder, ServiceExt as _};

use crate::{Answer, Request, json_text};

/// Requests that are answered at the same time, of all connections together. Those that wait for an evaluation are among them.
const AT_ONCE_MAX: usize = 8192;
/// What more are told.
const OVERLOADED: &str = r#"{"error":"too many requests at once: ask again later"}"#;

/// How long a caller may take over the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after the system gave no connection, as when it has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stopping` is true, then takes no more connections and finishes what was begun, `stop_max` at most.
///
/// `handler` is given a request and the address of its caller.
///
/// # Limits
/// 8,192 requests are answered at the same time; further ones get 503 and are to come again.
pub async fn serve<H, F>(listener: TcpListener, handler: H, stopping: watch::Receiver<bool>, stop_max: Duration)
where
    H: Fn(Request, IpAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    serve_at_once(AT_ONCE_MAX, listener, handler, stopping, stop_max).await;
}

async fn serve_at_once<H, F>(
    at_once_max: usize,
    listener: TcpListener,
    handler: H,
    stopping: watch::Receiver<bool>,
    stop_max: Duration,
) where
    H: Fn(Request, IpAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let answer = move |(request, caller)| {
        let answer = handler(request, caller);
        async move { Ok::<_, Infallible>(answer.await) }
    };
    let service = ServiceBuilder::new().load_shed().concurrency_limit(at_once_max).service_fn(answer);
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
                tokio::spawn(connection(stream, caller, service.clone(), stopping.clone(), open.clone()));
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

async fn connection<S>(
    stream: TcpStream,
    caller: SocketAddr,
    service: S,
    mut stopping: watch::Receiver<bool>,
    _open: mpsc::Sender<()>,
) where
    S: Service<(Request, IpAddr), Response = Answer> + Clone,
{
    // Answers are whole when they are written: waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let answer = service.clone().oneshot((request, caller.ip()));
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|_| overloaded())) }
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

fn overloaded() -> Answer {
    let mut answer = json_text(StatusCode::SERVICE_UNAVAILABLE, OVERLOADED);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::ok;

    async fn ask(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn more_requests_than_are_answered_at_once_are_told_to_come_again() {
        let (listener, (stop, stopping)) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), watch::channel(false));
        let address = listener.local_addr().unwrap();
        let (begun, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (noted, awaited) = (Arc::clone(&begun), Arc::clone(&go));
        let handler = move |_: Request, _| {
            let (noted, awaited) = (Arc::clone(&noted), Arc::clone(&awaited));
            async move {
                noted.add_permits(1);
                awaited.acquire().await.unwrap().forget();
                ok("{}")
            }
        };
        let server = tokio::spawn(serve_at_once(2, listener, handler, stopping, Duration::from_secs(5)));
        let waiting = [tokio::spawn(ask(address)), tokio::spawn(ask(address))];
        begun.acquire_many(2).await.unwrap().forget();
        let refused = ask(address).await;
        assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
        assert!(refused.ends_with(OVERLOADED), "{refused}");
        go.add_permits(3);
        for answer in waiting {
            assert!(answer.await.unwrap().starts_with("HTTP/1.1 200"));
        }
        assert!(ask(address).await.starts_with("HTTP/1.1 200"), "there is room again");
        stop.send_replace(true);
        server.await.unwrap();
    }
}

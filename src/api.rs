//! The operations endpoint: `/metrics`, `/livez` and `/readyz` on an address of their own, apart from API and console.
//!
//! It is made to stay up when other things do not: it takes no lock that a busy worker holds for long, holds a bounded number of
//! connections, drops those that stay silent, and its shutdown is bounded too. On its default address it answers to this
//! machine alone.
//!
//! * [`health`] holds the shared readiness.

pub mod health;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep, timeout};

use crate::clock;
use crate::sink::metrics::Metrics;
use health::Readiness;

/// Where `/metrics` is served unless configured otherwise.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9464);

/// Open connections at a time. A pair of Prometheus servers and a few probes need under ten; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// A connection that sends nothing for this long is closed. Longer than any usual scrape interval, so keep-alive keeps working.
const IDLE_LIMIT: Duration = Duration::from_secs(150);
/// How long a shutdown waits for answers under way. A scrape takes milliseconds; Kubernetes kills after 30 s.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);

/// Why the endpoint could not be opened or served.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address is taken, not ours, or needs privileges.
    #[error("cannot listen on {address} for /metrics: {source}; set server.metrics to a free address")]
    Bind {
        /// Address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The listening socket broke.
    #[error("the /metrics endpoint stopped: {0}")]
    Serve(#[source] io::Error),
}

/// The endpoint, bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Shared,
}

#[derive(Clone, Debug)]
struct Shared {
    metrics: Metrics,
    readiness: Readiness,
}

/// A listener that hands out no more than [`MAX_CONNECTIONS`] at a time.
struct Bounded {
    listener: TcpListener,
    slots: Arc<Semaphore>,
}

/// A connection that ends when its peer stays silent, and gives its slot back when dropped.
struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    _slot: Option<OwnedSemaphorePermit>,
}

// === impl Server ===

impl Server {
    /// Binds the address, so that a taken port is known before anything else starts. Port 0 takes a free one.
    ///
    /// # Errors
    /// [`ApiError::Bind`] if the address cannot be had.
    pub async fn bind(address: SocketAddr, metrics: Metrics, readiness: Readiness) -> Result<Self, ApiError> {
        let fault = |source| ApiError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        Ok(Self { listener, address, shared: Shared { metrics, readiness } })
    }

    /// The address it really has.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves, then finishes answers under way for a bounded time. Call it last in an ordered shutdown,
    /// so that probes see the instance stop.
    ///
    /// # Errors
    /// [`ApiError::Serve`] if the socket breaks.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ApiError> {
        let listener = Bounded { listener: self.listener, slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)) };
        let (told, wait) = tokio::sync::oneshot::channel::<()>();
        let graceful = async move {
            shutdown.await;
            // The receiver is gone only if serving has ended already.
            let _ = told.send(());
        };
        let serving = axum::serve(listener, router(self.shared)).with_graceful_shutdown(graceful);
        let mut serving = std::pin::pin!(serving.into_future());
        tokio::select! {
            ended = &mut serving => ended.map_err(ApiError::Serve),
            // A sender dropped without a word cannot happen before serving ends; both mean: wind down.
            _ = wait => timeout(DRAIN_LIMIT, serving).await.unwrap_or(Ok(())).map_err(ApiError::Serve),
        }
    }
}

fn router(shared: Shared) -> Router {
    Router::new().route("/metrics", get(metrics)).route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(shared)
}

async fn metrics(State(shared): State<Shared>) -> Response {
    match shared.metrics.render(Some(clock::now())) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("the metrics cannot be written: {error}\n")).into_response(),
    }
}

async fn livez() -> &'static str {
    "alive\n"
}

async fn readyz(State(shared): State<Shared>) -> Response {
    let phase = shared.readiness.phase();
    let code = if shared.readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, format!("{}\n", phase.reason())).into_response()
}

// === impl Bounded ===

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // The semaphore is never closed, so the slot is always there; without one the connection would merely be uncounted.
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
        // The inner accept retries by itself when the process is out of descriptors.
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        (Connection { stream, idle: Box::pin(sleep(IDLE_LIMIT)), _slot: slot }, peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

// === impl Connection ===

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(outcome) => {
                self.idle.set(sleep(IDLE_LIMIT));
                Poll::Ready(outcome)
            }
            Poll::Pending => {
                ready!(self.idle.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;

//! One HTTP server for every endpoint of the program: bound, limited, and drained in a bounded time.
//!
//! A server that faces a network must survive peers that are many, slow or silent. The limits hold at two places:
//!
//! * **The connection** bounds how many there are, how long one may be silent, how long a request may take from its first byte to
//!   the first byte of its answer, and how many bytes it may send meanwhile. So a peer that sends a header byte by byte (the
//!   slow-loris attack) is cut off, whatever HTTP makes of its bytes.
//! * **The request** is answered with 431 if its headers are too long, with 413 if its body is, and with 503 if its handler takes
//!   too long.
//!
//! With certificates it speaks TLS; the handshake runs within the connection and its limits, so a peer that does not finish it holds up
//! nobody ([`tls`]).
//!
//! A shutdown stops accepting, lets answers under way finish until a deadline, and then drops the rest.

pub mod tls;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep, timeout};

use tls::{Certificates, Transport};

/// What a server puts up with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Open connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// A connection that sends nothing for this long between two requests is closed.
    pub idle: Duration,
    /// Longest time for sending a request, and again for answering it.
    pub request: Duration,
    /// Longest headers of a request, names and values together, in bytes.
    pub header_bytes: usize,
    /// Longest body of a request, in bytes.
    pub body_bytes: usize,
    /// How long a shutdown waits for answers under way.
    pub drain: Duration,
}

/// Why a server could not be opened or served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is taken, not ours, or needs privileges.
    #[error("cannot listen on {address} for {purpose}: {source}; set {setting} to a free address")]
    Bind {
        /// Address asked for.
        address: SocketAddr,
        /// What the server serves.
        purpose: &'static str,
        /// The setting (or the flag) that the address comes from.
        setting: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The listening socket broke.
    #[error("the endpoint for {purpose} stopped: {source}")]
    Serve {
        /// What the server serves.
        purpose: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A server, bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    purpose: &'static str,
    limits: Limits,
    certificates: Option<Certificates>,
}

/// The address of whoever opened a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, BoundedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// A listener that hands out a bounded number of connections at a time.
struct BoundedListener {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    limits: Limits,
    certificates: Option<Certificates>,
}

/// A connection that ends when its peer is silent, slow or sends too much, and gives its slot back when dropped.
struct Connection {
    stream: Transport,
    limits: Limits,
    /// Ends the connection: the idle limit between requests, the request limit within one.
    timer: Pin<Box<Sleep>>,
    /// Bytes of the present request; zero between requests.
    received: usize,
    _slot: Option<OwnedSemaphorePermit>,
}

// === impl Limits ===

impl Limits {
    /// For an endpoint that a few machines or people ask for small pages.
    ///
    /// * 64 connections: two Prometheus servers and a few probes and browsers need under twenty.
    /// * 150 s idle: longer than any usual scrape interval, so keep-alive keeps working.
    /// * 10 s for sending a request and 10 s for answering it: the default scrape timeout of Prometheus; nobody waits longer.
    /// * 16 KiB of headers: what nginx and Apache take is 8 KiB a line; more is no browser.
    /// * 64 KiB of body: forms are far smaller, and these endpoints mostly take none.
    /// * 3 s of draining: a scrape takes milliseconds, and Kubernetes kills after 30 s.
    pub const SMALL: Self = Self {
        connections: 64,
        idle: Duration::from_secs(150),
        request: Duration::from_secs(10),
        header_bytes: 16 * 1024,
        body_bytes: 64 * 1024,
        drain: Duration::from_secs(3),
    };

    /// Bytes that a request may send in all. Twice the headers: the request line and separators come on top of names and values.
    const fn request_bytes(&self) -> usize {
        2 * self.header_bytes + self.body_bytes
    }
}

// === impl Server ===

impl Server {
    /// Binds an address, so that a taken port is known before anything else starts. Port 0 takes a free one. `purpose` says what is
    /// served, and `setting` where the address comes from; both are for messages.
    ///
    /// # Errors
    /// [`HttpError::Bind`] if the address cannot be had.
    pub async fn bind(
        address: SocketAddr,
        purpose: &'static str,
        setting: &'static str,
        limits: Limits,
    ) -> Result<Self, HttpError> {
        let fault = |source| HttpError::Bind { address, purpose, setting, source };
        let listener = TcpListener::bind(address).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        Ok(Self { listener, address, purpose, limits, certificates: None })
    }

    /// With TLS under these certificates.
    #[must_use]
    pub fn with_tls(mut self, certificates: Certificates) -> Self {
        self.certificates = Some(certificates);
        self
    }

    /// The address it really has.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` until `shutdown` resolves, then finishes answers under way within [`Limits::drain`].
    ///
    /// # Errors
    /// [`HttpError::Serve`] if the socket breaks.
    pub async fn serve(self, router: Router, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), HttpError> {
        let Self { listener, purpose, limits, certificates, .. } = self;
        let slots = Arc::new(Semaphore::new(limits.connections));
        let listener = BoundedListener { listener, slots, limits, certificates };
        let router =
            router.layer(DefaultBodyLimit::max(limits.body_bytes)).layer(middleware::from_fn_with_state(limits, within_limits));
        let (told, wait) = tokio::sync::oneshot::channel::<()>();
        let graceful = async move {
            shutdown.await;
            // The receiver is gone only if serving has ended already.
            let _ = told.send(());
        };
        let router = router.into_make_service_with_connect_info::<Peer>();
        let serving = axum::serve(listener, router).with_graceful_shutdown(graceful);
        let mut serving = std::pin::pin!(serving.into_future());
        let ended = tokio::select! {
            ended = &mut serving => ended,
            // A sender that was dropped means that serving has ended; both mean: wind down.
            _ = wait => timeout(limits.drain, serving).await.unwrap_or(Ok(())),
        };
        ended.map_err(|source| HttpError::Serve { purpose, source })
    }
}

/// Refuses requests beyond the limits, and ends handlers that take too long.
async fn within_limits(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers > limits.header_bytes {
        return (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too long\n").into_response();
    }
    let length = request.headers().get(axum::http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > limits.body_bytes as u64) {
        return (StatusCode::PAYLOAD_TOO_LARGE, "the body is too long\n").into_response();
    }
    let late = (StatusCode::SERVICE_UNAVAILABLE, "the answer took too long\n");
    timeout(limits.request, next.run(request)).await.unwrap_or_else(|_| late.into_response())
}

// === impl BoundedListener ===

impl Listener for BoundedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // The semaphore is never closed, so the slot is always there; without one the connection would merely be uncounted.
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
        // The inner accept retries by itself when the process is out of descriptors.
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        // A handshake is a request: nobody is idle before it.
        let first = if self.certificates.is_some() { self.limits.request } else { self.limits.idle };
        let timer = Box::pin(sleep(first));
        let stream = Transport::new(stream, self.certificates.as_ref());
        (Connection { stream, limits: self.limits, timer, received: 0, _slot: slot }, peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

// === impl Connection ===

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(outcome) => {
                let count = buffer.filled().len() - before;
                if self.received == 0 && count > 0 {
                    // The first byte of a request: its clock runs from here, however the rest trickles in.
                    // Half of it is the handler's, which must be able to answer that it took too long.
                    let limit = 2 * self.limits.request;
                    self.timer.set(sleep(limit));
                }
                self.received = self.received.saturating_add(count);
                if self.received > self.limits.request_bytes() {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                Poll::Ready(outcome)
            }
            Poll::Pending => {
                ready!(self.timer.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            // An answer is on its way: what comes next is another request.
            self.received = 0;
            let limit = self.limits.idle;
            self.timer.set(sleep(limit));
        }
        written
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

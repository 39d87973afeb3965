//! Records that are posted: KServe's inference logger sends its CloudEvents to a URL.
//!
//! A post is accepted with 202 once it is in memory, and refused with 503 while the buffer is full or the service ends, so that a sender
//! that retries loses nothing by back pressure. There are no offsets: what was accepted cannot be read again. The guarantee is *at most
//! once*: an orderly end judges and delivers everything that was accepted, a crash loses what was accepted and not yet judged, and with
//! `[state]` also what was judged since the last snapshot. Who needs more puts a topic in between.
//!
//! To the loop it is one more partition, `http/0`, whose offsets begin at the time of the start in microseconds, so that they grow from
//! one run to the next.

pub mod config;

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::OwnedHeader;
use super::feed::{Bounds, Commit, End, Feed, FeedError, FeedEvent, Partition, RecordBatch, Start};
use crate::clock;
use crate::http::{HttpError, Limits, Server};
use crate::sink::metrics::Metrics;
use config::HttpConfig;

/// Topic of what was posted, in provenance, dead letters and `[decode.topics]`.
pub const TOPIC: &str = "http";
/// Most connections. Chosen: each pod of a serving system holds one or two.
const CONNECTIONS: usize = 256;

/// What was posted and waits. Clones share it.
#[derive(Clone, Debug)]
pub struct Inbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    records: usize,
    bytes: usize,
    metrics: Metrics,
}

#[derive(Debug)]
struct Waiting {
    posts: VecDeque<Post>,
    bytes: usize,
    /// Offset of the next post.
    next: i64,
    is_closed: bool,
}

#[derive(Debug)]
struct Post {
    offset: i64,
    headers: Vec<OwnedHeader>,
    body: Bytes,
}

/// The receiver, bound and not yet serving.
#[derive(Debug)]
pub struct Receiver {
    server: Server,
    inbox: Inbox,
}

/// The posts as a [`Feed`].
#[derive(Debug)]
pub struct HttpFeed {
    inbox: Inbox,
    partition: Partition,
    events: VecDeque<FeedEvent>,
    is_open: bool,
    is_paused: bool,
}

// === impl Inbox ===

impl Inbox {
    /// An empty one.
    pub fn new(config: &HttpConfig, metrics: Metrics) -> Self {
        let next = clock::now().micros();
        let waiting = Waiting { posts: VecDeque::new(), bytes: 0, next, is_closed: false };
        let (records, bytes) = (config.buffer_records, config.buffer_bytes);
        Self(Arc::new(Shared { waiting: Mutex::new(waiting), arrived: Condvar::new(), records, bytes, metrics }))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A post is put in or taken out whole, so a poisoned lock guards nothing broken.
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a post in; `false` if there is no room, or the service ends.
    fn put(&self, headers: Vec<OwnedHeader>, body: Bytes) -> bool {
        let mut waiting = self.waiting();
        let is_full = waiting.posts.len() >= self.0.records || waiting.bytes.saturating_add(body.len()) > self.0.bytes;
        let is_taken = !is_full && !waiting.is_closed;
        if is_taken {
            waiting.bytes += body.len();
            let offset = waiting.next;
            waiting.next += 1;
            waiting.posts.push_back(Post { offset, headers, body });
        }
        drop(waiting);
        self.0.metrics.posted(is_taken);
        self.0.arrived.notify_one();
        is_taken
    }

    /// Waits until something is there.
    fn wait(&self, limit: Duration) {
        let waiting = self.waiting();
        drop(self.0.arrived.wait_timeout_while(waiting, limit, |waiting| waiting.posts.is_empty()));
    }

    /// Moves what waits into a batch.
    fn take(&self, partition: &Partition, into: &mut RecordBatch, limit: usize) {
        let mut waiting = self.waiting();
        while into.len() < limit
            && let Some(post) = waiting.posts.pop_front()
        {
            waiting.bytes -= post.body.len();
            into.push(partition.clone(), post.offset, None, Some(&post.body), post.headers);
        }
    }
}

// === impl Receiver ===

impl Receiver {
    /// Binds the address, so that a taken port is known before anything else starts.
    ///
    /// # Errors
    /// [`HttpError::Bind`] if the address cannot be had.
    pub async fn bind(address: SocketAddr, max_body: usize, inbox: Inbox) -> Result<Self, HttpError> {
        let limits = Limits { connections: CONNECTIONS, body_bytes: max_body, ..Limits::SMALL };
        let server = Server::bind(address, "posted records", "source.http.listen", limits).await?;
        Ok(Self { server, inbox })
    }

    /// The address it really has.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Serves until `shutdown` resolves.
    ///
    /// # Errors
    /// [`HttpError::Serve`] if the socket breaks.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), HttpError> {
        // Loggers post to whatever path their URL has.
        let router = Router::new().route("/", post(receive)).route("/{*path}", post(receive)).with_state(self.inbox);
        self.server.serve(router, shutdown).await
    }
}

async fn receive(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/cloudevents-batch") {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "send one CloudEvent a request\n").into_response();
    }
    // Attributes of CloudEvents in binary mode; other headers say nothing about the call.
    let kept = headers.iter().filter(|(name, _)| name.as_str().starts_with("ce-") || **name == header::CONTENT_TYPE);
    let kept = kept.map(|(name, value)| (name.as_str().into(), Some(value.as_bytes().into()))).collect();
    if inbox.put(kept, body) {
        return StatusCode::ACCEPTED.into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], "no room now; send it again\n").into_response()
}

// === impl HttpFeed ===

impl HttpFeed {
    /// The posts of an inbox.
    pub fn new(inbox: Inbox) -> Self {
        let partition = Partition::new(TOPIC, 0);
        let events = VecDeque::from([FeedEvent::Assigned(vec![partition.clone()])]);
        Self { inbox, partition, events, is_open: false, is_paused: false }
    }

    /// Whether a partition is the one of posts.
    pub fn has(&self, partition: &Partition) -> bool {
        *partition == self.partition
    }
}

impl Feed for HttpFeed {
    fn poll(&mut self, into: &mut RecordBatch, limit: usize, wait: Duration) -> Result<(), FeedError> {
        if !self.is_open || self.is_paused {
            return Ok(());
        }
        if !wait.is_zero() {
            self.inbox.wait(wait);
        }
        self.inbox.take(&self.partition, into, limit);
        let waiting = self.inbox.waiting();
        let position = waiting.posts.front().map_or(waiting.next, |post| post.offset);
        let (partition, high, drained) = (self.partition.clone(), waiting.next, waiting.posts.is_empty());
        drop(waiting);
        self.events.push_back(FeedEvent::Ends(vec![End {
            partition,
            low: None,
            high,
            start: position,
            position: Some(position),
            drained,
            open: 0,
        }]));
        Ok(())
    }

    fn next_event(&mut self) -> Option<FeedEvent> {
        self.events.pop_front()
    }

    fn bounds(&mut self, partitions: &[Partition]) -> Result<Vec<Bounds>, FeedError> {
        let high = self.inbox.waiting().next;
        let ours = partitions.iter().filter(|partition| self.has(partition));
        Ok(ours.map(|partition| Bounds { partition: partition.clone(), low: 0, high, committed: None }).collect())
    }

    fn all_partitions(&mut self) -> Result<Vec<Partition>, FeedError> {
        Ok(vec![self.partition.clone()])
    }

    fn begin(&mut self, partitions: &[Partition], _start: &Start) -> Result<(), FeedError> {
        self.is_open |= partitions.iter().any(|partition| self.has(partition));
        Ok(())
    }

    fn release(&mut self, _partitions: &[Partition]) {}

    fn commit(&mut self, _positions: &[(Partition, i64)], _how: Commit) -> Result<(), FeedError> {
        Ok(())
    }

    fn pause(&mut self, partitions: &[Partition]) {
        self.is_paused |= partitions.iter().any(|partition| self.has(partition));
    }

    fn resume(&mut self, partitions: &[Partition]) {
        self.is_paused &= !partitions.iter().any(|partition| self.has(partition));
    }

    fn rest(&mut self, into: &mut RecordBatch, limit: usize) {
        self.inbox.waiting().is_closed = true;
        if self.is_open {
            self.inbox.take(&self.partition, into, limit);
        }
    }

    fn close(&mut self, _within: Duration) {
        self.inbox.waiting().is_closed = true;
    }
}

#[cfg(test)]
mod tests;

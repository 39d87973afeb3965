//! The port of the service: an endless, partitioned stream that is shared with others and has positions to commit.
//!
//! A [`Feed`] is polled for [`RecordBatch`] and tells what happened to its partitions as values ([`FeedEvent`]), not as callbacks.
//! The runtime answers an assignment with [`Feed::begin`], and a revocation with [`Feed::release`] once it has finished. So
//! everything that matters for "counted once" stands in one thread, in one place, and can be stepped by a test.
//!
//! The contract of positions:
//! * A position is the offset of the next message to process. Committing it says that everything before is done *and* delivered.
//! * Between [`FeedEvent::Assigned`] and [`Feed::begin`] nothing of the partitions is handed out. The answer says where they
//!   begin, and the feed passes it to the cluster in **one** assignment. A seek after an assignment is not used: librdkafka may
//!   hand out messages from before the seek (its issues 2190 and 5345).
//! * Between [`FeedEvent::Revoked`] and [`Feed::release`] the partitions still belong to this member: what was processed of them
//!   can and must be committed. What was polled and not processed is dropped; its next owner reads it again.
//! * After a revocation with `lost` set the partitions already belong to somebody else: nothing of them can be committed.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::{OwnedHeader, Record};
use crate::clock::Deadline;
use crate::event::Provenance;

/// A partition of a topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Partition {
    /// Topic name.
    pub topic: Arc<str>,
    /// Number of the partition.
    pub number: i32,
}

/// Where a partition ends, as far as the feed knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// The partition.
    pub partition: Partition,
    /// First offset that there still is, if it is known.
    pub low: Option<i64>,
    /// Offset behind the last message that can be read: of an open transaction nothing can.
    pub high: i64,
    /// Committed position, or the first offset there is; what the lag is counted from before anything was processed.
    pub start: i64,
    /// Offset up to which everything was handed out by [`Feed::poll`], with the marks of transactions, which nobody sees; none before the
    /// first message.
    pub position: Option<i64>,
    /// Whether everything there is has been handed out by [`Feed::poll`].
    pub drained: bool,
    /// Messages that wait for a transaction to end.
    pub open: i64,
}

/// What happened to the partitions of a feed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FeedEvent {
    /// These partitions are now ours; they begin with [`Feed::begin`].
    Assigned(Vec<Partition>),
    /// These partitions are taken away; they are kept until [`Feed::release`].
    Revoked {
        /// Which ones.
        partitions: Vec<Partition>,
        /// They are gone already, because this member was too slow or cut off.
        lost: bool,
    },
    /// News of where partitions end.
    Ends(Vec<End>),
    /// A topic is gone; it is waited for. With what the cluster says.
    TopicMissing(String),
    /// The cluster does not answer; it is being retried. With the reason.
    Unreachable(String),
    /// The cluster answers again.
    Reachable,
}

/// Where newly assigned partitions begin.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Start {
    /// Behind what the group has committed; where nothing is, as the feed is configured (the earliest message by default).
    #[default]
    Committed,
    /// At these offsets. A partition that is not listed begins as with [`Start::Committed`].
    At(Vec<(Partition, i64)>),
}

/// What the cluster has of a partition, and where the group was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// The partition.
    pub partition: Partition,
    /// First offset that there still is.
    pub low: i64,
    /// Offset behind the last message.
    pub high: i64,
    /// Committed position of the group; none if it never committed one.
    pub committed: Option<i64>,
}

/// How a commit is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Commit {
    /// In the background.
    Soon,
    /// Wait for the answer, until this deadline at most.
    By(Deadline),
}

/// What kind of end a feed came to; it decides the exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FeedFault {
    /// Settings or credentials are wrong: no retry will help.
    Configuration,
    /// What was asked for does not exist.
    Missing,
    /// The other side does not answer.
    Unreachable,
}

/// A feed that cannot go on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct FeedError {
    /// What kind of end.
    pub fault: FeedFault,
    /// What, where and what to do.
    pub message: String,
}

/// A partitioned stream without end.
pub trait Feed: Send {
    /// Appends messages to `into`: at most `limit`, waiting at most `wait` for the first. Nothing may have come.
    ///
    /// # Errors
    /// Only what no retry can mend; everything else is retried inside and told by [`Feed::next_event`].
    fn poll(&mut self, into: &mut RecordBatch, limit: usize, wait: Duration) -> Result<(), FeedError>;

    /// What happened meanwhile, oldest first.
    fn next_event(&mut self) -> Option<FeedEvent>;

    /// Asks the cluster what it has of these partitions. It waits for the answer.
    ///
    /// # Errors
    /// If there is none.
    fn bounds(&mut self, partitions: &[Partition]) -> Result<Vec<Bounds>, FeedError>;

    /// Every partition that the topics of the feed have, whoever has it. It waits for the answer.
    ///
    /// # Errors
    /// If there is none.
    fn all_partitions(&mut self) -> Result<Vec<Partition>, FeedError>;

    /// Answers [`FeedEvent::Assigned`]: from now on messages of these partitions are handed out, beginning at `start`.
    ///
    /// # Errors
    /// If the assignment is refused.
    fn begin(&mut self, partitions: &[Partition], start: &Start) -> Result<(), FeedError>;

    /// The runtime has finished with revoked partitions.
    fn release(&mut self, partitions: &[Partition]);

    /// Commits positions: the next offset of each partition.
    ///
    /// # Errors
    /// If the answer did not come or was a refusal. The same positions can be committed again later.
    fn commit(&mut self, positions: &[(Partition, i64)], how: Commit) -> Result<(), FeedError>;

    /// Stops handing out messages of these partitions (backpressure).
    fn pause(&mut self, partitions: &[Partition]);

    /// Hands them out again.
    fn resume(&mut self, partitions: &[Partition]);

    /// At the end: from now on nothing more is accepted, and what was accepted and cannot be read again by anybody is appended to `into`,
    /// at most `limit` messages. Called until nothing comes.
    fn rest(&mut self, _into: &mut RecordBatch, _limit: usize) {}

    /// Leaves, within a time.
    fn close(&mut self, within: Duration);
}

/// A block of polled messages, copied once into one buffer that is reused.
#[derive(Debug, Default)]
pub struct RecordBatch {
    bytes: Vec<u8>,
    all: Vec<Message>,
}

#[derive(Debug)]
struct Message {
    partition: Partition,
    offset: i64,
    key: Option<Range<usize>>,
    payload: Option<Range<usize>>,
    headers: Vec<OwnedHeader>,
}

/// A buffer keeps at most this many bytes for the next block: twice the bytes after which the Kafka feed closes a block, so that
/// a usual block never allocates, and one huge message does not hold its memory for ever.
const KEPT_BYTES: usize = 8 * 1024 * 1024;

// === impl Partition ===

impl Partition {
    /// A partition by its names.
    pub fn new(topic: impl Into<Arc<str>>, number: i32) -> Self {
        Self { topic: topic.into(), number }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.number)
    }
}

// === impl FeedError ===

impl FeedError {
    /// An error of a kind.
    pub fn new(fault: FeedFault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into() }
    }
}

// === impl RecordBatch ===

impl RecordBatch {
    /// Forgets the messages and keeps the buffer, unless it has grown out of proportion.
    pub fn clear(&mut self) {
        self.all.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Bytes of keys and payloads.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a message.
    pub fn push(
        &mut self,
        partition: Partition,
        offset: i64,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        headers: Vec<OwnedHeader>,
    ) {
        let mut keep = |part: &[u8]| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(part);
            start..self.bytes.len()
        };
        let key = key.map(&mut keep);
        let payload = payload.map(&mut keep);
        self.all.push(Message { partition, offset, key, payload, headers });
    }

    /// Partition of a message. Panics if there are not so many.
    pub fn partition(&self, index: usize) -> &Partition {
        &self.all[index].partition
    }

    /// Offset of a message. Panics if there are not so many.
    pub fn offset(&self, index: usize) -> i64 {
        self.all[index].offset
    }

    /// Key of a message. Panics if there are not so many.
    pub fn key(&self, index: usize) -> Option<&[u8]> {
        self.all[index].key.clone().map(|range| &self.bytes[range])
    }

    /// Payload of a message; `None` is a tombstone. Panics if there are not so many.
    pub fn payload(&self, index: usize) -> Option<&[u8]> {
        self.all[index].payload.clone().map(|range| &self.bytes[range])
    }

    /// Headers of a message. Panics if there are not so many.
    pub fn headers(&self, index: usize) -> &[OwnedHeader] {
        &self.all[index].headers
    }

    /// Lends a message to `read` in the form that decoders take. Panics if there are not so many.
    pub fn with_record<R>(&self, index: usize, read: impl FnOnce(&Record<'_>) -> R) -> R {
        let message = &self.all[index];
        let headers: Vec<(&str, &[u8])> =
            message.headers.iter().map(|(name, value)| (name.as_ref(), value.as_deref().unwrap_or_default())).collect();
        read(&Record {
            key: self.key(index),
            headers: &headers,
            payload: self.payload(index).unwrap_or_default(),
            provenance: self.provenance(index),
        })
    }

    /// Where a message lies. Panics if there are not so many.
    pub fn provenance(&self, index: usize) -> Provenance {
        let Message { partition, offset, .. } = &self.all[index];
        Provenance { topic: (&partition.topic).into(), partition: partition.number, offset: *offset, row: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_is_lent_out_unchanged() {
        let mut messages = RecordBatch::default();
        messages.push(Partition::new("t", 1), 7, Some(b"k"), Some(b"value"), vec![("h".into(), Some(b"x".as_slice().into()))]);
        messages.push(Partition::new("t", 2), 8, None, None, Vec::new());
        messages.with_record(0, |record| {
            assert_eq!(
                (record.provenance.topic.name(), record.key, record.payload),
                ("t", Some(b"k".as_slice()), b"value".as_slice())
            );
            assert_eq!(record.headers, [("h", b"x".as_slice())]);
            assert_eq!((record.provenance.partition, record.provenance.offset), (1, 7));
        });
        assert_eq!(messages.payload(1), None, "a tombstone is no empty message");
        messages.clear();
        assert!(messages.is_empty() && messages.bytes() == 0);
    }
}

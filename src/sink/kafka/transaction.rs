//! Transactions: messages and the offsets that they follow from, all or nothing.
//!
//! A process that dies leaves a transaction open. Until it ends, readers of committed messages wait at its first message. It ends when a
//! producer with the same `transactional.id` begins, or after `transaction.timeout.ms`. A member that lost its partitions is refused by the
//! generation of its group, so its `transactional.id` need not be that of its successor.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseRecord, Producer as _};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::{KafkaProducer, ROWS};
use crate::clock::Deadline;
use crate::sink::metrics::Metrics;
use crate::sink::{Flushed, SinkError};
use crate::source::feed::{FeedError, FeedFault};

/// Longest wait for a first answer about transactions. Chosen: a broker makes its log of transactions at the first one, which takes seconds.
const INIT_LIMIT: Duration = Duration::from_secs(60);
/// Pause between two attempts of a step that can be tried again.
const RETRY: Duration = Duration::from_millis(50);

/// A transaction that did not come about: nothing of it is seen by anybody.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a transaction was not committed: {0}")]
pub struct Aborted(pub String);

impl KafkaProducer {
    /// A producer with an open transaction. An unfinished one of the same `id` is ended.
    ///
    /// # Errors
    /// If librdkafka refuses the options, or the cluster does not allow transactions.
    pub fn transactional(config: &ClientConfig, id: &str, timeout: Duration, metrics: Metrics) -> Result<Self, FeedError> {
        let mut config = config.clone();
        let limit = timeout.as_millis().to_string();
        config.set("transactional.id", id).set("transaction.timeout.ms", &limit);
        // A message may not wait for longer than its transaction.
        config.set("message.timeout.ms", &limit);
        let producer = Self::new(&config, metrics)?;
        let refused = |error: KafkaError| {
            let remedy = "allow this user to write with the transactional.id, and check the brokers' log of transactions";
            FeedError::new(FeedFault::Unreachable, format!("Kafka does not begin a transaction for '{id}': {error}; {remedy}"))
        };
        retried(Deadline::after(INIT_LIMIT), || producer.producer.init_transactions(INIT_LIMIT)).map_err(refused)?;
        producer.producer.begin_transaction().map_err(refused)?;
        Ok(producer)
    }

    /// Commits what was sent since the last commit, together with the offsets of a group's member, and begins the next transaction.
    ///
    /// # Errors
    /// If it was not committed: this producer is of no more use, and what was sent is sent again from the committed offsets on.
    pub fn commit(
        &self,
        offsets: &TopicPartitionList,
        member: Option<&ConsumerGroupMetadata>,
        deadline: Deadline,
    ) -> Result<(), Aborted> {
        let aborted = |error: KafkaError| {
            // Whether or not it succeeds, the cluster ends the transaction in time.
            let _ = self.producer.abort_transaction(RETRY);
            Aborted(error.to_string())
        };
        if let Some(member) = member.filter(|_| offsets.count() > 0) {
            let send = || self.producer.send_offsets_to_transaction(offsets, member, deadline.remaining());
            retried(deadline, send).map_err(aborted)?;
        }
        // A dead letter that was too large is sent again in part, and belongs to this transaction.
        while self.flush(deadline).map_err(|error| Aborted(error.0))? == Flushed::Pending {
            if deadline.remaining().is_zero() {
                self.abort();
                return Err(Aborted("the cluster did not take all messages in time".into()));
            }
        }
        retried(deadline, || self.producer.commit_transaction(deadline.remaining())).map_err(aborted)?;
        self.check().map_err(|error| Aborted(error.0))?;
        self.producer.begin_transaction().map_err(aborted)
    }

    /// Throws away what was sent since the last commit. The producer is of no more use.
    pub fn abort(&self) {
        // Whether or not it succeeds, the cluster ends the transaction in time.
        let _ = self.producer.abort_transaction(Duration::from_secs(1));
    }

    /// Sends a frame of rows to a partition of their topic.
    ///
    /// # Errors
    /// If the topic takes nothing.
    pub fn send_frame(&self, topic: &str, partition: i32, frame: &[u8]) -> Result<(), SinkError> {
        self.send(BaseRecord::with_opaque_to(topic, ROWS).partition(partition).payload(frame))
    }
}

/// Tries again what may be tried again, until the deadline.
fn retried(deadline: Deadline, mut step: impl FnMut() -> KafkaResult<()>) -> KafkaResult<()> {
    loop {
        match step() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && deadline.remaining() > RETRY => {
                std::thread::sleep(RETRY);
            }
            done => return done,
        }
    }
}

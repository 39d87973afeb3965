//! What librdkafka reports through callbacks: rebalances, complaints, statistics. They are kept here until the feed takes them.
//!
//! Rebalances are *not* answered in the callback. librdkafka waits until the member calls assign or unassign, whenever that is,
//! so the callback only notes the change; the runtime finishes and commits first, in its own thread and at its own pace.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use serde::Deserialize;

use super::connect::Complaints;

/// A change of the assignment that waits for its answer.
#[derive(Debug)]
pub enum AssignmentChange {
    /// Partitions come.
    Assign(TopicPartitionList),
    /// Partitions go; `true` if they are gone already.
    Revoke(TopicPartitionList, bool),
}

/// The client context of the consumer.
#[derive(Debug, Default)]
pub struct Context {
    notes: Mutex<Notes>,
    /// Something waits in `notes`; saves the lock on the path of every message.
    news: AtomicBool,
    closing: AtomicBool,
}

/// What has been noted since it was last taken.
#[derive(Debug, Default)]
pub struct Notes {
    /// Changes of the assignment, oldest first.
    pub changes: VecDeque<AssignmentChange>,
    /// Complaints of the cluster, oldest first, bounded.
    pub complaints: VecDeque<(RDKafkaErrorCode, String)>,
    /// The latest statistics.
    pub statistics: Option<Statistics>,
    /// Refused commits, for the log.
    pub refused_commit: Option<KafkaError>,
    latest: Option<(RDKafkaErrorCode, String)>,
}

/// What is read of librdkafka's statistics.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Statistics {
    /// Brokers by name.
    #[serde(default)]
    pub brokers: BTreeMap<String, BrokerState>,
    /// Topics by name.
    #[serde(default)]
    pub topics: BTreeMap<String, TopicState>,
}

/// A broker.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct BrokerState {
    /// `UP` when usable.
    #[serde(default)]
    pub state: String,
}

/// A topic.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TopicState {
    /// Partitions by number; `-1` is librdkafka's own.
    #[serde(default)]
    pub partitions: BTreeMap<String, PartitionState>,
}

/// A partition; negative offsets mean unknown.
#[derive(Clone, Debug, Deserialize)]
pub struct PartitionState {
    /// Messages fetched and not handed out.
    pub fetchq_cnt: i64,
    /// Next offset to fetch.
    pub next_offset: i64,
    /// Committed position.
    pub committed_offset: i64,
    /// First offset there is.
    pub lo_offset: i64,
    /// Offset behind the last message.
    pub hi_offset: i64,
    /// Offset behind the last message that can be read under the configured isolation.
    #[serde(default = "unknown")]
    pub ls_offset: i64,
}

const fn unknown() -> i64 {
    -1
}

/// Complaints kept until they are taken. librdkafka repeats a complaint with every connection attempt, so sixteen hold every kind.
const MAX_COMPLAINTS: usize = 16;

// === impl Context ===

impl Context {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        // A poisoned lock means that a note was half taken; the notes are still notes.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, take: impl FnOnce(&mut Notes)) {
        take(&mut self.notes());
        self.news.store(true, Ordering::Release);
    }

    /// Whether [`Context::take`] would find something.
    pub fn has_news(&self) -> bool {
        self.news.load(Ordering::Acquire)
    }

    /// Everything noted since the last call.
    pub fn take(&self) -> Notes {
        self.news.store(false, Ordering::Release);
        let mut notes = self.notes();
        let latest = notes.latest.take();
        let taken = std::mem::take(&mut *notes);
        notes.latest = latest;
        taken
    }

    /// From now on rebalances are answered at once, since nobody will look at the notes again.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }
}

impl Complaints for Context {
    fn latest(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.notes().latest.clone()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match serde_json::from_slice(statistics) {
            Ok(statistics) => self.note(|notes| notes.statistics = Some(statistics)),
            Err(error) => tracing::debug!(%error, "librdkafka's statistics cannot be read"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        self.note(|notes| {
            // "All brokers are down" follows the complaint that says why; the reason is worth more.
            if code != RDKafkaErrorCode::AllBrokersDown || notes.latest.is_none() {
                notes.latest = Some((code, reason.to_owned()));
            }
            if notes.complaints.len() == MAX_COMPLAINTS {
                notes.complaints.pop_front();
            }
            notes.complaints.push_back((code, reason.to_owned()));
        });
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let assign = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            answer(consumer, partitions, assign);
            return;
        }
        let lost = !assign && consumer.assignment_lost();
        let list = partitions.clone();
        let change = if assign { AssignmentChange::Assign(list) } else { AssignmentChange::Revoke(list, lost) };
        self.note(|notes| notes.changes.push_back(change));
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        match result {
            // There was nothing to commit: not a refusal.
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(error) => self.note(|notes| notes.refused_commit = Some(error)),
        }
    }
}

/// Tells librdkafka that a rebalance is dealt with.
pub fn answer(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList, assign: bool) {
    let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
    let outcome = match (cooperative, assign) {
        (true, true) => consumer.incremental_assign(partitions),
        (true, false) => consumer.incremental_unassign(partitions),
        (false, true) => consumer.assign(partitions),
        (false, false) => consumer.unassign(),
    };
    if let Err(error) = outcome {
        tracing::warn!(%error, "the group did not take the answer to a rebalance; it will be asked again");
    }
}

/// librdkafka's own log lines.
pub fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            // It repeats each failed connection attempt; what matters is told as an event once.
            tracing::debug!(target: "librdkafka", "{facility} {message}");
        }
        RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => tracing::debug!(target: "librdkafka", "{facility} {message}"),
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => tracing::trace!(target: "librdkafka", "{facility} {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: RDKafkaErrorCode) -> KafkaError {
        KafkaError::Global(code)
    }

    #[test]
    fn a_complaint_is_kept_with_its_reason_and_taken_once() {
        let context = Context::default();
        assert!(!context.has_news());
        context.error(error(RDKafkaErrorCode::SaslAuthenticationFailed), "wrong password");
        assert!(context.has_news());
        let notes = context.take();
        assert_eq!(notes.complaints, [(RDKafkaErrorCode::SaslAuthenticationFailed, "wrong password".to_owned())]);
        assert!(!context.has_news() && context.take().complaints.is_empty());
        assert!(context.latest().is_some(), "the latest complaint explains a later failure");
    }

    #[test]
    fn all_brokers_down_does_not_hide_the_complaint_that_says_why() {
        let context = Context::default();
        context.error(error(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        assert_eq!(context.latest().unwrap().0, RDKafkaErrorCode::AllBrokersDown, "it is all there is");
        context.error(error(RDKafkaErrorCode::SSL), "certificate has expired");
        context.error(error(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        assert_eq!(context.latest().unwrap().1, "certificate has expired");
    }

    #[test]
    fn complaints_that_nobody_takes_stay_bounded_and_the_newest_are_kept() {
        let context = Context::default();
        for number in 0..1_000 {
            context.error(error(RDKafkaErrorCode::BrokerTransportFailure), &number.to_string());
        }
        let complaints = context.take().complaints;
        assert_eq!(complaints.len(), MAX_COMPLAINTS);
        assert_eq!(complaints.back().unwrap().1, "999");
    }

    #[test]
    fn statistics_are_read_and_what_is_no_statistics_is_ignored() {
        let context = Context::default();
        context.stats_raw(b"{");
        assert!(!context.has_news());
        let text = r#"{"brokers":{"b:9092/1":{"state":"UP","rtt":{}}},"topics":{"t":{"partitions":{"0":
            {"fetchq_cnt":3,"next_offset":7,"committed_offset":-1001,"lo_offset":0,"hi_offset":10,"ls_offset":10}}}}}"#;
        context.stats_raw(text.as_bytes());
        let statistics = context.take().statistics.unwrap();
        assert_eq!(statistics.brokers["b:9092/1"].state, "UP");
        let partition = &statistics.topics["t"].partitions["0"];
        assert_eq!((partition.fetchq_cnt, partition.next_offset, partition.hi_offset), (3, 7, 10));
    }

    #[test]
    fn a_commit_of_nothing_is_no_refusal_and_any_other_is() {
        let context = Context::default();
        let none = TopicPartitionList::new();
        context.commit_callback(Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)), &none);
        context.commit_callback(Ok(()), &none);
        assert!(!context.has_news());
        context.commit_callback(Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::RebalanceInProgress)), &none);
        assert!(context.take().refused_commit.is_some());
    }
}

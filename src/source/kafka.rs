//! A Kafka consumer group as a [`Feed`].
//!
//! Any option of librdkafka passes through ([`connect`] has the shipped defaults). Messages are taken in batches. Rebalances
//! become events that the runtime answers when it is ready ([`context`]). Positions are committed only when the runtime says so.
//! Ends of partitions, and so the lag, come from librdkafka's statistics: they ride on the fetches and cost no request of their
//! own.

pub mod config;
pub mod connect;
pub mod context;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::OwnedHeader;
use super::feed::{Bounds, Commit, End, Feed, FeedError, FeedEvent, FeedFault, Partition, RecordBatch, Start};
use config::KafkaConfig;
use connect::{explain, fault_of};
use context::{AssignmentChange, Context, Statistics, answer};

/// A block is closed beyond this many bytes, however few messages it holds, so that memory follows bytes and not counts. Chosen:
/// 2 048 messages (the default batch) of 2 kB, about twice the size of a usual event.
const BLOCK_BYTES: usize = 4 * 1024 * 1024;

/// Longest wait for one answer about a partition, and how often it is asked for. Chosen: a coordinator that moves takes some seconds; half a
/// minute of silence in the middle of a rebalance means that something is broken.
const BOUNDS_WAIT: Duration = Duration::from_secs(10);
const BOUNDS_TRIES: usize = 3;

/// Statistics in a row without a connection before the cluster counts as gone. One alone may fall into a reconnect; two are two
/// seconds apart at the default interval.
const SILENT_REPORTS: u32 = 2;

/// A member of a consumer group.
pub struct KafkaFeed {
    /// `None` once closed.
    consumer: Option<Arc<BaseConsumer<Context>>>,
    brokers: String,
    events: VecDeque<FeedEvent>,
    /// Assignments that wait for the runtime's answer, oldest first.
    coming: VecDeque<TopicPartitionList>,
    /// Revocation that waits for the runtime's answer.
    revoked: Option<TopicPartitionList>,
    assigned: BTreeMap<(String, i32), Partition>,
    reachable: bool,
    /// Statistics in a row without a single connection that is up.
    silent: u32,
    /// The cluster's latest complaint.
    said: String,
}

// === impl KafkaFeed ===

impl KafkaFeed {
    /// Joins the group: makes the first contact, checks that the topics exist, and subscribes. `stop` ends the waiting.
    ///
    /// # Errors
    /// What no retry can mend, or silence for the configured time; the message says what, where and what to do.
    pub fn join(config: &KafkaConfig, directory: &Path, stop: &dyn Fn() -> bool) -> Result<Self, FeedError> {
        let client = connect::consumer_config(config, directory)?;
        let consumer: BaseConsumer<Context> = connect::create(&client, Context::default())?;
        connect::first_contact(&consumer, &config.brokers, &config.topics, config.connect_timeout.0, stop)?;
        let topics: Vec<&str> = config.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|error| {
            FeedError::new(
                FeedFault::Configuration,
                format!("cannot subscribe to {topics:?}: {error}; correct source.kafka.topics"),
            )
        })?;
        Ok(Self {
            consumer: Some(Arc::new(consumer)),
            brokers: config.brokers.clone(),
            events: VecDeque::new(),
            coming: VecDeque::new(),
            revoked: None,
            assigned: BTreeMap::new(),
            reachable: true,
            silent: 0,
            said: String::new(),
        })
    }

    /// This member, for transactions that commit its offsets; none once it has left.
    pub fn member(&self) -> Option<ConsumerGroupMetadata> {
        self.consumer.as_ref()?.group_metadata()
    }

    /// Looks at what librdkafka told on the side.
    fn drain_callbacks(&mut self) -> Result<(), FeedError> {
        let Some(consumer) = self.consumer.clone() else { return Ok(()) };
        let notes = consumer.context().take();
        if let Some(error) = notes.refused_commit {
            tracing::warn!(%error, "a commit was refused; the positions are committed again with the next one");
        }
        for change in notes.changes {
            match change {
                AssignmentChange::Assign(list) => {
                    let partitions = partitions(&list);
                    self.coming.push_back(list);
                    for partition in &partitions {
                        self.assigned.insert((partition.topic.to_string(), partition.number), partition.clone());
                    }
                    self.events.push_back(FeedEvent::Assigned(partitions));
                }
                AssignmentChange::Revoke(list, lost) => {
                    let partitions = partitions(&list);
                    self.revoked = Some(list);
                    self.events.push_back(FeedEvent::Revoked { partitions, lost });
                }
            }
        }
        for (code, said) in notes.complaints {
            self.complaint(code, &said)?;
        }
        if let Some(statistics) = notes.statistics {
            self.statistics(&statistics);
        }
        Ok(())
    }

    fn complaint(&mut self, code: RDKafkaErrorCode, said: &str) -> Result<(), FeedError> {
        match fault_of(code) {
            // It existed when we joined, so somebody is making it anew, or took it away.
            Some(FeedFault::Missing) if code != RDKafkaErrorCode::AutoOffsetReset => {
                self.events.push_back(FeedEvent::TopicMissing(said.to_owned()));
                return Ok(());
            }
            Some(fault) => return Err(FeedError::new(fault, explain(fault, &self.brokers, said))),
            None => {}
        }
        self.said = said.to_owned();
        tracing::debug!(?code, said, "Kafka complains; librdkafka retries");
        Ok(())
    }

    fn statistics(&mut self, statistics: &Statistics) {
        self.reachability(statistics.brokers.values().any(|broker| broker.state == "UP"));
        let positions = self.consumer.as_ref().and_then(|consumer| consumer.position().ok()).unwrap_or_default();
        let mut ends = Vec::new();
        for ((topic, number), partition) in &self.assigned {
            let state = statistics.topics.get(topic).and_then(|topic| topic.partitions.get(&number.to_string()));
            // The high end is unknown (negative) until the first answer to a fetch.
            let Some(state) = state.filter(|state| state.hi_offset >= 0) else { continue };
            let start = if state.committed_offset >= 0 { state.committed_offset } else { state.lo_offset.max(0) };
            // Up to where the configured isolation lets us read.
            let high = if state.ls_offset >= 0 { state.ls_offset } else { state.hi_offset };
            // librdkafka moves the position behind the marks of transactions, in the order of the messages.
            let position = positions.find_partition(topic, *number).and_then(|found| match found.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            });
            let drained = position.is_some_and(|position| position >= high) || (state.fetchq_cnt == 0 && state.next_offset >= high);
            let low = (state.lo_offset >= 0).then_some(state.lo_offset);
            ends.push(End { partition: partition.clone(), low, high, start, position, drained, open: state.hi_offset - high });
        }
        self.events.push_back(FeedEvent::Ends(ends));
    }

    /// Whether the cluster answers is read from the state of the connections. librdkafka's own "all brokers are down" is said once
    /// or not at all, depending on which connection breaks first.
    fn reachability(&mut self, up: bool) {
        self.silent = if up { 0 } else { self.silent.saturating_add(1) };
        if up && !self.reachable {
            self.reachable = true;
            self.events.push_back(FeedEvent::Reachable);
        }
        if self.silent >= SILENT_REPORTS && self.reachable {
            self.reachable = false;
            let said = if self.said.is_empty() { "no connection is up" } else { &self.said };
            self.events.push_back(FeedEvent::Unreachable(explain(FeedFault::Unreachable, &self.brokers, said)));
        }
    }

    fn partition(&self, topic: &str, number: i32) -> Partition {
        // The key is only needed for the rare message of a partition that is not ours any more.
        self.assigned
            .range((topic.to_owned(), number)..)
            .next()
            .filter(|((known, n), _)| known == topic && *n == number)
            .map_or_else(|| Partition::new(topic, number), |(_, partition)| partition.clone())
    }

    /// Offsets as librdkafka takes them.
    pub fn list(positions: &[(Partition, i64)]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, position) in positions {
            // Refused only for offsets below zero, which positions never are.
            let _ = list.add_partition_offset(&partition.topic, partition.number, Offset::Offset(*position));
        }
        list
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<Partition> {
    list.elements().iter().map(|element| Partition::new(element.topic(), element.partition())).collect()
}

/// Writes the offsets that a new assignment begins at into its list; the others stay at the committed position.
fn set_offsets(list: &mut TopicPartitionList, offsets: &[(Partition, i64)]) -> Result<(), FeedError> {
    for (partition, offset) in offsets {
        // A partition that another member has is not in the list, and is none of ours to begin.
        if list.find_partition(&partition.topic, partition.number).is_some() {
            list.set_partition_offset(&partition.topic, partition.number, Offset::Offset(*offset)).map_err(|error| {
                FeedError::new(FeedFault::Configuration, format!("{partition} cannot begin at offset {offset}: {error}"))
            })?;
        }
    }
    Ok(())
}

fn plain_list(partitions: &[Partition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(&partition.topic, partition.number);
    }
    list
}

/// Copies the headers. The binding panics on a header name that is not UTF-8. Anybody who may write to the topic can write such a
/// header, and it would stop every member for ever; so the panic is caught here.
fn copy_headers<H: Headers>(headers: &H) -> Vec<OwnedHeader> {
    let copy = |index: usize| {
        let header = catch_unwind(AssertUnwindSafe(|| {
            headers.try_get(index).map(|header| (Box::from(header.key), header.value.map(Box::from)))
        }));
        header.unwrap_or_else(|_| Some((Box::from("(header name is no UTF-8)"), None)))
    };
    (0..headers.count()).filter_map(copy).collect()
}

fn push(into: &mut RecordBatch, partition: Partition, message: &BorrowedMessage<'_>) {
    let headers = message.headers().map(copy_headers).unwrap_or_default();
    into.push(partition, message.offset(), message.key(), message.payload(), headers);
}

impl Feed for KafkaFeed {
    fn poll(&mut self, into: &mut RecordBatch, limit: usize, wait: Duration) -> Result<(), FeedError> {
        let Some(consumer) = self.consumer.clone() else { return Ok(()) };
        let mut wait = wait;
        let mut last: Option<Partition> = None;
        // While a revocation waits, nothing more is taken.
        while self.revoked.is_none() && into.len() < limit && into.bytes() < BLOCK_BYTES {
            match consumer.poll(wait) {
                Some(Ok(message)) => {
                    // Messages come in runs of one partition.
                    let same = last.take().filter(|last| last.number == message.partition() && *last.topic == *message.topic());
                    let partition = same.unwrap_or_else(|| self.partition(message.topic(), message.partition()));
                    last = Some(partition.clone());
                    push(into, partition, &message);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                // The complaint behind it has been noted with its reason.
                Some(Err(error)) => {
                    self.drain_callbacks()?;
                    if let Some(code) = error.rdkafka_error_code() {
                        self.complaint(code, &error.to_string())?;
                    }
                    break;
                }
                None => {
                    if consumer.context().has_news() {
                        self.drain_callbacks()?;
                    }
                    break;
                }
            }
            if consumer.context().has_news() {
                self.drain_callbacks()?;
            }
            // Only the first message is waited for.
            wait = Duration::ZERO;
        }
        Ok(())
    }

    fn next_event(&mut self) -> Option<FeedEvent> {
        self.events.pop_front()
    }

    fn bounds(&mut self, partitions: &[Partition]) -> Result<Vec<Bounds>, FeedError> {
        let Some(consumer) = self.consumer.clone() else { return Ok(Vec::new()) };
        let fault = |error: KafkaError| {
            FeedError::new(FeedFault::Unreachable, explain(FeedFault::Unreachable, &self.brokers, &error.to_string()))
        };
        let committed = retried(|| consumer.committed_offsets(plain_list(partitions), BOUNDS_WAIT)).map_err(fault)?;
        let bounds = |partition: &Partition| {
            let (low, high) =
                retried(|| consumer.fetch_watermarks(&partition.topic, partition.number, BOUNDS_WAIT)).map_err(fault)?;
            let found = committed.find_partition(&partition.topic, partition.number);
            let committed = found.and_then(|element| match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            });
            Ok(Bounds { partition: partition.clone(), low, high, committed })
        };
        partitions.iter().map(bounds).collect()
    }

    /// Topics that a pattern finds are known by what was assigned of them.
    fn all_partitions(&mut self) -> Result<Vec<Partition>, FeedError> {
        let Some(consumer) = self.consumer.clone() else { return Ok(Vec::new()) };
        let topics: BTreeSet<String> = consumer
            .subscription()
            .map(|list| list.elements().iter().map(|element| element.topic().to_owned()).collect())
            .unwrap_or_default();
        let named = topics.into_iter().filter(|topic| !topic.starts_with('^'));
        let topics: BTreeSet<String> = named.chain(self.assigned.keys().map(|(topic, _)| topic.clone())).collect();
        let mut all = Vec::new();
        for topic in topics {
            let known = retried(|| consumer.fetch_metadata(Some(&topic), BOUNDS_WAIT)).map_err(|error| {
                FeedError::new(FeedFault::Unreachable, explain(FeedFault::Unreachable, &self.brokers, &error.to_string()))
            })?;
            let name: Arc<str> = topic.as_str().into();
            let numbers = known.topics().iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id());
            all.extend(numbers.map(|number| Partition { topic: name.clone(), number }));
        }
        Ok(all)
    }

    fn begin(&mut self, _partitions: &[Partition], start: &Start) -> Result<(), FeedError> {
        // Answers come in the order of the events, so this is the answer to the oldest assignment.
        let (Some(consumer), Some(mut list)) = (&self.consumer, self.coming.pop_front()) else { return Ok(()) };
        if let Start::At(offsets) = start {
            set_offsets(&mut list, offsets)?;
        }
        answer(consumer, &list, true);
        Ok(())
    }

    fn release(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.assigned.remove(&(partition.topic.to_string(), partition.number));
        }
        if let (Some(consumer), Some(list)) = (&self.consumer, self.revoked.take()) {
            answer(consumer, &list, false);
        }
    }

    fn commit(&mut self, positions: &[(Partition, i64)], how: Commit) -> Result<(), FeedError> {
        let Some(consumer) = self.consumer.clone() else { return Ok(()) };
        if positions.is_empty() {
            return Ok(());
        }
        let list = Self::list(positions);
        let outcome = match how {
            Commit::Soon => consumer.commit(&list, CommitMode::Async),
            // librdkafka waits for a coordinator without a limit of its own that we could set, so the limit is put around it.
            Commit::By(deadline) => within(deadline.remaining(), move || consumer.commit(&list, CommitMode::Sync))
                .unwrap_or(Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::OperationTimedOut))),
        };
        outcome.or_else(|error| match error {
            KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset) => Ok(()),
            error => Err(FeedError::new(FeedFault::Unreachable, format!("the positions could not be committed: {error}"))),
        })
    }

    fn pause(&mut self, partitions: &[Partition]) {
        if let Some(Err(error)) = self.consumer.as_ref().map(|consumer| consumer.pause(&plain_list(partitions))) {
            tracing::debug!(%error, "a partition could not be paused");
        }
    }

    fn resume(&mut self, partitions: &[Partition]) {
        if let Some(Err(error)) = self.consumer.as_ref().map(|consumer| consumer.resume(&plain_list(partitions))) {
            tracing::debug!(%error, "a partition could not be resumed");
        }
    }

    fn close(&mut self, limit: Duration) {
        if let Some(consumer) = self.consumer.take() {
            consumer.context().close();
            // A rebalance that nobody answers would keep the group waiting for us.
            while let Some(list) = self.coming.pop_front() {
                answer(&consumer, &list, true);
            }
            if let Some(list) = self.revoked.take() {
                answer(&consumer, &list, false);
            }
            // Leaving the group is part of dropping the consumer.
            if within(limit, move || drop(consumer)).is_none() {
                tracing::warn!("the group could not be left in time; its other members take over after the session timeout");
            }
        }
    }
}

/// Asks up to [`BOUNDS_TRIES`] times.
fn retried<T>(mut ask: impl FnMut() -> KafkaResult<T>) -> KafkaResult<T> {
    let mut answer = ask();
    for _ in 1..BOUNDS_TRIES {
        if answer.is_ok() {
            break;
        }
        answer = ask();
    }
    answer
}

/// Runs `work` on a thread of its own and waits at most `limit` for it; `None` if it took longer (it is left behind).
fn within<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, wait) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        // Nobody waits any more after the limit.
        let _ = done.send(work());
    });
    wait.recv_timeout(limit).ok()
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Header;

    use super::*;

    #[test]
    fn an_assignment_carries_the_offsets_of_its_own_partitions_and_of_no_other() {
        let mut list = plain_list(&[Partition::new("t", 0), Partition::new("t", 1)]);
        set_offsets(&mut list, &[(Partition::new("t", 1), 42), (Partition::new("t", 7), 3)]).unwrap();
        let offsets: Vec<_> = list.elements().iter().map(|element| (element.partition(), element.offset())).collect();
        assert_eq!(offsets, [(0, Offset::Invalid), (1, Offset::Offset(42))]);
        assert!(set_offsets(&mut list, &[(Partition::new("t", 0), -7)]).is_err(), "an offset below zero is none");
    }

    /// Headers of which the first has a name that is not UTF-8.
    struct Hostile;

    impl Headers for Hostile {
        fn count(&self) -> usize {
            2
        }

        fn try_get(&self, index: usize) -> Option<Header<'_, &[u8]>> {
            assert!(index != 0, "as the binding does for a name that is no UTF-8");
            Some(Header { key: "fine", value: Some(b"x".as_slice()) })
        }
    }

    #[test]
    fn a_header_that_makes_the_binding_panic_stops_nothing() {
        let headers = copy_headers(&Hostile);
        assert_eq!(headers.len(), 2);
        assert_eq!(headers[1].0.as_ref(), "fine");
    }
}

//! The front: decodes a share of the source partitions and writes frames, in one transaction with the source offsets.
//!
//! Everything between two commits is one transaction. A revocation commits first; whoever is next goes on behind it. A front that cannot commit
//! joins anew and reads again from what is committed: nobody saw what it had written.

use std::collections::BTreeMap;
use std::time::Duration;

use super::frame::{FrameWriter, Mark, OwnedOriginal, Sent};
use super::{HalfError, LOST, Routes};
use crate::clock::Deadline;
use crate::decode::Decoder;
use crate::event::EventTime;
use crate::runtime::block::Block;
use crate::runtime::config::RuntimeConfig;
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::partition_merger::Now;
use crate::runtime::shards::Judgement;
use crate::sink::kafka::KafkaProducer;
use crate::sink::kafka::transaction::Aborted;
use crate::source::feed::{Feed, FeedEvent, Partition, Start};
use crate::source::kafka::KafkaFeed;

/// Longest wait for messages in one turn: marks of time go out in between.
const POLL_WAIT: Duration = Duration::from_millis(20);
/// A source partition is spoken of at least this often, so that owners know that its writer lives. A tenth of the default `idle_after`.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Bytes after which a frame is closed. Chosen: a quarter of what brokers take at most by default.
const FRAME_BYTES: usize = 256 * 1024;

/// A member of the group that decodes.
pub struct Front<'a> {
    feed: KafkaFeed,
    producer: KafkaProducer,
    decoders: &'a mut [Decoder],
    dispatcher: &'a mut Dispatcher,
    config: &'a RuntimeConfig,
    routes: &'a Routes,
    rows: &'a str,
    /// Partitions of the rows topic that some model has.
    used: Vec<i32>,
    /// Whether the bytes of records travel, because late ones are kept.
    keeps_originals: bool,
    sources: BTreeMap<Partition, Source>,
    /// Partitions of each source topic.
    known: Vec<(String, i32)>,
    blocks: Vec<Block>,
    last_commit: Duration,
}

/// A source partition that is ours.
#[derive(Debug, Default)]
struct Source {
    writers: BTreeMap<i32, FrameWriter>,
    /// Next offset to decode; none before the first message.
    position: Option<i64>,
    committed: Option<i64>,
    watermark: Option<EventTime>,
    caught_up: bool,
    /// Something has changed since the last mark.
    has_news: bool,
    /// When the last mark was written; none before the first.
    marked: Option<Duration>,
}

// === impl Front ===

impl<'a> Front<'a> {
    /// A front that has joined its group. The dead letters of `dispatcher` are written with `producer`.
    #[expect(clippy::too_many_arguments, reason = "made in one place")]
    pub fn new(
        feed: KafkaFeed,
        producer: KafkaProducer,
        decoders: &'a mut [Decoder],
        dispatcher: &'a mut Dispatcher,
        config: &'a RuntimeConfig,
        routes: &'a Routes,
        rows: &'a str,
        keeps_originals: bool,
    ) -> Self {
        Self {
            feed,
            producer,
            used: routes.partitions(),
            blocks: decoders.iter().map(|_| Block::default()).collect(),
            decoders,
            dispatcher,
            config,
            routes,
            rows,
            keeps_originals,
            sources: BTreeMap::new(),
            known: Vec::new(),
            last_commit: Duration::ZERO,
        }
    }

    /// One turn.
    ///
    /// # Errors
    /// [`HalfError::Again`] if it must join anew; else what no retry can mend.
    pub fn step(&mut self, now: Now) -> Result<(), HalfError> {
        let used = self.poll()?;
        let revoked = self.events()?;
        let mut blocks = std::mem::take(&mut self.blocks);
        decode(&mut blocks[..used], self.decoders);
        let taken = blocks[..used].iter().try_for_each(|block| self.take_in(block, now));
        self.blocks = blocks;
        taken?;
        for partitions in revoked {
            self.commit(now)?;
            for partition in &partitions {
                self.sources.remove(partition);
                self.dispatcher.sinks.metrics.forget_partition(&partition.topic, partition.number);
            }
            self.feed.release(&partitions);
        }
        if now.since_start >= self.last_commit + self.config.repartition.commit_interval.0 {
            self.commit(now)?;
        }
        Ok(())
    }

    /// Reads up to one block a decoder; how many have messages.
    fn poll(&mut self) -> Result<usize, HalfError> {
        let mut wait = POLL_WAIT;
        let mut used = 0;
        for block in &mut self.blocks {
            block.messages.clear();
            self.feed.poll(&mut block.messages, self.config.batch_records, wait)?;
            used += usize::from(!block.messages.is_empty());
            if block.messages.len() < self.config.batch_records {
                break;
            }
            wait = Duration::ZERO;
        }
        Ok(used)
    }

    fn events(&mut self) -> Result<Vec<Vec<Partition>>, HalfError> {
        let mut revoked = Vec::new();
        while let Some(event) = self.feed.next_event() {
            match event {
                FeedEvent::Assigned(partitions) => self.assigned(&partitions)?,
                FeedEvent::Revoked { lost: true, .. } => return Err(Aborted(LOST.into()).into()),
                FeedEvent::Revoked { partitions, .. } => revoked.push(partitions),
                FeedEvent::Ends(ends) => {
                    for end in ends {
                        let Partition { topic, number } = &end.partition;
                        let Some(source) = self.sources.get_mut(&end.partition) else { continue };
                        let position = source.position.unwrap_or(end.start);
                        // Messages that were handed out and not decoded do not exist between turns.
                        source.set_caught_up(end.drained);
                        if end.drained {
                            // Behind the last message may lie marks of transactions.
                            source.position = source.position.max(end.position);
                        }
                        let lag = if end.drained { 0 } else { (end.high - position).max(0) };
                        self.dispatcher.sinks.metrics.lag(topic, *number, lag);
                    }
                }
                FeedEvent::TopicMissing(why) => tracing::warn!("{why}; it is waited for"),
                FeedEvent::Unreachable(why) => tracing::warn!("{why}; retrying"),
                FeedEvent::Reachable => tracing::info!("Kafka answers again"),
            }
        }
        Ok(revoked)
    }

    fn assigned(&mut self, partitions: &[Partition]) -> Result<(), HalfError> {
        let mut counts: BTreeMap<String, i32> = BTreeMap::new();
        for partition in self.feed.all_partitions()? {
            let count = counts.entry(partition.topic.to_string()).or_default();
            *count = (*count).max(partition.number + 1);
        }
        self.known = counts.into_iter().collect();
        for partition in partitions {
            tracing::info!(%partition, "decodes a partition");
            self.sources.insert(partition.clone(), Source { has_news: true, ..Source::default() });
        }
        Ok(self.feed.begin(partitions, &Start::Committed)?)
    }

    fn take_in(&mut self, block: &Block, now: Now) -> Result<(), HalfError> {
        let mut records: Vec<Judgement<'_>> = Vec::new();
        for index in 0..block.messages.len() {
            let partition = block.messages.partition(index);
            // It came after its partition had gone: the next member reads it.
            let Some(source) = self.sources.get_mut(partition) else { continue };
            let offset = block.messages.offset(index);
            if block.messages.payload(index).is_none() {
                self.dispatcher.tombstone(partition);
            }
            records.clear();
            records.extend(block.records(index));
            let time = block.time(index).or_else(|| records.iter().find_map(time_of_caller));
            for &to in &self.used {
                let own = records.iter().filter_map(|record| sent(record, self.routes, to));
                if own.clone().next().is_none() {
                    continue;
                }
                let original = self.keeps_originals.then(|| original(block, index));
                let writer = source.writers.entry(to).or_default();
                writer.push(offset, time, own, original);
                if writer.bytes() >= FRAME_BYTES {
                    let mut full = std::mem::take(writer);
                    source.reached(block.time(index), now);
                    self.producer.send_frame(self.rows, to, &full.finish(&source.mark(partition, &self.known, now)))?;
                }
            }
            source.reached(block.time(index), now);
            source.position = Some(offset + 1);
            for record in records.iter().filter(|record| record.query.is_none()) {
                self.dispatcher.deliver(record, now)?;
            }
        }
        Ok(())
    }

    /// Writes what is new, and commits it with the offsets behind it.
    fn commit(&mut self, now: Now) -> Result<(), HalfError> {
        self.last_commit = now.since_start;
        let mut offsets = Vec::new();
        let mut sent = false;
        for (partition, source) in &mut self.sources {
            let is_due = source.marked.is_none_or(|at| now.since_start >= at + HEARTBEAT);
            if !source.has_news && !is_due {
                continue;
            }
            let mark = source.mark(partition, &self.known, now);
            for &to in &self.used {
                let frame = source.writers.entry(to).or_default().finish(&mark);
                self.producer.send_frame(self.rows, to, &frame)?;
            }
            (source.has_news, source.marked, sent) = (false, Some(now.since_start), true);
            if let Some(position) = source.position.filter(|position| Some(*position) > source.committed) {
                offsets.push((partition.clone(), position));
            }
        }
        if !sent {
            return Ok(());
        }
        let deadline = Deadline::after(self.config.repartition.transaction_timeout.0);
        self.dispatcher.flush(deadline)?;
        self.producer.commit(&KafkaFeed::list(&offsets), self.feed.member().as_ref(), deadline)?;
        for (partition, position) in offsets {
            if let Some(source) = self.sources.get_mut(&partition) {
                source.committed = Some(position);
            }
        }
        Ok(())
    }

    /// The orderly end: commits and leaves the group.
    ///
    /// # Errors
    /// If the commit fails.
    pub fn finish(mut self, now: Now) -> Result<(), HalfError> {
        let committed = self.commit(now);
        self.feed.close(self.config.shutdown_timeout.0 / 3);
        committed
    }

    /// Leaves without committing.
    pub fn abandon(mut self) {
        self.producer.abort();
        self.feed.close(self.config.shutdown_timeout.0 / 3);
    }
}

// === impl Source ===

impl Source {
    fn set_caught_up(&mut self, caught_up: bool) {
        self.has_news |= self.caught_up != caught_up;
        self.caught_up = caught_up;
    }

    /// A message of this time was taken in.
    fn reached(&mut self, time: Option<EventTime>, now: Now) {
        // Beyond the clock nothing counts: one wrong time must not let everything pass.
        self.watermark = self.watermark.max(time.map(|time| time.min(now.wall)));
        (self.has_news, self.caught_up) = (true, false);
    }

    fn mark(&self, partition: &Partition, known: &[(String, i32)], now: Now) -> Mark {
        Mark {
            topic: partition.topic.to_string(),
            partition: partition.number,
            watermark: self.watermark.map(EventTime::micros),
            caught_up: self.caught_up,
            wall: now.wall.micros(),
            sources: known.to_vec(),
        }
    }
}

/// Decodes blocks side by side.
fn decode(blocks: &mut [Block], decoders: &mut [Decoder]) {
    if let ([block], [decoder, ..]) = (&mut *blocks, &mut *decoders) {
        block.decode(decoder, None);
        return;
    }
    std::thread::scope(|scope| {
        for (block, decoder) in blocks.iter_mut().zip(decoders) {
            scope.spawn(move || block.decode(decoder, None));
        }
    });
}

/// A record as it goes to a rows partition, if it goes there.
fn sent<'a>(record: &'a Judgement<'_>, routes: &Routes, to: i32) -> Option<Sent<'a>> {
    let route = routes.of(record.model().unwrap_or_default()).filter(|route| route.partition == to)?;
    match record.query {
        Some(query) => Some(Sent::Query(query, route.digest)),
        None => {
            let rejection = record.rejection()?;
            rejection.evidence(record.provenance)?;
            Some(Sent::Evidence(record.provenance, rejection))
        }
    }
}

fn time_of_caller(record: &Judgement<'_>) -> Option<EventTime> {
    record.rejection()?.caller.as_ref()?.time
}

fn original(block: &Block, index: usize) -> OwnedOriginal {
    let messages = &block.messages;
    OwnedOriginal {
        key: messages.key(index).map(<[u8]>::to_vec),
        payload: messages.payload(index).map(<[u8]>::to_vec),
        headers: messages.headers(index).to_vec(),
    }
}

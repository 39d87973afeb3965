//! The service's loop: poll → decode → engine → deliver → commit.
//!
//! One thread owns the order of things; what can run side by side does so inside a step. [`Runtime::step`] is one turn:
//!
//! 1. **poll** up to one block a decoder; waiting only if there is nothing else to do;
//! 2. **decode** the blocks side by side, while the engines judge what earlier turns read;
//! 3. **take in**: messages go to the queues of their partitions ([`partition_merger`]);
//! 4. **judge** what the merger lets out, in the order of event time, and **deliver** verdicts and dead letters;
//! 5. **answer** what happened to the partitions; make a **snapshot** and **commit** when it is time ([`snapshots`]).
//!
//! The position of a partition moves behind a message when the message is judged and handed to the sinks, and a position is
//! committed only after the sinks have delivered. At-least-once holds by this order alone.
//!
//! Between turns nothing is under way, so a revocation is simple: what was judged is delivered and committed; what was not is
//! dropped and read again by the next owner. When members join and leave in an orderly way, nothing is counted twice.
//!
//! Backpressure follows from the same order: a sink that takes no more stops the turn, so nothing is polled; a partition whose
//! queue is full is paused at the source. Nothing here is unbounded.
//!
//! Event time moves with the events. While nothing arrives it follows the wall clock, at most `idle_advance` past the last
//! event. That is enough for the open windows to close and report, and little enough that a log which resumes after an outage is
//! not late as a whole. Before the first event there is no event time and nothing moves.

pub mod block;
mod commits;
pub mod config;
pub mod dispatcher;
pub mod joiner;
pub mod partition_merger;
mod place;
mod rebalance;
pub mod schema_gate;
pub mod shards;
pub mod share;
pub mod snapshots;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use crate::checkpoint::CheckpointError;
use crate::clock::Deadline;
use crate::decode::Decoder;
use crate::health::{Phase, Readiness};
use crate::observer::Observer;
use crate::outcome::OutcomeCounts;
use crate::sink::metrics::Metrics;
use crate::sink::{BestEffort, DeadLetterSink, MustDeliver, SinkError};
use crate::source::feed::{Feed, FeedError, FeedEvent, Partition, Start};
use crate::source::http;
use crate::source::registry::Schemas;
use block::{Block, Blocks};
use config::RuntimeConfig;
use dispatcher::Dispatcher;
use joiner::Joiner;
use partition_merger::{Item, MergeSettings, Now, PartitionMerger, Pushed};
use schema_gate::SchemaGate;
use shards::Shards;
use share::Shared;
use snapshots::Snapshots;

/// Longest wait for messages in one turn: how soon a stop is noticed and timers run. A tenth of a second is what a person takes
/// for at once.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// How long a periodic commit waits for deliveries before it is put off. Chosen: far longer than a healthy broker takes to
/// acknowledge, and a tenth of the default commit interval, so waiting holds up judging for at most a tenth of the time.
const DELIVERY_WAIT: Duration = Duration::from_millis(500);
/// How long a revocation may take for delivering and committing together. The group's session lasts 45 s by default, so the member
/// is not expelled meanwhile.
const REVOKE_LIMIT: Duration = Duration::from_secs(10);

/// An observer of a running service. It cannot fail, so it cannot stop the service.
pub type ServiceObserver = Box<dyn Observer<Error = Infallible> + Send>;

/// Says where newly assigned partitions begin.
pub type StartOf = Box<dyn FnMut(&[Partition]) -> Start + Send>;

/// Why the loop ended.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The source cannot go on.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// A sink cannot go on.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// State is required, and cannot be had.
    #[error(transparent)]
    State(#[from] CheckpointError),
    /// Another member has some of the partitions, so models would be judged in halves.
    #[error("{0}")]
    Split(String),
}

/// Where results go. Every sink and every observer gets every verdict, in order.
pub struct Sinks {
    /// Verdict sinks that block the commit until they have delivered.
    pub must_deliver: Vec<MustDeliver>,
    /// Verdict sinks whose failures are counted and stop nothing.
    pub best_effort: Vec<BestEffort>,
    /// Rejected and late records. Blocks the commit until it has delivered.
    pub dead_letters: Box<dyn DeadLetterSink>,
    /// Whether late records are wanted there.
    pub keep_late: bool,
    /// Those who are told of every record, such as the page of the demo.
    pub observers: Vec<ServiceObserver>,
    /// Numbers.
    pub metrics: Metrics,
    /// Whether we are ready.
    pub readiness: Readiness,
}

/// The loop.
pub struct Runtime<F: Feed> {
    feed: F,
    config: RuntimeConfig,
    readers: Vec<Decoder>,
    /// Number of readers, which are away while they decode.
    decoders: usize,
    shards: Shards,
    merger: PartitionMerger,
    blocks: Blocks,
    dispatcher: Dispatcher,
    start_of: StartOf,
    /// Joins calls whose halves are logged apart; none if they are logged whole.
    joiner: Option<Joiner>,
    /// Schemas of records, and the batches that wait for them; none without a registry.
    schemas: Option<SchemaGate>,
    shared: Shared,
    /// State that survives; none if it is not kept.
    snapshots: Option<Snapshots>,
    /// More could be judged at once: do not wait for messages.
    busy: bool,
    /// What is held takes too many bytes.
    pressure: bool,
    next_commit: Duration,
    next_status: Duration,
    items: Vec<Item>,
}

// === impl Runtime ===

impl<F: Feed> Runtime<F> {
    /// A loop over `feed`. `decoders` decides how many blocks are decoded side by side; `lateness` is the engine's.
    pub fn new(feed: F, config: RuntimeConfig, decoders: Vec<Decoder>, shards: Shards, lateness: Duration, sinks: Sinks) -> Self {
        // Half of the lateness that the engine tolerates; the other half is for disorder within a partition.
        let settings = MergeSettings { slack: lateness / 2, idle_after: config.idle_after.0, capacity: config.buffer_records };
        sinks.readiness.set(Phase::Connecting);
        Self {
            shared: Shared::new(config.keyed_by_model),
            feed,
            config,
            decoders: decoders.len(),
            readers: decoders,
            shards,
            merger: PartitionMerger::new(settings),
            blocks: Blocks::default(),
            dispatcher: Dispatcher::new(sinks),
            start_of: Box::new(|_| Start::Committed),
            joiner: None,
            schemas: None,
            snapshots: None,
            busy: false,
            pressure: false,
            next_commit: Duration::ZERO,
            next_status: Duration::ZERO,
            items: Vec::new(),
        }
    }

    /// Lets `start_of` say where newly assigned partitions begin, instead of behind what the group has committed.
    #[must_use]
    pub fn starting(mut self, start_of: StartOf) -> Self {
        self.start_of = start_of;
        self
    }

    /// Joins calls whose halves are logged apart.
    #[must_use]
    pub fn joining(mut self, joiner: Joiner) -> Self {
        self.joiner = Some(joiner);
        self
    }

    /// Reads records whose schemas a registry has.
    #[must_use]
    pub fn with_schemas(mut self, schemas: Schemas) -> Self {
        self.schemas = Some(SchemaGate::new(schemas));
        self
    }

    /// Keeps the state of the models, and restores it when partitions come. Then the snapshots say where partitions begin.
    #[must_use]
    pub fn keeping(mut self, snapshots: Snapshots) -> Self {
        self.snapshots = Some(snapshots);
        self
    }

    /// What went through so far.
    pub fn counts(&self) -> OutcomeCounts {
        self.dispatcher.counts
    }

    /// One turn.
    ///
    /// # Errors
    /// What no retry can mend. What was judged and not committed is read again by whoever goes on.
    pub fn step(&mut self, now: Now) -> Result<(), RuntimeError> {
        let mut blocks = self.poll()?;
        // Partitions that come are known before their first message; those that go, only after their last.
        let revoked = self.events(now)?;
        blocks = self.await_schemas(blocks);
        let judged = self.decode_and_judge(&mut blocks, now)?;
        self.take_in(blocks, now);
        self.busy = (judged || self.judge(now)?) && !self.shared.waits();
        for (partitions, lost) in revoked {
            self.revoked(&partitions, lost, now)?;
        }
        if self.merger.pass_marks()
            && let Some(snapshots) = &mut self.snapshots
        {
            // The next cut carries the new offsets, and the commit follows it.
            snapshots.note_change();
        }
        self.balance();
        self.tick(now)?;
        self.timers(now)
    }

    /// Takes what happened to the feed, and returns the revocations, which are answered at the end of the turn.
    fn events(&mut self, now: Now) -> Result<Vec<(Vec<Partition>, bool)>, RuntimeError> {
        let mut revoked = Vec::new();
        // The latest news alone: what was polled before it is pushed before the next.
        let mut latest = BTreeMap::new();
        while let Some(event) = self.feed.next_event() {
            match event {
                FeedEvent::Assigned(partitions) => self.assigned(&partitions, now)?,
                FeedEvent::Revoked { partitions, lost } => revoked.push((partitions, lost)),
                FeedEvent::Ends(ends) => latest.extend(ends.into_iter().map(|end| (end.partition.clone(), end))),
                FeedEvent::TopicMissing(why) => {
                    tracing::warn!("a topic is gone, and waited for until it is there again: {}", why.trim());
                    self.dispatcher.sinks.readiness.set(Phase::Retrying);
                }
                FeedEvent::Unreachable(why) => {
                    tracing::warn!("{why}; retrying");
                    self.dispatcher.sinks.readiness.set(Phase::Retrying);
                }
                FeedEvent::Reachable => {
                    tracing::info!("Kafka answers again");
                    self.dispatcher.sinks.readiness.set(if self.shared.waits() { Phase::Split } else { Phase::Ready });
                }
            }
        }
        if !latest.is_empty() {
            self.ends(&latest.into_values().collect::<Vec<_>>());
        }
        Ok(revoked)
    }

    /// Pauses partitions that hold too much, and resumes those that have worked it off.
    fn balance(&mut self) {
        if self.schemas.as_ref().is_some_and(SchemaGate::is_waiting) {
            // Everything is paused.
            return;
        }
        let limit = self.config.buffer_bytes;
        self.pressure = self.blocks.held() > if self.pressure { limit / 2 } else { limit };
        let (pause, resume) = self.merger.balance(self.pressure);
        if !pause.is_empty() {
            self.feed.pause(&pause);
        }
        if !resume.is_empty() {
            self.feed.resume(&resume);
        }
    }

    fn poll(&mut self) -> Result<Vec<Block>, RuntimeError> {
        let mut wait = if self.busy { Duration::ZERO } else { POLL_WAIT };
        let mut blocks = Vec::new();
        for _ in 0..self.decoders.max(1) {
            let mut block = self.blocks.fresh();
            let polled = self.feed.poll(&mut block.messages, self.config.batch_records, wait);
            let full = block.messages.len() >= self.config.batch_records;
            if block.messages.is_empty() {
                self.blocks.give_back(block);
            } else {
                blocks.push(block);
            }
            polled?;
            if !full {
                break;
            }
            wait = Duration::ZERO;
        }
        Ok(blocks)
    }

    /// Decodes the blocks. If that is worth threads, the engines work meanwhile; says whether they did and may have more.
    fn decode_and_judge(&mut self, blocks: &mut [Block], now: Now) -> Result<bool, RuntimeError> {
        // A decoder that has one block to itself and nothing beside it needs no thread.
        let schemas = self.schemas.as_ref().map(|gate| gate.schemas.clone());
        if blocks.len() < 2 {
            for (block, decoder) in blocks.iter_mut().zip(&mut self.readers) {
                block.decode(decoder, schemas.as_ref());
            }
            return Ok(false);
        }
        let mut decoders = std::mem::take(&mut self.readers);
        let judged = std::thread::scope(|scope| {
            // As many as there are decoders; after a wait there may be more blocks.
            let share = blocks.len().div_ceil(decoders.len().max(1));
            for (blocks, decoder) in blocks.chunks_mut(share).zip(&mut decoders) {
                let schemas = schemas.as_ref();
                scope.spawn(move || blocks.iter_mut().for_each(|block| block.decode(decoder, schemas)));
            }
            self.judge(now)
        });
        self.readers = decoders;
        // Full blocks came, so there is something to do in the next turn whatever the merger lets out.
        judged.map(|_| true)
    }

    fn take_in(&mut self, blocks: Vec<Block>, now: Now) {
        for block in blocks {
            let count = block.messages.len();
            let number = self.blocks.add(block);
            for index in 0..count {
                let Some(block) = self.blocks.get(number) else { break };
                let partition = block.messages.partition(index).clone();
                let item = Item { block: number, index, offset: block.messages.offset(index), time: block.time(index) };
                match self.merger.push(&partition, item, now) {
                    Pushed::Taken => {}
                    Pushed::BeginsAnew => self.begins_anew(&partition, item.offset),
                    Pushed::Gone => {
                        // It came after its partition had gone: the next owner reads it.
                        tracing::debug!(%partition, offset = item.offset, "dropped a message of a partition that is not ours");
                        self.blocks.done(number);
                    }
                }
            }
        }
    }

    /// Judges what the merger lets out and delivers the results; returns whether there may be more.
    fn judge(&mut self, now: Now) -> Result<bool, RuntimeError> {
        if self.shared.waits() {
            return Ok(false);
        }
        // As much as one turn can read, so that reading never gets ahead for long.
        let limit = self.config.batch_records * self.decoders.max(1);
        self.items.clear();
        self.merger.release(now, limit, &mut self.items);
        if let Some(joiner) = &mut self.joiner {
            joiner.join(&self.items, &mut self.blocks);
        }
        let mut judgements = Vec::with_capacity(self.items.len());
        let mut messages = Vec::with_capacity(self.items.len());
        judgements.extend(self.joiner.iter().flat_map(Joiner::unasked));
        let unasked = judgements.len();
        for (nth, item) in self.items.iter().enumerate() {
            let Some(block) = self.blocks.get(item.block) else { continue };
            let first = judgements.len();
            judgements.extend(block.records(item.index));
            judgements.extend(self.joiner.iter().flat_map(|joiner| joiner.records(nth)));
            let partition = block.messages.partition(item.index);
            if self.shared.is_checked() {
                rebalance::note_models(&mut self.shared, &judgements[first..], partition);
            }
            let silent = self.snapshots.as_mut().is_some_and(|it| it.admit(partition, item.offset, &mut judgements[first..]));
            if block.messages.payload(item.index).is_none() && !silent {
                self.dispatcher.tombstone(partition);
            }
            messages.push((partition, item.offset, first..judgements.len(), silent));
        }
        self.shards.judge(&mut judgements);
        if let Some(snapshots) = self.snapshots.as_mut().filter(|_| !messages.is_empty() || unasked > 0) {
            snapshots.note_change();
        }
        for judgement in &judgements[..unasked] {
            self.dispatcher.deliver(judgement, now)?;
        }
        for (partition, offset, records, silent) in messages {
            for judgement in &judgements[records] {
                if silent {
                    self.dispatcher.silent(judgement, now);
                } else {
                    self.dispatcher.deliver(judgement, now)?;
                }
            }
            // Only now: a message whose delivery failed stays in front of the position.
            self.merger.done(partition, offset);
        }
        drop(judgements);
        for item in &self.items {
            self.blocks.done(item.block);
        }
        Ok(self.items.len() >= limit)
    }

    fn tick(&mut self, now: Now) -> Result<(), RuntimeError> {
        // Records that wait for their schema will come, so event time must not go past them.
        let waits = self.schemas.as_ref().is_some_and(SchemaGate::is_waiting);
        if self.busy || waits || self.shared.waits() || !self.merger.is_idle(now) {
            return Ok(());
        }
        if let Some(time) = self.dispatcher.tick(&self.config, now) {
            if let Some(joiner) = &mut self.joiner {
                // What has waited too long is judged before event time moves on.
                joiner.advance(time);
                self.judge(now)?;
            }
            let verdicts = self.shards.tick(time);
            if let Some(snapshots) = &mut self.snapshots {
                snapshots.note_change();
            }
            self.dispatcher.verdicts(&verdicts, now)?;
        }
        Ok(())
    }

    fn publish_lags(&self) {
        for (partition, lag) in self.merger.lags() {
            self.dispatcher.sinks.metrics.lag(&partition.topic, partition.number, lag);
        }
    }

    /// Brings metrics and observers up to date.
    pub fn publish(&mut self, now: Now) {
        let status = self.shards.status();
        self.dispatcher.status(&status, now);
    }

    /// The orderly end: nothing more is polled; what can be judged is judged, delivered and committed; then the group is left.
    /// Takes at most about `shutdown_timeout`: a third for judging, a third for delivering and committing, a third for leaving.
    ///
    /// # Errors
    /// If deliveries fail. What was not committed is read again by the next owner.
    pub fn finish(mut self, now: &mut dyn FnMut() -> Now) -> Result<OutcomeCounts, RuntimeError> {
        self.dispatcher.sinks.readiness.set(Phase::Stopping);
        let whole = self.config.shutdown_timeout.0;
        self.take_rest(now());
        let stop_judging = now().since_start + whole / 3;
        let ended = loop {
            let present = now();
            match self.judge(present) {
                Ok(true) if present.since_start < stop_judging => {}
                Ok(_) => {
                    // Posted halves are read again by nobody.
                    let judged = match &mut self.joiner {
                        Some(joiner) => {
                            joiner.end_of(http::TOPIC);
                            self.judge(present)
                        }
                        None => Ok(false),
                    };
                    let deadline = Deadline::after(whole / 3);
                    break judged.and_then(|_| self.conclude(deadline, present));
                }
                Err(error) => break Err(error),
            }
        };
        self.publish(now());
        let counts = self.dispatcher.counts;
        self.feed.close(whole / 3);
        ended.map(|()| counts)
    }

    /// The end after a delivery failed: the group is left and nothing is committed, so the next owner delivers again.
    pub fn abandon(mut self) {
        self.dispatcher.sinks.readiness.set(Phase::Stopping);
        self.feed.close(self.config.shutdown_timeout.0 / 3);
    }
}

#[cfg(test)]
mod tests;

//! The service's loop: poll → decode → engine → deliver → commit.
//!
//! One thread owns the order of things; what can run side by side does so inside a step. [`Runtime::step`] is one turn:
//!
//! 1. **poll** up to one block a decoder; waiting only if there is nothing else to do;
//! 2. **decode** the blocks side by side, while the engines work on what earlier turns read;
//! 3. **take in**: messages go to the [`partition_merger`] of their partitions;
//! 4. **judge** what the lanes let out, in the order of event time, and deliver verdicts and dead letters;
//! 5. **answer** what happened to the partitions; **commit** when it is time.
//!
//! Between turns nothing is under way, so a revocation is simple: what was judged is delivered and committed, what was not is
//! dropped and read again by the next owner. At-least-once holds by order alone (deliver, then commit), and across members that
//! join and leave in an orderly way nothing is counted twice.
//!
//! Backpressure is the same order: a sink that does not take more stops the turn, so nothing is polled; a lane that is full is
//! paused at the source. Nothing here is unbounded.
//!
//! Event time moves with the events. While nothing arrives it follows the wall clock, at most `idle_advance` past the last
//! event: enough for the open windows to close and say what they found, little enough that a log which resumes after an outage
//! is not late as a whole. Before the first event there is no event time and nothing moves.

pub mod block;
pub mod dispatcher;
pub mod partition_merger;
pub mod shards;

use std::time::Duration;

use crate::api::health::{Phase, Readiness};
use crate::config::RuntimeConfig;
use crate::decode::Decoder;
use crate::engine::ModelStatus;
use crate::event::Query;
use crate::judge::Verdict;
use crate::sink::metrics::Metrics;
use crate::sink::{DeadLetterSink, Flushed, SinkError, VerdictSink};
use crate::source::feed::{Commit, Event, Feed, FeedError, Partition};
use block::{Block, Blocks};
use dispatcher::Dispatcher;
use partition_merger::{Item, Now, PartitionMerger, Settings};
use shards::{Shards, Step};

/// Longest wait for messages in one turn: how soon a stop is noticed and timers run.
const WAIT: Duration = Duration::from_millis(100);
/// How long deliveries may take before a periodic commit is put off to the next turn.
const DELIVERY_WAIT: Duration = Duration::from_millis(500);
/// How long a revocation may take for delivering and committing. The group's session is longer, so the member is not expelled.
const REVOKE_LIMIT: Duration = Duration::from_secs(10);

/// What went through, for the last words of a service and for tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Counts {
    /// Queries counted in windows.
    pub accepted: u64,
    /// Queries behind the watermark.
    pub late: u64,
    /// Records (or rows) that could not be read or used.
    pub rejected: u64,
    /// Verdicts.
    pub verdicts: u64,
}

/// Somebody who looks on: the page of the demo, a test. Called on the loop's own thread, so it must be quick.
pub trait Watcher: Send {
    /// A verdict was reached.
    fn verdict(&mut self, _verdict: &Verdict) {}
    /// State of the models, every `status_interval`.
    fn status(&mut self, _status: &[ModelStatus], _counts: &Counts, _now: Now) {}
}

/// Why the loop ended.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The source cannot go on.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// A sink cannot go on.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// Where results go.
pub struct Sinks {
    /// Every one of them gets every verdict.
    pub verdicts: Vec<Box<dyn VerdictSink>>,
    /// Rejected and late records.
    pub dead_letters: Box<dyn DeadLetterSink>,
    /// Whether late records are wanted there.
    pub keep_late: bool,
    /// Those who look on.
    pub watchers: Vec<Box<dyn Watcher>>,
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
    /// More could be judged at once: do not wait for messages.
    busy: bool,
    /// What is held takes too many bytes.
    pressure: bool,
    next_commit: Duration,
    next_status: Duration,
    items: Vec<Item>,
    steps: Vec<Step>,
}

// === impl Runtime ===

impl<F: Feed> Runtime<F> {
    /// A loop over `feed`. `decoders` decides how many blocks are decoded side by side; `lateness` is the engine's.
    pub fn new(feed: F, config: RuntimeConfig, decoders: Vec<Decoder>, shards: Shards, lateness: Duration, sinks: Sinks) -> Self {
        // Half of what the engine puts up with: the other half is for disorder within a partition.
        let settings = Settings { slack: lateness / 2, idle_after: config.idle_after.0, capacity: config.buffer_records };
        sinks.readiness.set(Phase::Connecting);
        Self {
            feed,
            config,
            decoders: decoders.len(),
            readers: decoders,
            shards,
            merger: PartitionMerger::new(settings),
            blocks: Blocks::default(),
            dispatcher: Dispatcher::new(sinks),
            busy: false,
            pressure: false,
            next_commit: Duration::ZERO,
            next_status: Duration::ZERO,
            items: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// What went through so far.
    pub fn counts(&self) -> Counts {
        self.dispatcher.counts
    }

    /// One turn.
    ///
    /// # Errors
    /// What no retry can mend. What was judged and not committed is read again by whoever goes on.
    pub fn step(&mut self, now: Now) -> Result<(), RuntimeError> {
        let mut blocks = self.poll()?;
        let mut revoked = Vec::new();
        // Partitions that come are known before their first message, those that go only after their last.
        while let Some(event) = self.feed.next_event() {
            match event {
                Event::Assigned(partitions) => self.assigned(&partitions, now),
                Event::Revoked { partitions, lost } => revoked.push((partitions, lost)),
                Event::Ends(ends) => {
                    self.merger.ends(&ends);
                    self.publish_lags();
                }
                Event::Unreachable(why) => {
                    tracing::warn!("{why}; retrying");
                    self.dispatcher.sinks.readiness.set(Phase::Retrying);
                }
                Event::Reachable => {
                    tracing::info!("Kafka answers again");
                    self.dispatcher.sinks.readiness.set(Phase::Ready);
                }
            }
        }
        let judged = self.decode_and_judge(&mut blocks, now)?;
        self.take_in(blocks, now);
        let more = if judged { true } else { self.judge(now)? };
        self.busy = more;
        for (partitions, lost) in revoked {
            self.revoked(&partitions, lost, now)?;
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
        self.tick(now)?;
        self.timers(now)
    }

    fn poll(&mut self) -> Result<Vec<Block>, RuntimeError> {
        let mut wait = if self.busy { Duration::ZERO } else { WAIT };
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
        if blocks.len() < 2 {
            for (block, decoder) in blocks.iter_mut().zip(&mut self.readers) {
                block.decode(decoder);
            }
            return Ok(false);
        }
        let mut decoders = std::mem::take(&mut self.readers);
        let judged = std::thread::scope(|scope| {
            for (block, decoder) in blocks.iter_mut().zip(&mut decoders) {
                scope.spawn(move || block.decode(decoder));
            }
            self.judge(now)
        });
        self.readers = decoders;
        // Full blocks came, so there is something to do in the next turn whatever the lanes let out.
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
                if !self.merger.push(&partition, item, now) {
                    // It came after its partition had gone: the next owner reads it.
                    tracing::debug!(%partition, offset = item.offset, "dropped a message of a partition that is not ours");
                    self.blocks.done(number);
                }
            }
        }
    }

    /// Judges what the lanes let out; says whether there may be more.
    fn judge(&mut self, now: Now) -> Result<bool, RuntimeError> {
        // As much as one turn can read, so that reading never gets ahead for long.
        let limit = self.config.batch_records * self.decoders.max(1);
        self.items.clear();
        self.merger.release(now, limit, &mut self.items);
        let blocks = &self.blocks;
        let queries: Vec<&Query> =
            self.items.iter().filter_map(|item| Some(blocks.get(item.block)?.queries(item.index))).flatten().collect();
        self.shards.step(&queries, &mut self.steps);
        let mut answers = self.steps.iter();
        for item in &self.items {
            if let Some(block) = self.blocks.get(item.block) {
                self.dispatcher.message(block, item, &mut answers, now)?;
            }
        }
        for item in &self.items {
            self.blocks.done(item.block);
        }
        Ok(self.items.len() >= limit)
    }

    fn assigned(&mut self, partitions: &[Partition], now: Now) {
        tracing::info!(partitions = %names(partitions), "assigned");
        self.merger.open(partitions, now);
        self.dispatcher.sinks.readiness.set(Phase::Ready);
    }

    fn revoked(&mut self, partitions: &[Partition], lost: bool, now: Now) -> Result<(), RuntimeError> {
        tracing::info!(partitions = %names(partitions), lost, "revoked");
        if !lost {
            self.commit(Commit::Now(REVOKE_LIMIT), REVOKE_LIMIT, now)?;
        }
        for partition in partitions {
            for item in self.merger.close(partition) {
                self.blocks.done(item.block);
            }
            self.dispatcher.sinks.metrics.forget_partition(&partition.topic, partition.number);
        }
        self.feed.release(partitions);
        Ok(())
    }

    fn tick(&mut self, now: Now) -> Result<(), RuntimeError> {
        if self.busy || !self.merger.is_idle(now) {
            return Ok(());
        }
        if let Some(time) = self.dispatcher.tick(&self.config, now) {
            let verdicts = self.shards.tick(time);
            self.dispatcher.verdicts(&verdicts, now)?;
        }
        Ok(())
    }

    fn timers(&mut self, now: Now) -> Result<(), RuntimeError> {
        if now.since_start >= self.next_commit {
            self.next_commit = now.since_start + self.config.commit_interval.0;
            if !self.commit(Commit::Soon, DELIVERY_WAIT, now)? {
                // Deliveries are under way; nothing is lost by trying again in the next turns.
                self.next_commit = now.since_start + DELIVERY_WAIT;
            }
        }
        if now.since_start >= self.next_status {
            self.next_status = now.since_start + self.config.status_interval.0;
            self.publish(now);
        }
        Ok(())
    }

    /// Delivers, then commits what was judged. `false` if deliveries are still under way and so nothing was committed.
    fn commit(&mut self, how: Commit, limit: Duration, now: Now) -> Result<bool, RuntimeError> {
        if self.dispatcher.flush(limit)? == Flushed::Pending {
            return Ok(false);
        }
        let positions = self.merger.positions();
        if !positions.is_empty() {
            match self.feed.commit(&positions, how) {
                Ok(()) => self.merger.committed(&positions),
                // The broker may be away for a moment. What is not committed is committed with the next turn, or read again.
                Err(error) => {
                    tracing::warn!("{error}; it will be tried again");
                    return Ok(true);
                }
            }
        }
        self.dispatcher.sinks.metrics.checkpoint(now.wall);
        Ok(true)
    }

    fn publish_lags(&self) {
        for (partition, lag) in self.merger.lags() {
            self.dispatcher.sinks.metrics.lag(&partition.topic, partition.number, lag);
        }
    }

    /// Brings metrics and watchers up to date.
    pub fn publish(&mut self, now: Now) {
        let status = self.shards.status();
        self.dispatcher.sinks.metrics.publish(&status, Some(now.wall));
        for watcher in &mut self.dispatcher.sinks.watchers {
            watcher.status(&status, &self.dispatcher.counts, now);
        }
    }

    /// The orderly end: nothing more is polled; what can be judged is judged, delivered and committed; then the group is left.
    /// Takes at most about `shutdown_timeout`, of which a third is kept for leaving.
    ///
    /// # Errors
    /// If deliveries fail. What was not committed is read again by the next owner.
    pub fn finish(mut self, now: &mut dyn FnMut() -> Now) -> Result<Counts, RuntimeError> {
        self.dispatcher.sinks.readiness.set(Phase::Stopping);
        let whole = self.config.shutdown_timeout.0;
        let deadline = now().since_start + whole / 3;
        let ended = loop {
            let present = now();
            match self.judge(present) {
                Ok(true) if present.since_start < deadline => {}
                Ok(_) => break self.commit(Commit::Now(whole / 3), whole / 3, present).map(|_| ()),
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

fn names(partitions: &[Partition]) -> String {
    partitions.iter().map(Partition::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;

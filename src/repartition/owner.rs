//! The owner: reads the rows topic, judges the models of its partitions, and commits verdicts and offsets in one transaction.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::order::OrderSettings;
use super::unit::{Unit, UnitParts};
use super::{HalfError, LOST, Routes};
use crate::checkpoint::keeper::Keeper;
use crate::checkpoint::keys::Keys;
use crate::checkpoint::store::Store;
use crate::clock::Deadline;
use crate::engine::EngineConfig;
use crate::health::{Phase, Readiness};
use crate::reference::Reference;
use crate::runtime::config::RuntimeConfig;
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::partition_merger::Now;
use crate::runtime::shards::Shards;
use crate::runtime::snapshots::SnapshotSettings;
use crate::sink::kafka::KafkaProducer;
use crate::sink::kafka::transaction::Aborted;
use crate::source::feed::{Bounds, Feed, FeedEvent, Partition, RecordBatch, Start};
use crate::source::kafka::KafkaFeed;

/// Longest wait for frames in one turn.
const POLL_WAIT: Duration = Duration::from_millis(50);
/// How long a revocation may take for committing and for a last snapshot together.
const REVOKE_LIMIT: Duration = Duration::from_secs(10);
/// Frames taken in one turn. Chosen: a frame has some hundred rows, so this is some milliseconds of judging.
const FRAMES: usize = 64;

/// What units are made of.
pub struct OwnerParts {
    /// Profiles of all models.
    pub references: Vec<Arc<Reference>>,
    /// Where rows go.
    pub routes: Routes,
    /// Settings of the engines.
    pub engine: EngineConfig,
    /// Where snapshots are kept.
    pub store: Store,
    /// Group, which names the folder of the snapshots.
    pub group: String,
    /// Where relative paths of keys begin, and the settings of the state.
    pub state: (crate::checkpoint::config::StateConfig, PathBuf),
    /// Settings of the loop.
    pub runtime: RuntimeConfig,
    /// Whether this process is ready.
    pub readiness: Readiness,
}

/// The owner of some rows partitions.
pub struct Owner<'a> {
    parts: &'a OwnerParts,
    feed: KafkaFeed,
    producer: KafkaProducer,
    dispatcher: &'a mut Dispatcher,
    units: BTreeMap<Partition, Unit>,
    batch: RecordBatch,
    /// Something was said since the last commit.
    said: bool,
    last_commit: Duration,
    next_status: Duration,
}

// === impl OwnerParts ===

impl OwnerParts {
    fn unit(&self, bounds: &Bounds, dispatcher: &Dispatcher, now: Now) -> Result<Unit, HalfError> {
        let number = bounds.partition.number;
        let own = self
            .references
            .iter()
            .filter(|reference| self.routes.of(&reference.model).is_some_and(|route| route.partition == number));
        let mut references: Vec<Arc<Reference>> = own.cloned().collect();
        references.sort_by(|a, b| a.model.cmp(&b.model));
        let names: Vec<String> = references.iter().map(|reference| reference.model.clone()).collect();
        let shards = Shards::new(1, &self.engine, references.clone());
        let shards = shards.map_err(|error| HalfError::Configuration(error.to_string()))?;
        let (state, directory) = &self.state;
        let keys = |(setting, what): (String, String)| HalfError::Configuration(format!("{setting}: {what}"));
        let keys: Keys = state.keys(directory).map_err(keys)?;
        let keeper = if names.is_empty() { None } else { Some(Keeper::start(&self.store, &self.group, &names, keys)?) };
        let parts = UnitParts {
            partition: bounds.partition.clone(),
            references,
            shards,
            keeper,
            order: OrderSettings {
                silent_after: self.runtime.repartition.silent_after.0,
                idle_after: self.runtime.idle_after.0,
                idle_advance: self.runtime.idle_advance.0,
                capacity: self.runtime.buffer_records,
            },
            snapshots: SnapshotSettings { interval: state.interval.0, required: state.required },
            metrics: dispatcher.sinks.metrics.clone(),
        };
        Ok(Unit::open(parts, bounds, now)?)
    }
}

// === impl Owner ===

impl<'a> Owner<'a> {
    /// An owner that has joined its group. The sinks of `dispatcher` write with `producer`.
    pub fn new(parts: &'a OwnerParts, feed: KafkaFeed, producer: KafkaProducer, dispatcher: &'a mut Dispatcher) -> Self {
        Self {
            parts,
            feed,
            producer,
            dispatcher,
            units: BTreeMap::new(),
            batch: RecordBatch::default(),
            said: false,
            last_commit: Duration::ZERO,
            next_status: Duration::ZERO,
        }
    }

    /// One turn.
    ///
    /// # Errors
    /// [`HalfError::Again`] if it must join anew; else what no retry can mend.
    pub fn step(&mut self, now: Now) -> Result<(), HalfError> {
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        self.feed.poll(&mut batch, FRAMES, POLL_WAIT)?;
        let revoked = self.events(now)?;
        for index in 0..batch.len() {
            if let Some(unit) = self.units.get_mut(batch.partition(index)) {
                let payload = batch.payload(index).unwrap_or_default();
                self.said |= unit.frame(batch.offset(index), payload, self.dispatcher, now)?;
            }
        }
        self.batch = batch;
        for partitions in revoked {
            self.revoked(&partitions, now)?;
        }
        self.timers(now)
    }

    fn events(&mut self, now: Now) -> Result<Vec<Vec<Partition>>, HalfError> {
        let mut revoked = Vec::new();
        while let Some(event) = self.feed.next_event() {
            match event {
                FeedEvent::Assigned(partitions) => self.assigned(&partitions, now)?,
                FeedEvent::Revoked { lost: true, .. } => {
                    return Err(Aborted(LOST.into()).into());
                }
                FeedEvent::Revoked { partitions, .. } => revoked.push(partitions),
                FeedEvent::Ends(ends) => {
                    for end in ends {
                        let done = self.units.get(&end.partition).map_or(end.start, Unit::start);
                        let lag = if end.drained { 0 } else { end.high - done };
                        let Partition { topic, number } = &end.partition;
                        self.dispatcher.sinks.metrics.lag(topic, *number, lag.max(0));
                    }
                }
                FeedEvent::TopicMissing(why) => tracing::warn!("{why}; it is waited for"),
                FeedEvent::Unreachable(why) => {
                    tracing::warn!("{why}; retrying");
                    self.parts.readiness.set(Phase::Retrying);
                }
                FeedEvent::Reachable => self.parts.readiness.set(Phase::Ready),
            }
        }
        Ok(revoked)
    }

    fn assigned(&mut self, partitions: &[Partition], now: Now) -> Result<(), HalfError> {
        self.parts.readiness.set(Phase::Restoring);
        let bounds = self.feed.bounds(partitions)?;
        let mut starts = Vec::new();
        for bounds in &bounds {
            let unit = self.parts.unit(bounds, self.dispatcher, now)?;
            tracing::info!(partition = %bounds.partition, from = unit.start(), committed = ?bounds.committed, "owns a partition of rows");
            starts.push((bounds.partition.clone(), unit.start()));
            self.units.insert(bounds.partition.clone(), unit);
        }
        self.feed.begin(partitions, &Start::At(starts))?;
        self.parts.readiness.set(Phase::Ready);
        Ok(())
    }

    fn revoked(&mut self, partitions: &[Partition], now: Now) -> Result<(), HalfError> {
        let deadline = Deadline::after(REVOKE_LIMIT);
        self.commit(deadline, now)?;
        for partition in partitions {
            if let Some(mut unit) = self.units.remove(partition) {
                unit.conclude(deadline, now);
            }
            self.dispatcher.sinks.metrics.forget_partition(&partition.topic, partition.number);
            tracing::info!(%partition, "gives a partition of rows away");
        }
        self.feed.release(partitions);
        Ok(())
    }

    fn timers(&mut self, now: Now) -> Result<(), HalfError> {
        self.units.values_mut().for_each(|unit| unit.take_report(Deadline::after(Duration::ZERO)));
        let runtime = &self.parts.runtime;
        let is_due = self.units.values().any(|unit| unit.is_due(now));
        let interval = if self.said { runtime.repartition.commit_interval.0 } else { runtime.commit_interval.0 };
        if is_due || now.since_start >= self.last_commit + interval {
            self.last_commit = now.since_start;
            self.commit(Deadline::after(runtime.repartition.transaction_timeout.0), now)?;
            // Directly behind the commit: state is never ahead of what was said.
            self.units.values_mut().filter(|unit| unit.is_due(now)).for_each(|unit| unit.cut(now));
        }
        if now.since_start >= self.next_status {
            self.next_status = now.since_start + runtime.status_interval.0;
            self.publish(now);
        }
        Ok(())
    }

    /// Commits what was said, and the offsets of the frames behind it.
    fn commit(&mut self, deadline: Deadline, now: Now) -> Result<(), HalfError> {
        let offsets: Vec<(Partition, i64)> =
            self.units.iter().filter_map(|(partition, unit)| Some((partition.clone(), unit.uncommitted()?))).collect();
        if offsets.is_empty() && !self.said {
            return Ok(());
        }
        self.dispatcher.flush(deadline)?;
        self.producer.commit(&KafkaFeed::list(&offsets), self.feed.member().as_ref(), deadline)?;
        for (partition, offset) in offsets {
            if let Some(unit) = self.units.get_mut(&partition) {
                unit.commit(offset);
            }
        }
        self.said = false;
        self.dispatcher.sinks.metrics.checkpoint(now.wall);
        self.dispatcher.flush_best_effort(Deadline::after(Duration::ZERO));
        Ok(())
    }

    fn publish(&mut self, now: Now) {
        let mut status: Vec<_> = self.units.values().flat_map(Unit::status).collect();
        status.sort_by(|a, b| a.model.cmp(&b.model));
        self.dispatcher.status(&status, now);
    }

    /// The orderly end: commits, makes the last snapshots and leaves the group.
    ///
    /// # Errors
    /// If the commit fails.
    pub fn finish(mut self, now: Now) -> Result<(), HalfError> {
        let whole = self.parts.runtime.shutdown_timeout.0;
        let deadline = Deadline::after(whole / 2);
        let committed = self.commit(deadline, now);
        if committed.is_ok() {
            self.units.values_mut().for_each(|unit| unit.conclude(deadline, now));
        }
        self.publish(now);
        self.feed.close(whole / 3);
        committed
    }

    /// Leaves without committing.
    pub fn abandon(mut self) {
        self.producer.abort();
        self.feed.close(self.parts.runtime.shutdown_timeout.0 / 3);
    }
}

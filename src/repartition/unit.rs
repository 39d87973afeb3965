//! A rows partition and its models: frames in, verdicts out; and its snapshots.
//!
//! A place is the offset of the next frame. The state of a model at a place is a function of the frames before it, so after a restore the unit
//! reads again what is between and says nothing up to the committed offset: that was said.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::frame::{self, Message, Row};
use super::order::{LogOrder, OrderSettings, Place};
use super::{HalfError, digest};
use crate::checkpoint::CheckpointError;
use crate::checkpoint::keeper::{Cut, Keeper, Takeover, UnitCut, UnitReport};
use crate::checkpoint::manifest::SnapshotInfo;
use crate::checkpoint::unit::Written;
use crate::clock::{self, Deadline};
use crate::engine::ModelStatus;
use crate::observer::Original;
use crate::outcome::{Outcome, RejectReason, Rejection};
use crate::reference::Reference;
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::partition_merger::Now;
use crate::runtime::shards::{Judgement, Shards};
use crate::runtime::snapshots::{ModelName, SnapshotSettings, restored};
use crate::sink::metrics::Metrics;
use crate::sink::metrics::snapshots::SnapshotOutcome;
use crate::source::feed::{Bounds, FeedError, FeedFault, Partition};

/// Cuts in a row that may be left out. Chosen: with a cut every 30 s it is 50 minutes, far less than the retention of the rows.
const LEFT_OUT: u32 = 100;

/// What a unit is made of.
pub struct UnitParts {
    /// Its rows partition.
    pub partition: Partition,
    /// Profiles of its models.
    pub references: Vec<Arc<Reference>>,
    /// Its engine.
    pub shards: Shards,
    /// Its snapshots; none if it has no model.
    pub keeper: Option<Keeper>,
    /// Order of judging.
    pub order: OrderSettings,
    /// How often snapshots are made.
    pub snapshots: SnapshotSettings,
    /// Numbers.
    pub metrics: Metrics,
}

/// A rows partition that is ours.
pub struct Unit {
    parts: UnitParts,
    models: Vec<ModelName>,
    /// Width and digest of each model's profile.
    shapes: BTreeMap<String, (usize, u64)>,
    order: LogOrder,
    /// Offset of the next frame.
    consumed: i64,
    /// Committed offset.
    committed: i64,
    /// Frames before this offset only fill the queues.
    refill_until: i64,
    /// What frames before this offset let out was said.
    silent_until: i64,
    /// What frames before these offsets let out is in the state of the model.
    known: BTreeMap<String, i64>,
    released: Vec<Message>,
    forced: u64,
    next_cut: Duration,
    /// Something was judged since the last cut.
    changed: bool,
    /// Cuts in a row that were left out, because only marks of time had come.
    left_out: u32,
    under_way: bool,
    failing: bool,
}

// === impl Unit ===

impl Unit {
    /// Takes a rows partition over: restores its models and finds where to begin.
    ///
    /// # Errors
    /// If state is required and cannot be had.
    pub fn open(mut parts: UnitParts, bounds: &Bounds, now: Now) -> Result<Self, CheckpointError> {
        let models: Vec<ModelName> = parts.references.iter().map(|reference| ModelName::of(reference)).collect();
        models.iter().for_each(|model| parts.metrics.know_unit(&model.name));
        let found = restore(&mut parts, &models)?;
        let shape = |reference: &Arc<Reference>| (reference.model.clone(), (reference.features.len(), digest(reference)));
        let committed = bounds.committed.filter(|committed| *committed <= bounds.high).unwrap_or(0);
        let mut unit = Self {
            shapes: parts.references.iter().map(shape).collect(),
            order: LogOrder::new(parts.order),
            consumed: bounds.low,
            committed,
            refill_until: 0,
            silent_until: committed,
            known: BTreeMap::new(),
            released: Vec::new(),
            forced: 0,
            next_cut: now.since_start + parts.snapshots.interval,
            changed: true,
            left_out: 0,
            under_way: false,
            failing: false,
            models,
            parts,
        };
        unit.begin(found, bounds);
        Ok(unit)
    }

    /// Goes on at the earliest place of all models. If one has none, from the beginning of the log: it may have been killed before its first
    /// snapshot.
    fn begin(&mut self, found: BTreeMap<String, SnapshotInfo>, bounds: &Bounds) {
        let places: BTreeMap<String, Place> = found.into_iter().filter_map(|(name, info)| Some((name, info.log?))).collect();
        let partition = &self.parts.partition;
        if places.values().any(|place| place.consumed > bounds.high) {
            tracing::warn!(%partition, "a snapshot is ahead of the log, so the topic was made anew: it is read from its beginning");
            return;
        }
        self.known = places.iter().map(|(name, place)| (name.clone(), place.consumed)).collect();
        self.silent_until = self.known.values().copied().fold(self.silent_until, i64::max);
        let earliest = places.into_values().min_by_key(|place| place.consumed);
        let Some(place) = earliest.filter(|_| self.known.len() == self.models.len()) else { return };
        if place.first < bounds.low {
            self.parts.metrics.missing(&partition.topic, (bounds.low - place.first).unsigned_abs());
            tracing::warn!(
                %partition,
                frames = bounds.low - place.first,
                "the topic of rows no longer has the frames that follow the snapshot: they are missing in the state; raise runtime.repartition.retention"
            );
        }
        self.order = LogOrder::at(self.parts.order, &place);
        self.consumed = place.first.max(bounds.low);
        self.refill_until = place.consumed;
    }

    /// Offset of the frame to begin with.
    pub fn start(&self) -> i64 {
        self.consumed
    }

    /// Takes the next frame and delivers what follows from it; whether anything was said.
    ///
    /// # Errors
    /// If it is no frame, or a delivery fails for good.
    pub fn frame(&mut self, offset: i64, bytes: &[u8], dispatcher: &mut Dispatcher, now: Now) -> Result<bool, HalfError> {
        let (mark, messages) = frame::read(bytes).map_err(|error| {
            let what = format!("{} at offset {offset} cannot be read: {error}", self.parts.partition);
            FeedError::new(FeedFault::Configuration, what)
        })?;
        self.consumed = offset + 1;
        if offset < self.refill_until {
            self.order.refill(offset, &mark, messages);
            return Ok(false);
        }
        self.order.take(offset, &mark, messages);
        let mut released = std::mem::take(&mut self.released);
        self.order.release(&mut released);
        self.changed |= !released.is_empty();
        self.say_forced();
        let before = dispatcher.counts;
        let judged = self.judge(&released, offset, dispatcher, now);
        released.clear();
        self.released = released;
        judged?;
        self.tick(offset, dispatcher, now)?;
        let after = dispatcher.counts;
        Ok(after.verdicts + after.late + after.rejected > before.verdicts + before.late + before.rejected)
    }

    fn judge(&mut self, messages: &[Message], offset: i64, dispatcher: &mut Dispatcher, now: Now) -> Result<(), HalfError> {
        let mut judgements = Vec::with_capacity(messages.len());
        for message in messages {
            let original = message.original.as_ref().map_or(Original::default(), |original| Original {
                key: original.key.as_deref(),
                payload: original.payload.as_deref(),
                headers: &original.headers,
            });
            for row in &message.records {
                judgements.push(self.judgement(row, original, offset));
            }
        }
        self.parts.shards.judge(&mut judgements);
        let rows = messages.iter().flat_map(|message| &message.records);
        for (judgement, row) in judgements.iter().zip(rows) {
            if offset < self.silent_until {
                dispatcher.silent(judgement, now);
            } else if matches!(row, Row::Evidence(..)) {
                // The front has counted the record, and written its dead letter.
                dispatcher.verdicts(&judgement.verdicts, now)?;
            } else {
                dispatcher.deliver(judgement, now)?;
            }
        }
        Ok(())
    }

    /// A record that waits for its engine.
    fn judgement<'a>(&self, row: &'a Row, original: Original<'a>, offset: i64) -> Judgement<'a> {
        let (provenance, query, outcome) = match row {
            Row::Evidence(provenance, rejection) => (provenance, None, Outcome::Rejected(rejection.clone())),
            Row::Query(query, digest) => match self.shapes.get(&query.model) {
                Some((width, known)) if *width == query.row.len() && known == digest => {
                    (&query.provenance, Some(query.as_ref()), Outcome::default())
                }
                _ => (&query.provenance, None, foreign(&query.model)),
            },
        };
        let mut judgement = Judgement {
            provenance,
            query,
            original,
            outcome: Cow::Owned(outcome),
            gap_seconds: None,
            verdicts: Vec::new(),
            known: false,
        };
        let first = self.models.first().map_or("", |model| model.name.as_str());
        let model = judgement.model().filter(|model| !model.is_empty()).unwrap_or(first);
        judgement.known = self.known.get(model).is_some_and(|known| offset < *known);
        judgement
    }

    fn tick(&mut self, offset: i64, dispatcher: &mut Dispatcher, now: Now) -> Result<(), HalfError> {
        let Some(time) = self.order.tick() else { return Ok(()) };
        self.changed = true;
        // A tick has no model of its own. What a model that is further says of it is its own, and event time only moves on.
        let verdicts = self.parts.shards.tick(time);
        if offset >= self.silent_until {
            dispatcher.verdicts(&verdicts, now)?;
        }
        Ok(())
    }

    fn say_forced(&mut self) {
        if self.order.forced() > self.forced && self.forced == 0 {
            tracing::warn!(
                partition = %self.parts.partition,
                held = self.order.held(),
                "a source partition lags so far behind the others that no more of their rows can be held: its records may be late; raise runtime.buffer_records, or look for the process that is slow"
            );
        }
        self.forced = self.order.forced();
    }

    /// Offset of the next frame, if it is beyond what is committed.
    pub fn uncommitted(&self) -> Option<i64> {
        (self.consumed > self.committed && self.consumed >= self.refill_until).then_some(self.consumed)
    }

    /// This offset is committed.
    pub fn commit(&mut self, offset: i64) {
        self.committed = offset;
    }

    /// Whether it is time for a snapshot. It may hold only what is committed.
    pub fn is_due(&self, now: Now) -> bool {
        !self.under_way && now.since_start >= self.next_cut
    }

    /// Hands a snapshot of what is committed to its writer.
    pub fn cut(&mut self, now: Now) {
        self.next_cut = now.since_start + self.parts.snapshots.interval;
        let Some(keeper) = &self.parts.keeper else { return };
        let is_whole = self.consumed >= self.refill_until && self.committed >= self.consumed;
        if !is_whole || self.known.values().any(|known| self.consumed < *known) {
            return;
        }
        if !self.changed && self.left_out < LEFT_OUT {
            // What is in the store is still the state; from its place on there are only marks of time.
            self.left_out += 1;
            self.parts.metrics.snapshots_current(now.wall, self.models.iter().map(|model| model.name.as_str()));
            return;
        }
        let begun = clock::instant();
        let place = self.order.place(self.consumed);
        let units = self.models.iter().filter_map(|ModelName { name, reference }| {
            Some(UnitCut {
                engine: self.parts.shards.copy_of(name)?,
                model: name.clone(),
                reference: reference.clone(),
                offsets: [(self.parts.partition.clone(), self.consumed)].into(),
                log: Some(place.clone()),
            })
        });
        let cut = Cut { taken: now.wall, units: units.collect() };
        self.parts.metrics.snapshot_pause(clock::instant().duration_since(begun));
        (self.changed, self.left_out) = (false, 0);
        self.under_way = keeper.write(cut);
    }

    /// Takes the report of the snapshot that is under way, if it comes by `deadline`.
    pub fn take_report(&mut self, deadline: Deadline) {
        let reports = self.parts.keeper.as_ref().filter(|_| self.under_way).and_then(|keeper| keeper.report(deadline));
        let Some(reports) = reports else { return };
        self.under_way = false;
        let mut failing = false;
        for UnitReport { model, taken, bytes, took, outcome, .. } in reports {
            let what = match outcome {
                Ok(Written::Complete) => {
                    self.parts.metrics.snapshot_complete(&model, taken, bytes, took);
                    continue;
                }
                Ok(Written::Fenced) => {
                    self.parts.metrics.snapshot(&model, SnapshotOutcome::Fenced);
                    "another process has taken the state of this model over".to_owned()
                }
                Err(error) => {
                    self.parts.metrics.snapshot(&model, SnapshotOutcome::Failed);
                    error.to_string()
                }
            };
            failing = true;
            // The copy is gone, so what it held must be written with the next one.
            self.changed = true;
            if !self.failing {
                tracing::error!(
                    model,
                    "no snapshot: {what}; the service goes on, and a restart reads the rows from the one before"
                );
            }
        }
        self.failing = failing;
    }

    /// Makes a last snapshot of what is committed, and waits for it.
    pub fn conclude(&mut self, deadline: Deadline, now: Now) {
        self.take_report(deadline);
        if !self.under_way {
            self.cut(now);
            self.take_report(deadline);
        }
        if self.under_way {
            tracing::warn!(partition = %self.parts.partition, "the last snapshot was not complete in time: the rows behind the one before are read again");
        }
    }

    /// State of its models.
    pub fn status(&self) -> Vec<ModelStatus> {
        self.parts.shards.status()
    }
}

/// Takes the models over; what was found of each.
fn restore(parts: &mut UnitParts, models: &[ModelName]) -> Result<BTreeMap<String, SnapshotInfo>, CheckpointError> {
    let mut all = BTreeMap::new();
    let Some(keeper) = &parts.keeper else { return Ok(all) };
    let begun = clock::instant();
    let found = match keeper.take_over() {
        Ok(found) => found,
        Err(error) if parts.snapshots.required => return Err(error),
        Err(error) => {
            tracing::error!("{error}; the models of {} are built again from the rows", parts.partition);
            return Ok(all);
        }
    };
    for (name, takeover) in found {
        let Some(model) = models.iter().find(|model| model.name == name) else { continue };
        if let Takeover::Found(found) = takeover
            && let Some(info) = restored(model, *found, &mut parts.shards, &parts.metrics, parts.snapshots.required)?
        {
            all.insert(name, info);
        }
    }
    parts.metrics.restored(clock::instant().duration_since(begun));
    Ok(all)
}

/// A row whose values are bound to another profile than ours.
fn foreign(model: &str) -> Outcome {
    let message = format!(
        "the row of model '{model}' was decoded under another profile than its owner has; all processes need the same models and profiles"
    );
    Outcome::Rejected(Rejection::new(RejectReason::UnknownModel, message))
}

//! What the loop knows of snapshots: which offset each model's state has reached, what is durable, and what may be committed.
//!
//! The rules are those of ADR 0029:
//!
//! * At a cut everything before the positions is delivered. Every model is copied, with its offsets; [`Keeper`] writes the copies.
//! * A record before a model's offset is in its state, and the model does not see it again ([`Gate`]).
//! * A record before the committed offset, or before any model's offset, was delivered. It is judged in silence by the models that lack it.
//! * Committed is what all models have in a durable snapshot. While snapshots fail, what was delivered is committed, unless state is
//!   required.

use std::collections::BTreeMap;
use std::time::Duration;

use super::partition_merger::{Now, PartitionMerger};
use super::shards::{Judgement, Shards};
use crate::checkpoint::keeper::{Cut, Keeper, Takeover, UnitCut, UnitReport};
use crate::checkpoint::manifest::SnapshotInfo;
use crate::checkpoint::unit::{Found, Written};
use crate::checkpoint::{CheckpointError, Offsets};
use crate::clock::{self, Deadline};
use crate::reference::Reference;
use crate::sink::metrics::Metrics;
use crate::sink::metrics::snapshots::SnapshotOutcome;
use crate::source::feed::{Bounds, Partition, Start};

/// Intervals without a complete snapshot after which snapshots count as failing. Chosen: one may be late for a slow store; three are not.
const STALLED_INTERVALS: u32 = 3;

/// A model and its reference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModelName {
    /// Model.
    pub name: String,
    /// SHA-256 of its reference.
    pub reference: String,
}

// === impl ModelName ===

impl ModelName {
    /// The model of a reference.
    pub fn of(reference: &Reference) -> Self {
        Self { name: reference.model.clone(), reference: reference.digest.clone() }
    }
}

/// How often snapshots are made, and whether they must succeed.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotSettings {
    /// Time between cuts.
    pub interval: Duration,
    /// Whether nothing is committed, and nothing begun, without them.
    pub required: bool,
}

/// State of snapshots in the loop.
#[derive(Debug)]
pub struct Snapshots {
    keeper: Keeper,
    settings: SnapshotSettings,
    metrics: Metrics,
    models: Vec<Model>,
    gates: BTreeMap<Partition, Gate>,
    /// Where halves of calls waited at the newest complete cut, and at the one under way: they are in no snapshot and must be read again.
    held: [BTreeMap<Partition, i64>; 2],
    /// Whether calls are logged in halves, so that what follows the committed offset is read again.
    in_halves: bool,
    /// Something was judged since the last cut.
    changed: bool,
    next_cut: Duration,
    /// A cut is being written.
    under_way: bool,
    /// When the last cut was complete for every model, or when we began to wait for the first.
    last_complete: Option<Duration>,
    /// The last cut was not complete for every model.
    failed: bool,
    /// Failing has been said, and the end of it not yet.
    said: bool,
}

#[derive(Debug)]
struct Model {
    model: ModelName,
    /// Next offsets of its state, as it was restored or as partitions went. Offsets of partitions that are ours have grown since.
    reached: Offsets,
    /// Next offsets of its newest complete snapshot; none before the first.
    durable: Option<Offsets>,
}

/// Records of a partition that were delivered before.
#[derive(Debug)]
struct Gate {
    /// Offset from which on results are delivered.
    silent_until: i64,
    /// Offset of each model's state.
    reached: BTreeMap<String, i64>,
}

// === impl SnapshotSettings ===

impl SnapshotSettings {
    /// What follows while snapshots fail.
    fn consequence(&self) -> &'static str {
        if self.required { "nothing is committed" } else { "the service goes on without" }
    }
}

// === impl Snapshots ===

impl Snapshots {
    /// Snapshots of these models, in order of name.
    pub fn new(keeper: Keeper, settings: SnapshotSettings, models: Vec<ModelName>, metrics: Metrics) -> Self {
        for model in &models {
            metrics.know_unit(&model.name);
        }
        Self {
            keeper,
            settings,
            metrics,
            models: models.into_iter().map(|model| Model { model, reached: Offsets::new(), durable: None }).collect(),
            gates: BTreeMap::new(),
            held: Default::default(),
            in_halves: false,
            changed: false,
            next_cut: Duration::ZERO,
            under_way: false,
            last_complete: None,
            failed: false,
            said: false,
        }
    }

    /// Calls are logged in halves.
    #[must_use]
    pub fn in_halves(self) -> Self {
        Self { in_halves: true, ..self }
    }

    /// Takes the models over and restores what can be restored. Call it when partitions come and none is ours.
    ///
    /// # Errors
    /// Only if state is required: the store fails, or a snapshot cannot be used.
    pub fn restore(&mut self, shards: &mut Shards, now: Now) -> Result<(), CheckpointError> {
        let begun = clock::instant();
        self.next_cut = now.since_start + self.settings.interval;
        self.last_complete = Some(now.since_start);
        let found = self.keeper.take_over();
        // The thread does one thing after the other, so the report of a cut from before is there by now. It is of the state of before.
        self.take_report(Deadline::after(Duration::ZERO), now);
        let found = match found {
            Ok(found) => found,
            Err(error) if self.settings.required => return Err(error),
            Err(error) => {
                // What is in memory knows how far it has come, so it can go on, whoever had the partitions meanwhile.
                tracing::error!("{error}; the service goes on with what is in memory: after a start, with empty windows");
                self.failed = true;
                return Ok(());
            }
        };
        for (name, takeover) in found {
            let Some(model) = self.models.iter_mut().find(|model| model.model.name == name) else { continue };
            if let Takeover::Found(found) = takeover {
                model.take(*found, shards, &self.metrics, self.settings.required)?;
            }
        }
        let took = clock::instant().duration_since(begun);
        tracing::info!(store = self.keeper.url(), seconds = took.as_secs_f64(), "state is restored");
        self.metrics.restored(took);
        Ok(())
    }

    /// Where partitions begin: where the model that lacks most of them ends. What was delivered before is noted.
    pub fn begin(&mut self, bounds: &[Bounds], merger: &mut PartitionMerger) -> Start {
        let mut start = Vec::new();
        for bound in bounds {
            let Bounds { partition, low, high, committed } = bound;
            // The series exists from the start, so the first loss is an increase.
            self.metrics.missing(&partition.topic, 0);
            if self.models.iter().any(|model| model.reached.get(partition).is_some_and(|reached| reached > high)) {
                tracing::warn!(%partition, high, "the snapshot is ahead of the log, so the topic was made anew: it is read from its committed position");
                self.forget_partition(partition);
            }
            // A position behind the end is of another log of this name.
            let committed = committed.filter(|committed| committed <= high);
            let reached: BTreeMap<String, i64> =
                self.models.iter().filter_map(|model| Some((model.model.name.clone(), *model.reached.get(partition)?))).collect();
            let (Some(first), Some(last)) = (reached.values().copied().min(), reached.values().copied().max()) else {
                merger.resume_at(partition, committed, None);
                continue;
            };
            // A model without a place in this partition reads it from where the group was. It may have been killed before its first snapshot,
            // while another model's was complete.
            let unplaced = reached.len() < self.models.len();
            let first = if unplaced || self.in_halves { first.min(committed.unwrap_or(*low)) } else { first };
            if first < *low {
                self.metrics.missing(&partition.topic, (low - first).unsigned_abs());
                tracing::warn!(
                    %partition,
                    records = low - first,
                    "the log no longer has the records that follow the snapshot: they are missing in the state; let the topic keep its records longer than a snapshot gets old"
                );
            }
            let at = first.max(*low);
            let silent_until = committed.unwrap_or(0).max(last);
            start.push((partition.clone(), at));
            let replay = (silent_until > at).then_some(silent_until);
            merger.resume_at(partition, committed, replay);
            if replay.is_some() {
                tracing::info!(%partition, from = at, to = silent_until, "judging again what was delivered before");
                self.gates.insert(partition.clone(), Gate { silent_until, reached });
            }
        }
        Start::At(start)
    }

    /// Another log has this partition's name now: offsets of the one before say nothing about it.
    pub fn forget_partition(&mut self, partition: &Partition) {
        self.gates.remove(partition);
        for model in &mut self.models {
            model.reached.remove(partition);
            if let Some(durable) = &mut model.durable {
                durable.remove(partition);
            }
        }
    }

    /// Offset before which the snapshots know that everything of a partition was delivered.
    pub fn delivered(&self, partition: &Partition) -> Option<i64> {
        self.models.iter().filter_map(|model| model.reached.get(partition).copied()).max()
    }

    /// Tells of a record whether it was delivered before, and marks what its model has in its state. `first` stands for a model that
    /// could not be read.
    pub fn admit(&mut self, partition: &Partition, offset: i64, records: &mut [Judgement<'_>]) -> bool {
        let Some(gate) = self.gates.get(partition) else { return false };
        if offset >= gate.silent_until {
            self.gates.remove(partition);
            return false;
        }
        let first = self.models.first().map_or("", |model| model.model.name.as_str());
        for record in records {
            let model = record.model().filter(|model| !model.is_empty()).unwrap_or(first);
            record.known = gate.reached.get(model).is_some_and(|reached| offset < *reached);
        }
        true
    }

    /// Something was judged, or event time moved on.
    pub fn note_change(&mut self) {
        self.changed = true;
    }

    /// Whether it is time for a cut.
    pub fn is_due(&self, now: Now) -> bool {
        !self.under_way && now.since_start >= self.next_cut
    }

    /// Puts the next cut off.
    pub fn postpone(&mut self, until: Duration) {
        self.next_cut = until;
    }

    /// Makes a cut and hands it to the keeper. Everything judged must have been delivered. Halves of calls wait at `held`.
    pub fn cut(&mut self, shards: &Shards, merger: &PartitionMerger, held: BTreeMap<Partition, i64>, now: Now) {
        self.next_cut = now.since_start + self.settings.interval;
        if !self.changed {
            // What is in the store is still the state.
            let kept = self.models.iter().filter(|model| model.durable.is_some()).map(|model| model.model.name.as_str());
            self.metrics.snapshots_current(now.wall, kept);
            self.last_complete = Some(now.since_start);
            return;
        }
        let begun = clock::instant();
        let units = self.models.iter().filter_map(|model| {
            let Model { model: ModelName { name, reference }, .. } = model;
            let engine = shards.copy_of(name)?;
            Some(UnitCut { engine, model: name.clone(), reference: reference.clone(), offsets: model.offsets(merger), log: None })
        });
        let cut = Cut { taken: now.wall, units: units.collect() };
        self.metrics.snapshot_pause(clock::instant().duration_since(begun));
        self.changed = false;
        self.held[1] = held;
        self.under_way = self.keeper.write(cut);
        self.failed |= !self.under_way;
    }

    /// Takes the report of the cut that is under way, if it comes by `deadline`; `false` if one is still under way.
    pub fn take_report(&mut self, deadline: Deadline, now: Now) -> bool {
        if !self.under_way {
            return true;
        }
        let Some(reports) = self.keeper.report(deadline) else {
            self.say_stalled(now);
            return false;
        };
        self.under_way = false;
        self.failed = false;
        for report in reports {
            self.take_unit(report);
        }
        if self.failed {
            // The copy is gone, so what it held must be written with the next one.
            self.changed = true;
        } else {
            self.held[0] = std::mem::take(&mut self.held[1]);
            self.last_complete = Some(now.since_start);
            if std::mem::take(&mut self.said) {
                tracing::info!("snapshots are complete again");
            }
        }
        true
    }

    fn take_unit(&mut self, report: UnitReport) {
        let UnitReport { model: name, taken, offsets, bytes, took, outcome } = report;
        let consequence = self.settings.consequence();
        match outcome {
            Ok(Written::Complete) => {
                self.metrics.snapshot_complete(&name, taken, bytes, took);
                if let Some(model) = self.models.iter_mut().find(|model| model.model.name == name) {
                    model.durable = Some(offsets);
                }
                tracing::debug!(model = name, bytes, seconds = took.as_secs_f64(), "snapshot complete");
            }
            Ok(Written::Fenced) => {
                self.metrics.snapshot(&name, SnapshotOutcome::Fenced);
                if !self.said {
                    tracing::error!(
                        model = name,
                        "another process has taken the state of this model over, so ours is not written: {consequence}; let one process have all partitions of a model, or give each its own group"
                    );
                }
                (self.failed, self.said) = (true, true);
            }
            Err(error) => {
                self.metrics.snapshot(&name, SnapshotOutcome::Failed);
                if self.said {
                    tracing::debug!(model = name, "{error}");
                } else {
                    tracing::error!(
                        model = name,
                        "no snapshot: {error}; {consequence}, and the next one is tried after {} s",
                        self.settings.interval.as_secs()
                    );
                }
                (self.failed, self.said) = (true, true);
            }
        }
    }

    fn say_stalled(&mut self, now: Now) {
        if self.is_stalled(now) && !self.said {
            self.said = true;
            let consequence = self.settings.consequence();
            tracing::error!(
                store = self.keeper.url(),
                "the object store takes longer than {STALLED_INTERVALS} intervals for a snapshot: {consequence}"
            );
        }
    }

    fn is_stalled(&self, now: Now) -> bool {
        let limit = self.settings.interval * STALLED_INTERVALS;
        self.last_complete.is_some_and(|last| now.since_start.saturating_sub(last) > limit) && (self.under_way || self.failed)
    }

    /// Whether the last snapshot failed, or is overdue.
    pub fn is_failing(&self, now: Now) -> bool {
        self.failed || self.is_stalled(now)
    }

    /// What may be committed: what is durable; while snapshots fail and are not required, what was delivered.
    pub fn commits(&self, merger: &PartitionMerger, now: Now) -> Vec<(Partition, i64)> {
        if !self.settings.required && self.is_failing(now) {
            return merger.positions();
        }
        let durable = |partition: &Partition| {
            let offsets = self.models.iter().map(|model| model.durable.as_ref()?.get(partition).copied());
            offsets.collect::<Option<Vec<i64>>>()?.into_iter().min()
        };
        merger
            .places()
            .filter_map(|(partition, _, committed)| {
                let durable = durable(partition)?;
                let durable = self.held[0].get(partition).map_or(durable, |held| durable.min(*held));
                (Some(durable) > committed).then(|| (partition.clone(), durable))
            })
            .collect()
    }

    /// A partition goes: what the state has of it is kept, in case it comes back.
    pub fn release(&mut self, partition: &Partition, position: Option<i64>) {
        self.gates.remove(partition);
        for model in &mut self.models {
            if let Some(position) = position {
                let reached = model.reached.entry(partition.clone()).or_insert(position);
                *reached = position.max(*reached);
            }
        }
    }
}

// === impl Model ===

impl Model {
    /// Next offsets of the state as it is now.
    fn offsets(&self, merger: &PartitionMerger) -> Offsets {
        let mut offsets = self.reached.clone();
        for (partition, position, _) in merger.places() {
            if let Some(position) = position {
                let reached = offsets.entry(partition.clone()).or_insert(position);
                *reached = position.max(*reached);
            }
        }
        offsets
    }

    /// Goes on from what was found of the model.
    fn take(&mut self, found: Found, shards: &mut Shards, metrics: &Metrics, required: bool) -> Result<(), CheckpointError> {
        (self.reached, self.durable) = (Offsets::new(), None);
        if let Some(info) = restored(&self.model, found, shards, metrics, required)? {
            self.reached = info.offsets();
            self.durable = Some(info.offsets());
        }
        Ok(())
    }
}

/// Lets an engine go on from what was found of a model, and says what was; none if it begins with empty windows.
///
/// # Errors
/// Only if state is required: the snapshot cannot be used.
pub fn restored(
    model: &ModelName,
    found: Found,
    shards: &mut Shards,
    metrics: &Metrics,
    required: bool,
) -> Result<Option<SnapshotInfo>, CheckpointError> {
    let name = model.name.as_str();
    shards.forget(name);
    for damaged in &found.damaged {
        metrics.snapshot(name, SnapshotOutcome::Skipped);
        tracing::error!(model = name, "a snapshot is skipped for the one before it: {damaged}");
    }
    let refused = |what: String| {
        metrics.snapshot(name, SnapshotOutcome::Refused);
        if required {
            return Err(CheckpointError::Unusable(format!(
                "{what}. State is required (state.required), so the service does not start"
            )));
        }
        tracing::error!(
            model = name,
            "the state of this model is not used, so it begins with empty windows; three intervals of state.interval from now the old snapshots are deleted: {what}"
        );
        Ok(None)
    };
    if let Some(what) = found.unusable {
        return refused(what);
    }
    let Some((info, snapshot)) = found.snapshot else {
        if found.damaged.is_empty() {
            tracing::info!(model = name, "there is no snapshot: it begins with empty windows");
            return Ok(None);
        }
        return refused(format!("every snapshot of model '{name}' is damaged; restore the store from its backup"));
    };
    if info.reference != model.reference {
        // A new profile is a decision. What the old one has taught means nothing under it.
        metrics.snapshot(name, SnapshotOutcome::Refused);
        tracing::warn!(model = name, "its reference profile has changed since the snapshot: this model begins with empty windows");
        return Ok(None);
    }
    if let Err(error) = shards.restore(snapshot) {
        return refused(error.to_string());
    }
    metrics.snapshot(name, SnapshotOutcome::Restored);
    metrics.snapshots_current(info.taken(), [name]);
    tracing::info!(model = name, taken = %info.taken(), queries = info.queries, clients = info.clients, "restored");
    Ok(Some(info))
}

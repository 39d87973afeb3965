//! What people look at: models, flagged callers, campaigns and the course of their verdicts, as the verdict stream gives them.
//!
//! One thread writes, which is the service's loop; any number of threads read, which are the handlers of pages and of the API. A
//! reader must never hold up the loop. Entries therefore live behind an `Arc` in sharded maps: a reader holds the lock of one
//! shard while it clones pointers, and works on the clones. The writer copies an entry only while a reader still holds the old
//! one. This is the read side of "command query responsibility segregation" (Fowler, 2011): the engine keeps what it needs for
//! judging, and this copy is shaped for looking at.
//!
//! Memory is bounded by constants. When a table is full, the entry that is no longer flagged and was heard of longest ago makes
//! room, and if all are flagged, the one heard of longest ago. What is listed has an order that depends on the stream alone,
//! never on the order of a hash map.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use dashmap::DashMap;

use crate::engine::ModelStatus;
use crate::event::EventTime;
use crate::html::judged::Answer;
use crate::judge::caller::Caller;
use crate::judge::{FeatureDrift, Finding, Scope, Verdict};
use crate::observer::Observer;
use crate::outcome::OutcomeCounts;

/// Callers kept, over all models. A caller with its latest verdict takes about 5 kB, mostly references to queries, so the table
/// stays below 50 MB; the engine itself remembers ten times as many clients by default.
pub const MAX_CALLERS: usize = 10_000;
/// Campaigns kept, over all models. A campaign has members by the dozen; a thousand at once is beyond what a team can look into.
pub const MAX_CAMPAIGNS: usize = 1_000;
/// Changes of a model's verdict kept. A lively day has a dozen, so this is about two weeks.
pub const MAX_MODEL_TIMELINE: usize = 200;
/// Changes of a caller's or campaign's verdict kept. Each takes new evidence or a quiet period, so most have two or three.
pub const MAX_SUBJECT_TIMELINE: usize = 16;

/// A verdict at its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Change {
    /// Event time.
    pub at: EventTime,
    /// The verdict from then on.
    pub finding: Finding,
}

/// A model as people look at it.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// The engine's latest state; none before the first.
    pub status: Option<ModelStatus>,
    /// Changes of its verdict, oldest first, the latest [`MAX_MODEL_TIMELINE`].
    pub timeline: Vec<Change>,
    /// Features that the latest verdict of drift named.
    pub drifting: Vec<String>,
}

/// A caller or a campaign as people look at it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The latest verdict, with reasons and queries.
    pub verdict: Verdict,
    /// Changes of its verdict, oldest first, the latest [`MAX_SUBJECT_TIMELINE`].
    pub timeline: Vec<Change>,
    /// Place in the verdict stream at which it was last newly flagged; 0 if it never was.
    flagged_at: u64,
}

/// What a verdict changed, for whoever tells people about changes alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recorded {
    /// The model has a verdict.
    Model,
    /// A caller or campaign is flagged that was not flagged before.
    NewlyFlagged,
    /// It is flagged as before; its verdict was renewed.
    Renewed,
    /// It is not, or no longer, flagged.
    NotFlagged,
}

/// The readers' side. Clones share the same content.
#[derive(Clone, Debug, Default)]
pub struct ReadModel(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    models: DashMap<String, Arc<Model>>,
    callers: DashMap<(String, Caller), Arc<Subject>>,
    campaigns: DashMap<(String, String), Arc<Subject>>,
    counts: RwLock<OutcomeCounts>,
    forgotten: AtomicU64,
}

/// The writer's side: it follows the verdict stream. There is one for a [`ReadModel`], so the order of forgetting needs no lock.
#[derive(Debug)]
pub struct Recorder {
    shared: ReadModel,
    callers: Recency<(String, Caller)>,
    campaigns: Recency<(String, String)>,
    /// Verdicts taken so far.
    taken: u64,
}

/// Keys in the order in which they are forgotten: not flagged before flagged, longest unheard of first.
#[derive(Debug)]
struct Recency<K> {
    most: usize,
    order: BTreeSet<(bool, u64, K)>,
    places: HashMap<K, (bool, u64)>,
}

// === impl Model ===

impl Model {
    /// Its verdict; none before the first window closed.
    pub fn finding(&self) -> Option<Finding> {
        self.timeline.last().map(|change| change.finding)
    }

    /// What is said of it: its verdict, or what is missing for one.
    pub fn answer(&self) -> Answer {
        Answer::of(self.finding(), self.status.as_ref().map(|status| &status.judged))
    }

    /// Since when it has this verdict.
    pub fn since(&self) -> Option<EventTime> {
        self.timeline.last().map(|change| change.at)
    }

    /// Drift by feature and of the answers; empty before the first evaluation, which has no critical values.
    pub fn drift(&self) -> impl Iterator<Item = &FeatureDrift> {
        let evaluated = |status: &&ModelStatus| status.features.iter().any(|one| one.critical > 0.0);
        self.status.iter().filter(evaluated).flat_map(|status| status.features.iter().chain(&status.prediction))
    }

    /// Features that drift now: those that the verdict named, and those that followed since. A verdict names the features of its
    /// own moment only.
    pub fn drifting_now(&self) -> Vec<&str> {
        if !self.finding().is_some_and(drifts) {
            return Vec::new();
        }
        let beyond = |one: &&FeatureDrift| one.psi_without_suspects > one.critical || self.drifting.contains(&one.name);
        self.drift().filter(beyond).map(|one| one.name.as_str()).collect()
    }

    fn take(&mut self, verdict: &Verdict) {
        push(&mut self.timeline, verdict, MAX_MODEL_TIMELINE);
        let drifts = drifts(verdict.verdict);
        // A verdict that only adds the probing does not name the features again.
        if !drifts || !verdict.features.is_empty() {
            self.drifting = verdict.features.iter().filter(|_| drifts).map(|one| one.name.clone()).collect();
        }
    }
}

fn drifts(finding: Finding) -> bool {
    matches!(finding, Finding::Drift | Finding::DriftAndProbing)
}

/// Adds a verdict to a timeline if it is another one than the last.
fn push(timeline: &mut Vec<Change>, verdict: &Verdict, most: usize) {
    if timeline.last().is_some_and(|last| last.finding == verdict.verdict) {
        return;
    }
    if timeline.len() == most {
        timeline.remove(0);
    }
    timeline.push(Change { at: verdict.at.0, finding: verdict.verdict });
}

// === impl Subject ===

impl Subject {
    /// Whether its latest verdict is probing.
    pub fn is_flagged(&self) -> bool {
        self.verdict.verdict == Finding::Probing
    }

    /// Who it is, of a caller.
    pub fn caller(&self) -> Caller {
        Caller::of(&self.verdict)
    }
}

// === impl ReadModel ===

impl ReadModel {
    /// All models, by name.
    pub fn models(&self) -> Vec<Arc<Model>> {
        let mut models: Vec<_> = self.0.models.iter().map(|entry| Arc::clone(entry.value())).collect();
        models.sort_by(|a, b| a.name.cmp(&b.name));
        models
    }

    /// A model; one that nothing is known of if it has no verdict and no state yet.
    pub fn model(&self, name: &str) -> Arc<Model> {
        let known = self.0.models.get(name).map(|entry| Arc::clone(entry.value()));
        known.unwrap_or_else(|| Arc::new(Model { name: name.to_owned(), ..Model::default() }))
    }

    /// The callers of a model that are flagged now, the latest to be flagged first.
    pub fn flagged(&self, model: &str) -> Vec<Arc<Subject>> {
        let mut flagged = collect(&self.0.callers, |(of, _), caller| of == model && caller.is_flagged());
        flagged.sort_by_key(|caller| std::cmp::Reverse(caller.flagged_at));
        flagged
    }

    /// Every caller that is or was flagged or suspicious, of all models, in no order.
    pub fn callers(&self) -> Vec<Arc<Subject>> {
        collect(&self.0.callers, |_, _| true)
    }

    /// Every campaign that is or was, of all models, in no order.
    pub fn all_campaigns(&self) -> Vec<Arc<Subject>> {
        collect(&self.0.campaigns, |_, _| true)
    }

    /// What is known of a caller: flagged, suspicious, or cleared since. None if nothing was ever found.
    pub fn caller(&self, model: &str, caller: &Caller) -> Option<Arc<Subject>> {
        self.0.callers.get(&(model.to_owned(), caller.clone())).map(|entry| Arc::clone(entry.value()))
    }

    /// The campaigns of a model that are flagged now, largest first, then by case.
    pub fn campaigns(&self, model: &str) -> Vec<Arc<Subject>> {
        let mut campaigns = collect(&self.0.campaigns, |(of, _), campaign| of == model && campaign.is_flagged());
        let size = |one: &Subject| (one.verdict.members.len(), one.verdict.queries_seen);
        campaigns.sort_by(|a, b| size(b).cmp(&size(a)).then_with(|| a.verdict.case.cmp(&b.verdict.case)));
        campaigns
    }

    /// What went through the service.
    pub fn counts(&self) -> OutcomeCounts {
        *self.0.counts.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Callers and campaigns that made room for others.
    pub fn forgotten(&self) -> u64 {
        self.0.forgotten.load(Ordering::Relaxed)
    }
}

/// Clones the pointers of the entries that are wanted, one shard at a time.
fn collect<K: Eq + Hash, V>(map: &DashMap<K, Arc<V>>, wanted: impl Fn(&K, &V) -> bool) -> Vec<Arc<V>> {
    map.iter().filter(|entry| wanted(entry.key(), entry.value())).map(|entry| Arc::clone(entry.value())).collect()
}

// === impl Recorder ===

impl Default for Recorder {
    fn default() -> Self {
        Self::with_bounds(MAX_CALLERS, MAX_CAMPAIGNS)
    }
}

impl Recorder {
    fn with_bounds(callers: usize, campaigns: usize) -> Self {
        Self { shared: ReadModel::default(), callers: Recency::new(callers), campaigns: Recency::new(campaigns), taken: 0 }
    }

    /// The readers' side.
    pub fn read_model(&self) -> ReadModel {
        self.shared.clone()
    }

    /// Takes a verdict, and says what it changed.
    pub fn take_verdict(&mut self, verdict: &Verdict) -> Recorded {
        self.taken += 1;
        let model = verdict.model.clone();
        let shared = &self.shared.0;
        match verdict.scope {
            Scope::Model => {
                let mut entry = shared.models.entry(model.clone()).or_default();
                let entry = Arc::make_mut(entry.value_mut());
                entry.name = model;
                entry.take(verdict);
                Recorded::Model
            }
            Scope::Client => {
                let key = (model, Caller::of(verdict));
                record(&shared.callers, &mut self.callers, key, verdict, self.taken, &shared.forgotten)
            }
            Scope::Campaign => {
                let key = (model, verdict.case.clone().unwrap_or_default());
                record(&shared.campaigns, &mut self.campaigns, key, verdict, self.taken, &shared.forgotten)
            }
        }
    }

    /// Takes the state of the models, and what went through the service.
    pub fn take_status(&mut self, status: &[ModelStatus], counts: &OutcomeCounts) {
        let shared = &self.shared.0;
        for one in status {
            let mut entry = shared.models.entry(one.model.clone()).or_default();
            let entry = Arc::make_mut(entry.value_mut());
            entry.name.clone_from(&one.model);
            entry.status = Some(one.clone());
        }
        *shared.counts.write().unwrap_or_else(PoisonError::into_inner) = *counts;
    }
}

impl Observer for Recorder {
    type Error = Infallible;

    fn verdict(&mut self, verdict: &Verdict) -> Result<(), Infallible> {
        self.take_verdict(verdict);
        Ok(())
    }

    fn status(&mut self, models: &[ModelStatus], counts: &OutcomeCounts, _elapsed: Duration) -> Result<(), Infallible> {
        self.take_status(models, counts);
        Ok(())
    }
}

/// Takes a verdict on a caller or campaign into its table; `taken` is the verdict's place in the stream.
fn record<K: Clone + Ord + Hash>(
    map: &DashMap<K, Arc<Subject>>,
    recency: &mut Recency<K>,
    key: K,
    verdict: &Verdict,
    taken: u64,
    forgotten: &AtomicU64,
) -> Recorded {
    let known = map.get(&key).map(|entry| Arc::clone(entry.value()));
    let was_flagged = known.as_ref().is_some_and(|subject| subject.is_flagged());
    if known.is_none() && verdict.verdict == Finding::Benign {
        // Nothing was ever found.
        return Recorded::NotFlagged;
    }
    let mut timeline = known.as_ref().map(|subject| subject.timeline.clone()).unwrap_or_default();
    push(&mut timeline, verdict, MAX_SUBJECT_TIMELINE);
    let flagged = verdict.verdict == Finding::Probing;
    let flagged_at = match known {
        _ if flagged && !was_flagged => taken,
        Some(subject) => subject.flagged_at,
        None => 0,
    };
    map.insert(key.clone(), Arc::new(Subject { verdict: verdict.clone(), timeline, flagged_at }));
    if let Some(oldest) = recency.touch(key, flagged, taken) {
        map.remove(&oldest);
        forgotten.fetch_add(1, Ordering::Relaxed);
    }
    match (was_flagged, flagged) {
        (_, false) => Recorded::NotFlagged,
        (false, true) => Recorded::NewlyFlagged,
        (true, true) => Recorded::Renewed,
    }
}

// === impl Recency ===

impl<K: Clone + Ord + Hash> Recency<K> {
    fn new(most: usize) -> Self {
        Self { most, order: BTreeSet::new(), places: HashMap::new() }
    }

    /// A key was heard of; returns the key that has to make room.
    fn touch(&mut self, key: K, flagged: bool, at: u64) -> Option<K> {
        if let Some((flagged, at)) = self.places.insert(key.clone(), (flagged, at)) {
            self.order.remove(&(flagged, at, key.clone()));
        }
        self.order.insert((flagged, at, key));
        if self.order.len() <= self.most {
            return None;
        }
        let (_, _, oldest) = self.order.pop_first()?;
        self.places.remove(&oldest);
        Some(oldest)
    }
}

#[cfg(test)]
mod tests;

//! Counts of a replay, and the verdicts on each model.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::verdict_history::VerdictHistory;
use crate::engine::ModelStatus;
use crate::event::{EventTime, Provenance, Query, Repair};
use crate::html::words;
use crate::judge::Verdict;
use crate::outcome::Rejection;
use crate::reference::Reference;

/// Features listed in the terminal, so that a model's lines fit a screen.
pub(super) const LISTED_FEATURES: usize = 8;
/// What was read, used and refused.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Queries counted in the windows.
    pub accepted: u64,
    /// Queries behind the watermark.
    pub late: u64,
    models: Vec<ModelSummary>,
    last: usize,
    rejected: BTreeMap<&'static str, (u64, Example)>,
    first: Option<&'static str>,
    repaired: BTreeMap<Repair, (u64, Provenance)>,
}

/// One model's part.
#[derive(Clone, Debug, Default)]
pub struct ModelSummary {
    /// Model name.
    pub model: String,
    /// Queries counted in the windows.
    pub accepted: u64,
    /// Queries behind the watermark.
    pub late: u64,
    /// Earliest and latest event time.
    pub span: Option<(EventTime, EventTime)>,
    /// Every verdict on the model and its callers.
    pub history: VerdictHistory,
    /// The engine's state at the end, if it gave one.
    pub status: Option<ModelStatus>,
    /// Features of the reference that no event had a value for, yet.
    pub never_seen: Vec<String>,
    /// Position of each of [`ModelSummary::never_seen`] in the schema.
    never_seen_at: Vec<usize>,
    /// Queries with features that the reference does not know.
    pub with_unknown_features: u64,
}

/// The first record of its kind.
#[derive(Clone, Debug)]
pub struct Example {
    /// Where it lies.
    pub provenance: Provenance,
    /// What is wrong with it.
    pub message: String,
}

// === impl Summary ===

impl Summary {
    /// An empty summary that shows the models of `references` even if nothing is logged about them.
    pub fn new(references: &[Arc<Reference>]) -> Self {
        let mut summary = Self::default();
        for reference in references {
            let model = summary.model(&reference.model);
            model.never_seen = reference.features.iter().map(|feature| feature.name.clone()).collect();
            model.never_seen_at = (0..reference.features.len()).collect();
        }
        summary.models.sort_by(|a, b| a.model.cmp(&b.model));
        summary
    }

    /// A query was counted.
    pub fn accepted(&mut self, query: &Query) {
        self.accepted += 1;
        self.repaired(query);
        let model = self.model(&query.model);
        model.accepted += 1;
        model.count(query);
    }

    /// A query came too late.
    pub fn late(&mut self, query: &Query) {
        self.late += 1;
        self.repaired(query);
        let model = self.model(&query.model);
        model.late += 1;
        model.count(query);
    }

    /// Counts what was repaired in a query.
    fn repaired(&mut self, query: &Query) {
        for repair in query.repairs.iter() {
            self.repaired.entry(repair).or_insert_with(|| (0, query.provenance.clone())).0 += 1;
        }
    }

    /// Queries with a fault that cost one field, by fault, with the place of the first of each.
    pub fn repairs(&self) -> impl Iterator<Item = (Repair, u64, &Provenance)> {
        self.repaired.iter().map(|(repair, (count, first))| (*repair, *count, first))
    }

    /// A record was refused.
    pub fn reject(&mut self, rejection: &Rejection, provenance: &Provenance) {
        let reason = rejection.reason.label();
        self.first.get_or_insert(reason);
        let example = || Example { provenance: provenance.clone(), message: rejection.message.clone() };
        self.rejected.entry(reason).or_insert_with(|| (0, example())).0 += 1;
    }

    /// The engine gave a verdict.
    pub fn verdict(&mut self, verdict: &Verdict) {
        self.model(&verdict.model).history.take(verdict);
    }

    /// The engine's state at the end.
    pub fn status(&mut self, status: Vec<ModelStatus>) {
        for one in status {
            let model = self.model(&one.model);
            model.history.columns(&one.column_changes);
            model.status = Some(one);
        }
    }

    /// Records refused for `reason`.
    pub fn rejected(&self, reason: &str) -> u64 {
        self.rejected.get(reason).map_or(0, |(count, _)| *count)
    }

    /// Records refused, by reason, with the first of each.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64, &Example)> {
        self.rejected.iter().map(|(reason, (count, example))| (*reason, *count, example))
    }

    /// Records refused for any reason.
    pub fn rejections(&self) -> u64 {
        self.rejected.values().map(|(count, _)| count).sum()
    }

    /// Everything that was read: used or refused.
    pub fn messages(&self) -> u64 {
        self.accepted + self.late + self.rejections()
    }

    /// Reason and example of the first refusal.
    pub fn first_rejection(&self) -> Option<(&'static str, &Example)> {
        let reason = self.first?;
        self.rejected.get(reason).map(|(_, example)| (reason, example))
    }

    /// The models, by name.
    pub fn models(&self) -> &[ModelSummary] {
        &self.models
    }

    /// Earliest and latest event time of all.
    pub fn span(&self) -> Option<(EventTime, EventTime)> {
        let spans = || self.models.iter().filter_map(|model| model.span);
        Some((spans().map(|span| span.0).min()?, spans().map(|span| span.1).max()?))
    }

    /// The model called `name`; logs rarely change it from line to line.
    fn model(&mut self, name: &str) -> &mut ModelSummary {
        if self.models.get(self.last).is_none_or(|model| model.model != name) {
            self.last = self.models.iter().position(|model| model.model == name).unwrap_or_else(|| {
                self.models.push(ModelSummary { model: name.to_owned(), ..ModelSummary::default() });
                self.models.len() - 1
            });
        }
        &mut self.models[self.last]
    }
}

// === impl ModelSummary ===

impl ModelSummary {
    fn count(&mut self, query: &Query) {
        let (first, last) = self.span.unwrap_or((query.time, query.time));
        self.span = Some((first.min(query.time), last.max(query.time)));
        self.with_unknown_features += u64::from(query.extra_features > 0);
        // Empty after the first few events, as a rule.
        let mut nth = 0;
        while let Some(&at) = self.never_seen_at.get(nth) {
            if query.row.get(at).is_some_and(|cell| !cell.is_missing()) {
                self.never_seen_at.remove(nth);
                self.never_seen.remove(nth);
            } else {
                nth += 1;
            }
        }
    }

    /// Whether events and reference speak of different features, in words; nothing if they agree.
    pub fn mismatch(&self) -> Option<String> {
        let mut faults = Vec::new();
        if !self.never_seen.is_empty() {
            let names =
                self.never_seen.iter().take(LISTED_FEATURES).map(|name| words::printable(name, 40)).collect::<Vec<_>>().join(", ");
            let more = if self.never_seen.len() > LISTED_FEATURES { ", …" } else { "" };
            let features =
                words::counted(self.never_seen.len() as u64, "feature of the reference has", "features of the reference have");
            faults.push(format!("{features} no value in any event: {names}{more}"));
        }
        if self.with_unknown_features > 0 {
            let events = words::counted(self.with_unknown_features, "event has", "events have");
            faults.push(format!("{events} features that the reference does not know"));
        }
        (!faults.is_empty()).then(|| faults.join("; ") + ". Is it the right reference?")
    }
}

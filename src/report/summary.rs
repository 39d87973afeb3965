//! Counts of a replay, and the verdicts on each model.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::activity::Activity;
use super::verdict_history::VerdictHistory;
use crate::engine::ModelStatus;
use crate::event::{EventTime, Provenance, Query, Repair};
use crate::html::judged::Answer;
use crate::html::words;
use crate::judge::Verdict;
use crate::outcome::Rejection;
use crate::reference::Reference;
use crate::reference::mismatch::{Comparison, Mismatch};

/// Features listed in the terminal, so that a model's lines fit a screen.
pub(super) const LISTED_FEATURES: usize = 8;
/// Characters of a column's name that are shown, as in the tables of features.
const NAME: usize = 40;
/// Share of late queries from which a word is said of them. Chosen: one in a hundred; clocks and retries make fewer late.
const NOTED_LATE: f64 = 0.01;

/// What was read, used and refused.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Queries counted in the windows.
    pub accepted: u64,
    /// Queries behind the watermark.
    pub late: u64,
    /// Why the log was not read to its end; `None` if it was.
    pub stopped: Option<String>,
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
    /// What each caller asked over the whole log.
    pub activity: Activity,
    /// The engine's state at the end, if it gave one.
    pub status: Option<ModelStatus>,
    /// The events compared with the reference; `None` if there is none.
    comparison: Option<Comparison>,
    /// Why the model's queries were not judged as a whole, if most came late.
    disorder: Option<String>,
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
            model.comparison = Some(Comparison::new(Arc::clone(reference)));
        }
        summary.models.sort_by(|a, b| a.model.cmp(&b.model));
        summary
    }

    /// A query was counted. Returns what to say of the model's first events at once: how they differ from the reference.
    pub fn accepted(&mut self, query: &Query) -> Vec<Mismatch> {
        self.accepted += 1;
        self.repaired(query);
        let model = self.model(&query.model);
        model.accepted += 1;
        model.count(query)
    }

    /// A query came too late. Returns the same as [`Summary::accepted`].
    pub fn late(&mut self, query: &Query) -> Vec<Mismatch> {
        self.late += 1;
        self.repaired(query);
        let model = self.model(&query.model);
        model.late += 1;
        model.count(query)
    }

    /// The models of which more queries came late than `allowed` among so many are not judged: their log is not in time order.
    /// `lateness_seconds` is how late a query may come. Returns what is to be said of the log, if there are any.
    pub fn note_disorder(&mut self, lateness_seconds: u32, allowed: impl Fn(u64) -> u64) -> Option<String> {
        let mut all = (0, 0);
        for model in &mut self.models {
            let queries = model.accepted + model.late;
            if model.late > allowed(queries) {
                model.disorder = Some(disorder(model.late, queries, lateness_seconds));
                all = (all.0 + model.late, all.1 + queries);
            }
        }
        (all.0 > 0).then(|| disorder(all.0, all.1, lateness_seconds))
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
    fn count(&mut self, query: &Query) -> Vec<Mismatch> {
        let (first, last) = self.span.unwrap_or((query.time, query.time));
        self.span = Some((first.min(query.time), last.max(query.time)));
        self.activity.take(query);
        match &mut self.comparison {
            Some(comparison) => {
                if comparison.take(query) {
                    comparison.mismatches()
                } else {
                    Vec::new()
                }
            }
            None => Vec::new(),
        }
    }

    /// What is said of the model over the whole log.
    pub fn answer(&self) -> Answer {
        match &self.disorder {
            // Callers that were found are found, however their queries came.
            Some(why) if self.history.probing().next().is_none() => Answer::refused("The log is not in time order", why.clone()),
            Some(why) => {
                let answer = Answer::of(self.history.finding(), None);
                Answer { open: vec![why.clone()], ..answer }
            }
            None => Answer::of(self.history.finding(), self.status.as_ref().map(|status| &status.judged)),
        }
    }

    /// Whether nobody can be judged, because no record says who asked.
    pub fn has_no_callers(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.judged.callers.is_impossible())
    }

    /// Where events and reference speak of different columns.
    pub fn mismatches(&self) -> Vec<Mismatch> {
        self.comparison.as_ref().map(Comparison::mismatches).unwrap_or_default()
    }

    /// The same in sentences that are safe to print.
    pub fn mismatch_sentences(&self) -> Vec<String> {
        self.mismatches().iter().map(mismatch_sentence).collect()
    }

    /// A word on late queries of a log that was judged all the same; nothing if they are few.
    pub fn late_note(&self) -> Option<String> {
        let queries = self.accepted + self.late;
        let many = self.disorder.is_none() && self.late as f64 >= NOTED_LATE * queries as f64 && self.late > 0;
        many.then(|| {
            format!(
                "{} of {} came late and were left out of the windows and of the drift test; to count them: tripline replay --sort",
                words::count(self.late),
                words::counted(queries, "query", "queries")
            )
        })
    }
}

/// A mismatch in a sentence that is safe to print.
pub fn mismatch_sentence(mismatch: &Mismatch) -> String {
    mismatch.sentence(|name| words::printable(name, NAME))
}

/// That a log is not in time order, and what to do.
fn disorder(late: u64, of: u64, lateness_seconds: u32) -> String {
    format!(
        "{} of {} came more than {} after newer ones: the log is not in time order. Sort it first: tripline replay --sort ...",
        words::count(late),
        words::counted(of, "record", "records"),
        words::duration(f64::from(lateness_seconds))
    )
}

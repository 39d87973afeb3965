//! What the log of the service says of its models, once each: where records and reference differ, what is not judged yet, and when a
//! model is judged for the first time. The health page repeats what is open.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::ModelStatus;
use crate::health::Readiness;
use crate::html::judged::Answer;
use crate::html::words;
use crate::observer::{ObservedRecord, Observer};
use crate::outcome::OutcomeCounts;
use crate::reference::Reference;
use crate::reference::mismatch::Comparison;

/// Characters of a name that are shown.
const NAME: usize = 80;

/// Follows the records until every model is compared with its reference, and the status after that.
#[derive(Debug)]
pub struct LogObserver {
    /// Models that are not compared yet.
    comparisons: Vec<Comparison>,
    /// Models of which it was said that they are not judged.
    waiting: BTreeSet<String>,
    /// Models of which it was said that they are judged.
    judged: BTreeSet<String>,
    readiness: Readiness,
}

// === impl LogObserver ===

impl LogObserver {
    /// An observer of the models of `references`; what is open goes to `readiness`, too.
    pub fn new(references: &[Arc<Reference>], readiness: Readiness) -> Self {
        let comparisons = references.iter().map(|reference| Comparison::new(Arc::clone(reference))).collect();
        Self { comparisons, waiting: BTreeSet::new(), judged: BTreeSet::new(), readiness }
    }

    /// Says what changed in a model's state; returns what is open in it.
    fn take(&mut self, model: &ModelStatus) -> Option<String> {
        if model.queries + model.late == 0 {
            return None;
        }
        let answer = Answer::of(model.verdict, Some(&model.judged));
        let name = words::printable(&model.model, NAME);
        if answer.is_judged() {
            if self.judged.insert(model.model.clone()) {
                tracing::info!(model = name, verdict = answer.name, "judged for the first time");
            }
            return None;
        }
        let open = format!("{name}: {}. {}", answer.headline, answer.open.join(" "));
        if !self.judged.contains(&model.model) && self.waiting.insert(model.model.clone()) {
            tracing::info!("{open}");
        }
        Some(open)
    }
}

impl Observer for LogObserver {
    type Error = Infallible;

    fn record(&mut self, record: &ObservedRecord<'_>) -> Result<(), Infallible> {
        // A rejected record was never bound to its model, or not believed.
        if self.comparisons.is_empty() || matches!(record.outcome, crate::outcome::Outcome::Rejected(_)) {
            return Ok(());
        }
        let Some(query) = record.query else { return Ok(()) };
        let Some(at) = self.comparisons.iter().position(|one| one.model() == query.model) else { return Ok(()) };
        if self.comparisons[at].take(query) {
            let comparison = self.comparisons.swap_remove(at);
            for mismatch in comparison.mismatches() {
                let mismatch = mismatch.sentence(|name| words::printable(name, NAME));
                tracing::warn!(model = words::printable(&query.model, NAME), "{mismatch}");
            }
        }
        Ok(())
    }

    fn status(&mut self, models: &[ModelStatus], _counts: &OutcomeCounts, _elapsed: Duration) -> Result<(), Infallible> {
        let open: Vec<String> = models.iter().filter_map(|model| self.take(model)).collect();
        self.readiness.set_open(open);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::judged::{DriftJudgement, Judged};
    use crate::judge::Finding;

    #[test]
    fn the_health_page_says_what_is_open_until_it_is_judged() {
        let readiness = Readiness::default();
        let mut observer = LogObserver::new(&[], readiness.clone());
        let status = |cleared: bool| {
            let drift = DriftJudgement { cleared, ..DriftJudgement::default() };
            let judged = Judged { drift, ..Judged::default() };
            ModelStatus {
                model: "adult".into(),
                queries: 1,
                verdict: cleared.then_some(Finding::Stable),
                judged,
                ..ModelStatus::default()
            }
        };
        let mut see = |status: ModelStatus| {
            let Ok(()) = observer.status(&[status], &OutcomeCounts::default(), Duration::ZERO);
            readiness.open()
        };
        assert!(see(ModelStatus { model: "adult".into(), ..ModelStatus::default() }).is_empty(), "no query yet");
        assert!(see(status(false))[0].starts_with("adult: Not judged yet."));
        assert!(see(status(true)).is_empty());
    }
}

//! The series of one model: made at zero when the model is announced, brought up to date, and dropped with it.

use prometheus::{Histogram, HistogramOpts};

use super::series;
use super::{Inner, Model, NO_FAMILY};
use crate::engine::ModelStatus;
use crate::html::judged::UNDETERMINED;
use crate::judge::{Family, Finding, Scope};
use crate::reference::{PredictionKind, Reference};

/// Verdicts that a model can have.
const MODEL_FINDINGS: [Finding; 4] = [Finding::Stable, Finding::Drift, Finding::Probing, Finding::DriftAndProbing];

/// Most buckets of a prediction histogram. Chosen: a chart of a hand's width shows about two dozen bars apart, and every bucket is a
/// series that Prometheus stores.
const MAX_PREDICTION_BUCKETS: usize = 24;

// === impl Inner ===

impl Inner {
    /// Creates what must exist before the first event.
    pub(super) fn start_model(&self, name: &str, features: &[String]) {
        self.late.with_label_values(&[name]);
        self.evicted.with_label_values(&[name]);
        self.clients.with_label_values(&[name]);
        self.campaigns.with_label_values(&[name]);
        self.rate_p95.with_label_values(&[name]);
        self.budget.with_label_values(&[name]);
        self.unreadable_clients.with_label_values(&[name]);
        self.volume_clients.with_label_values(&[name]);
        for family in [Family::Unreadable, Family::Volume] {
            let suspicion = [name, scope_name(Scope::Client), family.name(), Finding::Suspicious.name()];
            self.verdicts.with_label_values(&suspicion);
        }
        let ratios = [&self.unreadable, &self.rejected_by_client];
        for unmeasured in [&self.prediction_psi, &self.prediction_psi_critical, &self.entropy].into_iter().chain(ratios) {
            unmeasured.with_label_values(&[name]).set(f64::NAN);
        }
        for unmeasured in [&self.psi, &self.psi_critical, &self.psi_without_suspects] {
            for feature in features {
                unmeasured.with_label_values(&[name, feature]).set(f64::NAN);
            }
        }
        for feature in features {
            let labels = [name, feature.as_str()];
            self.unseen.with_label_values(&labels);
            self.missing.with_label_values(&labels);
            self.column_changed.with_label_values(&labels);
        }
        self.model_verdict.with_label_values(&[name, UNDETERMINED]).set(1);
        for finding in MODEL_FINDINGS {
            self.model_verdict.with_label_values(&[name, finding.name()]);
            self.verdicts.with_label_values(&[name, scope_name(Scope::Model), NO_FAMILY, finding.name()]);
        }
        for family in Family::ALL {
            self.flagged.with_label_values(&[name, family.name()]);
            for scope in [Scope::Client, Scope::Campaign] {
                self.verdicts.with_label_values(&[name, scope_name(scope), family.name(), Finding::Probing.name()]);
            }
        }
    }

    pub(super) fn publish_model(&self, status: &ModelStatus, model: &mut Model) {
        let name = status.model.as_str();
        model.watermark = status.watermark;
        // A counter only grows; an engine that started again counts from zero, and so does what is left to add.
        let grown = status.evicted_clients.checked_sub(model.evicted).unwrap_or(status.evicted_clients);
        self.evicted.with_label_values(&[name]).inc_by(grown);
        model.evicted = status.evicted_clients;
        self.clients.with_label_values(&[name]).set(whole(status.clients));
        self.campaigns.with_label_values(&[name]).set(whole(status.campaigns));
        self.rate_p95.with_label_values(&[name]).set(status.client_rate_p95);
        self.budget.with_label_values(&[name]).set(status.information_budget_ratio);
        self.model_verdict.with_label_values(&[name, UNDETERMINED]).set(i64::from(status.verdict.is_none()));
        self.unreadable.with_label_values(&[name]).set(status.unreadable_ratio);
        self.rejected_by_client.with_label_values(&[name]).set(status.rejected_by_client_max_ratio);
        self.unreadable_clients.with_label_values(&[name]).set(whole(status.unreadable_clients));
        self.volume_clients.with_label_values(&[name]).set(whole(status.volume_clients));
        for finding in MODEL_FINDINGS {
            let holds = i64::from(status.verdict == Some(finding));
            self.model_verdict.with_label_values(&[name, finding.name()]).set(holds);
        }
        for family in Family::ALL {
            let flagged = status.flagged.get(family.name()).copied().unwrap_or(0);
            self.flagged.with_label_values(&[name, family.name()]).set(whole(flagged));
        }
        // These are counts and no test, so they need no window.
        for column in status.columns.iter().filter(|column| model.features.contains(&column.name)) {
            let labels = [name, column.name.as_str()];
            self.unseen.with_label_values(&labels).set(column.unseen);
            self.missing.with_label_values(&labels).set(column.missing);
            self.column_changed.with_label_values(&labels).set(i64::from(column.changed));
        }
        if status.verdict.is_none() && status.judged.drift.tests() == 0 {
            return; // Nothing was measured: it stays NaN.
        }
        self.entropy.with_label_values(&[name]).set(status.feature_entropy_ratio);
        // Only features of the announced reference: a status cannot invent series either.
        for drift in status.features.iter().filter(|drift| model.features.contains(&drift.name)) {
            let labels = [name, drift.name.as_str()];
            self.psi.with_label_values(&labels).set(drift.psi);
            self.psi_critical.with_label_values(&labels).set(drift.critical);
            self.psi_without_suspects.with_label_values(&labels).set(drift.psi_without_suspects);
        }
        if let Some(prediction) = &status.prediction {
            self.prediction_psi.with_label_values(&[name]).set(prediction.psi);
            self.prediction_psi_critical.with_label_values(&[name]).set(prediction.critical);
        }
    }

    /// Removes every series of a model. Errors mean that a combination never came up.
    pub(super) fn drop_model(&self, name: &str, features: &[String]) {
        for counter in [&self.queries, &self.late, &self.evicted] {
            let _ = counter.remove_label_values(&[name]);
        }
        for histogram in [&self.latency, &self.gap] {
            let _ = histogram.remove_label_values(&[name]);
        }
        for gauge in [&self.unreadable, &self.rejected_by_client] {
            let _ = gauge.remove_label_values(&[name]);
        }
        for gauge in [&self.clients, &self.campaigns, &self.unreadable_clients, &self.volume_clients] {
            let _ = gauge.remove_label_values(&[name]);
        }
        for gauge in [&self.prediction_psi, &self.prediction_psi_critical, &self.rate_p95, &self.entropy, &self.budget] {
            let _ = gauge.remove_label_values(&[name]);
        }
        for feature in features {
            let _ = self.column_changed.remove_label_values(&[name, feature.as_str()]);
        }
        for gauge in [&self.psi, &self.psi_critical, &self.psi_without_suspects, &self.unseen, &self.missing] {
            for feature in features {
                let _ = gauge.remove_label_values(&[name, feature.as_str()]);
            }
        }
        let _ = self.model_verdict.remove_label_values(&[name, UNDETERMINED]);
        for finding in MODEL_FINDINGS {
            let _ = self.model_verdict.remove_label_values(&[name, finding.name()]);
        }
        let families = Family::ALL.map(Family::name);
        for family in families {
            let _ = self.flagged.remove_label_values(&[name, family]);
        }
        let findings = MODEL_FINDINGS.into_iter().chain([Finding::Benign, Finding::Suspicious]);
        for finding in findings.map(Finding::name) {
            for family in families.into_iter().chain([NO_FAMILY]) {
                for scope in [Scope::Client, Scope::Campaign, Scope::Model].map(scope_name) {
                    let _ = self.verdicts.remove_label_values(&[name, scope, family, finding]);
                }
            }
        }
    }
}

pub(super) const fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Client => "client",
        Scope::Campaign => "campaign",
        Scope::Model => "model",
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A histogram of a model's answers whose buckets are the reference's own bins, thinned out if there are very many.
pub(super) fn prediction_histogram(reference: &Reference) -> Result<Histogram, prometheus::Error> {
    let edges = &reference.prediction.edges;
    #[expect(clippy::cast_precision_loss, reason = "a handful of classes")]
    let buckets: Vec<f64> = match reference.prediction.kind {
        // One bucket a class; unseen labels are negative and fall into the first, below every class.
        PredictionKind::Label => std::iter::once(-1.0).chain((0..reference.prediction.classes.len()).map(|i| i as f64)).collect(),
        PredictionKind::Score | PredictionKind::Probabilities if !edges.is_empty() => edges.clone(),
        PredictionKind::Score | PredictionKind::Probabilities => (1..10).map(|tenth| f64::from(tenth) / 10.0).collect(),
    };
    let step = buckets.len().div_ceil(MAX_PREDICTION_BUCKETS).max(1);
    let kept = buckets.iter().copied().step_by(step).collect();
    let series = &series::PREDICTION_VALUE;
    Histogram::with_opts(HistogramOpts::new(series.name, series.help).const_label("model", reference.model.as_str()).buckets(kept))
}

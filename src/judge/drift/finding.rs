//! What a drift test found, and what a verdict says of it.

use serde::{Deserialize, Serialize};

use super::CHANGED_ANSWERS;
use crate::judge::model_signal::{ModelSignal, ModelSignalValue};
use crate::judge::model_state::DriftTest;
use crate::judge::{ColumnChange, FeatureDrift, column_change};
use crate::reference::UnknownValue;

/// What an evaluation found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DriftFinding {
    /// Features (by position; the prediction and its residual come behind them) that drifted for long enough.
    pub drifted: Vec<usize>,
    /// Whether anything is above its critical value without having lasted.
    pub pending: bool,
    /// Whether a window held enough votes; if none did, nothing was tested.
    pub tested: bool,
    /// Repeated rows whose answers changed, and callers who saw it.
    pub changed: (usize, usize),
    /// Columns above their critical value with everybody, and not without the suspects: their work.
    pub suspects: Vec<usize>,
}

/// Why a model is said to drift, or which columns only suspects move.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DriftReasons {
    /// Figures of the columns.
    #[serde(with = "unrounded")]
    pub features: Vec<FeatureDrift>,
    /// Columns that many callers write as the reference does not know.
    #[serde(with = "column_change::unrounded")]
    pub columns: Vec<ColumnChange>,
    /// Signals, heaviest first.
    pub signals: Vec<ModelSignalValue>,
}

/// Figures of columns in a snapshot: verdict lines round them, a snapshot must not.
mod unrounded {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::judge::FeatureDrift;

    pub(super) fn serialize<S: Serializer>(features: &[FeatureDrift], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(features.iter().map(|f| (&f.name, f.psi, f.critical, f.psi_without_suspects)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<FeatureDrift>, D::Error> {
        let figures = Vec::<(String, f64, f64, f64)>::deserialize(deserializer)?;
        let feature = |(name, psi, critical, psi_without_suspects)| FeatureDrift { name, psi, critical, psi_without_suspects };
        Ok(figures.into_iter().map(feature).collect())
    }
}

// === impl DriftReasons ===

impl DriftReasons {
    /// The reasons, with columns that many callers write as the reference does not know.
    #[must_use]
    pub fn with_columns(mut self, columns: Vec<ColumnChange>) -> Self {
        let of_kind = |kind| columns.iter().filter(move |change: &&ColumnChange| change.kind == kind);
        for kind in UnknownValue::ALL {
            if let Some(most) = of_kind(kind).max_by(|a, b| a.callers.total_cmp(&b.callers)) {
                self.signals.push(ModelSignal::of_unknown(kind).describes(most.callers, most.queries));
            }
        }
        Self { columns, ..self }
    }
}

// === impl DriftFinding ===

impl DriftFinding {
    /// Whether the model drifts: a column for long enough, or its answers.
    pub fn drifts(&self) -> bool {
        !self.drifted.is_empty() || self.concept()
    }

    /// The finding as an event of the model's state.
    pub fn event(&self) -> DriftTest {
        DriftTest {
            drifts: self.drifts(),
            pending: self.pending,
            suspects_alone: !self.pending && !self.suspects.is_empty(),
            tested: self.tested,
        }
    }

    /// Whether answers to repeated rows changed, often enough and for several callers.
    pub fn concept(&self) -> bool {
        self.changed.0 >= CHANGED_ANSWERS.0 && self.changed.1 >= CHANGED_ANSWERS.1
    }
}

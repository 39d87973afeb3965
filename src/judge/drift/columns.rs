//! The columns of the drift test and their bins: the features, the prediction, and the prediction given the features.
//!
//! Made from the reference, so no part of a snapshot.

use crate::event::Prediction;
use crate::reference::fit::{coarse_counts, coarse_map};
use crate::reference::{Feature, Kind, PredictionKind, Reference, code};
use crate::signal::additive::Additive;
use crate::signal::codes::{Coder, Codes};

/// Columns that come behind the features: the prediction and its residual.
const BEHIND_FEATURES: usize = 2;

/// Columns of one model.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    /// Names: features in schema order, then `prediction` and `prediction_given_features`.
    pub(super) names: Vec<String>,
    /// Number of bins by column.
    pub(super) sizes: Vec<usize>,
    /// Rows of the reference by column and bin.
    pub(super) reference: Vec<Vec<f64>>,
    /// First code of each feature that no row of the reference has, but for missing ones.
    unknown: Vec<u16>,
    prediction: PredictionBins,
    additive: Additive,
    residual_edges: Vec<f64>,
}

/// Bins of the model's answers.
#[derive(Clone, Debug)]
struct PredictionBins {
    kind: PredictionKind,
    edges: Vec<f64>,
    bins: usize,
}

// === impl Columns ===

impl Columns {
    /// Columns of a reference.
    pub(super) fn new(reference: &Reference, coder: &Coder) -> Self {
        let additive = Additive::new(reference, coder);
        let profile = &reference.prediction;
        let prediction = PredictionBins { kind: profile.kind, edges: profile.edges.clone(), bins: profile.counts.len() };
        let mut counts: Vec<Vec<f64>> = reference.features.iter().map(expected_counts).collect();
        counts.push(profile.counts.iter().map(|&rows| rows as f64).collect());
        let (residual_edges, residual_counts) = additive.residual_bins();
        counts.push(residual_counts);
        let mut names: Vec<String> = reference.features.iter().map(|feature| feature.name.clone()).collect();
        names.extend(["prediction".to_owned(), "prediction_given_features".to_owned()]);
        Self {
            names,
            sizes: counts.iter().map(Vec::len).collect(),
            reference: counts,
            unknown: reference.features.iter().map(|feature| (feature.bins() + code::UNSEEN) as u16).collect(),
            prediction,
            additive,
            residual_edges,
        }
    }

    /// Number of columns.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Number of features, which come first.
    pub(super) fn features(&self) -> usize {
        self.len() - BEHIND_FEATURES
    }

    /// Position of the prediction.
    pub(super) fn prediction(&self) -> usize {
        self.features()
    }

    /// First bin of each column, when the bins of all columns lie one after the other.
    pub(super) fn offsets(&self) -> Vec<usize> {
        let first = |at: &mut usize, size: &usize| {
            *at += size;
            Some(*at - size)
        };
        self.sizes.iter().scan(0, first).collect()
    }

    /// Bin of a row in each column, the features first. A value that no row of the reference has is in the last bin of its feature, and
    /// so is a number beyond the reference's range: tenths of the reference would hardly see a new unit for a few callers.
    pub(super) fn feature_bins<'a>(&'a self, Codes { fine, coarse, .. }: &'a Codes) -> impl Iterator<Item = u8> + 'a {
        let known = fine.iter().zip(coarse).zip(self.unknown.iter().zip(&self.sizes));
        known.map(|((&fine, &coarse), (&unknown, &size))| if fine >= unknown { small(size - 1) } else { coarse })
    }

    /// Bin of an answer.
    pub(super) fn prediction_bin(&self, prediction: Prediction) -> u8 {
        small(self.prediction.bin(prediction))
    }

    /// Bin of what the features leave unexplained of an answer; the last one if there is no answer.
    pub(super) fn residual_bin(&self, coarse: &[u8], prediction: Prediction) -> u8 {
        let residual = match prediction {
            Prediction::Missing => f64::NAN,
            other => other.cell().value() - self.additive.predict(coarse),
        };
        let bin = if residual.is_finite() {
            self.residual_edges.partition_point(|&edge| edge < residual)
        } else {
            self.residual_edges.len() + 1
        };
        small(bin)
    }
}

// === impl PredictionBins ===

impl PredictionBins {
    fn bin(&self, prediction: Prediction) -> usize {
        let value = match (self.kind, prediction) {
            (PredictionKind::Score, Prediction::Score(score)) => return self.edges.partition_point(|&e| e < score),
            (_, other) => other.cell().value(),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "class indices are small; all else is the last bin"
        )]
        if self.kind != PredictionKind::Score && value >= 0.0 && value < (self.bins - 1) as f64 {
            value as usize
        } else {
            self.bins - 1
        }
    }
}

/// A bin's number in a byte; references have fewer bins.
fn small(bin: usize) -> u8 {
    u8::try_from(bin).unwrap_or(u8::MAX)
}

/// Counts of a feature's bins as new rows would have them. The share of rows with a value that the reference does not have is
/// estimated by the share of values that it has once (Good 1953, "The population frequencies of species"). In a column of towns
/// or products every tenth row may have such a value, and nothing has changed.
pub(super) fn expected_counts(feature: &Feature) -> Vec<f64> {
    let mut counts = coarse_counts(feature);
    if feature.kind != Kind::Continuous {
        let once = feature.counts.iter().take(feature.bins()).zip(coarse_map(feature)).filter(|&(&rows, _)| rows == 1);
        for (_, bin) in once {
            counts[bin] -= 1;
            counts.last_mut().into_iter().for_each(|unknown| *unknown += 1);
        }
    }
    counts.into_iter().map(|rows| rows as f64).collect()
}

//! How near is a query to the decision boundary, as far as the model's answer tells?
//!
//! Adaptive retraining sends three quarters of its queries where its copy is least sure (Tramèr et al. 2016 §4.4; Pal et al. 2020),
//! and decision-based walks stay there altogether. The distance is that of a score from its threshold, or the lead of the most
//! probable class; where answers are one of two bare labels, an additive model of the reference ([`super::additive`]) stands for the
//! score. It becomes a conformal p-value: of 0.01 if a hundredth of the reference's rows are as undecided.
//!
//! Undecided rows alone accuse nobody: a service that passes on what its own model is not sure of sends nothing else. What counts is
//! to be undecided *and* odd, which [`super::density`] puts together.

use crate::event::Prediction;
use crate::reference::{PredictionKind, Reference};
use crate::signal::additive::Additive;
use crate::signal::codes::{Coder, Codes};
use crate::signal::ranks::Ranks;

/// The middle of two labels, which are 0 and 1.
const LABEL_MIDDLE: f64 = 0.5;

/// What the distance is measured by.
#[derive(Clone, Debug)]
enum Measure {
    /// Distance of a score from the threshold.
    Threshold(f64),
    /// Probability of the most probable class.
    TopClass,
    /// Distance of the additive model's answer from the middle of two labels.
    Surrogate(Box<Additive>),
    /// A regression, or many bare labels: there is no boundary, or nothing tells where.
    Unknown,
}

/// Nearness to the decision boundary under one reference.
#[derive(Clone, Debug)]
pub struct Boundary {
    measure: Measure,
    ranks: Ranks,
    /// p-values of the rows of the reference's sample.
    sample: Vec<f32>,
}

// === impl Boundary ===

impl Boundary {
    /// Learns from a reference's sample how near its rows are.
    pub fn new(reference: &Reference, coder: &Coder) -> Self {
        let profile = &reference.prediction;
        let measure = match (profile.kind, profile.threshold) {
            (PredictionKind::Score, Some(threshold)) => Measure::Threshold(threshold),
            (PredictionKind::Probabilities, _) => Measure::TopClass,
            (PredictionKind::Label, _) if profile.classes.len() == 2 => {
                Measure::Surrogate(Box::new(Additive::new(reference, coder)))
            }
            _ => Measure::Unknown,
        };
        let mut boundary = Self { measure, ranks: Ranks::default(), sample: Vec::new() };
        let mut codes = Codes::default();
        let scores: Vec<f32> = reference
            .sample
            .iter()
            .zip(&reference.sample_predictions)
            .map(|(row, answer)| {
                coder.encode(row, &mut codes);
                boundary.score(answer.value(), &codes)
            })
            .collect();
        boundary.ranks = Ranks::new(scores.iter().copied().filter(|score| score.is_finite()).collect());
        boundary.sample = scores.iter().map(|&score| boundary.p_of(score) as f32).collect();
        boundary
    }

    /// p-value of a query, 0 to 1: the share of the reference that is as undecided; 1 where nothing tells.
    pub fn p(&self, answer: Prediction, codes: &Codes) -> f64 {
        let value = match (&self.measure, answer) {
            (Measure::Threshold(_), Prediction::Score(score)) => score,
            (Measure::TopClass, Prediction::Probabilities { probability, .. }) => probability,
            _ => f64::NAN,
        };
        self.p_of(self.score(value, codes))
    }

    /// p-values of the rows of the reference's sample, in order.
    pub fn sample(&self) -> &[f32] {
        &self.sample
    }

    /// Nearness by a score or the top probability, whichever the measure uses; not finite where nothing tells.
    fn score(&self, value: f64, codes: &Codes) -> f32 {
        let score = match &self.measure {
            Measure::Threshold(threshold) => -(value - threshold).abs(),
            Measure::TopClass => -value,
            Measure::Surrogate(additive) => -(additive.predict(&codes.coarse) - LABEL_MIDDLE).abs(),
            Measure::Unknown => f64::NAN,
        };
        score as f32
    }

    fn p_of(&self, score: f32) -> f64 {
        if score.is_finite() { self.ranks.p(score) } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Cell;
    use crate::reference::{Column, Dataset, FitOptions, Raw, fit};

    /// One column that decides: an answer of `answer` to each value from 0 to 1.
    fn reference(answer: impl Fn(f64) -> Raw) -> Reference {
        let values: Vec<f64> = (0..2_000_u64).map(|i| (crate::hash::mix(i) % 10_000) as f64 / 1e4).collect();
        let features = vec![
            Column { name: "x".into(), cells: values.iter().map(|&value| Raw::Number(value)).collect() },
            Column { name: "other".into(), cells: (0..2_000_u64).map(|i| Raw::Number((i % 97) as f64 / 10.0)).collect() },
        ];
        let predictions = values.iter().map(|&value| answer(value)).collect();
        fit(
            &Dataset { features, predictions, probabilities: Vec::new() },
            &FitOptions { model: "m".into(), ..FitOptions::default() },
        )
        .unwrap()
    }

    fn p(reference: &Reference, x: f64, answer: Prediction) -> f64 {
        let coder = Coder::new(reference);
        let mut codes = Codes::default();
        coder.encode(&[Cell::number(x), Cell::number(1.0)], &mut codes);
        Boundary::new(reference, &coder).p(answer, &codes)
    }

    #[test]
    fn a_score_next_to_the_threshold_is_rarer_than_one_far_from_it() {
        let scores = reference(Raw::Number);
        let p = |score| p(&scores, 0.5, Prediction::Score(score));
        assert!(p(0.501) < 0.01 && p(0.45) > 0.05 && p(0.02) > 0.9, "{} {} {}", p(0.501), p(0.45), p(0.02));
    }

    #[test]
    fn two_labels_have_a_boundary_where_the_additive_model_is_undecided() {
        let labels = reference(|x| Raw::Text(if x > 0.5 { "yes" } else { "no" }.into()));
        let yes = Prediction::Label(Cell::category(1));
        assert!(p(&labels, 0.51, yes) < p(&labels, 0.95, yes));
    }

    #[test]
    fn a_regression_has_none() {
        let prices = reference(|x| Raw::Number(x * 700.0 + 100.5));
        assert!((p(&prices, 0.5, Prediction::Score(300.0)) - 1.0).abs() < 1e-12);
    }
}

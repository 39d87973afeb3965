//! An additive model of the reference's answers: one weight per coarse code, fitted by ridge regression.
//!
//! It is no substitute for the model. It explains enough of the answers from the features for the *residual* to stay the same
//! while the inputs drift, and to move when the model's own behaviour changes. It is fitted on every other row of the sample; the
//! rows in between give the residual's distribution. With few rows and many codes a weak penalty would overfit, and traffic that
//! repeats some of the rows would look like another model's. So the penalty grows until rows learned from are explained hardly better
//! than held-out rows. The normal equations are solved by conjugate gradients (Hestenes and
//! Stiefel 1952) on the one-hot rows without ever forming a matrix.

use ndarray::Array1;

use crate::event::Cell;
use crate::reference::Reference;
use crate::signal::codes::{Coder, Codes};

/// Least ridge penalty in rows: a code seen three times is believed half. Chosen.
const LEAST_PENALTY: f64 = 3.0;
/// How the penalty grows, and how often at most: 3⁸ is 6,561 rows' worth, with which all weights are next to nothing.
const PENALTY_GROWTH: f64 = 3.0;
const PENALTIES: i32 = 8;
/// Mean square of the residuals of the rows learned from, relative to that of held-out rows, below which the model overfits. Chosen: normal
/// residuals whose variances differ by that much have a PSI of 0.013, little against what drift tests report.
const OVERFITTED: f64 = 0.85;
/// Iterations of the solver. Chosen: the ridge keeps the problem well conditioned, and residual bins need two digits.
const ITERATIONS: usize = 60;
/// Squared norm of the solver's residual at which it has converged.
const CONVERGED: f64 = 1e-12;
/// Residual bins: deciles, as usual for a stability index.
const BINS: usize = 10;

/// The fitted model.
#[derive(Clone, Debug)]
pub struct Additive {
    mean: f64,
    offsets: Vec<usize>,
    weights: Array1<f64>,
    residuals: Vec<f64>,
}

// === impl Additive ===

impl Additive {
    /// Fits the sample of a reference.
    pub fn new(reference: &Reference, coder: &Coder) -> Self {
        let mut offsets = vec![0];
        for size in coder.sizes() {
            offsets.push(offsets.last().copied().unwrap_or(0) + size);
        }
        let width = offsets.pop().unwrap_or(0);
        let mut codes = Codes::default();
        let mut rows: Vec<(Vec<u32>, f64)> = Vec::new();
        for (row, answer) in reference.sample.iter().zip(&reference.sample_predictions) {
            let answer: Cell = *answer;
            if !answer.value().is_finite() {
                continue;
            }
            coder.encode(row, &mut codes);
            let hot = codes.coarse.iter().zip(&offsets).map(|(&c, &o)| (o + usize::from(c)) as u32).collect();
            rows.push((hot, answer.value()));
        }
        let mut model = Self { mean: 0.0, offsets, weights: Array1::zeros(width), residuals: Vec::new() };
        let learn: Vec<&(Vec<u32>, f64)> = rows.iter().step_by(2).collect();
        if learn.is_empty() {
            return model;
        }
        model.mean = learn.iter().map(|r| r.1).sum::<f64>() / learn.len() as f64;
        let held_out: Vec<&(Vec<u32>, f64)> = rows.iter().skip(1).step_by(2).collect();
        for growth in 0..PENALTIES {
            model.weights = solve(&learn, model.mean, width, LEAST_PENALTY * PENALTY_GROWTH.powi(growth));
            if model.mean_square(&learn) >= OVERFITTED * model.mean_square(&held_out) {
                break;
            }
        }
        model.residuals = held_out.iter().map(|(hot, y)| y - model.sum(hot)).collect();
        model.residuals.sort_by(f64::total_cmp);
        model
    }

    /// Mean square of the residuals of rows' answers.
    fn mean_square(&self, rows: &[&(Vec<u32>, f64)]) -> f64 {
        rows.iter().map(|(hot, y)| (y - self.sum(hot)).powi(2)).sum::<f64>() / rows.len().max(1) as f64
    }

    fn sum(&self, hot: &[u32]) -> f64 {
        self.mean + hot.iter().map(|&i| self.weights[i as usize]).sum::<f64>()
    }

    /// Expected answer to a row of coarse codes.
    pub fn predict(&self, coarse: &[u8]) -> f64 {
        self.mean + coarse.iter().zip(&self.offsets).map(|(&c, &o)| self.weights[o + usize::from(c)]).sum::<f64>()
    }

    /// Decile edges of the residual, and how many held-out rows fall into each bin (with one more bin for rows without a residual).
    pub fn residual_bins(&self) -> (Vec<f64>, Vec<f64>) {
        let n = self.residuals.len();
        if n == 0 {
            return (Vec::new(), vec![0.0; 2]);
        }
        let mut edges: Vec<f64> = (1..BINS).map(|i| self.residuals[(i * n / BINS).min(n - 1)]).collect();
        edges.dedup();
        let mut counts = vec![0.0; edges.len() + 2];
        for r in &self.residuals {
            counts[edges.partition_point(|e| e < r)] += 1.0;
        }
        (edges, counts)
    }
}

/// Solves (XᵀX + λI) w = Xᵀ(y − mean).
fn solve(rows: &[&(Vec<u32>, f64)], mean: f64, width: usize, ridge: f64) -> Array1<f64> {
    let apply = |v: &Array1<f64>| {
        let mut out = v * ridge;
        for (hot, _) in rows {
            let dot: f64 = hot.iter().map(|&i| v[i as usize]).sum();
            hot.iter().for_each(|&i| out[i as usize] += dot);
        }
        out
    };
    let mut weights = Array1::zeros(width);
    let mut residual = Array1::zeros(width);
    for (hot, y) in rows {
        hot.iter().for_each(|&i| residual[i as usize] += y - mean);
    }
    let mut direction: Array1<f64> = residual.clone();
    let mut norm = residual.dot(&residual);
    for _ in 0..ITERATIONS {
        if norm < CONVERGED {
            break;
        }
        let applied = apply(&direction);
        let step = norm / direction.dot(&applied).max(f64::MIN_POSITIVE);
        weights.scaled_add(step, &direction);
        residual.scaled_add(-step, &applied);
        let next = residual.dot(&residual);
        direction = &residual + &(direction * (next / norm));
        norm = next;
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::mix2;
    use crate::reference::{Column, Dataset, FitOptions, Raw, fit};

    #[test]
    fn few_rows_with_many_codes_are_not_overfitted() {
        // Answers that have nothing to do with the features: whatever is explained is overfitted.
        let uniform = |i: u64, j: u64| (mix2(i, j) >> 11) as f64 / (1_u64 << 53) as f64;
        let column = |j: u64| Column { name: format!("x{j}"), cells: (0..600).map(|i| Raw::Number(uniform(i, j))).collect() };
        let predictions = (0..600).map(|i| Raw::Number(uniform(i, 99))).collect();
        let dataset = Dataset { features: (0..40).map(column).collect(), predictions, probabilities: Vec::new() };
        let reference = fit(&dataset, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap();
        let coder = Coder::new(&reference);
        let model = Additive::new(&reference, &coder);
        let missed = |first: usize| -> f64 {
            let rows = coder.sample(&reference).into_iter().zip(&reference.sample_predictions).skip(first).step_by(2);
            rows.map(|(codes, answer)| (answer.value() - model.predict(&codes.coarse)).powi(2)).sum()
        };
        assert!(missed(0) > 0.8 * missed(1), "learned from {}, held out {}", missed(0), missed(1));
    }
}

//! Numbers that do not go together, in fine detail: residuals of a Gaussian copula.
//!
//! Each number is mapped to its normal score ([`super::normal_scores`]), and each score is predicted by a few others. The predictors are
//! chosen one after the other by how much they explain (forward selection). The statistic is the sum of squared residuals, each in
//! units of its usual size. Where numbers depend closely on each other, as an image's moments or a flight's times do, a step of a
//! fraction of a deviation in one of them is many times the usual residual. No cell of a table of pairs is unusual then.
//!
//! It is the Mahalanobis distance less what the marginals say, with a sparse inverse, so that a row costs a few operations a feature.

use crate::signal::codes::Codes;
use crate::signal::normal_scores::NormalScores;

/// Other features that predict one, at most. Chosen: each costs a multiplication a row.
const REGRESSORS: usize = 4;
/// What a further predictor must explain of a feature's variance. Chosen: less than a hundredth cannot be told from the sampling error
/// of a correlation, 1/√n, with n a few thousand rows (squared: 1/n per candidate, and there are many).
const WORTH: f64 = 0.01;
/// Variance that a predictor must have beside the predictors before it. Chosen: below a twentieth the regression is nearly singular
/// and its weights are noise (a variance inflation factor of 20).
const OWN_VARIANCE: f64 = 0.05;
/// Least usual residual, in normal scores. Numbers that determine each other still differ by rounding; 64 knots resolve a score to about
/// this.
const LEAST_RESIDUAL: f64 = 0.05;
/// Most that one feature adds: the square of five usual residuals. Chosen: one wild value must not hide what the others say, and
/// beyond five deviations it is no less natural.
const MOST_SQUARED: f32 = 25.0;
/// Share of a feature's variance that must be explained for it to count. Chosen: numbers that are nearly independent cannot fail to go
/// together, and would add noise alone.
const LEAST_EXPLAINED: f64 = 0.05;
/// Largest correlation that is believed: numbers that determine each other stay short of 1, so that every sweep is sound.
const MOST_CORRELATED: f64 = 0.999;
/// Least deviation that a covariance is divided by, for constants.
const LEAST_DEVIATION: f64 = 1e-6;

/// How one score is predicted from others.
#[derive(Clone, Debug)]
struct Regression {
    of: u16,
    /// Reciprocal of the usual residual.
    per_residual: f32,
    /// Predictors and their weights; unused ones weigh nothing.
    from: [(u16, f32); REGRESSORS],
}

/// How one reference's numbers depend on each other.
#[derive(Clone, Debug, Default)]
pub struct Copula {
    regressions: Vec<Regression>,
    explained: f64,
}

// === impl Copula ===

impl Copula {
    /// Learns from the codes of a reference's sample; features that are `masked` are left out.
    pub fn new(scores: &NormalScores, sample: &[Codes], masked: &[bool]) -> Self {
        let open: Vec<bool> = scores.features().map(|feature| !masked.get(feature).copied().unwrap_or(false)).collect();
        let rows: Vec<f32> = sample.iter().flat_map(|codes| codes.normal.iter().copied()).collect();
        let mut copula = Self::default();
        copula.regress(&rows, &open);
        copula
    }

    /// Sum of squared residuals of a row's normal scores, each in units of its usual size; 0 where nothing depends on anything.
    #[inline]
    pub fn misfit(&self, normal: &[f32]) -> f32 {
        let of = |r: &Regression| {
            let expected: f32 = r.from.iter().map(|&(i, weight)| weight * normal[usize::from(i)]).sum();
            let residual = (normal[usize::from(r.of)] - expected) * r.per_residual;
            // A missing number, of the feature or of one of its predictors, is no misfit.
            if residual.is_nan() { 0.0 } else { (residual * residual).min(MOST_SQUARED) }
        };
        self.regressions.iter().map(of).sum()
    }

    /// Variance that the others explain, summed over all regressions: 1 for each feature that is wholly explained.
    pub fn explained(&self) -> f64 {
        self.explained
    }

    /// Chooses and fits the regressions, by sweeping the matrix of correlations (Goodnight 1979).
    fn regress(&mut self, rows: &[f32], open: &[bool]) {
        let width = open.len();
        let correlations = correlations(rows, width);
        for of in (0..width).filter(|&of| open[of]) {
            let mut matrix = correlations.clone();
            let mut chosen: Vec<usize> = Vec::new();
            while chosen.len() < REGRESSORS {
                let gain = |i: usize| matrix[i * width + of].powi(2) / matrix[i * width + i];
                let free = |i: &usize| *i != of && open[*i] && !chosen.contains(i) && matrix[i * width + i] > OWN_VARIANCE;
                let best = (0..width).filter(free).max_by(|&a, &b| gain(a).total_cmp(&gain(b)));
                let Some(best) = best.filter(|&i| gain(i) > WORTH) else { break };
                sweep(&mut matrix, width, best);
                chosen.push(best);
            }
            let left = matrix[of * width + of].max(0.0);
            if chosen.is_empty() || left > 1.0 - LEAST_EXPLAINED {
                continue;
            }
            let mut from = [(of as u16, 0.0); REGRESSORS];
            for (slot, &i) in from.iter_mut().zip(&chosen) {
                *slot = (i as u16, matrix[i * width + of] as f32);
            }
            self.explained += 1.0 - left;
            let per_residual = (1.0 / left.sqrt().max(LEAST_RESIDUAL)) as f32;
            self.regressions.push(Regression { of: of as u16, per_residual, from });
        }
    }
}

/// Correlations of normal scores; pairs with a missing score are left out. Means are nearly 0 and variances nearly 1 by
/// construction, but not for columns with few values, so both are computed.
fn correlations(rows: &[f32], width: usize) -> Vec<f64> {
    let mut means = vec![(0.0_f64, 0.0_f64); width];
    for row in rows.chunks_exact(width.max(1)) {
        for (mean, &z) in means.iter_mut().zip(row).filter(|(_, z)| !z.is_nan()) {
            *mean = (mean.0 + f64::from(z), mean.1 + 1.0);
        }
    }
    let means: Vec<f64> = means.iter().map(|(sum, n)| sum / n.max(1.0)).collect();
    let mut sums = vec![(0.0_f64, 0.0_f64); width * width];
    let mut centred = vec![0.0_f64; width];
    for row in rows.chunks_exact(width.max(1)) {
        centred.iter_mut().zip(row).zip(&means).for_each(|((c, &z), mean)| *c = f64::from(z) - mean);
        for i in 0..width {
            if centred[i].is_nan() {
                continue;
            }
            for j in i..width {
                if !centred[j].is_nan() {
                    let sum = &mut sums[i * width + j];
                    *sum = (sum.0 + centred[i] * centred[j], sum.1 + 1.0);
                }
            }
        }
    }
    let covariance = |i: usize, j: usize| {
        let (sum, n) = sums[i.min(j) * width + i.max(j)];
        sum / n.max(1.0)
    };
    let deviation: Vec<f64> = (0..width).map(|i| covariance(i, i).sqrt().max(LEAST_DEVIATION)).collect();
    (0..width * width)
        .map(|at| {
            let (i, j) = (at / width, at % width);
            let scaled = covariance(i, j) / (deviation[i] * deviation[j]);
            if i == j { 1.0 } else { scaled.clamp(-MOST_CORRELATED, MOST_CORRELATED) }
        })
        .collect()
}

/// Sweeps a symmetric matrix on one index.
fn sweep(matrix: &mut [f64], width: usize, k: usize) {
    let pivot = matrix[k * width + k];
    let row: Vec<f64> = (0..width).map(|j| matrix[k * width + j] / pivot).collect();
    let column: Vec<f64> = (0..width).map(|i| matrix[i * width + k]).collect();
    for i in (0..width).filter(|&i| i != k) {
        for j in (0..width).filter(|&j| j != k) {
            matrix[i * width + j] -= column[i] * row[j];
        }
        matrix[i * width + k] = -column[i] / pivot;
    }
    for j in (0..width).filter(|&j| j != k) {
        matrix[k * width + j] = row[j];
    }
    matrix[k * width + k] = 1.0 / pivot;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Cell;
    use crate::reference::{Column, Dataset, FitOptions, Raw, Reference, fit};
    use crate::signal::codes::Coder;

    fn uniform(i: u64, j: u64) -> f64 {
        (crate::hash::mix2(i, j) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Four numbers: the second follows the first closely, the third is their product, the last stands alone.
    fn row(i: u64) -> [f64; 4] {
        let a = -(1.0 - uniform(i, 0)).ln() * 50.0;
        let b = a * 0.4 + uniform(i, 1) * 2.0;
        [a, b, a * b, uniform(i, 3) * 7.0].map(|v| (v * 1e4).round() / 1e4)
    }

    fn reference() -> Reference {
        let column = |j: usize| Column { name: format!("x{j}"), cells: (0..4_000).map(|i| Raw::Number(row(i)[j])).collect() };
        let predictions = (0..4_000).map(|i| Raw::Number(uniform(i, 9))).collect();
        let dataset = Dataset { features: (0..4).map(column).collect(), predictions, probabilities: Vec::new() };
        fit(&dataset, &FitOptions { model: "m".into(), ..FitOptions::default() }).unwrap()
    }

    fn misfit((scores, copula): &(NormalScores, Copula), row: [f64; 4]) -> f32 {
        let mut normal = Vec::new();
        scores.of_row(&row.map(Cell::number), &mut normal);
        copula.misfit(&normal)
    }

    fn learned(masked: &[bool]) -> (NormalScores, Copula) {
        let reference = reference();
        let scores = NormalScores::new(&reference);
        let copula = Copula::new(&scores, &Coder::new(&reference).sample(&reference), masked);
        (scores, copula)
    }

    #[test]
    fn a_small_step_of_one_number_that_follows_from_others_is_a_large_misfit() {
        let copula = learned(&[]);
        let fresh: Vec<[f64; 4]> = (10_000..12_000).map(row).collect();
        let mut usual: Vec<f32> = fresh.iter().map(|&row| misfit(&copula, row)).collect();
        usual.sort_by(f32::total_cmp);
        let rare = usual[usual.len() * 99 / 100];
        // Two fifths of the first number's deviation: no cell of a table of tenths is left for most.
        let moved = fresh.iter().filter(|row| misfit(&copula, [row[0] + 20.0, row[1], row[2], row[3]]) > rare).count();
        assert!(moved > fresh.len() / 2, "{moved} of {}", fresh.len());
        let alone = fresh.iter().filter(|row| misfit(&copula, [row[0], row[1], row[2], 7.0 - row[3]]) > rare).count();
        assert!(alone < fresh.len() / 50, "what depends on nothing cannot misfit: {alone}");
    }

    #[test]
    fn masked_and_missing_numbers_say_nothing() {
        assert!(learned(&[true, true, true, false]).1.regressions.is_empty());
        let missing = [f32::NAN; 4];
        assert!(learned(&[]).1.misfit(&missing) < 1e-6);
    }
}

//! Numbers that do not go together, in the finest detail: residuals of a Gaussian copula.
//!
//! Each number is mapped to its normal score under the reference (the quantile function of its sample, then the normal one), which
//! leaves dependence and nothing of the margins (Liu, Lafferty and Wasserman 2009, the "nonparanormal"). Each score is predicted by a few
//! others, chosen one after the other by how much they explain; what is left, in units of what is usually left, squared and added
//! up, is the statistic. Where numbers depend on each other closely, as an image's moments or a flight's times do, a step of a
//! fraction of a deviation in one of them is many times the usual residual, long before any cell of a table of pairs is an odd one.
//!
//! It is the Mahalanobis distance less what the margins say, with a sparse inverse so that a row costs a few operations a feature.

use crate::event::Cell;
use crate::reference::Reference;
use crate::signal::density::Codes;
use crate::signal::search_grid::Blocks;

/// Other features that predict one, at most.
const REGRESSORS: usize = 4;
/// What a further one must explain of a feature's variance to be worth its price.
const WORTH: f64 = 0.01;
/// Variance that must be left of a regressor beside those chosen before it.
const OWN_VARIANCE: f64 = 0.05;
/// Least usual residual, in normal scores: rounding leaves as much of numbers that determine each other.
const LEAST_RESIDUAL: f64 = 0.05;
/// Most that one feature adds, squared: five usual residuals. What is beyond is no odder.
const MOST: f32 = 25.0;
/// Knots of the quantile function.
const KNOTS: usize = Blocks::ROOM;
/// Least share of a variance that is explained for a feature to count: independent numbers cannot fail to go together.
const DEPENDENT: f64 = 0.05;

/// Normal scores of one number.
#[derive(Clone, Debug)]
struct Scores {
    feature: usize,
    /// Values, ascending, and the normal score of each.
    ascending: Box<[f32]>,
    normal: Box<[f32]>,
    /// The values after the first.
    after: Blocks,
}

/// How one score follows from others.
#[derive(Clone, Debug)]
struct Regression {
    of: u16,
    /// Reciprocal of the usual residual.
    per_residual: f32,
    from: [(u16, f32); REGRESSORS],
}

/// The normal scores of one reference's numbers.
#[derive(Clone, Debug, Default)]
pub struct Margins(Vec<Scores>);

/// How one reference's numbers depend on each other.
#[derive(Clone, Debug, Default)]
pub struct Copula {
    regressions: Vec<Regression>,
    explained: f64,
}

/// Steps of a normal score that a byte tells apart, and the score of the byte in the middle: ±4 in thirty-seconds.
const PER_SCORE: f32 = 32.0;
const MIDDLE: f32 = 128.0;
/// The byte of no score.
const NONE: u8 = 0;

// === impl Margins ===

impl Margins {
    /// Learns the quantile functions of a reference's numbers.
    pub fn new(reference: &Reference) -> Self {
        let numbers = (0..reference.features.len()).filter(|&j| reference.features[j].is_numeric());
        Self(numbers.filter_map(|j| Scores::new(reference, j)).collect())
    }

    /// Normal scores of a row's numbers, one after the other; NaN for what is missing.
    #[inline]
    pub fn scores(&self, row: &[Cell], normal: &mut Vec<f32>) {
        normal.clear();
        normal.extend(self.0.iter().map(|s| s.of(row.get(s.feature).copied().unwrap_or(Cell::MISSING))));
    }

    /// Scores of a row.
    pub fn width(&self) -> usize {
        self.0.len()
    }
}

/// A normal score in a byte, to a sixty-fourth.
pub fn to_byte(score: f32) -> u8 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what a byte holds")]
    let byte = (score * PER_SCORE + (MIDDLE + 0.5)).clamp(1.0, 255.0) as u8;
    if score.is_nan() { NONE } else { byte }
}

/// The score that a byte stands for.
pub fn from_byte(byte: u8) -> f32 {
    if byte == NONE { f32::NAN } else { (f32::from(byte) - MIDDLE) / PER_SCORE }
}

// === impl Copula ===

impl Copula {
    /// Learns from the codes of a reference's sample; features that are `masked` are left out.
    pub fn new(margins: &Margins, sample: &[Codes], masked: &[bool]) -> Self {
        let open: Vec<bool> = margins.0.iter().map(|s| !masked.get(s.feature).copied().unwrap_or(false)).collect();
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
            // A missing number, of the feature or of what it follows from, is no misfit.
            if residual.is_nan() { 0.0 } else { (residual * residual).min(MOST) }
        };
        self.regressions.iter().map(of).sum()
    }

    /// Features' worth of variance that the others explain, of all regressions together.
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
            if chosen.is_empty() || left > 1.0 - DEPENDENT {
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

/// Correlations of normal scores, pairs with a missing one left out; their means are nearly 0 and variances nearly 1 by construction,
/// but not for columns with few values.
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
    let deviation: Vec<f64> = (0..width).map(|i| covariance(i, i).sqrt().max(1e-6)).collect();
    // Numbers that determine each other are kept from being one, so that every sweep is sound.
    (0..width * width)
        .map(|at| {
            let (i, j) = (at / width, at % width);
            let scaled = covariance(i, j) / (deviation[i] * deviation[j]);
            if i == j { 1.0 } else { scaled.clamp(-0.999, 0.999) }
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

// === impl Scores ===

impl Scores {
    /// Of a feature of the sample; `None` if it has next to no values.
    fn new(reference: &Reference, feature: usize) -> Option<Self> {
        let mut column: Vec<f64> = reference.sample.iter().map(|row| row[feature].value()).filter(|v| v.is_finite()).collect();
        column.sort_by(f64::total_cmp);
        let n = column.len();
        if n < KNOTS {
            return None;
        }
        // A value's score is the mean over its ties: a knot for each distinct value of the quantile function.
        let mut ascending: Vec<f32> = Vec::with_capacity(KNOTS + 1);
        let mut normal = Vec::with_capacity(KNOTS + 1);
        for q in 0..=KNOTS {
            let value = column[(q * (n - 1)) / KNOTS];
            if ascending.last().is_some_and(|&last| value as f32 <= last) {
                continue;
            }
            let (low, high) = (column.partition_point(|&v| v < value), column.partition_point(|&v| v <= value));
            ascending.push(value as f32);
            normal.push(normal_quantile((low + high) as f64 / (2 * n) as f64) as f32);
        }
        if ascending.len() < 2 {
            return None;
        }
        // Unit spread, which ties take away from.
        let after = Blocks::new(&ascending[1..]);
        let mut scores = Self { feature, ascending: ascending.into(), normal: normal.into(), after };
        scores.standardise(&column);
        Some(scores)
    }

    /// Shifts and scales the scores to mean 0 and variance 1 over the column.
    fn standardise(&mut self, column: &[f64]) {
        let n = column.len() as f64;
        let scores: Vec<f64> = column.iter().map(|&v| f64::from(self.of(Cell::number(v)))).collect();
        let mean = scores.iter().sum::<f64>() / n;
        let deviation = (scores.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / n).sqrt().max(1e-3);
        self.normal.iter_mut().for_each(|z| *z = ((f64::from(*z) - mean) / deviation) as f32);
    }

    /// Normal score of a value, linear between knots, that of the end beyond; NaN for none.
    #[inline]
    fn of(&self, cell: Cell) -> f32 {
        let value = cell.value() as f32;
        if !value.is_finite() {
            return f32::NAN;
        }
        let first = self.ascending.first().is_some_and(|&first| first <= value);
        let above = if first { 1 + self.after.reached(value) } else { 0 };
        let knot = |at: usize| Some((*self.ascending.get(at)?, *self.normal.get(at)?));
        match (above.checked_sub(1).and_then(knot), knot(above)) {
            (Some((low, from)), Some((high, to))) => from + (value - low) / (high - low) * (to - from),
            (Some((_, end)), None) | (None, Some((_, end))) => end,
            (None, None) => f32::NAN,
        }
    }
}

/// Quantile of the standard normal distribution.
fn normal_quantile(p: f64) -> f64 {
    use statrs::distribution::{ContinuousCDF as _, Normal};
    Normal::standard().inverse_cdf(p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Column, Dataset, FitOptions, Raw, fit};
    use crate::signal::density::Coder;

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

    fn misfit((margins, copula): &(Margins, Copula), row: [f64; 4]) -> f32 {
        let mut normal = Vec::new();
        margins.scores(&row.map(Cell::number), &mut normal);
        copula.misfit(&normal)
    }

    fn learned(masked: &[bool]) -> (Margins, Copula) {
        let reference = reference();
        let margins = Margins::new(&reference);
        let copula = Copula::new(&margins, &Coder::new(&reference).sample(&reference), masked);
        (margins, copula)
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

    #[test]
    fn a_byte_keeps_a_score_to_a_sixty_fourth() {
        for score in [-3.9_f32, -1.234, 0.0, 0.3, 2.75] {
            assert!((from_byte(to_byte(score)) - score).abs() <= 1.0 / 64.0, "{score}");
        }
        assert!(from_byte(to_byte(f32::NAN)).is_nan() && from_byte(to_byte(-99.0)) < -3.9);
    }
}

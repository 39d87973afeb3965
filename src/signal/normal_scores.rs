//! Numbers as normal scores: each value becomes the quantile of the normal distribution at its rank in the reference.
//!
//! This leaves the dependence of numbers on each other and nothing of their marginals (Liu, Lafferty and Wasserman 2009, the
//! "nonparanormal"). The rank is taken from a quantile function of 64 knots, and is linear between them.

use crate::event::Cell;
use crate::reference::Reference;
use crate::signal::search_grid::Blocks;

/// Knots of the quantile function: as many as are compared at once.
const KNOTS: usize = Blocks::ROOM;
/// Steps of a byte per unit of a normal score, and the byte of score 0. 255 steps over ±4, beyond which lies one value in 16,000, are 32
/// a unit.
const BYTES_PER_UNIT: f32 = 32.0;
const BYTE_OF_ZERO: f32 = 128.0;
/// The byte of a missing score.
const MISSING_BYTE: u8 = 0;
/// Least deviation that scores are divided by: a column with hardly any spread keeps its scores finite.
const LEAST_DEVIATION: f64 = 1e-3;

/// The quantile function of one number, and the normal scores of its knots.
#[derive(Clone, Debug)]
struct Quantiles {
    feature: usize,
    /// Values, ascending, and the normal score of each.
    ascending: Box<[f32]>,
    normal: Box<[f32]>,
    /// The values after the first.
    after: Blocks,
}

/// The normal scores of one reference's numbers.
#[derive(Clone, Debug, Default)]
pub struct NormalScores(Vec<Quantiles>);

// === impl NormalScores ===

impl NormalScores {
    /// Learns the quantile functions of a reference's numbers.
    pub fn new(reference: &Reference) -> Self {
        let numbers = (0..reference.features.len()).filter(|&j| reference.features[j].is_numeric());
        Self(numbers.filter_map(|j| Quantiles::new(reference, j)).collect())
    }

    /// Normal scores of a row's numbers, one after the other; NaN for what is missing.
    #[inline]
    pub fn of_row(&self, row: &[Cell], normal: &mut Vec<f32>) {
        normal.clear();
        normal.extend(self.0.iter().map(|s| s.of(row.get(s.feature).copied().unwrap_or(Cell::MISSING))));
    }

    /// Features that have a score, in the order of a row's scores.
    pub fn features(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|s| s.feature)
    }

    /// Scores of a row.
    pub fn width(&self) -> usize {
        self.0.len()
    }
}

/// A normal score in a byte, rounded to 1/32; scores beyond ±4 are cut off.
pub fn to_byte(score: f32) -> u8 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what a byte holds")]
    let byte = (score * BYTES_PER_UNIT + (BYTE_OF_ZERO + 0.5)).clamp(1.0, 255.0) as u8;
    if score.is_nan() { MISSING_BYTE } else { byte }
}

/// The score that a byte stands for; NaN for a missing one.
pub fn from_byte(byte: u8) -> f32 {
    if byte == MISSING_BYTE { f32::NAN } else { (f32::from(byte) - BYTE_OF_ZERO) / BYTES_PER_UNIT }
}

// === impl Quantiles ===

impl Quantiles {
    /// Of a feature of the sample; `None` if it has fewer values than knots, or only one value.
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
        let after = Blocks::new(&ascending[1..]);
        let mut scores = Self { feature, ascending: ascending.into(), normal: normal.into(), after };
        // Ties take away from the spread.
        scores.standardise(&column);
        Some(scores)
    }

    /// Shifts and scales the scores to mean 0 and variance 1 over the column.
    fn standardise(&mut self, column: &[f64]) {
        let n = column.len() as f64;
        let scores: Vec<f64> = column.iter().map(|&v| f64::from(self.of(Cell::number(v)))).collect();
        let mean = scores.iter().sum::<f64>() / n;
        let deviation = (scores.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / n).sqrt().max(LEAST_DEVIATION);
        self.normal.iter_mut().for_each(|z| *z = ((f64::from(*z) - mean) / deviation) as f32);
    }

    /// Normal score of a value: linear between knots, that of the last knot beyond them; NaN for a missing value.
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

    #[test]
    fn a_byte_keeps_a_score_to_a_sixty_fourth() {
        for score in [-3.9_f32, -1.234, 0.0, 0.3, 2.75] {
            assert!((from_byte(to_byte(score)) - score).abs() <= 1.0 / 64.0, "{score}");
        }
        assert!(from_byte(to_byte(f32::NAN)).is_nan() && from_byte(to_byte(-99.0)) < -3.9);
    }
}

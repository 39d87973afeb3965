//! How many times more often than they should do rows that are nobody's evidence have small p-values?

use serde::{Deserialize, Serialize};

use super::row_tests::by_surprise;
use crate::signal::density::Surprise;

/// Levels at which the p-values of usual strangers are counted.
const LEVELS: [f64; 3] = [1e-2, 1e-3, 1e-4];
/// Expected rows at a level before their number is believed.
const LEAST_EXPECTED: f64 = 0.25;
/// Rows of usual strangers after which their counts are halved, so that they follow the world.
pub(super) const USUAL_ROWS: f64 = 20_000.0;

/// Small p-values of usual strangers.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Usual {
    pub(super) rows: f64,
    pub(super) below: [f64; LEVELS.len()],
}

// === impl Usual ===

impl Usual {
    pub(super) fn note(&mut self, surprise: &Surprise) {
        self.rows += 1.0;
        let log_p = by_surprise(surprise);
        for (below, level) in self.below.iter_mut().zip(LEVELS) {
            *below += f64::from(u8::from(log_p <= level.ln()));
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.below.iter_mut().zip(other.below).for_each(|(below, more)| *below += more);
        if self.rows > USUAL_ROWS {
            self.rows /= 2.0;
            self.below.iter_mut().for_each(|below| *below /= 2.0);
        }
    }

    /// How many times more often than they should usual strangers have shown small p-values.
    pub(super) fn inflation(&self) -> f64 {
        let times = self.below.iter().zip(LEVELS).map(|(&below, level)| times_expected(below, self.rows * level));
        times.fold(1.0, f64::max)
    }
}

/// How many times more rows lie below a level than are expected there; 1 where too few are expected to say.
fn times_expected(below: f64, expected: f64) -> f64 {
    if expected < LEAST_EXPECTED { 1.0 } else { below / expected }
}

/// p-values, given as logarithms, the smallest first.
pub(super) fn ascending(mut log_p: Vec<f64>) -> Vec<f64> {
    log_p.sort_by(f64::total_cmp);
    log_p
}

/// How many times more often than they should rows have p-values below these levels, given as logarithms, the smallest first; at least once.
pub(super) fn inflation(log_p: &[f64], levels: &[f64]) -> f64 {
    let below = |level: f64| log_p.partition_point(|&log_p| log_p <= level.ln()) as f64;
    levels.iter().map(|&level| times_expected(below(level), level * log_p.len() as f64)).fold(1.0, f64::max)
}

//! Label-only membership inference: is this person's row in the training data? Ask for the row, then for a cloud round it; a
//! training row keeps its label further out.
//!
//! Choquette-Choo et al., "Label-only membership inference attacks" (ICML 2021): noise on the numbers, flips of the switches.

use super::{Cell, Oracle};
use crate::reference::Kind;
use rand::Rng as _;

/// Queries round one row; the paper uses tens to hundreds.
const CLOUD_QUERIES: usize = 30;
/// Size of the cloud in spreads. Chosen: inside a leaf of most trees round a training row.
const CLOUD_RADIUS: f64 = 0.1;
/// Chance that a switch or category of the row is flipped. Chosen: about one in a row of twenty.
const FLIP: f64 = 0.05;

/// Runs the attack.
pub fn run(oracle: &mut Oracle<'_>) -> Option<()> {
    loop {
        let target = oracle.real();
        oracle.ask(&target)?;
        for _ in 0..CLOUD_QUERIES {
            let mut row = target.clone();
            for (j, cell) in row.iter_mut().enumerate() {
                match oracle.rows.features[j].kind {
                    Kind::Continuous | Kind::Discrete if cell.value().is_finite() => {
                        let noise = CLOUD_RADIUS * oracle.rows.spread(j) * oracle.normal();
                        *cell = oracle.clamp(j, cell.value() + noise);
                    }
                    Kind::Boolean if oracle.rng.random::<f64>() < FLIP => *cell = Cell::number(1.0 - cell.value().clamp(0.0, 1.0)),
                    Kind::Categorical if oracle.rng.random::<f64>() < FLIP => *cell = oracle.anything(j),
                    _ => {}
                }
            }
            oracle.ask(&row)?;
        }
    }
}

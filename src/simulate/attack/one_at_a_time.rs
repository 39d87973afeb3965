//! One feature at a time: from one real row, each feature in turn walks through its whole range, all others held.
//!
//! The response curves of sensitivity analysis (ICE plots, Goldstein et al. 2015), used by a caller without access to the model.

use super::Oracle;
use crate::event::Cell;
use crate::reference::Kind;

/// Values tried per number; fewer would miss the steps of a tree. Chosen.
const CURVE_POINTS: usize = 20;

/// Runs the attack.
pub fn run(oracle: &mut Oracle<'_>) -> Option<()> {
    loop {
        let base = oracle.real();
        oracle.ask(&base)?;
        for j in 0..oracle.width() {
            let feature = &oracle.rows.features[j];
            let values: Vec<Cell> = match feature.kind {
                Kind::Categorical => (0..feature.values.len()).map(Cell::category).collect(),
                Kind::Boolean => vec![Cell::number(0.0), Cell::number(1.0)],
                Kind::Discrete => feature.support.iter().map(|&v| Cell::number(v)).collect(),
                Kind::Continuous => {
                    let (low, high) = oracle.range(j);
                    (0..CURVE_POINTS).map(|i| Cell::number(low + (high - low) * i as f64 / (CURVE_POINTS - 1) as f64)).collect()
                }
            };
            for value in values {
                let mut row = base.clone();
                row[j] = value;
                oracle.ask(&row)?;
            }
        }
    }
}

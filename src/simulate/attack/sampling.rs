//! Queries drawn from a distribution, without looking at the answers.
//!
//! * Uniform noise over all ranges: the query set of Tramèr et al. (2016) and many later baselines.
//! * TEMPEST (Tasumi et al., 2022): independent normals round public means and deviations.
//! * Natural: realistic rows, as in Knockoff Nets (Orekondy et al., CVPR 2019); by itself not distinguishable from use.

use super::{Cell, Oracle};
use crate::reference::Kind;
use rand::Rng as _;

/// Uniform noise.
pub fn uniform(oracle: &mut Oracle<'_>) -> Option<()> {
    loop {
        let row = oracle.noise();
        oracle.ask(&row)?;
    }
}

/// Independent normals; categories by their public shares.
pub fn tempest(oracle: &mut Oracle<'_>) -> Option<()> {
    loop {
        let mut row = Vec::with_capacity(oracle.width());
        for j in 0..oracle.width() {
            let feature = &oracle.rows.features[j];
            row.push(match feature.kind {
                Kind::Continuous | Kind::Discrete => {
                    let (middle, spread) = (mean(oracle, j), oracle.rows.spread(j));
                    let drawn = middle + spread * oracle.normal();
                    // The published attack clips to the valid range, since many services refuse the rest.
                    oracle.clamp(j, drawn)
                }
                Kind::Boolean | Kind::Categorical => {
                    let total: u64 = feature.counts[..feature.bins()].iter().sum();
                    let mut at = oracle.rng.random_range(0..total.max(1));
                    let bin = feature.counts[..feature.bins()].iter().position(|&c| {
                        let here = at < c;
                        at = at.saturating_sub(c);
                        here
                    });
                    let bin = bin.unwrap_or(0);
                    if feature.kind == Kind::Boolean { Cell::number(feature.support[bin]) } else { Cell::category(bin) }
                }
            });
        }
        oracle.ask(&row)?;
    }
}

/// Realistic rows.
pub fn natural(oracle: &mut Oracle<'_>) -> Option<()> {
    loop {
        let row = oracle.real();
        oracle.ask(&row)?;
    }
}

fn mean(oracle: &Oracle<'_>, j: usize) -> f64 {
    // Nine deciles are as good as the published mean for this purpose, and at hand.
    (1..10).map(|i| oracle.rows.quantile(j, f64::from(i) / 10.0)).sum::<f64>() / 9.0
}

//! Odd marginals: rows whose values are rare one by one, or as spread as an even draw.
//!
//! * rarity: Σ (max ln p − ln p(x)) over features;
//! * evenness: Σ ln(u(x)/p(x)), u being even over a feature's range or its values. It is the likelihood ratio of a client that draws
//!   evenly. Quantile bins hide such a draw where a range has long tails.
//!
//! Both leave out their two largest terms, since a legitimate segment of a population explains about two rare values.

use crate::reference::{Feature, Reference};
use crate::signal::codes::Codes;

/// Jeffreys' count prior: half a row for each code.
const PRIOR: f64 = 0.5;
/// Most that one feature may say for or against an even draw, in nats: a factor of 20. Chosen: the share of a bin that holds next to
/// nothing is not known better than that.
const MOST_EVEN: f64 = 3.0;
/// Features up to which only one term is left out: of fewer than five, two would be most of the sum.
const FEW_FEATURES: usize = 4;

/// Marginal tables of one reference.
#[derive(Clone, Debug)]
pub(super) struct Marginals {
    /// ln(p_max/p) and ln(u/p) per feature and code; empty for masked features.
    tables: Vec<Vec<[f32; 2]>>,
    /// Rows of the reference per feature and code, for leave-one-out.
    counts: Vec<Vec<f64>>,
    /// Share of an even draw per feature and code.
    even: Vec<Vec<f64>>,
}

// === impl Marginals ===

impl Marginals {
    /// Tables of the features that are not masked.
    pub(super) fn new(reference: &Reference, is_masked: impl Fn(usize) -> bool) -> Self {
        let counts: Vec<Vec<f64>> = reference.features.iter().map(|f| f.counts.iter().map(|&c| c as f64).collect()).collect();
        let even: Vec<Vec<f64>> = reference.features.iter().map(even_shares).collect();
        let table = |j: usize| {
            let (counts, even): (&[f64], &[f64]) = (&counts[j], &even[j]);
            (0..counts.len()).map(|code| terms(counts, even, code, 0.0)).collect()
        };
        let tables = (0..reference.features.len()).map(|j| if is_masked(j) { Vec::new() } else { table(j) }).collect();
        Self { tables, counts, even }
    }

    /// Rarity and evenness of a row, in nats. With `LEAVE_ONE_OUT` the row is one of the sample's, and is judged without it.
    #[inline]
    pub(super) fn scores<const LEAVE_ONE_OUT: bool>(&self, codes: &Codes) -> [f32; 2] {
        let mut total = [0.0_f32; 2];
        let (mut largest, mut second) = ([0.0_f32; 2], [0.0_f32; 2]);
        let mut used = 0_usize;
        for (j, table) in self.tables.iter().enumerate() {
            if table.is_empty() {
                continue;
            }
            used += 1;
            let code = usize::from(codes.fine[j]);
            let values = if LEAVE_ONE_OUT { terms(&self.counts[j], &self.even[j], code, 1.0) } else { table[code] };
            for (((total, largest), second), value) in total.iter_mut().zip(&mut largest).zip(&mut second).zip(values) {
                *total += value;
                let (greater, lesser) = if value > *largest { (value, *largest) } else { (*largest, value) };
                (*largest, *second) = (greater, if lesser > *second { lesser } else { *second });
            }
        }
        let left_out = |k: usize| if used > FEW_FEATURES { largest[k] + second[k] } else { largest[k] };
        [total[0] - left_out(0), total[1] - left_out(1)]
    }

    /// Adds the rarity of each of a row's values to its feature.
    pub(super) fn attribute(&self, codes: &Codes, contributions: &mut [f32]) {
        for (j, table) in self.tables.iter().enumerate() {
            contributions[j] += table.get(usize::from(codes.fine[j])).map_or(0.0, |values| values[0]);
        }
    }
}

/// ln(p_max/p) and ln(u/p) of a code, `left_out` rows taken away; u is the share of an even draw.
fn terms(counts: &[f64], even: &[f64], code: usize, left_out: f64) -> [f32; 2] {
    let most = counts.iter().copied().fold(0.0, f64::max);
    let own = (counts[code] - left_out).max(0.0) + PRIOR;
    let total = counts.iter().sum::<f64>() + PRIOR * counts.len() as f64;
    let evenness = ((even[code] + PRIOR / total) * total / own).ln().clamp(-MOST_EVEN, MOST_EVEN);
    [((most + PRIOR) / own).ln() as f32, evenness as f32]
}

/// Share of each code if a feature is drawn evenly over its range, or over its values. Codes outside of both have none.
fn even_shares(feature: &Feature) -> Vec<f64> {
    let bins = feature.bins();
    let mut shares = vec![0.0; feature.codes()];
    if feature.edges.is_empty() {
        shares[..bins].fill(1.0 / bins as f64);
        return shares;
    }
    let range = (feature.max - feature.min).max(f64::MIN_POSITIVE);
    let mut below = feature.min;
    for (share, edge) in shares.iter_mut().zip(feature.edges.iter().copied().chain([feature.max])) {
        *share = ((edge - below) / range).clamp(0.0, 1.0);
        below = edge;
    }
    shares
}

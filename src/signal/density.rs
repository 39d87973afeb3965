//! Density and dependence of a row against the reference: how odd is it, judged by what the reference's own rows score?
//!
//! Four statistics, each turned into a conformal p-value against leave-one-out scores of the reference's sample (Vovk,
//! Gammerman and Shafer 2005, ch. 2) and then into one of five [`Cells`]:
//! * `broken dependence`: −Σ min(L, 0) over the pairs of features that depend on each other, L the log-lift of the pair's joint
//!   cell. A row whose values are each common but do not go together (uniform noise, equation solving) scores high. L has a
//!   count prior on both sides, so that two rare values meeting is no evidence.
//! * `worst pairs`: −(sum of the three smallest L), for rows that break few pairs badly.
//! * `odd marginals`: Σ (max ln p − ln p(x)) without its two largest terms, since a legitimate segment explains about two rare
//!   values.
//! * `combined`: Fisher's combination of the three (Fisher 1925).
//!
//! Broken dependence survives drift of the marginals far better than odd marginals do, which is why there are two of it.

use std::ops::Range;

use crate::event::Cell;
use crate::reference::fit::{coarse_codes, coarse_map};
use crate::reference::{Feature, Reference};
use crate::signal::guide::Guide;

/// Statistics per row.
pub const STATISTICS: usize = 4;
/// Upper ends of the p-value cells; a fifth cell holds everything above. Roughly logarithmic: with a sample of thousands the
/// smallest is still met by several reference rows.
pub const CUTS: [f64; 4] = [0.001, 0.005, 0.02, 0.1];
/// Names for verdicts, in the order of [`Cells`].
pub const NAMES: [&str; STATISTICS] = ["broken_dependence", "worst_pairs", "odd_marginals", "combined_density"];

/// Cell of each statistic's p-value: 0 (p ≤ 0.001) to 4 (p > 0.1).
pub type Cells = [u8; STATISTICS];

/// Count prior of a pair's joint cell: two pseudo-rows on each side of the ratio, so that an empty cell where two rows are
/// expected is worth ln 2, not infinity.
const PAIR_PRIOR: f64 = 2.0;

/// Cells of the grid over a statistic's scores, and over the edges of a number's bins.
const SCORE_CELLS: usize = 1024;
const EDGE_CELLS: usize = 64;

/// Maps rows to codes once, so that every statistic shares the work.
#[derive(Clone, Debug)]
pub struct Coder {
    features: Vec<Feature>,
    /// Where to look among a number's edges.
    edges: Vec<Guide>,
    coarse: Vec<Vec<u8>>,
    sizes: Vec<usize>,
}

/// Codes of one row, reused between rows.
#[derive(Clone, Debug, Default)]
pub struct Codes {
    /// [`Feature::code`] per feature.
    pub fine: Vec<u16>,
    /// Coarse code per feature.
    pub coarse: Vec<u8>,
}

/// A pair's log-lift table.
#[derive(Clone, Debug)]
struct PairTable {
    a: usize,
    b: usize,
    width: usize,
    /// Joint count and expected count per cell, for leave-one-out.
    joint: Vec<(f32, f32)>,
    lift: Vec<f32>,
}

/// The statistics of one reference, possibly with drifting features masked out.
#[derive(Clone, Debug)]
pub struct Density {
    pairs: Vec<PairTable>,
    /// ln(p_max/p) per feature and code; empty for masked features.
    rarity: Vec<Vec<f32>>,
    marginal_counts: Vec<Vec<f64>>,
    /// Leave-one-out scores of the reference's sample, per base statistic.
    scores: [Ranks; 3],
    /// Fisher combinations of the same.
    combined: Ranks,
}

/// Scores of the reference's rows, to look up what share of them is as large as a new one.
#[derive(Clone, Debug, Default)]
struct Ranks {
    ascending: Vec<f32>,
    guide: Guide,
}

// === impl Coder ===

impl Coder {
    /// A coder for a reference's features.
    pub fn new(reference: &Reference) -> Self {
        let small = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
        Self {
            coarse: reference.features.iter().map(|f| coarse_map(f).into_iter().map(small).collect()).collect(),
            sizes: reference.features.iter().map(coarse_codes).collect(),
            edges: reference.features.iter().map(|f| Guide::new(&f.edges, EDGE_CELLS)).collect(),
            features: reference.features.clone(),
        }
    }

    /// Coarse codes per feature.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// The features, in schema order.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// Coarse codes that belong to fine ones.
    pub fn coarsen(&self, codes: &mut Codes) {
        codes.coarse.clear();
        codes.coarse.extend(codes.fine.iter().zip(&self.coarse).map(|(&fine, map)| map[usize::from(fine)]));
    }

    /// Codes of a row. A row that is too short counts as missing at its end.
    pub fn encode(&self, row: &[Cell], codes: &mut Codes) {
        codes.fine.clear();
        codes.coarse.clear();
        for (j, (feature, guide)) in self.features.iter().zip(&self.edges).enumerate() {
            let fine = feature.code_within(row.get(j).copied().unwrap_or(Cell::MISSING), |value| guide.around(value));
            codes.fine.push(u16::try_from(fine).unwrap_or(u16::MAX));
            codes.coarse.push(self.coarse[j][fine]);
        }
    }
}

// === impl Density ===

impl Density {
    /// Prepares the statistics; features for which `masked` is true are left out (they drift, so they say nothing).
    pub fn new(reference: &Reference, coder: &Coder, masked: &[bool]) -> Self {
        let is_masked = |j: usize| masked.get(j).copied().unwrap_or(false);
        let pairs = reference
            .pairs
            .iter()
            .filter(|p| !is_masked(p.a) && !is_masked(p.b))
            .map(|p| PairTable::new(p.a, p.b, &p.counts, coder.sizes[p.b]))
            .collect();
        let marginal_counts: Vec<Vec<f64>> =
            reference.features.iter().map(|f| f.counts.iter().map(|&c| c as f64).collect()).collect();
        let table = |counts: &Vec<f64>| counts.iter().map(|&c| rarity(c, 0.0, counts) as f32).collect();
        let rarity =
            marginal_counts.iter().enumerate().map(|(j, counts)| if is_masked(j) { Vec::new() } else { table(counts) }).collect();
        let mut density = Self { pairs, rarity, marginal_counts, scores: Default::default(), combined: Ranks::default() };
        density.calibrate(reference, coder);
        density
    }

    /// Leave-one-out scores of the sample: each row is judged by a reference that does not contain it.
    fn calibrate(&mut self, reference: &Reference, coder: &Coder) {
        let mut codes = Codes::default();
        let mut rows: Vec<[f32; 3]> = Vec::with_capacity(reference.sample.len());
        for row in &reference.sample {
            coder.encode(row, &mut codes);
            rows.push(self.base_scores(&codes, true));
        }
        for k in 0..3 {
            self.scores[k] = Ranks::new(rows.iter().map(|r| r[k]).collect());
        }
        self.combined = Ranks::new(rows.iter().map(|r| self.fisher(*r)).collect());
    }

    /// The three base statistics of a row.
    fn base_scores(&self, codes: &Codes, leave_one_out: bool) -> [f32; 3] {
        let mut negative = 0.0_f32;
        let mut smallest = [0.0_f32; 3];
        for pair in &self.pairs {
            let at = usize::from(codes.coarse[pair.a]) * pair.width + usize::from(codes.coarse[pair.b]);
            let lift = if leave_one_out {
                let (joint, expected) = pair.joint[at];
                log_lift(f64::from(joint) - 1.0, f64::from(expected))
            } else {
                pair.lift[at]
            };
            if lift < 0.0 {
                negative -= lift;
            }
            keep_smallest(&mut smallest, lift);
        }
        let mut total = 0.0_f32;
        let mut largest = [0.0_f32; 2];
        let mut used = 0_usize;
        for (j, table) in self.rarity.iter().enumerate() {
            if table.is_empty() {
                continue;
            }
            used += 1;
            let code = usize::from(codes.fine[j]);
            let value = if leave_one_out {
                let counts = &self.marginal_counts[j];
                rarity(counts[code], 1.0, counts) as f32
            } else {
                table[code]
            };
            total += value;
            if value > largest[0] {
                largest = [value, largest[0]];
            } else if value > largest[1] {
                largest[1] = value;
            }
        }
        // With few features two terms would be most of the sum.
        let excused = if used > 4 { largest[0] + largest[1] } else { largest[0] };
        [negative, -smallest.iter().sum::<f32>(), total - excused]
    }

    fn fisher(&self, scores: [f32; 3]) -> f32 {
        (0..3).map(|k| -self.scores[k].p(scores[k]).ln() as f32).sum()
    }

    /// Adds to `blame`, per feature, how much it contributes to a row's oddity: half of each broken pair, and its own rarity.
    pub fn blame(&self, codes: &Codes, blame: &mut [f32]) {
        for pair in &self.pairs {
            let lift = pair.lift[usize::from(codes.coarse[pair.a]) * pair.width + usize::from(codes.coarse[pair.b])];
            if lift < 0.0 {
                blame[pair.a] -= lift / 2.0;
                blame[pair.b] -= lift / 2.0;
            }
        }
        for (j, table) in self.rarity.iter().enumerate() {
            blame[j] += table.get(usize::from(codes.fine[j])).copied().unwrap_or(0.0);
        }
    }

    /// Cells of a row's p-values.
    pub fn cells(&self, codes: &Codes) -> Cells {
        let scores = self.base_scores(codes, false);
        let cell = |p: f64| CUTS.iter().position(|&cut| p <= cut).unwrap_or(CUTS.len()) as u8;
        let p = [0, 1, 2].map(|k| self.scores[k].p(scores[k]));
        let combined = self.combined.p(p.iter().map(|p| -p.ln() as f32).sum());
        [cell(p[0]), cell(p[1]), cell(p[2]), cell(combined)]
    }
}

impl PairTable {
    fn new(a: usize, b: usize, counts: &[u32], width: usize) -> Self {
        let height = counts.len() / width.max(1);
        let at = |x: usize, y: usize| f64::from(counts[x * width + y]);
        let rows: Vec<f64> = (0..height).map(|x| (0..width).map(|y| at(x, y)).sum()).collect();
        let columns: Vec<f64> = (0..width).map(|y| (0..height).map(|x| at(x, y)).sum()).collect();
        let total = rows.iter().sum::<f64>().max(1.0);
        let joint: Vec<(f32, f32)> =
            (0..counts.len()).map(|i| (counts[i] as f32, (rows[i / width] * columns[i % width] / total) as f32)).collect();
        let lift = joint.iter().map(|&(n, e)| log_lift(f64::from(n), f64::from(e))).collect();
        Self { a, b, width, joint, lift }
    }
}

fn log_lift(joint: f64, expected: f64) -> f32 {
    ((joint + PAIR_PRIOR) / (expected + PAIR_PRIOR)).ln() as f32
}

/// ln(p_max/p) of a code under a Jeffreys count prior, `left_out` rows taken away.
fn rarity(count: f64, left_out: f64, counts: &[f64]) -> f64 {
    let most = counts.iter().copied().fold(0.0, f64::max);
    ((most + 0.5) / ((count - left_out).max(0.0) + 0.5)).ln()
}

fn keep_smallest(smallest: &mut [f32; 3], value: f32) {
    if value < smallest[2] {
        smallest[2] = value;
        if smallest[2] < smallest[1] {
            smallest.swap(1, 2);
        }
        if smallest[1] < smallest[0] {
            smallest.swap(0, 1);
        }
    }
}

// === impl Ranks ===

impl Ranks {
    /// Of scores in any order.
    fn new(mut scores: Vec<f32>) -> Self {
        scores.sort_by(f32::total_cmp);
        Self { guide: Guide::new(&scores, SCORE_CELLS), ascending: scores }
    }

    /// Conformal p-value of a score: (1 + number as large) / (1 + all). Never 0.
    fn p(&self, score: f32) -> f64 {
        let Range { start, end } = self.guide.around(f64::from(score));
        let smaller = start + self.ascending[start..end].partition_point(|&s| s < score);
        (self.ascending.len() - smaller + 1) as f64 / (self.ascending.len() + 1) as f64
    }
}

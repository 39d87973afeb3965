//! Density and dependence of a row against the reference: how odd is it, judged by what the reference's own rows score?
//!
//! Eight statistics, each turned into a conformal p-value against leave-one-out scores of the reference's sample
//! ([`super::ranks`]) and then into one of five [`Cells`]:
//! * `broken dependence`: −Σ min(L, 0) over the pairs of features that depend on each other, L the log-lift of the pair's joint
//!   cell. A row whose values are each common but do not go together (uniform noise, equation solving) scores high. L has a
//!   count prior on both sides, so that two rare values meeting is no evidence.
//! * `worst pairs`: −(sum of the three smallest L), for rows that break few pairs badly.
//! * `broken correlation`: squared residuals of a Gaussian copula of the numbers ([`super::copula`]), for small steps away from what
//!   goes closely together.
//! * `odd marginals`: Σ (max ln p − ln p(x)) without its two largest terms, since a legitimate segment explains about two rare
//!   values.
//! * `combined`: Fisher's combination of broken dependence, worst pairs and odd marginals (Fisher 1925), and of broken correlation where most
//!   features are numbers that go closely together.
//! * `uniform marginals`: Σ ln(u(x)/p(x)) without its two largest terms, u being even over a feature's range or its values: the
//!   likelihood ratio of somebody who draws evenly, which quantile bins hide where the range has long tails.
//! * `novel combinations`: values of three features that were never seen together though their pairs were
//!   ([`super::combinations`]).
//! * `undecided and odd`: Fisher's combination of `combined` and of nearness to the decision boundary ([`super::boundary`]).
//!
//! Broken dependence survives drift of the marginals far better than odd marginals do, which is why there are three of it.

use crate::event::Cell;
use crate::reference::fit::{coarse_codes, coarse_map};
use crate::reference::{Feature, Kind, Reference};
use crate::signal::boundary::Boundary;
use crate::signal::combinations::Combinations;
use crate::signal::copula::{Copula, Margins};
use crate::signal::ranks::Ranks;
use crate::signal::search_grid::{self, SearchGrid};

/// Statistics per row.
pub const STATISTICS: usize = 8;
/// The first of them that are about dependence.
pub const DEPENDENCE: usize = 3;
/// Upper ends of the p-value cells; a fifth cell holds everything above. Roughly logarithmic: with a sample of thousands the
/// smallest is still met by several reference rows.
pub const CUTS: [f64; 4] = [0.001, 0.005, 0.02, 0.1];
/// Names for verdicts, in the order of [`Cells`].
pub const NAMES: [&str; STATISTICS] = [
    "broken_dependence",
    "worst_pairs",
    "broken_correlation",
    "odd_marginals",
    "combined_density",
    "uniform_marginals",
    "novel_combinations",
    "undecided_and_odd",
];

/// Cell of each statistic's p-value: 0 (p ≤ 0.001) to 4 (p > 0.1).
pub type Cells = [u8; STATISTICS];

/// Count prior of a pair's joint cell: two pseudo-rows on each side of the ratio, so that an empty cell where two rows are
/// expected is worth ln 2, not infinity.
const PAIR_PRIOR: f64 = 2.0;

/// Statistics that are scores of a row; the others combine p-values.
const BASE: usize = 6;
/// Those that are combined, the last of them only where the numbers' residuals say as much as all else: where but a few numbers depend
/// on each other they would dilute the rest.
const COMBINED: [usize; 4] = [0, 1, 3, 2];
/// Share of all features' variance that must be explained by other numbers for that.
const CLOSE: f64 = 1.0 / 3.0;
/// Most that one feature may say for or against an even draw, in nats: a bin that holds next to nothing is no certainty.
const EVEN_MOST: f64 = 3.0;

/// Parts of a nat in which log-lifts are kept.
const PARTS: f32 = 1024.0;
/// Bounds that are asked one and all, and cells of the grid over more of them.
const FEW: usize = 24;
const BOUND_CELLS: usize = 64;

/// Maps rows to codes once, so that every statistic shares the work.
#[derive(Clone, Debug)]
pub struct Coder {
    features: Vec<Feature>,
    bins: Vec<Bins>,
    coarse: Vec<Vec<u8>>,
    sizes: Vec<usize>,
    margins: Margins,
}

/// What tells the bins of a feature apart, in one place: nearly all that is asked is whether a value is an ordinary one, and which.
#[derive(Clone, Debug)]
struct Bins {
    /// Ordinary values: numbers from the least to the greatest that was seen, indices of categories.
    least: f64,
    most: f64,
    /// [`Feature::bounds`], and where to look among them.
    bounds: Box<[f64]>,
    guide: SearchGrid,
    /// [`Feature::slack`].
    slack: f64,
    kind: Kind,
}

/// Codes of one row, reused between rows.
#[derive(Clone, Debug, Default)]
pub struct Codes {
    /// [`Feature::code`] per feature.
    pub fine: Vec<u16>,
    /// Coarse code per feature.
    pub coarse: Vec<u8>,
    /// Normal scores of the numbers, by [`Coder::score`]; of what is missing, not a number.
    pub normal: Vec<f32>,
}

/// Where a pair's log-lift table lies among those of all pairs: half a hundred cells, in which a row's codes name one.
#[derive(Clone, Copy, Debug)]
struct Pair {
    a: u16,
    b: u16,
    /// First cell, and cells from one code of the first feature to the next.
    from: u32,
    width: u32,
}

/// The statistics of one reference, possibly with drifting features masked out.
#[derive(Clone, Debug)]
pub struct Density {
    pairs: Vec<Pair>,
    /// Joint count and expected count per cell of all pairs, for leave-one-out, and the log-lift in [`PARTS`] of a nat: whole numbers
    /// of two bytes, as a row looks into more places than the processor's nearest memory has lines.
    joint: Vec<(f32, f32)>,
    lift: Vec<i16>,
    /// ln(p_max/p) and ln(u/p) per feature and code; empty for masked features.
    rarity: Vec<Vec<[f32; 2]>>,
    marginal_counts: Vec<Vec<f64>>,
    /// Share of an even draw per feature and code.
    even: Vec<Vec<f64>>,
    combinations: Combinations,
    copula: Copula,
    /// Leave-one-out scores of the reference's sample, per base statistic.
    scores: [Ranks; BASE],
    /// How many of [`COMBINED`] are.
    combine: usize,
    /// Fisher combinations of [`COMBINED`], and of that and nearness to the boundary.
    combined: Ranks,
    undecided: Ranks,
}

// === impl Coder ===

impl Coder {
    /// A coder for a reference's features.
    pub fn new(reference: &Reference) -> Self {
        let small = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
        Self {
            coarse: reference.features.iter().map(|f| coarse_map(f).into_iter().map(small).collect()).collect(),
            sizes: reference.features.iter().map(coarse_codes).collect(),
            bins: reference.features.iter().map(Bins::new).collect(),
            features: reference.features.clone(),
            margins: Margins::new(reference),
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

    /// Normal scores of a row's numbers, which only rows that vote need.
    pub fn score(&self, row: &[Cell], codes: &mut Codes) {
        self.margins.scores(row, &mut codes.normal);
    }

    /// Codes and normal scores of a reference's sample, in order.
    pub fn sample(&self, reference: &Reference) -> Vec<Codes> {
        let of = |row: &Vec<Cell>| {
            let mut codes = Codes::default();
            self.encode(row, &mut codes);
            self.score(row, &mut codes);
            codes
        };
        reference.sample.iter().map(of).collect()
    }

    /// Codes of a row. A row that is too short counts as missing at its end.
    pub fn encode(&self, row: &[Cell], codes: &mut Codes) {
        codes.fine.clear();
        codes.coarse.clear();
        let cells = row.iter().copied().chain(std::iter::repeat(Cell::MISSING));
        codes.fine.extend(self.bins.iter().zip(&self.features).zip(cells).map(|((bins, feature), cell)| {
            let fine = bins.ordinary(cell.value()).unwrap_or_else(|| feature.code(cell));
            u16::try_from(fine).unwrap_or(u16::MAX)
        }));
        self.coarsen(codes);
    }
}

// === impl Bins ===

impl Bins {
    fn new(feature: &Feature) -> Self {
        let (least, most) = if feature.is_numeric() { (feature.min, feature.max) } else { (0.0, feature.bins() as f64 - 1.0) };
        let bounds: Box<[f64]> = feature.bounds().into();
        Self { least, most, guide: SearchGrid::new(&bounds, BOUND_CELLS), bounds, slack: feature.slack(), kind: feature.kind }
    }

    #[inline]
    fn below(&self, value: f64) -> usize {
        let before = |known| known < value;
        if self.bounds.len() > FEW {
            self.guide.count(&self.bounds, value, before)
        } else {
            search_grid::below(&self.bounds, before)
        }
    }

    /// The bin of an ordinary value; of what is anything else, the feature knows the code.
    #[inline]
    fn ordinary(&self, value: f64) -> Option<usize> {
        // False for what is missing, too.
        let within = value >= self.least && value <= self.most;
        if !within {
            return None;
        }
        match self.kind {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index, within the range")]
            Kind::Categorical => Some(value as u32 as usize),
            Kind::Continuous => Some(self.below(value - self.slack)),
            Kind::Discrete | Kind::Boolean => {
                let at = self.below(value);
                self.bounds.get(at).is_some_and(|&known| known <= value).then_some(at)
            }
        }
    }
}

// === impl Density ===

impl Density {
    /// Prepares the statistics; features for which `masked` is true are left out (they drift, so they say nothing).
    pub fn new(reference: &Reference, coder: &Coder, boundary: &Boundary, masked: &[bool]) -> Self {
        let is_masked = |j: usize| masked.get(j).copied().unwrap_or(false);
        let (mut pairs, mut joint) = (Vec::new(), Vec::new());
        for p in reference.pairs.iter().filter(|p| !is_masked(p.a) && !is_masked(p.b)) {
            let width = coder.sizes[p.b];
            pairs.push(Pair { a: p.a as u16, b: p.b as u16, from: joint.len() as u32, width: width as u32 });
            joint.extend(expected(&p.counts, width));
        }
        let lift = joint.iter().map(|&(n, e): &(f32, f32)| lift(f64::from(n), f64::from(e))).collect();
        let marginal_counts: Vec<Vec<f64>> =
            reference.features.iter().map(|f| f.counts.iter().map(|&c| c as f64).collect()).collect();
        let even: Vec<Vec<f64>> = reference.features.iter().map(even_shares).collect();
        let table = |j: usize| {
            let (counts, even): (&[f64], &[f64]) = (&marginal_counts[j], &even[j]);
            (0..counts.len()).map(|code| marginal(counts, even, code, 0.0)).collect()
        };
        let rarity = (0..reference.features.len()).map(|j| if is_masked(j) { Vec::new() } else { table(j) }).collect();
        let sample = coder.sample(reference);
        let combinations = Combinations::new(reference, coder, &sample, masked);
        let copula = Copula::new(&coder.margins, &sample, masked);
        let open = (0..reference.features.len()).filter(|&j| !is_masked(j)).count();
        let combine = if copula.explained() >= CLOSE * open as f64 { COMBINED.len() } else { COMBINED.len() - 1 };
        let (scores, combined, undecided) = Default::default();
        let mut density =
            Self { pairs, joint, lift, rarity, marginal_counts, even, combinations, copula, scores, combine, combined, undecided };
        density.calibrate(&sample, boundary);
        density
    }

    /// Leave-one-out scores of the sample: each row is judged by a reference that does not contain it.
    fn calibrate(&mut self, sample: &[Codes], boundary: &Boundary) {
        let rows: Vec<[f32; BASE]> = sample.iter().map(|codes| self.base_scores::<true>(codes)).collect();
        for k in 0..BASE {
            self.scores[k] = Ranks::new(rows.iter().map(|r| r[k]).collect());
        }
        let fisher =
            |row: &[f32; BASE]| COMBINED[..self.combine].iter().map(|&k| -self.scores[k].p(row[k]).ln() as f32).sum::<f32>();
        self.combined = Ranks::new(rows.iter().map(fisher).collect());
        let both = |(row, near): (&[f32; BASE], &f32)| -(self.combined.p(fisher(row)) * f64::from(*near)).ln() as f32;
        self.undecided = Ranks::new(rows.iter().zip(boundary.sample()).map(both).collect());
    }

    /// The base statistics of a row; with `LEAVE_ONE_OUT` of one of the sample's, judged without it.
    #[inline]
    fn base_scores<const LEAVE_ONE_OUT: bool>(&self, codes: &Codes) -> [f32; BASE] {
        // A few coefficients learned from thousands of rows: to leave one of them out makes no difference.
        let misfit = self.copula.misfit(&codes.normal);
        let mut negative = 0_i32;
        let mut smallest = [0_i16; 3];
        for pair in &self.pairs {
            let at = pair.cell(codes);
            let lift = if LEAVE_ONE_OUT {
                let (joint, expected) = self.joint[at];
                lift(f64::from(joint) - 1.0, f64::from(expected))
            } else {
                self.lift[at]
            };
            negative = negative.wrapping_sub(i32::from(lift.min(0)));
            if lift < smallest[2] {
                keep_smallest(&mut smallest, lift);
            }
        }
        let mut total = [0.0_f32; 2];
        let (mut first, mut second) = ([0.0_f32; 2], [0.0_f32; 2]);
        let mut used = 0_usize;
        for (j, table) in self.rarity.iter().enumerate() {
            if table.is_empty() {
                continue;
            }
            used += 1;
            let code = usize::from(codes.fine[j]);
            let values = if LEAVE_ONE_OUT { marginal(&self.marginal_counts[j], &self.even[j], code, 1.0) } else { table[code] };
            for (((total, first), second), value) in total.iter_mut().zip(&mut first).zip(&mut second).zip(values) {
                *total += value;
                let (greater, lesser) = if value > *first { (value, *first) } else { (*first, value) };
                (*first, *second) = (greater, if lesser > *second { lesser } else { *second });
            }
        }
        // With few features two terms would be most of the sum.
        let excused = |k: usize| if used > 4 { first[k] + second[k] } else { first[k] };
        [
            negative as f32 / PARTS,
            -smallest.map(f32::from).iter().sum::<f32>() / PARTS,
            misfit,
            total[0] - excused(0),
            total[1] - excused(1),
            self.combinations.novelty(codes, LEAVE_ONE_OUT),
        ]
    }

    /// Adds to `blame`, per feature, how much it contributes to a row's oddity: half of each broken pair, and its own rarity.
    pub fn blame(&self, codes: &Codes, blame: &mut [f32]) {
        for pair in &self.pairs {
            let lift = f32::from(self.lift[pair.cell(codes)]) / PARTS;
            if lift < 0.0 {
                blame[usize::from(pair.a)] -= lift / 2.0;
                blame[usize::from(pair.b)] -= lift / 2.0;
            }
        }
        for (j, table) in self.rarity.iter().enumerate() {
            blame[j] += table.get(usize::from(codes.fine[j])).map_or(0.0, |values| values[0]);
        }
    }

    /// Cells of the p-values of a row with these codes and scores; `near` is that of its nearness to the decision boundary.
    pub fn cells(&self, codes: &Codes, near: f64) -> Cells {
        let scores = self.base_scores::<false>(codes);
        let cell = |p: f64| CUTS.iter().position(|&cut| p <= cut).unwrap_or(CUTS.len()) as u8;
        let mut p = [1.0; BASE];
        p.iter_mut().zip(&self.scores).zip(scores).for_each(|((p, ranks), score)| *p = ranks.p(score));
        let combined = self.combined.p(COMBINED[..self.combine].iter().map(|&k| -p[k].ln() as f32).sum());
        let undecided = self.undecided.p(-(combined * near).ln() as f32);
        [p[0], p[1], p[2], p[3], combined, p[4], p[5], undecided].map(cell)
    }
}

// === impl Pair ===

impl Pair {
    /// The cell that a row falls into.
    #[inline]
    fn cell(self, codes: &Codes) -> usize {
        let code = |j: u16| u32::from(codes.coarse[usize::from(j)]);
        self.from.wrapping_add(code(self.a).wrapping_mul(self.width)).wrapping_add(code(self.b)) as usize
    }
}

/// Joint counts and what the margins let one expect, by cell of a table of `width` columns.
fn expected(counts: &[u32], width: usize) -> impl Iterator<Item = (f32, f32)> + '_ {
    let height = counts.len() / width.max(1);
    let at = move |x: usize, y: usize| f64::from(counts[x * width + y]);
    let rows: Vec<f64> = (0..height).map(|x| (0..width).map(|y| at(x, y)).sum()).collect();
    let columns: Vec<f64> = (0..width).map(|y| (0..height).map(|x| at(x, y)).sum()).collect();
    let total = rows.iter().sum::<f64>().max(1.0);
    (0..counts.len()).map(move |i| (counts[i] as f32, (rows[i / width] * columns[i % width] / total) as f32))
}

/// ln of observed over expected rows of a joint cell, with the count prior on both sides.
pub(super) fn log_lift(joint: f64, expected: f64) -> f32 {
    ((joint + PAIR_PRIOR) / (expected + PAIR_PRIOR)).ln() as f32
}

/// The same, in [`PARTS`] of a nat.
fn lift(joint: f64, expected: f64) -> i16 {
    #[expect(clippy::cast_possible_truncation, reason = "a cast saturates, at 32 nats")]
    let lift = (log_lift(joint, expected) * PARTS).round() as i16;
    lift
}

/// ln(p_max/p) and ln(u/p) of a code under a Jeffreys count prior, `left_out` rows taken away; u is the share of an even draw.
fn marginal(counts: &[f64], even: &[f64], code: usize, left_out: f64) -> [f32; 2] {
    let most = counts.iter().copied().fold(0.0, f64::max);
    let own = (counts[code] - left_out).max(0.0) + 0.5;
    let total = counts.iter().sum::<f64>() + 0.5 * counts.len() as f64;
    let evenness = ((even[code] + 0.5 / total) * total / own).ln().clamp(-EVEN_MOST, EVEN_MOST);
    [((most + 0.5) / own).ln() as f32, evenness as f32]
}

/// Share of each code if a feature is drawn evenly: over its range, or over its values. What lies outside is nobody's even draw.
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

/// Takes a value that is less than the largest of three ascending ones in its place.
fn keep_smallest(smallest: &mut [i16; 3], value: i16) {
    smallest[2] = value;
    if smallest[2] < smallest[1] {
        smallest.swap(1, 2);
    }
    if smallest[1] < smallest[0] {
        smallest.swap(0, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_features_codes_whatever_the_value() {
        for model in ["adult", "flights", "magic"] {
            let path = format!("{}/models/{model}/reference.json", env!("CARGO_MANIFEST_DIR"));
            let reference = Reference::from_json(&std::fs::read(path).unwrap()).unwrap();
            let (coder, mut codes) = (Coder::new(&reference), Codes::default());
            let numbers = reference.features.iter().flat_map(|f| f.bounds().iter().copied().chain([f.min, f.max]));
            let around = numbers.flat_map(|x| [x, x + 1e-10, x - 1e-10, x + 0.3, x - 0.3, x.next_up(), x.next_down(), -x, x * 1e9]);
            let odd = [Cell::MISSING, Cell::UNREADABLE, Cell::unseen("never"), Cell::category(0), Cell::category(9_999)];
            for cell in around.map(Cell::number).chain(odd) {
                coder.encode(&vec![cell; reference.features.len()], &mut codes);
                let expected: Vec<usize> = reference.features.iter().map(|f| f.code(cell)).collect();
                let found: Vec<usize> = codes.fine.iter().map(|&code| usize::from(code)).collect();
                assert_eq!(found, expected, "{model}: {cell:?}");
            }
            coder.encode(&[], &mut codes);
            assert!(codes.fine.iter().zip(&reference.features).all(|(&code, f)| usize::from(code) == f.code(Cell::MISSING)));
        }
    }
}

//! How improbable is it that two natural rows are this alike?
//!
//! Per feature, likeness is scored by −ln P(|Δ| this small) over pairs of reference rows (equal categories by their rarity);
//! the sum over features is G. The tail of G over reference pairs gives `ln P(G ≥ g)`, extrapolated exponentially beyond the
//! last few hundred pairs (peaks over threshold; Pickands 1975), with a scale half as large again as fitted, so that the
//! extrapolation errs to the side of coincidence.
//!
//! Steps of |Δ| are half octaves above a tolerance of a thousandth of the feature's p1–p99 range: what moves less than that
//! (a jittering coordinate) has not moved.

use rustc_hash::FxHashMap;

use crate::event::Cell;
use crate::hash;
use crate::reference::{Feature, Reference};

/// Steps of likeness: identical, within tolerance, then half octaves.
const STEPS: usize = 27;
/// Share of a feature's p1–p99 range that counts as no change.
const TOLERANCE: f64 = 1e-3;
/// Pairs compared for the tail: enough for P down to 1e-7, and a second or less of work at start.
const PAIR_WORK: usize = 60_000_000;
/// Extremes that the exponential tail is fitted to.
const TAIL: usize = 200;
/// Factor on the fitted scale of the tail; see above.
const TAIL_MARGIN: f64 = 1.5;
/// Resolution of the tail's histogram, cells per nat.
const PER_NAT: f64 = 4.0;

/// Likeness of one feature's values.
#[derive(Clone, Debug)]
struct Likeness {
    numeric: bool,
    inverse_tolerance: f64,
    /// −ln P(step this small) by step, for numbers.
    steps: [f32; STEPS],
    /// −ln P(both equal, and as rare as this) by category; the last entry is for unseen ones.
    categories: Vec<f32>,
}

/// Result of comparing two rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Likeness in nats.
    pub g: f32,
    /// Features that differ by more than the tolerance.
    pub changed: u16,
    /// Features that are not exactly equal.
    pub unequal: u16,
    /// Last feature that changed.
    pub feature: u16,
}

/// Likeness of rows under one reference.
#[derive(Clone, Debug)]
pub struct Similarity {
    features: Vec<Likeness>,
    /// ln P(G ≥ cell/PER_NAT) over reference pairs.
    tail: Vec<f32>,
    tail_start: f64,
    tail_log: f64,
    tail_rate: f64,
    /// ln rate of pairs that differ in exactly one feature, by that feature.
    one_feature: Vec<f64>,
    /// The 95% point of G over reference pairs: the yardstick of the drift correction.
    pub g95: f64,
}

// === impl Likeness ===

impl Likeness {
    #[inline]
    fn step(&self, a: Cell, b: Cell) -> usize {
        if a.bits() == b.bits() {
            return 0;
        }
        let difference = (a.value() - b.value()).abs();
        if !self.numeric || !difference.is_finite() {
            return STEPS - 1;
        }
        let ratio = difference * self.inverse_tolerance;
        if ratio <= 1.0 {
            return 1;
        }
        // Exponent and leading mantissa bit: half octaves without a logarithm. 1.0 has exponent bits 0x3ff.
        let half_octave = (ratio.to_bits() >> 51) as usize - (0x3ff << 1);
        (2 + half_octave).min(STEPS - 1)
    }

    #[inline]
    fn score(&self, step: usize, a: Cell) -> f32 {
        // Two absent values are no likeness: a field that stops being filled in would make everybody alike.
        if a.is_missing() || (step != 0 && !self.numeric) {
            return 0.0;
        }
        if self.numeric {
            return self.steps[step];
        }
        let last = self.categories.len() - 1;
        let value = a.value();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small non-negative indices; all else is the last"
        )]
        let index = if value >= 0.0 { (value as usize).min(last) } else { last };
        self.categories[index]
    }
}

// === impl Similarity ===

impl Similarity {
    /// Learns likeness from a reference's sample.
    pub fn new(reference: &Reference) -> Self {
        let rows = &reference.sample;
        let features: Vec<Likeness> = reference.features.iter().enumerate().map(|(j, f)| likeness(f, j, rows)).collect();
        let mut similarity = Self {
            features,
            tail: Vec::new(),
            tail_start: 0.0,
            tail_log: 0.0,
            tail_rate: 1.0,
            one_feature: one_feature_rates(rows, reference.features.len()),
            g95: 0.0,
        };
        similarity.fit_tail(rows);
        similarity
    }

    /// Compares two rows.
    #[inline]
    pub fn compare(&self, a: &[Cell], b: &[Cell]) -> Comparison {
        let mut result = Comparison { g: 0.0, changed: 0, unequal: 0, feature: 0 };
        for (j, likeness) in self.features.iter().enumerate() {
            let step = likeness.step(a[j], b[j]);
            result.g += likeness.score(step, a[j]);
            if step > 0 {
                result.unequal += 1;
                if step > 1 {
                    result.changed += 1;
                    result.feature = j as u16;
                }
            }
        }
        result
    }

    /// ln P(two natural rows are at least this alike), `shift` nats of likeness being explained by drift.
    pub fn log_p(&self, comparison: Comparison, shift: f64) -> f64 {
        let g = f64::from(comparison.g);
        let tail = self.log_tail(g - shift);
        if comparison.unequal == 1 {
            // One-feature edits are counted directly; the correction for drift is the same as for the tail.
            let counted = self.one_feature[usize::from(comparison.feature)] + tail - self.log_tail(g);
            return tail.min(counted.min(0.0));
        }
        tail
    }

    fn log_tail(&self, g: f64) -> f64 {
        if g >= self.tail_start {
            return self.tail_log - (g - self.tail_start) * self.tail_rate;
        }
        let cell = (g.max(0.0) * PER_NAT) as usize;
        f64::from(self.tail.get(cell).copied().unwrap_or(0.0))
    }

    fn fit_tail(&mut self, rows: &[Vec<Cell>]) {
        let width = self.features.len().max(1);
        let count = rows.len().min(((2 * PAIR_WORK / width) as f64).sqrt() as usize).max(2);
        let rows = &rows[..count.min(rows.len())];
        let mut histogram = vec![0_u64; 4096];
        let mut top: Vec<f32> = Vec::new();
        let mut pairs = 0_u64;
        let mut floor = f32::NEG_INFINITY;
        for (i, a) in rows.iter().enumerate() {
            for b in &rows[..i] {
                let comparison = self.compare(a, b);
                if comparison.changed == 0 {
                    continue;
                }
                pairs += 1;
                let cell = ((f64::from(comparison.g) * PER_NAT) as usize).min(histogram.len() - 1);
                histogram[cell] += 1;
                if comparison.g > floor {
                    top.push(comparison.g);
                    if top.len() >= 8 * TAIL {
                        top.sort_by(|x, y| y.total_cmp(x));
                        top.truncate(TAIL);
                        floor = top[TAIL - 1];
                    }
                }
            }
        }
        top.sort_by(|x, y| y.total_cmp(x));
        top.truncate(TAIL);
        let pairs = pairs.max(1) as f64;
        let mut above = 0_u64;
        self.tail = vec![0.0; histogram.len()];
        for cell in (0..histogram.len()).rev() {
            above += histogram[cell];
            self.tail[cell] = ((above.max(1)) as f64 / pairs).ln() as f32;
        }
        let start = top.last().map_or(0.0, |&g| f64::from(g));
        let excess = top.iter().map(|&g| f64::from(g) - start).sum::<f64>() / top.len().max(1) as f64;
        self.tail_start = start;
        self.tail_log = (top.len().max(1) as f64 / pairs).ln();
        self.tail_rate = 1.0 / (TAIL_MARGIN * excess.max(0.05));
        let cell = self.tail.iter().position(|&t| f64::from(t) <= 0.05_f64.ln()).unwrap_or(0);
        self.g95 = cell as f64 / PER_NAT;
    }
}

fn likeness(feature: &Feature, j: usize, rows: &[Vec<Cell>]) -> Likeness {
    if !feature.is_numeric() {
        return Likeness { numeric: false, inverse_tolerance: 0.0, steps: [0.0; STEPS], categories: category_likeness(feature) };
    }
    let mut scale = feature.p99 - feature.p01;
    if scale <= 0.0 {
        scale = feature.max - feature.min;
    }
    let scale = if scale > 0.0 { scale } else { 1.0 };
    let mut likeness =
        Likeness { numeric: true, inverse_tolerance: 1.0 / (TOLERANCE * scale), steps: [0.0; STEPS], categories: vec![0.0] };
    let mut counts = [0.0_f64; STEPS];
    let mut total = 0.0;
    let limit = rows.len().min(4000);
    // Two hundred partners a row, at strides that share no factor with usual orderings.
    for a in 0..limit {
        for e in 1..=200 {
            let b = (a + e * 17 + 1) % limit;
            if a != b {
                counts[likeness.step(rows[a][j], rows[b][j])] += 1.0;
                total += 1.0;
            }
        }
    }
    let mut cumulative = 0.5;
    for (step, count) in counts.iter().enumerate() {
        cumulative += count;
        likeness.steps[step] = -(cumulative / (total + 0.5)).min(1.0).ln() as f32;
    }
    likeness
}

/// −ln of the probability that two rows share a category at least as rare as this one.
fn category_likeness(feature: &Feature) -> Vec<f32> {
    let total = feature.counts.iter().sum::<u64>().max(1) as f64;
    let p: Vec<f64> = feature.counts[..feature.bins()].iter().map(|&c| c as f64 / total).collect();
    let mut scores: Vec<f32> = p
        .iter()
        .map(|&own| {
            let both: f64 = p.iter().filter(|&&other| other <= own + 1e-12).map(|other| other * other).sum();
            -(both + 1.0 / (total * total)).min(1.0).ln() as f32
        })
        .collect();
    let rarest = scores.iter().copied().fold(0.0_f32, f32::max);
    scores.push(rarest);
    scores
}

/// ln of the rate at which pairs of reference rows differ in exactly feature j, with an upper bound of about two standard
/// errors: a rate of zero in 30 million pairs is not a rate of zero.
fn one_feature_rates(rows: &[Vec<Cell>], width: usize) -> Vec<f64> {
    let pairs = (rows.len() as f64 * (rows.len() as f64 - 1.0) / 2.0).max(1.0);
    let mut counts = vec![0.0_f64; width];
    let mut tokens = vec![0; width];
    let hashes: Vec<(u64, Vec<u64>)> = rows
        .iter()
        .map(|row| {
            let whole = row_tokens(row, 0, &mut tokens);
            (whole, tokens.clone())
        })
        .collect();
    for (j, count) in counts.iter_mut().enumerate() {
        // Rows that agree but for feature j, by their value there: unequal pairs are all pairs less the equal ones.
        let mut groups: FxHashMap<u64, FxHashMap<u64, u64>> = FxHashMap::default();
        for (whole, tokens) in &hashes {
            *groups.entry(whole ^ tokens[j]).or_default().entry(tokens[j]).or_default() += 1;
        }
        let twice: u64 = groups
            .values()
            .map(|g| {
                let n: u64 = g.values().sum();
                n * n - g.values().map(|c| c * c).sum::<u64>()
            })
            .sum();
        *count = twice as f64 / 2.0;
    }
    counts.iter().map(|&n| ((n + 2.0 * n.sqrt() + 3.0) / pairs).min(1.0).ln()).collect()
}

/// One salted hash per cell, and their exclusive or: the row's hash, from which any feature can be taken out again in one step.
#[inline]
pub fn row_tokens(row: &[Cell], salt: u64, tokens: &mut [u64]) -> u64 {
    let mut whole = 0;
    for (j, (token, cell)) in tokens.iter_mut().zip(row).enumerate() {
        *token = hash::mix(cell.bits() ^ hash::mix(salt ^ (j as u64 + 1000)));
        whole ^= *token;
    }
    whole
}

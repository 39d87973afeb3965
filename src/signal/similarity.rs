//! How improbable is it that two natural rows are this alike?
//!
//! Per feature, likeness is scored by −ln P(|Δ| this small) over pairs of reference rows (equal categories by their rarity);
//! the sum over features is G. The tail of G over reference pairs gives `ln P(G ≥ g)`, extrapolated exponentially beyond the
//! last few hundred pairs (peaks over threshold; Pickands 1975), with a scale half as large again as fitted, so that the
//! extrapolation errs to the side of coincidence.
//!
//! Rows are compared by their codes ([`super::quantise`]), in half octaves of the difference above a tolerance of a thousandth
//! of the feature's p1–p99 range: what moves less than that (a jittering coordinate) has not moved. A comparison is a
//! subtraction, a look-up and an addition a number, and an addition a category, without branches.

use rustc_hash::FxHashMap;

use wide::{i16x8, i32x8, u16x8, u32x8};

use crate::event::Cell;
use crate::hash;
use crate::reference::{Feature, Reference};
use crate::signal::quantise::{FIRST_CATEGORY, LANES, MISSING, PER_TOLERANCE, is_measured, padded, places};

/// Levels of difference between two codes: equal, then half octaves of 16 bits. A power of two of places, so that no look-up
/// needs a check.
const LEVELS: usize = 64;
/// Last level within the tolerance: the half octave below four grid cells.
const TOLERATED: usize = 4;
/// Pairs compared for the tail: enough for P down to 1e-7, and a fraction of a second of work at start.
const PAIR_WORK: usize = 60_000_000;
/// Extremes that the exponential tail is fitted to.
const TAIL: usize = 200;
/// Factor on the fitted scale of the tail; see above.
const TAIL_MARGIN: f64 = 1.5;
/// Resolution of the tail's histogram, cells per nat.
const PER_NAT: f64 = 4.0;
/// Parts of a nat in which likeness is added up: whole numbers give the same sum in any order.
const PARTS: f32 = 2048.0;
/// A level that no difference has.
const NOTHING: u16 = LEVELS as u16 - 1;
/// ln p above which a pair is so ordinary that nobody asks what exactly differs.
const ORDINARY: f64 = -3.0;

/// Likeness of a number's values: −ln P(difference this small) by level, in [`PARTS`] of a nat; at [`NOTHING`]
/// nought.
type Levels = [u16; LEVELS];

/// Result of comparing two rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Likeness in nats.
    pub g: f32,
    /// Features that differ by more than the tolerance.
    pub changed: u16,
    /// Features that are not equal.
    pub unequal: u16,
    /// Last feature that changed.
    pub feature: u16,
}

/// A row, prepared to be compared with many; reused between rows.
#[derive(Clone, Debug, Default)]
pub struct PreparedRow {
    codes: Vec<u16>,
    /// By place: bits that make any level [`NOTHING`], for numbers that are missing.
    missing: Vec<u16>,
    /// By place: what equality is worth, for categories; in [`PARTS`] of a nat.
    equal: Vec<u16>,
    /// Likeness to itself.
    most: f32,
}

/// Likeness of rows under one reference. Rows are codes of [`super::quantise::Quantiser`].
#[derive(Clone, Debug)]
pub struct Similarity {
    /// Of numbers, by place, and tables of noughts behind them for whole blocks.
    levels: Vec<Levels>,
    numbers: usize,
    /// −ln P(both equal, and as rare as this) by category, in [`PARTS`] of a nat; the last entry is for unseen ones. By place, behind the numbers.
    categories: Vec<Vec<u16>>,
    /// Feature of each place.
    features: Vec<usize>,
    /// By place: what a difference of codes must be at least to be a change.
    least: Vec<u16>,
    /// Places where a value that is there in one row and missing in the other is no difference.
    blanks: Vec<usize>,
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

/// Differences of codes.
#[inline]
fn difference(a: [u16; LANES], b: [u16; LANES]) -> u16x8 {
    let (a, b) = (u16x8::new(a), u16x8::new(b));
    a.saturating_sub(b) | b.saturating_sub(a)
}

/// Levels of differences of codes: 0 for none, then half octaves: exponent and leading mantissa bit, without a logarithm.
#[inline]
fn levels(differences: u16x8) -> u16x8 {
    let halves: u32x8 = i32x8::from_u16x8(differences).round_float().to_bits() >> 22;
    // 1.0 has the exponent bits 127, shifted by one for the mantissa bit.
    i16x8::from_i32x8_saturate(halves.cast_signed()).cast_unsigned().saturating_sub(u16x8::splat(2 * 127 - 1))
}

/// Two slices, as far as there are both.
#[inline]
fn same_length<'a>(a: &'a [u16], b: &'a [u16]) -> (&'a [u16], &'a [u16]) {
    let length = a.len().min(b.len());
    (&a[..length], &b[..length])
}

// === impl Similarity ===

impl Similarity {
    /// Learns likeness from a reference and the codes of its sample's rows.
    pub fn new(reference: &Reference, sample: &[u16]) -> Self {
        let (width, features) = (reference.features.len(), places(reference));
        let numbers = reference.features.iter().filter(|f| f.is_numeric()).count();
        let mut levels: Vec<Levels> = (0..numbers).map(|place| number_likeness(place, padded(width), sample)).collect();
        levels.resize(numbers.next_multiple_of(LANES), [0; LEVELS]);
        let categories = features[numbers..].iter().map(|&j| category_likeness(&reference.features[j])).collect();
        let mut similarity = Self {
            levels,
            numbers,
            categories,
            least: (0..padded(width)).map(|place| if place < numbers { PER_TOLERANCE } else { 1 }).collect(),
            blanks: Vec::new(),
            features,
            tail: Vec::new(),
            tail_start: 0.0,
            tail_log: 0.0,
            tail_rate: 1.0,
            one_feature: one_feature_rates(&reference.sample, width),
            g95: 0.0,
        };
        similarity.fit_tail(width, sample);
        similarity
    }

    /// From now on, values of a feature that are missing on one side are no difference: the world has stopped to fill it in, or begun.
    pub fn ignore_blanks(&mut self, feature: usize) {
        self.blanks.extend(self.features.iter().position(|&at| at == feature));
    }

    /// Places of codes that the reference has nothing like: numbers beyond its range, categories that it does not know.
    pub fn strange<'a>(&'a self, profile: &'a [Feature], row: &'a [Cell]) -> impl Iterator<Item = usize> + 'a {
        let unknown = |j: usize| {
            let (feature, value) = (&profile[j], row.get(j).map_or(f64::NAN, |cell| cell.value()));
            if feature.is_numeric() { feature.is_beyond(value) } else { value >= feature.bins() as f64 }
        };
        self.features.iter().enumerate().filter(move |(_, j)| unknown(**j)).map(|(place, _)| place)
    }

    /// Prepares a row.
    pub fn prepare(&self, row: &[u16], probe: &mut PreparedRow) {
        let (numbers, categories) = row.split_at(self.numbers.min(row.len()));
        probe.codes.clear();
        probe.codes.extend_from_slice(row);
        // Two absent values are no likeness: a field that stops being filled in would make everybody alike. No more are two that lie
        // off the grid, wherever they do: another unit would.
        probe.missing.clear();
        probe.missing.extend(numbers.iter().map(|&code| if is_measured(code) { 0 } else { NOTHING }));
        probe.missing.resize(row.len(), 0);
        probe.equal.clear();
        probe.equal.resize(numbers.len(), 0);
        probe.equal.extend(categories.iter().zip(&self.categories).map(|(&code, likeness)| {
            // All that the reference does not know is rated as unseen.
            let known = usize::from(code).checked_sub(usize::from(FIRST_CATEGORY)).and_then(|index| likeness.get(index));
            if code == MISSING { 0 } else { known.or(likeness.last()).copied().unwrap_or(0) }
        }));
        probe.equal.resize(row.len(), 0);
        probe.most = self.likeness(probe, row);
    }

    /// Likeness of a row to the prepared one, in nats. Both are of [`padded`] width.
    #[inline]
    pub fn likeness(&self, probe: &PreparedRow, other: &[u16]) -> f32 {
        // 65,536 features would be needed for a sum to overflow; sums that need not ask are taken several at once.
        let mut sum = 0_u32;
        let (own, other) = (probe.codes.as_chunks::<LANES>().0, other.as_chunks::<LANES>().0);
        let (missing, tables) = (probe.missing.as_chunks::<LANES>().0, self.levels.as_chunks::<LANES>().0);
        for (((own, other), missing), tables) in own.iter().zip(other).zip(missing).zip(tables) {
            // First all levels, which the machine takes several at a time, then all look-ups.
            let levels = (levels(difference(*own, *other)) | u16x8::new(*missing)).to_array();
            let values = tables.iter().zip(levels).map(|(table, level)| u32::from(table[usize::from(level) % LEVELS]));
            sum = sum.wrapping_add(values.fold(0, u32::wrapping_add));
        }
        let from = self.numbers / LANES;
        let worth = probe.equal.as_chunks::<LANES>().0.iter().skip(from);
        let worth = own.iter().zip(other).skip(from).zip(worth).fold(u32x8::ZERO, |sum, ((own, other), &worth)| {
            // The worth is looked up in any case: a branch would be guessed wrong as often as not.
            let equal = u16x8::new(*own).simd_eq(u16x8::new(*other));
            sum + u32x8::from(equal & u16x8::new(worth))
        });
        sum.wrapping_add(worth.reduce_add()) as f32 / PARTS
    }

    /// Compares a row with the prepared one.
    pub fn compare(&self, probe: &PreparedRow, other: &[u16]) -> Comparison {
        self.differences(probe, other, self.likeness(probe, other))
    }

    /// The same for rows whose likeness is known.
    fn differences(&self, probe: &PreparedRow, other: &[u16], g: f32) -> Comparison {
        let (own, other) = same_length(&probe.codes, other);
        let (own, least) = same_length(own, &self.least);
        let mut result = Comparison { g, changed: 0, unequal: 0, feature: 0 };
        for ((own, other), &least) in own.iter().zip(other).zip(least) {
            let difference = own.abs_diff(*other);
            result.unequal = result.unequal.wrapping_add(u16::from(difference > 0));
            result.changed = result.changed.wrapping_add(u16::from(difference >= least));
        }
        let changed = |place: usize| own[place].abs_diff(other[place]) >= least[place];
        let is_blank = |place: usize| own[place] != other[place] && (own[place] == MISSING || other[place] == MISSING);
        for &place in self.blanks.iter().filter(|&&place| place < own.len() && is_blank(place)) {
            result.unequal -= 1;
            result.changed -= u16::from(changed(place));
        }
        if result.changed > 0 {
            let is_excused = |place: usize| is_blank(place) && self.blanks.contains(&place);
            let last = (0..own.len()).rev().find(|&place| changed(place) && !is_excused(place));
            result.feature = last.and_then(|place| self.features.get(place)).map_or(0, |&feature| feature as u16);
        }
        result
    }

    /// Compares a row with the prepared one, unless they are so little alike that what exactly differs does not matter: then
    /// everything counts as changed. With it comes ln P(two natural rows are at least this alike), `shift` nats of likeness
    /// being explained by drift.
    #[inline]
    pub fn judge(&self, probe: &PreparedRow, other: &[u16], shift: f64) -> (Comparison, f64) {
        let g = self.likeness(probe, other);
        let ordinary = self.log_tail(f64::from(g) - shift);
        if ordinary > ORDINARY && g < 0.5 * probe.most {
            let all = self.features.len() as u16;
            return (Comparison { g, changed: all, unequal: all, feature: 0 }, ordinary);
        }
        let comparison = self.differences(probe, other, g);
        (comparison, self.log_p(comparison, shift))
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

    fn fit_tail(&mut self, width: usize, sample: &[u16]) {
        let count = ((2 * PAIR_WORK / width.max(1)) as f64).sqrt() as usize;
        let rows = || sample.chunks_exact(padded(width.max(1))).take(count);
        let mut probe = PreparedRow::default();
        let mut histogram = vec![0_u64; 4096];
        let mut top: Vec<f32> = Vec::new();
        let mut pairs = 0_u64;
        let mut floor = f32::NEG_INFINITY;
        for (i, a) in rows().enumerate() {
            self.prepare(a, &mut probe);
            for b in rows().take(i) {
                let g = self.likeness(&probe, b);
                // Only rows that are very much alike can be the same row.
                if g >= 0.5 * probe.most && self.differences(&probe, b, g).changed == 0 {
                    continue;
                }
                pairs += 1;
                let cell = ((f64::from(g) * PER_NAT) as usize).min(histogram.len() - 1);
                histogram[cell] += 1;
                if g > floor {
                    top.push(g);
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

/// Nats in parts; what is likelier than 32 nats to be no chance is as good as that.
fn parts(nats: f64) -> u16 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates, at either end")]
    let parts = (nats * f64::from(PARTS)).round() as u16;
    parts
}

/// Likeness of the numbers in a place by level, from pairs of the sample.
fn number_likeness(place: usize, width: usize, sample: &[u16]) -> Levels {
    let column: Vec<u16> = sample.iter().skip(place).step_by(width).take(4000).copied().collect();
    let limit = column.len();
    let mut counts = [0.0_f64; LEVELS];
    let mut total = 0.0;
    // Two hundred partners a row, at strides that share no factor with usual orderings.
    for a in 0..limit {
        for e in (1..=200).step_by(LANES) {
            let partners: [usize; LANES] = std::array::from_fn(|lane| (a + (e + lane) * 17 + 1) % limit);
            let levels = levels(difference([column[a]; LANES], partners.map(|b| column[b]))).to_array();
            for (_, level) in partners.into_iter().zip(levels).filter(|&(b, _)| b != a) {
                counts[usize::from(level)] += 1.0;
                total += 1.0;
            }
        }
    }
    let mut levels = [0; LEVELS];
    let mut cumulative = 0.5;
    for (level, count) in levels.iter_mut().zip(counts).take(usize::from(NOTHING)) {
        cumulative += count;
        *level = parts(-(cumulative / (total + 0.5)).min(1.0).ln());
    }
    // Within the tolerance nothing has moved.
    let tolerated = levels[TOLERATED];
    levels[1..TOLERATED].fill(tolerated);
    levels
}

/// −ln of the probability that two rows share a category at least as rare as this one.
fn category_likeness(feature: &Feature) -> Vec<u16> {
    let total = feature.counts.iter().sum::<u64>().max(1) as f64;
    let p: Vec<f64> = feature.counts[..feature.bins()].iter().map(|&c| c as f64 / total).collect();
    let mut scores: Vec<u16> = p
        .iter()
        .map(|&own| {
            let both: f64 = p.iter().filter(|&&other| other <= own + 1e-12).map(|other| other * other).sum();
            parts(-(both + 1.0 / (total * total)).min(1.0).ln())
        })
        .collect();
    let rarest = scores.iter().copied().max().unwrap_or(0);
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

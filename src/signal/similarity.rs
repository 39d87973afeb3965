//! How improbable is it that two natural rows are this similar?
//!
//! Per feature, similarity is scored by −ln P(|Δ| this small) over pairs of reference rows; equal categories by their rarity
//! ([`learned`]). The sum over features is G, in nats. The tail of G over reference pairs gives ln P(G ≥ g) ([`tail`]).
//!
//! Rows are compared by their codes ([`super::quantise`]), in half octaves of the difference above a tolerance of a thousandth
//! of the feature's p1–p99 range: what moves less than that (a jittering coordinate) has not moved. A comparison is a
//! subtraction, a look-up and an addition a number, and an addition a category, without branches.

mod learned;
mod prepared;
mod tail;

use wide::{u16x8, u32x8};

use crate::reference::Reference;
use crate::signal::quantise::{CodeRange, LANES, MISSING, PER_TOLERANCE, padded, places};
use learned::{LEVELS, Levels, NAT_STEPS, category_scores, difference, levels, number_scores, one_feature_rates};
pub use prepared::PreparedRow;
use prepared::{Written, ranges};
use tail::{Tail, TailCounts};

/// Pairs of features that are compared for the tail. Chosen: enough for P down to 1e-7, and a fraction of a second of work at start.
const PAIR_WORK: usize = 60_000_000;
/// The same when columns are left out while traffic flows: a quarter, some tens of milliseconds. The tail beyond P = 1e-6 is extrapolated.
const PAIR_WORK_WITHOUT: usize = PAIR_WORK / 4;
/// ln p above which a pair is so ordinary that what exactly differs does not matter. Chosen: one pair in twenty is more similar.
const ORDINARY: f64 = -3.0;
/// Share of a row's similarity to itself below which another row cannot be the same one, and from which what differs is looked at.
const ALIKE: f32 = 0.5;

/// Result of comparing two rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Similarity in nats.
    pub g: f32,
    /// Features that differ by more than the tolerance.
    pub changed: u16,
    /// Features that are not equal.
    pub unequal: u16,
    /// Last feature that changed.
    pub feature: u16,
}

/// How similar natural rows are, with all columns or without some.
#[derive(Clone, Debug)]
struct Baseline {
    tail: Tail,
    /// ln rate of pairs that differ in exactly one feature, by that feature; 0 for one that is left out.
    one_feature: Vec<f64>,
}

/// What rows are compared with that are written in common columns as the reference does not know.
#[derive(Clone, Debug)]
struct WithoutCommon {
    /// The columns, by place, and those that are written otherwise.
    places: Vec<bool>,
    unknown: Vec<usize>,
    /// By place: values that many callers send now, as if the reference did not know them.
    frequent: Vec<Option<CodeRange>>,
    baseline: Baseline,
}

/// Similarity of rows under one reference. Rows are codes of [`super::quantise::Quantiser`].
#[derive(Clone, Debug)]
pub struct Similarity {
    /// Scores of numbers by level, by place, and tables of zeros behind them for whole blocks.
    levels: Vec<Levels>,
    numbers: usize,
    /// −ln P(both equal, and as rare as this) by category, in [`NAT_STEPS`] of a nat. By place, after the numbers.
    categories: Vec<Vec<u16>>,
    /// Codes of the smallest and the largest number of the reference, by place.
    ranges: Vec<(u16, u16)>,
    /// By place: whether rows of the reference lack a value.
    lacks: Vec<bool>,
    /// Feature of each place.
    features: Vec<usize>,
    /// By place: what a difference of codes must be at least to be a change.
    least: Vec<u16>,
    /// Places where a value that is there in one row and missing in the other is no difference.
    blanks: Vec<usize>,
    baseline: Baseline,
    without_common: Option<Box<WithoutCommon>>,
}

/// Two slices, as far as there are both.
#[inline]
fn same_length<'a>(a: &'a [u16], b: &'a [u16]) -> (&'a [u16], &'a [u16]) {
    let length = a.len().min(b.len());
    (&a[..length], &b[..length])
}

// === impl Similarity ===

impl Similarity {
    /// Learns similarity from a reference and the codes of its sample's rows.
    pub fn new(reference: &Reference, sample: &[u16]) -> Self {
        let (width, features) = (reference.features.len(), places(reference));
        let numbers = reference.features.iter().filter(|f| f.is_numeric()).count();
        let mut levels: Vec<Levels> = (0..numbers).map(|place| number_scores(place, padded(width), sample)).collect();
        levels.resize(numbers.next_multiple_of(LANES), [0; LEVELS]);
        let categories = features[numbers..].iter().map(|&j| category_scores(&reference.features[j])).collect();
        let mut similarity = Self {
            levels,
            numbers,
            categories,
            ranges: ranges(reference),
            lacks: features.iter().map(|&j| reference.features[j].lacks_values()).collect(),
            least: (0..padded(width)).map(|place| if place < numbers { PER_TOLERANCE } else { 1 }).collect(),
            blanks: Vec::new(),
            features,
            baseline: Baseline {
                tail: TailCounts::default().fit(),
                one_feature: one_feature_rates(&reference.sample, &vec![false; width]),
            },
            without_common: None,
        };
        similarity.baseline.tail = similarity.count_pairs(width, sample, None).fit();
        similarity
    }

    /// Similarity of a row to the prepared one beyond the 95% point over the pairs of the reference that it is compared with, in nats: what
    /// the drift correction measures.
    pub fn excess(&self, prepared: &PreparedRow, other: &[u16]) -> f32 {
        self.score(prepared, other) - self.baseline_of(prepared).tail.g95 as f32
    }

    /// From now on, values of a feature that are missing in one row only are no difference: the world has stopped filling it in, or begun to.
    pub fn ignore_blanks(&mut self, feature: usize) {
        self.blanks.extend(self.features.iter().position(|&at| at == feature));
    }

    /// From now on rows that are written in some of these columns as the reference does not know, and known in all others, are compared
    /// without these columns, and with pairs of the reference without them.
    /// `frequent` are values by place that count as unknown, since many callers send them.
    pub fn set_common(&mut self, columns: &[bool], frequent: &[Option<CodeRange>], reference: &Reference, sample: &[u16]) {
        self.without_common = None;
        let unknown = self.features.iter().map(|&feature| columns[feature]);
        let places: Vec<bool> = unknown.clone().zip(frequent).map(|(unknown, frequent)| unknown || frequent.is_some()).collect();
        if !places.contains(&true) {
            return;
        }
        let mut left_out = vec![false; columns.len()];
        self.features.iter().zip(&places).for_each(|(&feature, &common)| left_out[feature] = common);
        let tail = self.count_pairs(columns.len(), sample, Some(&places)).fit();
        let baseline = Baseline { tail, one_feature: one_feature_rates(&reference.sample, &left_out) };
        let unknown = unknown.enumerate().filter(|(_, unknown)| *unknown).map(|(place, _)| place).collect();
        self.without_common = Some(Box::new(WithoutCommon { places, unknown, frequent: frequent.to_vec(), baseline }));
    }

    /// Similarity G of a row to the prepared one, in nats. Both are of [`padded`] width.
    #[inline]
    pub fn score(&self, prepared: &PreparedRow, other: &[u16]) -> f32 {
        // 65,536 features would be needed for a sum to overflow; sums that need not ask are taken several at once.
        let mut sum = 0_u32;
        let (own, other) = (prepared.codes.as_chunks::<LANES>().0, other.as_chunks::<LANES>().0);
        let (missing, tables) = (prepared.missing.as_chunks::<LANES>().0, self.levels.as_chunks::<LANES>().0);
        for (((own, other), missing), tables) in own.iter().zip(other).zip(missing).zip(tables) {
            // First all levels, which the machine takes several at a time, then all look-ups.
            let levels = (levels(difference(*own, *other)) | u16x8::new(*missing)).to_array();
            let values = tables.iter().zip(levels).map(|(table, level)| u32::from(table[usize::from(level) % LEVELS]));
            sum = sum.wrapping_add(values.fold(0, u32::wrapping_add));
        }
        let from = self.numbers / LANES;
        let worth = prepared.equal.as_chunks::<LANES>().0.iter().skip(from);
        let worth = own.iter().zip(other).skip(from).zip(worth).fold(u32x8::ZERO, |sum, ((own, other), &worth)| {
            // The worth is looked up in any case: a branch would be guessed wrong as often as not.
            let equal = u16x8::new(*own).simd_eq(u16x8::new(*other));
            sum + u32x8::from(equal & u16x8::new(worth))
        });
        sum.wrapping_add(worth.reduce_add()) as f32 / NAT_STEPS
    }

    /// Compares a row with the prepared one.
    pub fn compare(&self, prepared: &PreparedRow, other: &[u16]) -> Comparison {
        self.differences(prepared, other, self.score(prepared, other))
    }

    /// The same for rows whose similarity is known.
    fn differences(&self, prepared: &PreparedRow, other: &[u16], g: f32) -> Comparison {
        let (own, other) = same_length(&prepared.codes, other);
        let (own, least) = same_length(own, &self.least);
        let mut result = Comparison { g, changed: 0, unequal: 0, feature: 0 };
        for ((own, other), &least) in own.iter().zip(other).zip(least) {
            let difference = own.abs_diff(*other);
            result.unequal = result.unequal.wrapping_add(u16::from(difference > 0));
            result.changed = result.changed.wrapping_add(u16::from(difference >= least));
        }
        let changed = |place: usize| own[place].abs_diff(other[place]) >= least[place];
        let common: &[usize] = self.without_common.as_ref().map_or(&[], |common| &common.unknown);
        let written_so = |place: usize| self.is_unknown(place, own[place]) || self.is_unknown(place, other[place]);
        let is_missing = |place: usize| own[place] == MISSING || other[place] == MISSING;
        let is_blank =
            |place: usize| own[place] != other[place] && (is_missing(place) || (common.contains(&place) && written_so(place)));
        let only_drifted = self.blanks.iter().filter(|place| !common.contains(place));
        for &place in only_drifted.chain(common).filter(|&&place| place < own.len() && is_blank(place)) {
            result.unequal -= 1;
            result.changed -= u16::from(changed(place));
        }
        if result.changed > 0 {
            let is_excused = |place: usize| is_blank(place) && (self.blanks.contains(&place) || common.contains(&place));
            let last = (0..own.len()).rev().find(|&place| changed(place) && !is_excused(place));
            result.feature = last.and_then(|place| self.features.get(place)).map_or(0, |&feature| feature as u16);
        }
        result
    }

    /// Compares a row with the prepared one, unless they are so dissimilar that what exactly differs does not matter: then
    /// everything counts as changed. With it comes ln P(two natural rows are at least this similar), `shift` nats of similarity
    /// being explained by drift.
    #[inline]
    pub fn assess(&self, prepared: &PreparedRow, other: &[u16], shift: f64) -> (Comparison, f64) {
        let g = self.score(prepared, other);
        let ordinary = self.baseline_of(prepared).tail.log_p(f64::from(g) - shift);
        if ordinary > ORDINARY && g < ALIKE * prepared.most {
            let all = self.features.len() as u16;
            return (Comparison { g, changed: all, unequal: all, feature: 0 }, ordinary);
        }
        let comparison = self.differences(prepared, other, g);
        (comparison, self.log_p(prepared, comparison, shift))
    }

    /// ln P(two natural rows are at least this similar), `shift` nats of similarity being explained by drift.
    pub fn log_p(&self, prepared: &PreparedRow, comparison: Comparison, shift: f64) -> f64 {
        let g = f64::from(comparison.g);
        let Baseline { tail: natural, one_feature } = self.baseline_of(prepared);
        let tail = natural.log_p(g - shift);
        if comparison.unequal == 1 && prepared.written != Written::Oddly {
            // One-feature edits are counted directly; the correction for drift is the same as for the tail.
            let counted = one_feature[usize::from(comparison.feature)] + tail - natural.log_p(g);
            return tail.min(counted.min(0.0));
        }
        tail
    }

    /// ln P(two natural rows are as similar as the prepared row is to itself).
    pub fn log_p_of_same(&self, prepared: &PreparedRow, shift: f64) -> f64 {
        self.baseline_of(prepared).tail.log_p(f64::from(prepared.most) - shift)
    }

    /// What the similarities of a row are compared with.
    #[inline]
    fn baseline_of(&self, prepared: &PreparedRow) -> &Baseline {
        match (&self.without_common, prepared.written) {
            (Some(common), Written::Commonly) => &common.baseline,
            _ => &self.baseline,
        }
    }

    /// Similarities of pairs of the sample's rows, without some places; rows that differ in nothing are the same row and no pair.
    fn count_pairs(&self, width: usize, sample: &[u16], without: Option<&[bool]>) -> TailCounts {
        let work = if without.is_some() { PAIR_WORK_WITHOUT } else { PAIR_WORK };
        let count = ((2 * work / width.max(1)) as f64).sqrt() as usize;
        let rows = || sample.chunks_exact(padded(width.max(1))).take(count);
        let mut prepared = PreparedRow::default();
        let mut counts = TailCounts::default();
        for (i, a) in rows().enumerate() {
            self.weigh(a, &mut prepared);
            prepared.leave_out(without.unwrap_or_default());
            prepared.most = self.score(&prepared, a);
            for b in rows().take(i) {
                let g = self.score(&prepared, b);
                if g >= ALIKE * prepared.most && self.differences(&prepared, b, g).changed == 0 {
                    continue;
                }
                counts.add(g);
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Cell;
    use crate::signal::quantise::{Quantised, Quantiser};

    struct World {
        reference: Reference,
        quantiser: Quantiser,
        similarity: Similarity,
    }

    impl World {
        fn new() -> Self {
            let path = format!("{}/models/adult/reference.json", env!("CARGO_MANIFEST_DIR"));
            let reference = Reference::from_json(&std::fs::read(path).unwrap()).unwrap();
            let quantiser = Quantiser::new(&reference);
            let similarity = Similarity::new(&reference, &quantiser.sample(&reference));
            Self { reference, quantiser, similarity }
        }

        fn codes(&self, row: &[Cell]) -> Vec<u16> {
            let mut quantised = Quantised::default();
            self.quantiser.encode(row, &mut quantised);
            quantised.codes
        }

        fn compare(&self, a: &[Cell], b: &[Cell]) -> (Comparison, f64) {
            let mut prepared = PreparedRow::default();
            self.similarity.prepare(&self.codes(a), &mut prepared);
            let comparison = self.similarity.compare(&prepared, &self.codes(b));
            (comparison, self.similarity.log_p(&prepared, comparison, 0.0))
        }
    }

    #[test]
    fn natural_rows_are_no_more_similar_than_stated() {
        let world = World::new();
        // Rows that the tail was not fitted to: it compares the first ones of the sample.
        let fitted = ((2 * PAIR_WORK / world.reference.features.len()) as f64).sqrt() as usize;
        let rows: Vec<Vec<u16>> = world.reference.sample[fitted..].iter().take(1_500).map(|row| world.codes(row)).collect();
        let mut prepared = PreparedRow::default();
        let (mut pairs, mut seen) = (0.0, [0.0; 3]);
        let levels = [1e-2_f64, 1e-3, 1e-4];
        for (i, row) in rows.iter().enumerate() {
            world.similarity.prepare(row, &mut prepared);
            for other in &rows[..i] {
                let (comparison, log_p) = world.similarity.assess(&prepared, other, 0.0);
                if comparison.unequal > 1 {
                    pairs += 1.0;
                    seen.iter_mut().zip(levels).for_each(|(seen, level)| *seen += f64::from(u8::from(log_p <= level.ln())));
                }
            }
        }
        for (seen, level) in seen.into_iter().zip(levels) {
            assert!(seen / pairs < 2.0 * level, "{:e} for {level:e}", seen / pairs);
        }
    }

    #[test]
    fn the_fewer_features_differ_the_less_probable_it_is_by_chance() {
        let world = World::new();
        let sample = &world.reference.sample;
        let (row, other) = (&sample[5], &sample[6]);
        let mut mixed = other.clone();
        let (mut unequal, mut before) = (row.len() as u16, world.compare(row, &mixed).1);
        for j in 0..row.len() {
            mixed[j] = row[j];
            let (comparison, log_p) = world.compare(row, &mixed);
            // Rows that differ in one feature alone are counted by themselves.
            assert!(log_p <= before + 1e-9 || unequal == 1, "feature {j}: {log_p} after {before}");
            (unequal, before) = (comparison.unequal, log_p);
        }
        let (same, log_p) = world.compare(row, row);
        assert!(same.unequal == 0 && same.changed == 0 && log_p < -10.0, "{same:?} {log_p}");
    }

    #[test]
    fn a_change_within_the_tolerance_is_unequal_but_no_change_and_the_changed_feature_is_named() {
        let world = World::new();
        let at = |name: &str| world.reference.features.iter().position(|f| f.name == name).unwrap();
        let (weight, hours) = (at("fnlwgt"), at("hours_per_week"));
        let row = &world.reference.sample[5];
        let feature = &world.reference.features[weight];
        let moved = |j: usize, by: f64| {
            let mut other = row.clone();
            other[j] = Cell::number(row[j].value() + by);
            world.compare(row, &other).0
        };
        let within = moved(weight, 0.5e-3 * (feature.p99 - feature.p01));
        assert!(within.unequal == 1 && within.changed == 0, "{within:?}");
        let beyond = moved(hours, 5.0);
        assert!(beyond.unequal == 1 && beyond.changed == 1 && usize::from(beyond.feature) == hours, "{beyond:?}");
    }

    #[test]
    fn two_missing_values_are_no_similarity() {
        let world = World::new();
        let row = &world.reference.sample[5];
        let full = world.compare(row, row).0.g;
        for j in 0..row.len() {
            let mut blank = row.clone();
            blank[j] = Cell::MISSING;
            let g = world.compare(&blank, &blank).0.g;
            assert!(g < full, "feature {j}: {g} of {full}");
        }
    }
}

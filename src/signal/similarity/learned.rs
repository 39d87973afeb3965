//! What a difference between two natural rows is worth, feature by feature, learned from pairs of the reference.

use rustc_hash::FxHashMap;
use wide::{i16x8, i32x8, u16x8, u32x8};

use crate::event::Cell;
use crate::hash;
use crate::reference::Feature;
use crate::signal::quantise::LANES;

/// Levels of difference between two codes: equal, then half octaves of 16 bits. A power of two of places, so that no look-up
/// needs a check.
pub(super) const LEVELS: usize = 64;
/// Last level within the tolerance: the half octave below four grid cells ([`crate::signal::quantise::PER_TOLERANCE`]).
const TOLERATED: usize = 4;
/// A level that no difference has.
pub(super) const NOTHING: u16 = LEVELS as u16 - 1;
/// Steps of a nat in which similarity is added up: whole numbers give the same sum in any order. Sixteen bits of them are 32 nats.
pub(super) const NAT_STEPS: f32 = 2048.0;
/// Rows of the sample that scores of numbers are learned from, and partners of each: 800,000 pairs, so that P is known down to 1e-6.
const MOST_ROWS: usize = 4000;
const PARTNERS: usize = 200;
/// Distance between partners in the sample: a prime, which shares no factor with usual orderings.
const STRIDE: usize = 17;
/// Pairs' worth of prior: half a pair is closer than any that was seen.
const PRIOR: f64 = 0.5;
/// Upper bound, at 95%, on the expected number of what was not seen at all (the rule of three).
const NONE_SEEN: f64 = 3.0;

/// Keeps the tokens of features apart from each other and from plain numbers.
const TOKEN_SALT: u64 = 1000;

/// Scores of a number's values: −ln P(difference this small) by level, in [`NAT_STEPS`] of a nat; 0 at [`NOTHING`].
pub(super) type Levels = [u16; LEVELS];

/// Differences of codes.
#[inline]
pub(super) fn difference(a: [u16; LANES], b: [u16; LANES]) -> u16x8 {
    let (a, b) = (u16x8::new(a), u16x8::new(b));
    a.saturating_sub(b) | b.saturating_sub(a)
}

/// Levels of differences of codes: 0 for none, then half octaves: exponent and leading mantissa bit, without a logarithm.
#[inline]
pub(super) fn levels(differences: u16x8) -> u16x8 {
    let halves: u32x8 = i32x8::from_u16x8(differences).round_float().to_bits() >> 22;
    // 1.0 has the exponent bits 127, shifted by one for the mantissa bit.
    i16x8::from_i32x8_saturate(halves.cast_signed()).cast_unsigned().saturating_sub(u16x8::splat(2 * 127 - 1))
}

/// Nats in [`NAT_STEPS`]; a cast saturates, at 32 nats: beyond, it is as certain as can be.
fn steps(nats: f64) -> u16 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates, at either end")]
    let steps = (nats * f64::from(NAT_STEPS)).round() as u16;
    steps
}

/// Scores of the numbers in a place by level, from pairs of the sample.
pub(super) fn number_scores(place: usize, width: usize, sample: &[u16]) -> Levels {
    let column: Vec<u16> = sample.iter().skip(place).step_by(width).take(MOST_ROWS).copied().collect();
    let limit = column.len();
    let mut counts = [0.0_f64; LEVELS];
    let mut total = 0.0;
    for a in 0..limit {
        for e in (1..=PARTNERS).step_by(LANES) {
            let partners: [usize; LANES] = std::array::from_fn(|lane| (a + (e + lane) * STRIDE + 1) % limit);
            let levels = levels(difference([column[a]; LANES], partners.map(|b| column[b]))).to_array();
            for (_, level) in partners.into_iter().zip(levels).filter(|&(b, _)| b != a) {
                counts[usize::from(level)] += 1.0;
                total += 1.0;
            }
        }
    }
    let mut levels = [0; LEVELS];
    let mut cumulative = PRIOR;
    for (level, count) in levels.iter_mut().zip(counts).take(usize::from(NOTHING)) {
        cumulative += count;
        *level = steps(-(cumulative / (total + PRIOR)).min(1.0).ln());
    }
    // Within the tolerance nothing has moved.
    let tolerated = levels[TOLERATED];
    levels[1..TOLERATED].fill(tolerated);
    levels
}

/// −ln of the probability that two rows share a category at least as rare as this one, by category.
pub(super) fn category_scores(feature: &Feature) -> Vec<u16> {
    let total = feature.counts.iter().sum::<u64>().max(1) as f64;
    let p: Vec<f64> = feature.counts[..feature.bins()].iter().map(|&c| c as f64 / total).collect();
    p.iter()
        .map(|&own| {
            let both: f64 = p.iter().filter(|&&other| other <= own + 1e-12).map(|other| other * other).sum();
            steps(-(both + 1.0 / (total * total)).min(1.0).ln())
        })
        .collect()
}

/// ln of the rate at which pairs of reference rows differ in exactly feature j, with an upper bound of about two standard
/// errors: a rate of zero in 30 million pairs is not a rate of zero. Features that are left out may differ or not.
pub(super) fn one_feature_rates(rows: &[Vec<Cell>], left_out: &[bool]) -> Vec<f64> {
    let pairs = (rows.len() as f64 * (rows.len() as f64 - 1.0) / 2.0).max(1.0);
    let mut counts = vec![0.0_f64; left_out.len()];
    let mut tokens = vec![0; left_out.len()];
    let hashes: Vec<(u64, Vec<u64>)> = rows
        .iter()
        .map(|row| {
            let whole = row_tokens(row, left_out, &mut tokens);
            (whole, tokens.clone())
        })
        .collect();
    for (j, count) in counts.iter_mut().enumerate().filter(|(j, _)| !left_out[*j]) {
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
    let rate = |n: f64| ((n + 2.0 * n.sqrt() + NONE_SEEN) / pairs).min(1.0).ln();
    counts.iter().zip(left_out).map(|(&n, &left_out)| if left_out { 0.0 } else { rate(n) }).collect()
}

/// One hash per cell that is not left out, and their exclusive or: the row's hash, from which any feature can be taken out again in one step.
fn row_tokens(row: &[Cell], left_out: &[bool], tokens: &mut [u64]) -> u64 {
    let mut whole = 0;
    for (j, (token, cell)) in tokens.iter_mut().zip(row).enumerate().filter(|(j, _)| !left_out[*j]) {
        *token = hash::mix(cell.bits() ^ hash::mix(j as u64 + TOKEN_SALT));
        whole ^= *token;
    }
    whole
}

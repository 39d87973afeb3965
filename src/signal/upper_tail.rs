//! How improbable is so large a number? The upper tail of a sample as a power law, fitted without its very largest values.
//!
//! How much callers ask is heavy-tailed: beyond a high quantile `u` the share above `x` falls like `(x/u)^(−1/ξ)`, and ξ is the mean of
//! `ln(x/u)` over the values beyond it (Hill 1975, "A simple general approach to inference about the tail of a distribution"). The largest
//! values decide that mean, and they are those that are to be judged: a batch job among ordinary callers. They are therefore *trimmed*: the
//! largest count as if they were the next smaller, and the estimate is the one for censored values (Bhattacharya, Kallitsis and Stoev 2019,
//! "Data-adaptive trimming of the Hill estimator and detection of outliers in the extremes of heavy-tailed data").
//!
//! A tail of few values is uncertain. So ξ is drawn to what callers usually show, as if so many more values had been seen, and one standard
//! error is added: `ξ/√m` for `m` values.

/// Values of a sample before anything is said of its tail. Chosen: a third of them are the tail then, and what is usual outweighs them.
pub const FEWEST: usize = 30;
/// Share of the sample that is its tail. Chosen: in the recorded traffic of `tests/data` the sizes of callers' busiest five minutes follow a
/// power law from there on; a smaller share leaves too few values of a hundred callers.
const TAIL: f64 = 0.1;
/// Share of the sample that is trimmed, and the fewest values that are. Chosen: one caller in a hundred is a batch job, a mirror or a load test
/// at most; and five addresses of a campaign that came before there was a tail must not become one.
const TRIMMED: f64 = 0.01;
const TRIMMED_AT_LEAST: usize = 5;
/// Fewest values of a tail, so that trimming leaves some. Chosen.
const FEWEST_IN_TAIL: usize = 10;
/// What ξ usually is, and the number of values that this is worth. Chosen: callers of the recorded traffic show 0.2 to 0.35; thirty values are
/// the tail of three hundred callers, which can speak for themselves.
const USUAL: f64 = 0.25;
const USUAL_WORTH: f64 = 30.0;
/// Least ξ, so that equal values do not make every larger one impossible. Chosen: half of the least that callers show.
const LEAST: f64 = 0.1;

/// The upper tail of a sample of positive numbers.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct UpperTail {
    /// Where the tail begins.
    start: f64,
    /// Share of the sample beyond it.
    share: f64,
    /// The exponent ξ, with one standard error.
    exponent: f64,
}

// === impl UpperTail ===

impl UpperTail {
    /// The tail of a sample; `None` if it has fewer than [`FEWEST`] values. Reorders its input.
    pub fn fit(values: &mut [f64]) -> Option<Self> {
        if values.len() < FEWEST {
            return None;
        }
        let (start, share, beyond) = start_of(values)?;
        let trimmed = part_of(values.len(), TRIMMED).max(TRIMMED_AT_LEAST);
        let tail = &mut values[..beyond];
        tail.sort_unstable_by(|a, b| b.total_cmp(a));
        let most = tail[trimmed];
        let sum: f64 = tail.iter().map(|value| (value.min(most) / start).ln()).sum();
        let worth = (tail.len() - trimmed) as f64 + USUAL_WORTH;
        let exponent = ((sum + USUAL * USUAL_WORTH) / worth).max(LEAST);
        Some(Self { start, share, exponent: exponent * (1.0 + worth.sqrt().recip()) })
    }

    /// The same shape for a part of the sample, whose tail begins elsewhere. The whole sample's if the part is too small. Reorders its input.
    #[must_use]
    pub fn for_part(&self, part: &mut [f64]) -> Self {
        if part.len() < FEWEST {
            return *self;
        }
        start_of(part).map_or(*self, |(start, share, _)| Self { start, share, ..*self })
    }

    /// Probability that a value of the sample's kind is `x` or larger; 1 below the tail, where nothing is unusual.
    pub fn probability(&self, x: f64) -> f64 {
        if x <= self.start { 1.0 } else { self.share * (x / self.start).powf(-1.0 / self.exponent) }
    }

    /// The value that is reached or exceeded with a probability, which is at most the share of the tail.
    pub fn quantile(&self, probability: f64) -> f64 {
        self.start * (self.share / probability.min(self.share)).powf(self.exponent)
    }
}

/// A share of `n` values, rounded down.
fn part_of(n: usize, share: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
    let count = (n as f64 * share) as usize;
    count
}

/// Where the tail begins (the largest value that is not in it, at least 1), the share of the values in it, and their number; they come first
/// afterwards. `None` if no value is left beside it.
fn start_of(values: &mut [f64]) -> Option<(f64, f64, usize)> {
    let count = part_of(values.len(), TAIL).max(FEWEST_IN_TAIL);
    if count >= values.len() {
        return None;
    }
    let share = count as f64 / values.len() as f64;
    let (_, start, _) = values.select_nth_unstable_by(count, |a, b| b.total_cmp(a));
    Some((start.max(1.0), share, count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::mix;

    /// Values of a power law from 1 on.
    fn sample(n: u64, exponent: f64, seed: u64) -> Vec<f64> {
        let uniform = |i: u64| ((mix(i ^ seed << 32) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        (0..n).map(|i| uniform(i).powf(-exponent)).collect()
    }

    #[test]
    fn a_large_sample_tells_its_own_exponent() {
        for exponent in [0.2, 0.3, 0.5] {
            let tail = UpperTail::fit(&mut sample(50_000, exponent, 1)).unwrap();
            assert!((tail.exponent / exponent - 1.0).abs() < 0.06, "{tail:?}");
            let x = 1e-4_f64.powf(-exponent);
            assert!((tail.probability(x) / 1e-4).ln().abs() < 0.5, "{}", tail.probability(x));
        }
    }

    #[test]
    fn probability_and_quantile_are_inverse_and_monotone() {
        let tail = UpperTail::fit(&mut sample(500, 0.3, 2)).unwrap();
        for p in [0.05, 1e-2, 1e-4, 1e-7] {
            assert!((tail.probability(tail.quantile(p)) / p - 1.0).abs() < 1e-9);
        }
        assert!((1..1000).is_sorted_by(|&a, &b| tail.probability(f64::from(a)) >= tail.probability(f64::from(b))));
        assert!((tail.probability(0.5) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn one_giant_in_a_hundred_changes_little() {
        let plain = UpperTail::fit(&mut sample(300, 0.3, 3)).unwrap();
        let mut with = sample(300, 0.3, 3);
        with.extend([1e4, 1e5, 1e6]);
        let with = UpperTail::fit(&mut with).unwrap();
        assert!(with.quantile(1e-4) < 2.0 * plain.quantile(1e-4), "{plain:?} {with:?}");
    }

    #[test]
    fn honest_samples_exceed_the_quantile_no_more_often_than_stated() {
        // Fresh values of the same law against the quantile of 1e-3, over many samples of a hundred.
        let (mut beyond, mut all) = (0, 0);
        for seed in 0..200 {
            let limit = UpperTail::fit(&mut sample(100, 0.25, 100 + seed)).unwrap().quantile(1e-3);
            let fresh = sample(1_000, 0.25, 10_000 + seed);
            beyond += fresh.iter().filter(|&&value| value > limit).count();
            all += fresh.len();
        }
        assert!(beyond as f64 <= 1e-3 * all as f64, "{beyond} of {all}");
    }

    #[test]
    fn few_or_equal_values_are_no_ground_for_certainty() {
        assert_eq!(UpperTail::fit(&mut vec![3.0; FEWEST - 1]), None);
        let tail = UpperTail::fit(&mut vec![3.0; FEWEST]).unwrap();
        assert!(tail.quantile(1e-4) > 5.0 && tail.probability(4.0) > 1e-3, "{tail:?}");
    }

    #[test]
    fn a_part_has_its_own_start() {
        let whole = UpperTail::fit(&mut sample(400, 0.3, 5)).unwrap();
        let mut larger: Vec<f64> = sample(100, 0.3, 6).into_iter().map(|value| value * 4.0).collect();
        let part = whole.for_part(&mut larger);
        assert!(part.quantile(1e-3) > 2.5 * whole.quantile(1e-3));
        assert_eq!(whole.for_part(&mut [1.0; 5]), whole, "too few to have one");
    }
}

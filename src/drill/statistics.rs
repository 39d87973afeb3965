//! Exact intervals: what a handful of trials can say, and no more.
//!
//! Nothing here is an approximation for large numbers, since a drill's numbers are small. Shares of trials have the interval of
//! Clopper and Pearson (1934), rates the interval of Garwood (1936), medians and other quantiles the distribution-free interval
//! between order statistics. All are two-sided at [`CONFIDENCE`].

use serde::Serialize;
use statrs::distribution::{Beta, Binomial, ChiSquared, ContinuousCDF as _, DiscreteCDF as _};

/// Confidence of every interval: the customary 95%.
pub const CONFIDENCE: f64 = 0.95;
/// Probability on either side.
const TAIL: f64 = (1.0 - CONFIDENCE) / 2.0;

/// An interval, both ends included.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// So many of so many, with the interval of the share.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Share {
    /// How many.
    pub of: u64,
    /// Among how many.
    pub among: u64,
    /// Interval of the share, 0 to 1; the whole range where there was nothing to count.
    pub interval: Interval,
}

/// A quantile of waiting times of which some never ended.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Quantile {
    /// The quantile; none where so many never ended that it lies among them.
    pub value: Option<f64>,
    /// Lower end of its interval; none where there are too few values to give one.
    pub low: Option<f64>,
    /// Upper end; none where there is none, or where it lies among those that never ended.
    pub high: Option<f64>,
}

// === impl Share ===

impl Share {
    /// `of` among `among`, with the interval of Clopper and Pearson.
    pub fn new(of: u64, among: u64) -> Self {
        Self { of, among, interval: proportion(of, among) }
    }

    /// The share itself; none of nothing.
    #[expect(clippy::cast_precision_loss, reason = "counts of trials")]
    pub fn value(&self) -> Option<f64> {
        (self.among > 0).then(|| self.of as f64 / self.among as f64)
    }
}

/// Interval of a share after `hits` among `trials`.
#[expect(clippy::cast_precision_loss, reason = "counts of trials")]
pub fn proportion(hits: u64, trials: u64) -> Interval {
    let (hits, trials) = (hits.min(trials) as f64, trials as f64);
    let quantile = |a: f64, b: f64, p: f64| Beta::new(a, b).map_or(f64::NAN, |beta| beta.inverse_cdf(p));
    let low = if hits > 0.0 { quantile(hits, trials - hits + 1.0, TAIL) } else { 0.0 };
    let high = if hits < trials { quantile(hits + 1.0, trials - hits, 1.0 - TAIL) } else { 1.0 };
    Interval { low, high }
}

/// Interval of a rate after `events` in `exposure` units; from nothing to everything without exposure.
#[expect(clippy::cast_precision_loss, reason = "counts of alarms")]
pub fn rate(events: u64, exposure: f64) -> Interval {
    if exposure <= 0.0 {
        return Interval { low: 0.0, high: f64::INFINITY };
    }
    let events = events as f64;
    let half = |degrees: f64, p: f64| ChiSquared::new(degrees).map_or(f64::NAN, |chi| chi.inverse_cdf(p)) / 2.0;
    let low = if events > 0.0 { half(2.0 * events, TAIL) } else { 0.0 };
    Interval { low: low / exposure, high: half(2.0 * events + 2.0, 1.0 - TAIL) / exposure }
}

/// The `q` quantile of `values`, of which those that never ended are infinite. The value is the smallest that at least a share
/// of `q` does not exceed; the interval lies between two of the values.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of trials")]
pub fn quantile(values: &mut [f64], q: f64) -> Quantile {
    values.sort_by(f64::total_cmp);
    let count = values.len();
    let ended = |at: usize| values.get(at).copied().filter(|value| value.is_finite());
    if count == 0 {
        return Quantile { value: None, low: None, high: None };
    }
    let at = ((q * count as f64).ceil() as usize).clamp(1, count) - 1;
    // The number of values at or below the true quantile is binomial: the ranks beyond which it rarely lies are the interval.
    let Ok(ranks) = Binomial::new(q, count as u64) else { return Quantile { value: ended(at), low: None, high: None } };
    let low = (1..=count).rev().find(|&rank| ranks.cdf(rank as u64 - 1) <= TAIL);
    let high = (1..=count).find(|&rank| 1.0 - ranks.cdf(rank as u64 - 1) <= TAIL);
    Quantile { value: ended(at), low: low.and_then(|rank| ended(rank - 1)), high: high.and_then(|rank| ended(rank - 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-4
    }

    #[test]
    fn shares_have_the_interval_of_clopper_and_pearson() {
        // scripts/reference_values.py shares_of_trials
        for (hits, trials, low, high) in
            [(8, 10, 0.443_905, 0.974_789), (5, 5, 0.478_176, 1.0), (0, 5, 0.0, 0.521_824), (35, 35, 0.899_969, 1.0)]
        {
            let found = proportion(hits, trials);
            assert!(near(found.low, low) && near(found.high, high), "{hits}/{trials}: {found:?}");
        }
        assert_eq!(proportion(0, 0), Interval { low: 0.0, high: 1.0 });
    }

    #[test]
    fn rates_have_the_exact_interval_of_a_poisson_count() {
        // scripts/reference_values.py rates_of_events
        for (events, exposure, low, high) in
            [(0, 1.0, 0.0, 3.688_879), (3, 1.0, 0.618_672, 8.767_273), (3, 100.0, 0.006_187, 0.087_673)]
        {
            let found = rate(events, exposure);
            assert!(near(found.low, low) && near(found.high, high), "{events} in {exposure}: {found:?}");
        }
        assert!(rate(0, 0.0).high.is_infinite());
    }

    #[test]
    fn a_median_among_those_that_never_ended_is_not_a_number() {
        let found = quantile(&mut [3.0, f64::INFINITY, 1.0, f64::INFINITY, f64::INFINITY], 0.5);
        assert_eq!(found.value, None);
        let found = quantile(&mut [3.0, 2.0, 1.0, f64::INFINITY, 5.0], 0.5);
        assert_eq!(found.value, Some(3.0));
        assert_eq!((found.low, found.high), (None, None), "five values say nothing about the bounds of a median");
    }

    #[test]
    fn the_interval_of_a_median_is_that_of_the_sign_test() {
        // Twenty values: the 6th and the 15th enclose the median with 95.9 %, the 7th and the 14th with less than 95 %.
        let mut values: Vec<f64> = (1..=20).map(f64::from).collect();
        let found = quantile(&mut values, 0.5);
        assert_eq!((found.value, found.low, found.high), (Some(10.0), Some(6.0), Some(15.0)));
    }
}

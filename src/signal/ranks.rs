//! Conformal p-values: what share of the reference's rows scores as high (Vovk, Gammerman and Shafer 2005, ch. 2)?
//!
//! Thousands of scores would lie far apart in memory. So all of the highest fiftieth are kept, where evidence is. Of the rest a ladder of
//! p-values is kept, each a twentieth below the one before, with the [`CUTS`] among them exactly. Between two rungs the lower p-value is
//! given; no decision there depends on a twentieth.
//!
//! A row that the reference resembles in nothing scores far above all of its rows. [`Ranks::log_p`] extrapolates the tail exponentially
//! (peaks over threshold; Pickands 1975), on the side of chance.

use crate::signal::cuts::CUTS;

/// Factor from one rung to the next. Chosen: a p-value that is a twentieth too low adds 0.05 nats to Fisher's combination.
const RUNG: f64 = 0.95;
/// p-value up to which every score is a rung.
const EXACT: f64 = 0.02;

/// Highest scores that the tail is fitted to, and the share of all scores that they are at most. Chosen: of a sample of 8,192 rows these are
/// p ≤ 0.006, and the standard error of the scale is a seventh.
const EXTREMES: usize = 50;
const EXTREME_ONE_IN: usize = 20;
/// Factor on the fitted scale. Chosen: three and a half times its standard error, towards chance.
const SCALE_MARGIN: f64 = 1.5;

/// Scores of the reference's rows at a ladder of p-values.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Ranks {
    /// Score of each rung, ascending, and its p-value.
    scores: Vec<f32>,
    p: Vec<f32>,
    /// p-value of a score above all of them.
    least: f32,
    tail: Option<Tail>,
}

/// The extrapolated tail.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Tail {
    /// Score from which on it is used, and ln p there.
    start: f32,
    log_p: f32,
    /// How fast ln p falls with the score.
    rate: f32,
}

// === impl Ranks ===

impl Default for Ranks {
    fn default() -> Self {
        Self { scores: Vec::new(), p: Vec::new(), least: 1.0, tail: None }
    }
}

impl Ranks {
    /// Ranks of scores, given in any order.
    pub fn new(mut scores: Vec<f32>) -> Self {
        scores.sort_by(f32::total_cmp);
        let all = (scores.len() + 1) as f64;
        // (1 + number as large) / (1 + all)
        let exact = |at: usize| (scores.len() - at + 1) as f64 / all;
        let mut ladder = Self::default();
        let mut wanted = 1.0;
        // The last of equal scores that was looked at, and its p-value.
        let mut before: Option<(f32, f64)> = None;
        for at in 0..scores.len() {
            if at > 0 && scores[at] <= scores[at - 1] {
                continue;
            }
            let p = exact(at);
            if let Some((score, above)) = before
                && CUTS.iter().any(|&cut| p <= cut && above > cut)
            {
                ladder.push(score, above);
            }
            if p <= wanted || p <= EXACT {
                ladder.push(scores[at], p);
                while wanted >= p {
                    wanted *= RUNG;
                }
            }
            before = Some((scores[at], p));
        }
        ladder.least = (1.0 / all) as f32;
        ladder.tail = Tail::of(&scores);
        ladder
    }

    fn push(&mut self, score: f32, p: f64) {
        if self.scores.last().is_none_or(|&last| last < score) {
            self.scores.push(score);
            self.p.push(p as f32);
        }
    }

    /// Conformal p-value of a score, above 0 and at most 1: (1 + number as large) / (1 + all), in the ladder up to a rung less.
    #[inline]
    pub fn p(&self, score: f32) -> f64 {
        f64::from(self.p.get(self.scores.partition_point(|&known| known < score)).copied().unwrap_or(self.least))
    }

    /// ln of the p-value of a score, extrapolated beyond the highest scores.
    pub fn log_p(&self, score: f32) -> f64 {
        match self.tail {
            Some(Tail { start, log_p, rate }) if score > start => f64::from(log_p - (score - start) * rate),
            _ => self.p(score).ln(),
        }
    }
}

// === impl Tail ===

impl Tail {
    /// The tail of scores in ascending order; `None` if they are too few, or if the highest are all equal.
    fn of(scores: &[f32]) -> Option<Self> {
        let number = EXTREMES.min(scores.len() / EXTREME_ONE_IN);
        let extremes = &scores[scores.len() - number..];
        let start = *extremes.first()?;
        let excess = extremes.iter().map(|&score| f64::from(score - start)).sum::<f64>() / number as f64;
        let as_high = scores.len() - scores.partition_point(|&score| score < start);
        let log_p = ((as_high + 1) as f64 / (scores.len() + 1) as f64).ln() as f32;
        (excess > 0.0).then(|| Self { start, log_p, rate: (1.0 / (SCALE_MARGIN * excess)) as f32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_ranked_among_those_as_large() {
        let ranks = Ranks::new(vec![3.0, 1.0, 2.0, 2.0]);
        let p: Vec<f64> = [0.0, 1.0, 2.0, 2.5, 3.0, 9.0].iter().map(|&score| (ranks.p(score) * 100.0).round() / 100.0).collect();
        assert_eq!(p, [1.0, 1.0, 0.8, 0.4, 0.4, 0.2]);
        assert!((Ranks::default().p(5.0) - 1.0).abs() < 1e-12, "without a reference nothing is odd");
    }

    #[test]
    fn the_ladder_is_exact_where_it_matters_and_errs_by_a_twentieth_elsewhere() {
        let scores: Vec<f32> = (0..7_919_u32).map(|i| (i * i % 7_919) as f32).collect();
        let ranks = Ranks::new(scores.clone());
        assert!(ranks.p.len() < 300, "{}", ranks.p.len());
        for at in 0..7_930 {
            let score = at as f32 + 0.5;
            let exact = (1 + scores.iter().filter(|&&s| s >= score).count()) as f64 / 7_920.0;
            let said = ranks.p(score);
            assert!(said <= exact + 1e-6 && said >= exact * RUNG - 2.0 / 7_920.0, "{score}: {said} for {exact}");
            assert!(exact > EXACT || (said - exact).abs() < 1e-6, "{score}: {said} for {exact}");
            assert!(CUTS.iter().all(|&cut| (said <= cut) == (exact <= cut)), "{score}: {said} for {exact}");
        }
    }

    #[test]
    fn beyond_the_highest_scores_the_tail_is_extrapolated_towards_chance() {
        // Quantiles of a unit exponential: ln P(score ≥ s) = −s.
        let scores: Vec<f32> = (1..=8_000_u32).map(|i| -((f64::from(i) - 0.5) / 8_000.0).ln() as f32).collect();
        let ranks = Ranks::new(scores);
        for score in [1.0_f32, 3.0, 5.0] {
            assert!((ranks.log_p(score) + f64::from(score)).abs() < 0.06, "{score}: {}", ranks.log_p(score));
        }
        // From the 50th highest on (ln p = −5.1) the slope is two thirds.
        let (near, far) = (ranks.log_p(9.0), ranks.log_p(21.0));
        assert!(near > -9.0 && ((near - far) / 12.0 - 1.0 / SCALE_MARGIN).abs() < 0.05, "{near} {far}");
        assert!(Ranks::new(vec![1.0; 8_000]).log_p(5.0) > -9.1, "equal scores have no tail");
        assert!(Ranks::default().log_p(5.0).abs() < 1e-12);
    }
}

//! Conformal p-values: what share of the reference's rows scores as high (Vovk, Gammerman and Shafer 2005, ch. 2)?
//!
//! Thousands of scores would lie far apart in memory. So all of the highest fiftieth are kept, where evidence is. Of the rest a ladder of
//! p-values is kept, each a twentieth below the one before, with the [`CUTS`] among them exactly. Between two rungs the lower p-value is
//! given; no decision there depends on a twentieth.

use crate::signal::cuts::CUTS;

/// Factor from one rung to the next. Chosen: a p-value that is a twentieth too low adds 0.05 nats to Fisher's combination.
const RUNG: f64 = 0.95;
/// p-value up to which every score is a rung.
const EXACT: f64 = 0.02;

/// Scores of the reference's rows at a ladder of p-values.
#[derive(Clone, Debug)]
pub struct Ranks {
    /// Score of each rung, ascending, and its p-value.
    scores: Vec<f32>,
    p: Vec<f32>,
    /// p-value of a score above all of them.
    least: f32,
}

// === impl Ranks ===

impl Default for Ranks {
    fn default() -> Self {
        Self { scores: Vec::new(), p: Vec::new(), least: 1.0 }
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
}

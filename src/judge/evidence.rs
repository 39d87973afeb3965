//! Sequential evidence that stays valid whenever one looks at it.
//!
//! A query's [`Cells`] are compared with what an honest client may show at most: Q, an upper bound on the probability that a
//! statistic's p-value falls into its lowest cells. Against every distribution within that bound the likelihood ratio used here
//! has expectation at most 1 (its ratio is monotone, so the bound's worst case is the bound itself), which makes the
//! Shiryaev–Roberts recursion R ← (R + 1)·f an *e-detector* (Shin, Ramdas and Rinaldo 2024): E[Rₙ − n] ≤ 0. By Markov's
//! inequality the chance that an honest client's R exceeds T within n votes is at most n/T. Averages of e-detectors are
//! e-detectors, so the statistics and three bets on each are averaged, and looking at all of them costs nothing but a factor.

use crate::signal::density::{CUTS, Cells, STATISTICS};

/// Bets per statistic.
pub const BETS: usize = 3;
/// Shares of the statistics in the average. Those that see what the first five do not are asked at a price: each needs four times the
/// evidence of one of these, which is a query or two, and together they cost them an eighth of theirs, which is next to none.
const WEIGHTS: [f64; STATISTICS] = [0.176, 0.176, 0.176, 0.176, 0.176, 0.04, 0.04, 0.04];
/// Share of probing mass in each bet: a cautious, an even and a bold one. The bold one is not 1: one ordinary row must not
/// erase everything.
pub const CLIENT_BETS: [f64; BETS] = [0.2, 0.5, 0.97];
/// Bets of the pool of newcomers, of whom only some are attackers.
pub const POOL_BETS: [f64; BETS] = [0.02, 0.1, 0.3];
/// Cells of a p-value.
const CELLS: usize = CUTS.len() + 1;
/// How a prober's p-values fall: mostly into the lowest cell. Any monotone choice keeps the guarantee; this one is near the
/// best for probers who are far from the reference more often than not.
const ALTERNATIVE: [f64; CELLS] = [0.60, 0.12, 0.12, 0.10, 0.06];
/// Where evidence saturates, so that arithmetic stays finite.
const CEILING: f32 = 1e30;

/// Upper bounds per statistic on P(p-value ≤ cut), for each cut.
pub type Bounds = [[f64; CUTS.len()]; STATISTICS];

/// Likelihood ratios by statistic, bet and cell.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Factors([[[f32; CELLS]; BETS]; STATISTICS]);

/// Evidence against one client (or pool).
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Detector([[f32; BETS]; STATISTICS]);

// === impl Factors ===

impl Factors {
    /// Likelihood ratios against honest clients within `bounds`.
    pub fn new(bounds: &Bounds, bets: [f64; BETS]) -> Self {
        let mut factors = [[[1.0_f32; CELLS]; BETS]; STATISTICS];
        for (statistic, bound) in bounds.iter().enumerate() {
            let mut mass = [0.0; CELLS];
            let mut below = 0.0;
            for (cell, upper) in bound.iter().copied().chain([1.0]).enumerate() {
                mass[cell] = (upper - below).max(1e-4);
                below = upper;
            }
            let total: f64 = mass.iter().sum();
            mass.iter_mut().for_each(|m| *m /= total);
            let mut ratio = [0.0; CELLS];
            let mut least = f64::INFINITY;
            for cell in 0..CELLS {
                least = least.min(ALTERNATIVE[cell] / mass[cell]);
                ratio[cell] = least;
            }
            let expectation: f64 = ratio.iter().zip(&mass).map(|(r, m)| r * m).sum();
            for (bet, share) in bets.iter().enumerate() {
                for cell in 0..CELLS {
                    factors[statistic][bet][cell] = (1.0 - share + share * ratio[cell] / expectation) as f32;
                }
            }
        }
        Self(factors)
    }
}

// === impl Detector ===

impl Detector {
    /// Takes the cells of one vote.
    pub fn update(&mut self, cells: Cells, factors: &Factors) {
        for (statistic, bets) in self.0.iter_mut().enumerate() {
            let cell = usize::from(cells[statistic]);
            for (bet, value) in bets.iter_mut().enumerate() {
                *value = ((*value + 1.0) * factors.0[statistic][bet][cell]).min(CEILING);
            }
        }
    }

    /// Average over statistics and bets: the evidence that the thresholds speak of.
    pub fn total(&self) -> f64 {
        self.0.iter().zip(WEIGHTS).map(|(bets, weight)| weight * bets.iter().map(|&v| f64::from(v)).sum::<f64>()).sum::<f64>()
            / BETS as f64
    }

    /// Average over the first `n` statistics, evenly.
    pub fn total_of(&self, n: usize) -> f64 {
        self.0[..n].iter().flatten().map(|&v| f64::from(v)).sum::<f64>() / (n * BETS) as f64
    }

    /// Average over the bets of one statistic.
    pub fn of(&self, statistic: usize) -> f64 {
        self.0[statistic].iter().map(|&v| f64::from(v)).sum::<f64>() / BETS as f64
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Cuts the evidence down to at most `limit` per bet.
    pub fn limit(&mut self, limit: f32) {
        self.0.iter_mut().flatten().for_each(|v| *v = v.min(limit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: [f64; 4] = [0.025, 0.05, 0.18, 0.45];

    #[test]
    fn the_expected_factor_under_the_bound_is_one_and_below_it_less() {
        let factors = Factors::new(&[BOUND; STATISTICS], CLIENT_BETS);
        let expectation = |q: [f64; 4], bet: usize| {
            let mut below = 0.0;
            q.iter()
                .copied()
                .chain([1.0])
                .enumerate()
                .map(|(c, u)| {
                    let m = u - below;
                    below = u;
                    m * f64::from(factors.0[0][bet][c])
                })
                .sum::<f64>()
        };
        for bet in 0..BETS {
            assert!((expectation(BOUND, bet) - 1.0).abs() < 1e-6);
            assert!(expectation([0.001, 0.005, 0.02, 0.1], bet) < 1.0);
            assert!(expectation([0.3, 0.4, 0.5, 0.6], bet) > 1.0);
        }
    }

    #[test]
    fn an_honest_client_at_the_bound_alarms_no_more_often_than_stated() {
        let factors = Factors::new(&[BOUND; STATISTICS], CLIENT_BETS);
        let (threshold, votes, clients) = (1e3, 20_u64, 4_000_u64);
        let mut alarms = 0;
        for client in 0..clients {
            let mut detector = Detector::default();
            let mut alarmed = false;
            for vote in 0..votes {
                let mut cells = [0; STATISTICS];
                for (s, cell) in cells.iter_mut().enumerate() {
                    let u = (crate::hash::mix(client * 1_000_003 + vote * 7 + s as u64) >> 11) as f64 / (1_u64 << 53) as f64;
                    *cell = BOUND.iter().position(|&b| u <= b).unwrap_or(4) as u8;
                }
                detector.update(cells, &factors);
                alarmed |= detector.total() >= threshold;
            }
            alarms += u64::from(alarmed);
        }
        // P ≤ n/T = 2%; of 4000 clients 80 expected at most, 27 is three standard errors.
        assert!(alarms <= 80 + 27, "{alarms} of {clients}");
    }
}

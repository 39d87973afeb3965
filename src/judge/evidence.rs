//! Sequential evidence that stays valid whenever it is looked at.
//!
//! The [`Cells`] of a query are compared with the most that an honest client may show: Q, an upper bound on the probability that a
//! statistic's p-value falls into its lowest cells. Against every distribution within that bound the likelihood ratio used here
//! has expectation at most 1 (its ratio is monotone, so the bound's worst case is the bound itself), which makes the
//! Shiryaev–Roberts recursion R ← (R + 1)·f an *e-detector* (Shin, Ramdas and Rinaldo 2024): E[Rₙ − n] ≤ 0. By Markov's
//! inequality the chance that an honest client's R exceeds T within n votes is at most n/T. Averages of e-detectors are
//! e-detectors, so the statistics and three bets on each are averaged: looking at all of them costs a factor and no guarantee.

use crate::signal::cuts::{CUTS, P_CELLS};
use crate::signal::density::statistic::{Cells, DensityStatistic, PerStatistic};

/// Bets per statistic.
pub const BETS: usize = 3;
/// Share of probing mass in each bet on a client. Chosen: a cautious, an even and a bold one, since the share of a prober's rows that look
/// probing is not known (a mixture over bets costs at most ln 3). The bold one is not 1: one ordinary row must not erase everything.
pub const CLIENT_BETS: [f64; BETS] = [0.2, 0.5, 0.97];
/// Bets on the pool of newcomers. Chosen lower than those on a client, since only some newcomers are attackers.
pub const NEWCOMER_BETS: [f64; BETS] = [0.02, 0.1, 0.3];
/// How a prober's p-values fall: mostly into the lowest cell. Chosen; any monotone choice keeps the guarantee. This one is near the best
/// for probers whose rows are unlike the reference more often than not, and the last cell costs them little (0.06 against
/// 0.9 for an honest row).
const ALTERNATIVE: [f64; P_CELLS] = [0.60, 0.12, 0.12, 0.10, 0.06];
/// Least probability of a cell under the bound, so that a bound that does not rise from one cut to the next gives no infinite ratio.
const LEAST_MASS: f64 = 1e-4;
/// Where evidence saturates, so that arithmetic stays finite: far above any threshold, and times the largest factor of a vote
/// (0.6/[`LEAST_MASS`] = 6,000) still below the largest `f32` (3.4e38).
const CEILING: f32 = 1e30;

/// Upper bounds per statistic on P(p-value ≤ cut), for each cut.
pub type Bounds = PerStatistic<[f64; CUTS.len()]>;

/// Likelihood ratios by statistic, bet and cell.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Factors(PerStatistic<[[f32; P_CELLS]; BETS]>);

/// Evidence against one client, or against the pool of newcomers.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Detector(PerStatistic<[f32; BETS]>);

// === impl Factors ===

impl Factors {
    /// Likelihood ratios against honest clients within `bounds`.
    pub fn new(bounds: &Bounds, bets: [f64; BETS]) -> Self {
        Self(bounds.map(|bound| factors(&bound, bets)))
    }
}

/// Likelihood ratios of one statistic, by bet and cell.
fn factors(bound: &[f64; CUTS.len()], bets: [f64; BETS]) -> [[f32; P_CELLS]; BETS] {
    let mut mass = [0.0; P_CELLS];
    let mut below = 0.0;
    for (cell, upper) in bound.iter().copied().chain([1.0]).enumerate() {
        mass[cell] = (upper - below).max(LEAST_MASS);
        below = upper;
    }
    let total: f64 = mass.iter().sum();
    mass.iter_mut().for_each(|m| *m /= total);
    // A monotone ratio: a less unusual row is never more evidence.
    let mut ratio = [0.0; P_CELLS];
    let mut least = f64::INFINITY;
    for cell in 0..P_CELLS {
        least = least.min(ALTERNATIVE[cell] / mass[cell]);
        ratio[cell] = least;
    }
    let expectation: f64 = ratio.iter().zip(&mass).map(|(r, m)| r * m).sum();
    bets.map(|share| ratio.map(|ratio| (1.0 - share + share * ratio / expectation) as f32))
}

// === impl Detector ===

impl Detector {
    /// Takes the cells of one vote.
    pub fn update(&mut self, cells: Cells, factors: &Factors) {
        for ((bets, &cell), factors) in self.0.iter_mut().zip(cells.iter()).zip(factors.0.iter()) {
            for (value, factors) in bets.iter_mut().zip(factors) {
                *value = ((*value + 1.0) * factors[usize::from(cell)]).min(CEILING);
            }
        }
    }

    /// Average over statistics, by their weights, and over bets: the evidence that the thresholds speak of.
    pub fn total(&self) -> f64 {
        let weights = DensityStatistic::ALL.iter().map(|statistic| statistic.weight());
        self.0.iter().zip(weights).map(|(bets, weight)| weight * bets.iter().map(|&v| f64::from(v)).sum::<f64>()).sum::<f64>()
            / BETS as f64
    }

    /// Even average over the statistics that measure dependence.
    pub fn dependence(&self) -> f64 {
        let measured = || DensityStatistic::ALL.into_iter().filter(|statistic| statistic.measures_dependence());
        measured().flat_map(|statistic| self.0[statistic]).map(f64::from).sum::<f64>() / (measured().count() * BETS) as f64
    }

    /// Average over the bets on one statistic.
    pub fn of(&self, statistic: DensityStatistic) -> f64 {
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
        let factors = Factors::new(&PerStatistic::all(BOUND), CLIENT_BETS);
        let expectation = |q: [f64; 4], bet: usize| {
            let mut below = 0.0;
            q.iter()
                .copied()
                .chain([1.0])
                .enumerate()
                .map(|(c, u)| {
                    let m = u - below;
                    below = u;
                    m * f64::from(factors.0[DensityStatistic::BrokenDependence][bet][c])
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
        let factors = Factors::new(&PerStatistic::all(BOUND), CLIENT_BETS);
        let (threshold, votes, clients) = (1e3, 20_u64, 4_000_u64);
        let mut alarms = 0;
        for client in 0..clients {
            let mut detector = Detector::default();
            let mut alarmed = false;
            for vote in 0..votes {
                let mut cells = Cells::all(0);
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

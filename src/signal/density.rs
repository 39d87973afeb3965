//! Density and dependence of a row against the reference: how unusual is it, compared with the reference's own rows?
//!
//! Each statistic ([`DensityStatistic`]) is turned into a conformal p-value against leave-one-out scores of the reference's sample
//! ([`super::ranks`]) and then into one of five cells ([`super::cuts`]):
//! * *broken dependence*, *worst pairs*: values that are each common but do not go together ([`pairs`]). Uniform noise and
//!   equation solving score high.
//! * *broken correlation*: squared residuals of a Gaussian copula of the numbers ([`super::copula`]), for small steps away from
//!   what goes closely together.
//! * *odd marginals*, *uniform marginals*: rare values, and values as spread as an even draw ([`marginals`]).
//! * *novel combinations*: values of three features that were never seen together though their pairs were
//!   ([`super::combinations`]).
//! * *combined density*: Fisher's combination (Fisher 1925) of broken dependence, worst pairs and odd marginals, and of broken
//!   correlation where most features are numbers that go closely together.
//! * *undecided and odd*: Fisher's combination of the combined density and nearness to the decision boundary ([`super::boundary`]).
//!
//! *Surprise* ([`Surprise`]) is for single rows of many senders: Fisher's statistic of three scores that see different things, with
//! p-values that are extrapolated beyond the reference's rows, so that a row which nothing resembles counts for what it is.
//!
//! Three statistics measure dependence, since dependence survives drift of the marginals far better than the marginals do.

mod marginals;
mod pairs;
pub mod statistic;

use crate::reference::Reference;
use crate::signal::boundary::Boundary;
use crate::signal::codes::{Coder, Codes};
use crate::signal::combinations::Combinations;
use crate::signal::copula::Copula;
use crate::signal::cuts;
use crate::signal::ranks::Ranks;
use marginals::Marginals;
use pairs::Pairs;
use statistic::{Cells, DensityStatistic, PerStatistic};

/// Statistics that are scores of a row; the two others combine p-values.
const SCORES: [DensityStatistic; 6] = [
    DensityStatistic::BrokenDependence,
    DensityStatistic::WorstPairs,
    DensityStatistic::BrokenCorrelation,
    DensityStatistic::OddMarginals,
    DensityStatistic::UniformMarginals,
    DensityStatistic::NovelCombinations,
];
/// Scores that are combined. The last one takes part only where the numbers' residuals say as much as all else; where few numbers
/// depend on each other it would dilute the rest.
const COMBINED: [DensityStatistic; 4] = [
    DensityStatistic::BrokenDependence,
    DensityStatistic::WorstPairs,
    DensityStatistic::OddMarginals,
    DensityStatistic::BrokenCorrelation,
];
/// Scores that surprise combines: pairs of values, numbers in fine detail, and values by themselves.
const SURPRISING: [DensityStatistic; 3] =
    [DensityStatistic::WorstPairs, DensityStatistic::BrokenCorrelation, DensityStatistic::OddMarginals];
/// Share of all features' variance that other numbers must explain for broken correlation to be combined. Chosen: from a third on, one of
/// four combined scores is worth its dilution of the other three.
const CLOSELY_DEPENDENT: f64 = 1.0 / 3.0;

/// The statistics of one reference, possibly with drifting features masked out.
#[derive(Clone, Debug)]
pub struct Density {
    pairs: Pairs,
    marginals: Marginals,
    combinations: Combinations,
    copula: Copula,
    /// The scores of [`COMBINED`] that are combined.
    combined: &'static [DensityStatistic],
    /// Leave-one-out scores of the reference's sample.
    ranks: PerStatistic<Ranks>,
    /// Surprise of the reference's sample, alone and with nearness to the decision boundary.
    surprise: [Ranks; 2],
}

/// How surprising one row is.
#[derive(Clone, Copy, PartialEq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Surprise {
    /// Fisher's statistic, −Σ ln p, in nats.
    pub nats: f32,
    /// ln of its p-value, and of the p-value with nearness to the decision boundary: −Σ ln p − ln(nearness).
    pub log_p: [f32; 2],
}

// === impl Density ===

impl Density {
    /// Prepares the statistics; features for which `masked` is true are left out (they drift, so they say nothing).
    pub fn new(reference: &Reference, coder: &Coder, boundary: &Boundary, masked: &[bool]) -> Self {
        let is_masked = |j: usize| masked.get(j).copied().unwrap_or(false);
        let sample = coder.sample(reference);
        let copula = Copula::new(coder.normal_scores(), &sample, masked);
        let open = (0..reference.features.len()).filter(|&j| !is_masked(j)).count();
        let is_close = copula.explained() >= CLOSELY_DEPENDENT * open as f64;
        let mut density = Self {
            pairs: Pairs::new(reference, coder, is_masked),
            marginals: Marginals::new(reference, is_masked),
            combinations: Combinations::new(reference, coder, &sample, masked),
            copula,
            combined: if is_close { &COMBINED } else { &COMBINED[..COMBINED.len() - 1] },
            ranks: PerStatistic::default(),
            surprise: Default::default(),
        };
        density.calibrate(&sample, boundary);
        density
    }

    /// Leave-one-out scores of the sample: each row is judged by a reference that does not contain it.
    fn calibrate(&mut self, sample: &[Codes], boundary: &Boundary) {
        let mut rows: Vec<PerStatistic<f32>> = sample.iter().map(|codes| self.scores::<true>(codes)).collect();
        for statistic in SCORES {
            self.ranks[statistic] = Ranks::new(rows.iter().map(|row| row[statistic]).collect());
        }
        for row in &mut rows {
            row[DensityStatistic::CombinedDensity] = self.fisher(|statistic| self.ranks[statistic].p(row[statistic]));
        }
        let combined = |row: &PerStatistic<f32>| row[DensityStatistic::CombinedDensity];
        self.ranks[DensityStatistic::CombinedDensity] = Ranks::new(rows.iter().map(combined).collect());
        let p_combined = |row: &PerStatistic<f32>| self.ranks[DensityStatistic::CombinedDensity].p(combined(row));
        let undecided = |(row, near): (&PerStatistic<f32>, &f32)| -(p_combined(row) * f64::from(*near)).ln() as f32;
        self.ranks[DensityStatistic::UndecidedAndOdd] = Ranks::new(rows.iter().zip(boundary.sample()).map(undecided).collect());
        let surprise: Vec<f32> = rows.iter().map(|row| self.surprising(row)).collect();
        let with_nearness = surprise.iter().zip(boundary.sample()).map(|(nats, near)| nats - near.ln()).collect();
        self.surprise = [Ranks::new(surprise), Ranks::new(with_nearness)];
    }

    /// Fisher's statistic of the [`SURPRISING`] scores.
    fn surprising(&self, scores: &PerStatistic<f32>) -> f32 {
        SURPRISING.iter().map(|&statistic| -self.ranks[statistic].log_p(scores[statistic]) as f32).sum()
    }

    /// How surprising a row is; `near` is the p-value of its nearness to the decision boundary.
    pub fn surprise(&self, codes: &Codes, near: f64) -> Surprise {
        let nats = self.surprising(&self.scores::<false>(codes));
        let log_p = [self.surprise[0].log_p(nats), self.surprise[1].log_p(nats - near.ln() as f32)];
        Surprise { nats, log_p: log_p.map(|log_p| log_p as f32) }
    }

    /// The same statistic of rows of the reference's sample, each judged without itself.
    pub fn surprise_of_sample(&self, sample: &[Codes]) -> Vec<f32> {
        sample.iter().map(|codes| self.surprising(&self.scores::<true>(codes))).collect()
    }

    /// The [`SCORES`] of a row. With `LEAVE_ONE_OUT` the row is one of the sample's, and is judged without it.
    #[inline]
    fn scores<const LEAVE_ONE_OUT: bool>(&self, codes: &Codes) -> PerStatistic<f32> {
        let mut scores = PerStatistic::default();
        // The copula is a few coefficients learned from thousands of rows: leaving one of them out makes no difference.
        scores[DensityStatistic::BrokenCorrelation] = self.copula.misfit(&codes.normal);
        [scores[DensityStatistic::BrokenDependence], scores[DensityStatistic::WorstPairs]] =
            self.pairs.scores::<LEAVE_ONE_OUT>(codes);
        [scores[DensityStatistic::OddMarginals], scores[DensityStatistic::UniformMarginals]] =
            self.marginals.scores::<LEAVE_ONE_OUT>(codes);
        scores[DensityStatistic::NovelCombinations] = self.combinations.novelty(codes, LEAVE_ONE_OUT);
        scores
    }

    /// Fisher's combination of p-values: −Σ ln p.
    #[inline]
    fn fisher(&self, p: impl Fn(DensityStatistic) -> f64) -> f32 {
        self.combined.iter().map(|&statistic| -p(statistic).ln() as f32).sum()
    }

    /// Adds to `contributions`, per feature, how much it contributes to a row's oddity: half of each broken pair, and its own rarity.
    pub fn attribute(&self, codes: &Codes, contributions: &mut [f32]) {
        self.pairs.attribute(codes, contributions);
        self.marginals.attribute(codes, contributions);
    }

    /// Cells of the p-values of a row with these codes and normal scores; `near` is the p-value of its nearness to the decision
    /// boundary.
    pub fn cells(&self, codes: &Codes, near: f64) -> Cells {
        let scores = self.scores::<false>(codes);
        let mut p = PerStatistic::all(1.0);
        for statistic in SCORES {
            p[statistic] = self.ranks[statistic].p(scores[statistic]);
        }
        let combined = self.ranks[DensityStatistic::CombinedDensity].p(self.fisher(|statistic| p[statistic]));
        p[DensityStatistic::CombinedDensity] = combined;
        p[DensityStatistic::UndecidedAndOdd] = self.ranks[DensityStatistic::UndecidedAndOdd].p(-(combined * near).ln() as f32);
        p.map(cuts::cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statistic_is_a_score_or_one_of_the_two_combinations() {
        let combines = [DensityStatistic::CombinedDensity, DensityStatistic::UndecidedAndOdd];
        for statistic in DensityStatistic::ALL {
            assert_ne!(SCORES.contains(&statistic), combines.contains(&statistic), "{statistic:?}");
        }
    }
}

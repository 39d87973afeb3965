//! The density statistics, by name, and what the judge has to know of each.
//!
//! Everything that depends on *which* statistic it is stands here. A new statistic is a variant, its place
//! in [`DensityStatistic::ALL`] and its arm in `DensityStatistic::traits`; its score is computed in [`super`]. Nobody else
//! counts statistics or knows their order.

use std::ops::{Index, IndexMut};

/// A statistic of a row under [`super::Density`]. The order is that in which evidence is summed, and so part of what is reproducible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DensityStatistic {
    /// Pairs of values that do not go together, all of them.
    BrokenDependence,
    /// The three pairs of values that go together least.
    WorstPairs,
    /// Numbers that do not go together, in fine detail.
    BrokenCorrelation,
    /// Values that are rare by themselves.
    OddMarginals,
    /// Fisher's combination of the ones above.
    CombinedDensity,
    /// Values as spread as an even draw.
    UniformMarginals,
    /// Values of three features that were never seen together, though their pairs were.
    NovelCombinations,
    /// Fisher's combination of `CombinedDensity` and nearness to the decision boundary.
    UndecidedAndOdd,
}

/// The attack that a statistic speaks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttackInput {
    /// Inputs drawn from a distribution that is not the world's.
    Random,
    /// Inputs chosen to train a substitute: rare or undecided, but consistent in themselves.
    SubstituteTraining,
}

/// Number of density statistics.
pub const STATISTICS: usize = DensityStatistic::ALL.len();

/// One value for each density statistic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct PerStatistic<T>([T; STATISTICS]);

/// Cell of each statistic's p-value ([`crate::signal::cuts`]).
pub type Cells = PerStatistic<u8>;

/// What the judge has to know of a statistic.
struct Traits {
    name: &'static str,
    words: &'static str,
    weight: f64,
    speaks_for: Option<AttackInput>,
    measures_dependence: bool,
    compares_peers: bool,
}

/// Share of a principal statistic in the average of evidence, and of a supplementary one: 5·0.176 + 3·0.04 = 1. Chosen: those that see
/// what the first five do not need four times the evidence of one of these (a query or two), and together they cost the
/// first five an eighth of theirs (ln(0.2/0.176) = 0.13 nats).
const PRINCIPAL: f64 = 0.176;
const SUPPLEMENTARY: f64 = 0.04;

// === impl Traits ===

impl Traits {
    /// Of a statistic that does not measure dependence.
    const fn new(name: &'static str, words: &'static str, weight: f64, speaks_for: Option<AttackInput>) -> Self {
        Self { name, words, weight, speaks_for, measures_dependence: false, compares_peers: false }
    }
}

// === impl DensityStatistic ===

impl DensityStatistic {
    /// Every statistic, in the order of declaration.
    pub const ALL: [Self; 8] = [
        Self::BrokenDependence,
        Self::WorstPairs,
        Self::BrokenCorrelation,
        Self::OddMarginals,
        Self::CombinedDensity,
        Self::UniformMarginals,
        Self::NovelCombinations,
        Self::UndecidedAndOdd,
    ];

    const fn traits(self) -> Traits {
        use AttackInput::{Random, SubstituteTraining};
        match self {
            Self::BrokenDependence => Traits {
                measures_dependence: true,
                compares_peers: true,
                ..Traits::new("broken_dependence", "impossible combinations of features", PRINCIPAL, Some(Random))
            },
            Self::WorstPairs => Traits {
                measures_dependence: true,
                compares_peers: true,
                ..Traits::new("worst_pairs", "pairs of values that never meet", PRINCIPAL, Some(Random))
            },
            // It does not compare peers: it is so fine that it moves with the seasons.
            Self::BrokenCorrelation => Traits {
                measures_dependence: true,
                ..Traits::new("broken_correlation", "numbers that do not go together", PRINCIPAL, Some(Random))
            },
            Self::OddMarginals => Traits::new("odd_marginals", "rare or impossible values", PRINCIPAL, Some(SubstituteTraining)),
            // It is made of statistics that speak for either.
            Self::CombinedDensity => Traits::new("combined_density", "unlike anything in the reference", PRINCIPAL, None),
            Self::UniformMarginals => {
                Traits::new("uniform_marginals", "values spread evenly, as chance spreads them", SUPPLEMENTARY, Some(Random))
            }
            Self::NovelCombinations => {
                let words = "values never seen together, though their pairs were";
                Traits::new("novel_combinations", words, SUPPLEMENTARY, Some(Random))
            }
            Self::UndecidedAndOdd => {
                let words = "odd rows close to the decision boundary";
                Traits::new("undecided_and_odd", words, SUPPLEMENTARY, Some(SubstituteTraining))
            }
        }
    }

    /// Name in verdict lines.
    pub const fn name(self) -> &'static str {
        self.traits().name
    }

    /// What it says of a client's rows, for people; what is reported of it is the share of rows of which it is true.
    pub const fn words(self) -> &'static str {
        self.traits().words
    }

    /// The statistic of a name in verdict lines.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|statistic| statistic.name() == name)
    }

    /// Share in the average of evidence, 0 to 1; all shares add up to 1, since only then the average of e-detectors is one.
    pub const fn weight(self) -> f64 {
        self.traits().weight
    }

    /// The attack that a large value speaks for; `None` if it may be either.
    pub const fn speaks_for(self) -> Option<AttackInput> {
        self.traits().speaks_for
    }

    /// Whether it measures how features depend on each other, which survives drift of the marginals far better than the
    /// marginals do.
    pub const fn measures_dependence(self) -> bool {
        self.traits().measures_dependence
    }

    /// Whether it tells if peers match the reference.
    pub const fn compares_peers(self) -> bool {
        self.traits().compares_peers
    }
}

// === impl PerStatistic ===

impl Cells {
    /// Whether the row is as odd as one in a thousand by a statistic of dependence. Rare values alone are none: a new segment has them.
    pub fn is_impossible(&self) -> bool {
        DensityStatistic::ALL.into_iter().any(|statistic| statistic.measures_dependence() && self[statistic] == 0)
    }
}

impl<T: Copy> PerStatistic<T> {
    /// The same value for every statistic.
    pub const fn all(value: T) -> Self {
        Self([value; STATISTICS])
    }
}

impl<T> PerStatistic<T> {
    /// A value for each statistic.
    pub fn from_fn(mut of: impl FnMut(DensityStatistic) -> T) -> Self {
        Self(DensityStatistic::ALL.map(&mut of))
    }

    /// The values, in the order of [`DensityStatistic::ALL`].
    #[inline]
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// The values, to be changed, in the order of [`DensityStatistic::ALL`].
    #[inline]
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.0.iter_mut()
    }

    /// Another value for each.
    #[inline]
    pub fn map<U>(self, of: impl FnMut(T) -> U) -> PerStatistic<U> {
        PerStatistic(self.0.map(of))
    }
}

impl<T> Index<DensityStatistic> for PerStatistic<T> {
    type Output = T;

    #[inline]
    fn index(&self, statistic: DensityStatistic) -> &T {
        &self.0[statistic as usize]
    }
}

impl<T> IndexMut<DensityStatistic> for PerStatistic<T> {
    #[inline]
    fn index_mut(&mut self, statistic: DensityStatistic) -> &mut T {
        &mut self.0[statistic as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statistic_finds_its_own_value() {
        assert!(DensityStatistic::ALL.iter().enumerate().all(|(at, &statistic)| statistic as usize == at));
        let names = PerStatistic::from_fn(DensityStatistic::name);
        assert!(DensityStatistic::ALL.into_iter().all(|statistic| DensityStatistic::named(names[statistic]) == Some(statistic)));
        assert_eq!(DensityStatistic::named("query_rate"), None);
    }

    #[test]
    fn weights_are_shares_of_one_average() {
        let sum: f64 = DensityStatistic::ALL.into_iter().map(DensityStatistic::weight).sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
    }
}

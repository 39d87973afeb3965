//! The shapes of probing: their names, what they serve, and which one evidence looks like.
//!
//! Signals count and weigh; what the counts are called is a judgement, so it is made here and nowhere below.

use serde::Serialize;

use super::evidence::Detector;
use crate::signal::edits::{EditProcess, Tally};

/// Statistics of rows that speak for random input, and for a substitute's training set: all but the combination of both.
const RANDOM: [usize; 5] = [0, 1, 2, 5, 6];
const SUBSTITUTE: [usize; 2] = [3, 7];

/// The shape of the probing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Regular steps or exhaustive products.
    Grid,
    /// One feature moved between extremes, then bisected, all others equal.
    LineSearch,
    /// Walks along the decision boundary.
    Boundary,
    /// Small clouds round one point.
    NearDuplicate,
    /// Inputs drawn from a distribution that is not the world's.
    Random,
    /// Jacobian augmentation or active learning for a substitute model.
    Substitute,
    /// Was this row in the training data?
    Membership,
    /// Sheer number.
    Volume,
    /// Evidence without a recognised shape.
    Unknown,
}

// === impl Family ===

impl Family {
    /// Every family, for metrics that must be present at zero.
    pub const ALL: [Self; 9] = [
        Self::Grid,
        Self::LineSearch,
        Self::Boundary,
        Self::NearDuplicate,
        Self::Random,
        Self::Substitute,
        Self::Membership,
        Self::Volume,
        Self::Unknown,
    ];

    /// The word in verdict lines and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::LineSearch => "line_search",
            Self::Boundary => "boundary",
            Self::NearDuplicate => "near_duplicate",
            Self::Random => "random",
            Self::Substitute => "substitute",
            Self::Membership => "membership",
            Self::Volume => "volume",
            Self::Unknown => "unknown",
        }
    }

    /// MITRE ATLAS techniques (5.6) that this shape of probing serves.
    pub const fn techniques(self) -> &'static [&'static str] {
        match self {
            // Systematic coverage and substitute training extract the model.
            Self::Grid | Self::Random | Self::Substitute => &["AML.T0024.002"],
            // Line searches both extract (path finding) and evade (boundary search).
            Self::LineSearch => &["AML.T0024.002", "AML.T0043.001"],
            Self::Boundary | Self::NearDuplicate => &["AML.T0043.001"],
            Self::Membership => &["AML.T0024.000"],
            Self::Volume => &["AML.T0034.000"],
            Self::Unknown => &["AML.T0040"],
        }
    }

    /// OWASP Machine Learning Security Top 10 (2023) entry.
    pub const fn owasp(self) -> &'static str {
        match self {
            Self::Grid | Self::Random | Self::Substitute | Self::Volume | Self::Unknown => "ML05",
            Self::LineSearch | Self::Boundary | Self::NearDuplicate => "ML01",
            Self::Membership => "ML04",
        }
    }

    /// The shape that the habits of a trail of near rows look like.
    pub fn of_habits(tally: Tally) -> Self {
        match tally.steps {
            0 => Self::Unknown,
            n if tally.broad * 2 >= n => Self::Boundary,
            // Path finding with incomplete queries.
            n if tally.blanks >= 3 && tally.blanks * 4 >= n => Self::LineSearch,
            _ if tally.midpoints >= 2 && tally.midpoints * 4 >= tally.lattice => Self::LineSearch,
            n if tally.lattice * 4 >= n || tally.products * 2 >= n => Self::Grid,
            _ if tally.extremes >= 2 => Self::LineSearch,
            _ => Self::NearDuplicate,
        }
    }

    /// The shape that odd rows alone look like: broken dependence, an even draw and combinations never seen are random input; rows that
    /// are merely rare, or undecided, but hang together are a substitute's training set.
    pub fn of_oddity(detector: &Detector) -> Self {
        let most = |which: &[usize]| which.iter().map(|&statistic| detector.of(statistic)).fold(0.0, f64::max);
        if most(&RANDOM) >= most(&SUBSTITUTE) { Self::Random } else { Self::Substitute }
    }
}

// === impl EditProcess ===

impl EditProcess {
    /// The family that the habits look like.
    pub fn family(&self) -> Family {
        Family::of_habits(self.tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::evidence::{CLIENT_BETS, Factors};
    use crate::signal::density::{Cells, STATISTICS};

    #[test]
    fn every_habit_has_its_family() {
        let steps = Tally { single: 12, steps: 12, ..Tally::default() };
        for (tally, family) in [
            (Tally::default(), Family::Unknown),
            (Tally { single: 6, broad: 6, ..steps }, Family::Boundary),
            (Tally { extremes: 2, midpoints: 9, ..steps }, Family::LineSearch),
            (Tally { extremes: 2, ..steps }, Family::LineSearch),
            // A lattice meets a midpoint now and then.
            (Tally { midpoints: 2, lattice: 9, ..steps }, Family::Grid),
            (Tally { products: 8, ..steps }, Family::Grid),
            (Tally { blanks: 5, ..steps }, Family::LineSearch),
            (steps, Family::NearDuplicate),
        ] {
            assert_eq!(Family::of_habits(tally), family, "{tally:?}");
        }
    }

    #[test]
    fn broken_dependence_is_random_and_mere_rarity_a_substitute() {
        let of = |broken: bool| {
            let (mut detector, mut cells) = (Detector::default(), Cells::default());
            cells.fill(4);
            cells[if broken { RANDOM[0] } else { SUBSTITUTE[0] }] = 0;
            let factors = Factors::new(&[[0.025, 0.05, 0.18, 0.45]; STATISTICS], CLIENT_BETS);
            (0..5).for_each(|_| detector.update(cells, &factors));
            Family::of_oddity(&detector)
        };
        assert_eq!((of(true), of(false)), (Family::Random, Family::Substitute));
    }
}

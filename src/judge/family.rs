//! The shapes of probing: their names, the techniques that they serve, and which of them the evidence looks like.
//!
//! Signals count and weigh. What the counts are called is a judgement, so it is made here and in no signal.

use serde::Serialize;

use super::evidence::Detector;
use crate::signal::density::statistic::{AttackInput, DensityStatistic};
use crate::signal::edits::EditProcess;
use crate::signal::edits::counts::EditCounts;

/// Rows with fields emptied one after the other that make a search with incomplete queries, and one such row in how many steps. Chosen:
/// three in a quarter of the steps; a source of data that fails now and then empties one field, and rarely.
const BLANKS: u32 = 3;
const BLANKS_PER_STEPS: u32 = 4;
/// Exact midpoints that make a bisection, and how many steps of a lattice one of them may have beside it. Chosen: two, since a lattice
/// meets the middle of two earlier values now and then.
const MIDPOINTS: u32 = 2;
const LATTICE_PER_MIDPOINT: u32 = 4;
/// Equal steps that make a grid: one in this many steps. Chosen.
const STEPS_PER_LATTICE: u32 = 4;
/// Visits to the end of a range that make a line search: both ends.
const EXTREMES: u32 = 2;
/// A shape that half of the steps show is theirs.
const HALF: u32 = 2;

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
    /// Small clouds around one point.
    NearDuplicate,
    /// Inputs drawn from a distribution that is not the world's.
    Random,
    /// Jacobian augmentation or active learning for a substitute model.
    Substitute,
    /// Was this row in the training data?
    Membership,
    /// Sheer number.
    Volume,
    /// Records that cannot be read, so nobody knows what was asked: suspicious, and no more.
    Unreadable,
    /// Evidence without a recognised shape.
    Unknown,
}

// === impl Family ===

impl Family {
    /// Every family, for metrics that must be present at zero.
    pub const ALL: [Self; 10] = [
        Self::Grid,
        Self::LineSearch,
        Self::Boundary,
        Self::NearDuplicate,
        Self::Random,
        Self::Substitute,
        Self::Membership,
        Self::Volume,
        Self::Unreadable,
        Self::Unknown,
    ];

    /// Whether it is a way of going from row to row, which only rows together show. What a single row shows says less.
    pub fn is_search(self) -> bool {
        matches!(self, Self::Grid | Self::LineSearch | Self::Boundary | Self::NearDuplicate)
    }

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
            Self::Unreadable => "unreadable",
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
            Self::Unreadable | Self::Unknown => &["AML.T0040"],
        }
    }

    /// OWASP Machine Learning Security Top 10 (2023) entry.
    pub const fn owasp(self) -> &'static str {
        match self {
            Self::Grid | Self::Random | Self::Substitute | Self::Volume | Self::Unreadable | Self::Unknown => "ML05",
            Self::LineSearch | Self::Boundary | Self::NearDuplicate => "ML01",
            Self::Membership => "ML04",
        }
    }

    /// The shape that a chain of edits looks like.
    pub fn of_edits(counts: EditCounts) -> Self {
        match counts.steps {
            0 => Self::Unknown,
            n if counts.broad * HALF >= n => Self::Boundary,
            // Path finding with incomplete queries.
            n if counts.blanks >= BLANKS && counts.blanks * BLANKS_PER_STEPS >= n => Self::LineSearch,
            _ if counts.midpoints >= MIDPOINTS && counts.midpoints * LATTICE_PER_MIDPOINT >= counts.lattice => Self::LineSearch,
            n if counts.lattice * STEPS_PER_LATTICE >= n || counts.products * HALF >= n => Self::Grid,
            _ if counts.extremes >= EXTREMES => Self::LineSearch,
            _ => Self::NearDuplicate,
        }
    }

    /// The shape that odd rows alone look like: random input or a substitute's training set, by the statistic with the most evidence.
    pub fn of_oddity(detector: &Detector) -> Self {
        let most = |input: AttackInput| {
            let speaking = DensityStatistic::ALL.into_iter().filter(|statistic| statistic.speaks_for() == Some(input));
            speaking.map(|statistic| detector.of(statistic)).fold(0.0, f64::max)
        };
        if most(AttackInput::Random) >= most(AttackInput::SubstituteTraining) { Self::Random } else { Self::Substitute }
    }
}

// === impl EditProcess ===

impl EditProcess {
    /// The family that the edits look like.
    pub fn family(&self) -> Family {
        Family::of_edits(self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::evidence::{CLIENT_BETS, Factors};
    use crate::signal::density::statistic::{Cells, PerStatistic};

    #[test]
    fn every_pattern_of_edits_has_its_family() {
        let steps = EditCounts { single: 12, steps: 12, ..EditCounts::default() };
        for (counts, family) in [
            (EditCounts::default(), Family::Unknown),
            (EditCounts { single: 6, broad: 6, ..steps }, Family::Boundary),
            (EditCounts { extremes: 2, midpoints: 9, ..steps }, Family::LineSearch),
            (EditCounts { extremes: 2, ..steps }, Family::LineSearch),
            // A lattice meets a midpoint now and then.
            (EditCounts { midpoints: 2, lattice: 9, ..steps }, Family::Grid),
            (EditCounts { products: 8, ..steps }, Family::Grid),
            (EditCounts { blanks: 5, ..steps }, Family::LineSearch),
            (steps, Family::NearDuplicate),
        ] {
            assert_eq!(Family::of_edits(counts), family, "{counts:?}");
        }
    }

    #[test]
    fn broken_dependence_is_random_and_mere_rarity_a_substitute() {
        let of = |broken: bool| {
            let (mut detector, mut cells) = (Detector::default(), Cells::all(4));
            cells[if broken { DensityStatistic::BrokenDependence } else { DensityStatistic::OddMarginals }] = 0;
            let factors = Factors::new(&PerStatistic::all([0.025, 0.05, 0.18, 0.45]), CLIENT_BETS);
            (0..5).for_each(|_| detector.update(cells, &factors));
            Family::of_oddity(&detector)
        };
        assert_eq!((of(true), of(false)), (Family::Random, Family::Substitute));
    }
}

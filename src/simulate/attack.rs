//! The library of attacks: published ways to steal, fool or question a model by asking it, one file each.
//!
//! An attack here is the real algorithm: it asks the victim through an [`Oracle`] and decides its next query from the answers.
//! It runs before delivery, since none of them needs the time of day; [`super::delivery`] then spreads the recorded queries over
//! addresses and hours. When the budget is spent, [`Oracle::ask`] returns `None` and the attack ends through `?`.

mod active;
mod boundary;
mod equation;
mod genetic;
mod grid;
mod incomplete;
mod inversion;
mod jacobian;
mod line_search;
mod membership;
mod near_duplicate;
mod one_at_a_time;
mod sampling;
mod substitute;
mod tree_path;

pub mod oracle;
pub mod spec;

use crate::event::Cell;
pub use oracle::{Oracle, unit};
pub use spec::{Accounts, AttackSpec, Pace};

/// The attacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttackKind {
    /// Regular steps over features × all combinations of the switches.
    Grid,
    /// One feature after the other over its whole range.
    OneAtATime,
    /// Extremes of a feature, then bisection.
    LineSearch,
    /// HopSkipJump.
    HopSkipJump,
    /// The Boundary attack.
    Boundary,
    /// Zeroth-order gradient estimates.
    Zoo,
    /// Simple black-box steps, coordinate by coordinate.
    SimBa,
    /// Random blocks of features pushed up or down.
    Square,
    /// Uniform noise over the ranges.
    Uniform,
    /// Independent normals from public means.
    Tempest,
    /// Jacobian augmentation of a substitute's training set.
    Jacobian,
    /// Equation solving.
    Equation,
    /// Path finding in a decision tree.
    TreePath,
    /// Adaptive retraining near the decision boundary.
    Active,
    /// Label-only membership inference.
    Membership,
    /// Rows with values left out, one after the other.
    Incomplete,
    /// Every value of two attributes of one person after the other.
    Inversion,
    /// Mutants of one case, bred by their scores.
    Genetic,
    /// Honest-looking rows; not distinguishable from use.
    Natural,
}

impl AttackKind {
    /// Every attack.
    pub const ALL: [Self; 19] = [
        Self::Grid,
        Self::OneAtATime,
        Self::LineSearch,
        Self::HopSkipJump,
        Self::Boundary,
        Self::Zoo,
        Self::SimBa,
        Self::Square,
        Self::Uniform,
        Self::Tempest,
        Self::Jacobian,
        Self::Equation,
        Self::TreePath,
        Self::Active,
        Self::Membership,
        Self::Incomplete,
        Self::Inversion,
        Self::Genetic,
        Self::Natural,
    ];

    /// The word on the command line and in the truth file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::OneAtATime => "one_at_a_time",
            Self::LineSearch => "line_search",
            Self::HopSkipJump => "hopskipjump",
            Self::Boundary => "boundary",
            Self::Zoo => "zoo",
            Self::SimBa => "simba",
            Self::Square => "square",
            Self::Uniform => "uniform",
            Self::Tempest => "tempest",
            Self::Jacobian => "jacobian",
            Self::Equation => "equation",
            Self::TreePath => "tree_path",
            Self::Active => "active",
            Self::Membership => "membership",
            Self::Incomplete => "incomplete",
            Self::Inversion => "inversion",
            Self::Genetic => "genetic",
            Self::Natural => "natural",
        }
    }

    /// What it is for.
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::HopSkipJump | Self::Boundary | Self::Zoo | Self::SimBa | Self::Square | Self::Genetic => "evasion",
            Self::Membership => "membership",
            Self::Inversion => "inversion",
            _ => "extraction",
        }
    }

    /// In a sentence that anybody understands.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Grid => "asks for every combination of evenly spaced values",
            Self::OneAtATime => "moves one feature after the other through its whole range",
            Self::LineSearch => "tries both extremes of a feature, then halves the distance until the answer flips",
            Self::HopSkipJump | Self::Boundary => "walks along the decision boundary towards a chosen case",
            Self::Zoo | Self::SimBa | Self::Square => "nudges one case a little in many directions",
            Self::Uniform => "asks for random values, evenly over all ranges",
            Self::Tempest => "asks for random values drawn round public averages",
            Self::Jacobian => "grows the training set of a copy along the copy's own gradients",
            Self::Equation => "collects enough independent equations to solve for the model's weights",
            Self::TreePath => "follows every path of a decision tree from answer to answer",
            Self::Active => "trains a copy and asks where the copy is least sure",
            Self::Membership => "tests round real people's rows whether they were in the training data",
            Self::Incomplete => "leaves out one value after the other to see which ones matter",
            Self::Inversion => "asks for every value of what a person keeps private",
            Self::Genetic => "breeds small changes of one case by how well they fool the model",
            Self::Natural => "asks with realistic rows, as anybody would",
        }
    }

    /// Runs it until the oracle's budget is spent or it has nothing left to ask.
    fn run(self, oracle: &mut Oracle<'_>) -> Option<()> {
        match self {
            Self::Grid => grid::run(oracle),
            Self::OneAtATime => one_at_a_time::run(oracle),
            Self::LineSearch => line_search::run(oracle),
            Self::HopSkipJump => boundary::hop_skip_jump(oracle),
            Self::Boundary => boundary::boundary(oracle),
            Self::Zoo => near_duplicate::zoo(oracle),
            Self::SimBa => near_duplicate::simba(oracle),
            Self::Square => near_duplicate::square(oracle),
            Self::Uniform => sampling::uniform(oracle),
            Self::Tempest => sampling::tempest(oracle),
            Self::Natural => sampling::natural(oracle),
            Self::Jacobian => jacobian::run(oracle),
            Self::Equation => equation::run(oracle),
            Self::TreePath => tree_path::run(oracle),
            Self::Active => active::run(oracle),
            Self::Membership => membership::run(oracle),
            Self::Incomplete => incomplete::run(oracle),
            Self::Inversion => inversion::run(oracle),
            Self::Genetic => genetic::run(oracle),
        }
    }
}

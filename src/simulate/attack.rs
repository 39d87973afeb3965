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

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::SimulateError;
use super::chance::normal;
use super::rows::Rows;
use super::spec::{KeyedSpec, fault};
use super::victim::{Answer, Victim};
use crate::event::Cell;
use crate::reference::Kind;

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
            Self::Inversion => "asks for every value of what somebody keeps to himself",
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

/// How queries follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// Several a second, as a script does.
    Fast,
    /// Regular gaps, spread over the rest of the scenario.
    Slow,
    /// Irregular gaps like a person's, spread over the rest of the scenario.
    Jitter,
}

/// Which accounts the queries carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accounts {
    /// One per address.
    PerAddress,
    /// The same everywhere.
    Shared,
    /// None.
    None,
}

/// An attack as asked for.
#[derive(Clone, PartialEq, Debug)]
pub struct AttackSpec {
    /// Which.
    pub family: AttackKind,
    /// Its own queries, cover not counted.
    pub queries: usize,
    /// Addresses it comes from.
    pub addresses: usize,
    /// Whether the addresses lie in one /24 (in as many as needed) rather than anywhere.
    pub same_subnet: bool,
    /// Accounts.
    pub accounts: Accounts,
    /// Hours after the start.
    pub start: f64,
    /// Pace.
    pub pace: Pace,
    /// Queries per minute over all addresses; the pace decides when 0.
    pub rate: f64,
    /// Share of honest-looking cover among all its queries, 0 to 0.95.
    pub cover: f64,
    /// Whether it hides as one account behind a NAT of honest users.
    pub nat: bool,
    /// Whether numbers keep all their digits instead of the feature's decimals.
    pub full_precision: bool,
}

// === impl AttackSpec ===

impl AttackSpec {
    /// Reads `FAMILY[:queries=N,ips=N,subnet=scatter|same24,account=per_ip|shared|none,start=H,pace=fast|slow|jitter,rate=PER_MINUTE,
    /// cover=SHARE,nat=no|yes,precision=schema|full]`.
    pub fn parse(text: &str) -> Result<Self, SimulateError> {
        let mut spec = KeyedSpec::new(text)?;
        let Some(family) = AttackKind::ALL.into_iter().find(|f| f.name() == spec.name()) else {
            return Err(fault(
                text,
                format!("there is no such attack; attacks are {}", AttackKind::ALL.map(AttackKind::name).join(", ")),
            ));
        };
        let parsed = Self {
            family,
            queries: spec.number("queries", 600.0, 1.0, 1e6)? as usize,
            addresses: spec.number("ips", 1.0, 1.0, 1e5)? as usize,
            same_subnet: spec.word("subnet", &["scatter", "same24"])? == 1,
            accounts: [Accounts::PerAddress, Accounts::Shared, Accounts::None]
                [spec.word("account", &["per_ip", "shared", "none"])?],
            start: spec.number("start", 9.0, 0.0, 9000.0)?,
            pace: [Pace::Fast, Pace::Slow, Pace::Jitter][spec.word("pace", &["fast", "slow", "jitter"])?],
            rate: spec.number("rate", 0.0, 0.0, 1e6)?,
            cover: spec.number("cover", 0.0, 0.0, 0.95)?,
            nat: spec.word("nat", &["no", "yes"])? == 1,
            full_precision: spec.word("precision", &["schema", "full"])? == 1,
        };
        spec.finish()?;
        if parsed.nat && parsed.addresses > 1 {
            return Err(fault(text, "nat=yes is one account behind one address; leave ips out".into()));
        }
        Ok(parsed)
    }

    /// The delivery in a word or two, for the truth file.
    pub fn delivery(&self) -> String {
        let base = match (self.nat, self.addresses, self.pace) {
            (true, ..) => "behind_nat",
            (_, 1, Pace::Fast) => "fast",
            (_, 1, Pace::Slow) => "slow",
            (_, 1, Pace::Jitter) => "jitter",
            (_, 2..=5, _) => "few",
            _ if self.same_subnet => "dist24",
            _ => "dist",
        };
        if self.cover > 0.0 { format!("{base}_cover") } else { base.to_string() }
    }
}

/// What an attack has: answers, public knowledge of the features, a few rows of its own, chance.
pub struct Oracle<'a> {
    victim: &'a dyn Victim,
    /// Features and their public ranges.
    pub rows: &'a Rows,
    /// Chance.
    pub rng: ChaCha8Rng,
    /// What was asked, in order.
    pub asked: Vec<Vec<Cell>>,
    budget: usize,
    full_precision: bool,
}

// === impl Oracle ===

impl<'a> Oracle<'a> {
    /// Runs an attack and returns what it asked, in order.
    pub fn record(spec: &AttackSpec, victim: &'a dyn Victim, rows: &'a Rows, seed: u64) -> Vec<Vec<Cell>> {
        let mut oracle = Self {
            victim,
            rows,
            rng: ChaCha8Rng::seed_from_u64(seed),
            asked: Vec::with_capacity(spec.queries),
            budget: spec.queries,
            full_precision: spec.full_precision,
        };
        // `None` is the ordinary end: the budget is spent.
        let _ = spec.family.run(&mut oracle);
        oracle.asked
    }

    /// Asks the victim; `None` once the budget is spent. Numbers are written as the client would write them, so the answer is to
    /// what was sent, not to what was meant.
    pub fn ask(&mut self, row: &[Cell]) -> Option<Answer> {
        if self.asked.len() >= self.budget {
            return None;
        }
        let sent = self.written(row);
        let answer = self.victim.answer(&sent);
        self.asked.push(sent);
        Some(answer)
    }

    fn written(&self, row: &[Cell]) -> Vec<Cell> {
        row.iter()
            .enumerate()
            .map(|(j, cell)| {
                let feature = &self.rows.features[j];
                match feature.kind {
                    Kind::Categorical => *cell,
                    _ if !cell.value().is_finite() => *cell,
                    Kind::Boolean => Cell::number(f64::from(u8::from(cell.value() > 0.5))),
                    // Nine significant digits are what a script prints of a float.
                    _ if self.full_precision => Cell::number(format!("{:.8e}", cell.value()).parse().unwrap_or(0.0)),
                    _ => self.rows.snap(j, cell.value()),
                }
            })
            .collect()
    }

    /// The class that an answer stands for.
    pub fn class(&self, answer: &Answer) -> usize {
        answer.class(self.victim.threshold())
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        self.rows.features.len()
    }

    /// A real row that the attacker has: a public data set, or his own case.
    pub fn real(&mut self) -> Vec<Cell> {
        self.rows.elsewhere(&mut self.rng)
    }

    /// The lowest and highest value that an attacker expects of a numeric feature.
    pub fn range(&self, j: usize) -> (f64, f64) {
        let feature = &self.rows.features[j];
        (feature.min, feature.max.max(feature.min + f64::MIN_POSITIVE))
    }

    /// Width of that range.
    pub fn extent(&self, j: usize) -> f64 {
        let (low, high) = self.range(j);
        high - low
    }

    /// A value drawn evenly from a feature's range or categories.
    pub fn anything(&mut self, j: usize) -> Cell {
        let feature = &self.rows.features[j];
        match feature.kind {
            Kind::Categorical => Cell::category(self.rng.random_range(0..feature.values.len().max(1))),
            Kind::Boolean => Cell::number(f64::from(u8::from(self.rng.random::<bool>()))),
            Kind::Discrete | Kind::Continuous => {
                let (low, high) = self.range(j);
                Cell::number(low + self.rng.random::<f64>() * (high - low))
            }
        }
    }

    /// A row of such values.
    pub fn noise(&mut self) -> Vec<Cell> {
        (0..self.width()).map(|j| self.anything(j)).collect()
    }

    /// Features that can be moved by small steps.
    pub fn movable(&self) -> Vec<usize> {
        self.rows.numeric()
    }

    /// A number kept within the feature's range.
    pub fn clamp(&self, j: usize, value: f64) -> Cell {
        let (low, high) = self.range(j);
        Cell::number(value.clamp(low, high))
    }

    /// A number moved by `step` spreads, but by one unit of its last decimal at least: a smaller step would be none.
    pub fn nudged(&self, j: usize, cell: Cell, step: f64) -> Cell {
        let unit = if self.full_precision { 0.0 } else { 10_f64.powi(-i32::from(self.rows.features[j].decimals)) };
        let step = step * self.rows.spread(j);
        self.clamp(j, cell.value() + step.signum() * step.abs().max(unit))
    }

    /// A standard normal number.
    pub fn normal(&mut self) -> f64 {
        normal(&mut self.rng)
    }

    /// `row` moved by `step` (in spreads of each feature) along `direction` over the `movable` features.
    pub fn moved(&self, row: &[Cell], movable: &[usize], direction: &[f64], step: f64) -> Vec<Cell> {
        let mut moved = row.to_vec();
        for (&j, d) in movable.iter().zip(direction) {
            moved[j] = self.clamp(j, row[j].value() + step * d * self.rows.spread(j));
        }
        moved
    }

    /// A direction of unit length.
    pub fn direction(&mut self, n: usize) -> Vec<f64> {
        let raw: Vec<f64> = (0..n).map(|_| self.normal()).collect();
        unit(&raw)
    }
}

/// A vector scaled to length 1; a zero vector stays.
pub fn unit(raw: &[f64]) -> Vec<f64> {
    let length = raw.iter().map(|v| v * v).sum::<f64>().sqrt();
    if length > 0.0 { raw.iter().map(|v| v / length).collect() } else { raw.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_can_be_named_and_read_back() {
        for family in AttackKind::ALL {
            assert_eq!(AttackSpec::parse(family.name()).map(|spec| spec.family), Ok(family));
        }
        assert!(AttackSpec::parse("telepathy").unwrap_err().to_string().contains("attacks are grid"));
        assert!(AttackSpec::parse("grid:nat=yes,ips=4").is_err());
    }
}

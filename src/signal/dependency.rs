//! Functional dependencies of the reference (destination → coordinates, education → years of education) and rows that break
//! them. An attacker that varies one column of such a pair rarely knows the other.
//!
//! A dependency is learned on one half of the sample and kept only if it holds on the other. A value counts as known from five rows
//! on. Approximate dependencies as in Kivinen and Mannila (1995).

use rustc_hash::FxHashMap;

use crate::event::Cell;
use crate::reference::Reference;
use crate::signal::quantise::TOLERANCE;

/// Rows that support a value before its image counts as known. Chosen: a value of two equally common images would be taken for known
/// with probability 2⁻⁴ = 6%, and the other half of the sample then refutes it.
const SUPPORT: u32 = 5;
/// Held-out rows on which a dependency is tested at least: the rule of three bounds the share of violations by 3/300 = [`MAX_VIOLATED`] when
/// none is seen.
const MIN_TESTED: usize = 300;
/// Share of violations, three rows added, up to which it holds. Chosen: a hundredth is dirt in the data.
const MAX_VIOLATED: f64 = 0.01;
/// Rows added to the violations seen: with none, the upper bound at 95% (the rule of three).
const NONE_SEEN: f64 = 3.0;
/// Share of a number's p1–p99 range within which two images are the same, as in [`super::quantise`].
const SAME_IMAGE: f64 = TOLERANCE;
/// A column with one value in more rows than this is trivially determined by everything.
const MAX_MODE: f64 = 0.5;

#[derive(Clone, Debug)]
struct Dependency {
    from: usize,
    to: usize,
    tolerance: f64,
    image: FxHashMap<u64, Cell>,
}

/// The dependencies of one reference.
#[derive(Clone, Debug, Default)]
pub struct Dependencies {
    list: Vec<Dependency>,
    /// Upper bound on the share of honest rows that break at least one.
    pub rate: f64,
}

/// Whether a row keeps the dependencies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// No dependency knows the row's values.
    Silent,
    /// All that know them hold.
    Kept,
    /// One is broken, by position: (from, to) features.
    Broken(usize, usize),
}

// === impl Dependencies ===

impl Dependencies {
    /// Learns the dependencies among the pairs that the reference knows to depend on each other.
    pub fn new(reference: &Reference) -> Self {
        let half = reference.sample.len() / 2;
        let (learn, test) = reference.sample.split_at(half);
        let mut list = Vec::new();
        for pair in &reference.pairs {
            for (from, to) in [(pair.a, pair.b), (pair.b, pair.a)] {
                list.extend(learn_one(reference, from, to, learn, test));
            }
        }
        let mut found = Self { list, rate: 0.0 };
        let violated = test.iter().filter(|row| matches!(found.check(row), Check::Broken(..))).count() as f64;
        found.rate = (violated + 2.0 * violated.sqrt() + NONE_SEEN) / test.len().max(1) as f64;
        found
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Checks a row.
    pub fn check(&self, row: &[Cell]) -> Check {
        let mut known = Check::Silent;
        for dependency in &self.list {
            if let Some(image) = dependency.image.get(&row[dependency.from].bits()) {
                known = Check::Kept;
                if differs(*image, row[dependency.to], dependency.tolerance) {
                    return Check::Broken(dependency.from, dependency.to);
                }
            }
        }
        known
    }
}

/// Whether two values differ. Missing values break nothing: drift and structure evidence look at them.
fn differs(a: Cell, b: Cell, tolerance: f64) -> bool {
    !b.is_missing() && a.bits() != b.bits() && ((a.value() - b.value()).abs() > tolerance || b.is_unreadable())
}

fn learn_one(reference: &Reference, from: usize, to: usize, learn: &[Vec<Cell>], test: &[Vec<Cell>]) -> Option<Dependency> {
    let feature = &reference.features[to];
    let most = feature_mode(reference, to);
    if most > MAX_MODE * reference.sample.len() as f64 {
        return None;
    }
    let tolerance = if feature.is_numeric() { SAME_IMAGE * (feature.p99 - feature.p01).abs() } else { 0.0 };
    let mut seen: FxHashMap<u64, (u32, Cell, bool)> = FxHashMap::default();
    for row in learn {
        let entry = seen.entry(row[from].bits()).or_insert((0, row[to], false));
        entry.0 += 1;
        entry.2 |= differs(entry.1, row[to], tolerance);
    }
    let image: FxHashMap<u64, Cell> = seen
        .into_iter()
        .filter(|(_, (count, to, broken))| *count >= SUPPORT && !broken && !to.is_missing())
        .map(|(from, (_, to, _))| (from, to))
        .collect();
    let known: Vec<bool> =
        test.iter().filter_map(|row| image.get(&row[from].bits()).map(|to_cell| differs(*to_cell, row[to], tolerance))).collect();
    let violated = known.iter().filter(|broken| **broken).count() as f64;
    let holds = known.len() >= MIN_TESTED && (violated + NONE_SEEN) / known.len() as f64 <= MAX_VIOLATED;
    holds.then_some(Dependency { from, to, tolerance, image })
}

fn feature_mode(reference: &Reference, feature: usize) -> f64 {
    let mut counts: FxHashMap<u64, u32> = FxHashMap::default();
    for row in &reference.sample {
        *counts.entry(row[feature].bits()).or_default() += 1;
    }
    counts.values().copied().max().map_or(0.0, f64::from)
}

//! New honest rows from the profile's bounded sample.
//!
//! A stream that only repeated the sample's rows would be full of exact repeats, and rows drawn feature by feature would lose the
//! dependence between features, which is itself evidence of probing. So a fresh row is one of the sample's, kept as it is or
//! blended with a *near* row: whole groups of dependent features (education with education_num, a destination with its
//! coordinates) come over together, and measurements with few repeats move a part of the way.
//!
//! A client's own sub-population is a window in a random ordering of the sample. Windows lie on a circle, so that over many
//! clients every row is equally likely and the marginals of the whole stream stay those of the reference.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rustc_hash::FxHashSet;

use super::chance::{normal, stream};
use crate::event::Cell;
use crate::hash::mix2;
use crate::reference::{Feature, Kind, Reference};

/// Random orderings of the sample; several, so that clients differ in more than one direction.
const ORDERINGS: usize = 12;
/// Rows looked at to find a near one: the nearest of 32 lies in the nearest three percent, near enough to keep the dependence and
/// far enough not to breed twins.
const CANDIDATES: usize = 32;
/// Versions of a sample row that are about in the world. More would look like clouds round one point.
const VERSIONS: u64 = 4;
/// So many of the versions are the row itself; real logs repeat rows as well.
const VERBATIM: u64 = 2;
/// Rows of the sample that are tried for one that can be blended with another.
const TRIES: usize = 64;
/// A pair of features whose information is at least this share of the smaller entropy moves together.
const TOGETHER: f64 = 0.25;
/// A number is a measurement (few repeats) if it has at least this many distinct values per row of the sample.
const MEASUREMENT: f64 = 0.5;
/// A blended row differs from its origins in at least this many features (and a third of them); otherwise it would look like a
/// deliberate edit.
const MIN_CHANGED: usize = 3;

/// The sample, made ready for drawing.
#[derive(Debug)]
pub struct Rows {
    /// Features in schema order.
    pub features: Vec<Feature>,
    /// The sample.
    pub sample: Vec<Vec<Cell>>,
    /// Position of each value among the feature's values, 0 to 1, by row and feature; categories keep their index.
    ranks: Vec<Vec<f32>>,
    /// Sorted numbers by feature; empty for categories.
    sorted: Vec<Vec<f64>>,
    /// Standard deviation by feature, robust against atoms; 0 for categories.
    spread: Vec<f64>,
    orderings: Vec<Vec<u32>>,
    groups: Vec<Vec<usize>>,
    measurement: Vec<bool>,
    salt: u64,
}

/// The part of the world that a client lives in: its own sub-population.
#[derive(Clone, Debug)]
pub struct Subpopulation {
    /// Which ordering of the sample.
    pub ordering: usize,
    /// Where its window begins.
    pub from: usize,
    /// Share of the world left out, 0 to below 1.
    pub narrow: f64,
    /// Which version of a row this client knows.
    pub salt: u64,
    used: FxHashSet<u32>,
}

// === impl Rows ===

impl Rows {
    /// Prepares the sample of a profile.
    pub fn new(reference: &Reference, seed: u64) -> Self {
        let width = reference.features.len();
        let mut sorted: Vec<Vec<f64>> = vec![Vec::new(); width];
        for (j, column) in sorted.iter_mut().enumerate() {
            if reference.features[j].is_numeric() {
                column.extend(reference.sample.iter().map(|row| row[j].value()).filter(|v| v.is_finite()));
                column.sort_by(f64::total_cmp);
            }
        }
        let ranks = reference
            .sample
            .iter()
            .map(|row| {
                let rank = |j: usize| match sorted[j].len() {
                    0 => row[j].value() as f32,
                    n => (sorted[j].partition_point(|&v| v < row[j].value()) as f64 / n as f64) as f32,
                };
                (0..width).map(rank).collect()
            })
            .collect();
        let spread = (0..width).map(|j| spread(&reference.features[j], &sorted[j])).collect();
        let distinct = |column: &[f64]| 1 + column.windows(2).filter(|w| w[0] < w[1]).count();
        let measurement = (0..width)
            .map(|j| {
                reference.features[j].kind == Kind::Continuous
                    && distinct(&sorted[j]) as f64 >= MEASUREMENT * sorted[j].len().max(1) as f64
            })
            .collect();
        let mut rows = Self {
            features: reference.features.clone(),
            sample: reference.sample.clone(),
            ranks,
            sorted,
            spread,
            orderings: Vec::new(),
            groups: groups(reference),
            measurement,
            salt: mix2(seed, stream::ROW_VERSIONS),
        };
        let mut rng = ChaCha8Rng::seed_from_u64(mix2(seed, stream::ORDERINGS));
        rows.orderings = (0..ORDERINGS).map(|_| rows.ordering(&mut rng)).collect();
        rows
    }

    /// Number of sample rows.
    pub fn len(&self) -> usize {
        self.sample.len()
    }

    /// Whether there is no sample row.
    pub fn is_empty(&self) -> bool {
        self.sample.is_empty()
    }

    /// How many orderings there are to live in.
    pub fn orderings(&self) -> usize {
        self.orderings.len()
    }

    /// Standard deviation of a feature's numbers; 0 for categories.
    pub fn spread(&self, feature: usize) -> f64 {
        self.spread[feature]
    }

    /// Position of a value among a feature's honest numbers, 0 to 1.
    pub fn rank(&self, feature: usize, cell: Cell) -> f64 {
        let column = &self.sorted[feature];
        column.partition_point(|&v| v < cell.value()) as f64 / column.len().max(1) as f64
    }

    /// The number at a position, the inverse of [`Rows::rank`]; 0 where the feature has no numbers.
    pub fn quantile(&self, feature: usize, q: f64) -> f64 {
        let column = &self.sorted[feature];
        let at = (q.clamp(0.0, 1.0) * column.len().saturating_sub(1) as f64).round() as usize;
        column.get(at).copied().unwrap_or(0.0)
    }

    /// Numeric features with more than two values, in schema order.
    pub fn numeric(&self) -> Vec<usize> {
        (0..self.features.len()).filter(|&j| matches!(self.features[j].kind, Kind::Continuous | Kind::Discrete)).collect()
    }

    /// An honest row for a client. Asked for the same case again, a client sends exactly the same row.
    pub fn draw(&self, rng: &mut ChaCha8Rng, place: &mut Subpopulation) -> Vec<Cell> {
        let n = self.sample.len();
        let window = ((1.0 - place.narrow) * n as f64).max(MIN_WINDOW.min(n) as f64) as usize;
        let ordering = &self.orderings[place.ordering % self.orderings.len()];
        let mut index = 0;
        // A person rarely asks for the same case twice: try to find one not yet used.
        for _ in 0..8 {
            index = ordering[(place.from + rng.random_range(0..window)) % n] as usize;
            if place.unused(index as u32) {
                break;
            }
        }
        place.use_up(index as u32, window);
        let version = mix2(place.salt, index as u64) % VERSIONS;
        if version < VERBATIM { None } else { self.blend(index, version) }.unwrap_or_else(|| self.sample[index].clone())
    }

    /// A row that no client sends, if there is one: the attacker's own case, or one of a public data set.
    pub fn elsewhere(&self, rng: &mut ChaCha8Rng) -> Vec<Cell> {
        let mut index = 0;
        for _ in 0..TRIES {
            index = rng.random_range(0..self.sample.len());
            if let Some(row) = self.blend(index, VERSIONS + rng.random_range(0..VERSIONS << 32)) {
                return row;
            }
        }
        self.sample[index].clone()
    }

    /// A version of a row: the same number always gives the same row. `None` of a row that too little is like.
    fn blend(&self, index: usize, version: u64) -> Option<Vec<Cell>> {
        let mut rng = ChaCha8Rng::seed_from_u64(mix2(self.salt ^ version, index as u64));
        let least = MIN_CHANGED.max(self.features.len() / 3).min(self.features.len());
        for _ in 0..6 {
            let donor = self.near(&mut rng, index);
            let part = rng.random_range(0.1..0.4);
            let mut row = self.sample[index].clone();
            for group in &self.groups {
                let over = rng.random::<f64>() < 0.5;
                for &j in group {
                    let (own, other) = (self.sample[index][j], self.sample[donor][j]);
                    if self.measurement[j] && own.value().is_finite() && other.value().is_finite() {
                        row[j] = self.snap(j, own.value() + part * (other.value() - own.value()));
                    } else if over {
                        row[j] = other;
                    }
                }
            }
            let changed = row.iter().zip(&self.sample[index]).filter(|(a, b)| a.bits() != b.bits()).count();
            let twin = row.iter().zip(&self.sample[donor]).filter(|(a, b)| a.bits() != b.bits()).count();
            if changed >= least && twin >= MIN_CHANGED {
                return Some(row);
            }
        }
        None
    }

    /// A row near another: the nearest of a few at random.
    pub fn near(&self, rng: &mut ChaCha8Rng, index: usize) -> usize {
        let mut best = (f32::INFINITY, index);
        for _ in 0..CANDIDATES {
            let other = rng.random_range(0..self.sample.len());
            let distance = self.distance(index, other);
            if other != index && distance < best.0 {
                best = (distance, other);
            }
        }
        best.1
    }

    fn distance(&self, a: usize, b: usize) -> f32 {
        let mut sum = 0.0;
        for (j, (x, y)) in self.ranks[a].iter().zip(&self.ranks[b]).enumerate() {
            sum += match self.features[j].kind {
                Kind::Categorical if x.to_bits() == y.to_bits() => 0.0,
                // Unequal categories are as far apart as two numbers drawn at random.
                Kind::Categorical => 0.33,
                _ if x.is_nan() || y.is_nan() => 0.33,
                _ => (x - y).abs(),
            };
        }
        sum
    }

    /// A number as the feature writes it: rounded to its decimals.
    pub fn snap(&self, feature: usize, value: f64) -> Cell {
        let scale = 10_f64.powi(i32::from(self.features[feature].decimals));
        Cell::number((value * scale).round() / scale)
    }

    fn ordering(&self, rng: &mut ChaCha8Rng) -> Vec<u32> {
        // A random direction; few features dominate it, so that clients differ visibly in something.
        let weights: Vec<f64> = self.features.iter().map(|_| normal(rng).powi(3)).collect();
        let salt: u64 = rng.random();
        let mut keyed: Vec<(f64, u32)> = (0..self.sample.len())
            .map(|i| {
                let mut sum = 0.0;
                for (j, weight) in weights.iter().enumerate() {
                    let place = match self.features[j].kind {
                        Kind::Categorical => mix2(salt ^ j as u64, self.sample[i][j].bits()) as f64 / u64::MAX as f64,
                        _ if self.ranks[i][j].is_nan() => 0.5,
                        _ => f64::from(self.ranks[i][j]),
                    };
                    sum += weight * place;
                }
                (sum, i as u32)
            })
            .collect();
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        keyed.into_iter().map(|(_, i)| i).collect()
    }
}

// === impl Subpopulation ===

impl Subpopulation {
    /// The whole world.
    pub fn everywhere() -> Self {
        Self { ordering: 0, from: 0, narrow: 0.0, salt: 0, used: FxHashSet::default() }
    }

    /// A random part of the world; a client with many queries has a wider one.
    pub fn random(rng: &mut ChaCha8Rng, rows: &Rows, heterogeneity: f64, per_day: f64) -> Self {
        // Sixty queries a day leave half of the narrowness: volume comes from variety.
        let narrow = heterogeneity.clamp(0.0, 0.98) / (1.0 + per_day / 60.0).sqrt() * rng.random_range(0.5..1.0);
        Self {
            ordering: rng.random_range(0..rows.orderings()),
            from: rng.random_range(0..rows.len()),
            narrow,
            salt: rng.random(),
            used: FxHashSet::default(),
        }
    }

    /// Whether a row has not been asked for lately.
    pub fn unused(&self, index: u32) -> bool {
        !self.used.contains(&index)
    }

    /// Remembers a row; forgets everything once most of the window was used. The sample bounds the memory.
    pub fn use_up(&mut self, index: u32, window: usize) {
        if self.used.len() >= window * 3 / 4 {
            self.used.clear();
        }
        self.used.insert(index);
    }
}

/// Fewest rows in a client's window: below that its queries would repeat themselves.
const MIN_WINDOW: usize = 60;

fn spread(feature: &Feature, sorted: &[f64]) -> f64 {
    if sorted.is_empty() {
        return 0.0;
    }
    let n = sorted.len() as f64;
    let mean = sorted.iter().sum::<f64>() / n;
    let sd = (sorted.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    if sd > 0.0 { sd } else { (feature.max - feature.min).max(1.0) }
}

/// Groups of features that depend on each other strongly: connected components over the profile's pairs.
fn groups(reference: &Reference) -> Vec<Vec<usize>> {
    let width = reference.features.len();
    let mut root: Vec<usize> = (0..width).collect();
    for pair in &reference.pairs {
        let (a, b) = (crate::reference::fit::coarse_codes(&reference.features[pair.a]), pair.counts.len());
        let columns = b / a.max(1);
        let (mut by_a, mut by_b) = (vec![0.0; a], vec![0.0; columns.max(1)]);
        for (i, &count) in pair.counts.iter().enumerate() {
            by_a[i / columns.max(1)] += f64::from(count);
            by_b[i % columns.max(1)] += f64::from(count);
        }
        let least = entropy(&by_a).min(entropy(&by_b));
        if least > 0.0 && pair.information / least >= TOGETHER {
            let (from, to) = (root[pair.a], root[pair.b]);
            for r in &mut root {
                if *r == from {
                    *r = to;
                }
            }
        }
    }
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); width];
    for (j, &r) in root.iter().enumerate() {
        groups[r].push(j);
    }
    groups.retain(|group| !group.is_empty());
    groups
}

fn entropy(counts: &[f64]) -> f64 {
    let total: f64 = counts.iter().sum();
    counts.iter().filter(|&&c| c > 0.0).map(|c| -c / total * (c / total).ln()).sum()
}

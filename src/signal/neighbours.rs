//! Finds rows that are near a new one, among everybody's recent rows or in the reference, in time that does not depend on how
//! many there are.
//!
//! Two kinds of hash lead to candidates, all salted per deployment so that collisions cannot be computed outside:
//! * *masked hashes*: one per group of features, of the row without that group. Rows that differ within one group share one of
//!   them exactly, whatever the difference (the idea of deletion neighbourhoods, Mor and Fraenkel 1982). A hash per feature
//!   is kept as long as there are few; a wide model's groups of two or more find the same edits, since most of what tells rows
//!   apart lies outside each;
//! * *projections*: random halves of the features, numbers quantised by quantile with a random shift (locality-sensitive
//!   hashing, Indyk and Motwani 1998). Rows that differ a little in many features share some of them.

use crate::event::Cell;
use crate::hash::mix;
use crate::reference::Reference;
use crate::signal::entropy;
use crate::signal::guide::Guide;
use crate::window::index::Sightings;

/// Random projections. Eight halves find a pair that agrees in 90% of the quantised features with probability above 0.9 at d = 14.
const PROJECTIONS: usize = 8;
/// Quantile cells per number within a projection: a sixth of the mass moves together.
const QUANTILE_CELLS: f64 = 6.0;
/// Features in a projection at most: beyond it natural neighbours would stop colliding.
const MAX_PROJECTED: usize = 20;
/// Knots of the quantile function, and cells of the grid in which they are looked up.
const KNOTS: usize = 32;
const KNOT_CELLS: usize = 64;

/// Groups of features for masked hashes, at most: what is remembered of a row grows with them, not with its features. Eight
/// groups of fourteen features lost a tenth of the addresses of slow edits, by naming natural neighbours instead.
const GROUPS: usize = 16;

/// Hashes of one row, reused between rows.
#[derive(Clone, Debug, Default)]
pub struct RowHashes {
    /// Hash of each cell.
    pub tokens: Vec<u64>,
    /// Hash of the whole row.
    pub whole: u64,
    keys: Vec<u64>,
    positions: Vec<f64>,
}

/// Hash functions of one deployment.
#[derive(Clone, Debug)]
pub struct Hasher {
    salts: Vec<u64>,
    groups: Vec<u8>,
    subsets: Vec<Vec<(u16, f64)>>,
    seeds: Vec<u64>,
    knots: Vec<Knots>,
}

/// The quantile function of a number; empty for what has none.
#[derive(Clone, Debug)]
struct Knots {
    ascending: Vec<f64>,
    guide: Guide,
}

// === impl Hasher ===

impl Hasher {
    /// Hash functions for the features of a reference under a salt.
    pub fn new(reference: &Reference, salt: u64) -> Self {
        let width = reference.features.len();
        let half = (width as f64 * 0.5).round() as usize;
        let size = if width > 32 { MAX_PROJECTED } else { half.max(width.min(4)) };
        let mut state = mix(salt ^ 777);
        let mut next = move || {
            state = mix(state);
            state
        };
        let subsets = (0..PROJECTIONS)
            .map(|_| {
                let mut order: Vec<u16> = (0..width as u16).collect();
                for j in (1..width).rev() {
                    order.swap(j, (next() % (j as u64 + 1)) as usize);
                }
                order.truncate(size);
                order.into_iter().map(|j| (j, (next() >> 11) as f64 / (1_u64 << 53) as f64)).collect()
            })
            .collect();
        Self {
            salts: (0..width as u64).map(|j| mix(salt ^ (j + 1000))).collect(),
            groups: groups(reference),
            subsets,
            seeds: (0..PROJECTIONS as u64).map(|t| mix(salt ^ (t + 5_000_000))).collect(),
            knots: (0..width).map(|j| Knots::new(reference, j)).collect(),
        }
    }

    /// Computes all hashes of a row: the whole one, a masked one a group, and [`PROJECTIONS`] projected ones.
    pub fn hash(&self, row: &[Cell], out: &mut RowHashes) {
        out.tokens.clear();
        out.keys.clear();
        out.whole = 0;
        let mut masked = [0_u64; GROUPS];
        for ((cell, salt), &group) in row.iter().zip(&self.salts).zip(&self.groups) {
            let token = mix(cell.bits() ^ salt);
            out.whole ^= token;
            masked[usize::from(group) % GROUPS] ^= token;
            out.tokens.push(token);
        }
        out.keys.push(out.whole);
        let used = self.groups.len().min(GROUPS);
        // Tokens are mixed already, and so is their exclusive or.
        out.keys.extend(masked[..used].iter().map(|group| out.whole ^ group));
        out.positions.clear();
        out.positions.extend(row.iter().zip(&self.knots).map(|(cell, knots)| knots.position(*cell)));
        for (subset, seed) in self.subsets.iter().zip(&self.seeds) {
            let mut key = *seed;
            for &(j, shift) in subset {
                let at = out.positions[usize::from(j)];
                // What is no number, or has no quantiles, counts by its token.
                let cell = if at >= 0.0 { (at + shift) as u64 } else { out.tokens[usize::from(j)] };
                key = (key ^ cell).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
            }
            out.keys.push(mix(key));
        }
    }

    /// Entries that one row needs in a [`Sightings`] table.
    pub fn keys_per_row(&self) -> usize {
        self.groups.len().min(GROUPS) + PROJECTIONS + 1
    }
}

impl RowHashes {
    /// Asks for what [`RowHashes::find`] will need.
    #[inline]
    pub fn warm(&self, table: &Sightings) {
        table.warm(&self.keys);
    }

    /// Looks every hash up; calls `found` with each row.
    #[inline]
    pub fn find(&self, table: &Sightings, mut found: impl FnMut(u32)) {
        for &key in &self.keys {
            if let Some(row) = table.find(key) {
                found(row);
            }
        }
    }

    /// Row with exactly the same cells (up to a hash collision), if any.
    #[inline]
    pub fn find_same(&self, table: &Sightings) -> Option<u32> {
        table.find(self.whole)
    }

    /// Notes the row under every hash.
    #[inline]
    pub fn note(&self, table: &mut Sightings, row: u32) {
        for &key in &self.keys {
            table.note(key, row);
        }
    }

    /// Notes the row under its whole hash alone.
    #[inline]
    pub fn note_same(&self, table: &mut Sightings, row: u32) {
        table.note(self.whole, row);
    }
}

/// Deals the features out to groups, the most telling first, to and fro, so that every group hides about as much.
fn groups(reference: &Reference) -> Vec<u8> {
    let width = reference.features.len();
    let count = width.clamp(1, GROUPS);
    let telling: Vec<f64> =
        reference.features.iter().map(|f| entropy::corrected(f.counts.iter().copied(), f.counts.len())).collect();
    let mut order: Vec<usize> = (0..width).collect();
    order.sort_by(|&a, &b| telling[b].total_cmp(&telling[a]).then(a.cmp(&b)));
    let mut groups = vec![0; width];
    for (place, j) in order.into_iter().enumerate() {
        let (round, at) = (place / count, place % count);
        groups[j] = if round % 2 == 0 { at } else { count - 1 - at } as u8;
    }
    groups
}

// === impl Knots ===

impl Knots {
    fn new(reference: &Reference, j: usize) -> Self {
        let numeric = reference.features[j].is_numeric();
        let column = reference.sample.iter().map(|row| row[j].value()).filter(|value| numeric && value.is_finite());
        let mut column: Vec<f64> = column.collect();
        column.sort_by(f64::total_cmp);
        let quantile = |q: usize| column.get((q * column.len() / KNOTS).min(column.len().saturating_sub(1)));
        let ascending: Vec<f64> = (0..=KNOTS).filter_map(|q| quantile(q).copied()).collect();
        Self { guide: Guide::new(&ascending, KNOT_CELLS), ascending }
    }

    /// Position of a value within the reference's distribution in quantile cells, 0 to [`QUANTILE_CELLS`], linear between knots;
    /// negative for what has none.
    #[inline]
    fn position(&self, cell: Cell) -> f64 {
        let value = cell.value();
        let knots = &self.ascending;
        let (Some(&first), Some(&end)) = (knots.first(), knots.last()) else { return -1.0 };
        if !value.is_finite() {
            return -1.0;
        }
        if value <= first {
            return 0.0;
        }
        if value >= end {
            return QUANTILE_CELLS;
        }
        let around = self.guide.around(value);
        let low = around.start + knots[around].partition_point(|&k| k <= value) - 1;
        let width = knots[low + 1] - knots[low];
        let part = if width > 0.0 { (value - knots[low]) / width } else { 0.0 };
        (low as f64 + part) / (knots.len() - 1) as f64 * QUANTILE_CELLS
    }
}

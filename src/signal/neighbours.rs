//! Finds rows that are near a new one, among everybody's recent rows or in the reference, in time that does not depend on how
//! many there are.
//!
//! Two kinds of hash lead to candidates, all salted per deployment so that collisions cannot be computed outside:
//! * *masked hashes*: one per feature, of the row without that feature. Rows that differ in one feature share one of them
//!   exactly, whatever the difference (the idea of deletion neighbourhoods, Mor and Fraenkel 1982);
//! * *projections*: eight random halves of the features, numbers quantised by quantile with a random shift (locality-sensitive
//!   hashing, Indyk and Motwani 1998). Rows that differ a little in many features share some of them.

use crate::event::Cell;
use crate::hash::{mix, mix2};
use crate::reference::Reference;
use crate::signal::similarity::row_tokens;
use crate::window::history::Sightings;

/// Random projections. Eight halves find a pair that agrees in 90% of the quantised features with probability above 0.9 at d = 14.
const PROJECTIONS: usize = 8;
/// Quantile cells per number within a projection: a sixth of the mass moves together.
const QUANTILE_CELLS: f64 = 6.0;
/// Features in a projection at most: beyond it natural neighbours would stop colliding.
const MAX_PROJECTED: usize = 20;
/// Knots of the quantile function.
const KNOTS: usize = 32;

/// Hashes of one row, reused between rows.
#[derive(Clone, Debug, Default)]
pub struct RowHashes {
    /// Hash of each cell.
    pub tokens: Vec<u64>,
    /// Hash of the whole row.
    pub whole: u64,
    keys: Vec<u64>,
}

/// Hash functions of one deployment.
#[derive(Clone, Debug)]
pub struct Hasher {
    salt: u64,
    subsets: Vec<Vec<(usize, f64)>>,
    knots: Vec<Vec<f64>>,
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
                let mut order: Vec<usize> = (0..width).collect();
                for j in (1..width).rev() {
                    order.swap(j, (next() % (j as u64 + 1)) as usize);
                }
                order.truncate(size);
                order.into_iter().map(|j| (j, (next() >> 11) as f64 / (1_u64 << 53) as f64)).collect()
            })
            .collect();
        Self { salt, subsets, knots: (0..width).map(|j| knots(reference, j)).collect() }
    }

    /// Computes all hashes of a row: d masked ones and [`PROJECTIONS`] projected ones.
    pub fn hash(&self, row: &[Cell], out: &mut RowHashes) {
        out.tokens.resize(self.knots.len(), 0);
        out.whole = row_tokens(row, self.salt, &mut out.tokens);
        out.keys.clear();
        for (j, token) in out.tokens.iter().enumerate() {
            out.keys.push(mix2(out.whole ^ token, self.salt ^ (j as u64 + 1)));
        }
        for (t, subset) in self.subsets.iter().enumerate() {
            let mut key = mix(self.salt ^ (t as u64 + 5_000_000));
            for &(j, shift) in subset {
                key = (key ^ self.quantised(j, row[j], shift)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
            }
            out.keys.push(mix(key));
        }
    }

    fn quantised(&self, j: usize, cell: Cell, shift: f64) -> u64 {
        let knots = &self.knots[j];
        if knots.is_empty() || cell.is_missing() || cell.is_unreadable() {
            return cell.bits();
        }
        ((quantile_position(knots, cell.value()) * QUANTILE_CELLS + shift) as u64).wrapping_add(1)
    }

    /// Entries that one row needs in a [`Sightings`] table.
    pub fn keys_per_row(&self) -> usize {
        self.knots.len() + PROJECTIONS + 1
    }
}

impl RowHashes {
    /// Looks every hash up; calls `found` with each row (low 32 bits).
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
        table.find(mix(self.whole))
    }

    /// Notes the row under every hash.
    #[inline]
    pub fn note(&self, table: &mut Sightings, row: u32) {
        for &key in &self.keys {
            table.note(key, row);
        }
        self.note_same(table, row);
    }

    /// Notes the row under its whole hash alone.
    #[inline]
    pub fn note_same(&self, table: &mut Sightings, row: u32) {
        table.note(mix(self.whole), row);
    }
}

fn knots(reference: &Reference, j: usize) -> Vec<f64> {
    if !reference.features[j].is_numeric() {
        return Vec::new();
    }
    let mut column: Vec<f64> = reference.sample.iter().map(|row| row[j].value()).filter(|v| v.is_finite()).collect();
    if column.is_empty() {
        return Vec::new();
    }
    column.sort_by(f64::total_cmp);
    (0..=KNOTS).map(|q| column[(q * column.len() / KNOTS).min(column.len() - 1)]).collect()
}

/// Position of a value within the reference's distribution, 0 to 1, linear between knots.
fn quantile_position(knots: &[f64], value: f64) -> f64 {
    let last = knots.len() - 1;
    if value <= knots[0] {
        return 0.0;
    }
    if value >= knots[last] {
        return 1.0;
    }
    let low = knots.partition_point(|&k| k <= value) - 1;
    let width = knots[low + 1] - knots[low];
    let part = if width > 0.0 { (value - knots[low]) / width } else { 0.0 };
    (low as f64 + part) / last as f64
}

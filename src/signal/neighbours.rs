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
use crate::reference::{Feature, Reference, code};
use crate::signal::entropy;
use crate::window::index::RowIndex;

/// Random projections. Eight halves find a pair that agrees in 90% of the quantised features with probability above 0.9 at d = 14.
const PROJECTIONS: usize = 8;
/// Quantile cells per number within a projection: a sixth of the mass moves together.
const QUANTILE_CELLS: u32 = 6;
/// Features in a projection at most: beyond it natural neighbours would stop colliding.
const MAX_PROJECTED: usize = 20;
/// Bits of a position behind the point.
const PARTS: u32 = 16;
/// All of a distribution's mass in [`PARTS`] of a quantile cell.
const WHOLE: f64 = (QUANTILE_CELLS << PARTS) as f64;

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
    projected: Vec<Projected>,
}

/// What a projection makes of a cell: the number of the quantile cell that the value lies in, once the cells are shifted.
#[derive(Clone, Copy, Debug)]
struct Projected {
    /// Position in quantile cells, in [`PARTS`]; a token for what has none.
    at: u64,
    /// All bits if the position is shifted, none if it is a token.
    shifted: u64,
}

/// Hash functions of one deployment.
#[derive(Clone, Debug)]
pub struct Hasher {
    salts: Vec<u64>,
    groups: Vec<u8>,
    /// Features of all projections, one after the other, each with its shift in [`PARTS`] of a cell.
    subsets: Vec<(u16, u16)>,
    /// Features of one projection.
    size: usize,
    seeds: Vec<u64>,
    quantiles: Vec<Quantiles>,
}

/// Where the values of a number lie in its distribution, 0 to [`QUANTILE_CELLS`] in [`PARTS`]; of a category there is none.
#[derive(Clone, Debug, Default)]
struct Quantiles {
    /// The middle of the mass of each code: its bins, what lies below and what lies above.
    middles: Vec<u32>,
    /// Values of a discrete number, ascending.
    support: Vec<f64>,
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
            .flat_map(|_| {
                let mut order: Vec<u16> = (0..width as u16).collect();
                for j in (1..width).rev() {
                    order.swap(j, (next() % (j as u64 + 1)) as usize);
                }
                order.truncate(size);
                order.into_iter().map(|j| (j, (next() >> (u64::BITS - PARTS)) as u16)).collect::<Vec<_>>()
            })
            .collect();
        Self {
            salts: (0..width as u64).map(|j| mix(salt ^ (j + 1000))).collect(),
            groups: groups(reference),
            subsets,
            size: size.max(1),
            seeds: (0..PROJECTIONS as u64).map(|t| mix(salt ^ (t + 5_000_000))).collect(),
            quantiles: reference.features.iter().map(Quantiles::new).collect(),
        }
    }

    /// Computes all hashes of a row, of which `codes` are the [`Feature::code`]s: the whole one, a masked one a group, and
    /// [`PROJECTIONS`] projected ones.
    pub fn hash(&self, row: &[Cell], codes: &[u16], out: &mut RowHashes) {
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
        out.projected.clear();
        let cells = row.iter().zip(codes).zip(&self.quantiles).zip(&out.tokens);
        out.projected.extend(cells.map(|(((cell, &code), quantiles), &token)| match quantiles.position(cell.value(), code) {
            Some(at) => Projected { at, shifted: u64::MAX },
            None => Projected { at: token, shifted: 0 },
        }));
        for (subset, seed) in self.subsets.chunks_exact(self.size).zip(&self.seeds) {
            let mut key = *seed;
            for &(j, shift) in subset {
                let Projected { at, shifted } = out.projected[usize::from(j)];
                let cell = at.wrapping_add(u64::from(shift) & shifted) >> PARTS;
                key = (key ^ cell).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
            }
            out.keys.push(mix(key));
        }
    }

    /// Entries that one row needs in a [`RowIndex`] table.
    pub fn keys_per_row(&self) -> usize {
        self.groups.len().min(GROUPS) + PROJECTIONS + 1
    }
}

impl RowHashes {
    /// Asks for what [`RowHashes::find`] will need.
    #[inline]
    pub fn prefetch(&self, table: &RowIndex) {
        table.prefetch(&self.keys);
    }

    /// Looks every hash up; calls `found` with each row.
    #[inline]
    pub fn find(&self, table: &RowIndex, mut found: impl FnMut(u32)) {
        for &key in &self.keys {
            if let Some(row) = table.find(key) {
                found(row);
            }
        }
    }

    /// Row with exactly the same cells (up to a hash collision), if any.
    #[inline]
    pub fn find_same(&self, table: &RowIndex) -> Option<u32> {
        table.find(self.whole)
    }

    /// Notes the row under every hash.
    #[inline]
    pub fn note(&self, table: &mut RowIndex, row: u32) {
        for &key in &self.keys {
            table.note(key, row);
        }
    }

    /// Notes the row under its whole hash alone.
    #[inline]
    pub fn note_same(&self, table: &mut RowIndex, row: u32) {
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

// === impl Quantiles ===

impl Quantiles {
    fn new(feature: &Feature) -> Self {
        if !feature.is_numeric() {
            return Self::default();
        }
        let own = feature.bins();
        let total = feature.counts.iter().take(own).sum::<u64>().max(1) as f64;
        let mut below = 0.0;
        let middle = |&count: &u64| {
            let share = WHOLE * count as f64 / total;
            below += share;
            parts(below - share / 2.0)
        };
        let mut middles: Vec<u32> = feature.counts.iter().take(own).map(middle).collect();
        middles.resize(feature.codes(), 0);
        middles[own + code::ABOVE] = parts(WHOLE);
        Self { middles, support: feature.support.clone() }
    }

    /// Position of a value; `None` for what has none.
    #[inline]
    fn position(&self, value: f64, of: u16) -> Option<u64> {
        let middle = *self.middles.get(usize::from(of)).filter(|_| value.is_finite())?;
        let unseen = self.middles.len() - code::EXTRA + code::UNSEEN;
        Some(if usize::from(of) == unseen { self.between(value) } else { u64::from(middle) })
    }

    /// Position of a value that a discrete number does not have: in the middle between its neighbours.
    fn between(&self, value: f64) -> u64 {
        let above = self.support.partition_point(|&known| known < value);
        let at = |bin: usize| u64::from(self.middles[bin.min(self.support.len().saturating_sub(1))]);
        u64::midpoint(at(above.saturating_sub(1)), at(above))
    }
}

/// A position as a whole number.
fn parts(position: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates, at either end")]
    let parts = position as u32;
    parts
}

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

/// Random projections. At d = 14 a half of seven features avoids two that differ with probability C(12, 7)/C(14, 7) = 0.23, so that one
/// of eight halves finds a pair that agrees in 12 quantised features with probability 1 − 0.77⁸ = 0.88, and one that agrees in 13 with
/// 1 − 0.5⁸ = 0.996 (test `near_rows_share_a_hash_as_often_as_derived`). The index keeps only the newest row of a hash, so natural
/// neighbours take the places of some: among 4,000 rows of the adult data the nearest row is found for 99% of rows that differ in one
/// feature, for about half of those that differ in two and for a third of those that differ in more (the test
/// `rows_that_differ_in_one_feature_are_nearly_always_found_and_half_of_those_that_differ_in_two`).
const PROJECTIONS: usize = 8;
/// Quantile cells per number within a projection: a sixth of the mass moves together. Chosen: fewer would make natural neighbours of
/// everything, more would lose small steps at the cells' edges.
const QUANTILE_CELLS: u32 = 6;
/// Features in a projection at most. Chosen: natural neighbours agree in a cell with probability of about a sixth to a half, so that with
/// more than twenty features they would stop colliding.
const MAX_PROJECTED: usize = 20;
/// Features up to which a projection holds half of them, and features that it holds at least if there are as many.
const HALVED_UP_TO: usize = 32;
const LEAST_PROJECTED: usize = 4;
/// Fractional bits of a position in quantile cells.
const POSITION_BITS: u32 = 16;
/// All of a distribution's mass as a position.
const WHOLE: f64 = (QUANTILE_CELLS << POSITION_BITS) as f64;
/// Groups of features for masked hashes, at most: what is remembered of a row grows with them, not with its features. Chosen: an
/// edit within a group is found whatever its size, so fewer groups find edits of more features, but also more natural neighbours,
/// which then stand in for the row that was edited.
const GROUPS: usize = 16;
/// Keep the generators of the projections, of the tokens and of the projections' keys apart under one salt.
const PROJECTION_STREAM: u64 = 777;
const TOKEN_STREAM: u64 = 1000;
const KEY_STREAM: u64 = 5_000_000;
/// Odd multiplier (2⁶⁴ over the golden ratio, Knuth 1998 §6.4) and rotation of the step that mixes a cell into a key.
const KEY_MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
const KEY_ROTATION: u32 = 29;

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

/// A cell as projections see it: the quantile cell that the value lies in is known once a projection's shift is added.
#[derive(Clone, Copy, Debug)]
struct Projected {
    /// Position in quantile cells with [`POSITION_BITS`] fractional bits; a token for a value that has no position.
    at: u64,
    /// All bits if the position is shifted, none if it is a token.
    shifted: u64,
}

/// Hash functions of one deployment.
#[derive(Clone, Debug)]
pub struct Hasher {
    salts: Vec<u64>,
    groups: Vec<u8>,
    /// Features of all projections, one after the other, each with its shift: a fraction of a cell in [`POSITION_BITS`] bits.
    subsets: Vec<(u16, u16)>,
    /// Features of one projection.
    size: usize,
    seeds: Vec<u64>,
    quantiles: Vec<Quantiles>,
}

/// Where the values of a number lie in its distribution, 0 to [`QUANTILE_CELLS`] with [`POSITION_BITS`] fractional bits; categories have no
/// positions.
#[derive(Clone, Debug, Default)]
struct Quantiles {
    /// The middle of the mass of each code: bins, then below the first and above the last.
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
        let size = if width > HALVED_UP_TO { MAX_PROJECTED } else { half.max(width.min(LEAST_PROJECTED)) };
        let mut state = mix(salt ^ PROJECTION_STREAM);
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
                order.into_iter().map(|j| (j, (next() >> (u64::BITS - POSITION_BITS)) as u16)).collect::<Vec<_>>()
            })
            .collect();
        Self {
            salts: (0..width as u64).map(|j| mix(salt ^ (j + TOKEN_STREAM))).collect(),
            groups: groups(reference),
            subsets,
            size: size.max(1),
            seeds: (0..PROJECTIONS as u64).map(|t| mix(salt ^ (t + KEY_STREAM))).collect(),
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
                let cell = at.wrapping_add(u64::from(shift) & shifted) >> POSITION_BITS;
                key = (key ^ cell).wrapping_mul(KEY_MULTIPLIER).rotate_left(KEY_ROTATION);
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
    /// Prefetches what [`RowHashes::find`] will need.
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

/// Deals the features out to groups, those of most entropy first, to and fro, so that every group hides about as much.
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
            fixed(below - share / 2.0)
        };
        let mut middles: Vec<u32> = feature.counts.iter().take(own).map(middle).collect();
        middles.resize(feature.codes(), 0);
        middles[own + code::ABOVE] = fixed(WHOLE);
        Self { middles, support: feature.support.clone() }
    }

    /// Position of a value; `None` for a category or a missing value.
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

/// A position in fixed point.
fn fixed(position: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates, at either end")]
    let fixed = position as u32;
    fixed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::mix2;

    /// Rows that the index holds.
    const ROWS: usize = 4_000;
    /// Near rows that are planted for each number of changed features.
    const PLANTED: u64 = 1_000;

    struct World {
        reference: Reference,
        hasher: Hasher,
        hashes: RowHashes,
        index: RowIndex,
    }

    impl World {
        fn new() -> Self {
            let path = format!("{}/models/adult/reference.json", env!("CARGO_MANIFEST_DIR"));
            let reference = Reference::from_json(&std::fs::read(path).unwrap()).unwrap();
            let hasher = Hasher::new(&reference, 7);
            let index = RowIndex::new(ROWS * hasher.keys_per_row(), ROWS);
            let mut world = Self { reference, hasher, hashes: RowHashes::default(), index };
            for at in 0..ROWS {
                let row = world.reference.sample[at].clone();
                world.hash(&row);
                world.hashes.note(&mut world.index, at as u32);
            }
            world
        }

        fn hash(&mut self, row: &[Cell]) {
            let codes: Vec<u16> = row.iter().zip(&self.reference.features).map(|(cell, f)| f.code(*cell) as u16).collect();
            self.hasher.hash(row, &codes, &mut self.hashes);
        }

        /// A row of the index with some features taken from another row, which differs there.
        fn near(&self, seed: u64, changed: usize) -> Vec<Cell> {
            let sample = &self.reference.sample;
            let mut row = sample[mix2(seed, 1) as usize % ROWS].clone();
            let mut draws = (2..).map(|draw| mix2(seed, draw));
            let mut left: Vec<usize> = (0..row.len()).collect();
            while left.len() > row.len() - changed {
                let (which, from) = (draws.next().unwrap() as usize % left.len(), draws.next().unwrap() as usize % sample.len());
                let j = left[which];
                if sample[from][j] != row[j] {
                    row[j] = sample[from][j];
                    left.swap_remove(which);
                }
            }
            row
        }

        /// Fewest features in which a row differs from one of these.
        fn nearest(&self, row: &[Cell], among: impl Iterator<Item = usize>) -> Option<usize> {
            let differ = |at: usize| self.reference.sample[at].iter().zip(row).filter(|(a, b)| a != b).count();
            among.map(differ).min()
        }

        /// Share of planted rows that have a hash in common with the row that they were made from.
        fn collisions(&mut self, changed: usize) -> f64 {
            let mut common = 0;
            for seed in 0..PLANTED {
                let seed = mix2(seed, changed as u64);
                self.hash(&self.near(seed, 0));
                let keys = self.hashes.keys.clone();
                self.hash(&self.near(seed, changed));
                common += usize::from(self.hashes.keys.iter().zip(&keys).any(|(own, other)| own == other));
            }
            common as f64 / PLANTED as f64
        }

        /// Share of planted rows for which the index finds a row as near as an exhaustive scan does.
        fn recall(&mut self, changed: usize) -> f64 {
            let mut found = 0;
            for seed in 0..PLANTED {
                let row = self.near(mix2(seed, changed as u64), changed);
                self.hash(&row);
                let mut candidates = Vec::new();
                self.hashes.find(&self.index, |at| candidates.push(at as usize));
                let candidates = candidates.into_iter().filter(|&at| at < ROWS);
                found += usize::from(self.nearest(&row, candidates) == self.nearest(&row, 0..ROWS));
            }
            found as f64 / PLANTED as f64
        }
    }

    #[test]
    fn rows_that_differ_in_one_feature_are_nearly_always_found_and_half_of_those_that_differ_in_two() {
        let mut world = World::new();
        let recall: Vec<f64> = (0..=4).map(|changed| world.recall(changed)).collect();
        assert!(recall[0] > 0.999 && recall[1] > 0.99, "{recall:?}");
        assert!(recall[2] > 0.45 && recall[3] > 0.34 && recall[4] > 0.32, "{recall:?}");
    }

    #[test]
    fn near_rows_share_a_hash_as_often_as_derived() {
        let mut world = World::new();
        let common: Vec<f64> = (1..=3).map(|changed| world.collisions(changed)).collect();
        // One changed feature has a masked hash; see PROJECTIONS for two, and C(11, 7)/C(14, 7) = 0.096 for three.
        assert!(common[0] > 0.999 && common[1] > 0.85 && common[2] > 0.5, "{common:?}");
    }

    #[test]
    fn hashes_of_one_deployment_say_nothing_in_another() {
        let mut world = World::new();
        let row = world.near(3, 2);
        world.hash(&row);
        let here = world.hashes.keys.clone();
        world.hasher = Hasher::new(&world.reference, 8);
        world.hash(&row);
        assert!(here.iter().all(|key| !world.hashes.keys.contains(key)));
    }
}

//! An index from hashes to the newest row that had each: one table of four-byte entries in buckets of a cache line.
//!
//! A key, seen as a fraction, is multiplied by the number of buckets: what is before the point is the bucket, what is behind it
//! the entry's fingerprint, and the rest of the four bytes is the row's number modulo a power of two above the length of the
//! ring it lies in. A bucket's entries lie in the order in which they were noted, the last one first, so that the newest of two with
//! one fingerprint is found, and the last place is the one to give away. Nothing is scanned, and memory is set by the
//! configuration. A match is a candidate, no more: whoever asks compares the rows.
//!
//! The table doubles while the ring behind it fills, so that a quiet model stays small. An entry then gives the first bit of its
//! fingerprint to the bucket's number, which is all that is known of its key; comparisons are looser by that bit until the ring
//! has turned over once.

use wide::u32x4;

use crate::prefetch;

/// Entries of a bucket: one cache line.
const BUCKET: usize = 16;
/// Entries that are looked at together.
const LANES: usize = 4;
/// Of which filled on average, when the ring is full: with fewer to spare, full buckets lose rows that are still wanted.
const FILLED: usize = 12;
/// Fewest bits of a fingerprint: below, most lookups would return a stranger.
const MIN_FINGERPRINT: u32 = 5;
/// An entry that was never written.
const EMPTY: u32 = u32::MAX;

/// Entries that lie in one cache line, and not across two: a look-up costs one wait for memory.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
#[repr(align(64))]
struct Bucket([u32; BUCKET]);

/// Fingerprints of hashes, each leading to the newest row that had it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct RowIndex {
    buckets: Vec<Bucket>,
    /// Bits of an entry that hold the row; the others are its fingerprint.
    rows: u32,
    /// Bits that tell fingerprints apart: all of them, but for low ones that entries from before a doubling lack.
    telling: u32,
}

// === impl RowIndex ===

impl RowIndex {
    /// A table with room for `entries` entries and a third more, for rows whose numbers are told apart modulo `rows` or more.
    pub fn new(entries: usize, rows: usize) -> Self {
        let row_bits = (usize::BITS - rows.leading_zeros()).clamp(1, 32 - MIN_FINGERPRINT);
        let rows = (1 << row_bits) - 1;
        let buckets = entries.div_ceil(FILLED).max(2);
        Self { buckets: vec![Bucket([EMPTY; BUCKET]); buckets], rows, telling: !rows }
    }

    /// What the row of an entry is told apart by.
    pub fn row_mask(&self) -> u32 {
        self.rows
    }

    /// Entries that it has room for.
    pub fn room(&self) -> usize {
        self.buckets.len() * BUCKET
    }

    /// Doubles the room.
    pub fn double(&mut self) {
        let mut buckets = vec![Bucket([EMPTY; BUCKET]); self.buckets.len() * 2];
        for (at, bucket) in self.buckets.iter().enumerate() {
            let mut used = [0; 2];
            for &entry in bucket.0.iter().filter(|&&entry| entry != EMPTY) {
                let upper = (entry >> 31) as usize;
                buckets[2 * at + upper].0[used[upper]] = (entry & !self.rows) << 1 | entry & self.rows;
                used[upper] += 1;
            }
        }
        self.buckets = buckets;
        // One bit is always left.
        self.telling = if self.telling << 1 == 0 { self.telling } else { self.telling << 1 };
    }

    /// Every entry is newer than the last doubling: fingerprints are whole again.
    pub fn renewed(&mut self) {
        self.telling = !self.rows;
    }

    /// Bucket of a key, and what an entry of it looks like without the row.
    #[inline]
    fn place(&self, key: u64) -> (usize, u32) {
        // Both are below 2^32.
        let product = (key >> 32).wrapping_mul(self.buckets.len() as u64);
        // The highest fingerprint is left to empty entries.
        let highest = !self.rows << 1;
        ((product >> 32) as usize, (product as u32 & !self.rows).min(highest))
    }

    /// Asks for the buckets of keys that will be looked up: each is somewhere else in memory.
    #[inline]
    pub fn prefetch(&self, keys: &[u64]) {
        keys.iter().for_each(|&key| prefetch::item(&self.buckets, self.place(key).0));
    }

    /// Newest row seen with this hash (its number modulo the power of two), if it is still there.
    #[inline]
    pub fn find(&self, key: u64) -> Option<u32> {
        let (at, wanted) = self.place(key);
        let bucket = &self.buckets[at];
        let entry = *bucket.0.get(bucket.places(wanted, self.telling).trailing_zeros() as usize)?;
        (entry != EMPTY).then_some(entry & self.rows)
    }

    /// Notes a row under a hash: in place of an older row of the same hash, else of what was noted in the bucket first.
    #[inline]
    pub fn note(&mut self, key: u64, row: u32) {
        let (at, wanted) = self.place(key);
        let (telling, rows) = (self.telling, self.rows);
        let bucket = &mut self.buckets[at];
        let gone = (bucket.places(wanted, telling) | 1 << (BUCKET - 1)).trailing_zeros();
        bucket.push(wanted | row & rows, gone);
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }
}

// === impl Bucket ===

impl Bucket {
    /// Places of entries that have a fingerprint, as bits.
    #[inline]
    fn places(&self, wanted: u32, telling: u32) -> u32 {
        let (telling, wanted) = (u32x4::splat(telling), u32x4::splat(wanted & telling));
        let (lanes, _) = self.0.as_chunks::<LANES>();
        let bits = lanes.iter().map(|&entries| (u32x4::new(entries) & telling).simd_eq(wanted).to_bitmask());
        bits.rev().fold(0, |all, bits| all << LANES | bits)
    }

    /// Puts an entry first; those before the place of the one that goes move up by one.
    #[inline]
    fn push(&mut self, entry: u32, gone: u32) {
        let before = self.0;
        let gone = u32x4::splat(gone);
        let (lanes, _) = self.0.as_chunks_mut::<LANES>();
        for (at, lanes) in lanes.iter_mut().enumerate() {
            let places = std::array::from_fn(|lane| (at * LANES + lane) as u32);
            let moved = std::array::from_fn(|lane| if at + lane == 0 { entry } else { before[at * LANES + lane - 1] });
            let moves = u32x4::new(places).simd_le(gone);
            *lanes = moves.bitselect(u32x4::new(moved), u32x4::new(*lanes)).to_array();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::mix;

    #[test]
    fn the_newest_row_of_a_hash_is_found_and_old_ones_make_room() {
        let mut sightings = RowIndex::new(4 * FILLED, 1 << 20);
        sightings.note(mix(42), 1);
        sightings.note(mix(42), 7);
        assert_eq!(sightings.find(mix(42)), Some(7));
        for row in 0..100_000_u32 {
            sightings.note(mix(u64::from(row)), row + 8);
        }
        assert_eq!(sightings.bytes(), 64 * 4, "bounded");
        assert_eq!(sightings.find(mix(99_999)), Some(100_007));
        assert_eq!(sightings.find(mix(42)), None);
    }

    #[test]
    fn an_old_row_that_is_noted_again_pushes_out_what_was_noted_first() {
        // All keys of one bucket.
        let mut sightings = RowIndex::new(FILLED, 1 << 20);
        let keys: Vec<u64> = (0..).map(mix).filter(|&key| sightings.place(key).0 == 0).take(BUCKET + 1).collect();
        keys[..BUCKET].iter().zip(100..).for_each(|(&key, row)| sightings.note(key, row));
        sightings.note(keys[BUCKET], 50);
        assert_eq!(sightings.find(keys[0]), None);
        assert!((1..BUCKET).all(|at| sightings.find(keys[at]) == Some(100 + at as u32)));
        assert_eq!(sightings.find(keys[BUCKET]), Some(50));
    }

    #[test]
    fn what_was_noted_before_a_doubling_is_found_after_it() {
        let mut sightings = RowIndex::new(64 * FILLED, 1 << 16);
        (0..400).for_each(|row| sightings.note(mix(u64::from(row)), row));
        (0..4).for_each(|_| sightings.double());
        assert_eq!(sightings.room(), 16 * 1024);
        assert!((0..400).all(|row| sightings.find(mix(u64::from(row))) == Some(row)));
        // Looser fingerprints return a stranger now and then, and none once every entry is new.
        (400..9_000).for_each(|row| sightings.note(mix(u64::from(row)), row));
        sightings.renewed();
        let strangers = (100_000..110_000_u64).filter(|&key| sightings.find(mix(key)).is_some()).count();
        assert!(strangers < 20, "{strangers}");
    }

    #[test]
    fn a_table_filled_as_planned_still_finds_nearly_all() {
        let mut sightings = RowIndex::new(1 << 14, 1 << 14);
        (0..1 << 14).for_each(|row| sightings.note(mix(u64::from(row)), row));
        let found = (0..1 << 14).filter(|&row| sightings.find(mix(u64::from(row))) == Some(row)).count();
        assert!(found > (1 << 14) * 97 / 100, "{found}");
    }
}

//! An index from hashes to the newest row that had each: one table of four-byte entries in buckets of a cache line.
//!
//! A key is read as a binary fraction and multiplied by the number of buckets. The whole part is the bucket's number; the fractional part
//! is the entry's fingerprint. The other bits of an entry are the row's number, modulo a power of two above the length of the ring that the
//! row lies in. A bucket's entries lie in the order in which they were noted, the last one first. So the newest of two entries with the
//! same fingerprint is found first, and the last place is the one to overwrite. Nothing is scanned, and memory is set by the
//! configuration. A match is only a candidate: the caller compares the rows.
//!
//! The table doubles while the ring behind it fills, so that a quiet model stays small. In a doubling the first bit of an entry's
//! fingerprint becomes the last bit of its bucket's number. The key itself is not stored, so the fingerprint lacks a low bit from then on,
//! and comparisons leave that bit out until the ring has turned over once.

use wide::u32x4;

use crate::prefetch;

/// Entries of a bucket: one cache line.
const BUCKET: usize = 16;
/// Entries that are compared by one vector instruction.
const LANES: usize = 4;
/// Entries of a bucket that are filled on average when the ring is full. A bucket's load is Poisson: with twelve on average, 10% of the
/// buckets get more than sixteen and lose the oldest entries, about 2% of all (`a_table_filled_as_planned_still_finds_nearly_all`).
const FILLED: usize = 12;
/// Fewest bits of a fingerprint: with 2⁵ fingerprints a full bucket already returns an unrelated row in four of
/// ten lookups, 1 − (31/32)¹⁶.
const MIN_FINGERPRINT: u32 = 5;
/// An entry that was never written.
const EMPTY: u32 = u32::MAX;

/// Entries that lie in one cache line, and not across two, so that a lookup waits for memory once.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
#[repr(align(64))]
struct Bucket([u32; BUCKET]);

/// Fingerprints of hashes, each leading to the newest row that had it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct RowIndex {
    buckets: Vec<Bucket>,
    /// Bits of an entry that hold the row; the others are its fingerprint.
    row_bits: u32,
    /// Bits of fingerprints that are compared: all of them, but for low ones that entries from before a doubling lack.
    compared_bits: u32,
}

// === impl RowIndex ===

impl RowIndex {
    /// A table with room for `entries` entries and a third more, for rows whose numbers are told apart modulo `rows` or more.
    pub fn new(entries: usize, rows: usize) -> Self {
        let width = (usize::BITS - rows.leading_zeros()).clamp(1, 32 - MIN_FINGERPRINT);
        let row_bits = (1 << width) - 1;
        let buckets = entries.div_ceil(FILLED).max(2);
        Self { buckets: vec![Bucket([EMPTY; BUCKET]); buckets], row_bits, compared_bits: !row_bits }
    }

    /// The low bits of a row's number that an entry holds.
    pub fn row_mask(&self) -> u32 {
        self.row_bits
    }

    /// Number of entries that it has room for.
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
                buckets[2 * at + upper].0[used[upper]] = (entry & !self.row_bits) << 1 | entry & self.row_bits;
                used[upper] += 1;
            }
        }
        self.buckets = buckets;
        // At least one bit is always compared.
        self.compared_bits = if self.compared_bits << 1 == 0 { self.compared_bits } else { self.compared_bits << 1 };
    }

    /// Says that every entry is newer than the last doubling, so that fingerprints are whole again.
    pub fn renewed(&mut self) {
        self.compared_bits = !self.row_bits;
    }

    /// Bucket of a key, and what an entry of it looks like without the row.
    #[inline]
    fn place(&self, key: u64) -> (usize, u32) {
        // Both factors are below 2³², so the product does not overflow.
        let product = (key >> 32).wrapping_mul(self.buckets.len() as u64);
        // The highest fingerprint is reserved for empty entries.
        let highest = !self.row_bits << 1;
        ((product >> 32) as usize, (product as u32 & !self.row_bits).min(highest))
    }

    /// Prefetches the buckets of keys that will be looked up: each lies somewhere else in memory.
    #[inline]
    pub fn prefetch(&self, keys: &[u64]) {
        keys.iter().for_each(|&key| prefetch::item(&self.buckets, self.place(key).0));
    }

    /// The newest row with this hash (its number modulo the power of two), if it is still there.
    #[inline]
    pub fn find(&self, key: u64) -> Option<u32> {
        let (at, wanted) = self.place(key);
        let bucket = &self.buckets[at];
        let entry = *bucket.0.get(bucket.places(wanted, self.compared_bits).trailing_zeros() as usize)?;
        (entry != EMPTY).then_some(entry & self.row_bits)
    }

    /// Notes a row under a hash: in place of an older row of the same hash, else in place of the bucket's oldest entry.
    #[inline]
    pub fn note(&mut self, key: u64, row: u32) {
        let (at, wanted) = self.place(key);
        let (compared_bits, row_bits) = (self.compared_bits, self.row_bits);
        let bucket = &mut self.buckets[at];
        let gone = (bucket.places(wanted, compared_bits) | 1 << (BUCKET - 1)).trailing_zeros();
        bucket.push(wanted | row & row_bits, gone);
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
    fn places(&self, wanted: u32, compared_bits: u32) -> u32 {
        let (compared, wanted) = (u32x4::splat(compared_bits), u32x4::splat(wanted & compared_bits));
        let (lanes, _) = self.0.as_chunks::<LANES>();
        let bits = lanes.iter().map(|&entries| (u32x4::new(entries) & compared).simd_eq(wanted).to_bitmask());
        bits.rev().fold(0, |all, bits| all << LANES | bits)
    }

    /// Puts an entry first; the entries before the place `gone` move up by one, and the one in it is overwritten.
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
        let mut index = RowIndex::new(4 * FILLED, 1 << 20);
        index.note(mix(42), 1);
        index.note(mix(42), 7);
        assert_eq!(index.find(mix(42)), Some(7));
        for row in 0..100_000_u32 {
            index.note(mix(u64::from(row)), row + 8);
        }
        assert_eq!(index.bytes(), 64 * 4, "bounded");
        assert_eq!(index.find(mix(99_999)), Some(100_007));
        assert_eq!(index.find(mix(42)), None);
    }

    #[test]
    fn an_old_row_that_is_noted_again_pushes_out_what_was_noted_first() {
        // All keys of one bucket.
        let mut index = RowIndex::new(FILLED, 1 << 20);
        let keys: Vec<u64> = (0..).map(mix).filter(|&key| index.place(key).0 == 0).take(BUCKET + 1).collect();
        keys[..BUCKET].iter().zip(100..).for_each(|(&key, row)| index.note(key, row));
        index.note(keys[BUCKET], 50);
        assert_eq!(index.find(keys[0]), None);
        assert!((1..BUCKET).all(|at| index.find(keys[at]) == Some(100 + at as u32)));
        assert_eq!(index.find(keys[BUCKET]), Some(50));
    }

    #[test]
    fn what_was_noted_before_a_doubling_is_found_after_it() {
        let mut index = RowIndex::new(64 * FILLED, 1 << 16);
        (0..400).for_each(|row| index.note(mix(u64::from(row)), row));
        (0..4).for_each(|_| index.double());
        assert_eq!(index.room(), 16 * 1024);
        assert!((0..400).all(|row| index.find(mix(u64::from(row))) == Some(row)));
        // Shorter fingerprints return an unrelated row now and then; whole ones hardly ever do.
        (400..9_000).for_each(|row| index.note(mix(u64::from(row)), row));
        index.renewed();
        let unrelated = (100_000..110_000_u64).filter(|&key| index.find(mix(key)).is_some()).count();
        assert!(unrelated < 20, "{unrelated}");
    }

    #[test]
    fn a_table_filled_as_planned_still_finds_nearly_all() {
        let mut index = RowIndex::new(1 << 14, 1 << 14);
        (0..1 << 14).for_each(|row| index.note(mix(u64::from(row)), row));
        let found = (0..1 << 14).filter(|&row| index.find(mix(u64::from(row))) == Some(row)).count();
        assert!(found > (1 << 14) * 97 / 100, "{found}");
    }
}

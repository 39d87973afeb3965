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

use crate::prefetch;

/// Entries of a bucket: one cache line.
const BUCKET: usize = 16;
/// Its places, a bit each.
const PLACES: [u32; BUCKET] = {
    let mut bits = [1; BUCKET];
    let mut place = 1;
    while place < BUCKET {
        bits[place] = 2 * bits[place - 1];
        place += 1;
    }
    bits
};
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
pub struct Sightings {
    buckets: Vec<Bucket>,
    /// Bits of an entry that hold the row.
    row_bits: u32,
    /// Low bits of fingerprints that entries from before a doubling lack.
    loose: u32,
}

// === impl Sightings ===

impl Sightings {
    /// A table with room for `entries` entries and a third more, for rows whose numbers are told apart modulo `rows` or more.
    pub fn new(entries: usize, rows: usize) -> Self {
        let row_bits = (usize::BITS - rows.leading_zeros()).clamp(1, 32 - MIN_FINGERPRINT);
        let buckets = entries.div_ceil(FILLED).max(2);
        Self { buckets: vec![Bucket([EMPTY; BUCKET]); buckets], row_bits, loose: 0 }
    }

    /// What the row of an entry is told apart by.
    pub fn row_mask(&self) -> u32 {
        (1 << self.row_bits) - 1
    }

    /// Entries that it has room for.
    pub fn room(&self) -> usize {
        self.buckets.len() * BUCKET
    }

    /// Doubles the room.
    pub fn double(&mut self) {
        let fingerprint_bits = 32 - self.row_bits;
        let row_mask = self.row_mask();
        let mut buckets = vec![Bucket([EMPTY; BUCKET]); self.buckets.len() * 2];
        for (at, bucket) in self.buckets.iter().enumerate() {
            let mut used = [0; 2];
            for &entry in bucket.0.iter().filter(|&&entry| entry != EMPTY) {
                let upper = (entry >> 31) as usize;
                let fingerprint = (entry >> self.row_bits << 1) & ((1 << fingerprint_bits) - 1);
                buckets[2 * at + upper].0[used[upper]] = fingerprint << self.row_bits | entry & row_mask;
                used[upper] += 1;
            }
        }
        self.buckets = buckets;
        self.loose = (self.loose + 1).min(fingerprint_bits - 1);
    }

    /// Every entry is newer than the last doubling: fingerprints are whole again.
    pub fn renewed(&mut self) {
        self.loose = 0;
    }

    /// Bucket of a key, and what an entry of it looks like without the row.
    #[inline]
    fn place(&self, key: u64) -> (usize, u32) {
        // The highest fingerprint is left to empty entries.
        let highest = (1 << (32 - self.row_bits)) - 2;
        let product = (key >> 32) * self.buckets.len() as u64;
        let fingerprint = (product as u32 >> self.row_bits).min(highest);
        ((product >> 32) as usize, fingerprint << self.row_bits)
    }

    /// Bits of an entry that tell fingerprints apart.
    #[inline]
    fn telling(&self) -> u32 {
        u32::MAX << (self.row_bits + self.loose)
    }

    /// Asks for the buckets of keys that will be looked up: each is somewhere else in memory.
    #[inline]
    pub fn prefetch(&self, keys: &[u64]) {
        keys.iter().for_each(|&key| prefetch::item(&self.buckets, self.place(key).0));
    }

    /// Places of a bucket whose entries have a fingerprint, as bits: all sixteen without a branch, several at a time.
    #[inline]
    fn places(bucket: &[u32; BUCKET], wanted: u32, telling: u32) -> u32 {
        let bits = bucket.iter().zip(PLACES).map(|(&entry, bit)| if (entry ^ wanted) & telling == 0 { bit } else { 0 });
        bits.fold(0, |all, bit| all | bit)
    }

    /// Newest row seen with this hash (its number modulo the power of two), if it is still there.
    #[inline]
    pub fn find(&self, key: u64) -> Option<u32> {
        let (at, wanted) = self.place(key);
        let bucket = &self.buckets[at].0;
        let entry = *bucket.get(Self::places(bucket, wanted, self.telling()).trailing_zeros() as usize)?;
        (entry != EMPTY).then_some(entry & self.row_mask())
    }

    /// Notes a row under a hash: in place of an older row of the same hash, else of what was noted in the bucket first.
    #[inline]
    pub fn note(&mut self, key: u64, row: u32) {
        let (at, wanted) = self.place(key);
        let (telling, row_mask) = (self.telling(), self.row_mask());
        let bucket = &mut self.buckets[at].0;
        let gone = Self::places(bucket, wanted, telling) | PLACES[BUCKET - 1];
        // All that was noted later than what goes moves up by one place.
        let up_to = gone ^ (gone - 1);
        let mut moved = [wanted | row & row_mask; BUCKET];
        moved[1..].copy_from_slice(&bucket[..BUCKET - 1]);
        for ((entry, moved), bit) in bucket.iter_mut().zip(moved).zip(PLACES) {
            *entry = if up_to & bit == 0 { *entry } else { moved };
        }
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::mix;

    #[test]
    fn the_newest_row_of_a_hash_is_found_and_old_ones_make_room() {
        let mut sightings = Sightings::new(4 * FILLED, 1 << 20);
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
        let mut sightings = Sightings::new(FILLED, 1 << 20);
        let keys: Vec<u64> = (0..).map(mix).filter(|&key| sightings.place(key).0 == 0).take(BUCKET + 1).collect();
        keys[..BUCKET].iter().zip(100..).for_each(|(&key, row)| sightings.note(key, row));
        sightings.note(keys[BUCKET], 50);
        assert_eq!(sightings.find(keys[0]), None);
        assert!((1..BUCKET).all(|at| sightings.find(keys[at]) == Some(100 + at as u32)));
        assert_eq!(sightings.find(keys[BUCKET]), Some(50));
    }

    #[test]
    fn what_was_noted_before_a_doubling_is_found_after_it() {
        let mut sightings = Sightings::new(64 * FILLED, 1 << 16);
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
        let mut sightings = Sightings::new(1 << 14, 1 << 14);
        (0..1 << 14).for_each(|row| sightings.note(mix(u64::from(row)), row));
        let found = (0..1 << 14).filter(|&row| sightings.find(mix(u64::from(row))) == Some(row)).count();
        assert!(found > (1 << 14) * 97 / 100, "{found}");
    }
}

//! An index from hashes to the newest row that had each: one table of four-byte entries in buckets of a cache line.
//!
//! A key, seen as a fraction, is multiplied by the number of buckets: what is before the point is the bucket, what is behind it
//! the entry's fingerprint, and the rest of the four bytes is the row's number modulo a power of two above the length of the
//! ring it lies in. The newest of two entries with one fingerprint
//! wins; in a full bucket the oldest goes. Nothing is scanned, and memory is set by the configuration. A match is a candidate,
//! no more: whoever asks compares the rows.
//!
//! The table doubles while the ring behind it fills, so that a quiet model stays small. An entry then gives the first bit of its
//! fingerprint to the bucket's number, which is all that is known of its key; comparisons are looser by that bit until the ring
//! has turned over once.

/// Entries of a bucket: one cache line.
const BUCKET: usize = 16;
/// Of which filled on average, when the ring is full: with fewer to spare, full buckets lose rows that are still wanted.
const FILLED: usize = 12;
/// Fewest bits of a fingerprint: below, most lookups would return a stranger.
const MIN_FINGERPRINT: u32 = 5;
/// An entry that was never written.
const EMPTY: u32 = u32::MAX;
/// Ranks of an empty place and of the same hash, above every age (27 bits at most), with four bits left for the place.
const EMPTY_RANK: i32 = (1 << 27) - 2;
const SAME_RANK: i32 = (1 << 27) - 1;

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

    /// Asks for the buckets of many keys at once. Each is somewhere else in memory; one after the other they would be waited for
    /// one by one.
    #[inline]
    pub fn warm(&self, keys: &[u64]) {
        std::hint::black_box(keys.iter().fold(0, |sum, &key| sum ^ self.buckets[self.place(key).0].0[0]));
    }

    /// Newest row seen with this hash (its number modulo the power of two), if it is still there.
    #[inline]
    pub fn find(&self, key: u64) -> Option<u32> {
        let (at, wanted) = self.place(key);
        let (telling, bucket) = (self.telling(), &self.buckets[at].0);
        // All sixteen without a branch, as the machine compares several at a time.
        let (mut hits, mut found) = (0_u32, 0);
        for &entry in bucket {
            let same = u32::from((entry ^ wanted) & telling == 0);
            hits = hits.wrapping_add(same);
            found |= entry & 0_u32.wrapping_sub(same);
        }
        if hits > 1 {
            // Only among loose fingerprints.
            found = bucket.iter().copied().find(|entry| (entry ^ wanted) & telling == 0).unwrap_or(EMPTY);
        }
        (hits > 0 && found != EMPTY).then_some(found & self.row_mask())
    }

    /// Notes a row under a hash: in place of an older row of the same hash, else of the oldest entry of the bucket.
    #[inline]
    pub fn note(&mut self, key: u64, row: u32) {
        let (at, wanted) = self.place(key);
        let (telling, row_mask) = (self.telling(), self.row_mask());
        let bucket = &mut self.buckets[at].0;
        // The same hash before an empty place, an empty place before the oldest; the place itself is in the lowest bits.
        let mut best = 0_i32;
        for (place, &entry) in bucket.iter().enumerate() {
            let age = (row.wrapping_sub(entry) & row_mask) as i32;
            let rank = if entry == EMPTY { EMPTY_RANK } else { age };
            let rank = if (entry ^ wanted) & telling == 0 { SAME_RANK } else { rank };
            best = best.max(rank << 4 | place as i32);
        }
        bucket[(best & 15) as usize] = wanted | row & row_mask;
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

//! A bounded memory of recent distinct rows, whoever sent them, and an index that finds near ones without a scan.
//!
//! Rows lie in a ring; the index is one fixed table of fingerprints in small buckets, so a look-up is one cache line and memory
//! is set by the configuration, not by the traffic. The newest of two entries with the same fingerprint wins; entries whose row
//! has left the ring are free. Nothing is ever scanned.

use crate::event::{Cell, EventTime, Provenance};

/// A row's number since the start; rows older than the ring's length are gone.
pub type RowId = u64;

/// Entries of a bucket: a 64-byte cache line of 8-byte entries holds eight, four keep tables half full at the sizes used.
const BUCKET: usize = 4;

/// Fingerprints of hashes, each leading to the newest row that had it.
#[derive(Clone, Debug)]
pub struct Sightings {
    entries: Vec<(u32, u32)>,
    mask: u64,
}

/// What is remembered of a row besides its cells.
#[derive(Clone, Copy, Debug, Default)]
pub struct RowMeta {
    /// Slot of the client, with its generation.
    pub client: (u32, u32),
    /// Hash of the sender's address.
    pub address: u64,
    /// Hash of the account; 0 for none.
    pub account: u64,
    /// Component that the row belongs to, with its generation; generation 0 is none.
    pub component: (u32, u32),
    /// When it was sent.
    pub time: EventTime,
    /// Where it lies in the log.
    pub provenance: Provenance,
}

/// Ring of recent distinct rows.
#[derive(Clone, Debug)]
pub struct History {
    width: usize,
    capacity: usize,
    cells: Vec<Cell>,
    meta: Vec<RowMeta>,
    next: RowId,
}

// === impl Sightings ===

impl Sightings {
    /// A table with room for about `entries` entries, rounded up to a power of two.
    pub fn with_entries(entries: usize) -> Self {
        let buckets = (entries / BUCKET).next_power_of_two().max(16);
        Self { entries: vec![(0, u32::MAX); buckets * BUCKET], mask: buckets as u64 - 1 }
    }

    #[inline]
    fn bucket(&self, hash: u64) -> usize {
        ((hash & self.mask) as usize) * BUCKET
    }

    /// Newest row seen with this hash (row number modulo 2^32), if it is still there.
    #[inline]
    pub fn find(&self, hash: u64) -> Option<u32> {
        let fingerprint = (hash >> 32) as u32;
        let at = self.bucket(hash);
        self.entries[at..at + BUCKET].iter().find(|(f, row)| *f == fingerprint && *row != u32::MAX).map(|e| e.1)
    }

    /// Notes a row under a hash: in place of an older row of the same hash, else of the oldest entry of the bucket.
    #[inline]
    pub fn note(&mut self, hash: u64, row: u32) {
        let fingerprint = (hash >> 32) as u32;
        let at = self.bucket(hash);
        let bucket = &mut self.entries[at..at + BUCKET];
        let mut place = 0;
        let mut oldest = 0;
        for (i, (known, seen)) in bucket.iter().enumerate() {
            if *known == fingerprint && *seen != u32::MAX {
                place = i;
                break;
            }
            let age = if *seen == u32::MAX { u32::MAX } else { row.wrapping_sub(*seen) };
            if age > oldest {
                oldest = age;
                place = i;
            }
        }
        bucket[place] = (fingerprint, row);
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        self.entries.len() * size_of::<(u32, u32)>()
    }
}

// === impl History ===

impl History {
    /// A ring of at most `capacity` rows of `width` cells. Memory is taken as rows arrive.
    pub fn new(width: usize, capacity: usize) -> Self {
        Self { width, capacity: capacity.max(1), cells: Vec::new(), meta: Vec::new(), next: 0 }
    }

    /// Rows held.
    pub fn len(&self) -> usize {
        self.meta.len()
    }

    /// Whether nothing was seen yet.
    pub fn is_empty(&self) -> bool {
        self.meta.is_empty()
    }

    /// Rows ever added.
    pub fn added(&self) -> RowId {
        self.next
    }

    /// Adds a row, in place of the oldest if the ring is full.
    pub fn push(&mut self, row: &[Cell], meta: RowMeta) -> RowId {
        let id = self.next;
        self.next += 1;
        if self.meta.len() < self.capacity {
            self.cells.extend_from_slice(row);
            self.meta.push(meta);
        } else {
            let at = self.slot(id);
            self.cells[at * self.width..(at + 1) * self.width].copy_from_slice(row);
            self.meta[at] = meta;
        }
        id
    }

    #[inline]
    fn slot(&self, id: RowId) -> usize {
        (id % self.capacity as u64) as usize
    }

    /// The full number of a row known by its lower 32 bits, if it is still held.
    #[inline]
    pub fn recall(&self, low: u32) -> Option<RowId> {
        let back = (self.next as u32).wrapping_sub(low);
        let back = u64::from(back);
        (back >= 1 && back <= self.meta.len() as u64).then(|| self.next - back)
    }

    /// Whether a row is still held.
    #[inline]
    pub fn holds(&self, id: RowId) -> bool {
        id < self.next && self.next - id <= self.meta.len() as u64
    }

    /// Cells of a row that is held; of another row otherwise, so check first.
    #[inline]
    pub fn row(&self, id: RowId) -> &[Cell] {
        let at = self.slot(id);
        &self.cells[at * self.width..(at + 1) * self.width]
    }

    /// What is remembered of a row that is held.
    #[inline]
    pub fn meta(&self, id: RowId) -> &RowMeta {
        &self.meta[self.slot(id)]
    }

    /// The same, to be changed.
    #[inline]
    pub fn meta_mut(&mut self, id: RowId) -> &mut RowMeta {
        let at = self.slot(id);
        &mut self.meta[at]
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<Cell>() + self.meta.capacity() * size_of::<RowMeta>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_row_of_a_hash_is_found_and_old_ones_make_room() {
        let mut sightings = Sightings::with_entries(64);
        sightings.note(42, 1);
        sightings.note(42, 7);
        assert_eq!(sightings.find(42), Some(7));
        for row in 0..100_000_u32 {
            sightings.note(crate::hash::mix(u64::from(row)), row + 8);
        }
        assert_eq!(sightings.bytes(), 64 * 8, "bounded");
        assert_eq!(sightings.find(crate::hash::mix(99_999)), Some(100_007));
    }

    #[test]
    fn a_full_ring_forgets_the_oldest_row_only() {
        let mut history = History::new(1, 4);
        for i in 0..10_u32 {
            history.push(&[Cell::number(f64::from(i))], RowMeta::default());
        }
        assert_eq!(history.len(), 4);
        assert!(!history.holds(5) && history.holds(6) && history.holds(9) && !history.holds(10));
        assert_eq!(history.row(6)[0], Cell::number(6.0));
        assert_eq!(history.recall(9), Some(9));
        assert_eq!(history.recall(5), None);
    }
}

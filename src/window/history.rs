//! A bounded memory of recent distinct rows, whoever sent them.
//!
//! Rows lie in a ring, two bytes a feature ([`crate::signal::quantise`]), with what judging needs to know of each: who sent it,
//! when, and to which component it belongs. [`super::index`] finds them again by hash. Nothing is ever scanned.

use crate::event::{EARLIEST, EventTime};
use crate::window::clients::SlotRef;

/// A row's number since the start; rows older than the ring's length are gone.
pub type RowId = u64;

/// What is remembered of a row besides its codes, in 28 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RowMeta {
    /// The client.
    pub client: SlotRef,
    /// Component that the row belongs to; generation 0 is none.
    pub component: SlotRef,
    /// Hash of the sender's address.
    pub address: u32,
    /// Hash of the account; 0 for none.
    pub account: u32,
    /// When it was sent, in whole seconds since [`EARLIEST`].
    seconds: u32,
}

/// Ring of recent distinct rows.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct History {
    width: usize,
    capacity: usize,
    codes: Vec<u16>,
    meta: Vec<RowMeta>,
    next: RowId,
    /// Slot of the next row.
    head: usize,
}

// === impl RowMeta ===

impl RowMeta {
    /// A row of a client, from an address and an account (as hashes), in no component.
    pub fn new(client: SlotRef, (address, account): (u32, u32), time: EventTime) -> Self {
        let seconds = time.micros().saturating_sub(EARLIEST.micros()).div_euclid(1_000_000);
        let seconds = u32::try_from(seconds.max(0)).unwrap_or(u32::MAX);
        Self { client, component: SlotRef::default(), address, account, seconds }
    }

    /// When the row was sent, to the second.
    pub fn time(&self) -> EventTime {
        EARLIEST.plus_seconds(i64::from(self.seconds))
    }
}

// === impl History ===

impl History {
    /// A ring of at most `capacity` rows of `width` codes. Memory is taken as rows arrive.
    pub fn new(width: usize, capacity: usize) -> Self {
        Self { width, capacity: capacity.max(1), codes: Vec::new(), meta: Vec::new(), next: 0, head: 0 }
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
    pub fn push(&mut self, row: &[u16], meta: RowMeta) -> RowId {
        let at = self.head;
        let id = self.next;
        self.next += 1;
        self.head = if at + 1 == self.capacity { 0 } else { at + 1 };
        if self.meta.len() < self.capacity {
            self.make_room();
            self.codes.extend_from_slice(row);
            self.meta.push(meta);
        } else {
            self.codes[at * self.width..(at + 1) * self.width].copy_from_slice(row);
            self.meta[at] = meta;
        }
        id
    }

    /// Doubles the room when it is full, to the capacity and not beyond.
    fn make_room(&mut self) {
        if self.meta.len() == self.meta.capacity() {
            let more = self.meta.len().max(1024).min(self.capacity - self.meta.len());
            self.meta.reserve_exact(more);
            self.codes.reserve_exact(more * self.width);
        }
    }

    #[inline]
    fn slot(&self, id: RowId) -> usize {
        // Of a row that is held; the remainder of a division would be the same, and ten times as dear.
        let back = self.next.wrapping_sub(id) as usize;
        if back <= self.head { self.head - back } else { (self.head + self.capacity).saturating_sub(back) }
    }

    /// The full number of a row known by its lower bits, of which `mask` has the width, if it is still held.
    #[inline]
    pub fn recall(&self, low: u32, mask: u32) -> Option<RowId> {
        let back = u64::from((self.next as u32).wrapping_sub(low) & mask);
        (back >= 1 && back <= self.meta.len() as u64).then(|| self.next - back)
    }

    /// Whether a row is still held.
    #[inline]
    pub fn holds(&self, id: RowId) -> bool {
        id < self.next && self.next - id <= self.meta.len() as u64
    }

    /// Codes of a row that is held; of another row otherwise, so check first.
    #[inline]
    pub fn row(&self, id: RowId) -> &[u16] {
        let at = self.slot(id);
        &self.codes[at * self.width..(at + 1) * self.width]
    }

    /// Asks for the codes of many rows at once, instead of waiting for one after the other.
    #[inline]
    pub fn warm(&self, rows: impl Iterator<Item = RowId>) {
        let ends = |id| self.row(id).first().copied().unwrap_or(0) ^ self.row(id).last().copied().unwrap_or(0);
        std::hint::black_box(rows.fold(0, |sum, id| sum ^ ends(id)));
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
        self.codes.capacity() * size_of::<u16>() + self.meta.capacity() * size_of::<RowMeta>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_forgets_the_oldest_row_only() {
        let mut history = History::new(1, 4);
        for i in 0..10_u16 {
            history.push(&[i], RowMeta::default());
        }
        assert_eq!(history.len(), 4);
        assert!(!history.holds(5) && history.holds(6) && history.holds(9) && !history.holds(10));
        assert_eq!(history.row(6), [6]);
        assert_eq!((history.recall(9, 15), history.recall(9 + 16, 15)), (Some(9), Some(9)));
        assert_eq!(history.recall(5, 15), None);
    }

    #[test]
    fn a_row_takes_no_more_room_than_its_codes_and_28_bytes() {
        let mut history = History::new(14, 5_000);
        let at = EventTime::parse("2026-03-02T09:15:00.123Z").unwrap();
        (0..9_000).for_each(|_| {
            history.push(&[7; 14], RowMeta::new(SlotRef::default(), (1, 2), at));
        });
        assert_eq!(history.bytes(), 5_000 * (28 + 28));
        assert_eq!(history.meta(8_999).time().to_string(), "2026-03-02T09:15:00.000Z");
    }
}

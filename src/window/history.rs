//! A bounded memory of recent distinct rows of one model, whoever sent them.
//!
//! Rows lie in a ring, two bytes a feature ([`crate::signal::quantise`]). With each row lies what judging needs to know: who sent it, when,
//! and to which component it belongs. [`super::index`] finds rows again by hash, so that nothing is ever scanned. A row that begins at a
//! cache line is read with the fewest waits for memory, so the ring begins at one.

use crate::event::{EARLIEST, EventTime};
use crate::prefetch::{self, LINE};
use crate::window::clients::SlotRef;

/// A row's number since the start; rows older than the ring's length are gone.
pub type RowId = u64;

/// Rows that room is made for at first. Chosen: a quiet model stays below a tenth of a megabyte.
const FIRST_ROWS: usize = 1024;

/// Who sent a row, as hashes: addresses and accounts are compared, never read back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SenderHashes {
    /// Of the address.
    pub address: u32,
    /// Of the account; 0 for none.
    pub account: u32,
}

/// What is remembered of a row besides its codes, in 32 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RowMeta {
    /// The client.
    pub client: SlotRef,
    /// Component that the row belongs to; generation 0 is none.
    pub component: SlotRef,
    /// Who sent it.
    pub sender: SenderHashes,
    /// When it was sent, in whole seconds since [`EARLIEST`].
    seconds: u32,
    /// What the model answered, as far as that is a number; NaN if it is not known.
    pub answer: f32,
}

/// Ring of recent distinct rows.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct History {
    capacity: usize,
    codes: Rows,
    /// What the codes leave out of the newest rows, in a ring of its own; it is read when a row is linked.
    remainders: Rows,
    /// Newest rows whose remainders are held.
    recent: usize,
    meta: Vec<RowMeta>,
    /// Number of the next row.
    next: RowId,
    /// Slot of the next row.
    head: usize,
}

/// Rows of numbers in one piece of memory.
#[derive(Clone, Debug)]
struct Rows {
    width: usize,
    /// The rows, from `start` on, where a cache line begins.
    memory: Vec<u16>,
    start: usize,
}

// === impl RowMeta ===

impl RowMeta {
    /// A row of a client, in no component.
    pub fn new(client: SlotRef, sender: SenderHashes, time: EventTime) -> Self {
        let seconds = time.micros().saturating_sub(EARLIEST.micros()).div_euclid(1_000_000);
        let seconds = u32::try_from(seconds.max(0)).unwrap_or(u32::MAX);
        Self { client, component: SlotRef::default(), sender, seconds, answer: f32::NAN }
    }

    /// When the row was sent, to the second.
    pub fn time(&self) -> EventTime {
        EARLIEST.plus_seconds(i64::from(self.seconds))
    }
}

// === impl History ===

impl History {
    /// A ring of at most `capacity` rows, with `widths.0` codes each and, for the newest `recent` rows, `widths.1` remainders. Memory is
    /// allocated as rows arrive.
    pub fn new(widths: (usize, usize), capacity: usize, recent: usize) -> Self {
        let (codes, remainders) = (Rows::new(widths.0), Rows::new(widths.1));
        Self { capacity: capacity.max(1), codes, remainders, recent: recent.max(1), meta: Vec::new(), next: 0, head: 0 }
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
    pub fn push(&mut self, codes: &[u16], remainders: &[u16], meta: RowMeta) -> RowId {
        let at = self.head;
        let id = self.next;
        self.next += 1;
        self.head = if at + 1 == self.capacity { 0 } else { at + 1 };
        if self.meta.len() < self.capacity {
            if self.meta.len() == self.meta.capacity() {
                // Doubles the room, to the capacity and not beyond.
                let more = self.meta.len().max(FIRST_ROWS).min(self.capacity - self.meta.len());
                self.meta.reserve_exact(more);
                self.codes.make_room(self.meta.len() + more);
                self.remainders.make_room((self.meta.len() + more).min(self.recent));
            }
            self.meta.push(meta);
        } else {
            self.meta[at] = meta;
        }
        self.codes.put(at, codes);
        self.remainders.put((id % self.recent as u64) as usize, remainders);
        id
    }

    #[inline]
    fn slot(&self, id: RowId) -> usize {
        // For a row that is held this is the remainder of a division, at a tenth of its cost.
        let back = self.next.wrapping_sub(id) as usize;
        if back <= self.head { self.head - back } else { (self.head + self.capacity).saturating_sub(back) }
    }

    /// The full number of a row from its lower bits (those set in `mask`), if the row is still held.
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

    /// Codes of a row that is held. For a row that is no longer held it returns the codes of another one, so check with
    /// [`History::holds`] first.
    #[inline]
    pub fn row(&self, id: RowId) -> &[u16] {
        self.codes.get(self.slot(id))
    }

    /// Remainders of a row, if it is one of the newest; an empty slice otherwise.
    pub fn remainders(&self, id: RowId) -> &[u16] {
        let held = id < self.next && self.next - id <= self.recent as u64;
        if held { self.remainders.get((id % self.recent as u64) as usize) } else { &[] }
    }

    /// Prefetches the codes of a row that will be compared with.
    #[inline]
    pub fn prefetch(&self, id: RowId) {
        prefetch::slice(self.row(id));
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
        self.codes.bytes() + self.remainders.bytes() + self.meta.capacity() * size_of::<RowMeta>()
    }
}

// === impl Rows ===

impl Rows {
    fn new(width: usize) -> Self {
        Self { width, memory: Vec::new(), start: 0 }
    }

    /// Makes room for `rows` rows, in new memory that begins at a cache line.
    fn make_room(&mut self, rows: usize) {
        let spare = LINE / size_of::<u16>();
        let mut memory: Vec<u16> = Vec::with_capacity(rows * self.width + spare);
        // When the offset cannot be told, rows lie across lines; nothing else is different.
        let start = memory.as_ptr().align_offset(LINE).min(spare);
        memory.resize(start, 0);
        memory.extend_from_slice(self.memory.get(self.start..).unwrap_or_default());
        (self.memory, self.start) = (memory, start);
    }

    #[inline]
    fn get(&self, at: usize) -> &[u16] {
        let from = self.start + at * self.width;
        &self.memory[from..from + self.width]
    }

    fn put(&mut self, at: usize, row: &[u16]) {
        let from = self.start + at * self.width;
        if self.memory.len() < from + self.width {
            self.memory.resize(from + self.width, 0);
        }
        self.memory[from..from + self.width].copy_from_slice(row);
    }

    fn bytes(&self) -> usize {
        self.memory.capacity() * size_of::<u16>()
    }
}

/// As plain data: the offset of the rows in memory is left out.
impl serde::Serialize for Rows {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.width, self.memory.get(self.start..).unwrap_or_default()).serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Rows {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (width, memory): (usize, Vec<u16>) = serde::Deserialize::deserialize(deserializer)?;
        let mut rows = Self { width, memory, start: 0 };
        rows.make_room(rows.memory.len() / width.max(1));
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_forgets_the_oldest_row_only() {
        let mut history = History::new((1, 0), 4, 4);
        for i in 0..10_u16 {
            history.push(&[i], &[], RowMeta::default());
        }
        assert_eq!(history.len(), 4);
        assert!(!history.holds(5) && history.holds(6) && history.holds(9) && !history.holds(10));
        assert_eq!(history.row(6), [6]);
        assert_eq!((history.recall(9, 15), history.recall(9 + 16, 15)), (Some(9), Some(9)));
        assert_eq!(history.recall(5, 15), None);
    }

    #[test]
    fn a_row_takes_no_more_room_than_its_codes_and_32_bytes() {
        let mut history = History::new((16, 4), 5_000, 1_000);
        let at = EventTime::parse("2026-03-02T09:15:00.123Z").unwrap();
        (0..9_000).for_each(|_| {
            history.push(&[7; 16], &[1, 2, 3, 4], RowMeta::new(SlotRef::default(), SenderHashes { address: 1, account: 2 }, at));
        });
        let (codes, remainders, to_begin_at_a_line) = (32, 8, 2 * LINE);
        assert_eq!(history.bytes(), 5_000 * (codes + 32) + 1_000 * remainders + to_begin_at_a_line);
        assert_eq!((history.row(8_999), history.remainders(8_999)), (&[7; 16][..], &[1, 2, 3, 4][..]));
        assert_eq!((history.remainders(8_000), history.remainders(7_999)), (&[1, 2, 3, 4][..], &[][..]));
        assert_eq!(history.meta(8_999).time().to_string(), "2026-03-02T09:15:00.000Z");
    }
}

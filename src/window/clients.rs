//! A table of bounded size from client to state; beyond the bound the least recently seen client is forgotten, and counted.
//!
//! Slots are reused, so whoever keeps a slot number keeps its generation with it and asks [`Table::get`] whether it still means
//! the same client. Recency is a doubly linked list through the slots: O(1) per event, no scan, no clock.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// A slot and the generation in which it was handed out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct SlotRef {
    /// Index of the slot.
    pub slot: u32,
    /// Generation; 0 never occurs in a live reference.
    pub generation: u32,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Slot<K, V> {
    key: K,
    value: V,
}

/// A slot's place in the order of use, and its generation. Kept apart from the values, which are large: moving a client to the
/// front then touches three short lines, not three clients.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
struct Order {
    generation: u32,
    older: u32,
    newer: u32,
}

/// Bounded table in order of use.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(bound(deserialize = "K: serde::Deserialize<'de> + Eq + Hash, V: serde::Deserialize<'de>"))]
pub struct Table<K, V> {
    index: FxHashMap<K, u32>,
    slots: Vec<Slot<K, V>>,
    order: Vec<Order>,
    oldest: u32,
    newest: u32,
    limit: usize,
    evicted: u64,
}

const NONE: u32 = u32::MAX;

/// Clients passed over for one that is forgotten: more than the members of most campaigns, few enough to be no work.
const SPARED: usize = 64;

// === impl Table ===

impl<K: Hash + Eq + Clone, V> Table<K, V> {
    /// An empty table for at most `limit` clients (at least one).
    pub fn new(limit: usize) -> Self {
        Self {
            index: FxHashMap::default(),
            slots: Vec::new(),
            order: Vec::new(),
            oldest: NONE,
            newest: NONE,
            limit: limit.clamp(1, NONE as usize - 1),
            evicted: 0,
        }
    }

    /// The client's slot, made with `fresh` if it is new; it is now the most recently used. A third part of the result is the
    /// state that had to be forgotten for it, if any.
    pub fn touch(&mut self, key: &K, fresh: impl FnOnce() -> V) -> (SlotRef, bool, Option<(K, V)>) {
        self.touch_sparing(key, fresh, |_| false)
    }

    /// The same, but of the least recently used clients those for which `spare` holds are not forgotten: they count as used just
    /// now. A crowd of strangers, however large, then cannot push them out. At most [`SPARED`] are passed over at once, so the bound
    /// holds whatever `spare` says, and each is passed over once in a turn of the whole table.
    pub fn touch_sparing(
        &mut self,
        key: &K,
        fresh: impl FnOnce() -> V,
        spare: impl Fn(&V) -> bool,
    ) -> (SlotRef, bool, Option<(K, V)>) {
        if let Some(&at) = self.index.get(key) {
            self.unlink(at);
            self.link_newest(at);
            return (SlotRef { slot: at, generation: self.order[at as usize].generation }, false, None);
        }
        let (at, forgotten) = if self.slots.len() < self.limit {
            let at = self.slots.len() as u32;
            self.slots.push(Slot { key: key.clone(), value: fresh() });
            self.order.push(Order { generation: 1, older: NONE, newer: NONE });
            (at, None)
        } else {
            for _ in 0..SPARED.min(self.limit - 1) {
                let oldest = self.oldest;
                if !spare(&self.slots[oldest as usize].value) {
                    break;
                }
                self.unlink(oldest);
                self.link_newest(oldest);
            }
            let at = self.oldest;
            self.unlink(at);
            let slot = &mut self.slots[at as usize];
            self.index.remove(&slot.key);
            self.order[at as usize].generation += 1;
            self.evicted += 1;
            let key = std::mem::replace(&mut slot.key, key.clone());
            let value = std::mem::replace(&mut slot.value, fresh());
            (at, Some((key, value)))
        };
        self.index.insert(key.clone(), at);
        self.link_newest(at);
        (SlotRef { slot: at, generation: self.order[at as usize].generation }, true, forgotten)
    }

    fn unlink(&mut self, at: u32) {
        let Order { older, newer, .. } = self.order[at as usize];
        match older {
            NONE => self.oldest = newer,
            o => self.order[o as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            n => self.order[n as usize].older = older,
        }
    }

    fn link_newest(&mut self, at: u32) {
        let newest = self.newest;
        let order = &mut self.order[at as usize];
        order.older = newest;
        order.newer = NONE;
        match newest {
            NONE => self.oldest = at,
            n => self.order[n as usize].newer = at,
        }
        self.newest = at;
    }

    /// Makes a client the most recently used, if the reference still means it.
    pub fn refresh(&mut self, at: SlotRef) {
        if self.lives(at) {
            self.unlink(at.slot);
            self.link_newest(at.slot);
        }
    }

    /// Whether a reference still means the client that it was given out for.
    #[inline]
    fn lives(&self, at: SlotRef) -> bool {
        self.order.get(at.slot as usize).is_some_and(|order| order.generation == at.generation)
    }

    /// State of a client, if the reference still means it.
    pub fn get(&self, at: SlotRef) -> Option<&V> {
        self.lives(at).then(|| &self.slots[at.slot as usize].value)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, at: SlotRef) -> Option<&mut V> {
        self.lives(at).then(|| &mut self.slots[at.slot as usize].value)
    }

    /// The client's slot without using it.
    pub fn find(&self, key: &K) -> Option<SlotRef> {
        self.index.get(key).map(|&at| SlotRef { slot: at, generation: self.order[at as usize].generation })
    }

    /// All clients in slot order, which is a function of the input alone.
    pub fn iter(&self) -> impl Iterator<Item = (SlotRef, &K, &V)> {
        self.slots
            .iter()
            .zip(&self.order)
            .enumerate()
            .map(|(i, (s, o))| (SlotRef { slot: i as u32, generation: o.generation }, &s.key, &s.value))
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (SlotRef, &mut V)> {
        self.slots
            .iter_mut()
            .zip(&self.order)
            .enumerate()
            .map(|(i, (s, o))| (SlotRef { slot: i as u32, generation: o.generation }, &mut s.value))
    }

    /// Clients held.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Clients forgotten so far.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_seen_client_is_forgotten_and_its_reference_dies() {
        let mut table: Table<u32, u32> = Table::new(3);
        let (one, fresh, _) = table.touch(&1, || 10);
        assert!(fresh);
        table.touch(&2, || 20);
        table.touch(&3, || 30);
        table.touch(&1, || 0);
        let (four, _, forgotten) = table.touch(&4, || 40);
        assert_eq!(forgotten, Some((2, 20)));
        assert_eq!((table.len(), table.evicted()), (3, 1));
        assert_eq!(table.get(one), Some(&10));
        assert_eq!(table.get(four), Some(&40));
        assert_eq!(table.find(&2), None);
        let (five, _, forgotten) = table.touch(&5, || 50);
        assert_eq!(forgotten, Some((3, 30)));
        assert_ne!(five.generation, 1);
    }

    #[test]
    fn a_spared_client_outlives_any_crowd_and_the_bound_holds() {
        let mut table: Table<u64, bool> = Table::new(50);
        let (accused, ..) = table.touch(&u64::MAX, || true);
        for i in 0..10_000 {
            table.touch_sparing(&i, || false, |spared| *spared);
        }
        assert_eq!((table.get(accused), table.len(), table.evicted()), (Some(&true), 50, 9_951));
        // Where all are to be spared, somebody has to go all the same.
        for i in 0..200 {
            table.touch_sparing(&(1 << 32 | i), || true, |_| true);
        }
        assert_eq!((table.len(), table.index.len()), (50, 50));
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut table: Table<u64, ()> = Table::new(100);
        for i in 0..10_000 {
            table.touch(&crate::hash::mix(i), || ());
        }
        assert_eq!((table.len(), table.evicted(), table.index.len()), (100, 9_900, 100));
    }
}

//! A table of bounded size from client to state; beyond the bound the least recently seen client is forgotten, and counted.
//!
//! Slots are reused, so whoever keeps a slot number keeps its generation with it and asks [`Table::get`] whether it still means
//! the same client. Recency is a doubly linked list through the slots: O(1) per event, no scan, no clock.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// A slot and the generation in which it was handed out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub struct SlotRef {
    /// Index of the slot.
    pub slot: u32,
    /// Generation; 0 never occurs in a live reference.
    pub generation: u32,
}

#[derive(Clone, Debug)]
struct Slot<K, V> {
    key: K,
    value: V,
    generation: u32,
    older: u32,
    newer: u32,
}

/// Bounded table in order of use.
#[derive(Clone, Debug)]
pub struct Table<K, V> {
    index: FxHashMap<K, u32>,
    slots: Vec<Slot<K, V>>,
    oldest: u32,
    newest: u32,
    limit: usize,
    evicted: u64,
}

const NONE: u32 = u32::MAX;

// === impl Table ===

impl<K: Hash + Eq + Clone, V> Table<K, V> {
    /// An empty table for at most `limit` clients (at least one).
    pub fn new(limit: usize) -> Self {
        Self {
            index: FxHashMap::default(),
            slots: Vec::new(),
            oldest: NONE,
            newest: NONE,
            limit: limit.clamp(1, NONE as usize - 1),
            evicted: 0,
        }
    }

    /// The client's slot, made with `fresh` if it is new; it is now the most recently used. A third part of the result is the
    /// state that had to be forgotten for it, if any.
    pub fn touch(&mut self, key: &K, fresh: impl FnOnce() -> V) -> (SlotRef, bool, Option<(K, V)>) {
        if let Some(&at) = self.index.get(key) {
            self.unlink(at);
            self.link_newest(at);
            return (SlotRef { slot: at, generation: self.slots[at as usize].generation }, false, None);
        }
        let (at, forgotten) = if self.slots.len() < self.limit {
            let at = self.slots.len() as u32;
            self.slots.push(Slot { key: key.clone(), value: fresh(), generation: 1, older: NONE, newer: NONE });
            (at, None)
        } else {
            let at = self.oldest;
            self.unlink(at);
            let slot = &mut self.slots[at as usize];
            self.index.remove(&slot.key);
            slot.generation += 1;
            self.evicted += 1;
            let key = std::mem::replace(&mut slot.key, key.clone());
            let value = std::mem::replace(&mut slot.value, fresh());
            (at, Some((key, value)))
        };
        self.index.insert(key.clone(), at);
        self.link_newest(at);
        (SlotRef { slot: at, generation: self.slots[at as usize].generation }, true, forgotten)
    }

    fn unlink(&mut self, at: u32) {
        let (older, newer) = (self.slots[at as usize].older, self.slots[at as usize].newer);
        match older {
            NONE => self.oldest = newer,
            o => self.slots[o as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            n => self.slots[n as usize].older = older,
        }
    }

    fn link_newest(&mut self, at: u32) {
        let newest = self.newest;
        let slot = &mut self.slots[at as usize];
        slot.older = newest;
        slot.newer = NONE;
        match newest {
            NONE => self.oldest = at,
            n => self.slots[n as usize].newer = at,
        }
        self.newest = at;
    }

    /// Makes a client the most recently used, if the reference still means it.
    pub fn refresh(&mut self, at: SlotRef) {
        if self.get(at).is_some() {
            self.unlink(at.slot);
            self.link_newest(at.slot);
        }
    }

    /// State of a client, if the reference still means it.
    pub fn get(&self, at: SlotRef) -> Option<&V> {
        self.slots.get(at.slot as usize).filter(|s| s.generation == at.generation).map(|s| &s.value)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, at: SlotRef) -> Option<&mut V> {
        self.slots.get_mut(at.slot as usize).filter(|s| s.generation == at.generation).map(|s| &mut s.value)
    }

    /// The client's slot without using it.
    pub fn find(&self, key: &K) -> Option<SlotRef> {
        self.index.get(key).map(|&at| SlotRef { slot: at, generation: self.slots[at as usize].generation })
    }

    /// All clients in slot order, which is a function of the input alone.
    pub fn iter(&self) -> impl Iterator<Item = (SlotRef, &K, &V)> {
        self.slots.iter().enumerate().map(|(i, s)| (SlotRef { slot: i as u32, generation: s.generation }, &s.key, &s.value))
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (SlotRef, &mut V)> {
        self.slots.iter_mut().enumerate().map(|(i, s)| (SlotRef { slot: i as u32, generation: s.generation }, &mut s.value))
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
    fn memory_is_bounded_whatever_comes() {
        let mut table: Table<u64, ()> = Table::new(100);
        for i in 0..10_000 {
            table.touch(&crate::hash::mix(i), || ());
        }
        assert_eq!((table.len(), table.evicted(), table.index.len()), (100, 9_900, 100));
    }
}

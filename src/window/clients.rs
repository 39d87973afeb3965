//! A table of bounded size from client to state. Beyond the bound one of the least recently used clients is forgotten, and counted.
//!
//! Slots are reused. A reference to a slot therefore holds the slot's generation, and [`Table::get`] checks that it still means the same
//! client. Each use stamps one word in an array beside the slots. A linked list in order of use would be exact, but each use would read and
//! write the places of two other clients in memory.
//! A clone shares the clients with its original, in chunks, and whoever changes a client first copies its chunk. So a copy for a snapshot takes
//! a moment, however many clients there are, and only what is used meanwhile is copied at all.
//! The client that is forgotten is the one used longest ago among the next [`WINDOW`] slots in turn. In a table of up to that size this
//! is exact; in a larger one it is usually one of the oldest few hundredths: of 64 random slots the oldest lies in the oldest 1/65 on average.

use std::hash::Hash;

use rustc_hash::FxHashMap;

use super::chunks::Chunks;
use crate::prefetch;

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

/// A slot's generation, and when the slot was last used, counted in uses of the table. It lies apart from the values, which are large.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
struct LastUse {
    generation: u32,
    used: u32,
}

// === impl SlotRef ===

impl SlotRef {
    /// The client that had the slot before and was forgotten for this one.
    pub fn before(self) -> Self {
        Self { generation: self.generation.wrapping_sub(1), ..self }
    }
}

/// A bounded table that forgets what has not been used for long.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(bound(
    serialize = "K: serde::Serialize, V: serde::Serialize",
    deserialize = "K: serde::Deserialize<'de> + Eq + Hash, V: serde::Deserialize<'de>"
))]
pub struct Table<K, V> {
    index: FxHashMap<K, u32>,
    slots: Chunks<Slot<K, V>>,
    last_uses: Vec<LastUse>,
    /// Uses so far. It may wrap, since only differences are used.
    uses: u32,
    /// First slot of the next window.
    next_window: u32,
    limit: usize,
    evicted: u64,
}

/// Slots among which the one to forget is chosen. Chosen: 64 stamps of eight bytes lie in eight cache lines.
const WINDOW: usize = 64;

/// Clients spared at most for one that is forgotten. Chosen: more than the members of most campaigns, and still little work.
const MOST_SPARED: usize = 64;

// === impl Table ===

impl<K: Hash + Eq + Clone, V: Clone> Table<K, V> {
    /// An empty table for at most `limit` clients (at least one).
    pub fn new(limit: usize) -> Self {
        Self {
            index: FxHashMap::default(),
            slots: Chunks::new(),
            last_uses: Vec::new(),
            uses: 0,
            next_window: 0,
            limit: limit.clamp(1, u32::MAX as usize - 1),
            evicted: 0,
        }
    }

    /// Uses the client's slot, made with `fresh` if the client is new. Returns the slot, whether it is new, and the client that was
    /// forgotten for it, if one was.
    pub fn touch(&mut self, key: &K, fresh: impl FnOnce() -> V) -> (SlotRef, bool, Option<(K, V)>) {
        self.touch_sparing(key, fresh, |_| false)
    }

    /// The same, but a client whose turn it is and for which `spare` holds is not forgotten: it counts as used just now. However many new
    /// clients come, they cannot push it out. At most [`MOST_SPARED`] are spared at once, so the bound of the table holds
    /// whatever `spare` says, and each is spared once in a turn of the whole table.
    pub fn touch_sparing(
        &mut self,
        key: &K,
        fresh: impl FnOnce() -> V,
        spare: impl Fn(&V) -> bool,
    ) -> (SlotRef, bool, Option<(K, V)>) {
        if let Some(&at) = self.index.get(key) {
            return (self.stamp(at), false, None);
        }
        if self.len() < self.limit {
            let at = self.len() as u32;
            self.slots.push(Slot { key: key.clone(), value: fresh() });
            self.last_uses.push(LastUse { generation: 1, used: 0 });
            self.index.insert(key.clone(), at);
            return (self.stamp(at), true, None);
        }
        let mut at = self.longest_unused();
        for _ in 0..MOST_SPARED.min(self.limit - 1) {
            if !spare(&self.slots.get(at).value) {
                break;
            }
            self.stamp(at);
            at = self.longest_unused();
        }
        self.next_window = (self.next_window + WINDOW as u32) % self.last_uses.len() as u32;
        self.last_uses[at as usize].generation += 1;
        self.evicted += 1;
        let slot = self.slots.get_mut(at);
        self.index.remove(&slot.key);
        let key_of_old = std::mem::replace(&mut slot.key, key.clone());
        let old = std::mem::replace(&mut slot.value, fresh());
        self.index.insert(key.clone(), at);
        (self.stamp(at), true, Some((key_of_old, old)))
    }

    /// Stamps a slot as used now.
    #[inline]
    fn stamp(&mut self, at: u32) -> SlotRef {
        self.uses = self.uses.wrapping_add(1);
        let last_use = &mut self.last_uses[at as usize];
        last_use.used = self.uses;
        SlotRef { slot: at, generation: last_use.generation }
    }

    /// The slot that was used longest ago, among the next ones in turn.
    fn longest_unused(&self) -> u32 {
        let (before, after) = self.last_uses.split_at((self.next_window as usize).min(self.last_uses.len()));
        let window =
            after.iter().chain(before).zip((self.next_window..self.last_uses.len() as u32).chain(0..self.next_window)).take(WINDOW);
        window.max_by_key(|(last_use, _)| self.uses.wrapping_sub(last_use.used)).map_or(0, |(_, at)| at)
    }

    /// Uses a client's slot, if the reference still means the client.
    pub fn refresh(&mut self, at: SlotRef) {
        if self.lives(at) {
            self.stamp(at.slot);
        }
    }

    /// Whether a reference still means the client that it was made for.
    #[inline]
    fn lives(&self, at: SlotRef) -> bool {
        self.last_uses.get(at.slot as usize).is_some_and(|last_use| last_use.generation == at.generation)
    }

    /// Prefetches a client's state.
    #[inline]
    pub fn prefetch(&self, at: SlotRef) {
        prefetch::item(&self.last_uses, at.slot as usize);
        self.slots.prefetch(at.slot);
    }

    /// State of a client, if the reference still means it.
    pub fn get(&self, at: SlotRef) -> Option<&V> {
        self.lives(at).then(|| &self.slots.get(at.slot).value)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, at: SlotRef) -> Option<&mut V> {
        self.lives(at).then(|| &mut self.slots.get_mut(at.slot).value)
    }

    /// The client's slot; this does not count as a use.
    pub fn find(&self, key: &K) -> Option<SlotRef> {
        self.index.get(key).map(|&at| SlotRef { slot: at, generation: self.last_uses[at as usize].generation })
    }

    /// All clients in slot order, which is a function of the input alone.
    pub fn iter(&self) -> impl Iterator<Item = (SlotRef, &K, &V)> {
        self.slots
            .iter()
            .zip(&self.last_uses)
            .enumerate()
            .map(|(i, (s, o))| (SlotRef { slot: i as u32, generation: o.generation }, &s.key, &s.value))
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (SlotRef, &mut V)> {
        self.slots
            .iter_mut()
            .zip(&self.last_uses)
            .enumerate()
            .map(|(i, (s, o))| (SlotRef { slot: i as u32, generation: o.generation }, &mut s.value))
    }

    /// Copies what a clone still has, too. Whoever goes on with the clone in another thread does this first: from then on the original need
    /// not copy what it changes.
    pub fn unshare(&mut self) {
        self.slots.unshare();
    }

    /// Clients held.
    pub fn len(&self) -> usize {
        self.last_uses.len()
    }

    /// Whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.last_uses.is_empty()
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
    fn a_clone_shares_what_neither_changes_and_sees_no_change_of_the_other() {
        let mut table: Table<u64, u64> = Table::new(1_000);
        let slots: Vec<SlotRef> = (0..1_000).map(|key| table.touch(&key, || key).0).collect();
        let copy = table.clone();
        *table.get_mut(slots[500]).unwrap() = 7;
        table.touch(&5_000, || 9);
        assert_eq!((table.get(slots[500]), copy.get(slots[500])), (Some(&7), Some(&500)));
        assert_eq!((copy.len(), copy.evicted(), copy.find(&5_000)), (1_000, 0, None));
        assert_eq!(
            table.slots.unshared(&copy.slots),
            2,
            "one chunk was copied for the change, one for the client that was forgotten"
        );
    }

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
        // When all are to be spared, one is forgotten all the same.
        for i in 0..200 {
            table.touch_sparing(&(1 << 32 | i), || true, |_| true);
        }
        assert_eq!((table.len(), table.index.len()), (50, 50));
    }

    #[test]
    fn of_many_clients_one_of_the_oldest_is_forgotten() {
        let mut table: Table<u64, u64> = Table::new(5_000);
        let random = |i: u64, below: u64| crate::hash::mix(i) % below;
        for key in 0..5_000 {
            table.touch(&key, || key);
        }
        let mut newest: Vec<u64> = (0..5_000).collect();
        for i in 0..20_000 {
            let at = random(i, 5_000) as usize;
            table.touch(&(at as u64), || unreachable!("it is held"));
            newest[at] = 5_000 + i;
        }
        // New clients that come once each.
        let (mut worst, mut sum) = (0, 0);
        for stranger in 0..500 {
            let (.., forgotten) = table.touch(&(1 << 32 | stranger), || u64::MAX);
            let gone = forgotten.expect("the table is full").1;
            assert!(gone < 5_000, "a client that has just come outlives those that were not seen for long");
            let older = newest.iter().filter(|&&at| at > 0 && at < newest[gone as usize]).count();
            (worst, sum) = (worst.max(older), sum + older);
            newest[gone as usize] = 0;
        }
        assert!(sum / 500 < 150 && worst < 1_000, "of the oldest thirtieth, and never of the younger: {sum} {worst}");
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

//! Functional dependencies that a client breaks while its peers keep them.
//!
//! A broken dependency is odd only as long as others keep it: when the world changes a code book, everybody breaks it. So each
//! row that says anything about the dependencies is one vote of its client among the last [`RECENT`], the rate at which peers
//! break them (one vote a peer) is what a break is compared with, and a detection waits until enough of what peers sent
//! *afterwards* has been seen.

use super::thresholds::{Detection, Reason, STEP_CAP};
use crate::event::Cell;
use crate::judge::Family;
use crate::judge::client::rows::{ClientStructure, Waiting};
use crate::reference::Reference;
use crate::signal::dependency::{Check, Dependencies};
use crate::window::clients::SlotRef;

/// Checks of all clients that the peers' rate is estimated from.
const RECENT: usize = 200;
/// Peers on which the rate is believed; with fewer a twentieth is assumed at least.
const PEERS: f64 = 20.0;
const FEW_PEERS_RATE: f64 = 0.05;
/// Checks of peers after the first break before anybody is accused, and the share of them that may break as well.
const WAIT: u32 = 20;
const COMPANY: f64 = 0.6;
/// Share of a prober's checks that break, and that keep: he does not know the dependency, but hits it by luck.
const PROBER: (f64, f64) = (0.8, 0.2);

/// What peers break and keep.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Breaks {
    /// Learned from the reference, so no part of a snapshot.
    #[serde(skip)]
    dependencies: Dependencies,
    /// The last checks, in a ring; `first` marks the one place of each client that counts (the lowest), so that the rate needs
    /// no set of who was seen.
    recent: Vec<(SlotRef, bool)>,
    first: Vec<bool>,
    next: usize,
    clients: u32,
    breaking: u32,
    /// Checks and breaks of everybody since the start, wrapping: only differences are used.
    total: (u32, u32),
}

// === impl Breaks ===

impl Breaks {
    pub(super) fn new(reference: &Reference) -> Self {
        Self {
            dependencies: Dependencies::new(reference),
            recent: Vec::with_capacity(RECENT),
            first: Vec::with_capacity(RECENT),
            next: 0,
            clients: 0,
            breaking: 0,
            total: (0, 0),
        }
    }

    /// Goes on from a snapshot.
    pub(super) fn restore(&mut self, state: Self) {
        *self = Self { dependencies: std::mem::take(&mut self.dependencies), ..state };
    }

    /// Whether the reference has no dependencies.
    pub(super) fn is_empty(&self) -> bool {
        self.dependencies.is_empty()
    }

    /// Broken by this client, kept by its peers? `bar` is the evidence, in nats, at which it is accused.
    pub(super) fn check(&mut self, row: &[Cell], at: SlotRef, state: &mut ClientStructure, bar: f64) -> Option<Detection> {
        let broken = match self.dependencies.check(row) {
            Check::Silent => return None,
            Check::Kept => false,
            Check::Broken(..) => true,
        };
        let rate = self.rate(at);
        self.total = (self.total.0.wrapping_add(1), self.total.1.wrapping_add(u32::from(broken)));
        // What a client does itself is not what its peers do.
        match &mut state.waiting {
            Some(since) => *since = (since.0.wrapping_add(1), since.1.wrapping_add(u32::from(broken))),
            None if broken => state.waiting = Some(self.total),
            None => {}
        }
        let likelihood = if broken { PROBER.0 / rate.min(PROBER.0) } else { PROBER.1 / (1.0 - rate.min(PROBER.0)) };
        state.broken = state.broken.max(0.0) + likelihood.ln().clamp(-3.0, STEP_CAP);
        let mut detection = None;
        if state.broken <= 0.0 {
            state.waiting = None;
        } else if state.broken > bar && state.waiting.is_some_and(|since| self.kept_since(since)) {
            detection = Some(Detection {
                client: at,
                reason: Reason::BrokenDependency,
                family: Family::Random,
                evidence: state.broken,
                component: None,
            });
            state.waiting = None;
        }
        self.note(at, broken);
        detection
    }

    /// Whether peers, of whom enough were seen since, keep what the client broke.
    fn kept_since(&self, since: Waiting) -> bool {
        let (peers, breaking) = (self.total.0.wrapping_sub(since.0), self.total.1.wrapping_sub(since.1));
        peers >= WAIT && f64::from(breaking) <= COMPANY * f64::from(peers)
    }

    /// Upper estimate of the rate at which peers break dependencies now: one vote a peer.
    fn rate(&self, at: SlotRef) -> f64 {
        let own = self.recent.iter().position(|(client, _)| *client == at).map(|i| self.recent[i].1);
        let peers = f64::from(self.clients - u32::from(own.is_some()));
        let breaking = f64::from(self.breaking - u32::from(own == Some(true)));
        let observed: f64 = if peers > 0.0 { (breaking + 1.0) / (peers + 2.0) * 1.5 } else { 0.0 };
        self.dependencies.rate.max(observed).max(if peers < PEERS { FEW_PEERS_RATE } else { 0.0 }).min(0.9)
    }

    /// Puts a check into the ring and keeps `first` and the sums true.
    fn note(&mut self, at: SlotRef, broken: bool) {
        let place = self.next;
        self.next = (self.next + 1) % RECENT;
        if place == self.recent.len() {
            self.recent.push((at, broken));
            self.first.push(false);
        } else {
            let gone = std::mem::replace(&mut self.recent[place], (at, broken));
            if std::mem::take(&mut self.first[place]) {
                self.count(gone.1, false);
                if let Some(later) = self.place_of(gone.0, place + 1) {
                    self.first[later] = true;
                    self.count(self.recent[later].1, true);
                }
            }
        }
        if self.place_of(at, 0) == Some(place) {
            if let Some(later) = self.place_of(at, place + 1).filter(|&later| self.first[later]) {
                self.first[later] = false;
                self.count(self.recent[later].1, false);
            }
            self.first[place] = true;
            self.count(broken, true);
        }
    }

    fn place_of(&self, at: SlotRef, from: usize) -> Option<usize> {
        self.recent.get(from..)?.iter().position(|(client, _)| *client == at).map(|i| from + i)
    }

    fn count(&mut self, broken: bool, came: bool) {
        let (one, if_broken) = (1, u32::from(broken));
        if came {
            self.clients += one;
            self.breaking += if_broken;
        } else {
            self.clients -= one;
            self.breaking -= if_broken;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_what_a_count_over_the_ring_gives() {
        let mut breaks = Breaks {
            dependencies: Dependencies::default(),
            recent: Vec::new(),
            first: Vec::new(),
            next: 0,
            clients: 0,
            breaking: 0,
            total: (0, 0),
        };
        for i in 0..5_000_u64 {
            let random = hash(i);
            breaks.note(SlotRef { slot: (random % 37) as u32, generation: 1 }, random >> 40 & 3 == 0);
            let mut seen = std::collections::BTreeSet::new();
            let (mut clients, mut breaking) = (0, 0);
            for (client, broken) in &breaks.recent {
                if seen.insert(*client) {
                    clients += 1;
                    breaking += u32::from(*broken);
                }
            }
            assert_eq!((breaks.clients, breaks.breaking), (clients, breaking), "after {i}");
        }
        assert_eq!(breaks.recent.len(), RECENT);
    }

    fn hash(i: u64) -> u64 {
        crate::hash::mix(i)
    }
}

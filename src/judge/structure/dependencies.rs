//! Functional dependencies that a client breaks while its peers keep them.
//!
//! A broken dependency is odd only as long as others keep it: when a code book changes, everybody breaks it. Therefore:
//! * each row that says anything about the dependencies is one check of its client, kept among the last [`RECENT`];
//! * a break is compared with the rate at which peers break dependencies now, one vote a peer;
//! * a detection waits until enough of what peers sent *afterwards* has been seen;
//! * there is none while several clients with a past break dependencies: what many do has a common cause, however often one does it.

use super::query::Sender;
use super::thresholds::{Detection, Reason, STEP_CAP};
use crate::event::Cell;
use crate::judge::Family;
use crate::judge::client::rows::{CheckCounts, ClientStructure};
use crate::reference::Reference;
use crate::signal::dependency::{Check, Dependencies};
use crate::window::clients::SlotRef;

/// Checks of all clients that the peers' rate is estimated from. Chosen: votes of some dozens of peers, from minutes to hours of traffic.
const RECENT: usize = 200;
/// Peers from which on the observed rate is used as it is. Chosen: none of twenty breaking bounds the rate at 14% with 95% confidence.
const ENOUGH_PEERS: f64 = 20.0;
/// Least rate that is assumed with fewer peers: one in [`ENOUGH_PEERS`].
const FEW_PEERS_RATE: f64 = 0.05;
/// Factor on the observed rate, towards the client. Chosen.
const RATE_MARGIN: f64 = 1.5;
/// Most that peers' rate is taken to be, so that keeping a dependency remains possible. Chosen: above [`PROBER_BREAKS`], where a break
/// is no evidence any more.
const MOST_RATE: f64 = 0.9;
/// Checks of peers after the first break before a client is detected. Chosen: as many as [`ENOUGH_PEERS`].
const WAIT_CHECKS: u32 = 20;
/// Share of those checks that may break as well. Chosen: beyond it most peers break the dependency, so the world has changed.
const MOST_PEER_BREAKS: f64 = 0.6;
/// Peers with a past that break dependencies now, at least and as a share of all, from which there is no detection. Chosen: of the peers
/// of a day the share is a hundredth or so, and three of them at once are no coincidence.
const COMMON: (f64, f64) = (3.0, 0.1);
/// Share of a prober's checks that break a dependency. Chosen: the prober does not know it, and keeps it by luck one time in five.
const PROBER_BREAKS: f64 = 0.8;
/// Share of a prober's checks that keep it.
const PROBER_KEEPS: f64 = 0.2;
/// Least evidence of one kept dependency, in nats. Chosen: a kept one takes back less than a broken one may add ([`STEP_CAP`]).
const LEAST_STEP: f64 = -3.0;

/// One client's check.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
struct ClientCheck {
    client: SlotRef,
    broken: bool,
    /// Whether it is the one check of its client that counts: the one in the lowest place. The rate then needs no set of the clients.
    counted: bool,
}

/// What peers break and keep.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Breaks {
    /// Learned from the reference, so no part of a snapshot.
    #[serde(skip)]
    dependencies: Dependencies,
    /// The last checks, in a ring.
    recent: Vec<ClientCheck>,
    /// Place in the ring of the next check.
    next: usize,
    /// Clients in the ring, and those whose counted check is broken.
    clients: u32,
    breaking: u32,
    /// Checks of everybody since the start, wrapping: only differences are used.
    total: CheckCounts,
}

// === impl Breaks ===

impl Breaks {
    pub(super) fn new(reference: &Reference) -> Self {
        Self::of(Dependencies::new(reference))
    }

    fn of(dependencies: Dependencies) -> Self {
        Self { dependencies, recent: Vec::with_capacity(RECENT), next: 0, clients: 0, breaking: 0, total: CheckCounts::default() }
    }

    /// Goes on from a snapshot.
    pub(super) fn restore(&mut self, state: Self) {
        *self = Self { dependencies: std::mem::take(&mut self.dependencies), ..state };
    }

    /// Whether the reference has no dependencies.
    pub(super) fn is_empty(&self) -> bool {
        self.dependencies.is_empty()
    }

    /// Checks a row of a client: broken by this client, kept by its peers? `threshold` is the evidence, in nats, of a detection.
    pub(super) fn check(&mut self, row: &[Cell], sender: Sender, state: &mut ClientStructure, threshold: f64) -> Option<Detection> {
        let at = sender.at;
        let broken = match self.dependencies.check(row) {
            Check::Silent => return None,
            Check::Kept => false,
            Check::Broken(..) => true,
        };
        let rate = self.rate(at);
        self.total.add(broken);
        // What a client does itself is not what its peers do.
        match &mut state.waiting {
            Some(since) => since.add(broken),
            None if broken => state.waiting = Some(self.total),
            None => {}
        }
        let likelihood =
            if broken { PROBER_BREAKS / rate.min(PROBER_BREAKS) } else { PROBER_KEEPS / (1.0 - rate.min(PROBER_BREAKS)) };
        state.broken = state.broken.max(0.0) + likelihood.ln().clamp(LEAST_STEP, STEP_CAP);
        let mut detection = None;
        if state.broken <= 0.0 {
            state.waiting = None;
        } else if state.broken > threshold && !self.is_common(at) && state.waiting.is_some_and(|since| self.peers_kept_since(since))
        {
            detection = Some(Detection {
                client: at,
                reason: Reason::BrokenDependency,
                family: Family::Random,
                evidence: state.broken,
                component: None,
            });
            state.waiting = None;
        }
        if sender.is_established {
            self.note(at, broken);
        }
        detection
    }

    /// Whether enough peers were checked since then, and most of them kept the dependencies.
    fn peers_kept_since(&self, since: CheckCounts) -> bool {
        let peers = self.total.since(since);
        peers.checks >= WAIT_CHECKS && f64::from(peers.broken) <= MOST_PEER_BREAKS * f64::from(peers.checks)
    }

    /// Upper estimate of the rate at which peers of a client break dependencies now, one vote a peer. Laplace's rule adds one break and
    /// one kept dependency.
    fn rate(&self, at: SlotRef) -> f64 {
        let (breaking, peers) = self.peers_of(at);
        let observed: f64 = if peers > 0.0 { (breaking + 1.0) / (peers + 2.0) * RATE_MARGIN } else { 0.0 };
        self.dependencies.rate.max(observed).max(if peers < ENOUGH_PEERS { FEW_PEERS_RATE } else { 0.0 }).min(MOST_RATE)
    }

    /// Peers of a client that break dependencies now, and peers.
    fn peers_of(&self, at: SlotRef) -> (f64, f64) {
        let own = self.recent.iter().find(|check| check.client == at).map(|check| check.broken);
        (f64::from(self.breaking - u32::from(own == Some(true))), f64::from(self.clients - u32::from(own.is_some())))
    }

    /// Whether so many peers of a client break dependencies now that it has a common cause.
    fn is_common(&self, at: SlotRef) -> bool {
        let (breaking, peers) = self.peers_of(at);
        breaking >= COMMON.0 && breaking >= COMMON.1 * peers
    }

    /// Puts a check into the ring; keeps the counted checks and the sums right.
    fn note(&mut self, at: SlotRef, broken: bool) {
        let place = self.next;
        self.next = (self.next + 1) % RECENT;
        let check = ClientCheck { client: at, broken, counted: false };
        if place == self.recent.len() {
            self.recent.push(check);
        } else {
            let gone = std::mem::replace(&mut self.recent[place], check);
            if gone.counted {
                self.uncount(gone.broken);
                if let Some(later) = self.place_of(gone.client, place + 1) {
                    self.count(later);
                }
            }
        }
        if self.place_of(at, 0) == Some(place) {
            if let Some(later) = self.place_of(at, place + 1).filter(|&later| self.recent[later].counted) {
                self.recent[later].counted = false;
                self.uncount(self.recent[later].broken);
            }
            self.count(place);
        }
    }

    /// The lowest place, of those after `from`, with a check of a client.
    fn place_of(&self, at: SlotRef, from: usize) -> Option<usize> {
        self.recent.get(from..)?.iter().position(|check| check.client == at).map(|i| from + i)
    }

    /// The check in a place is now the one of its client that counts.
    fn count(&mut self, place: usize) {
        let check = &mut self.recent[place];
        check.counted = true;
        self.clients += 1;
        self.breaking += u32::from(check.broken);
    }

    /// A counted check does not count any more.
    fn uncount(&mut self, broken: bool) {
        self.clients -= 1;
        self.breaking -= u32::from(broken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_what_a_count_over_the_ring_gives() {
        let mut breaks = Breaks::of(Dependencies::default());
        for i in 0..5_000_u64 {
            let random = hash(i);
            breaks.note(SlotRef { slot: (random % 37) as u32, generation: 1 }, random >> 40 & 3 == 0);
            let mut seen = std::collections::BTreeSet::new();
            let (mut clients, mut breaking) = (0, 0);
            for check in &breaks.recent {
                if seen.insert(check.client) {
                    clients += 1;
                    breaking += u32::from(check.broken);
                }
            }
            assert_eq!((breaks.clients, breaks.breaking), (clients, breaking), "after {i}");
        }
        assert_eq!(breaks.recent.len(), RECENT);
    }

    #[test]
    fn a_client_waits_until_enough_peers_kept_what_it_broke() {
        let mut breaks = Breaks::of(Dependencies::default());
        let since = breaks.total;
        (0..WAIT_CHECKS - 1).for_each(|_| breaks.total.add(false));
        assert!(!breaks.peers_kept_since(since), "one check too few");
        breaks.total.add(false);
        assert!(breaks.peers_kept_since(since));
        (0..2 * WAIT_CHECKS).for_each(|_| breaks.total.add(true));
        assert!(!breaks.peers_kept_since(since), "two of three peers break it as well");
    }

    fn hash(i: u64) -> u64 {
        crate::hash::mix(i)
    }
}

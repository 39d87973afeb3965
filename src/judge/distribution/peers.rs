//! The last votes of unflagged clients: what peers show right now.
//!
//! They raise the bound on what an honest client may show, so that a drifting world raises it for everybody at once, and they say
//! whether the population still matches the reference.

use std::collections::VecDeque;

use crate::judge::client::{Client, Key};
use crate::judge::evidence::Bounds;
use crate::signal::cuts::P_CELLS;
use crate::signal::density::statistic::{Cells, DensityStatistic, PerStatistic};
use crate::window::clients::{SlotRef, Table};

/// Votes kept. Chosen: enough that a share of a tenth is three votes, few enough that a change shows within minutes of usual traffic.
const KEPT: usize = 32;
/// Votes kept of one client, so that no client is most of the peers.
const KEPT_EACH: u8 = 2;
/// Fewest votes that say anything: with 16, three standard errors of a share of a half are less than two fifths.
const FEWEST: usize = 16;
/// Changes of the votes after which the likelihood ratios are computed anew: an eighth of [`KEPT`], since each one costs a
/// few hundred divisions.
const MOST_CHANGES: u32 = 4;
/// Votes whose standard error the bound uses, plus one. Chosen below [`KEPT`]: peers send up to two votes each and their clients resemble
/// each other, so 32 votes say as much as about twenty independent ones.
const EFFECTIVE_VOTES: f64 = 20.0;
/// Standard errors above the peers' mean that are still believed to be the peers' share.
const STANDARD_ERRORS: f64 = 3.0;
/// Largest bound. It stays below 1, so that the cells above the cut keep some probability.
const MOST: f64 = 0.97;
/// The cut at which peers are compared with the reference: p ≤ 0.005.
const COMPARED_CUT: usize = 1;
/// Share of the peers' votes up to which they match the reference: twice the floor of the bound at [`COMPARED_CUT`]. Of 32 votes that is
/// three.
const MATCHING: f64 = 0.10;

/// The votes.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Peers {
    votes: VecDeque<(SlotRef, Cells)>,
    /// How many of the votes lie in each cell of each statistic.
    counts: PerStatistic<[u32; P_CELLS]>,
    /// Changes of the votes that the likelihood ratios do not know of yet.
    changes: u32,
}

// === impl Peers ===

impl Peers {
    /// Whether a client may add another vote.
    pub(super) fn have_room_for(&self, client: &Client) -> bool {
        client.distribution.peer_votes < KEPT_EACH
    }

    /// Takes a vote and lets the oldest go.
    pub(super) fn add(&mut self, clients: &mut Table<Key, Client>, at: SlotRef, cells: Cells) {
        if let Some(client) = clients.get_mut(at) {
            client.distribution.peer_votes += 1;
        }
        self.votes.push_back((at, cells));
        self.count(cells, true);
        if self.votes.len() <= KEPT {
            self.changes += 1;
            return;
        }
        let Some((oldest, left)) = self.votes.pop_front() else { return };
        self.count(left, false);
        // If the votes that came and went are equal, nothing has changed.
        self.changes += u32::from(left != cells);
        if let Some(client) = clients.get_mut(oldest) {
            client.distribution.peer_votes = client.distribution.peer_votes.saturating_sub(1);
        }
    }

    /// Takes back the votes of a client.
    pub(super) fn unlearn(&mut self, at: SlotRef) {
        self.votes.retain(|(peer, _)| *peer != at);
        self.counts = PerStatistic::default();
        for i in 0..self.votes.len() {
            self.count(self.votes[i].1, true);
        }
        self.changes = MOST_CHANGES;
    }

    /// Forgets all votes.
    pub(super) fn clear(&mut self) {
        self.votes.clear();
        self.counts = PerStatistic::default();
        self.changes = MOST_CHANGES;
    }

    /// Whether enough has changed for the likelihood ratios to be computed anew; says so once.
    pub(super) fn take_changes(&mut self) -> bool {
        let changed = self.changes >= MOST_CHANGES;
        if changed {
            self.changes = 0;
        }
        changed
    }

    /// The likelihood ratios must be computed anew at the next vote.
    pub(super) fn mark_changed(&mut self) {
        self.changes = MOST_CHANGES;
    }

    /// Share of the votes beyond each cut, and the largest share that they still speak for; `None` if there are too few votes.
    pub(super) fn bounds(&self) -> Option<(Bounds, Bounds)> {
        let upper =
            |mean: f64| (mean + STANDARD_ERRORS * (mean * (1.0 - mean) / (EFFECTIVE_VOTES + 1.0)).max(0.0).sqrt()).min(MOST);
        (self.votes.len() >= FEWEST).then(|| {
            let shares = self.shares();
            (shares, shares.map(|shares| shares.map(upper)))
        })
    }

    /// Whether the votes look like the reference's rows, by the statistics that tell; so too if there are few votes.
    pub(super) fn match_reference(&self) -> bool {
        if self.votes.len() < FEWEST {
            return true;
        }
        let shares = self.shares();
        let mut comparing = DensityStatistic::ALL.into_iter().filter(|statistic| statistic.compares_peers());
        comparing.all(|statistic| shares[statistic][COMPARED_CUT] <= MATCHING)
    }

    /// Share of the votes with p ≤ cut, by statistic and cut.
    fn shares(&self) -> Bounds {
        let n = self.votes.len().max(1) as f64;
        self.counts.map(|counts| {
            let mut below = 0;
            std::array::from_fn(|cut| {
                below += counts[cut];
                f64::from(below) / n
            })
        })
    }

    fn count(&mut self, cells: Cells, came: bool) {
        for (counts, &cell) in self.counts.iter_mut().zip(cells.iter()) {
            let count = &mut counts[usize::from(cell)];
            *count = if came { *count + 1 } else { count.saturating_sub(1) };
        }
    }
}

//! Distribution evidence against clients: their rows do not look like the world's, nor like their peers' rows of the same hours.
//!
//! "This client differs from the reference" mostly measures that clients differ. So what an honest client may show is bounded by the
//! largest of three things: a floor; what the more unusual clients showed during warm-up ([`heterogeneity`]); and what unflagged peers
//! show right now ([`peers`]). Heterogeneity and drift therefore raise the bound for everybody at once. The detector itself is in
//! [`super::evidence`], and which rows *vote* is asked of the client ([`super::client::votes`]).
//!
//! | file | what it holds |
//! |---|---|
//! | [`heterogeneity`] | how much honest clients differ, learned during the warm-up |
//! | [`peers`] | what unflagged clients show right now |
//! | [`newcomers`] | the pool of newcomers: many addresses with a few queries each |

mod heterogeneity;
mod newcomers;
mod peers;

use std::collections::VecDeque;

use super::client::votes::AdmittedRow;
use super::client::votes::ClientDistribution;
use super::client::{CLEAN_PAST, Client, Key};
use super::evidence::{CLIENT_BETS, Factors};
use crate::event::EventTime;
use crate::hash;
use crate::signal::codes::Codes;
use crate::signal::density::statistic::Cells;
use crate::window::clients::{SlotRef, Table};
use heterogeneity::Heterogeneity;
use newcomers::NewcomerPool;
use peers::Peers;

/// Votes of a usual honest client in a day. With it `alarms_per_client_day` becomes a threshold on the detector: the chance that an
/// honest client passes T within n votes is at most n/T, so T = n/α.
const VOTES_PER_DAY: f64 = 10.0;
/// Warm-up in seconds of event time. Chosen: in less than four hours too few clients are seen to know how they differ; in more, an
/// attacker has longer before newcomers are watched.
pub const WARM_UP_SECONDS: i64 = 4 * 3600;
/// Evidence at which a client counts as suspicious: it is left out of drift, and peers do not learn from it. An honest client of ten
/// votes comes there with probability 10/20 at most, and does so far less often, since it stays below its bound.
pub const SUSPICIOUS: f64 = 20.0;
/// First votes of a client. A newcomer's go into the pool of newcomers; later ones may be peers' votes.
pub const FIRST_VOTES: u32 = 5;
/// Seconds from a newcomer's first query until its votes may be peers' votes: a burst of attackers must not become its own peers.
const PEER_AGE_SECONDS: f64 = 1800.0;
/// Threshold of a member of a newcomer burst, as a fraction of the full one. The pool's own alarm (ten times the full threshold)
/// vouches for the rest.
const MEMBER_FRACTION: f64 = 1e3;
/// Most that flagged clients lower the next newcomer's threshold by.
const MOST_LOWERED: f64 = 100.0;
/// What the threshold of known clients is multiplied by while peers do not match the reference: known clients who all look odd at once
/// are a drifting world and not a conspiracy. Chosen: two decades, for the part of drift that the bound has not learned yet.
const DRIFTING_FACTOR: f64 = 100.0;
/// Seconds for which a client that turned odd counts towards a common change, and for which a detection waits for the drift test at
/// least: one of its steps is a quarter of an hour, and it needs a few.
const TURNED_ODD_SECONDS: f64 = 6.0 * 3600.0;
const WAIT_SECONDS: f64 = 3600.0;
/// Other clients with a clean past that turned odd from which a detection waits, and from which it waits whatever the client's own past.
/// Chosen: three are no coincidence at the stated rate of alarms; eight are a change of the world or a campaign with a past, which
/// other evidence finds.
const TURNED_ODD: usize = 3;
const MANY_TURNED_ODD: usize = 8;

/// What the judge must know of the client that votes.
#[derive(Clone, Copy, Debug)]
pub struct Voter {
    /// Which client.
    pub at: SlotRef,
    /// First query.
    pub first: EventTime,
    /// Already flagged as probing.
    pub flagged: bool,
}

/// What follows from a vote.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum VoteOutcome {
    /// Nothing follows.
    Counted,
    /// The evidence passed the threshold.
    Detected {
        /// The threshold on evidence (not its logarithm).
        threshold: f64,
    },
}

/// The population of one model's clients.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Population {
    salt: u64,
    threshold: f64,
    start: Option<EventTime>,
    warm: bool,
    heterogeneity: Heterogeneity,
    peers: Peers,
    client_factors: Factors,
    newcomer_pool: NewcomerPool,
    flagged: u32,
    /// Clients with a clean past whose evidence became suspicious, and when.
    turned_odd: VecDeque<(EventTime, SlotRef)>,
}

// === impl Population ===

impl Population {
    /// A population with a stated rate of false alarms per client and day. `salt` must be the deployment's.
    pub fn new(alarms_per_client_day: f64, salt: u64) -> Self {
        let heterogeneity = Heterogeneity::default();
        Self {
            salt: hash::mix2(salt, 0x5eed),
            threshold: VOTES_PER_DAY / alarms_per_client_day,
            start: None,
            warm: false,
            client_factors: Factors::new(&heterogeneity.client, CLIENT_BETS),
            newcomer_pool: NewcomerPool::new(&heterogeneity.newcomers),
            heterogeneity,
            peers: Peers::default(),
            flagged: 0,
            turned_odd: VecDeque::new(),
        }
    }

    /// End of the warm-up; `None` before the first query.
    pub fn warm_at(&self) -> Option<EventTime> {
        self.start.map(|s| s.plus_seconds(WARM_UP_SECONDS))
    }

    /// Whether a client came after the warm-up.
    pub fn is_newcomer(&self, first: EventTime) -> bool {
        self.warm_at().is_some_and(|warm| first > warm)
    }

    /// Whether the pool of newcomers is alarmed.
    pub fn newcomer_burst_active(&self, now: EventTime) -> bool {
        self.newcomer_pool.is_alarmed(now)
    }

    /// Whether the first rows of newcomers are usual again: the pool has no evidence to speak of.
    pub fn newcomers_are_usual(&self) -> bool {
        self.newcomer_pool.is_usual()
    }

    /// Start of the newest burst of newcomers that alarmed the pool.
    pub fn newcomer_burst_since(&self) -> EventTime {
        self.newcomer_pool.burst_since()
    }

    /// Likelihood ratios in force.
    pub fn factors(&self) -> &Factors {
        &self.client_factors
    }

    /// Likelihood ratios against honest clients of the warm-up, whatever peers show now.
    pub fn factors_without_peers(&self) -> Factors {
        Factors::new(&self.heterogeneity.client, CLIENT_BETS)
    }

    /// Evidence at which members of a burst of newcomers are named.
    pub fn member_threshold(&self) -> f64 {
        self.threshold / MEMBER_FRACTION
    }

    /// Whether peers look like the reference, as far as the dependence of features on each other goes.
    pub fn peers_match_reference(&self) -> bool {
        self.peers.match_reference()
    }

    /// Whether a row of a client may vote; `near` is the p-value of its nearness to the decision boundary.
    pub fn admits(&mut self, client: &mut Client, codes: &Codes, near: f64, now: EventTime) -> Option<AdmittedRow> {
        self.start.get_or_insert(now);
        client.distribution.may_vote(codes, near, self.salt)
    }

    /// A vote of a client. `drift_pending` says whether the model's own drift test is undecided.
    pub fn vote(
        &mut self,
        clients: &mut Table<Key, Client>,
        voter: Voter,
        cells: Cells,
        now: EventTime,
        drift_pending: bool,
    ) -> VoteOutcome {
        self.update_bounds(clients, now);
        let newcomer = self.is_newcomer(voter.first);
        let Some(client) = clients.get_mut(voter.at) else { return VoteOutcome::Counted };
        let state = &mut client.distribution;
        let total = state.note_vote(cells, &self.client_factors);
        if voter.flagged {
            return VoteOutcome::Counted;
        }
        let votes = state.votes;
        if newcomer && votes <= FIRST_VOTES {
            self.newcomer_pool.vote(cells, now, self.threshold);
        }
        if note_suspicion(state, total, now) {
            self.turned_odd.push_back((now, voter.at));
        }
        let threshold = self.threshold_for(newcomer, now);
        if total >= threshold && !self.must_wait(clients, voter.at, now, drift_pending) {
            return VoteOutcome::Detected { threshold };
        }
        self.held(clients, voter.at, now);
        VoteOutcome::Counted
    }

    /// A client stays unflagged with its newest vote, which may be one of the peers'.
    pub fn held(&mut self, clients: &mut Table<Key, Client>, at: SlotRef, now: EventTime) {
        let client = clients.get(at).filter(|client| self.is_established(Some(client), now) && self.peers.have_room_for(client));
        if let Some(cells) = client.map(|client| client.distribution.newest_cells) {
            self.peers.add(clients, at, cells);
        }
    }

    /// Whether a client may speak for its peers: it is not flagged, and has a past. During the warm-up nobody has one.
    pub fn is_established(&self, client: Option<&Client>, now: EventTime) -> bool {
        client.is_some_and(|client| {
            let has_past = || {
                let old_enough = !self.is_newcomer(client.first) || now.seconds_since(client.first) >= PEER_AGE_SECONDS;
                client.distribution.votes > FIRST_VOTES && old_enough
            };
            !client.is_flagged() && (!self.is_warm(now) || has_past())
        })
    }

    /// Whether the warm-up is over.
    pub fn is_warm(&self, now: EventTime) -> bool {
        self.warm_at().is_some_and(|warm| now > warm)
    }

    /// Ends the warm-up when it is time, and computes the likelihood ratios anew when enough has changed.
    fn update_bounds(&mut self, clients: &Table<Key, Client>, now: EventTime) {
        let start = *self.start.get_or_insert(now);
        if !self.warm && now > start.plus_seconds(WARM_UP_SECONDS) {
            self.warm = true;
            let unflagged = clients.iter().filter(|(_, _, client)| !client.is_flagged());
            self.heterogeneity.learn(unflagged.map(|(_, _, client)| &client.distribution));
            self.peers.mark_changed();
        }
        if self.peers.take_changes() {
            let bounds = self.heterogeneity.raised(self.peers.bounds());
            self.client_factors = Factors::new(&bounds.client, CLIENT_BETS);
            self.newcomer_pool.set_bounds(&bounds.newcomers);
        }
    }

    /// Threshold on the evidence against a client that came at `first`.
    pub fn threshold_of(&self, first: Option<EventTime>, now: EventTime) -> f64 {
        self.threshold_for(first.is_some_and(|first| self.is_newcomer(first)), now)
    }

    /// Threshold on the evidence. Each flagged client lets the next newcomer be flagged on proportionally less, down to a
    /// hundredth (the e-BH procedure of Wang and Ramdas 2022 allows it: the false discovery *proportion* stays bounded).
    fn threshold_for(&self, newcomer: bool, now: EventTime) -> f64 {
        match (newcomer, self.peers_match_reference()) {
            (false, true) | (true, false) => self.threshold,
            (false, false) => self.threshold * DRIFTING_FACTOR,
            (true, true) => {
                let lowered = (self.threshold / f64::from(1 + self.flagged)).max(self.threshold / MOST_LOWERED);
                if self.newcomer_burst_active(now) { lowered.min(self.member_threshold()) } else { lowered }
            }
        }
    }

    /// Whether a detection must wait: several clients with a clean past became odd within hours, which is how a drift or a
    /// partial roll-out begins. It waits for an hour, and for as long as the drift test is undecided.
    fn must_wait(&mut self, clients: &mut Table<Key, Client>, at: SlotRef, now: EventTime, drift_pending: bool) -> bool {
        while self.turned_odd.front().is_some_and(|(t, _)| now.seconds_since(*t) > TURNED_ODD_SECONDS) {
            self.turned_odd.pop_front();
        }
        let unflagged = |other: SlotRef| clients.get(other).is_some_and(|client| !client.is_flagged());
        let others = self.turned_odd.iter().filter(|(_, other)| *other != at && unflagged(*other)).count();
        let matching = self.peers_match_reference();
        let Some(client) = clients.get_mut(at) else { return false };
        let state = &mut client.distribution;
        if others < TURNED_ODD || (state.clean < CLEAN_PAST && matching && others < MANY_TURNED_ODD) {
            return false;
        }
        let since = *state.held_since.get_or_insert(now);
        drift_pending || now.seconds_since(since) < WAIT_SECONDS
    }

    /// A client was flagged, by whatever evidence: peers unlearn it.
    pub fn flagged(&mut self, at: SlotRef) {
        self.flagged += 1;
        self.peers.unlearn(at);
    }

    /// The statistics changed (drifting features were masked): what was learned with the old ones goes.
    pub fn restart(&mut self, clients: &mut Table<Key, Client>) {
        self.peers.clear();
        self.turned_odd.clear();
        self.newcomer_pool.reset();
        for (_, client) in clients.iter_mut() {
            client.distribution.peer_votes = 0;
            if !client.is_flagged() {
                client.distribution.detector.reset();
                client.distribution.suspicious_since = None;
            }
        }
    }
}

/// Notes whether a client is suspicious; true if it became so after a clean past.
fn note_suspicion(state: &mut ClientDistribution, evidence: f64, now: EventTime) -> bool {
    if state.suspicious_since.is_some() {
        return false;
    }
    if evidence < SUSPICIOUS {
        state.clean = state.votes;
        return false;
    }
    state.suspicious_since = Some(now);
    state.clean >= CLEAN_PAST
}

#[cfg(test)]
mod tests;

//! Distribution evidence against clients: their rows do not look like the world's, nor like their peers' rows of the same hours.
//!
//! "This client differs from the reference" mostly measures that clients differ. So what an honest client may show is bounded
//! by the largest of three things: a floor; what the more unusual clients showed during warm-up; and what unflagged peers show
//! right now. Heterogeneity and drift therefore raise the bar for everybody at once (see [`super::evidence`] for the detector).
//!
//! Which rows *vote* is asked of the client ([`super::client::votes`]).
//!
//! Many addresses with a few queries each are met by a *pool*: the same detector over the first votes of all newcomers. The pool
//! accuses nobody; while it is alarmed, newcomers need less evidence of their own.

use std::collections::VecDeque;

use statrs::distribution::{Beta, ContinuousCDF as _};

use super::client::{Client, Key};
use super::evidence::{Bounds, CLIENT_BETS, Detector, Factors, POOL_BETS};
use crate::event::EventTime;
use crate::hash;
use crate::signal::density::{CUTS, Cells, Codes, DEPENDENCE, STATISTICS};
use crate::window::clients::{SlotRef, Table};

/// Floor of the bound on P(p ≤ cut): twenty-five times nominal at the smallest cut. Measured clients with their own
/// sub-populations stay under it; it costs probers a query or two.
const FLOOR: [f64; CUTS.len()] = [0.025, 0.05, 0.18, 0.45];
/// The same for the pool of newcomers, which averages over clients and so needs less room.
const POOL_FLOOR: [f64; CUTS.len()] = [0.004, 0.0125, 0.05, 0.22];
/// No client, however unusual during warm-up, raises the bound beyond this.
const HETEROGENEITY_CAP: [f64; CUTS.len()] = [0.15, 0.2, 0.3, 0.5];
/// And the pool's.
const POOL_CAP: [f64; CUTS.len()] = [0.05, 0.1, 0.2, 0.4];
/// Votes of a usual honest client in a day; with it `alarms_per_client_day` becomes a threshold on the detector (T = n/α).
const VOTES_PER_DAY: f64 = 10.0;
/// Warm-up in seconds of event time: shorter, and too few clients have been seen to know how they differ.
pub const WARM_UP_SECONDS: i64 = 4 * 3600;
/// Votes kept of peers, at most [`PEERS_EACH`] of one client.
const PEERS: usize = 32;
const PEERS_EACH: usize = 2;
/// Statistics that say whether peers look like the reference: those of the pairs, since the finest of all moves with the seasons.
const CALM: usize = 2;
/// Changes of the peers after which the likelihood ratios are made anew: an eighth of them.
const STALE: u32 = 4;
/// Fewest peer votes that say anything.
const MIN_PEERS: usize = 16;
/// Concentration of the peer bound: the peers' mean plus three standard errors of this many votes.
const PEER_CONCENTRATION: f64 = 20.0;
/// Votes of a newcomer that go into the pool.
const POOL_VOTES: u32 = 5;
/// How long an alarmed pool lowers the threshold for newcomers, in seconds.
const POOL_SECONDS: i64 = 6 * 3600;
/// Evidence at which a client counts as suspicious: it is left out of drift, and peers do not learn from it.
pub const SUSPICIOUS: f64 = 20.0;
/// Clean votes that make a past.
const CLEAN_PAST: u32 = 10;

/// What the judge must know of the client that votes.
#[derive(Clone, Copy, Debug)]
pub struct Voter {
    /// Who.
    pub at: SlotRef,
    /// First query.
    pub first: EventTime,
    /// Already flagged as probing.
    pub flagged: bool,
}

/// What became of a vote.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Outcome {
    /// Nothing follows.
    Counted,
    /// The evidence passed the threshold.
    Accused {
        /// Evidence (not its logarithm).
        evidence: f64,
        /// The threshold that it passed.
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
    heterogeneity: Bounds,
    pool_bounds: Bounds,
    peers: VecDeque<(SlotRef, Cells)>,
    /// How many of them lie in each cell of each statistic.
    peer_cells: [[u32; CUTS.len() + 1]; STATISTICS],
    client_factors: Factors,
    pool_factors: Factors,
    /// Changes of the peers that the likelihood ratios do not know of yet.
    stale: u32,
    pool: Detector,
    pool_calm: EventTime,
    /// Start of the wave of newcomers that alarmed the pool.
    pub pool_since: EventTime,
    pool_alarm: Option<EventTime>,
    flagged: u32,
    shifted: VecDeque<(EventTime, SlotRef)>,
}

// === impl Population ===

impl Population {
    /// A population with a stated rate of false alarms per client and day. `salt` must be the deployment's.
    pub fn new(alarms_per_client_day: f64, salt: u64) -> Self {
        let heterogeneity = [FLOOR; STATISTICS];
        let pool_bounds = [POOL_FLOOR; STATISTICS];
        Self {
            salt: hash::mix2(salt, 0x5eed),
            threshold: VOTES_PER_DAY / alarms_per_client_day,
            start: None,
            warm: false,
            heterogeneity,
            pool_bounds,
            peers: VecDeque::with_capacity(PEERS + 1),
            peer_cells: Default::default(),
            client_factors: Factors::new(&heterogeneity, CLIENT_BETS),
            pool_factors: Factors::new(&pool_bounds, POOL_BETS),
            stale: 0,
            pool: Detector::default(),
            pool_calm: EventTime::default(),
            pool_since: EventTime::default(),
            pool_alarm: None,
            flagged: 0,
            shifted: VecDeque::new(),
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
    pub fn pool_active(&self, now: EventTime) -> bool {
        self.pool_alarm.is_some_and(|alarm| now < alarm.plus_seconds(POOL_SECONDS))
    }

    /// Likelihood ratios in force.
    pub fn factors(&self) -> &Factors {
        &self.client_factors
    }

    /// Evidence at which members of an alarmed wave are named: a thousandth of the full threshold, since the pool's own alarm
    /// (ten times the full threshold) vouches for the rest.
    pub fn member_threshold(&self) -> f64 {
        self.threshold / 1e3
    }

    /// Share of recent peer votes beyond a cut, by statistic and cut.
    fn peer_shares(&self) -> Bounds {
        let mut shares = [[0.0; CUTS.len()]; STATISTICS];
        let n = self.peers.len().max(1) as f64;
        for (share, counts) in shares.iter_mut().zip(&self.peer_cells) {
            let mut below = 0;
            for (share, count) in share.iter_mut().zip(counts) {
                below += count;
                *share = f64::from(below) / n;
            }
        }
        shares
    }

    /// Whether peers look like the reference, as far as broken dependence goes.
    pub fn calm(&self) -> bool {
        if self.peers.len() < MIN_PEERS {
            return true;
        }
        let shares = self.peer_shares();
        // Twice the floor at p ≤ 0.005: with 32 votes that is three or more beyond what honest traffic shows.
        shares[..CALM].iter().all(|share| share[1] <= 0.10)
    }

    /// Whether a row of a client may vote; `near` is the p-value of its nearness to the decision boundary.
    pub fn admits(&mut self, client: &mut Client, codes: &Codes, near: f64, now: EventTime) -> bool {
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
    ) -> Outcome {
        let start = *self.start.get_or_insert(now);
        if !self.warm && now > start.plus_seconds(WARM_UP_SECONDS) {
            self.end_warm_up(clients);
        }
        if self.stale >= STALE {
            self.refresh();
        }
        let newcomer = self.is_newcomer(voter.first);
        let Some(client) = clients.get_mut(voter.at) else { return Outcome::Counted };
        let state = &mut client.distribution;
        state.detector.update(cells, &self.client_factors);
        state.lowest = cells;
        state.votes += 1;
        for (statistic, counts) in state.exceeded.iter_mut().enumerate() {
            for count in counts.iter_mut().skip(usize::from(cells[statistic])) {
                *count = count.saturating_add(1);
            }
        }
        let total = state.detector.total();
        state.peak = state.peak.max(total);
        if voter.flagged {
            return Outcome::Counted;
        }
        let votes = state.votes;
        if newcomer && votes <= POOL_VOTES {
            self.pool_vote(cells, now);
        }
        let active = self.pool_active(now);
        let calm = self.calm();
        if total >= SUSPICIOUS && state.suspicious_since.is_none() {
            state.suspicious_since = Some(now);
            if state.clean >= CLEAN_PAST {
                self.shifted.push_back((now, voter.at));
            }
        } else if total < SUSPICIOUS && state.suspicious_since.is_none() {
            state.clean = votes;
        }
        let threshold = self.threshold_for(newcomer, calm, active);
        if total >= threshold && !self.hold(clients, voter.at, now, calm, drift_pending) {
            return Outcome::Accused { evidence: total, threshold };
        }
        let Some(client) = clients.get_mut(voter.at) else { return Outcome::Counted };
        let state = &mut client.distribution;
        if total < threshold
            && votes > POOL_VOTES
            && (!newcomer || now.seconds_since(voter.first) >= 1800.0)
            && usize::from(state.peer_votes) < PEERS_EACH
        {
            state.peer_votes += 1;
            self.add_peer(clients, voter.at, cells);
        }
        Outcome::Counted
    }

    /// Threshold on the evidence. Each flagged client lets the next newcomer be flagged on proportionally less, down to a
    /// hundredth (the e-BH procedure of Wang and Ramdas 2022 allows it: the false discovery *proportion* stays bounded).
    fn threshold_for(&self, newcomer: bool, calm: bool, active: bool) -> f64 {
        if !newcomer {
            // Known clients who all look odd at once are a drifting world, not a conspiracy.
            return self.threshold * if calm { 1.0 } else { 100.0 };
        }
        if !calm {
            return self.threshold;
        }
        let threshold = (self.threshold / f64::from(1 + self.flagged)).max(self.threshold / 100.0);
        if active { threshold.min(self.member_threshold()) } else { threshold }
    }

    /// Whether a detection must wait: several clients with a clean past became odd within hours, which is how a drift or a
    /// partial roll-out begins. It waits while the drift test is undecided, at most an hour.
    fn hold(&mut self, clients: &mut Table<Key, Client>, at: SlotRef, now: EventTime, calm: bool, drift_pending: bool) -> bool {
        while self.shifted.front().is_some_and(|(t, _)| now.seconds_since(*t) > 6.0 * 3600.0) {
            self.shifted.pop_front();
        }
        let others =
            self.shifted.iter().filter(|(_, other)| *other != at && clients.get(*other).is_some_and(|c| !c.is_flagged())).count();
        let Some(client) = clients.get_mut(at) else { return false };
        let state = &mut client.distribution;
        if others >= 3 && (state.clean >= CLEAN_PAST || !calm || others >= 8) {
            let since = *state.held_since.get_or_insert(now);
            return drift_pending || now.seconds_since(since) < 3600.0;
        }
        false
    }

    fn pool_vote(&mut self, cells: Cells, now: EventTime) {
        self.pool.update(cells, &self.pool_factors);
        let evidence = self.pool.total_of(DEPENDENCE);
        if evidence < SUSPICIOUS {
            self.pool_calm = now;
        }
        let alarm = self.threshold * 10.0;
        if evidence >= alarm {
            if !self.pool_active(now) {
                self.pool_since = self.pool_calm;
            }
            self.pool_alarm = Some(now);
            self.pool.limit((alarm * 10.0) as f32);
        }
    }

    /// A client was flagged, by whatever evidence: peers unlearn it.
    pub fn flagged(&mut self, at: SlotRef) {
        self.flagged += 1;
        self.peers.retain(|(peer, _)| *peer != at);
        self.peer_cells = Default::default();
        for i in 0..self.peers.len() {
            self.count_peer(self.peers[i].1, true);
        }
        self.stale = STALE;
    }

    /// The statistics changed (drifting features were masked): what was learned with the old ones goes.
    pub fn restart(&mut self, clients: &mut Table<Key, Client>) {
        self.peers.clear();
        self.peer_cells = Default::default();
        self.shifted.clear();
        self.pool.reset();
        self.stale = STALE;
        for (_, client) in clients.iter_mut() {
            client.distribution.peer_votes = 0;
            if !client.is_flagged() {
                client.distribution.detector.reset();
                client.distribution.suspicious_since = None;
            }
        }
    }

    /// Takes a vote among the peers' and lets the oldest go.
    fn add_peer(&mut self, clients: &mut Table<Key, Client>, at: SlotRef, cells: Cells) {
        self.peers.push_back((at, cells));
        self.count_peer(cells, true);
        if self.peers.len() <= PEERS {
            self.stale += 1;
            return;
        }
        let Some((old, left)) = self.peers.pop_front() else { return };
        self.count_peer(left, false);
        // If one went as the other came, there is nothing to learn.
        self.stale += u32::from(left != cells);
        if let Some(client) = clients.get_mut(old) {
            client.distribution.peer_votes = client.distribution.peer_votes.saturating_sub(1);
        }
    }

    fn count_peer(&mut self, cells: Cells, came: bool) {
        for (counts, cell) in self.peer_cells.iter_mut().zip(cells) {
            let count = &mut counts[usize::from(cell)];
            *count = if came { *count + 1 } else { count.saturating_sub(1) };
        }
    }

    fn refresh(&mut self) {
        self.stale = 0;
        let mut bounds = self.heterogeneity;
        let mut pool = self.pool_bounds;
        if self.peers.len() >= MIN_PEERS {
            let shares = self.peer_shares();
            for statistic in 0..STATISTICS {
                for cut in 0..CUTS.len() {
                    let mean = shares[statistic][cut];
                    let upper = (mean + 3.0 * (mean * (1.0 - mean) / (PEER_CONCENTRATION + 1.0)).max(0.0).sqrt()).min(0.97);
                    bounds[statistic][cut] = bounds[statistic][cut].max(upper);
                    if mean > 3.0 * pool[statistic][cut] {
                        pool[statistic][cut] = pool[statistic][cut].max(upper);
                    }
                }
            }
            pool.iter_mut().for_each(ascend);
        }
        self.client_factors = Factors::new(&bounds, CLIENT_BETS);
        self.pool_factors = Factors::new(&pool, POOL_BETS);
    }

    /// Learns from the warm-up how much honest clients differ: the 99% point of a beta distribution with the clients' mean and
    /// spread (method of moments, shrunk towards no spread).
    fn end_warm_up(&mut self, clients: &Table<Key, Client>) {
        self.warm = true;
        self.stale = STALE;
        let known: Vec<(f64, &[[u16; CUTS.len()]; STATISTICS])> = clients
            .iter()
            .filter(|(_, _, c)| c.distribution.votes >= 5 && !c.is_flagged())
            .map(|(_, _, c)| (f64::from(c.distribution.votes), &c.distribution.exceeded))
            .collect();
        if known.len() < 20 {
            return;
        }
        let votes: f64 = known.iter().map(|k| k.0).sum();
        let clients = known.len() as f64;
        for statistic in 0..STATISTICS {
            for cut in 0..CUTS.len() {
                let mean = known.iter().map(|k| f64::from(k.1[statistic][cut])).sum::<f64>() / votes;
                let spread = known.iter().map(|k| (f64::from(k.1[statistic][cut]) / k.0 - mean).powi(2) * k.0).sum::<f64>() / votes;
                let between = spread - mean * (1.0 - mean) * clients / votes;
                let rho = (between / (mean * (1.0 - mean)).max(1e-9) * clients / (clients + 50.0)).clamp(1e-4, 0.5);
                let concentration = 1.0 / rho - 1.0;
                let upper = Beta::new(mean * concentration + 1e-3, ((1.0 - mean) * concentration).max(1e-3))
                    .map_or(0.0, |b| b.inverse_cdf(0.99));
                let bound = &mut self.heterogeneity[statistic][cut];
                *bound = bound.max(upper.min(HETEROGENEITY_CAP[cut]));
                let pool = &mut self.pool_bounds[statistic][cut];
                *pool = pool.max((2.5 * mean).min(POOL_CAP[cut]));
            }
        }
        self.heterogeneity.iter_mut().for_each(ascend);
        self.pool_bounds.iter_mut().for_each(ascend);
    }
}

/// Bounds on nested events must not descend.
fn ascend(bounds: &mut [f64; CUTS.len()]) {
    for cut in 1..CUTS.len() {
        bounds[cut] = bounds[cut].max(bounds[cut - 1]);
    }
}

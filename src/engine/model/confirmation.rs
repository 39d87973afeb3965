//! Before distribution evidence accuses a client: is its oddity common to callers?
//!
//! Three questions, in this order. Does the evidence stand under what peers show *now*? Does more than one or two columns carry it
//! ([`crate::judge::ablation`])? Does it rest on what the client asks, or on how its rows are written
//! ([`crate::judge::common_cause`])? Evidence from writing alone waits until enough other callers were seen.

use super::{Asked, ModelEngine};
use crate::event::EventTime;
use crate::judge::Verdict;
use crate::judge::client::Client;
use crate::window::clients::SlotRef;

/// Clients that wait at most. Chosen: a release makes many candidates within minutes; those beyond are asked again at their next vote.
const MOST_WAITING: usize = 256;

/// Answer to the question whether a client is accused.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Confirmation {
    /// The evidence stands.
    Stands(f64),
    /// It does not, or not yet.
    Held,
}

// === impl ModelEngine ===

impl ModelEngine {
    /// Whether the evidence against a client, which passed `threshold`, stands.
    pub(super) fn confirm(&mut self, at: SlotRef, threshold: f64, now: EventTime) -> Confirmation {
        let evidence = self.reassess(at);
        let enough = self.memory.population.member_threshold();
        if evidence < threshold || self.is_explained(at, enough) {
            return Confirmation::Held;
        }
        let asks = self.asks_oddly(at, enough);
        let common = &self.memory.common;
        if asks && (common.knows_enough() || self.memory.population.is_warm(now)) {
            return Confirmation::Stands(evidence);
        }
        let Some(client) = self.memory.callers.clients.get_mut(at) else { return Confirmation::Held };
        let known = client.distribution.wait;
        let wait = *client.distribution.wait.get_or_insert(common.wait(now));
        if common.is_over(wait, at, now) {
            return Confirmation::Stands(evidence);
        }
        if known.is_none() && self.memory.unconfirmed.len() < MOST_WAITING {
            self.memory.unconfirmed.push_back(at);
        }
        Confirmation::Held
    }

    /// Evidence against a client under the statistics and the bounds of now. What is lower than it was replaces it.
    pub(super) fn reassess(&mut self, at: SlotRef) -> f64 {
        let Some(client) = self.memory.callers.clients.get_mut(at) else { return 0.0 };
        let state = &mut client.distribution;
        let (running, population) = (state.detector.total(), &self.memory.population);
        let renewed = self.statistics.evidence(state, &self.profile, population.factors());
        let total = renewed.total();
        if total >= running
            || (state.has_forgotten_votes() && !self.statistics.has_lost_weight(state, &self.profile, population, total))
        {
            return running;
        }
        state.detector = renewed;
        total
    }

    /// Whether enough evidence against a client remains without the columns that it writes as the reference does not know.
    fn asks_oddly(&mut self, at: SlotRef, enough: f64) -> bool {
        let Some(client) = self.memory.callers.clients.get(at) else { return false };
        self.statistics.evidence_from_asking(&client.distribution, &self.profile, self.memory.population.factors()) >= enough
    }

    /// Asks again about the clients that have waited long enough.
    pub(super) fn confirm_waiting(&mut self, asked: &Asked<'_>, out: &mut Vec<Verdict>) {
        while let Some(&at) = self.memory.unconfirmed.front() {
            let client = self.memory.callers.clients.get(at);
            let wait = client.and_then(|client: &Client| client.distribution.wait);
            if wait.is_some_and(|wait| !self.memory.common.is_over(wait, at, asked.now)) {
                return;
            }
            self.memory.unconfirmed.pop_front();
            let threshold = self.memory.population.threshold_of(client.map(|client| client.first), asked.now);
            if self.memory.callers.clients.get(at).is_some_and(|c| !c.is_flagged() && c.distribution.detector.total() >= threshold)
                && let Confirmation::Stands(evidence) = self.confirm(at, threshold, asked.now)
            {
                self.flag_odd(asked, at, evidence.max(threshold), out);
            }
        }
    }
}

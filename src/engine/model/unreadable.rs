//! Records that could not be read, as evidence about their senders ([`judge::unreadable`](crate::judge::unreadable)).

use super::ModelEngine;
use super::callers::Callers;
use crate::event::{Address, EventTime, Query};
use crate::judge::client::{Key, subject_of};
use crate::judge::unreadable::{Comparison, HOURS, Peers, Readable, UnreadableCaller};
use crate::judge::{Family, Finding, Scope, SignalValue, Verdict};
use crate::outcome::{CallerFacts, UnreadableRecord};

/// Largest confidence of a suspicion of hiding. Chosen: the bound is exact for independent records, and those of one caller are not.
const LARGEST_CONFIDENCE: f64 = 0.99;
/// Seconds of the panes at most, within which a caller counts as active.
const ACTIVE_SECONDS: i64 = 6 * 3600;

// === impl Callers ===

impl Callers {
    /// Records of a client that could be read, late ones included; `None` if it is not known.
    fn readable(&self, key: &Key) -> Option<u64> {
        self.clients.find(key).and_then(|at| self.clients.get(at)).map(|client| client.queries)
    }

    /// The same with those of the last hours.
    fn recently_readable(&self, key: &Key, now: EventTime) -> Readable {
        let client = self.clients.find(key).and_then(|at| self.clients.get(at));
        client.map_or_else(Readable::default, |client| Readable {
            all: client.queries,
            recent: HOURS.map(|hours| u64::from(client.rate.queries(now, hours))),
        })
    }

    /// What the others send.
    fn peers(&self, now: EventTime) -> Peers {
        let mut peers = Peers::default();
        let since = now.plus_seconds(-ACTIVE_SECONDS);
        for (_, key, client) in self.clients.iter().filter(|(_, _, client)| client.last >= since) {
            peers.active += 1;
            *peers.by_address.entry(key.address).or_default() += u64::from(client.rate.queries(now, HOURS[1]));
        }
        peers
    }
}

// === impl ModelEngine ===

impl ModelEngine {
    /// Takes a record that could not be read.
    pub fn unreadable(&mut self, record: &UnreadableRecord<'_>, out: &mut Vec<Verdict>) {
        let now = self.memory.windows.newest().or(record.caller.time).unwrap_or_default();
        let caller = record.caller;
        let key = Key::of(caller.address, &caller.account);
        let is_known = key.address != Address::Unknown || key.account != 0;
        let sent = self.memory.callers.recently_readable(&key, now);
        self.memory.unreadable.note(record, now, is_known.then_some(key), sent);
        self.judge_unreadable(false, out);
    }

    /// A query whose time is implausible is not judged, so it counts as unreadable: a wrong clock must not hide anybody.
    pub(super) fn note_future(&mut self, query: &Query, out: &mut Vec<Verdict>) {
        let caller = CallerFacts {
            address: query.address,
            account: query.account.clone(),
            request_id: query.request_id.clone(),
            model: query.model.clone(),
            time: None,
        };
        self.unreadable(&UnreadableRecord { caller: &caller, provenance: &query.provenance }, out);
    }

    /// Judges the senders of unreadable records when event time has come so far, and at the `end` of the input.
    pub(super) fn judge_unreadable(&mut self, end: bool, out: &mut Vec<Verdict>) {
        let Some(now) = self.memory.windows.newest() else { return };
        if !end && !self.memory.unreadable.is_due(now) {
            return;
        }
        let all = self.readable();
        let (callers, unreadable) = (&self.memory.callers, &mut self.memory.unreadable);
        unreadable.advance(now, all, |key| callers.readable(key).unwrap_or(0));
        if !unreadable.has_candidates() {
            return;
        }
        let peers = callers.peers(now);
        for (suspicious, caller, comparison) in unreadable.judge(now, end, all, &peers, |key| callers.readable(key)) {
            out.extend(self.unreadable_line(now, suspicious, &caller, comparison));
        }
    }

    /// A line that speaks of a caller with unreadable records. Of one that is flagged, or suspicious for what it asked, that is said.
    fn unreadable_line(
        &self,
        now: EventTime,
        suspicious: bool,
        caller: &UnreadableCaller,
        comparison: Comparison,
    ) -> Option<Verdict> {
        let callers = &self.memory.callers;
        let key = Key::of(caller.address, &caller.account);
        let client = callers.clients.find(&key).and_then(|at| callers.clients.get(at));
        if client.is_some_and(|client| client.is_flagged() || (!suspicious && client.reported_suspicious)) {
            return None;
        }
        let accounts = callers.shared_identities.accounts_at(caller.address) + u32::from(client.is_none());
        let (source_ip, client_id) = subject_of(caller.address, &caller.account, accounts);
        let Comparison { share, peers, tail } = comparison;
        let finding = if suspicious { Finding::Suspicious } else { Finding::Benign };
        let signal = SignalValue { name: "unreadable_ratio", value: share, reference: peers, evidence: comparison.evidence() };
        let line = Verdict {
            source_ip,
            client_id,
            confidence: Some((1.0 - tail).clamp(0.0, LARGEST_CONFIDENCE)),
            queries_seen: client.map_or(0, |client| client.queries) + caller.total,
            signals: vec![signal],
            ..Verdict::new(now, Scope::Client, self.name(), finding)
        };
        let line = line.with_family(Family::Unreadable);
        Some(line.with_evidence(caller.evidence.first(), caller.evidence.iter().cloned().collect()))
    }

    /// Records of the model that could be read.
    fn readable(&self) -> u64 {
        self.memory.counts.queries + self.memory.counts.late
    }

    /// Share of the last hours' records that could not be read, and the largest such share of a caller.
    pub(super) fn unreadable_ratios(&self) -> (f64, f64) {
        let (callers, unreadable) = (&self.memory.callers, &self.memory.unreadable);
        (unreadable.ratio(self.readable()), unreadable.largest_ratio(|key| callers.readable(key)))
    }
}

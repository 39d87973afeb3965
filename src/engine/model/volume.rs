//! Callers that ask far more different rows than others ([`judge::volume`](crate::judge::volume)). They are suspicious, and no more: the
//! model's verdict, the drift test and every other evidence leave this alone.

use super::callers::Callers;
use super::{Asked, Memory, ModelEngine};
use crate::event::EventTime;
use crate::judge::client::Client;
use crate::judge::client::volume::COUNTED_FROM;
use crate::judge::volume::Excess;
use crate::judge::{At, Family, Finding, QueryRef, Verdict};
use crate::signal::codes::Codes;
use crate::window::clients::SlotRef;

/// Largest confidence of a suspicion of volume. Chosen: the tail is extrapolated from what a few hundred callers ask.
const LARGEST_CONFIDENCE: f64 = 0.99;

// === impl Callers ===

impl Callers {
    /// Callers that are suspicious now for what they ask, and not flagged.
    pub(super) fn suspicious_for_volume(&self) -> u64 {
        self.clients.iter().filter(|(_, _, client)| client.volume.is_suspicious() && !client.is_flagged()).count() as u64
    }
}

// === impl ModelEngine ===

impl ModelEngine {
    /// Counts a row of its client; true if the client is to be judged. A late row is out of its order and says nothing of a pace.
    pub(super) fn count_volume(&mut self, asked: &Asked<'_>, codes: &Codes) -> bool {
        let Memory { callers, population, volume, .. } = &mut self.memory;
        let Some(client) = callers.clients.get_mut(asked.at).filter(|client| !asked.late && !client.is_shared) else {
            return false;
        };
        if client.queries == COUNTED_FROM && population.is_newcomer(client.first) {
            volume.arrived(client, asked.now);
        }
        client.volume.note(asked.query, client.queries, self.profile.regions.row_hash(codes)) && !client.is_flagged()
    }

    /// Judges how much a client asks, and says so if nobody asks so much.
    pub(super) fn judge_volume(&mut self, asked: &Asked<'_>, out: &mut Vec<Verdict>) {
        let Asked { at, now, .. } = *asked;
        let Memory { callers, population, volume, .. } = &mut self.memory;
        let Some(client) = callers.clients.get_mut(at).filter(|client| !client.is_flagged()) else { return };
        let is_newcomer = population.is_newcomer(client.first);
        let found = volume.excess(client, is_newcomer);
        if client.volume.is_suspicious() {
            // It is known, and what it asks is no news.
            if found.is_some() {
                client.volume.report(now);
            }
            return;
        }
        match found {
            Some(excess) if excess.is_news() => self.report_volume(asked, at, &excess, out),
            _ if is_newcomer => {
                for (member, excess) in volume.judge_together(&callers.clients, at, now) {
                    self.report_volume(asked, member, &excess, out);
                }
            }
            _ => {}
        }
    }

    /// Reports a client that asks far more than others.
    fn report_volume(&mut self, asked: &Asked<'_>, at: SlotRef, excess: &Excess, out: &mut Vec<Verdict>) {
        let Some(client) = self.memory.callers.clients.get_mut(at) else { return };
        client.volume.report(asked.now);
        let Some(client) = self.memory.callers.clients.get(at) else { return };
        let newest = (at == asked.at).then(|| QueryRef {
            at: At(asked.query.time),
            request_id: asked.query.request_id.clone(),
            provenance: asked.query.provenance.clone(),
        });
        let first = client.volume.first(excess.span);
        let queries = first.iter().cloned().chain(newest).collect();
        let line = self.volume_line(client, asked.now, Finding::Suspicious);
        let confidence = Some((1.0 - excess.probability()).clamp(0.0, LARGEST_CONFIDENCE));
        let signals = self.volume_signals(client, excess, asked.now);
        out.push(Verdict { confidence, signals, ..line }.with_evidence(first.as_ref(), queries));
    }

    /// Learns what callers ask when event time has come so far, and ends the suspicions that are over.
    pub(super) fn learn_volume(&mut self, out: &mut Vec<Verdict>) {
        let Some(now) = self.memory.windows.newest() else { return };
        if !self.memory.volume.is_due(now) {
            return;
        }
        let Memory { callers, population, volume, .. } = &mut self.memory;
        volume.fit(&callers.clients, |first| population.is_newcomer(first), now);
        // Looked for without changing anything: who changes a client copies it while a snapshot is written.
        let suspicious: Vec<SlotRef> =
            callers.clients.iter().filter(|(_, _, client)| client.volume.is_suspicious()).map(|(at, ..)| at).collect();
        let mut ends = |at: &SlotRef| callers.clients.get_mut(*at).is_some_and(|client| client.volume.ends(now));
        let ended: Vec<SlotRef> = suspicious.into_iter().filter(&mut ends).collect();
        for client in ended.into_iter().filter_map(|at| self.memory.callers.clients.get(at)) {
            // Of one that is flagged, or suspicious for what it asked, that is said.
            if !client.is_flagged() && !client.reported_suspicious {
                out.push(self.volume_line(client, now, Finding::Benign));
            }
        }
    }

    /// A line that speaks of how much a client asks.
    fn volume_line(&self, client: &Client, now: EventTime, finding: Finding) -> Verdict {
        Verdict { queries: Vec::new(), ..self.client_line(client, now, finding, Vec::new()) }.with_family(Family::Volume)
    }
}

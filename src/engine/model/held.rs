//! Accusations that are held back: of callers with a past, when there are more than the stated rate explains, and until it is known whether
//! there are ([`crate::judge::accusation_limit`]).

use super::lines::{Flagging, SHARED_CONFIDENCE};
use super::{Asked, Memory, ModelEngine};
use crate::event::EventTime;
use crate::judge::accusation_limit::WAIT_SECONDS;
use crate::judge::common_cause::Wait;
use crate::judge::structure::Detection;
use crate::judge::{Finding, Verdict};

/// Accusations that wait at most. Chosen: far beyond any limit; more would be held back anyway.
const MOST_WAITING: usize = 256;

/// An accusation that waits for what other callers show.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Waiting {
    flagging: Flagging,
    since: EventTime,
}

// === impl ModelEngine ===

impl ModelEngine {
    /// Whether an accusation is held back: it waits, or it is one too many of callers with a past, and then the client is reported as
    /// suspicious.
    pub(super) fn hold_back(&mut self, flagging: &Flagging, now: EventTime, out: &mut Vec<Verdict>) -> bool {
        let Memory { callers, limit, held, .. } = &mut self.memory;
        let known = callers.clients.len();
        let Some(client) = callers.clients.get_mut(flagging.at).filter(|client| !client.is_flagged()) else { return false };
        if !flagging.began.is_some_and(|began| client.has_past(began)) {
            return false;
        }
        let is_new = !std::mem::replace(&mut client.counts_in_limit, true);
        if is_new {
            limit.note(now);
        }
        if flagging.waits {
            if is_new && held.len() < MOST_WAITING {
                held.push(Waiting { flagging: flagging.clone(), since: now });
            }
            return true;
        }
        if limit.admits(now, known) {
            return false;
        }
        if !std::mem::replace(&mut client.reported_suspicious, true) {
            limit.hold();
            let Some(client) = self.memory.callers.clients.get(flagging.at) else { return true };
            let line = self.client_line(client, now, Finding::Suspicious, self.client_signals(flagging.at, now));
            let confidence = Some(flagging.confidence.min(SHARED_CONFIDENCE));
            out.push(Verdict { confidence, ..line.with_family(flagging.family) });
        }
        true
    }

    /// Whether structure evidence, which `began` then, waits for other callers: it rests on rows that are written as the reference does not
    /// know, or hardly anybody was seen yet.
    pub(super) fn waits_for_callers(&mut self, detection: &Detection, began: Option<EventTime>, now: EventTime) -> bool {
        let Memory { callers, common, population, early, .. } = &mut self.memory;
        let at = detection.client;
        let Some(client) = callers.clients.get_mut(at) else { return false };
        let knows_others = common.knows_enough() || population.is_warm(now);
        if knows_others && !began.is_some_and(|began| self.structure.rests_on_writing(client, began)) {
            return false;
        }
        let wait = *client.distribution.wait.get_or_insert(common.wait(now));
        if common.is_over(wait, at, now) {
            return false;
        }
        if early.len() < MOST_WAITING && !early.iter().any(|waiting| waiting.client == at) {
            early.push_back(detection.clone());
        }
        true
    }

    /// Decides structure evidence that has waited for other callers. When the input has ended no more will be known; then `asked` is `None`.
    pub(super) fn decide_early(&mut self, now: EventTime, asked: Option<&Asked<'_>>, out: &mut Vec<Verdict>) {
        loop {
            let Memory { callers, common, early, .. } = &mut self.memory;
            let Some(waiting) = early.front() else { return };
            if let Some(client) = callers.clients.get_mut(waiting.client) {
                let is_over = client.distribution.wait.is_none_or(|wait| common.is_over(wait, waiting.client, now));
                if !is_over && asked.is_some() {
                    return;
                }
                if !is_over {
                    client.distribution.wait = Some(Wait::OVER);
                }
            }
            let Some(detection) = early.pop_front() else { return };
            self.flag_detected(now, asked, &detection, out);
        }
    }

    /// Decides the accusations that have waited long enough, or all of them when the input has ended.
    pub(super) fn decide_held(&mut self, now: EventTime, has_ended: bool, out: &mut Vec<Verdict>) {
        let is_due = |waiting: &Waiting| has_ended || now.seconds_since(waiting.since) >= WAIT_SECONDS as f64;
        let (due, waiting) = std::mem::take(&mut self.memory.held).into_iter().partition(is_due);
        self.memory.held = waiting;
        let due: Vec<Waiting> = due;
        for Waiting { flagging, .. } in due {
            if self.is_explained_by_others(&flagging) {
                continue;
            }
            let case = flagging.case.clone();
            self.flag(now, None, Flagging { waits: false, ..flagging }, out);
            if let Some(case) = case {
                self.announce(now, &case, out);
            }
        }
    }
}

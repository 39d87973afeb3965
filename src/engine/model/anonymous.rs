//! Queries that do not say who asked, and addresses behind which everybody asks: a population, not a caller.
//!
//! A log without addresses and accounts, or with the address of a proxy for everybody, is judged all the same. Its rows are compared with
//! each other and with the reference as one caller's would be. Four things differ (ADR 0028):
//!
//! * In the drift test, and in the question what is common to callers, a minute of such rows counts as one caller: a vote cannot be "one a
//!   caller". Health checks and batch jobs weigh more there.
//! * What is found is said of the model and of a campaign without members. Nobody is named.
//! * Odd rows are evidence only in addition to the usual traffic: odd rows come more often than they usually do, while ordinary ones come as
//!   before, or more queries come than ever. A change of the pipeline turns ordinary rows into odd ones. Rows that stand in a relation to each
//!   other are evidence at once.
//! * What is said starts the evidence afresh, so that an attack that is over is over. The minutes in which it was found are left out of the
//!   drift test.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::lines::Flagging;
use super::{Asked, Memory, ModelEngine};
use crate::event::{EARLIEST, EventTime};
use crate::judge::client::Client;
use crate::judge::drift;
use crate::judge::model_state::ModelEvent;
use crate::judge::{Finding, QueryRef, Scope, SignalValue, Verdict};
use crate::signal::rate::median;
use crate::window::clients::SlotRef;

/// Slot of a minute's voter. No client has it: tables are smaller.
const MINUTES: u32 = u32::MAX;
/// Seconds of a minute's voter.
const MINUTE_SECONDS: f64 = 60.0;
/// Share of all new rows from which a caller without accounts that was there from the start is an address that many share. Chosen: six
/// proxies divide the traffic of a service so; a caller of one's own seldom asks as much.
const SHARED_ROWS: f64 = 0.15;
/// Rows of such an address at least. Chosen: fewer have no shares.
const LEAST_ROWS: u32 = 200;
/// Seconds for which odd rows wait, unless more queries come than ever: a quarter of an hour, the pane in which rows are counted.
const WAIT_SECONDS: f64 = 900.0;
/// Panes of rows that are kept: a day. Those before the last hour say what is usual, and two of them must be known.
const PANES: usize = 96;
const PANES_OF_AN_HOUR: usize = 4;
const FEWEST_PANES: usize = 2;
/// Multiple of the usual share of odd rows that an attack's pane must have, and the least that it must exceed it by. Chosen: as for a crowd
/// of strangers, and one row in twenty.
const TIMES_USUAL: f64 = 3.0;
const LEAST_ADDITIONAL: f64 = 0.05;
/// Share of the usual ordinary rows that must still come. Chosen: traffic changes by a fifth from one quarter of an hour to the next.
const STILL_ORDINARY: f64 = 0.8;
/// Seconds between two campaign lines, and without evidence after which an attack is another one. Chosen: an hour, as long as a change must
/// last to be drift.
const ANOTHER_SECONDS: f64 = 3600.0;
/// Seconds before the first evidence that are left out of the drift test as well: the minute in which it began.
const LEAD_SECONDS: i64 = 60;
/// Attacks remembered, for the drift test. Its windows hold six hours, so more than one an hour cannot be there.
const ATTACKS: usize = 16;

/// Rows of a quarter of an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Rows {
    ordinary: u32,
    odd: u32,
}

/// What was found among anonymous rows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Anonymous {
    /// When attacks began, and when the newest evidence of each came.
    attacks: VecDeque<(EventTime, EventTime)>,
    /// Rows of populations by quarter of an hour, the newest last, and the number of the newest.
    panes: VecDeque<Rows>,
    pane: i64,
    /// Since when odd rows wait.
    waiting_since: Option<EventTime>,
    /// Whether it was decided which addresses many callers share, and how many do.
    is_decided: bool,
    shared: u32,
}

/// The voter of a minute.
pub(super) fn voter(now: EventTime) -> SlotRef {
    let minute = now.seconds_since(EARLIEST) / MINUTE_SECONDS;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "event time lies within a few centuries")]
    SlotRef { slot: MINUTES, generation: minute.max(1.0) as u32 }
}

/// The minute of a voter; `None` for a client.
pub(super) fn minute_of(at: SlotRef) -> Option<EventTime> {
    (at.slot == MINUTES).then(|| EARLIEST.plus_seconds(i64::from(at.generation) * MINUTE_SECONDS as i64))
}

// === impl Anonymous ===

impl Anonymous {
    /// Whether an attack was found in a minute.
    pub(super) fn is_attacked(&self, minute: EventTime) -> bool {
        self.attacks.iter().any(|&(began, ended)| {
            minute.plus_seconds(MINUTE_SECONDS as i64) > began.plus_seconds(-LEAD_SECONDS) && minute <= ended
        })
    }

    /// Counts a new row of a population, which is impossible by a statistic of dependence or not.
    pub(super) fn count(&mut self, now: EventTime, is_odd: bool) {
        let pane = now.micros().div_euclid(drift::STEP * 1_000_000);
        if self.panes.is_empty() {
            self.pane = pane - 1;
        }
        let steps = usize::try_from(pane - self.pane).unwrap_or(0).min(PANES);
        self.panes.extend(std::iter::repeat_n(Rows::default(), steps));
        self.pane = self.pane.max(pane);
        self.panes.drain(..self.panes.len().saturating_sub(PANES));
        if let Some(rows) = self.panes.back_mut() {
            *(if is_odd { &mut rows.odd } else { &mut rows.ordinary }) += 1;
        }
    }

    /// Whether odd rows come in addition to what is usual: those of the current pane if more queries come than ever (`is_surging`), otherwise
    /// those of the last closed one. False while it is not known what is usual.
    fn comes_in_addition(&self, is_surging: bool) -> bool {
        let (Some(&current), closed) = (self.panes.back(), self.panes.iter().rev().skip(1)) else { return false };
        let mut closed: Vec<Rows> = closed.copied().collect();
        if closed.len() < PANES_OF_AN_HOUR + FEWEST_PANES {
            return false;
        }
        let usual = closed.split_off(PANES_OF_AN_HOUR);
        let now = if is_surging { current } else { closed[0] };
        let mut shares: Vec<f64> = usual.iter().map(Rows::odd_share).collect();
        let mut ordinary: Vec<f64> = usual.iter().take(PANES_OF_AN_HOUR).map(|rows| f64::from(rows.ordinary)).collect();
        let share = median(&mut shares);
        now.odd_share() >= (TIMES_USUAL * share).max(share + LEAST_ADDITIONAL)
            && (is_surging || f64::from(now.ordinary) >= STILL_ORDINARY * median(&mut ordinary))
    }

    /// Takes a client for an address that many callers share if it sends a large part of all rows (`votes`) and has no accounts.
    fn take_if_shared(&mut self, client: &mut Client, votes: u64) {
        let least = f64::from(LEAST_ROWS).max(SHARED_ROWS * votes as f64);
        if !client.is_shared && client.account.is_empty() && f64::from(client.distribution.votes) >= least {
            client.is_shared = true;
            self.shared += 1;
        }
    }

    /// Addresses that many callers share.
    pub(super) fn shared(&self) -> u32 {
        self.shared
    }

    /// Notes evidence that goes back to `began`; true if it is another attack than the last one.
    fn note(&mut self, began: EventTime, now: EventTime) -> bool {
        if let Some((_, ended)) = self.attacks.back_mut().filter(|(_, ended)| now.seconds_since(*ended) < ANOTHER_SECONDS) {
            *ended = now;
            return false;
        }
        if self.attacks.len() >= ATTACKS {
            self.attacks.pop_front();
        }
        self.attacks.push_back((began, now));
        true
    }
}

// === impl Rows ===

impl Rows {
    fn odd_share(&self) -> f64 {
        f64::from(self.odd) / f64::from((self.odd + self.ordinary).max(1))
    }
}

// === impl ModelEngine ===

impl ModelEngine {
    /// Decides, when the warm-up is over, which addresses many callers share: they send a large part of all new rows, and have no accounts.
    pub(super) fn decide_shared(&mut self, now: EventTime) {
        let Memory { callers, population, anonymous, counts, .. } = &mut self.memory;
        if anonymous.is_decided || !population.is_warm(now) {
            return;
        }
        anonymous.is_decided = true;
        for (_, client) in callers.clients.iter_mut().filter(|(_, client)| !client.is_flagged()) {
            anonymous.take_if_shared(client, counts.votes);
        }
    }

    /// Takes a client that is to be accused for an address that many share if it has become one since the warm-up. It was there long before
    /// the evidence against it, with a large part of all rows.
    pub(super) fn note_shared(&mut self, flagging: &Flagging, now: EventTime) {
        let Memory { callers, population, anonymous, counts, .. } = &mut self.memory;
        let Some(client) = callers.clients.get_mut(flagging.at) else { return };
        let has_past = client.has_past(flagging.began.unwrap_or(now)) && !population.is_newcomer(client.first);
        if population.is_warm(now) && has_past {
            anonymous.take_if_shared(client, counts.votes);
        }
    }

    /// Whether a client is no caller, but many.
    pub(super) fn is_shared(&self, at: SlotRef) -> bool {
        self.memory.callers.clients.get(at).is_some_and(|client| client.is_shared)
    }

    /// Says what was found among anonymous rows: of the model, and of a campaign without members.
    pub(super) fn report_anonymous(
        &mut self,
        now: EventTime,
        asked: Option<&Asked<'_>>,
        flagging: &Flagging,
        out: &mut Vec<Verdict>,
    ) {
        if !flagging.waits && !self.oddity_stands(now) {
            return;
        }
        let earliest = now.plus_seconds(-(ANOTHER_SECONDS as i64));
        let began = flagging.began.unwrap_or(now).max(earliest);
        let signals = self.client_signals(flagging.at, now);
        let Memory { callers, anonymous, state, arrivals, .. } = &mut self.memory;
        let Some(client) = callers.clients.get_mut(flagging.at) else { return };
        if let Some(asked) = asked.filter(|asked| asked.at == flagging.at) {
            client.evidence.keep(asked.query);
        }
        client.distribution.restart();
        client.structure.restart();
        anonymous.waiting_since = None;
        arrivals.leave_out();
        let is_another = anonymous.note(began, now);
        let finding = state.on(ModelEvent::Flagged { confidence: flagging.confidence }, now);
        if is_another {
            out.extend(self.anonymous_line(now, began, flagging, signals));
        }
        if let Some(finding) = finding {
            out.push(self.model_line(finding, now));
        }
    }

    /// Whether odd rows of a population are evidence: they come in addition, and have waited unless more queries come than ever.
    fn oddity_stands(&mut self, now: EventTime) -> bool {
        let Memory { anonymous, arrivals, .. } = &mut self.memory;
        let since = *anonymous.waiting_since.get_or_insert(now);
        let waited = now.seconds_since(since);
        // What waited for an hour without an answer was not evidence of one attack.
        if waited >= ANOTHER_SECONDS {
            anonymous.waiting_since = Some(now);
            return false;
        }
        let is_surging = arrivals.is_surging();
        (is_surging || waited >= WAIT_SECONDS) && anonymous.comes_in_addition(is_surging)
    }

    /// A line that speaks of a campaign without members.
    fn anonymous_line(
        &self,
        now: EventTime,
        began: EventTime,
        flagging: &Flagging,
        mut signals: Vec<SignalValue>,
    ) -> Option<Verdict> {
        let client: &Client = self.memory.callers.clients.get(flagging.at)?;
        let all = (self.memory.counts.queries + self.memory.counts.late).max(1) as f64;
        let share = client.queries as f64 / all;
        signals.push(SignalValue { name: "queries_without_a_caller", value: share, reference: 0.0, evidence: 0.0 });
        let queries: Vec<QueryRef> = client.evidence.iter().filter(|query| query.at.0 >= began).cloned().collect();
        let first = queries.first().cloned();
        let case = first.as_ref().map(|query| super::cases::of_client(&self.profile, query));
        let line = Verdict {
            confidence: Some(flagging.confidence),
            case,
            queries_seen: client.queries,
            signals,
            ..Verdict::new(now, Scope::Campaign, self.name(), Finding::Probing)
        };
        Some(line.with_family(flagging.family).with_evidence(first.as_ref(), queries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> EventTime {
        EventTime::from_micros(1_772_409_600_000_000).plus_seconds(seconds)
    }

    /// Counts the rows of a quarter of an hour.
    fn quarter(anonymous: &mut Anonymous, number: i64, ordinary: u32, odd: u32) {
        (0..ordinary + odd).for_each(|i| anonymous.count(at(900 * number), i < odd));
    }

    #[test]
    fn odd_rows_are_additional_when_ordinary_ones_come_as_before() {
        let calm = || {
            let mut anonymous = Anonymous::default();
            (0..12).for_each(|number| quarter(&mut anonymous, number, 200, 1));
            anonymous
        };
        let after = |ordinary, odd| {
            let mut anonymous = calm();
            quarter(&mut anonymous, 12, ordinary, odd);
            quarter(&mut anonymous, 13, 1, 0);
            anonymous.comes_in_addition(false)
        };
        assert!(after(195, 90), "an attack");
        assert!(!after(120, 80), "a change turned ordinary rows into odd ones");
        assert!(!after(200, 3), "hardly more than usual");
        let mut odd_from_the_start = Anonymous::default();
        (0..12).for_each(|number| quarter(&mut odd_from_the_start, number, 120, 80));
        assert!(!odd_from_the_start.comes_in_addition(true));
        let mut new = Anonymous::default();
        (0..5).for_each(|number| quarter(&mut new, number, 100, 50));
        assert!(!new.comes_in_addition(true), "nothing is known to be usual");
        quarter(&mut new, 1_000_000, 1, 0);
        assert_eq!(new.panes.len(), PANES, "bounded");
    }

    #[test]
    fn a_minute_votes_as_one_caller_and_no_client_is_a_minute() {
        assert_eq!(voter(at(0)), voter(at(59)));
        assert_ne!(voter(at(59)), voter(at(60)));
        assert_eq!(minute_of(voter(at(61))), Some(at(60)));
        assert_eq!(minute_of(SlotRef { slot: 3, generation: 7 }), None);
    }

    #[test]
    fn the_minutes_of_an_attack_are_left_out_and_an_hour_later_it_is_another_one() {
        let mut anonymous = Anonymous::default();
        assert!(anonymous.note(at(600), at(700)));
        assert!(!anonymous.note(at(800), at(900)), "it goes on");
        assert!(anonymous.is_attacked(at(600)) && anonymous.is_attacked(at(840)) && anonymous.is_attacked(at(540)));
        assert!(!anonymous.is_attacked(at(420)) && !anonymous.is_attacked(at(960)));
        assert!(anonymous.note(at(9_000), at(9_060)), "another one");
        (0..100).for_each(|hour| assert!(anonymous.note(at(20_000 + 4_000 * hour), at(20_000 + 4_000 * hour))));
        assert_eq!(anonymous.attacks.len(), ATTACKS);
    }
}

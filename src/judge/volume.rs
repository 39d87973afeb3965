//! Does a caller ask far more different rows than callers do?
//!
//! Rows like everybody's at everybody's pace are use. Rows like everybody's, a thousand of them in minutes, from somebody who never asked so
//! much and from nobody like it: a batch job, a mirror, a load test, or somebody who copies the model or asks for its training rows. Nothing in
//! the rows tells these apart, so the verdict is *suspicious* and no more, and is given once.
//!
//! **Its peers.** How much callers ask in their largest five minutes, and in their largest hour, has a heavy upper tail
//! ([`crate::signal::upper_tail`]). It is fitted every quarter of an hour: the shape over all callers, the place where it begins for callers
//! that were there at the start of the log and for newcomers. A caller is detected when an honest caller reaches its window with a probability of
//! a third of the stated rate at most: five minutes, the hour and newcomers that come together share it. The fit is over callers' largest windows
//! of all time, so however often a growing window is looked at, it is one test of one caller.
//!
//! **Its own past.** A caller with a past must ask [`OWN_PAST`] times as much as it ever did, too. What was reported is past at once.
//!
//! **Newcomers that come together.** Five addresses of one attacker ask a fifth each. If each of `n` newcomers that came within minutes, and
//! asked eight times at least, asks for `x` rows or more with probability `p`, `k` or more of them do so with probability `C(n, k)·pᵏ` at
//! most. All numbers `k` of callers are tried, each with its share of the level. Newcomers of the same minutes are not independent, so `p`
//! is taken [`ALIKE`] times as large, and a launch brings many that ask less, so they must be a third of these newcomers.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::client::volume::Span;
use super::client::{Client, Key};
use crate::event::EventTime;
use crate::signal::upper_tail::UpperTail;
use crate::window::Ring;
use crate::window::clients::{SlotRef, Table};

/// Seconds of event time until the first fit, and between two. Chosen: within an hour most kinds of callers have come; a quarter of an hour is
/// also the step of the drift test, and as cheap.
const FIRST_FIT_SECONDS: i64 = 3600;
const STEP_SECONDS: i64 = 900;
/// Tests that share the stated rate: two windows, and newcomers that come together.
const TESTS: f64 = 3.0;
/// Least different rows that are said to be many, by window, whatever peers do. Chosen: twelve a minute for five minutes and four a minute
/// for an hour are more than a person fills in.
const LEAST: [f64; 2] = [60.0, 240.0];
/// Times its own largest window of the past that a caller must ask. Chosen: a caller whose business grows doubles in a day, and rarely more.
const OWN_PAST: f64 = 4.0;
/// Seconds within which newcomers come together. Chosen: whoever deals queries to several addresses in turn has used all within minutes.
const TOGETHER_SECONDS: i64 = 300;
/// Seconds from its first query for which a newcomer may belong to others. Chosen: three windows.
const NEW_SECONDS: i64 = 900;
/// Different rows of five minutes from which on a newcomer counts as busy, and the probability among newcomers that it must have besides.
/// Chosen: twenty are what a person asks in a busy five minutes, and one newcomer in thirty keeps the list of busy ones short.
const BUSY_ROWS: f64 = 20.0;
const BUSY: f64 = 0.03;
/// Busy newcomers remembered. Chosen: far more than come within minutes; of more the oldest are forgotten.
const MOST_BUSY: usize = 64;
/// Newcomers that are reported together at most. Chosen: more of them are a crowd, such as a class or a launch.
const MOST_TOGETHER: usize = 8;
/// So many times as likely as other newcomers are those of the same minutes to be busy. Chosen: a campaign by mail brings people who do the same.
const ALIKE: f64 = 3.0;
/// One in so many newcomers of these minutes with counted rows must be among them. Chosen: a class or a launch brings more that ask less.
const ONE_IN: u32 = 3;
/// The probability of the size of a window that is shown beside a caller's: one peer in a hundred asks so much.
const SHOWN: f64 = 0.01;
/// Seconds of a pane in which newcomers are counted, and panes: together longer than a newcomer is one.
const PANE_SECONDS: i64 = 60;
const PANES: usize = 32;

/// How callers of a kind fill one window: those that were there at the start, and newcomers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Tails {
    established: UpperTail,
    newcomers: UpperTail,
}

/// Why a caller is reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Excess {
    /// The window.
    pub span: Span,
    /// Different rows in it.
    pub rows: f64,
    /// Those that one peer in a hundred asks.
    pub peers: f64,
    /// Those that it asked itself in times past; 0 without a past.
    pub past: f64,
    /// Probability of so many from an honest caller, alone.
    pub tail: f64,
    /// Newcomers that came together, if it is one of several.
    pub together: Option<Together>,
}

/// Newcomers that came together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Together {
    /// How many ask so much.
    pub callers: u32,
    /// How many of the newcomers of these minutes would be expected to.
    pub expected: f64,
    /// Probability of it.
    pub tail: f64,
}

/// The judgement of volume for one model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Volume {
    /// Probability that one of the tests fails for an honest caller.
    level: f64,
    next_fit: Option<EventTime>,
    /// Tails by window, once there are enough callers.
    tails: Option<[Tails; 2]>,
    /// Newcomers whose rows began to be counted, by minute.
    arrivals: Ring<u32>,
    /// Busy newcomers, by when they came.
    busy: VecDeque<(EventTime, SlotRef)>,
}

// === impl Excess ===

impl Excess {
    /// Whether it is far more than the caller asked in times past.
    pub fn is_news(&self) -> bool {
        self.rows >= OWN_PAST * self.past
    }

    /// Probability of it from honest callers.
    pub fn probability(&self) -> f64 {
        self.together.map_or(self.tail, |together| together.tail.min(self.tail))
    }
}

// === impl Volume ===

impl Volume {
    /// Nothing is known yet; `alarms_per_client_day` is the stated rate of false alarms.
    pub fn new(alarms_per_client_day: f64) -> Self {
        Self {
            level: alarms_per_client_day / TESTS,
            next_fit: None,
            tails: None,
            arrivals: Ring::new(PANES, PANE_SECONDS),
            busy: VecDeque::new(),
        }
    }

    /// Whether event time has reached the next fit.
    #[inline]
    pub fn is_due(&mut self, now: EventTime) -> bool {
        now >= *self.next_fit.get_or_insert_with(|| now.plus_seconds(FIRST_FIT_SECONDS))
    }

    /// Learns what callers ask. Those that are flagged or were reported are left out: they are no measure of others.
    pub fn fit(&mut self, clients: &Table<Key, Client>, is_newcomer: impl Fn(EventTime) -> bool, now: EventTime) {
        self.next_fit = Some(now.plus_seconds(STEP_SECONDS));
        let honest = || clients.iter().map(|(_, _, client)| client).filter(|c| !c.is_flagged() && !c.volume.was_reported());
        let tails = Span::ALL.map(|span| {
            let sizes = |which: Option<bool>| -> Vec<f64> {
                let mine = |c: &&Client| which.is_none_or(|newcomer| is_newcomer(c.first) == newcomer);
                honest().filter(mine).filter_map(|client| client.volume.largest(span)).collect()
            };
            UpperTail::fit(&mut sizes(None)).map(|all| Tails {
                established: all.for_part(&mut sizes(Some(false))),
                newcomers: all.for_part(&mut sizes(Some(true))),
            })
        });
        if let [Some(minutes), Some(hour)] = tails {
            self.tails = Some([minutes, hour]);
        }
    }

    /// A newcomer asks so much that its rows are counted. One that took long for it has not come just now.
    pub fn arrived(&mut self, client: &Client, now: EventTime) {
        if now.seconds_since(client.first) <= NEW_SECONDS as f64
            && let Some(pane) = self.arrivals.pane_mut(now)
        {
            *pane += 1;
        }
    }

    /// What a caller asks now, if callers do not ask so much.
    pub fn excess(&self, client: &Client, is_newcomer: bool) -> Option<Excess> {
        let tails = self.tails?;
        Span::ALL.into_iter().zip(tails).zip(LEAST).find_map(|((span, tails), least)| {
            let (rows, past) = (client.volume.rows(span), client.volume.past(span));
            if rows < least {
                return None;
            }
            let peers = tails.of(is_newcomer);
            let tail = peers.probability(rows);
            (tail <= self.level).then(|| Excess { span, rows, peers: peers.quantile(SHOWN), past, tail, together: None })
        })
    }

    /// Judges a newcomer with those that came within the same minutes; the callers to be reported, with the reasons. Empty as a rule.
    pub fn judge_together(&mut self, clients: &Table<Key, Client>, at: SlotRef, now: EventTime) -> Vec<(SlotRef, Excess)> {
        let (Some([tails, _]), Some(client)) = (self.tails, clients.get(at)) else { return Vec::new() };
        let size = |client: &Client| client.volume.largest(Span::FiveMinutes).unwrap_or(0.0);
        let rows = size(client);
        if now.seconds_since(client.first) > NEW_SECONDS as f64 || rows < BUSY_ROWS || tails.newcomers.probability(rows) > BUSY {
            return Vec::new();
        }
        self.remember((client.first, at), now);
        let near = |first: EventTime| first.seconds_since(client.first).abs() <= TOGETHER_SECONDS as f64;
        let mut busy: Vec<(f64, SlotRef)> = self
            .busy
            .iter()
            .filter(|(first, _)| near(*first))
            .filter_map(|&(_, at)| clients.get(at).filter(|client| !client.is_flagged()).map(|client| (size(client), at)))
            .collect();
        busy.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1.slot, a.1.generation).cmp(&(b.1.slot, b.1.generation))));
        let minutes = now.seconds_since(client.first) + TOGETHER_SECONDS as f64;
        #[expect(clippy::cast_possible_truncation, reason = "at most twenty minutes")]
        let arrivals = self.arrivals.window(minutes as i64).sum::<u32>().max(busy.len() as u32);
        let Some(together) = self.group(&busy, arrivals, &tails.newcomers) else { return Vec::new() };
        let unreported = |at: SlotRef| clients.get(at).is_some_and(|client| !client.volume.was_reported());
        let excess = |rows| Excess {
            span: Span::FiveMinutes,
            rows,
            peers: tails.newcomers.quantile(SHOWN),
            past: 0.0,
            tail: tails.newcomers.probability(rows),
            together: Some(together),
        };
        let members = busy.into_iter().take(together.callers as usize).filter(|(_, at)| unreported(*at));
        members.map(|(rows, at)| (at, excess(rows))).collect()
    }

    /// Remembers a busy newcomer, and forgets those that are none any more.
    fn remember(&mut self, newcomer: (EventTime, SlotRef), now: EventTime) {
        let old = now.plus_seconds(-(NEW_SECONDS + TOGETHER_SECONDS));
        self.busy.retain(|(first, _)| *first >= old);
        if !self.busy.contains(&newcomer) {
            if self.busy.len() == MOST_BUSY {
                self.busy.pop_front();
            }
            self.busy.push_back(newcomer);
        }
    }

    /// The largest group among `arrivals` newcomers that is no chance; `busy` are the sizes of the busy ones, largest first.
    fn group(&self, busy: &[(f64, SlotRef)], arrivals: u32, tail: &UpperTail) -> Option<Together> {
        if busy.len() > MOST_TOGETHER {
            return None;
        }
        let level = self.level / (MOST_TOGETHER - 1) as f64;
        (2..=busy.len() as u32).rev().filter(|callers| callers * ONE_IN >= arrivals).find_map(|callers| {
            let p = (ALIKE * tail.probability(busy[callers as usize - 1].0)).min(1.0);
            let ways: f64 = (0..callers).map(|i| f64::from(arrivals - i) / f64::from(i + 1)).product();
            let tail = (ways * p.powi(callers as i32)).min(1.0);
            (tail <= level).then(|| Together { callers, expected: p * f64::from(arrivals), tail })
        })
    }
}

// === impl Tails ===

impl Tails {
    const fn of(&self, is_newcomer: bool) -> &UpperTail {
        if is_newcomer { &self.newcomers } else { &self.established }
    }
}

#[cfg(test)]
mod tests;

//! How many of a model's queries come from callers that were never seen before?
//!
//! Where callers stay, a new address is news. Behind a privacy relay, or where mobile networks hand out another address with every
//! connection, nearly every query has one, and it says nothing about its sender. So the usual share of such queries, and their usual rate,
//! are measured: by the median over quarters of an hour, which a burst of a few hours does not move.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::event::EventTime;
use crate::signal::rate::median;

/// Share of queries from new callers from which on callers do not stay, so that an address is nobody in particular. Chosen: a half; where
/// most queries come from known callers, these can speak for all.
pub const NOBODY_STAYS: f64 = 0.5;
/// Length of a pane in microseconds: the step of the drift test.
const PANE_MICROS: i64 = 900 * 1_000_000;
/// Seconds of a pane.
const PANE_SECONDS: f64 = 900.0;
/// Share of first queries from which a log that has just begun is one where nobody comes back, as behind a privacy relay. Chosen: where
/// callers stay, half of them send a second query within minutes.
const NOBODY_COMES_BACK: f64 = 0.9;
/// Closed panes that are kept: a day, so that an attack of less than twelve hours does not move the median of the share.
const PANES: usize = 96;
/// Newest panes that say how many newcomers arrive now. Chosen: three hours, within which the time of day changes little.
const RECENT: usize = 12;
/// Panes before anything is said. Chosen: an hour; a log begins with callers that are all new.
const FEWEST: usize = 4;
/// Factor on the queries of the busiest recent pane that is a surge. Chosen: traffic of an office doubles within an hour at most.
const SURGE: u32 = 2;
/// Queries of a pane before its share counts. Chosen: the standard error of a share is then an eighth at most.
const LEAST_QUERIES: u32 = 16;

/// Queries of a quarter of an hour, and those among them that were the first of their callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Pane {
    queries: u32,
    first: u32,
    /// Whether it holds a crowd, which is not usual.
    is_left_out: bool,
}

/// Arrivals of one model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Arrivals {
    closed: VecDeque<Pane>,
    current: Pane,
    /// Number of the current pane; `None` before the first query.
    number: Option<i64>,
    share: f64,
    rate: f64,
    busiest: f64,
}

// === impl Arrivals ===

impl Arrivals {
    /// Counts a query, which is the first of its caller or not; says whether what is usual may have changed: a pane was closed, or the log has
    /// just begun.
    pub fn note(&mut self, now: EventTime, is_first: bool) -> bool {
        let number = now.micros().div_euclid(PANE_MICROS);
        let behind = self.number.map_or(0, |current| number - current);
        let closes = behind > 0;
        if closes {
            self.close(behind);
        }
        self.number = self.number.max(Some(number));
        self.current.queries = self.current.queries.saturating_add(1);
        self.current.first = self.current.first.saturating_add(u32::from(is_first));
        let begins = self.closed.len() < FEWEST;
        if begins {
            self.share = self.share_so_far();
        }
        closes || begins
    }

    /// Leaves the current pane out: it holds a crowd, which is not usual.
    pub fn leave_out(&mut self) {
        self.current.is_left_out = true;
    }

    /// Share of first queries in a log that has just begun, if nobody comes back; 0 otherwise, since at first everybody is new.
    fn share_so_far(&self) -> f64 {
        let panes = self.closed.iter().chain([&self.current]);
        let (queries, first) = panes.fold((0, 0), |(queries, first), pane| (queries + pane.queries, first + pane.first));
        let share = f64::from(first) / f64::from(queries.max(1));
        if queries >= LEAST_QUERIES && share >= NOBODY_COMES_BACK { share } else { 0.0 }
    }

    /// Closes the current pane, and the empty ones behind it.
    fn close(&mut self, steps: i64) {
        let empty = usize::try_from(steps - 1).unwrap_or(PANES).min(PANES);
        let current = std::mem::take(&mut self.current);
        let counted = (!current.is_left_out).then_some(current);
        self.closed.extend(counted.into_iter().chain(std::iter::repeat_n(Pane::default(), empty)));
        while self.closed.len() > PANES {
            self.closed.pop_front();
        }
        let mut shares: Vec<f64> = self
            .closed
            .iter()
            .filter(|pane| pane.queries >= LEAST_QUERIES)
            .map(|pane| f64::from(pane.first) / f64::from(pane.queries))
            .collect();
        self.share = if shares.len() >= FEWEST { median(&mut shares) } else { 0.0 };
        let recent = self.closed.iter().rev().take(RECENT).map(|pane| f64::from(pane.first) / PANE_SECONDS);
        let mut recent: Vec<f64> = recent.collect();
        (self.rate, self.busiest) =
            if recent.len() >= FEWEST { (median(&mut recent), recent.iter().copied().fold(0.0, f64::max)) } else { (0.0, 0.0) };
    }

    /// Whether more queries come than ever within the last hours: the current pane holds more than twice those of the busiest recent one.
    pub fn is_surging(&self) -> bool {
        let busiest = self.closed.iter().rev().take(RECENT).map(|pane| pane.queries).max().unwrap_or(0);
        self.closed.len() >= FEWEST && self.current.queries > SURGE * busiest.max(LEAST_QUERIES)
    }

    /// Whether most queries usually come from callers that were never seen before.
    pub fn nobody_stays(&self) -> bool {
        self.share >= NOBODY_STAYS
    }

    /// Usual share of queries that are the first of their callers, 0 to 1; 0 while it is not known.
    pub fn newcomer_share(&self) -> f64 {
        self.share
    }

    /// New callers per second, usually and in the busiest quarter of the last hours; `None` while it is not known.
    pub fn per_second(&self) -> Option<(f64, f64)> {
        (self.closed.len() >= FEWEST).then_some((self.rate, self.busiest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes `queries` in a quarter of an hour, of which `first` are first ones.
    fn quarter(arrivals: &mut Arrivals, number: i64, queries: u32, first: u32) {
        let at = EventTime::from_micros(1_772_409_600_000_000).plus_seconds(900 * number);
        (0..queries).for_each(|i| {
            arrivals.note(at, i < first);
        });
    }

    #[test]
    fn the_usual_share_is_the_median_of_quarters_and_a_burst_does_not_move_it() {
        let mut arrivals = Arrivals::default();
        (0..20).for_each(|number| quarter(&mut arrivals, number, 100, 10));
        (20..28).for_each(|number| quarter(&mut arrivals, number, 1_000, 900));
        quarter(&mut arrivals, 28, 1, 0);
        assert!((arrivals.newcomer_share() - 0.1).abs() < 1e-12, "{}", arrivals.newcomer_share());
    }

    #[test]
    fn nothing_is_said_before_an_hour_nor_of_quarters_with_few_queries() {
        let mut arrivals = Arrivals::default();
        (0..FEWEST as i64).for_each(|number| quarter(&mut arrivals, number, 20, 17));
        assert!(arrivals.newcomer_share() < 1e-12 && arrivals.per_second().is_none());
        let mut thin = Arrivals::default();
        (0..50).for_each(|number| quarter(&mut thin, number, LEAST_QUERIES - 1, 1));
        assert!(thin.newcomer_share() < 1e-12 && thin.per_second().is_some());
    }

    #[test]
    fn where_nobody_comes_back_that_is_said_at_once() {
        let mut arrivals = Arrivals::default();
        quarter(&mut arrivals, 0, LEAST_QUERIES - 1, LEAST_QUERIES - 1);
        assert!(arrivals.newcomer_share() < 1e-12, "too few to say");
        quarter(&mut arrivals, 0, 20, 20);
        assert!((arrivals.newcomer_share() - 1.0).abs() < 1e-12);
        quarter(&mut arrivals, 0, 30, 0);
        assert!(arrivals.newcomer_share() < 1e-12, "callers come back");
    }

    #[test]
    fn the_rate_counts_quarters_without_queries_and_leaves_out_those_of_a_crowd() {
        let mut arrivals = Arrivals::default();
        (0..12).for_each(|number| quarter(&mut arrivals, 2 * number, 9, 9));
        let (rate, busiest) = arrivals.per_second().unwrap();
        assert!((busiest - 0.01).abs() < 1e-12 && rate < busiest + 1e-12);
        quarter(&mut arrivals, 24, 9_000, 9_000);
        arrivals.leave_out();
        quarter(&mut arrivals, 25, 1, 1);
        assert!((arrivals.per_second().unwrap().1 - 0.01).abs() < 1e-12, "the crowd is not usual");
    }

    #[test]
    fn a_long_pause_costs_a_day_of_panes_at_most() {
        let mut arrivals = Arrivals::default();
        quarter(&mut arrivals, 0, 20, 20);
        quarter(&mut arrivals, 1_000_000, 1, 1);
        assert_eq!(arrivals.closed.len(), PANES);
        assert!(arrivals.per_second().unwrap().0 < 1e-12);
    }
}

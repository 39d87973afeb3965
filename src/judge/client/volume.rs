//! How many different rows a client asks: within five minutes, within an hour, and the most it asked in times past
//! ([`crate::judge::volume`] compares it with its peers).
//!
//! A window begins with the first query after the window before has ended. So a burst after a silence is counted whole.

use serde::{Deserialize, Serialize};

use crate::event::{EventTime, Provenance, Query, Topic};
use crate::judge::{At, QueryRef};
use crate::prefetch;
use crate::signal::distinct::Distinct;

/// Queries of a client before its rows are counted, so that the many clients with few queries cost nothing. Chosen: as for its feature values.
pub const COUNTED_FROM: u64 = 8;
/// Microseconds after which what a client asked is its past; until then it may be the attack that is judged. Chosen: a burst that lasts is
/// reported long before, and a batch job that runs every day is known on the second day.
const PAST_MICROS: i64 = 6 * 3_600_000_000;
/// Seconds without a window of the size that was reported, after which a client is suspicious no longer. Chosen: as for unreadable records.
const QUIET_SECONDS: i64 = 6 * 3600;

/// The windows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Span {
    /// Five minutes, for whoever is fast.
    FiveMinutes,
    /// An hour, for whoever is steady.
    Hour,
}

/// What a client asked within windows of one length.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Windows {
    start: EventTime,
    rows: Distinct,
    /// Largest window so far.
    largest: f64,
    /// Largest window that lies at least [`PAST_MICROS`] back.
    past: f64,
    /// Largest window by period of [`PAST_MICROS`]: of the period before, and of the present one, by its number.
    recent: (f64, f64),
    period: i64,
}

/// What is counted of a client that asks more than a few times.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Counts {
    windows: [Windows; 2],
    /// The first query of the running five minutes, and of the running hour.
    first: [Option<Place>; 2],
}

/// A query by its place; written in a snapshot with all fields.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Place {
    at: EventTime,
    request_id: Box<str>,
    topic: Topic,
    partition: i32,
    offset: i64,
    row: u32,
}

/// What the volume of a client tells.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ClientVolume {
    counts: Option<Box<Counts>>,
    /// Size, by window, that was reported or was reached since then; 0 if it was never reported.
    reported: [f64; 2],
    /// Until when it is suspicious, unless it goes on.
    suspicious_until: Option<EventTime>,
}

// === impl Span ===

impl Span {
    /// Both, shortest first.
    pub const ALL: [Self; 2] = [Self::FiveMinutes, Self::Hour];

    /// Its length in seconds.
    pub const fn seconds(self) -> i64 {
        match self {
            Self::FiveMinutes => 300,
            Self::Hour => 3600,
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

// === impl Place ===

impl Place {
    fn of(query: &Query) -> Self {
        let Provenance { topic, partition, offset, row } = query.provenance.clone();
        Self { at: query.time, request_id: query.request_id.as_str().into(), topic, partition, offset, row }
    }

    fn query(&self) -> QueryRef {
        let Self { at, request_id, topic, partition, offset, row } = self.clone();
        let provenance = Provenance { topic, partition, offset, row };
        QueryRef { at: At(at), request_id: request_id.into(), provenance }
    }
}

// === impl Windows ===

impl Windows {
    /// Counts a row; true if a window begins with it.
    fn add(&mut self, at: EventTime, span: Span, hash: u64) -> bool {
        let begins = self.start == EventTime::default() || at >= self.start.plus_seconds(span.seconds());
        if begins {
            self.start = at;
            self.rows.clear();
        }
        self.rows.add(hash);
        let period = at.micros().div_euclid(PAST_MICROS);
        if period > self.period {
            // What two periods ago was recent is the past now.
            let (before, present) = self.recent;
            let (past, recent) =
                if period == self.period + 1 { (before, (present, 0.0)) } else { (before.max(present), (0.0, 0.0)) };
            (self.past, self.recent, self.period) = (self.past.max(past), recent, period);
        }
        let rows = self.rows.rows();
        self.recent.1 = self.recent.1.max(rows);
        self.largest = self.largest.max(rows);
        begins
    }
}

// === impl ClientVolume ===

impl ClientVolume {
    /// Counts a row by its hash. Returns whether its client has asked enough to be judged.
    #[inline]
    pub fn note(&mut self, query: &Query, queries: u64, hash: u64) -> bool {
        if queries < COUNTED_FROM {
            return false;
        }
        let fresh = || Box::new(Counts { windows: Default::default(), first: [None, None] });
        let counts = self.counts.get_or_insert_with(fresh);
        for (span, (windows, first)) in Span::ALL.into_iter().zip(counts.windows.iter_mut().zip(&mut counts.first)) {
            if windows.add(query.time, span, hash) {
                *first = Some(Place::of(query));
            }
        }
        true
    }

    fn windows(&self, span: Span) -> Option<&Windows> {
        self.counts.as_ref().map(|counts| &counts.windows[span.index()])
    }

    /// Different rows of the running window.
    pub fn rows(&self, span: Span) -> f64 {
        self.windows(span).map_or(0.0, |windows| windows.rows.rows())
    }

    /// The same of the largest window; `None` if its rows are not counted.
    pub fn largest(&self, span: Span) -> Option<f64> {
        self.windows(span).map(|windows| windows.largest)
    }

    /// The most that it asked in times past, or was reported for; 0 without a past.
    pub fn past(&self, span: Span) -> f64 {
        self.windows(span).map_or(0.0, |windows| windows.past).max(self.reported[span.index()])
    }

    /// First query of the running window.
    pub fn first(&self, span: Span) -> Option<QueryRef> {
        self.counts.as_ref()?.first[span.index()].as_ref().map(Place::query)
    }

    /// Whether it was ever reported.
    pub fn was_reported(&self) -> bool {
        self.reported.iter().any(|&rows| rows > 0.0)
    }

    /// Whether it is suspicious now.
    pub fn is_suspicious(&self) -> bool {
        self.suspicious_until.is_some()
    }

    /// It is reported, or goes on: what it asks now is known from now on.
    pub fn report(&mut self, now: EventTime) {
        let [minutes, hour] = Span::ALL.map(|span| self.rows(span));
        // Whoever goes on at this pace fills the hour with it. That is no news.
        let (minutes, hour) = (minutes.max(self.reported[0]), hour.max(self.reported[1]));
        let windows_per_hour = (Span::Hour.seconds() / Span::FiveMinutes.seconds()) as f64;
        self.reported = [minutes, hour.max(minutes * windows_per_hour)];
        self.suspicious_until = Some(now.plus_seconds(QUIET_SECONDS));
    }

    /// Whether its suspicion ends at `now`; it is over then.
    pub fn ends(&mut self, now: EventTime) -> bool {
        let over = self.suspicious_until.is_some_and(|until| now >= until);
        if over {
            self.suspicious_until = None;
        }
        over
    }

    /// Prefetches what lies elsewhere.
    #[inline]
    pub fn prefetch(&self) {
        if let Some(counts) = &self.counts {
            prefetch::value(&counts.windows[0]);
            prefetch::value(&counts.windows[1]);
        }
    }

    /// Bytes held beyond the struct itself.
    pub fn bytes(&self) -> usize {
        self.counts.as_ref().map_or(0, |counts| {
            size_of::<Counts>() + counts.first.iter().flatten().map(|first| first.request_id.len()).sum::<usize>()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::mix;

    fn at(seconds: i64) -> EventTime {
        EventTime::from_micros(1_772_409_600_000_000).plus_seconds(seconds)
    }

    fn ask(volume: &mut ClientVolume, seconds: i64, row: u64) {
        volume.note(&Query { time: at(seconds), request_id: format!("r-{seconds}"), ..Query::default() }, COUNTED_FROM, mix(row));
    }

    #[test]
    fn a_window_begins_with_the_first_query_after_the_last_has_ended() {
        let mut volume = ClientVolume::default();
        (0..40).for_each(|i| ask(&mut volume, 290 + i, i as u64));
        assert!((volume.rows(Span::FiveMinutes) - 40.0).abs() < 3.0, "no clock cuts it");
        assert_eq!(volume.first(Span::FiveMinutes).unwrap().request_id, "r-290");
        ask(&mut volume, 290 + 300, 1);
        assert!((volume.rows(Span::FiveMinutes) - 1.0).abs() < 1e-6 && volume.rows(Span::Hour) > 38.0);
        assert_eq!(volume.first(Span::FiveMinutes).unwrap().request_id, "r-590");
        assert_eq!(volume.first(Span::Hour).unwrap().request_id, "r-290");
        assert!(volume.largest(Span::FiveMinutes).unwrap() > 38.0);
    }

    #[test]
    fn what_it_asks_becomes_its_past_after_hours() {
        let mut volume = ClientVolume::default();
        (0..40).for_each(|i| ask(&mut volume, i, i as u64));
        assert!(volume.past(Span::FiveMinutes) < 1e-9);
        ask(&mut volume, 7 * 3600, 1);
        assert!(volume.past(Span::FiveMinutes) < 1e-9, "it is recent");
        ask(&mut volume, 13 * 3600, 1);
        assert!(volume.past(Span::FiveMinutes) > 38.0);
        let mut absent = ClientVolume::default();
        (0..40).for_each(|i| ask(&mut absent, i, i as u64));
        ask(&mut absent, 100 * 3600, 1);
        assert!(absent.past(Span::FiveMinutes) > 38.0, "a pause of days passes over both periods");
    }

    #[test]
    fn a_report_makes_what_is_asked_known_and_ends_after_a_silence() {
        let mut volume = ClientVolume::default();
        (0..100).for_each(|i| ask(&mut volume, i, i as u64));
        volume.report(at(100));
        assert!(volume.is_suspicious() && volume.was_reported());
        assert!(volume.past(Span::FiveMinutes) > 90.0 && volume.past(Span::Hour) > 1_000.0);
        assert!(!volume.ends(at(3600)));
        assert!(volume.ends(at(100 + QUIET_SECONDS)) && !volume.is_suspicious());
        assert!(!volume.ends(at(200 + QUIET_SECONDS)) && volume.was_reported(), "once");
    }

    #[test]
    fn few_queries_are_not_counted() {
        let mut volume = ClientVolume::default();
        for queries in 1..COUNTED_FROM {
            assert!(!volume.note(&Query::default(), queries, queries));
        }
        assert_eq!((volume.bytes(), volume.largest(Span::Hour)), (0, None));
    }
}

//! Event time, watermark and panes.
//!
//! The watermark is the newest event time less the allowed lateness (Akidau et al. 2015, "The Dataflow Model"). An event below it is
//! late, and a window that ends below it is complete. Windows slide over a ring of panes ([`Ring`]).
//!
//! | file | what it holds |
//! |---|---|
//! | `chunks` | a sequence that clones share until one changes it |
//! | [`clients`] | the bounded table of clients |
//! | [`history`] | the bounded memory of rows |
//! | [`index`] | the index that finds rows again |

mod chunks;
pub mod clients;
pub mod history;
pub mod index;

use crate::event::EventTime;

/// Event time that is complete.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Watermark {
    newest: Option<EventTime>,
    lateness_seconds: i64,
    max_jump_seconds: i64,
    /// Events ahead of the rest in a row, and the earliest of them.
    ahead: (u32, EventTime),
}

/// Where an event stands to the watermark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// At or above the watermark.
    OnTime,
    /// Below it.
    Late,
    /// So far above everything else that it is more likely wrong than new.
    FromTheFuture,
}

/// Events in a row that must agree before a jump of event time is believed. Chosen: a caller with a wrong clock sends fewer in a row
/// among others' events, and a log that resumes has them within seconds.
const JUMP_WITNESSES: u32 = 50;

/// Panes of fixed length in a ring, addressed by event time.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Ring<P> {
    panes: Vec<P>,
    pane_micros: i64,
    /// Number of the newest pane.
    newest: Option<i64>,
}

// === impl Watermark ===

impl Watermark {
    /// A watermark that trails the newest event by `lateness_seconds` and believes no single jump of more than `max_jump_seconds`.
    pub fn new(lateness_seconds: i64, max_jump_seconds: i64) -> Self {
        Self { newest: None, lateness_seconds, max_jump_seconds, ahead: (0, EventTime::default()) }
    }

    /// Event time that is complete; `None` before the first event.
    pub fn at(&self) -> Option<EventTime> {
        self.newest.map(|t| t.plus_seconds(-self.lateness_seconds))
    }

    /// The newest event time; `None` before the first event.
    pub fn newest(&self) -> Option<EventTime> {
        self.newest
    }

    /// Places an event and moves the watermark if it is on time.
    pub fn observe(&mut self, at: EventTime) -> Standing {
        let Some(newest) = self.newest else {
            self.newest = Some(at);
            return Standing::OnTime;
        };
        if at > newest.plus_seconds(self.max_jump_seconds) {
            // One wrong clock must not make everybody else late. Many events that agree are a gap in the log.
            let (count, from) = self.ahead;
            let agree = count > 0 && (at.seconds_since(from)).abs() <= self.max_jump_seconds as f64;
            self.ahead = if agree { (count + 1, from.min(at)) } else { (1, at) };
            if self.ahead.0 < JUMP_WITNESSES {
                return Standing::FromTheFuture;
            }
        }
        if at < newest.plus_seconds(-self.lateness_seconds) {
            return Standing::Late;
        }
        self.ahead.0 = 0;
        self.newest = Some(newest.max(at));
        Standing::OnTime
    }

    /// Nothing more will come: everything up to the newest event is complete.
    pub fn complete(&mut self) {
        self.newest = self.newest.map(|newest| newest.plus_seconds(self.lateness_seconds));
    }

    /// Moves the watermark's source to at least `at`, as an idle input does.
    pub fn tick(&mut self, at: EventTime) {
        self.newest = self.newest.map(|newest| newest.max(at));
    }
}

// === impl Ring ===

impl<P: Default + Clone> Ring<P> {
    /// `count` panes of `pane_seconds` each.
    pub fn new(count: usize, pane_seconds: i64) -> Self {
        Self { panes: vec![P::default(); count.max(1)], pane_micros: pane_seconds.max(1) * 1_000_000, newest: None }
    }

    /// The pane of an instant, to be added to; `None` if it is older than the ring. Panes that leave the ring are cleared.
    pub fn pane_mut(&mut self, at: EventTime) -> Option<&mut P> {
        let pane = at.micros().div_euclid(self.pane_micros);
        let length = self.panes.len() as i64;
        let newest = *self.newest.get_or_insert(pane);
        if pane > newest {
            for gone in 0..(pane - newest).min(length) {
                self.panes[(pane - gone).rem_euclid(length) as usize] = P::default();
            }
            self.newest = Some(pane);
        } else if newest - pane >= length {
            return None;
        }
        self.panes.get_mut(pane.rem_euclid(length) as usize)
    }

    /// The panes of the last `seconds` up to the newest, newest first.
    pub fn window(&self, seconds: i64) -> impl Iterator<Item = &P> {
        let length = self.panes.len() as i64;
        let wanted = (seconds * 1_000_000).div_euclid(self.pane_micros).clamp(1, length);
        let newest = self.newest;
        (0..wanted).filter_map(move |back| newest.map(|n| &self.panes[(n - back).rem_euclid(length) as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> EventTime {
        EventTime::from_micros(1_772_409_600_000_000).plus_seconds(seconds)
    }

    #[test]
    fn late_is_behind_the_newest_by_more_than_the_allowance() {
        let mut mark = Watermark::new(60, 86_400);
        assert_eq!(mark.observe(at(0)), Standing::OnTime);
        assert_eq!(mark.observe(at(100)), Standing::OnTime);
        assert_eq!(mark.observe(at(40)), Standing::OnTime);
        assert_eq!(mark.observe(at(39)), Standing::Late);
        assert_eq!(mark.at(), Some(at(40)));
    }

    #[test]
    fn one_wrong_clock_makes_nobody_late_and_a_gap_in_the_log_is_believed() {
        let mut mark = Watermark::new(60, 86_400);
        mark.observe(at(0));
        assert_eq!(mark.observe(at(86_400 * 365)), Standing::FromTheFuture);
        assert_eq!(mark.observe(at(1)), Standing::OnTime);
        let standings: Vec<Standing> = (0..60).map(|i| mark.observe(at(86_400 * 30 + i))).collect();
        assert_eq!(standings.iter().filter(|s| **s == Standing::FromTheFuture).count(), JUMP_WITNESSES as usize - 1);
        assert_eq!(standings.last(), Some(&Standing::OnTime));
    }

    #[test]
    fn sums_over_panes_equal_sums_over_events_in_any_order() {
        let times: Vec<i64> = (0..500).map(|i| (crate::hash::mix(i) % 5_000) as i64).collect();
        let mut ring: Ring<u32> = Ring::new(100, 60);
        for &t in &times {
            if let Some(pane) = ring.pane_mut(at(t)) {
                *pane += 1;
            }
        }
        let newest = times.iter().max().unwrap() / 60;
        let expected = times.iter().filter(|&&t| t / 60 > newest - 10).count() as u32;
        assert_eq!(ring.window(600).sum::<u32>(), expected);
    }
}

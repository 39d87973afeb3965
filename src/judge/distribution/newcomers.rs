//! The pool of newcomers: one detector over the first votes of all clients that came after the warm-up.
//!
//! Many addresses with a few queries each would never give enough evidence one by one. The pool accuses nobody; while it is alarmed,
//! newcomers need less evidence of their own.

use super::SUSPICIOUS;
use crate::event::EventTime;
use crate::judge::evidence::{Bounds, Detector, Factors, NEWCOMER_BETS};
use crate::signal::density::statistic::Cells;

/// How long an alarm lowers the threshold for newcomers, in seconds. Chosen: an attack spread over many addresses is sent within hours; after
/// six of them without a further alarm newcomers are as usual.
const ALARM_SECONDS: i64 = 6 * 3600;
/// Evidence that alarms, in multiples of a client's threshold: the price of testing all newcomers at once.
const ALARM_FACTOR: f64 = 10.0;
/// Share of the evidence that alarms below which newcomers' rows are usual. The evidence of usual rows grows with their number (its
/// expectation is one a row), so a thousand of them may reach it.
const USUAL: f64 = 1e-3;
/// Evidence that is kept after an alarm, in multiples of it: more would keep the pool alarmed long after the burst.
const LIMIT_FACTOR: f64 = 10.0;

/// The pool.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct NewcomerPool {
    factors: Factors,
    detector: Detector,
    /// When its evidence was last below suspicion.
    quiet_at: EventTime,
    /// Start of the burst of newcomers that alarmed it.
    burst_since: EventTime,
    alarmed_at: Option<EventTime>,
    /// Whether its evidence was below suspicion at the last vote.
    is_usual: bool,
}

// === impl NewcomerPool ===

impl NewcomerPool {
    /// An empty pool against newcomers within `bounds`.
    pub(super) fn new(bounds: &Bounds) -> Self {
        Self {
            factors: Factors::new(bounds, NEWCOMER_BETS),
            detector: Detector::default(),
            quiet_at: EventTime::default(),
            burst_since: EventTime::default(),
            alarmed_at: None,
            is_usual: true,
        }
    }

    /// Start of the newest burst.
    pub(super) fn burst_since(&self) -> EventTime {
        self.burst_since
    }

    /// Whether its evidence was below suspicion at the last vote.
    pub(super) fn is_usual(&self) -> bool {
        self.is_usual
    }

    /// Whether it is alarmed.
    pub(super) fn is_alarmed(&self, now: EventTime) -> bool {
        self.alarmed_at.is_some_and(|alarm| now < alarm.plus_seconds(ALARM_SECONDS))
    }

    /// Takes a newcomer's vote; `threshold` is a client's.
    pub(super) fn vote(&mut self, cells: Cells, now: EventTime, threshold: f64) {
        self.detector.update(cells, &self.factors);
        let evidence = self.detector.dependence();
        let alarm = threshold * ALARM_FACTOR;
        self.is_usual = evidence < alarm * USUAL;
        if evidence < SUSPICIOUS {
            self.quiet_at = now;
        }
        if evidence >= alarm {
            if !self.is_alarmed(now) {
                self.burst_since = self.quiet_at;
            }
            self.alarmed_at = Some(now);
            self.detector.limit((alarm * LIMIT_FACTOR) as f32);
        }
    }

    /// Newcomers may show other things now.
    pub(super) fn set_bounds(&mut self, bounds: &Bounds) {
        self.factors = Factors::new(bounds, NEWCOMER_BETS);
    }

    /// Forgets its evidence.
    pub(super) fn reset(&mut self) {
        self.detector.reset();
        self.is_usual = true;
    }
}

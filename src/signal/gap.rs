//! Time between a client's queries: mean, coefficient of variation, regularity, and the share at night.
//!
//! Description only: verdicts show it, and it is no evidence. Machines are regular (a timer gives a coefficient of variation near 0, a
//! Poisson process 1, people more than 1), but so are health checks and batch jobs.

use crate::event::EventTime;

/// Relative difference within which two successive gaps are equal. Chosen: a scheduler on a busy machine is late by less than a twentieth of
/// a period of seconds.
const SAME_GAP: f64 = 0.05;
/// Hours of the day (UTC) that count as off-hours: a quarter of the day, so that a client without a daily rhythm has a share of 0.25.
const OFF_HOURS: std::ops::Range<u8> = 0..6;

/// Running statistics of one client's gaps, by Welford's recurrence (Welford 1962).
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Gap {
    last: Option<EventTime>,
    previous: f64,
    count: u32,
    mean: f64,
    squares: f64,
    equal: u32,
    off_hours: u32,
    queries: u32,
}

// === impl Gap ===

impl Gap {
    /// Notes a query; returns the seconds since the one before. A query out of order counts as gap 0.
    pub fn add(&mut self, at: EventTime) -> Option<f64> {
        self.queries = self.queries.saturating_add(1);
        if OFF_HOURS.contains(&at.hour_of_day()) {
            self.off_hours = self.off_hours.saturating_add(1);
        }
        let last = self.last.replace(self.last.map_or(at, |l| l.max(at)))?;
        let gap = at.seconds_since(last).max(0.0);
        if self.count > 0 && (gap - self.previous).abs() <= SAME_GAP * self.previous.max(gap) {
            self.equal = self.equal.saturating_add(1);
        }
        self.previous = gap;
        self.count = self.count.saturating_add(1);
        let delta = gap - self.mean;
        self.mean += delta / f64::from(self.count);
        self.squares += delta * (gap - self.mean);
        Some(gap)
    }

    /// Mean gap in seconds; `None` before two queries.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// Standard deviation over mean (sample form); `None` before three queries or if all gaps are 0.
    pub fn variation(&self) -> Option<f64> {
        (self.count > 1 && self.mean > 0.0).then(|| (self.squares / f64::from(self.count - 1)).sqrt() / self.mean)
    }

    /// Share of gaps equal to the one before, 0 to 1; `None` before three queries.
    pub fn regularity(&self) -> Option<f64> {
        (self.count > 1).then(|| f64::from(self.equal) / f64::from(self.count - 1))
    }

    /// Share of queries at night (UTC), 0 to 1; `None` without queries.
    pub fn off_hours(&self) -> Option<f64> {
        (self.queries > 0).then(|| f64::from(self.off_hours) / f64::from(self.queries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_numpy() {
        // scripts/reference_values.py gap_moments
        let mut gap = Gap::default();
        let start = EventTime::parse("2026-03-02T03:00:00Z").unwrap();
        let mut at = start.micros();
        gap.add(start);
        for g in [1.0, 2.0, 4.0, 8.5_f64] {
            at += (g * 1e6) as i64;
            gap.add(EventTime::from_micros(at));
        }
        assert!((gap.mean().unwrap() - 3.875).abs() < 1e-9);
        assert!((gap.variation().unwrap() - 0.858_331_270_687_1).abs() < 1e-9, "{:?}", gap.variation());
        assert!((gap.off_hours().unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_timer_is_regular() {
        let mut gap = Gap::default();
        for i in 0..100 {
            gap.add(EventTime::from_micros(1_772_442_900_000_000 + i * 10_000_000));
        }
        assert!(gap.variation().unwrap() < 1e-9 && gap.regularity().unwrap() > 0.99);
    }
}

//! Query rate of a client: against its own past, against its peers, against a high percentile of all.
//!
//! Description only: it is in verdicts and metrics because operators expect it, and accuses nobody. A count above the 95th percentile
//! would flag one honest client in twenty by definition, and an attack spread over many addresses never reaches it. The evidence
//! number of `query_rate` in a verdict only orders the list of signals.

use crate::event::EventTime;

/// Hours kept: one day, so that a client's own daily rhythm is inside.
const HOURS: usize = 24;
/// Microseconds of an hour.
const HOUR_MICROS: i64 = 3_600_000_000;
/// Least mean that a surprise is computed against, in queries an hour. Chosen: a mean learned from a day cannot be told from less.
const LEAST_MEAN: f64 = 0.5;

/// Queries of one client by hour of event time over the last day.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Rate {
    hours: [u16; HOURS],
    /// Hour number (since the epoch) of the newest pane.
    hour: i64,
    /// Hours before the current day's ring that had queries, and queries in them: the client's own past.
    past_hours: u32,
    past_queries: u64,
}

// === impl Rate ===

impl Rate {
    /// Counts a query.
    pub fn add(&mut self, at: EventTime) {
        let hour = at.micros().div_euclid(HOUR_MICROS);
        if self.hour == 0 {
            self.hour = hour;
        }
        if hour > self.hour {
            for gone in 1..=(hour - self.hour).min(HOURS as i64) {
                let pane = &mut self.hours[((self.hour + gone).rem_euclid(HOURS as i64)) as usize];
                if *pane > 0 {
                    self.past_hours += 1;
                    self.past_queries += u64::from(*pane);
                }
                *pane = 0;
            }
            self.hour = hour;
        }
        if self.hour - hour < HOURS as i64 {
            let pane = &mut self.hours[(hour.rem_euclid(HOURS as i64)) as usize];
            *pane = pane.saturating_add(1);
        }
    }

    /// Queries in the last `hours` hours (1 to 24) up to `now`, by whole panes.
    pub fn queries(&self, now: EventTime, hours: usize) -> u32 {
        let current = now.micros().div_euclid(HOUR_MICROS);
        (0..hours.min(HOURS) as i64)
            .map(|back| current - back)
            .filter(|&h| h <= self.hour && h > self.hour - HOURS as i64)
            .map(|h| u32::from(self.hours[(h.rem_euclid(HOURS as i64)) as usize]))
            .sum()
    }

    /// Mean queries per active hour before the current one; `None` without a past.
    pub fn own_past(&self, now: EventTime) -> Option<f64> {
        let current = now.micros().div_euclid(HOUR_MICROS);
        let (mut hours, mut queries) = (f64::from(self.past_hours), self.past_queries as f64);
        for h in (self.hour - HOURS as i64 + 1..=self.hour).filter(|&h| h < current) {
            let pane = self.hours[(h.rem_euclid(HOURS as i64)) as usize];
            if pane > 0 {
                hours += 1.0;
                queries += f64::from(pane);
            }
        }
        (hours > 0.0).then(|| queries / hours)
    }
}

/// ln of how improbable it is that a caller with `mean` queries an hour sends `observed` or more: the Chernoff bound of a
/// Poisson tail, which needs no table and never overstates. 0 if it is not improbable.
pub fn surprise(observed: f64, mean: f64) -> f64 {
    let mean = mean.max(LEAST_MEAN);
    if observed <= mean { 0.0 } else { observed * (observed / mean).ln() - (observed - mean) }
}

/// The value below which a share `q` of the values lies (nearest rank); 0 for none. Reorders its input.
pub fn percentile(values: &mut [f64], q: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let rank = ((values.len() as f64 * q).ceil() as usize).clamp(1, values.len()) - 1;
    *values.select_nth_unstable_by(rank, f64::total_cmp).1
}

/// The median of some values, of which there is one at least; the larger of the two in the middle. Reorders its input.
pub fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panes_slide_and_the_past_stays_known() {
        let mut rate = Rate::default();
        let start = EventTime::parse("2026-03-02T00:00:00Z").unwrap();
        for hour in 0..48 {
            for _ in 0..5 {
                rate.add(start.plus_seconds(hour * 3600));
            }
        }
        let now = start.plus_seconds(47 * 3600);
        assert_eq!((rate.queries(now, 1), rate.queries(now, 24)), (5, 120));
        assert!((rate.own_past(now).unwrap() - 5.0).abs() < 1e-12);
        assert_eq!(rate.queries(now.plus_seconds(100 * 3600), 24), 0);
    }

    #[test]
    fn surprise_bounds_the_poisson_tail() {
        // scripts/reference_values.py poisson_tail: the bound is larger than the tail.
        let bound = (-surprise(20.0, 5.0)).exp();
        assert!(bound > 3.4521e-07 && bound < 5e-6, "{bound}");
        assert!(surprise(3.0, 5.0).abs() < 1e-12);
    }
}

//! Event time of a model: the watermark, counts by quarter of an hour, and the steps at which drift is tested.

use crate::event::EventTime;
use crate::judge::drift;
use crate::reference::UnknownValue;
use crate::window::{Ring, Standing, Watermark};

/// Largest jump of event time that one event may cause, in seconds: two days bridge a weekend's pause of a log.
const MAX_JUMP_SECONDS: i64 = 2 * 86_400;
/// Event time before the first drift test: the short window of the test.
const FIRST_TEST_SECONDS: i64 = 2 * 3600;
/// A pause of the log, in seconds, beyond which the steps within it are not tested: no window of any of them holds a vote.
const LONG_PAUSE_SECONDS: f64 = 86_400.0;
/// Panes kept and the length of one, in seconds: a day of quarters of an hour, the step of the drift test.
const PANES: usize = 24 * 4;
const PANE_SECONDS: i64 = 15 * 60;

/// Counts of a quarter of an hour by feature and coarse code.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
struct ValuePane {
    counts: Vec<u32>,
    queries: u32,
    /// Values by feature that are missing or that the reference does not know, by kind.
    unknown: Vec<[u32; UnknownValue::ALL.len()]>,
}

/// When a query arrives, by event time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// At or above the watermark.
    OnTime,
    /// Behind the watermark, which is given.
    Late {
        /// Event time that is complete.
        watermark: EventTime,
    },
    /// Implausibly far ahead of everything else.
    FromTheFuture,
}

/// Windows of one model.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Windows {
    watermark: Watermark,
    quarters: Ring<ValuePane>,
    /// The next step at which drift is tested; `None` before the first event.
    next_test: Option<EventTime>,
    /// 95th percentile over clients of queries per hour, as of the last test.
    pub(super) rate_p95: f64,
}

// === impl Windows ===

impl Windows {
    /// Windows before the first event.
    pub(super) fn new(allowed_lateness_seconds: u32) -> Self {
        Self {
            watermark: Watermark::new(i64::from(allowed_lateness_seconds), MAX_JUMP_SECONDS),
            quarters: Ring::new(PANES, PANE_SECONDS),
            next_test: None,
            rate_p95: 0.0,
        }
    }

    /// Event time that is complete; `None` before the first event.
    pub(super) fn watermark(&self) -> Option<EventTime> {
        self.watermark.at()
    }

    /// The newest event time; `None` before the first event.
    pub(super) fn newest(&self) -> Option<EventTime> {
        self.watermark.newest()
    }

    /// Places a query, and moves the watermark if it is on time.
    pub(super) fn arrival(&mut self, at: EventTime) -> Arrival {
        match self.watermark.observe(at) {
            Standing::OnTime => Arrival::OnTime,
            Standing::Late => Arrival::Late { watermark: self.watermark.at().unwrap_or(at) },
            Standing::FromTheFuture => Arrival::FromTheFuture,
        }
    }

    /// Event time has reached `at`, as an idle input says.
    pub(super) fn tick(&mut self, at: EventTime) {
        self.watermark.tick(at);
    }

    /// Nothing more will come.
    pub(super) fn complete(&mut self) {
        self.watermark.complete();
    }

    /// The next step of the drift test that the watermark has passed; `None` when there is none left.
    pub(super) fn next_step(&mut self) -> Option<EventTime> {
        let mark = self.watermark.at()?;
        let next = self.next_test.get_or_insert_with(|| mark.plus_seconds(FIRST_TEST_SECONDS));
        if mark < *next {
            return None;
        }
        if mark.seconds_since(*next) > LONG_PAUSE_SECONDS {
            *next = mark.plus_seconds(-drift::STEP);
        }
        let step = *next;
        *next = step.plus_seconds(drift::STEP);
        Some(step)
    }

    /// Seconds of event time until the next step at which drift is tested.
    pub(super) fn seconds_to_next_test(&self) -> f64 {
        match (self.watermark.at(), self.next_test) {
            (Some(mark), Some(next)) => next.seconds_since(mark).max(0.0),
            _ => FIRST_TEST_SECONDS as f64,
        }
    }

    /// Counts the coarse codes of a row in the quarter of an hour of `at`, and its unknown values; `sizes` is the number of codes of each
    /// feature.
    pub(super) fn count(
        &mut self,
        at: EventTime,
        coarse: &[u8],
        sizes: &[usize],
        unknown: impl Iterator<Item = (usize, UnknownValue)>,
    ) {
        let Some(pane) = self.quarters.pane_mut(at) else { return };
        if pane.counts.is_empty() {
            pane.counts = vec![0; sizes.iter().sum()];
        }
        let mut offset = 0;
        for (&code, &size) in coarse.iter().zip(sizes) {
            pane.counts[offset + usize::from(code)] += 1;
            offset += size;
        }
        pane.queries += 1;
        for (feature, kind) in unknown {
            if pane.unknown.is_empty() {
                pane.unknown.resize(sizes.len(), Default::default());
            }
            pane.unknown[feature][kind.index()] += 1;
        }
    }

    /// Queries over the last `seconds`, and their values of a feature that are missing or unknown, by kind.
    pub(super) fn unknown_values(&self, seconds: i64, feature: usize) -> (u64, [u64; UnknownValue::ALL.len()]) {
        let (mut queries, mut sums) = (0, [0; UnknownValue::ALL.len()]);
        for pane in self.quarters.window(seconds) {
            queries += u64::from(pane.queries);
            let counts = pane.unknown.get(feature).copied().unwrap_or_default();
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += u64::from(count));
        }
        (queries, sums)
    }

    /// Counts by feature and coarse code, one feature after the other, over the last `seconds`.
    pub(super) fn counts(&self, seconds: i64, sizes: &[usize]) -> Vec<u64> {
        let mut sums = vec![0_u64; sizes.iter().sum()];
        for pane in self.quarters.window(seconds) {
            sums.iter_mut().zip(&pane.counts).for_each(|(sum, &count)| *sum += u64::from(count));
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> EventTime {
        EventTime::from_micros(1_772_409_600_000_000).plus_seconds(seconds)
    }

    fn steps(windows: &mut Windows) -> Vec<EventTime> {
        std::iter::from_fn(|| windows.next_step()).collect()
    }

    #[test]
    fn every_step_that_the_watermark_passes_is_tested_once() {
        let mut windows = Windows::new(0);
        windows.arrival(at(0));
        assert_eq!(steps(&mut windows), []);
        windows.arrival(at(FIRST_TEST_SECONDS + 2 * drift::STEP));
        let first = at(FIRST_TEST_SECONDS);
        assert_eq!(steps(&mut windows), [first, first.plus_seconds(drift::STEP), first.plus_seconds(2 * drift::STEP)]);
        assert_eq!(steps(&mut windows), []);
    }

    #[test]
    fn a_long_pause_is_passed_over() {
        let mut windows = Windows::new(0);
        windows.arrival(at(0));
        windows.arrival(at(FIRST_TEST_SECONDS));
        steps(&mut windows);
        windows.tick(at(30 * 86_400));
        assert_eq!(steps(&mut windows), [at(30 * 86_400 - drift::STEP), at(30 * 86_400)]);
    }

    #[test]
    fn counts_are_kept_by_feature_and_code() {
        let mut windows = Windows::new(0);
        windows.count(at(0), &[1, 0], &[2, 3], std::iter::empty());
        windows.count(at(1000), &[1, 2], &[2, 3], std::iter::once((1, UnknownValue::Unseen)));
        assert_eq!(windows.counts(3600, &[2, 3]), [0, 2, 1, 0, 1]);
        assert_eq!(windows.counts(900, &[2, 3]), [0, 1, 0, 0, 1], "the last quarter alone");
        assert_eq!(windows.unknown_values(3600, 1), (2, [0, 1, 0, 0]));
        assert_eq!(windows.unknown_values(3600, 0), (2, [0; 4]));
    }
}

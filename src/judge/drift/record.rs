//! Which drift tests were really made: a window with too few votes is no test, and no test is no negative result.

use serde::{Deserialize, Serialize};

use super::{NEWCOMERS_WAIT, PERSISTENCE, STEP};
use crate::event::EventTime;

/// Columns under test that are kept, those first above their critical value first. Chosen: a change of more columns is told by these.
const MAX_PENDING: usize = 8;

/// The drift tests of a model so far.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TestRecord {
    /// Evaluations in which one of the windows held enough votes.
    pub one_window: u64,
    /// Evaluations in which both windows held enough votes.
    pub both_windows: u64,
    /// Evaluations in which no window held enough votes: no tests.
    pub too_thin: u64,
    /// The newest evaluation in which a window held enough votes.
    pub newest: Option<EventTime>,
    /// Votes in the long window of the newest evaluation, if no window held enough; `None` if one did.
    pub thin_votes: Option<u64>,
    /// Columns that are above their critical value and have not lasted, at the newest evaluation.
    pub pending: Vec<PendingColumn>,
}

/// A column that is above its critical value and has not lasted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PendingColumn {
    /// Number of the column: features in schema order, then the prediction and its residual.
    pub column: usize,
    /// Evaluations in a row that found it above.
    pub evaluations: u32,
    /// The evaluation that first found it above.
    pub since: EventTime,
    /// Seconds for which it must last from now on; `None` if it waits until the callers that bring it are known, because the model is
    /// being probed.
    pub seconds_left: Option<i64>,
}

// === impl TestRecord ===

impl TestRecord {
    /// Evaluations that were tests.
    pub fn tests(&self) -> u64 {
        self.one_window + self.both_windows
    }

    /// Notes an evaluation at `now` in which `windows` windows held enough votes; if none did, the long one held `thin_votes`.
    pub(super) fn note(&mut self, now: EventTime, windows: usize, thin_votes: u64, mut pending: Vec<PendingColumn>) {
        match windows {
            0 => self.too_thin += 1,
            1 => self.one_window += 1,
            _ => self.both_windows += 1,
        }
        self.thin_votes = (windows == 0).then_some(thin_votes);
        if windows > 0 {
            self.newest = Some(now);
        }
        pending.sort_by_key(|one| (one.since, one.column));
        pending.truncate(MAX_PENDING);
        self.pending = pending;
    }
}

// === impl PendingColumn ===

impl PendingColumn {
    /// A column that `evaluations` in a row found above its critical value, the last at `now`. A change that newcomers bring waits
    /// longer, and without a limit while the model is `probed`.
    pub(super) fn new(column: usize, evaluations: u32, now: EventTime, by_newcomers: bool, probed: bool) -> Self {
        let since = now.plus_seconds(-STEP * i64::from(evaluations.saturating_sub(1)));
        let needed = match (by_newcomers, probed) {
            (true, true) => None,
            (true, false) => Some(PERSISTENCE + NEWCOMERS_WAIT),
            (false, _) => Some(PERSISTENCE),
        };
        let seconds_left = needed.map(|needed| STEP * i64::from(needed.saturating_sub(evaluations)));
        Self { column, evaluations, since, seconds_left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: i64) -> EventTime {
        EventTime::from_micros(1_772_409_600_000_000).plus_seconds(step * STEP)
    }

    #[test]
    fn an_evaluation_without_votes_is_no_test() {
        let mut record = TestRecord::default();
        record.note(at(0), 0, 31, Vec::new());
        assert_eq!((record.tests(), record.too_thin, record.newest, record.thin_votes), (0, 1, None, Some(31)));
        record.note(at(1), 1, 0, Vec::new());
        record.note(at(2), 2, 0, Vec::new());
        record.note(at(3), 0, 90, Vec::new());
        assert_eq!((record.one_window, record.both_windows, record.too_thin), (1, 1, 2));
        assert_eq!((record.newest, record.thin_votes), (Some(at(2)), Some(90)), "the newest test is not the newest evaluation");
    }

    #[test]
    fn a_pending_column_says_since_when_and_how_long_it_must_last() {
        let column = PendingColumn::new(3, 2, at(10), false, true);
        assert_eq!((column.since, column.seconds_left), (at(9), Some(3 * STEP)));
        let newcomers = PendingColumn::new(3, 2, at(10), true, false);
        assert_eq!(newcomers.seconds_left, Some(27 * STEP), "a change that newcomers bring waits for the long window as well");
        assert_eq!(PendingColumn::new(3, 40, at(50), true, true).seconds_left, None);
    }

    #[test]
    fn the_columns_that_are_kept_are_bounded_and_the_oldest() {
        let mut record = TestRecord::default();
        let pending = (0..20).map(|c| PendingColumn::new(c, c as u32 % 4 + 1, at(10), false, false)).collect();
        record.note(at(10), 2, 0, pending);
        assert_eq!(record.pending.len(), MAX_PENDING);
        assert!(record.pending.windows(2).all(|pair| pair[0].since <= pair[1].since) && record.pending[0].since == at(7));
    }
}

//! What was really judged of a model: a verdict of `stable` is a test's answer, and this says which tests were made.
//!
//! Two questions are judged apart. *Does the world change?* needs votes in a window of the drift test. *Who is probing?* needs records
//! that say who asked; those that do not are judged together. What is missing is given in numbers; the words for people are in `html::judged`.

use serde::Serialize;

use crate::event::EventTime;

/// What was judged of one model, and what is missing.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Judged {
    /// The drift test.
    pub drift: DriftJudgement,
    /// The judgement of callers.
    pub callers: CallerJudgement,
}

/// What the drift test has said, and what it still needs.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct DriftJudgement {
    /// Tests in which one window alone held enough new rows.
    pub tests_of_one_window: u64,
    /// Tests in which both windows did.
    pub tests_of_both_windows: u64,
    /// Times that a test was due and no window held enough: these are no tests.
    pub too_thin: u64,
    /// Event time of the newest test.
    pub newest: Option<EventTime>,
    /// New rows in the long window when the newest test was due, if they were too few; `None` if they were enough.
    pub thin_rows: Option<u64>,
    /// Whether a test found nothing above its critical value.
    pub cleared: bool,
    /// What a first test needs; `None` once one was made.
    pub needs: Option<DriftNeeds>,
    /// Changes that are above their critical value and have not lasted, the oldest first, bounded.
    pub pending: Vec<PendingChange>,
}

/// What the first drift test needs.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct DriftNeeds {
    /// Seconds of log until the next test is due.
    pub seconds: f64,
    /// New rows, over all windows, until a test is tried at all. A row is new if its caller has not sent it before.
    pub new_rows: u64,
    /// New rows that a window must hold.
    pub rows_in_window: u64,
    /// Most rows of one caller that count in a window.
    pub rows_of_one_caller: u64,
    /// Seconds of the longest window.
    pub window_seconds: i64,
}

/// A change under test.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PendingChange {
    /// The feature; `prediction` for the answers.
    pub column: String,
    /// The test that first found it above its critical value.
    pub since: EventTime,
    /// Seconds for which it must last from now on; `None` while the model is being probed and the callers that bring it are new.
    pub seconds_left: Option<i64>,
}

/// Whether callers could be judged.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct CallerJudgement {
    /// Queries that say who asked, by address or account.
    pub named: u64,
    /// Queries that do not: they are judged together, and nobody can be named for them.
    pub unnamed: u64,
    /// Addresses that many callers share: whoever asks behind them is judged together, and cannot be named.
    pub shared_addresses: u32,
    /// Seconds of log until callers that come later are told from those of the warm-up; 0 when the warm-up is over.
    pub warm_up_seconds: f64,
}

// === impl Judged ===

impl Judged {
    /// Whether `stable` may be said: a drift test found nothing, and nothing is under test. Rows that do not say who asked are judged
    /// together, so a log without callers is judged, too.
    pub fn is_complete(&self) -> bool {
        self.drift.cleared && self.drift.pending.is_empty()
    }
}

// === impl DriftJudgement ===

impl DriftJudgement {
    /// Tests that were really made.
    pub fn tests(&self) -> u64 {
        self.tests_of_one_window + self.tests_of_both_windows
    }
}

// === impl CallerJudgement ===

impl CallerJudgement {
    /// Whether queries came and none of them says who asked.
    pub fn is_impossible(&self) -> bool {
        self.named == 0 && self.unnamed > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_needs_a_quiet_test_and_nothing_pending_whether_or_not_callers_have_a_name() {
        let complete = Judged {
            drift: DriftJudgement { tests_of_one_window: 1, cleared: true, ..DriftJudgement::default() },
            callers: CallerJudgement { named: 10, unnamed: 5, shared_addresses: 0, warm_up_seconds: 0.0 },
        };
        assert!(complete.is_complete() && !Judged::default().is_complete());
        let unnamed = CallerJudgement { named: 0, unnamed: 15, shared_addresses: 0, warm_up_seconds: 0.0 };
        assert!(Judged { callers: unnamed, ..complete.clone() }.is_complete());
        let change = PendingChange { column: "age".into(), since: EventTime::default(), seconds_left: Some(900) };
        let pending = DriftJudgement { pending: vec![change], ..complete.drift.clone() };
        assert!(!Judged { drift: pending, ..complete.clone() }.is_complete());
        let thin = DriftJudgement { cleared: false, too_thin: 9, ..complete.drift.clone() };
        assert!(!Judged { drift: thin, ..complete }.is_complete());
    }
}

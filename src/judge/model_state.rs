//! The model's verdict as a state machine: events go in, the finding to report comes out.
//!
//! Two questions are kept apart. *Does the world change?* is answered by the drift test, every quarter of an hour
//! ([`ModelEvent::Tested`]). *Is somebody probing?* is answered by flagged callers ([`ModelEvent::Flagged`]) and ages with event
//! time. The finding is the pair of both answers, and a finding is reported when it differs from the last one.
//!
//! ```text
//!             pending                  drifts
//!   Calm ───────────────▶ Pending ───────────────▶ Drifting ◀─┐ drifts, or pending: the count of quiet tests starts again
//!    ▲ ◀───────────────────┘                          │ └──────┘
//!    └────────────────────────────────────────────────┘ RELEASE_TESTS quiet tests, or all of it was the suspects' work
//! ```
//!
//! A test whose windows hold too few votes is no test: it neither clears a model nor counts as quiet. `Stable` is said only after a test
//! that found nothing above its critical value.

use serde::{Deserialize, Serialize};

use super::Finding;
use crate::event::EventTime;

/// Seconds without new evidence after which the model is no longer said to be probed. Chosen: it is the long window of the drift
/// test, so that the queries of a search have left every window when the verdict on it ends.
pub const PROBING_SECONDS: i64 = 6 * 3600;
/// Quiet drift tests in a row after which the model is no longer said to drift: the short window of the test (two hours) in steps
/// of a quarter of an hour. After so many every vote in the window is younger than the last sign of drift.
pub const RELEASE_TESTS: u32 = 8;

/// What happens to a model.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ModelEvent {
    /// The drift test was made.
    Tested(DriftTest),
    /// A caller was flagged as probing, with this confidence (0 to 1).
    Flagged {
        /// Confidence of the verdict on the caller.
        confidence: f64,
    },
}

/// What a drift test said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DriftTest {
    /// A column drifted for long enough, or the model's answers changed.
    pub drifts: bool,
    /// A column is above its critical value, and it is too early to say.
    pub pending: bool,
    /// What was above its critical value is not any more when the suspects are left out.
    pub suspects_alone: bool,
    /// A window held enough votes. If none did, nothing was tested, and the other answers say nothing.
    pub tested: bool,
}

/// Where the question of drift stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
enum DriftPhase {
    /// Nothing is above its critical value.
    #[default]
    Calm,
    /// Something is, and has not lasted.
    Pending,
    /// Drift.
    Drifting {
        /// Tests in a row without a sign of it.
        quiet: u32,
        /// Something is above its critical value at the moment.
        pending: bool,
    },
}

/// That somebody is probing.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Probing {
    /// Until when the last evidence counts.
    until: EventTime,
    /// Largest confidence of the verdicts that led here.
    confidence: f64,
}

/// State of the verdict on one model.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ModelState {
    drift: DriftPhase,
    probing: Option<Probing>,
    /// A test was made that found nothing above its critical value.
    cleared: bool,
    last_reported: Option<Finding>,
}

// === impl DriftPhase ===

impl DriftPhase {
    /// The phase after a test.
    fn after(self, test: DriftTest) -> Self {
        let DriftTest { drifts, pending, suspects_alone, tested } = test;
        match self {
            _ if drifts => Self::Drifting { quiet: 0, pending },
            Self::Drifting { quiet, .. } if !tested => Self::Drifting { quiet, pending: false },
            Self::Drifting { .. } if pending => Self::Drifting { quiet: 0, pending },
            // What vanishes with its makers was never the world's doing.
            Self::Drifting { quiet, .. } if quiet + 1 < RELEASE_TESTS && !suspects_alone => {
                Self::Drifting { quiet: quiet + 1, pending }
            }
            _ if pending => Self::Pending,
            _ => Self::Calm,
        }
    }
}

// === impl ModelState ===

impl ModelState {
    /// Takes an event at an instant of event time; returns the finding to report, if it is another than the last one.
    pub fn on(&mut self, event: ModelEvent, now: EventTime) -> Option<Finding> {
        match event {
            ModelEvent::Tested(test) => {
                self.drift = self.drift.after(test);
                self.cleared |= test.tested && self.drift == DriftPhase::Calm;
            }
            ModelEvent::Flagged { confidence } => {
                let known = self.probing.filter(|probing| now < probing.until).map_or(0.0, |probing| probing.confidence);
                self.probing = Some(Probing { until: now.plus_seconds(PROBING_SECONDS), confidence: confidence.max(known) });
            }
        }
        let finding = self.finding(now)?;
        (self.last_reported != Some(finding)).then(|| {
            self.last_reported = Some(finding);
            finding
        })
    }

    /// What is true now; `None` while nothing was found and no test has cleared the model.
    pub fn finding(&self, now: EventTime) -> Option<Finding> {
        match (self.is_drifting(), self.is_probed(now)) {
            (false, false) => self.cleared.then_some(Finding::Stable),
            (true, false) => Some(Finding::Drift),
            (false, true) => Some(Finding::Probing),
            (true, true) => Some(Finding::DriftAndProbing),
        }
    }

    /// Whether a drift test was made that found nothing above its critical value.
    pub fn is_cleared(&self) -> bool {
        self.cleared
    }

    /// What was reported last; `None` before the first verdict.
    pub fn last_reported(&self) -> Option<Finding> {
        self.last_reported
    }

    /// Whether the model is said to drift.
    pub fn is_drifting(&self) -> bool {
        matches!(self.drift, DriftPhase::Drifting { .. })
    }

    /// Whether the drift test is undecided: something is above its critical value at the moment.
    pub fn is_drift_pending(&self) -> bool {
        matches!(self.drift, DriftPhase::Pending | DriftPhase::Drifting { pending: true, .. })
    }

    /// Whether somebody was flagged as probing within the last [`PROBING_SECONDS`].
    pub fn is_probed(&self, now: EventTime) -> bool {
        self.probing.is_some_and(|probing| now < probing.until)
    }

    /// Confidence in the finding, 0 to 1: of probing, that of the surest verdict on a caller; of drift, one less the stated
    /// probability of a false drift in a day (`false_drift_per_day`); of both, the smaller. `None` for stable: a test that found nothing
    /// says nothing of how much it would have found.
    pub fn confidence(&self, now: EventTime, false_drift_per_day: f64) -> Option<f64> {
        let drift = self.is_drifting().then_some(1.0 - false_drift_per_day);
        let probing = self.probing.filter(|probing| now < probing.until).map(|probing| probing.confidence);
        match (drift, probing) {
            (Some(drift), Some(probing)) => Some(drift.min(probing)),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRIFTS: DriftTest = DriftTest { drifts: true, pending: true, suspects_alone: false, tested: true };
    const PENDING: DriftTest = DriftTest { drifts: false, pending: true, suspects_alone: false, tested: true };
    const QUIET: DriftTest = DriftTest { drifts: false, pending: false, suspects_alone: false, tested: true };
    const SUSPECTS: DriftTest = DriftTest { drifts: false, pending: false, suspects_alone: true, tested: true };
    /// Answers changed, and no column is above its critical value.
    const CONCEPT: DriftTest = DriftTest { drifts: true, pending: false, suspects_alone: false, tested: true };

    /// No window held enough votes.
    const THIN: DriftTest = DriftTest { drifts: false, pending: false, suspects_alone: false, tested: false };

    fn at(seconds: i64) -> EventTime {
        EventTime::from_micros(1_772_409_600_000_000).plus_seconds(seconds)
    }

    fn drifting(quiet: u32, pending: bool) -> DriftPhase {
        DriftPhase::Drifting { quiet, pending }
    }

    #[test]
    fn every_transition_of_the_question_of_drift() {
        let last = RELEASE_TESTS - 1;
        for (from, test, to) in [
            (DriftPhase::Calm, QUIET, DriftPhase::Calm),
            (DriftPhase::Calm, THIN, DriftPhase::Calm),
            (DriftPhase::Pending, THIN, DriftPhase::Calm),
            (drifting(3, true), THIN, drifting(3, false)),
            (drifting(last, false), THIN, drifting(last, false)),
            (DriftPhase::Calm, SUSPECTS, DriftPhase::Calm),
            (DriftPhase::Calm, PENDING, DriftPhase::Pending),
            (DriftPhase::Calm, DRIFTS, drifting(0, true)),
            (DriftPhase::Calm, CONCEPT, drifting(0, false)),
            (DriftPhase::Pending, QUIET, DriftPhase::Calm),
            (DriftPhase::Pending, SUSPECTS, DriftPhase::Calm),
            (DriftPhase::Pending, PENDING, DriftPhase::Pending),
            (DriftPhase::Pending, DRIFTS, drifting(0, true)),
            (DriftPhase::Pending, CONCEPT, drifting(0, false)),
            (drifting(3, false), QUIET, drifting(4, false)),
            (drifting(0, true), QUIET, drifting(1, false)),
            (drifting(last, false), QUIET, DriftPhase::Calm),
            (drifting(0, true), SUSPECTS, DriftPhase::Calm),
            (drifting(last, false), PENDING, drifting(0, true)),
            (drifting(last, false), DRIFTS, drifting(0, true)),
            (drifting(last, false), CONCEPT, drifting(0, false)),
        ] {
            assert_eq!(from.after(test), to, "{from:?} after {test:?}");
        }
    }

    #[test]
    fn the_pair_of_answers_is_the_finding() {
        let mut state = ModelState::default();
        assert_eq!(state.last_reported(), None, "nothing is said before a test was made");
        assert_eq!(state.on(ModelEvent::Tested(QUIET), at(0)), Some(Finding::Stable));
        assert_eq!(state.on(ModelEvent::Tested(PENDING), at(900)), None, "pending is no finding");
        assert!(state.is_drift_pending() && !state.is_drifting());
        assert_eq!(state.on(ModelEvent::Tested(DRIFTS), at(1800)), Some(Finding::Drift));
        assert_eq!(state.on(ModelEvent::Flagged { confidence: 0.9 }, at(1900)), Some(Finding::DriftAndProbing));
        assert_eq!(state.on(ModelEvent::Tested(SUSPECTS), at(2700)), Some(Finding::Probing), "it was the suspects' work");
        assert_eq!(state.on(ModelEvent::Tested(QUIET), at(2800)), None);
        let later = at(1900 + PROBING_SECONDS);
        assert_eq!(state.on(ModelEvent::Tested(QUIET), later), Some(Finding::Stable));
        assert_eq!(state.last_reported(), Some(Finding::Stable));
    }

    #[test]
    fn a_test_with_too_few_votes_clears_nothing() {
        let mut state = ModelState::default();
        assert_eq!(state.on(ModelEvent::Tested(THIN), at(0)), None);
        assert_eq!((state.finding(at(0)), state.last_reported()), (None, None));
        assert_eq!(state.on(ModelEvent::Flagged { confidence: 0.9 }, at(10)), Some(Finding::Probing));
        let later = at(10 + PROBING_SECONDS);
        assert_eq!(state.on(ModelEvent::Tested(THIN), later), None, "the probing has ended, and nothing was tested since");
        assert_eq!(state.finding(later), None);
        assert_eq!(state.on(ModelEvent::Tested(QUIET), later), Some(Finding::Stable));
        assert_eq!(state.on(ModelEvent::Tested(THIN), later), None, "what was tested once stays tested");
    }

    #[test]
    fn stable_is_not_said_before_a_test_ends_without_a_question() {
        let mut state = ModelState::default();
        assert_eq!(state.on(ModelEvent::Tested(PENDING), at(0)), None, "a change is under test");
        assert_eq!(state.on(ModelEvent::Tested(QUIET), at(900)), Some(Finding::Stable));
    }

    #[test]
    fn a_lull_does_not_end_a_drift() {
        let mut state = ModelState::default();
        state.on(ModelEvent::Tested(DRIFTS), at(0));
        for lull in 1..40 {
            assert_eq!(state.on(ModelEvent::Tested(THIN), at(900 * lull)), None);
        }
        assert!(state.is_drifting());
    }

    #[test]
    fn drift_ends_after_so_many_quiet_tests_and_not_before() {
        let mut state = ModelState::default();
        state.on(ModelEvent::Tested(DRIFTS), at(0));
        for quiet in 1..RELEASE_TESTS {
            assert_eq!(state.on(ModelEvent::Tested(QUIET), at(900 * i64::from(quiet))), None, "after {quiet} quiet tests");
        }
        assert_eq!(state.on(ModelEvent::Tested(QUIET), at(900 * 8)), Some(Finding::Stable));
    }

    #[test]
    fn probing_lasts_as_long_as_its_last_evidence() {
        let mut state = ModelState::default();
        assert_eq!(state.on(ModelEvent::Flagged { confidence: 0.9 }, at(0)), Some(Finding::Probing));
        assert_eq!(state.on(ModelEvent::Flagged { confidence: 0.8 }, at(3600)), None);
        assert!(state.is_probed(at(PROBING_SECONDS)), "the second verdict prolongs it");
        assert!(!state.is_probed(at(3600 + PROBING_SECONDS)));
    }

    #[test]
    fn confidence_is_that_of_the_evidence_or_is_not_given() {
        let mut state = ModelState::default();
        state.on(ModelEvent::Tested(QUIET), at(0));
        assert_eq!(state.confidence(at(0), 1e-3), None);
        state.on(ModelEvent::Tested(DRIFTS), at(900));
        assert_eq!(state.confidence(at(900), 1e-3), Some(0.999));
        state.on(ModelEvent::Flagged { confidence: 0.9 }, at(1000));
        state.on(ModelEvent::Flagged { confidence: 0.7 }, at(1100));
        assert_eq!(state.confidence(at(1100), 1e-3), Some(0.9), "the surest verdict counts");
        assert_eq!(state.confidence(at(1100 + PROBING_SECONDS), 1e-3), Some(0.999), "and is forgotten with the probing");
    }

    #[test]
    fn a_state_that_was_written_down_goes_on_where_it_was() {
        let mut state = ModelState::default();
        state.on(ModelEvent::Tested(DRIFTS), at(0));
        state.on(ModelEvent::Flagged { confidence: 0.9 }, at(10));
        let written = postcard::to_stdvec(&state).unwrap();
        assert_eq!(postcard::from_bytes::<ModelState>(&written).unwrap(), state);
    }
}

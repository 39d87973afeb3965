//! Why a log cannot be drilled. Every message ends with what to do.

use super::{MIN_CALLERS, surrogate};

/// Why a log cannot be drilled. Each says what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrillError {
    /// Nothing usable in the log.
    #[error("the log has no event of model '{model}' that could be used{why}; there is nothing to inject attacks into")]
    Empty {
        /// Model of the reference.
        model: String,
        /// What was there instead.
        why: String,
    },
    /// Callers without names.
    #[error(
        "no event names its caller (source_ip or client_id), so no caller could be found or accused; log one of the two, or map it with decode.mapping; --without-callers drills what is said of the model alone"
    )]
    Nameless,
    /// Too few callers.
    #[error(
        "the log has {0} caller(s), fewer than the {MIN_CALLERS} that are needed: the judge compares callers with their peers, and alarms among so few say nothing; take a log of more callers"
    )]
    FewCallers(usize),
    /// Too short.
    #[error(
        "the log covers {covers}, and the judge needs {needs}: four hours of warm-up, and room to inject slow attacks; take a longer log"
    )]
    Short {
        /// How long it is, in words.
        covers: String,
        /// How long it should be, in words.
        needs: String,
    },
    /// No answers.
    #[error(
        "none of the {events} events carries an answer of the kind that the profile knows, so no surrogate can be fitted to answer the attacks; log the prediction, or use the profile of this model"
    )]
    NoAnswers {
        /// Events looked at.
        events: usize,
    },
    /// Too few rows.
    #[error(
        "only {rows} different rows with an answer, fewer than the {least} that fitting and checking a surrogate needs; take a longer log",
        least = surrogate::MIN_ROWS
    )]
    FewRows {
        /// Different rows.
        rows: usize,
    },
    /// One answer.
    #[error(
        "every answer in this log is the same, so there is nothing that an attack could learn; take a log with different answers"
    )]
    OneAnswer,
    /// The surrogate could not be fitted.
    #[error("the surrogate could not be fitted: {0}")]
    Surrogate(String),
    /// The log could not be read a second time.
    #[error("the log could not be read again: {0}")]
    Reread(String),
    /// Settings of the engine.
    #[error("{0}")]
    Settings(String),
}

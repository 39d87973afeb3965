//! How a command ends: the exit code and what to tell the person.
//!
//! A module says what is wrong in its own words. Which of the service's faults is the person's and which the cluster's is decided
//! here; a command decides it for what only that command can meet.

use crate::runtime::RuntimeError;
use crate::sink::SinkError;
use crate::source::feed::{FeedError, FeedFault};

/// How a command ends; the numbers are those of sysexits.h, so that scripts can tell the cases apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// The command did its work, and what it was asked to hold does not hold (`drill --min-power`).
    Floor = 1,
    /// Wrong arguments or configuration.
    Usage = 64,
    /// More unreadable data than `--max-rejects` allows.
    Data = 65,
    /// An input file that does not exist.
    NoInput = 66,
    /// A fault of the program itself.
    Internal = 70,
    /// Reading or writing failed.
    Io = 74,
}

/// Why a command failed: the exit code and what to tell the person.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// What, where, and what to do.
    pub message: String,
}

// === impl Failure ===

impl Failure {
    /// A failure of a kind.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl From<FeedError> for Failure {
    fn from(error: FeedError) -> Self {
        let exit = match error.fault {
            FeedFault::Configuration => Exit::Usage,
            FeedFault::Missing => Exit::NoInput,
            FeedFault::Unreachable => Exit::Io,
        };
        Self::new(exit, error.message)
    }
}

impl From<SinkError> for Failure {
    fn from(error: SinkError) -> Self {
        Self::new(Exit::Io, error.0)
    }
}

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Self {
        match error {
            RuntimeError::Feed(error) => error.into(),
            RuntimeError::Sink(error) => error.into(),
        }
    }
}

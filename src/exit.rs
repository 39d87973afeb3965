//! How a command ends: the exit code and the message for the person.
//!
//! A module's error says what is wrong. This file maps errors of the service to exit codes: a fault of the configuration or of the
//! cluster. A command maps the errors that only it can have.

use crate::cases::CaseError;
use crate::checkpoint::CheckpointError;
use crate::repartition::HalfError;
use crate::runtime::RuntimeError;
use crate::sink::SinkError;
use crate::source::feed::{FeedError, FeedFault};
use crate::store::StoreError;

/// How a command ends. The numbers are those of sysexits.h, so scripts can distinguish the cases.
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

/// Why a command failed: the exit code and the message for the person.
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

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Self {
        let exit = match error {
            CheckpointError::Store { .. } => Exit::Io,
            CheckpointError::Damaged { .. } => Exit::Data,
            CheckpointError::Unusable(_) => Exit::Usage,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match error {
            StoreError::Setting { .. } | StoreError::Schema(_) => Exit::Usage,
            StoreError::Unavailable(_) => Exit::Io,
            StoreError::Refused(_) => Exit::Internal,
            StoreError::Damaged(_) => Exit::Data,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<CaseError> for Failure {
    fn from(error: CaseError) -> Self {
        let exit = match error {
            CaseError::Store(error) => return error.into(),
            CaseError::NotFound(_) => Exit::NoInput,
            CaseError::Invalid(_) | CaseError::Conflict(_) => Exit::Usage,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Self {
        match error {
            RuntimeError::Feed(error) => error.into(),
            RuntimeError::Sink(error) => error.into(),
            RuntimeError::State(error) => error.into(),
            RuntimeError::Split(what) => Self::new(Exit::Usage, what),
        }
    }
}

impl From<HalfError> for Failure {
    fn from(error: HalfError) -> Self {
        match error {
            HalfError::Again(error) => Self::new(Exit::Io, error.to_string()),
            HalfError::Feed(error) => error.into(),
            HalfError::Sink(error) => error.into(),
            HalfError::State(error) => error.into(),
            HalfError::Configuration(what) => Self::new(Exit::Usage, what),
        }
    }
}

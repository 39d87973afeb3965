//! Where verdicts and numbers go: metrics, the verdict topic, JSON lines, dead letters.
//!
//! Two ports with the same promise: [`VerdictSink`] and [`DeadLetterSink`] may buffer what they are given, and once
//! [`VerdictSink::flush`] has said `Done` everything given before is where it belongs. The runtime commits an offset only after
//! that, so a crash repeats deliveries and never loses one.

pub mod dead_letter;
pub mod jsonl;
pub mod kafka;
pub mod metrics;

use std::time::Duration;

use crate::judge::Verdict;
use crate::source::feed::{OwnedHeader, Partition};

/// How far a flush came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flushed {
    /// Everything is delivered.
    Done,
    /// Some is still on its way; try again later, and commit nothing meanwhile.
    Pending,
}

/// A delivery that failed for good: the service must stop, so that nothing behind it is committed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct SinkError(pub String);

/// Takes verdicts.
pub trait VerdictSink: Send {
    /// Takes a verdict; may buffer it.
    ///
    /// # Errors
    /// If it cannot be delivered and retrying will not help.
    fn deliver(&mut self, verdict: &Verdict) -> Result<(), SinkError>;

    /// Delivers what is buffered, waiting at most `limit`.
    ///
    /// # Errors
    /// If something given before could not be delivered.
    fn flush(&mut self, limit: Duration) -> Result<Flushed, SinkError>;
}

/// A record that could not be read or used, as it came, and why.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// Where it came from.
    pub partition: &'a Partition,
    /// Its offset there.
    pub offset: i64,
    /// Row within the record that was refused; 0 if the record was refused as a whole.
    pub row: u32,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its payload; `None` for a tombstone.
    pub payload: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [OwnedHeader],
    /// Kind of fault, from a bounded set.
    pub reason: &'static str,
    /// What exactly is wrong.
    pub message: &'a str,
}

/// Takes dead letters.
pub trait DeadLetterSink: Send {
    /// Takes a dead letter; may buffer it.
    ///
    /// # Errors
    /// If it cannot be delivered and retrying will not help.
    fn deliver(&mut self, letter: &DeadLetter<'_>) -> Result<(), SinkError>;

    /// Delivers what is buffered, waiting at most `limit`.
    ///
    /// # Errors
    /// If something given before could not be delivered.
    fn flush(&mut self, limit: Duration) -> Result<Flushed, SinkError>;
}

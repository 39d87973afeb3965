//! Where verdicts and numbers go: metrics, the verdict topic, JSON lines, dead letters.
//!
//! Two ports: [`VerdictSink`] takes verdicts, [`DeadLetterSink`] takes records that were rejected or came late. A sink may buffer
//! what it is given. Once its `flush` has returned [`Flushed::Done`], everything given before is where it belongs.
//!
//! A sink is held in one of two types, and the type decides what its failure does:
//!
//! * [`MustDeliver`]: an offset is committed only after the sink has delivered everything before it. A failure stops the service,
//!   and the next owner of the partitions delivers again. Hence a crash repeats deliveries and never loses one.
//! * [`BestEffort`]: its methods return nothing, so it can neither hold up a commit nor stop the service. A failure is counted
//!   and logged.

pub mod config;
pub mod dead_letter;
pub mod jsonl;
pub mod kafka;
pub mod metrics;

use crate::clock::Deadline;
use crate::event::Provenance;
use crate::judge::Verdict;
use crate::observer::{ObservedRecord, Original};
use metrics::{DeliveryOutcome, Metrics};

/// How far a flush came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flushed {
    /// Everything is delivered.
    Done,
    /// Some is still on its way; try again later, and commit nothing meanwhile.
    Pending,
}

/// A delivery that failed for good; retrying does not help.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct SinkError(pub String);

/// Takes verdicts.
pub trait VerdictSink: Send {
    /// Takes a verdict; may buffer it.
    ///
    /// # Errors
    /// If it cannot be delivered and retrying does not help.
    fn deliver(&mut self, verdict: &Verdict) -> Result<(), SinkError>;

    /// Delivers what is buffered, and waits until `deadline` at most. Several sinks share one deadline.
    ///
    /// # Errors
    /// If something given before could not be delivered.
    fn flush(&mut self, deadline: Deadline) -> Result<Flushed, SinkError>;
}

/// A record that was rejected or came late, as it came, and why.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// Where it lies. The row is 0 if the record was rejected as a whole.
    pub provenance: &'a Provenance,
    /// Key, payload and headers as they came.
    pub original: Original<'a>,
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
    /// If it cannot be delivered and retrying does not help.
    fn deliver(&mut self, letter: &DeadLetter<'_>) -> Result<(), SinkError>;

    /// Delivers what is buffered, and waits until `deadline` at most. Several sinks share one deadline.
    ///
    /// # Errors
    /// If something given before could not be delivered.
    fn flush(&mut self, deadline: Deadline) -> Result<Flushed, SinkError>;
}

/// A verdict sink that blocks the commit until it has delivered, and whose failure stops the service.
pub struct MustDeliver(Box<dyn VerdictSink>);

/// A verdict sink that never blocks a commit and never stops the service. Its failures are counted and logged.
pub struct BestEffort {
    receiver: &'static str,
    sink: Box<dyn VerdictSink>,
    metrics: Metrics,
    /// The last call failed. Only the first failure of a row is a warning, so that a broken receiver does not fill the log.
    failing: bool,
}

// === impl DeadLetter ===

impl<'a> DeadLetter<'a> {
    /// The dead letter of a record; `None` for an accepted one. `message` is [`ObservedRecord::message`].
    pub fn of(record: &ObservedRecord<'a>, message: &'a str) -> Option<Self> {
        let reason = record.outcome.dead_letter_reason()?;
        Some(Self { provenance: record.provenance, original: record.original, reason, message })
    }
}

// === impl MustDeliver ===

impl MustDeliver {
    /// Holds the commit to this sink.
    pub fn new(sink: impl VerdictSink + 'static) -> Self {
        Self(Box::new(sink))
    }

    /// See [`VerdictSink::deliver`].
    ///
    /// # Errors
    /// The sink's: the service must stop, so that nothing behind the verdict is committed.
    pub fn deliver(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        self.0.deliver(verdict)
    }

    /// See [`VerdictSink::flush`].
    ///
    /// # Errors
    /// The sink's: the service must stop, so that nothing is committed.
    pub fn flush(&mut self, deadline: Deadline) -> Result<Flushed, SinkError> {
        self.0.flush(deadline)
    }
}

// === impl BestEffort ===

impl BestEffort {
    /// A sink that is named `receiver` in `tripline_alerts_sent_total`.
    pub fn new(receiver: &'static str, sink: impl VerdictSink + 'static, metrics: Metrics) -> Self {
        metrics.know_receiver(receiver);
        Self { receiver, sink: Box::new(sink), metrics, failing: false }
    }

    /// Hands a verdict to the sink.
    pub fn deliver(&mut self, verdict: &Verdict) {
        let delivered = self.sink.deliver(verdict);
        self.note(delivered.err());
    }

    /// Gives the sink until `deadline` to send what it has buffered.
    pub fn flush(&mut self, deadline: Deadline) {
        let flushed = self.sink.flush(deadline);
        self.note(flushed.err());
    }

    fn note(&mut self, failure: Option<SinkError>) {
        let Some(error) = failure else {
            self.failing = false;
            return;
        };
        self.metrics.alert(self.receiver, DeliveryOutcome::Failed);
        if self.failing {
            tracing::debug!(receiver = self.receiver, "{error}");
        } else {
            tracing::warn!(receiver = self.receiver, "{error}; the service goes on without this receiver");
        }
        self.failing = true;
    }
}

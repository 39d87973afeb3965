//! How the rest of the program learns what became of the records: one port for `run`, `replay`, `drill` and `demo`.
//!
//! An [`Observer`] is told of every record with its [`Outcome`], of every verdict, and now and then of the state of the models.
//! The outcome travels in the same value as its record ([`ObservedRecord`]), so no caller has to pair two sequences by position.
//!
//! The order is a promise: the records of a partition (or of a log) come in their order, and the verdicts that follow from a
//! record come after it and before the next.

use std::borrow::Cow;
use std::convert::Infallible;
use std::time::Duration;

use crate::engine::{Engine, Input, ModelStatus, Outbox};
use crate::event::{EventTime, Provenance, Query};
use crate::judge::Verdict;
use crate::outcome::{Outcome, OutcomeCounts, Rejection};
use crate::source::OwnedHeader;

/// A record as it came, for dead letters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Original<'a> {
    /// Its key; `None` in a file.
    pub key: Option<&'a [u8]>,
    /// Its payload; `None` for a tombstone, or if the observer does not want payloads.
    pub payload: Option<&'a [u8]>,
    /// Its headers; empty in a file.
    pub headers: &'a [OwnedHeader],
}

/// A record (a row of a batch message), and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct ObservedRecord<'a> {
    /// Where it lies.
    pub provenance: &'a Provenance,
    /// What it says; `None` if it could not be decoded.
    pub query: Option<&'a Query>,
    /// What became of it.
    pub outcome: &'a Outcome,
    /// Seconds since the same client's previous query, if there was one.
    pub gap_seconds: Option<f64>,
    /// The record as it came. All rows of a batch message share it.
    pub original: Original<'a>,
}

/// Learns what becomes of records. All methods are called from one thread, in order; they must be quick.
pub trait Observer {
    /// Why the observer cannot go on, such as a full disk. It ends the run.
    type Error;

    /// Whether [`ObservedRecord::original`] must hold the payload; keeping it costs a copy.
    fn keeps_originals(&self) -> bool {
        false
    }

    /// A record was read, and this became of it.
    ///
    /// # Errors
    /// If the observer cannot go on.
    fn record(&mut self, _record: &ObservedRecord<'_>) -> Result<(), Self::Error> {
        Ok(())
    }

    /// The engine reached a verdict.
    ///
    /// # Errors
    /// If the observer cannot go on.
    fn verdict(&mut self, _verdict: &Verdict) -> Result<(), Self::Error> {
        Ok(())
    }

    /// State of the models, in order of name, and what was read so far; at intervals and at the end. `elapsed` is real time since
    /// the start, and zero in a replay, which has no clock.
    ///
    /// # Errors
    /// If the observer cannot go on.
    fn status(&mut self, _models: &[ModelStatus], _counts: &OutcomeCounts, _elapsed: Duration) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Some records are done: a moment for a progress bar.
    fn pause(&mut self) {}
}

/// Nobody: an engine is brought to a state, and what it says on the way is known already.
impl Observer for () {
    type Error = Infallible;
}

// === impl ObservedRecord ===

impl<'a> ObservedRecord<'a> {
    /// What a person reads about the record; empty if it was accepted.
    pub fn message(&self) -> Cow<'a, str> {
        self.outcome.message(self.query.map(|query| query.time))
    }
}

/// Judges one query and tells the observer: the record first, then the verdicts that follow from it. `outbox` is scratch space.
///
/// # Errors
/// Those of the observer.
pub fn judge<O: Observer>(
    engine: &mut Engine,
    query: &Query,
    original: Original<'_>,
    outbox: &mut Outbox,
    observer: &mut O,
) -> Result<(), O::Error> {
    outbox.verdicts.clear();
    engine.step(Input::Query(query), outbox);
    observer.record(&ObservedRecord {
        provenance: &query.provenance,
        query: Some(query),
        outcome: &outbox.outcome,
        gap_seconds: outbox.gap_seconds,
        original,
    })?;
    outbox.verdicts.iter().try_for_each(|verdict| observer.verdict(verdict))
}

/// Takes a record that could not be decoded, and tells the observer: the record first, then what follows for its sender. `outbox` is
/// scratch space.
///
/// # Errors
/// Those of the observer.
pub fn reject<O: Observer>(
    engine: &mut Engine,
    provenance: &Provenance,
    rejection: &Rejection,
    original: Original<'_>,
    outbox: &mut Outbox,
    observer: &mut O,
) -> Result<(), O::Error> {
    outbox.verdicts.clear();
    if let Some(record) = rejection.evidence(provenance) {
        engine.step(Input::Unreadable(&record), outbox);
    }
    outbox.outcome = Outcome::Rejected(rejection.clone());
    observer.record(&ObservedRecord { provenance, query: None, outcome: &outbox.outcome, gap_seconds: None, original })?;
    outbox.verdicts.iter().try_for_each(|verdict| observer.verdict(verdict))
}

/// Tells the engine that event time has reached an instant, and the observer the verdicts that follow. `outbox` is scratch space.
///
/// # Errors
/// Those of the observer.
pub fn tick<O: Observer>(engine: &mut Engine, at: EventTime, outbox: &mut Outbox, observer: &mut O) -> Result<(), O::Error> {
    outbox.verdicts.clear();
    engine.step(Input::Tick(at), outbox);
    outbox.verdicts.iter().try_for_each(|verdict| observer.verdict(verdict))
}

/// Tells the engine that the input ends, and the observer what follows from it: last verdicts, then the state of the models.
///
/// # Errors
/// Those of the observer.
pub fn end<O: Observer>(
    engine: &mut Engine,
    counts: &OutcomeCounts,
    outbox: &mut Outbox,
    observer: &mut O,
) -> Result<(), O::Error> {
    outbox.verdicts.clear();
    engine.step(Input::End, outbox);
    outbox.verdicts.iter().try_for_each(|verdict| observer.verdict(verdict))?;
    observer.status(&engine.status(), counts, Duration::ZERO)
}

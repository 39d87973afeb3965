//! The dispatcher: hands judged records and verdicts to counts, metrics, sinks, dead letters and observers.
//!
//! It also decides how event time moves on while nothing arrives, since it sees the last accepted event.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Sinks;
use super::config::RuntimeConfig;
use super::partition_merger::Now;
use super::shards::Judgement;
use crate::clock::Deadline;
use crate::engine::ModelStatus;
use crate::event::EventTime;
use crate::judge::Verdict;
use crate::observer::ObservedRecord;
use crate::outcome::{Outcome, OutcomeCounts, RejectReason, Rejection};
use crate::sink::{DeadLetter, Flushed, SinkError};
use crate::source::feed::Partition;

/// Smallest step of idle time, in microseconds. Nothing in a window changes within a second.
const LEAST_TICK: i64 = 1_000_000;

/// Where judged records go.
pub struct Dispatcher {
    /// Outputs.
    pub sinks: Sinks,
    /// What went through.
    pub counts: OutcomeCounts,
    /// Latest event time of an accepted query, and when it was judged.
    last: Option<(EventTime, Duration)>,
    ticked: Option<EventTime>,
    /// Reasons that the log has explained already.
    explained: BTreeSet<RejectReason>,
}

// === impl Dispatcher ===

impl Dispatcher {
    /// A dispatcher before the first record.
    pub fn new(sinks: Sinks) -> Self {
        sinks.metrics.know_reasons(RejectReason::ALL.into_iter().map(RejectReason::label));
        Self { sinks, counts: OutcomeCounts::default(), last: None, ticked: None, explained: BTreeSet::new() }
    }

    /// Delivers a judged record: first the record, then the verdicts that follow from it.
    ///
    /// # Errors
    /// If a delivery fails for good.
    pub fn deliver(&mut self, judgement: &Judgement<'_>, now: Now) -> Result<(), SinkError> {
        self.record(&judgement.observed(), now)?;
        self.verdicts(&judgement.verdicts, now)
    }

    /// Takes note of a record that was delivered before: event time goes on from it.
    pub fn silent(&mut self, judgement: &Judgement<'_>, now: Now) {
        self.sinks.metrics.judged_again();
        if let (Outcome::Accepted, Some(query)) = (&*judgement.outcome, judgement.query) {
            self.note_time(query.time, now);
        }
    }

    fn note_time(&mut self, time: EventTime, now: Now) {
        let latest = self.last.map_or(time, |(last, _)| last.max(time));
        self.last = Some((latest, now.since_start));
    }

    fn record(&mut self, record: &ObservedRecord<'_>, now: Now) -> Result<(), SinkError> {
        self.counts.record(record.outcome);
        if let Some(query) = record.query {
            self.sinks.metrics.repaired(query.repairs);
        }
        match (record.outcome, record.query) {
            (Outcome::Accepted, Some(query)) => {
                self.sinks.metrics.accepted(query, record.gap_seconds);
                self.note_time(query.time, now);
            }
            (Outcome::Late { .. }, Some(query)) => {
                self.sinks.metrics.late(&query.model);
                if self.sinks.keep_late {
                    self.dead_letter(record)?;
                }
            }
            (Outcome::Rejected(rejection), _) => {
                self.rejected(record, rejection);
                self.dead_letter(record)?;
            }
            // Only a decoded record is accepted or late.
            (Outcome::Accepted | Outcome::Late { .. }, None) => {}
        }
        for observer in &mut self.sinks.observers {
            let Ok(()) = observer.record(record);
        }
        Ok(())
    }

    fn rejected(&mut self, record: &ObservedRecord<'_>, rejection: &Rejection) {
        let (reason, provenance) = (rejection.reason, record.provenance);
        self.sinks.metrics.rejected(reason.label());
        let (topic, partition, offset) = (provenance.topic.name(), provenance.partition, provenance.offset);
        tracing::debug!(topic, partition, offset, reason = reason.label(), message = rejection.message, "rejected");
        // Once a reason: the counter tells how many, and whoever may write to the topic must not fill the log.
        if self.explained.insert(reason) {
            let (words, remedy) = (reason.words(), reason.remedy());
            tracing::warn!(topic, partition, offset, reason = reason.label(), remedy, "a first record was rejected: {words}");
        }
    }

    fn dead_letter(&mut self, record: &ObservedRecord<'_>) -> Result<(), SinkError> {
        let message = record.message();
        DeadLetter::of(record, &message).map_or(Ok(()), |letter| self.sinks.dead_letters.deliver(&letter))
    }

    /// A message without a value: nothing was asked, so there is nothing to judge and nothing to mend.
    pub fn tombstone(&mut self, partition: &Partition) {
        self.sinks.metrics.tombstone(&partition.topic);
    }

    /// Records of a partition were removed before they were read. With none, the series exists from now on.
    pub fn skipped(&mut self, partition: &Partition, records: u64) {
        self.sinks.metrics.skipped(&partition.topic, records);
        if records > 0 {
            tracing::error!(%partition, records, "the log removed records before they were read: nobody has judged them; let the topic keep its records longer, or give the service more power");
        }
    }

    /// Delivers verdicts.
    ///
    /// # Errors
    /// If a delivery fails for good.
    pub fn verdicts(&mut self, verdicts: &[Verdict], now: Now) -> Result<(), SinkError> {
        for verdict in verdicts {
            self.counts.verdicts += 1;
            self.sinks.metrics.verdict(verdict, Some(now.wall));
            for sink in &mut self.sinks.must_deliver {
                sink.deliver(verdict)?;
            }
            for sink in &mut self.sinks.best_effort {
                sink.deliver(verdict);
            }
            for observer in &mut self.sinks.observers {
                let Ok(()) = observer.verdict(verdict);
            }
        }
        Ok(())
    }

    /// Brings metrics and observers up to date.
    pub fn status(&mut self, models: &[ModelStatus], now: Now) {
        self.sinks.metrics.publish(models, Some(now.wall));
        for observer in &mut self.sinks.observers {
            let Ok(()) = observer.status(models, &self.counts, now.since_start);
        }
    }

    /// Waits until everything that must be delivered is, or until `deadline`. All sinks share the deadline.
    ///
    /// # Errors
    /// If a delivery failed for good.
    pub fn flush(&mut self, deadline: Deadline) -> Result<Flushed, SinkError> {
        let mut all = self.sinks.dead_letters.flush(deadline)?;
        for sink in &mut self.sinks.must_deliver {
            if sink.flush(deadline)? == Flushed::Pending {
                all = Flushed::Pending;
            }
        }
        Ok(all)
    }

    /// Gives the best-effort sinks until `deadline`. Call it after the commit: they must not hold it up.
    pub fn flush_best_effort(&mut self, deadline: Deadline) {
        self.sinks.best_effort.iter_mut().for_each(|sink| sink.flush(deadline));
    }

    /// The event time to move on to while nothing arrives, if it is time to.
    pub fn tick(&mut self, config: &RuntimeConfig, now: Now) -> Option<EventTime> {
        let (last, judged_at) = self.last?;
        let silent = now.since_start.saturating_sub(judged_at);
        if silent < config.idle_after.0 {
            return None;
        }
        let advance = i64::try_from(silent.min(config.idle_advance.0).as_micros()).unwrap_or(i64::MAX);
        let time = EventTime::from_micros(last.micros().saturating_add(advance)).min(now.wall.max(last));
        let known = self.ticked.map_or(last, |ticked| ticked.max(last));
        if time.micros().saturating_sub(known.micros()) < LEAST_TICK {
            return None;
        }
        self.ticked = Some(time);
        Some(time)
    }
}

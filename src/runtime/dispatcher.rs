//! The desk: what happens with the engines' answers. Counts, metrics, verdicts to the sinks, rejected records to the dead
//! letters, and how event time moves on while nothing arrives.

use std::time::Duration;

use super::block::{Block, Reading};
use super::partition_merger::{Item, Now};
use super::shards::Step;
use super::{Counts, Sinks};
use crate::config::RuntimeConfig;
use crate::decode::Reason;
use crate::engine::Disposition;
use crate::event::{EventTime, Query};
use crate::judge::Verdict;
use crate::replay::{FROM_THE_FUTURE, LATE, late_message};
use crate::sink::{DeadLetter, Flushed, SinkError};

/// Where answers go.
pub struct Dispatcher {
    /// Outputs.
    pub sinks: Sinks,
    /// What went through.
    pub counts: Counts,
    /// Latest event time of an accepted query, and when it was judged.
    last: Option<(EventTime, Duration)>,
    ticked: Option<EventTime>,
}

// === impl Dispatcher ===

impl Dispatcher {
    /// A desk before the first answer.
    pub fn new(sinks: Sinks) -> Self {
        sinks.metrics.know_reasons(Reason::ALL.into_iter().map(Reason::name).chain([FROM_THE_FUTURE]));
        Self { sinks, counts: Counts::default(), last: None, ticked: None }
    }

    /// Deals with one message: its rejection, or the answers to its queries, taken from `answers` in order.
    ///
    /// # Errors
    /// If a delivery fails for good.
    pub fn message<'a>(
        &mut self,
        block: &Block,
        item: &Item,
        answers: &mut impl Iterator<Item = &'a Step>,
        now: Now,
    ) -> Result<(), SinkError> {
        if let Reading::Rejected(rejection) = block.reading(item.index) {
            self.reject(&letter(block, item, 0, rejection.reason.name(), &rejection.message))?;
        }
        for query in block.queries(item.index) {
            // There are as many answers as queries; a missing one would only mean that nothing was said.
            if let Some(step) = answers.next() {
                self.answer(block, item, query, step, now)?;
            }
        }
        Ok(())
    }

    fn answer(&mut self, block: &Block, item: &Item, query: &Query, step: &Step, now: Now) -> Result<(), SinkError> {
        match step.disposition {
            Disposition::Accepted => {
                self.counts.accepted += 1;
                self.sinks.metrics.accepted(query, step.gap_seconds);
                let latest = self.last.map_or(query.time, |(last, _)| last.max(query.time));
                self.last = Some((latest, now.since_start));
            }
            Disposition::Late(watermark) => {
                self.counts.late += 1;
                self.sinks.metrics.late(&query.model);
                if self.sinks.keep_late {
                    let message = late_message(query, watermark);
                    self.sinks.dead_letters.deliver(&letter(block, item, query.provenance.row, LATE, &message))?;
                }
            }
            Disposition::UnknownModel => {
                let message = format!("there is no reference profile for model '{}'", query.model);
                self.reject(&letter(block, item, query.provenance.row, Reason::UnknownModel.name(), &message))?;
            }
            Disposition::FromTheFuture => {
                let message = format!("{} is implausibly far ahead of all other events", query.time);
                self.reject(&letter(block, item, query.provenance.row, FROM_THE_FUTURE, &message))?;
            }
        }
        self.verdicts(&step.verdicts, now)
    }

    /// Delivers verdicts.
    ///
    /// # Errors
    /// If a delivery fails for good.
    pub fn verdicts(&mut self, verdicts: &[Verdict], now: Now) -> Result<(), SinkError> {
        for verdict in verdicts {
            self.counts.verdicts += 1;
            self.sinks.metrics.verdict(verdict, Some(now.wall));
            for sink in &mut self.sinks.verdicts {
                sink.deliver(verdict)?;
            }
            for watcher in &mut self.sinks.watchers {
                watcher.verdict(verdict);
            }
        }
        Ok(())
    }

    fn reject(&mut self, letter: &DeadLetter<'_>) -> Result<(), SinkError> {
        let DeadLetter { partition, offset, reason, message, .. } = letter;
        self.counts.rejected += 1;
        self.sinks.metrics.rejected(reason);
        tracing::debug!(%partition, offset, reason, message, "rejected");
        self.sinks.dead_letters.deliver(letter)
    }

    /// Waits at most `limit` at each sink until everything is delivered.
    ///
    /// # Errors
    /// If a delivery failed for good.
    pub fn flush(&mut self, limit: Duration) -> Result<Flushed, SinkError> {
        let mut all = self.sinks.dead_letters.flush(limit)?;
        for sink in &mut self.sinks.verdicts {
            if sink.flush(limit)? == Flushed::Pending {
                all = Flushed::Pending;
            }
        }
        Ok(all)
    }

    /// The event time to move on to while nothing arrives, if it is time to.
    pub fn tick(&mut self, config: &RuntimeConfig, now: Now) -> Option<EventTime> {
        let (last, heard) = self.last?;
        let silent = now.since_start.saturating_sub(heard);
        if silent < config.idle_after.0 {
            return None;
        }
        let advance = i64::try_from(silent.min(config.idle_advance.0).as_micros()).unwrap_or(i64::MAX);
        let time = EventTime::from_micros(last.micros().saturating_add(advance)).min(now.wall.max(last));
        // Whole seconds: nothing in a window changes faster.
        let known = self.ticked.map_or(last, |ticked| ticked.max(last));
        if time.micros().saturating_sub(known.micros()) < 1_000_000 {
            return None;
        }
        self.ticked = Some(time);
        Some(time)
    }
}

fn letter<'a>(block: &'a Block, item: &Item, row: u32, reason: &'static str, message: &'a str) -> DeadLetter<'a> {
    DeadLetter {
        partition: block.messages.partition(item.index),
        offset: item.offset,
        row,
        key: block.messages.key(item.index),
        payload: block.messages.payload(item.index),
        headers: block.messages.headers(item.index),
        reason,
        message,
    }
}

//! Where partitions begin and end, and what is missing of them: the parts of a turn that follow the log and not its records.

use super::Runtime;
use super::RuntimeError;
use super::partition_merger::Now;
use crate::source::feed::{Bounds, End, Feed, Partition, Start};

impl<F: Feed> Runtime<F> {
    /// Takes news of where partitions begin and end.
    pub(super) fn ends(&mut self, ends: &[End]) {
        for (partition, records) in self.merger.ends(ends) {
            self.dispatcher.skipped(&partition, records);
        }
        for end in ends {
            self.dispatcher.sinks.metrics.open_transaction(&end.partition.topic, end.partition.number, end.open);
        }
        self.publish_lags();
    }

    /// A partition's offsets went back: another log has its name now.
    pub(super) fn begins_anew(&mut self, partition: &Partition, offset: i64) {
        tracing::warn!(%partition, offset, "the offsets went back: the topic was made anew, or a broker lost the end of its log; reading goes on from here");
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.forget_partition(partition);
        }
    }

    /// What the cluster has of new partitions. Without snapshots it is only asked for what is lost, and its silence stops nothing.
    pub(super) fn bounds(&mut self, partitions: &[Partition]) -> Result<Vec<Bounds>, RuntimeError> {
        match self.feed.bounds(partitions) {
            Ok(bounds) => Ok(bounds),
            Err(error) if self.snapshots.is_some() => Err(error.into()),
            Err(error) => {
                tracing::warn!("{error}; whether records were removed before they were read is not known");
                Ok(Vec::new())
            }
        }
    }

    /// Counts what was removed before we came, and says where a partition begins. `delivered` is the end of what the snapshots know was
    /// delivered.
    pub(super) fn begins(&mut self, bound: &Bounds, delivered: Option<i64>, start: &Start) {
        let Bounds { partition, low, high, committed } = bound;
        let gone = committed.filter(|committed| committed > high);
        if let Some(committed) = gone {
            tracing::warn!(%partition, committed, end = high, "the group is ahead of the log: the topic was made anew, or a broker lost the end of its log; it is read from its beginning");
        }
        let known = committed.filter(|_| gone.is_none()).max(delivered);
        let skipped = known.map_or(0, |known| (low - known).max(0));
        self.dispatcher.skipped(partition, skipped.unsigned_abs());
        let at = match start {
            Start::At(offsets) => offsets.iter().find(|(known, _)| known == partition).map(|(_, offset)| *offset),
            Start::Committed => None,
        };
        if let Some(at) = at.or(known) {
            self.merger.begin(partition, at.max(*low));
        }
    }

    /// Takes in what nobody can read again, and what waits for it.
    pub(super) fn take_rest(&mut self, now: Now) {
        let mut any = false;
        loop {
            let mut block = self.blocks.fresh();
            self.feed.rest(&mut block.messages, self.config.batch_records);
            if block.messages.is_empty() {
                self.blocks.give_back(block);
                break;
            }
            any = true;
            if let Some(decoder) = self.readers.first_mut() {
                block.decode(decoder, self.schemas.as_ref().map(|gate| &gate.schemas));
            }
            self.take_in(vec![block], now);
        }
        if any {
            self.merger.hold_nothing();
        }
    }
}

//! Partitions come and go: restore and begin, or finish, deliver, commit and let go (ADR 0006); and what a member does that shares them with
//! others (ADR 0031).

use super::partition_merger::Now;
use super::shards::Judgement;
use super::share::{self, Share, Shared};
use super::{REVOKE_LIMIT, Runtime, RuntimeError};
use crate::clock::Deadline;
use crate::health::Phase;
use crate::source::feed::{Feed, Partition, Start};

impl<F: Feed> Runtime<F> {
    pub(super) fn assigned(&mut self, partitions: &[Partition], now: Now) -> Result<(), RuntimeError> {
        tracing::info!(partitions = %names(partitions), "assigned");
        let all = self.feed.all_partitions()?;
        match self.shared.assigned(partitions, &all) {
            Share::May => {}
            Share::Refused => {
                return Err(RuntimeError::Split(format!(
                    "another member of the group has some of the {} partitions, so each member would judge a part of a model as the whole; {}",
                    all.len(),
                    share::REMEDY
                )));
            }
            Share::Waits => return self.wait_for_others(partitions, now),
        }
        let is_first = self.merger.is_empty();
        self.merger.open(partitions, now);
        let bounds = self.bounds(partitions)?;
        let start = match &mut self.snapshots {
            None => (self.start_of)(partitions),
            Some(snapshots) => {
                self.dispatcher.sinks.readiness.set(Phase::Restoring);
                if is_first {
                    snapshots.restore(&mut self.shards, now)?;
                }
                snapshots.begin(&bounds, &mut self.merger)
            }
        };
        for bound in &bounds {
            let delivered = self.snapshots.as_ref().and_then(|snapshots| snapshots.delivered(&bound.partition));
            self.begins(bound, delivered, &start);
        }
        self.feed.begin(partitions, &start)?;
        self.dispatcher.sinks.readiness.set(Phase::Ready);
        Ok(())
    }

    /// Partitions came, and others have the rest: they are held, and nothing of them is judged or kept.
    fn wait_for_others(&mut self, partitions: &[Partition], now: Now) -> Result<(), RuntimeError> {
        self.merger.open(partitions, now);
        self.feed.begin(partitions, &Start::Committed)?;
        self.say_split();
        Ok(())
    }

    fn say_split(&self) {
        tracing::error!(
            "another member of the group has some of the partitions: nothing is judged until this process has all of them again; {}",
            share::REMEDY
        );
        self.dispatcher.sinks.readiness.set(Phase::Split);
    }

    pub(super) fn revoked(&mut self, partitions: &[Partition], lost: bool, now: Now) -> Result<(), RuntimeError> {
        tracing::info!(partitions = %names(partitions), lost, "revoked");
        if !lost {
            let deadline = Deadline::after(REVOKE_LIMIT);
            self.conclude(deadline, now)?;
        }
        for partition in partitions {
            if let Some(snapshots) = &mut self.snapshots {
                snapshots.release(partition, self.merger.position(partition));
            }
            for item in self.merger.close(partition) {
                self.blocks.done(item.block);
            }
            if let Some(joiner) = &mut self.joiner {
                joiner.forget(partition);
            }
            self.dispatcher.sinks.metrics.forget_partition(&partition.topic, partition.number);
        }
        self.feed.release(partitions);
        if self.shared.revoked(partitions) == Share::Waits {
            self.say_split();
        }
        Ok(())
    }
}

/// Compares the partition of each model with the operator's word that the topic is keyed by model.
pub(super) fn note_models(shared: &mut Shared, records: &[Judgement<'_>], partition: &Partition) {
    for model in records.iter().filter_map(Judgement::model) {
        if let Some(other) = shared.note(model, partition) {
            tracing::error!(
                model,
                %partition,
                other,
                "a model is in two partitions, so the topic is not keyed by model, and two members judge it in halves; remove runtime.keyed_by_model, or key the topic"
            );
            return;
        }
    }
}

fn names(partitions: &[Partition]) -> String {
    partitions.iter().map(Partition::to_string).collect::<Vec<_>>().join(" ")
}

//! What happens when it is time: snapshots, commits, numbers. A commit covers only what was delivered (ADR 0006), and what a snapshot holds
//! (ADR 0029).

use std::collections::BTreeMap;
use std::time::Duration;

use super::joiner::{self, Joiner};
use super::partition_merger::Now;
use super::{DELIVERY_WAIT, Runtime, RuntimeError};
use crate::clock::Deadline;
use crate::sink::Flushed;
use crate::source::feed::{Commit, Feed, Partition};

impl<F: Feed> Runtime<F> {
    pub(super) fn timers(&mut self, now: Now) -> Result<(), RuntimeError> {
        self.snapshot(now)?;
        if now.since_start >= self.next_commit {
            self.next_commit = now.since_start + self.config.commit_interval.0;
            if !self.commit(Commit::Soon, Deadline::after(DELIVERY_WAIT), now)? {
                // Deliveries are under way; nothing is lost by trying again in the next turns.
                self.next_commit = now.since_start + DELIVERY_WAIT;
            }
        }
        if now.since_start >= self.next_status {
            self.next_status = now.since_start + self.config.status_interval.0;
            self.publish(now);
        }
        Ok(())
    }

    /// Takes the report of the last cut, and makes the next one when it is time.
    fn snapshot(&mut self, now: Now) -> Result<(), RuntimeError> {
        let Some(snapshots) = &mut self.snapshots else { return Ok(()) };
        snapshots.take_report(Deadline::after(Duration::ZERO), now);
        if snapshots.is_due(now) {
            // A cut may hold only what was delivered.
            match self.dispatcher.flush(Deadline::after(DELIVERY_WAIT))? {
                Flushed::Done => snapshots.cut(&self.shards, &self.merger, held(self.joiner.as_ref()), now),
                Flushed::Pending => snapshots.postpone(now.since_start + DELIVERY_WAIT),
            }
        }
        Ok(())
    }

    /// Delivers, makes a last cut and waits for it, and commits. All share the deadline.
    pub(super) fn conclude(&mut self, deadline: Deadline, now: Now) -> Result<(), RuntimeError> {
        if let Some(snapshots) = &mut self.snapshots
            && self.dispatcher.flush(deadline)? == Flushed::Done
        {
            // One that is under way holds less than we have.
            if snapshots.take_report(deadline, now) {
                snapshots.cut(&self.shards, &self.merger, held(self.joiner.as_ref()), now);
            }
            if !snapshots.take_report(deadline, now) {
                tracing::warn!("the last snapshot was not complete in time: what follows the one before is judged again");
            }
        }
        self.commit(Commit::By(deadline), deadline, now).map(|_| ())
    }

    /// Delivers, then commits what was judged; both share the deadline. `false` if deliveries are still under way and so nothing was
    /// committed.
    fn commit(&mut self, how: Commit, deadline: Deadline, now: Now) -> Result<bool, RuntimeError> {
        if self.dispatcher.flush(deadline)? == Flushed::Pending {
            return Ok(false);
        }
        let mut positions = match &self.snapshots {
            None => self.merger.positions(),
            Some(snapshots) => snapshots.commits(&self.merger, now),
        };
        joiner::cap(&mut positions, &held(self.joiner.as_ref()));
        self.merger.retain_news(&mut positions);
        if !positions.is_empty() {
            match self.feed.commit(&positions, how) {
                Ok(()) => self.merger.committed(&positions),
                // The broker may be away for a moment. What is not committed is committed with the next turn, or read again.
                Err(error) => {
                    tracing::warn!("{error}; it will be tried again");
                    return Ok(true);
                }
            }
        }
        // While a commit waits for a snapshot, its age must show.
        if self.snapshots.is_none() || self.merger.positions().is_empty() || !positions.is_empty() {
            self.dispatcher.sinks.metrics.checkpoint(now.wall);
        }
        // At an end the best-effort sinks get what is left of the time; in between they get none.
        let left = if how == Commit::Soon { Deadline::after(Duration::ZERO) } else { deadline };
        self.dispatcher.flush_best_effort(left);
        Ok(true)
    }
}

/// Where halves of calls wait.
fn held(joiner: Option<&Joiner>) -> BTreeMap<Partition, i64> {
    joiner.map(Joiner::held).unwrap_or_default()
}

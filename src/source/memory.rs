//! A feed in memory, for tests: partitions that are filled, taken away and given back by hand, in one thread.
//!
//! It keeps the same contract as Kafka (pausing, commits, revocation with release), so a test of the runtime can step through
//! a rebalance and look at what was committed at every point.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::feed::{Commit, End, Event, Feed, FeedError, Partition, RecordBatch};

/// A feed whose partitions a test holds in its hands. Clones speak of the same feed.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    logs: BTreeMap<Partition, Log>,
    events: VecDeque<Event>,
    closed: bool,
    releases: usize,
    fail_commits: Option<FeedError>,
}

#[derive(Debug, Default)]
struct Log {
    messages: Vec<Box<[u8]>>,
    next: usize,
    committed: i64,
    ours: bool,
    paused: bool,
}

// === impl Memory ===

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a message to a partition.
    pub fn append(&self, partition: &Partition, payload: &[u8]) {
        self.state().logs.entry(partition.clone()).or_default().messages.push(payload.into());
    }

    /// Gives partitions to the reader, which goes on behind what was committed.
    pub fn assign(&self, partitions: &[Partition]) {
        let mut state = self.state();
        for partition in partitions {
            let log = state.logs.entry(partition.clone()).or_default();
            log.ours = true;
            log.paused = false;
            log.next = usize::try_from(log.committed).unwrap_or(0);
        }
        state.events.push_back(Event::Assigned(partitions.to_vec()));
    }

    /// Begins to take partitions away.
    pub fn revoke(&self, partitions: &[Partition], lost: bool) {
        self.state().events.push_back(Event::Revoked { partitions: partitions.to_vec(), lost });
    }

    /// Lets every commit from now on end with this error, or succeed again.
    pub fn fail_commits(&self, error: Option<FeedError>) {
        self.state().fail_commits = error;
    }

    /// Committed position of a partition.
    pub fn committed(&self, partition: &Partition) -> i64 {
        self.state().logs.get(partition).map_or(0, |log| log.committed)
    }

    /// Whether the reader has asked for a pause of the partition.
    pub fn paused(&self, partition: &Partition) -> bool {
        self.state().logs.get(partition).is_some_and(|log| log.paused)
    }

    /// How often revoked partitions were released.
    pub fn releases(&self) -> usize {
        self.state().releases
    }

    /// Whether the reader has left.
    pub fn closed(&self) -> bool {
        self.state().closed
    }
}

impl Feed for Memory {
    fn poll(&mut self, into: &mut RecordBatch, limit: usize, _wait: Duration) -> Result<(), FeedError> {
        let mut state = self.state();
        let mut left = limit;
        for (partition, log) in state.logs.iter_mut().filter(|(_, log)| log.ours && !log.paused) {
            let end = log.messages.len().min(log.next + left);
            for (offset, payload) in (0_i64..).zip(&log.messages).skip(log.next).take(end - log.next) {
                into.push(partition.clone(), offset, None, Some(payload), Vec::new());
            }
            left -= end - log.next;
            log.next = end;
        }
        let end = |(partition, log): (&Partition, &Log)| {
            let high = i64::try_from(log.messages.len()).unwrap_or(i64::MAX);
            End { partition: partition.clone(), high, start: log.committed, drained: log.next == log.messages.len() }
        };
        let ends = state.logs.iter().filter(|(_, log)| log.ours).map(end).collect();
        state.events.push_back(Event::Ends(ends));
        Ok(())
    }

    fn next_event(&mut self) -> Option<Event> {
        self.state().events.pop_front()
    }

    fn release(&mut self, partitions: &[Partition]) {
        let mut state = self.state();
        state.releases += 1;
        for partition in partitions {
            if let Some(log) = state.logs.get_mut(partition) {
                log.ours = false;
            }
        }
    }

    fn commit(&mut self, positions: &[(Partition, i64)], _how: Commit) -> Result<(), FeedError> {
        let mut state = self.state();
        if let Some(error) = &state.fail_commits {
            return Err(error.clone());
        }
        for (partition, position) in positions {
            if let Some(log) = state.logs.get_mut(partition).filter(|log| log.ours) {
                log.committed = *position;
            }
        }
        Ok(())
    }

    fn pause(&mut self, partitions: &[Partition]) {
        let mut state = self.state();
        for partition in partitions {
            if let Some(log) = state.logs.get_mut(partition) {
                log.paused = true;
            }
        }
    }

    fn resume(&mut self, partitions: &[Partition]) {
        let mut state = self.state();
        for partition in partitions {
            if let Some(log) = state.logs.get_mut(partition) {
                log.paused = false;
            }
        }
    }

    fn close(&mut self, _within: Duration) {
        self.state().closed = true;
    }
}

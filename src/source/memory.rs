//! A feed in memory, for tests: partitions that are filled, taken away and given back by hand, in one thread.
//!
//! It keeps the same contract as Kafka (pausing, commits, revocation with release), so a test of the runtime can step through
//! a rebalance and look at what was committed at every point.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::feed::{Bounds, Commit, End, Feed, FeedError, FeedEvent, Partition, RecordBatch, Start};

/// A feed whose partitions a test holds in its hands. Clones speak of the same feed.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    logs: BTreeMap<Partition, Log>,
    events: VecDeque<FeedEvent>,
    closed: bool,
    releases: usize,
    fail_commits: Option<FeedError>,
}

#[derive(Debug, Default)]
struct Log {
    messages: Vec<Message>,
    next: usize,
    /// First offset that is handed out still, as after the retention time.
    low: i64,
    committed: i64,
    ours: bool,
    paused: bool,
}

#[derive(Debug)]
enum Message {
    Payload(Box<[u8]>),
    Tombstone,
    /// The end of a transaction, which nobody is handed.
    Mark,
}

// === impl Memory ===

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a message to a partition.
    pub fn append(&self, partition: &Partition, payload: &[u8]) {
        self.push(partition, Message::Payload(payload.into()));
    }

    /// Appends a message without a value.
    pub fn append_tombstone(&self, partition: &Partition) {
        self.push(partition, Message::Tombstone);
    }

    /// Appends the mark of a transaction's end: it has an offset, and is handed to nobody.
    pub fn append_mark(&self, partition: &Partition) {
        self.push(partition, Message::Mark);
    }

    fn push(&self, partition: &Partition, message: Message) {
        self.state().logs.entry(partition.clone()).or_default().messages.push(message);
    }

    /// Takes the messages before an offset away, as the retention time does.
    pub fn expire(&self, partition: &Partition, low: i64) {
        if let Some(log) = self.state().logs.get_mut(partition) {
            log.low = low;
        }
    }

    /// Throws a partition's messages away while it is read: it begins anew under the reader.
    pub fn restart(&self, partition: &Partition) {
        if let Some(log) = self.state().logs.get_mut(partition) {
            (log.messages, log.next, log.low) = (Vec::new(), 0, 0);
        }
    }

    /// Throws a partition's messages and positions away, as when a topic is made anew.
    pub fn recreate(&self, partition: &Partition) {
        self.state().logs.insert(partition.clone(), Log::default());
    }

    /// Gives partitions to the reader, which answers where they begin.
    pub fn assign(&self, partitions: &[Partition]) {
        let mut state = self.state();
        for partition in partitions {
            state.logs.entry(partition.clone()).or_default();
        }
        state.events.push_back(FeedEvent::Assigned(partitions.to_vec()));
    }

    /// Begins to take partitions away.
    pub fn revoke(&self, partitions: &[Partition], lost: bool) {
        self.state().events.push_back(FeedEvent::Revoked { partitions: partitions.to_vec(), lost });
    }

    /// The reader died: its partitions are nobody's, and nothing waits for it.
    pub fn die(&self) {
        let mut state = self.state();
        state.events.clear();
        state.logs.values_mut().for_each(|log| log.ours = false);
    }

    /// Lets every commit from now on end with this error, or succeed again.
    pub fn fail_commits(&self, error: Option<FeedError>) {
        self.state().fail_commits = error;
    }

    /// Every partition.
    pub fn partitions(&self) -> Vec<Partition> {
        self.state().logs.keys().cloned().collect()
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
            log.next = log.next.max(usize::try_from(log.low).unwrap_or(0));
            let end = log.messages.len().min(log.next.saturating_add(left)).max(log.next);
            for (offset, payload) in (0_i64..).zip(&log.messages).skip(log.next).take(end - log.next) {
                match payload {
                    Message::Payload(payload) => into.push(partition.clone(), offset, None, Some(payload), Vec::new()),
                    Message::Tombstone => into.push(partition.clone(), offset, None, None, Vec::new()),
                    Message::Mark => {}
                }
            }
            left -= end - log.next;
            log.next = end;
        }
        let end = |(partition, log): (&Partition, &Log)| {
            let high = i64::try_from(log.messages.len()).unwrap_or(i64::MAX);
            End {
                partition: partition.clone(),
                low: Some(log.low),
                high,
                start: log.committed,
                position: i64::try_from(log.next).ok(),
                drained: log.next == log.messages.len(),
                open: 0,
            }
        };
        let ends = state.logs.iter().filter(|(_, log)| log.ours).map(end).collect();
        state.events.push_back(FeedEvent::Ends(ends));
        Ok(())
    }

    fn next_event(&mut self) -> Option<FeedEvent> {
        self.state().events.pop_front()
    }

    fn bounds(&mut self, partitions: &[Partition]) -> Result<Vec<Bounds>, FeedError> {
        let state = self.state();
        let bounds = |partition: &Partition| {
            let log = state.logs.get(partition);
            let high = log.map_or(0, |log| i64::try_from(log.messages.len()).unwrap_or(i64::MAX));
            let committed = log.map(|log| log.committed).filter(|committed| *committed > 0);
            Bounds { partition: partition.clone(), low: log.map_or(0, |log| log.low), high, committed }
        };
        Ok(partitions.iter().map(bounds).collect())
    }

    fn all_partitions(&mut self) -> Result<Vec<Partition>, FeedError> {
        Ok(self.partitions())
    }

    fn begin(&mut self, partitions: &[Partition], start: &Start) -> Result<(), FeedError> {
        let mut state = self.state();
        for partition in partitions {
            let log = state.logs.entry(partition.clone()).or_default();
            let offset = match start {
                Start::Committed => log.committed,
                Start::At(offsets) => {
                    offsets.iter().find(|(known, _)| known == partition).map_or(log.committed, |(_, offset)| *offset)
                }
            };
            log.ours = true;
            log.paused = false;
            log.next = usize::try_from(offset.max(log.low)).unwrap_or(0);
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(feed: &mut Memory) -> Vec<i64> {
        let mut batch = RecordBatch::default();
        feed.poll(&mut batch, 100, Duration::ZERO).unwrap();
        (0..batch.len()).map(|index| batch.offset(index)).collect()
    }

    #[test]
    fn an_assignment_hands_out_nothing_before_it_is_answered_and_then_begins_where_it_is_told() {
        let (mut feed, partition) = (Memory::default(), Partition::new("t", 0));
        (0..5).for_each(|_| feed.append(&partition, b"x"));
        feed.assign(std::slice::from_ref(&partition));
        assert!(offsets(&mut feed).is_empty());
        feed.begin(std::slice::from_ref(&partition), &Start::At(vec![(partition.clone(), 3)])).unwrap();
        assert_eq!(offsets(&mut feed), [3, 4]);
    }

    #[test]
    fn a_partition_that_the_answer_does_not_list_begins_behind_what_was_committed() {
        let mut feed = Memory::default();
        let (listed, other) = (Partition::new("t", 0), Partition::new("t", 1));
        (0..5).for_each(|_| feed.append(&other, b"x"));
        let both = [listed.clone(), other.clone()];
        feed.assign(&both);
        feed.begin(&both, &Start::Committed).unwrap();
        feed.commit(&[(other.clone(), 2)], Commit::Soon).unwrap();
        feed.release(&both);
        feed.assign(&both);
        feed.begin(&both, &Start::At(vec![(listed, 0)])).unwrap();
        assert_eq!(offsets(&mut feed), [2, 3, 4]);
    }
}

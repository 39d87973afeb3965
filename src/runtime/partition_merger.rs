//! One queue a partition: buffers what was read and lets it out in the order of event time over all partitions.
//!
//! # Why
//! A consumer that catches up reads its partitions at different speeds. Without a merge, the fast partition would push the
//! watermark hours ahead and every event of the slow one would be late. So the queue whose next event is earliest goes first.
//! A queue that is empty here, while the broker has more of it, holds the others back. The slowest active partition therefore
//! holds the watermark.
//!
//! # What holds and what does not
//! * A queue holds the others only while it is empty *and* the broker has more of it. It holds back only events that are more
//!   than half the allowed lateness ahead of it. The engine tolerates the rest as lateness, so live traffic is never delayed.
//! * A queue that was silent for `idle_after` is left out: a partition whose leader is gone must not stop the rest.
//! * One event with a wrong time does not carry its queue away. A queue's clock is the earliest of its next few events, and never
//!   ahead of the wall clock.
//!
//! # Bounds
//! A partition whose queue holds more than its share is paused at the source until half of the share is worked off. When all
//! messages held take too many bytes, every partition with messages in its queue is paused. That cannot block the merge: the
//! queue with the earliest event can go on, or it waits for an empty queue, and an empty queue's partition is not paused.
//!
//! # Replay
//! After a restart with restored state, the messages before an offset of each partition (its *replayed part*) were delivered already.
//! They go before all others: no message behind that offset is let out while a partition still has one before it. So the state is that
//! of the moment of the crash before anything new is judged.
//!
//! # Positions
//! The position of a partition is the offset behind its last message that is *done*: judged and handed to the sinks. It is what
//! is committed, after the sinks have delivered. The end of a transaction has an offset, too, and nobody is handed it; the position moves
//! behind it once everything before it is done, so that a group that has read everything has no lag.

pub mod continuity;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use continuity::{Arrival, Continuity};

use crate::event::EventTime;
use crate::source::feed::{End, Partition};

/// Events at the head of a queue that its clock looks at. The clock is their minimum, so up to seven wrong times ahead of a right
/// one do no harm. Chosen: more events would outvote more wrong times, and cost time for every event.
const LOOK_AHEAD: usize = 8;
/// Smallest share of a queue in messages, however many queues there are. Chosen: each pause discards what librdkafka has fetched
/// ahead, so a smaller share would fetch the same messages many times.
const LEAST_SHARE: usize = 256;

/// The present, on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Wall clock.
    pub wall: EventTime,
    /// Time since the process began; never goes back.
    pub since_start: Duration,
}

/// A message that waits in a queue.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Number of its block.
    pub block: usize,
    /// Position within the block.
    pub index: usize,
    /// Its offset.
    pub offset: i64,
    /// Its event time, if it could be read.
    pub time: Option<EventTime>,
}

/// Settings of the merge.
#[derive(Clone, Copy, Debug)]
pub struct MergeSettings {
    /// Events this far ahead of a queue that lags need not wait for it.
    pub slack: Duration,
    /// A queue silent for this long is left out.
    pub idle_after: Duration,
    /// Messages held in all queues together.
    pub capacity: usize,
}

/// The queues of the partitions that are ours.
#[derive(Debug)]
pub struct PartitionMerger {
    settings: MergeSettings,
    queues: BTreeMap<Partition, PartitionQueue>,
    buffered: usize,
}

/// Where a message stands in the order of all partitions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Rank {
    /// It is behind the replayed part.
    spoken: bool,
    time: EventTime,
}

/// The time of what cannot be read: before everything.
const UNREADABLE: EventTime = EventTime::from_micros(i64::MIN);

#[derive(Debug)]
struct PartitionQueue {
    items: VecDeque<Item>,
    /// Earliest time among the first items; `None` if none of them has one.
    clock: Option<EventTime>,
    /// Time of the last event that was let out.
    last: Option<EventTime>,
    /// The broker has no more of it.
    caught_up: bool,
    /// When a message last came, or the queue began.
    last_arrival: Duration,
    paused: bool,
    /// Offset behind the last message that is done (judged and handed to the sinks); `None` before the first.
    position: Option<i64>,
    committed: Option<i64>,
    /// Offset before which the messages are replayed; none once it is passed.
    replay_until: Option<i64>,
    end: Option<(i64, i64)>,
    /// Everything before this offset was handed out.
    passed: Option<i64>,
    /// First messages of `items` that are of a log that is no more: what becomes of them says nothing about our position.
    foreign: usize,
    continuity: Continuity,
}

/// What became of a message that was pushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// It waits in the queue of its partition.
    Taken,
    /// It waits, and it begins another log: its offset is not behind the one before.
    BeginsAnew,
    /// Its partition is not ours any more.
    Gone,
}

// === impl PartitionQueue ===

impl PartitionQueue {
    fn update_clock(&mut self) {
        self.clock = self.items.iter().take(LOOK_AHEAD).filter_map(|item| item.time).min();
    }

    /// By what the queue's next event is ranked: replayed ones first, then by time; what cannot be read goes first among its like.
    fn rank(&self, now: Now) -> Rank {
        let time = self.clock.map_or(UNREADABLE, |clock| clock.min(now.wall));
        let next = self.items.front().map(|item| item.offset);
        Rank { spoken: self.replay_until.is_none_or(|until| next.is_some_and(|next| next >= until)), time }
    }

    /// Highest rank that may pass while this queue has nothing; `None` if it does not hold.
    fn limit(&self, now: Now, settings: MergeSettings) -> Option<Rank> {
        let silent = now.since_start.saturating_sub(self.last_arrival) >= settings.idle_after;
        if !self.items.is_empty() || self.caught_up || silent {
            return None;
        }
        let slack = i64::try_from(settings.slack.as_micros()).unwrap_or(i64::MAX);
        // Before its first event a queue holds everything: it might begin hours ago.
        let time = self.last.map_or(UNREADABLE, |last| EventTime::from_micros(last.micros().saturating_add(slack)));
        Some(Rank { spoken: self.replay_until.is_none(), time })
    }
}

// === impl PartitionMerger ===

impl PartitionMerger {
    /// No queues yet.
    pub fn new(settings: MergeSettings) -> Self {
        Self { settings, queues: BTreeMap::new(), buffered: 0 }
    }

    /// Begins queues for partitions.
    pub fn open(&mut self, partitions: &[Partition], now: Now) {
        for partition in partitions {
            let queue = PartitionQueue {
                items: VecDeque::new(),
                clock: None,
                last: None,
                caught_up: false,
                last_arrival: now.since_start,
                paused: false,
                position: None,
                committed: None,
                replay_until: None,
                end: None,
                passed: None,
                foreign: 0,
                continuity: Continuity::default(),
            };
            self.queues.entry(partition.clone()).or_insert(queue);
        }
    }

    /// Ends the queue of a partition; what waits in it is handed back unprocessed.
    pub fn close(&mut self, partition: &Partition) -> Vec<Item> {
        let items = self.queues.remove(partition).map(|queue| Vec::from(queue.items)).unwrap_or_default();
        self.buffered -= items.len();
        items
    }

    /// The first message of a partition should have this offset.
    pub fn begin(&mut self, partition: &Partition, offset: i64) {
        if let Some(queue) = self.queues.get_mut(partition) {
            queue.continuity.begin(offset);
        }
    }

    /// Takes a message in.
    pub fn push(&mut self, partition: &Partition, item: Item, now: Now) -> Pushed {
        let Some(queue) = self.queues.get_mut(partition) else { return Pushed::Gone };
        let arrival = queue.continuity.arrived(item.offset);
        if arrival == Arrival::BeginsAnew {
            queue.foreign = queue.items.len();
            (queue.position, queue.committed, queue.replay_until, queue.passed, queue.end) = (None, None, None, None, None);
        }
        queue.items.push_back(item);
        if queue.items.len() <= LOOK_AHEAD {
            queue.update_clock();
        }
        queue.caught_up = false;
        queue.last_arrival = now.since_start;
        self.buffered += 1;
        match arrival {
            Arrival::Follows => Pushed::Taken,
            Arrival::BeginsAnew => Pushed::BeginsAnew,
        }
    }

    /// Takes news of where partitions begin and end. Returns how many messages of each were removed before they came.
    pub fn ends(&mut self, ends: &[End]) -> Vec<(Partition, u64)> {
        let mut lost = Vec::new();
        for end in ends {
            let Some(queue) = self.queues.get_mut(&end.partition) else { continue };
            queue.end = Some((end.high, end.start));
            queue.passed = queue.passed.max(end.position);
            // The news may be older than what has come since, so it counts only for a queue that is empty.
            queue.caught_up = end.drained && queue.items.is_empty();
            let removed = end.low.map_or(0, |low| queue.continuity.report(low, queue.caught_up));
            if removed > 0 {
                lost.push((end.partition.clone(), removed));
            }
        }
        lost
    }

    /// From now on no queue that is empty holds others back: nothing more comes.
    pub fn hold_nothing(&mut self) {
        self.queues.values_mut().for_each(|queue| queue.caught_up = true);
    }

    /// Moves positions behind what was handed to nobody: marks of transactions, and what was aborted. Call it when everything that was
    /// polled was pushed. Says whether a position moved.
    pub fn pass_marks(&mut self) -> bool {
        let mut moved = false;
        for queue in self.queues.values_mut().filter(|queue| queue.items.is_empty()) {
            let Some(passed) = queue.passed.take() else { continue };
            queue.continuity.passed(passed);
            if passed > queue.position.or(queue.committed).unwrap_or(0) {
                queue.position = Some(passed);
                moved = true;
            }
            if queue.replay_until.is_some_and(|until| passed >= until) {
                queue.replay_until = None;
            }
        }
        moved
    }

    /// Lets out what may go, at most `limit` messages, in order. The caller processes them at once, and reports each with
    /// [`PartitionMerger::done`].
    pub fn release(&mut self, now: Now, limit: usize, out: &mut Vec<Item>) {
        let settings = self.settings;
        while out.len() < limit {
            let held = self.queues.values().filter_map(|queue| queue.limit(now, settings)).min();
            let mut first: Option<(Rank, &Partition)> = None;
            let mut second: Option<Rank> = None;
            for (partition, queue) in self.queues.iter().filter(|(_, queue)| !queue.items.is_empty()) {
                let rank = queue.rank(now);
                match first {
                    Some((best, _)) if rank >= best => second = Some(second.map_or(rank, |known| known.min(rank))),
                    _ => {
                        second = first.map(|(best, _)| best);
                        first = Some((rank, partition));
                    }
                }
            }
            let Some((rank, partition)) = first else { return };
            let bound = second.into_iter().chain(held).min();
            // What cannot be read has no time to wait for.
            let may_go =
                |rank: Rank| bound.is_none_or(|bound| rank <= bound || (rank.time == UNREADABLE && rank.spoken <= bound.spoken));
            if !may_go(rank) {
                return;
            }
            let partition = partition.clone();
            let Some(queue) = self.queues.get_mut(&partition) else { return };
            while out.len() < limit && !queue.items.is_empty() && may_go(queue.rank(now)) {
                if let Some(item) = queue.items.pop_front() {
                    queue.last = item.time.map_or(queue.last, |time| Some(queue.last.map_or(time, |last| last.max(time))));
                    queue.update_clock();
                    self.buffered -= 1;
                    out.push(item);
                }
            }
        }
    }

    /// A message that was let out is judged and handed to the sinks: the position moves behind it. What was let out and is not
    /// done stays in front of the position, so it is never committed.
    pub fn done(&mut self, partition: &Partition, offset: i64) {
        if let Some(queue) = self.queues.get_mut(partition) {
            if queue.foreign > 0 {
                queue.foreign -= 1;
                return;
            }
            queue.position = queue.position.max(Some(offset + 1));
            if queue.replay_until.is_some_and(|until| offset + 1 >= until) {
                queue.replay_until = None;
            }
        }
    }

    /// Says where the group was in a partition, and before which offset its messages are replayed.
    pub fn resume_at(&mut self, partition: &Partition, committed: Option<i64>, replay_until: Option<i64>) {
        if let Some(queue) = self.queues.get_mut(partition) {
            (queue.committed, queue.replay_until) = (committed, replay_until);
        }
    }

    /// Positions beyond what was committed.
    pub fn positions(&self) -> Vec<(Partition, i64)> {
        let changed = self.queues.iter().filter(|(_, queue)| queue.position > queue.committed);
        changed.filter_map(|(partition, queue)| Some((partition.clone(), queue.position?))).collect()
    }

    /// Leaves out positions that are committed already.
    pub fn retain_news(&self, positions: &mut Vec<(Partition, i64)>) {
        positions.retain(|(partition, position)| self.queues.get(partition).is_some_and(|it| it.committed != Some(*position)));
    }

    /// Offset behind the last message of a partition that is done.
    pub fn position(&self, partition: &Partition) -> Option<i64> {
        self.queues.get(partition)?.position
    }

    /// Every partition of ours: its position, and what was committed.
    pub fn places(&self) -> impl Iterator<Item = (&Partition, Option<i64>, Option<i64>)> {
        self.queues.iter().map(|(partition, queue)| (partition, queue.position, queue.committed))
    }

    /// These positions are committed.
    pub fn committed(&mut self, positions: &[(Partition, i64)]) {
        for (partition, position) in positions {
            if let Some(queue) = self.queues.get_mut(partition) {
                queue.committed = Some(*position);
            }
        }
    }

    /// Messages of each partition that are not done yet, where the end is known.
    pub fn lags(&self) -> impl Iterator<Item = (&Partition, i64)> {
        self.queues.iter().filter_map(|(partition, queue)| {
            let (high, start) = queue.end?;
            // Behind the last message may lie marks of transactions that nobody ever hands out.
            let lag = if queue.caught_up { 0 } else { high - queue.position.unwrap_or(start) };
            Some((partition, lag.max(0)))
        })
    }

    /// Partitions whose queues now hold more than their share and must pause, and those that may go on. Under `pressure` the
    /// messages held take too many bytes, and only partitions with an empty queue are read.
    pub fn balance(&mut self, pressure: bool) -> (Vec<Partition>, Vec<Partition>) {
        let share = (self.settings.capacity / self.queues.len().max(1)).max(LEAST_SHARE);
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (partition, queue) in &mut self.queues {
            let (most, least) = if pressure { (1, 0) } else { (share, share / 2) };
            if !queue.paused && queue.items.len() >= most {
                queue.paused = true;
                pause.push(partition.clone());
            } else if queue.paused && queue.items.len() <= least {
                queue.paused = false;
                resume.push(partition.clone());
            }
        }
        (pause, resume)
    }

    /// Every partition of ours.
    pub fn partitions(&self) -> Vec<Partition> {
        self.queues.keys().cloned().collect()
    }

    /// Partitions that are not paused for their own sake.
    pub fn running(&self) -> Vec<Partition> {
        self.queues.iter().filter(|(_, queue)| !queue.paused).map(|(partition, _)| partition.clone()).collect()
    }

    /// Whether nothing waits, and nothing more is known to come.
    pub fn is_idle(&self, now: Now) -> bool {
        self.buffered == 0 && self.queues.values().all(|queue| queue.limit(now, self.settings).is_none())
    }

    /// Messages that wait in all queues.
    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// Number of queues.
    pub fn len(&self) -> usize {
        self.queues.len()
    }

    /// Whether no partition is ours.
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }
}

#[cfg(test)]
mod tests;

//! One lane a partition: buffers what was read and lets it out in the order of event time over all partitions.
//!
//! # Why
//! A consumer that catches up reads its partitions at different speeds. Handed on as they come, the fast one would push the
//! watermark hours ahead and every event of the slow one would be late. So the lanes are merged: always the lane whose next
//! event is earliest goes first, and a lane that is known to have more, and has nothing here yet, holds the others back. Hence
//! the slowest active partition holds the watermark.
//!
//! # What holds and what does not
//! * A lane holds the others only while it is empty *and* the broker has more of it, and then only events that are more than
//!   half the allowed lateness ahead of it: the engine puts up with the rest, so live traffic is never delayed.
//! * A lane that was silent for `idle_after` is left out: a partition whose leader is gone must not stop the rest.
//! * One event with a wrong time must not carry its lane away. A lane's clock is the earliest of its next few events, and never
//!   ahead of the wall clock.
//!
//! # Bounds
//! A lane that holds more than its share is paused at the source until it has worked off half of it. When the messages held take
//! too many bytes, every lane that has something to work on is paused; the earliest of them can always go on, or waits for a lane
//! that is empty and so is not paused.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::event::EventTime;
use crate::source::feed::{End, Partition};

/// Events at the head of a lane that its clock looks at. A single wrong time among eight is outvoted; more would cost time for
/// every event.
const LOOK_AHEAD: usize = 8;
/// Smallest share of a lane, however many lanes there are: below it pausing and resuming would cost more than it saves.
const LEAST_SHARE: usize = 256;

/// The present, on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Wall clock.
    pub wall: EventTime,
    /// Time since the process began; never goes back.
    pub since_start: Duration,
}

/// A message that waits in a lane.
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

/// Settings.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Events this far ahead of a lane that lags need not wait for it.
    pub slack: Duration,
    /// A lane silent for this long is left out.
    pub idle_after: Duration,
    /// Messages held in all lanes together.
    pub capacity: usize,
}

/// The lanes of the partitions that are ours.
#[derive(Debug)]
pub struct Lanes {
    settings: Settings,
    lanes: BTreeMap<Partition, Lane>,
    buffered: usize,
}

#[derive(Debug)]
struct Lane {
    items: VecDeque<Item>,
    /// Earliest time among the first items; `None` if none of them has one.
    clock: Option<EventTime>,
    /// Time of the last event that was let out.
    last: Option<EventTime>,
    /// The broker has no more of it.
    caught_up: bool,
    /// When a message last came, or the lane began.
    heard: Duration,
    paused: bool,
    /// Next offset to process; `None` before the first.
    position: Option<i64>,
    committed: Option<i64>,
    end: Option<(i64, i64)>,
}

// === impl Lane ===

impl Lane {
    fn look(&mut self) {
        self.clock = self.items.iter().take(LOOK_AHEAD).filter_map(|item| item.time).min();
    }

    /// The time by which the lane's next event is ranked; what cannot be read goes first.
    fn rank(&self, now: Now) -> EventTime {
        self.clock.map_or(EventTime::from_micros(i64::MIN), |clock| clock.min(now.wall))
    }

    /// Latest event time that may pass while this lane has nothing; `None` if it does not hold.
    fn limit(&self, now: Now, settings: Settings) -> Option<EventTime> {
        let silent = now.since_start.saturating_sub(self.heard) >= settings.idle_after;
        if !self.items.is_empty() || self.caught_up || silent {
            return None;
        }
        let slack = i64::try_from(settings.slack.as_micros()).unwrap_or(i64::MAX);
        let last = self.last.map_or(i64::MIN, EventTime::micros);
        // Before its first event a lane holds everything: it might begin hours ago.
        Some(EventTime::from_micros(if last == i64::MIN { last } else { last.saturating_add(slack) }))
    }
}

// === impl Lanes ===

impl Lanes {
    /// No lanes yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, lanes: BTreeMap::new(), buffered: 0 }
    }

    /// Begins lanes for partitions.
    pub fn open(&mut self, partitions: &[Partition], now: Now) {
        for partition in partitions {
            let lane = Lane {
                items: VecDeque::new(),
                clock: None,
                last: None,
                caught_up: false,
                heard: now.since_start,
                paused: false,
                position: None,
                committed: None,
                end: None,
            };
            self.lanes.entry(partition.clone()).or_insert(lane);
        }
    }

    /// Ends the lane of a partition; what waits in it is handed back unprocessed.
    pub fn close(&mut self, partition: &Partition) -> Vec<Item> {
        let items = self.lanes.remove(partition).map(|lane| Vec::from(lane.items)).unwrap_or_default();
        self.buffered -= items.len();
        items
    }

    /// Takes a message in; `false` if its partition is not ours any more.
    pub fn push(&mut self, partition: &Partition, item: Item, now: Now) -> bool {
        let Some(lane) = self.lanes.get_mut(partition) else { return false };
        lane.items.push_back(item);
        if lane.items.len() <= LOOK_AHEAD {
            lane.look();
        }
        lane.caught_up = false;
        lane.heard = now.since_start;
        self.buffered += 1;
        true
    }

    /// Takes news of where partitions end.
    pub fn ends(&mut self, ends: &[End]) {
        for end in ends {
            if let Some(lane) = self.lanes.get_mut(&end.partition) {
                lane.end = Some((end.high, end.start));
                // The news may be older than what has come since, so it counts only for a lane that is empty.
                lane.caught_up = end.drained && lane.items.is_empty();
            }
        }
    }

    /// Lets out what may go, at most `limit` messages, in order. The caller processes them at once.
    pub fn release(&mut self, now: Now, limit: usize, out: &mut Vec<Item>) {
        let settings = self.settings;
        while out.len() < limit {
            let held = self.lanes.values().filter_map(|lane| lane.limit(now, settings)).min();
            let mut first: Option<(EventTime, &Partition)> = None;
            let mut second: Option<EventTime> = None;
            for (partition, lane) in self.lanes.iter().filter(|(_, lane)| !lane.items.is_empty()) {
                let rank = lane.rank(now);
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
            let may_go = |rank: EventTime| bound.is_none_or(|bound| rank <= bound) || rank.micros() == i64::MIN;
            if !may_go(rank) {
                return;
            }
            let partition = partition.clone();
            let Some(lane) = self.lanes.get_mut(&partition) else { return };
            while out.len() < limit && !lane.items.is_empty() && may_go(lane.rank(now)) {
                if let Some(item) = lane.items.pop_front() {
                    lane.last = item.time.map_or(lane.last, |time| Some(lane.last.map_or(time, |last| last.max(time))));
                    lane.position = Some(item.offset + 1);
                    lane.look();
                    self.buffered -= 1;
                    out.push(item);
                }
            }
        }
    }

    /// Positions that differ from what was committed.
    pub fn positions(&self) -> Vec<(Partition, i64)> {
        let changed = self.lanes.iter().filter(|(_, lane)| lane.position != lane.committed);
        changed.filter_map(|(partition, lane)| Some((partition.clone(), lane.position?))).collect()
    }

    /// These positions are committed.
    pub fn committed(&mut self, positions: &[(Partition, i64)]) {
        for (partition, position) in positions {
            if let Some(lane) = self.lanes.get_mut(partition) {
                lane.committed = Some(*position);
            }
        }
    }

    /// Messages of each partition that are not processed yet, where the end is known.
    pub fn lags(&self) -> impl Iterator<Item = (&Partition, i64)> {
        self.lanes.iter().filter_map(|(partition, lane)| {
            let (high, start) = lane.end?;
            // Behind the last message may lie marks of transactions that nobody ever hands out.
            let lag = if lane.caught_up { 0 } else { high - lane.position.unwrap_or(start) };
            Some((partition, lag.max(0)))
        })
    }

    /// Lanes that now hold more than their share and must pause, and those that may go on. Under `pressure` all that is held
    /// takes too many bytes, and only empty lanes are read.
    pub fn balance(&mut self, pressure: bool) -> (Vec<Partition>, Vec<Partition>) {
        let share = (self.settings.capacity / self.lanes.len().max(1)).max(LEAST_SHARE);
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (partition, lane) in &mut self.lanes {
            let (most, least) = if pressure { (1, 0) } else { (share, share / 2) };
            if !lane.paused && lane.items.len() >= most {
                lane.paused = true;
                pause.push(partition.clone());
            } else if lane.paused && lane.items.len() <= least {
                lane.paused = false;
                resume.push(partition.clone());
            }
        }
        (pause, resume)
    }

    /// Whether nothing waits, and nothing more is known to come.
    pub fn is_idle(&self, now: Now) -> bool {
        self.buffered == 0 && self.lanes.values().all(|lane| lane.limit(now, self.settings).is_none())
    }

    /// Messages that wait in all lanes.
    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// Number of lanes.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether no partition is ours.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }
}

#[cfg(test)]
mod tests;

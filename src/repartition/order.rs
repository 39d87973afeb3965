//! The order of judging, as a function of the frames alone: one queue a source partition, and after each frame out goes what no other
//! partition can precede.
//!
//! # The rule
//! The candidate is the queued message with the smallest (event time, source partition). It goes if every source partition without queued
//! messages lets it pass: the partition has reached a later time, or was read to its end, or its writer has been silent for `silent_after`. All of
//! that stands in frames, clocks included. So neither the machine nor the batches in which frames arrive change the order, and a log whose
//! partitions are in order of time comes out in order of time, however many processes wrote the frames.
//!
//! A time that is wrong and far ahead does not hold its queue up for long: a queue is ranked by the earliest of its next few messages, and no
//! time counts beyond the clock of the writers.
//!
//! # Bounds
//! Beyond `capacity` held messages the candidate goes without being let pass.
//!
//! # Places
//! [`LogOrder::place`] is what a restart needs, besides the frames from [`Place::first`] on. Frames before [`Place::consumed`] only fill the queues
//! again ([`LogOrder::refill`]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::frame::{Mark, Message};
use crate::event::EventTime;
use crate::source::feed::Partition;

/// Messages at the head of a queue by which it is ranked, as in the merger of `direct`.
const LOOK_AHEAD: usize = 8;
/// Smallest step of idle time, in microseconds. Nothing in a window changes within a second.
const LEAST_TICK: i64 = 1_000_000;

/// Settings of the order. All processes must have the same.
#[derive(Clone, Copy, Debug)]
pub struct OrderSettings {
    /// A source partition whose writer has been silent for this long holds nothing back.
    pub silent_after: Duration,
    /// Event time moves on when nothing has been let out for this long.
    pub idle_after: Duration,
    /// How far event time moves past the last message while nothing arrives.
    pub idle_advance: Duration,
    /// Messages held.
    pub capacity: usize,
}

/// The queues of one rows partition.
#[derive(Debug)]
pub struct LogOrder {
    settings: OrderSettings,
    sources: BTreeMap<Partition, Source>,
    /// Latest clock of a writer, in microseconds.
    wall: i64,
    held: usize,
    idle: Idle,
    /// Messages that went although another partition might have had an earlier one.
    forced: u64,
}

/// What moves event time while nothing arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Idle {
    /// Latest event time that was let out, in microseconds.
    last: Option<i64>,
    /// Clock of the writers then.
    at: i64,
    /// Event time that was told.
    ticked: i64,
}

#[derive(Debug, Default)]
struct Source {
    queue: VecDeque<Waiting>,
    /// Earliest time among the first messages.
    rank: Option<EventTime>,
    watermark: Option<EventTime>,
    caught_up: bool,
    /// Clock of its writer at its last frame.
    heard: i64,
    /// Next offset of the source partition to be let out.
    next: i64,
    /// Time of its last message that came, for one that has none.
    last: Option<EventTime>,
}

#[derive(Debug)]
struct Waiting {
    /// Offset of its frame.
    frame: i64,
    time: EventTime,
    message: Message,
}

/// A place in the log of frames, and what the queues are there.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Place {
    /// Offset of the next frame.
    pub consumed: i64,
    /// Offset of the first frame that still has messages in a queue.
    pub first: i64,
    wall: i64,
    idle: Idle,
    sources: Vec<SourcePlace>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct SourcePlace {
    topic: String,
    partition: i32,
    watermark: Option<i64>,
    caught_up: bool,
    heard: i64,
    next: i64,
    last: Option<i64>,
}

/// Time of what has none.
const NEVER: EventTime = EventTime::from_micros(i64::MIN);

// === impl LogOrder ===

impl LogOrder {
    /// Before the first frame.
    pub fn new(settings: OrderSettings) -> Self {
        Self { settings, sources: BTreeMap::new(), wall: 0, held: 0, idle: Idle::default(), forced: 0 }
    }

    /// Goes on at a place; the frames from its first on come again.
    pub fn at(settings: OrderSettings, place: &Place) -> Self {
        let time = |micros: Option<i64>| micros.map(EventTime::from_micros);
        let source = |source: &SourcePlace| {
            let SourcePlace { topic, partition, watermark, caught_up, heard, next, last } = source;
            let state = Source {
                watermark: time(*watermark),
                caught_up: *caught_up,
                heard: *heard,
                next: *next,
                last: time(*last),
                ..Source::default()
            };
            (Partition::new(topic.as_str(), *partition), state)
        };
        let sources = place.sources.iter().map(source).collect();
        Self { sources, wall: place.wall, idle: place.idle, ..Self::new(settings) }
    }

    /// The place before the frame at `consumed`.
    pub fn place(&self, consumed: i64) -> Place {
        let micros = |time: Option<EventTime>| time.map(EventTime::micros);
        let source = |(partition, source): (&Partition, &Source)| SourcePlace {
            topic: partition.topic.to_string(),
            partition: partition.number,
            watermark: micros(source.watermark),
            caught_up: source.caught_up,
            heard: source.heard,
            next: source.next,
            last: micros(source.last),
        };
        let waiting = self.sources.values().filter_map(|source| source.queue.front());
        Place {
            consumed,
            first: waiting.map(|waiting| waiting.frame).min().unwrap_or(consumed),
            wall: self.wall,
            idle: self.idle,
            sources: self.sources.iter().map(source).collect(),
        }
    }

    /// Takes the messages of a frame before the place again, as far as they were not let out.
    pub fn refill(&mut self, frame: i64, mark: &Mark, messages: Vec<Message>) {
        let source = self.sources.entry(mark.source()).or_default();
        self.held += source.push(frame, messages);
    }

    /// Takes a frame. Call [`LogOrder::release`] directly after it.
    pub fn take(&mut self, frame: i64, mark: &Mark, messages: Vec<Message>) {
        self.wall = self.wall.max(mark.wall);
        let wall = self.wall;
        for (topic, partitions) in &mark.sources {
            let topic: Arc<str> = topic.as_str().into();
            for number in 0..*partitions {
                let partition = Partition { topic: topic.clone(), number };
                // A partition that nobody has spoken of counts as heard now, so it is waited for.
                self.sources.entry(partition).or_insert_with(|| Source { heard: wall, ..Source::default() });
            }
        }
        let source = self.sources.entry(mark.source()).or_default();
        self.held += source.push(frame, messages);
        source.heard = mark.wall;
        source.caught_up = mark.caught_up;
        let reached = mark.watermark.map(|time| EventTime::from_micros(time.min(wall)));
        source.watermark = source.watermark.max(reached);
    }

    /// Lets out what may go, in order.
    pub fn release(&mut self, out: &mut Vec<Message>) {
        let silent_before = self.wall.saturating_sub(micros(self.settings.silent_after));
        while let Some((rank, partition)) = self.candidate() {
            let free = self.sources.iter().all(|(other, source)| source.lets_pass((rank, &partition), other, silent_before));
            if !free {
                if self.held <= self.settings.capacity {
                    return;
                }
                self.forced += 1;
            }
            let Some(waiting) = self.sources.get_mut(&partition).and_then(Source::pop) else { return };
            self.held -= 1;
            let time = waiting.message.time.map(EventTime::micros);
            self.idle.last = self.idle.last.max(time);
            self.idle.at = self.wall;
            out.push(waiting.message);
        }
    }

    /// The smallest (time, partition) of all queues.
    fn candidate(&self) -> Option<(EventTime, Partition)> {
        let wall = EventTime::from_micros(self.wall);
        let ranks = self.sources.iter().filter_map(|(partition, source)| Some((source.rank?.min(wall), partition)));
        ranks.min().map(|(rank, partition)| (rank, partition.clone()))
    }

    /// The event time to move on to while nothing arrives, if it is time to. Call it behind [`LogOrder::release`].
    pub fn tick(&mut self) -> Option<EventTime> {
        let last = self.idle.last.filter(|_| self.held == 0)?;
        let silent = self.wall.saturating_sub(self.idle.at);
        let holds =
            |source: &Source| !source.caught_up && self.wall.saturating_sub(source.heard) < micros(self.settings.silent_after);
        if silent < micros(self.settings.idle_after) || self.sources.values().any(holds) {
            return None;
        }
        let time = last.saturating_add(silent.min(micros(self.settings.idle_advance))).min(self.wall.max(last));
        if time.saturating_sub(self.idle.ticked.max(last)) < LEAST_TICK {
            return None;
        }
        self.idle.ticked = time;
        Some(EventTime::from_micros(time))
    }

    /// Messages held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Messages that went although another partition might have had an earlier one.
    pub fn forced(&self) -> u64 {
        self.forced
    }
}

// === impl Source ===

impl Source {
    /// Takes messages that were not let out before; how many they are.
    fn push(&mut self, frame: i64, messages: Vec<Message>) -> usize {
        let before = self.queue.len();
        for message in messages {
            self.last = message.time.or(self.last);
            if message.offset >= self.next {
                // What has no time stays behind the one before it.
                self.queue.push_back(Waiting { frame, time: self.last.unwrap_or(NEVER), message });
            }
        }
        self.update_rank();
        self.queue.len() - before
    }

    fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.queue.pop_front()?;
        self.next = waiting.message.offset + 1;
        self.update_rank();
        Some(waiting)
    }

    fn update_rank(&mut self) {
        self.rank = self.queue.iter().take(LOOK_AHEAD).map(|waiting| waiting.time).min();
    }

    /// Whether a candidate may go before everything that may still come of this source.
    fn lets_pass(&self, candidate: (EventTime, &Partition), own: &Partition, silent_before: i64) -> bool {
        if !self.queue.is_empty() || self.caught_up || self.heard <= silent_before {
            return true;
        }
        self.watermark.is_some_and(|reached| candidate < (reached, own))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;

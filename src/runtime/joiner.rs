//! Joins the halves of calls that are logged apart, between the merge of the partitions and the engines.
//!
//! Halves pass the merge like any message, so they come in the order of event time, whatever partitions they lie in. A joined call is
//! decoded here and judged at the place in the order where its second half came, or where the wait for it ended.
//!
//! What waits is not in a snapshot. A position must therefore not be committed behind a half that waits ([`cap`]); whoever goes on
//! reads it again. So nothing is lost, and without state the calls that were joined behind it are counted again: at most those of
//! `decode.pair_timeout_seconds`.

use std::collections::BTreeMap;
use std::ops::Range;

use super::block::{Block, Blocks};
use super::partition_merger::Item;
use super::shards::Judgement;
use crate::decode::Decoder;
use crate::decode::kserve::Pairs;
use crate::event::EventTime;
use crate::source::feed::Partition;

/// The joiner of the service.
#[derive(Debug)]
pub struct Joiner {
    pairs: Pairs,
    decoder: Decoder,
    /// Calls that are whole, as records.
    joined: Block,
    /// Which of them came with which item of a turn. The first range is of those that no item brought.
    ranges: Vec<Range<usize>>,
}

// === impl Joiner ===

impl Joiner {
    /// A joiner; `decoder` reads what was joined.
    pub fn new(pairs: Pairs, decoder: Decoder) -> Self {
        Self { pairs, decoder, joined: Block::default(), ranges: Vec::new() }
    }

    /// Takes the halves among the items of a turn, and decodes the calls that are whole now. Says whether there are any.
    pub fn join(&mut self, items: &[Item], blocks: &mut Blocks) -> bool {
        self.joined.messages.clear();
        self.ranges.clear();
        self.collect();
        for item in items {
            if let Some(half) = blocks.take_half(item.block, item.index) {
                self.pairs.push(half);
            }
            self.collect();
        }
        self.joined.decode(&mut self.decoder, None);
        !self.joined.messages.is_empty()
    }

    fn collect(&mut self) {
        let start = self.joined.messages.len();
        while let Some(call) = self.pairs.pop() {
            let place = call.provenance;
            let partition = Partition::new(place.topic.name(), place.partition);
            self.joined.messages.push(partition, place.offset, None, Some(&call.payload), Vec::new());
        }
        self.ranges.push(start..self.joined.messages.len());
    }

    /// The records of calls that no item brought.
    pub fn unasked(&self) -> impl Iterator<Item = Judgement<'_>> {
        self.of_range(0)
    }

    /// The records of calls that the item at this place of the turn brought.
    pub fn records(&self, nth: usize) -> impl Iterator<Item = Judgement<'_>> {
        self.of_range(nth + 1)
    }

    fn of_range(&self, nth: usize) -> impl Iterator<Item = Judgement<'_>> {
        self.ranges.get(nth).cloned().unwrap_or_default().flat_map(|index| self.joined.records(index))
    }

    /// Event time has come this far while nothing arrived.
    pub fn advance(&mut self, time: EventTime) {
        self.pairs.advance(time);
    }

    /// The lowest offset of each partition that must be read again after a restart.
    pub fn held(&self) -> BTreeMap<Partition, i64> {
        let mut held = BTreeMap::new();
        for place in self.pairs.held() {
            let lowest = held.entry(Partition::new(place.topic.name(), place.partition)).or_insert(place.offset);
            *lowest = place.offset.min(*lowest);
        }
        held
    }

    /// A partition is somebody else's: its halves are read again there.
    pub fn forget(&mut self, partition: &Partition) {
        self.pairs.forget(&partition.topic, partition.number);
    }

    /// Gives on what waits of a topic that nobody can read again.
    pub fn end_of(&mut self, topic: &str) {
        self.pairs.end_of(topic);
    }
}

/// Positions that may be committed while halves wait at `held`.
pub fn cap(positions: &mut [(Partition, i64)], held: &BTreeMap<Partition, i64>) {
    for (partition, position) in positions {
        if let Some(lowest) = held.get(partition) {
            *position = (*lowest).min(*position);
        }
    }
}

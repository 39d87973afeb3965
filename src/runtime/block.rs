//! A block: messages as polled, what decoding made of them, and how many are not dealt with yet.
//!
//! Blocks are decoded side by side, each by a decoder of its own. A block stays until its last message was processed or
//! dropped, because a dead letter needs the original bytes, and is then used again with its buffers.

use crate::decode::{Batch, Decoder, Rejection};
use crate::event::{EventTime, Query};
use crate::source::feed::RecordBatch;

/// RecordBatch and their queries.
#[derive(Debug, Default)]
pub struct Block {
    /// As polled.
    pub messages: RecordBatch,
    decoded: Batch,
    readings: Vec<Reading>,
    remaining: usize,
}

/// What a message turned out to be.
#[derive(Debug)]
pub enum Reading {
    /// Queries, as a range of the block's.
    Queries(std::ops::Range<usize>),
    /// Unreadable.
    Rejected(Rejection),
}

/// Blocks in use, by number, and spare ones.
#[derive(Debug, Default)]
pub struct Blocks {
    used: Vec<Option<Block>>,
    spare: Vec<Block>,
    held: usize,
}

/// Spare blocks kept for their buffers.
const MAX_SPARE: usize = 16;

// === impl Block ===

impl Block {
    /// Reads every message.
    pub fn decode(&mut self, decoder: &mut Decoder) {
        self.decoded.clear();
        self.readings.clear();
        for index in 0..self.messages.len() {
            let start = self.decoded.len();
            let read = self.messages.with_record(index, |record| decoder.decode(record, &mut self.decoded));
            self.readings.push(match read {
                Ok(count) => Reading::Queries(start..start + count),
                Err(rejection) => Reading::Rejected(rejection),
            });
        }
        self.remaining = self.messages.len();
    }

    /// What a message turned out to be. Panics if there are not so many.
    pub fn reading(&self, index: usize) -> &Reading {
        &self.readings[index]
    }

    /// Queries of a message; none if it was rejected.
    pub fn queries(&self, index: usize) -> &[Query] {
        match self.readings.get(index) {
            Some(Reading::Queries(range)) => &self.decoded.queries()[range.clone()],
            _ => &[],
        }
    }

    /// Event time of a message, if it could be read.
    pub fn time(&self, index: usize) -> Option<EventTime> {
        self.queries(index).first().map(|query| query.time)
    }
}

// === impl Blocks ===

impl Blocks {
    /// A block to fill.
    pub fn fresh(&mut self) -> Block {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a decoded block in and says its number.
    pub fn add(&mut self, block: Block) -> usize {
        self.held += block.messages.bytes();
        if let Some(free) = self.used.iter().position(Option::is_none) {
            self.used[free] = Some(block);
            return free;
        }
        self.used.push(Some(block));
        self.used.len() - 1
    }

    /// Gives an unused block back.
    pub fn give_back(&mut self, mut block: Block) {
        block.messages.clear();
        block.decoded.clear();
        block.readings.clear();
        if self.spare.len() < MAX_SPARE {
            self.spare.push(block);
        }
    }

    /// A block by number.
    pub fn get(&self, number: usize) -> Option<&Block> {
        self.used.get(number).and_then(Option::as_ref)
    }

    /// One message of the block is dealt with.
    pub fn done(&mut self, number: usize) {
        let Some(slot) = self.used.get_mut(number) else { return };
        let Some(block) = slot else { return };
        block.remaining = block.remaining.saturating_sub(1);
        if block.remaining == 0
            && let Some(block) = slot.take()
        {
            self.held -= block.messages.bytes();
            self.give_back(block);
        }
    }

    /// Bytes of messages in blocks that are in use. A block counts whole until its last message is done.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Blocks that hold unprocessed messages.
    pub fn in_use(&self) -> usize {
        self.used.iter().filter(|block| block.is_some()).count()
    }
}

//! A block: messages as polled, what decoding made of them, and how many are not dealt with yet.
//!
//! Blocks are decoded side by side, each by a decoder of its own. A dead letter needs the original bytes, so a block stays until
//! its last message was delivered or dropped. Then it is used again with its buffers.

use std::borrow::Cow;
use std::ops::Range;

use super::shards::Judgement;
use crate::decode::kserve::Half;
use crate::decode::{Batch, Decoder};
use crate::event::{EventTime, Provenance, Query};
use crate::observer::Original;
use crate::outcome::Outcome;
use crate::source::Record;
use crate::source::feed::RecordBatch;
use crate::source::registry::Schemas;

/// Messages and their queries.
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
enum Reading {
    /// Its queries, as a range of the block's.
    Queries(Range<usize>),
    /// It has no value.
    Tombstone,
    /// It is half of a call; none once the joiner has taken it.
    Half(Option<Box<Half>>),
    /// It could not be decoded: where it lies, and its rejection.
    Unreadable(Provenance, Outcome),
}

/// Blocks in use, by number, and spare ones.
#[derive(Debug, Default)]
pub struct Blocks {
    used: Vec<Option<Block>>,
    spare: Vec<Block>,
    held: usize,
}

/// Spare blocks kept for their buffers. Chosen: two turns of the most decoders (8); more would only keep memory.
const MAX_SPARE: usize = 16;

// === impl Block ===

impl Block {
    /// Decodes every message. Those with the id of a schema become JSON first.
    pub fn decode(&mut self, decoder: &mut Decoder, schemas: Option<&Schemas>) {
        self.decoded.clear();
        self.readings.clear();
        for index in 0..self.messages.len() {
            if self.messages.payload(index).is_none() {
                self.readings.push(Reading::Tombstone);
                continue;
            }
            if let Some(half) = self.messages.with_record(index, |record| decoder.half(record)) {
                self.readings.push(Reading::Half(Some(Box::new(half))));
                continue;
            }
            let start = self.decoded.len();
            let decoded =
                self.messages.with_record(index, |record| match schemas.and_then(|schemas| schemas.json(record.payload)) {
                    None => decoder.decode(record, &mut self.decoded),
                    Some(Ok(json)) => decoder.decode(&Record { payload: &json, ..record.clone() }, &mut self.decoded),
                    Some(Err(rejection)) => Err(rejection),
                });
            self.readings.push(match decoded {
                Ok(count) => Reading::Queries(start..start + count),
                Err(rejection) => Reading::Unreadable(self.messages.provenance(index), Outcome::Rejected(rejection)),
            });
        }
        self.remaining = self.messages.len();
    }

    /// The records of a message: its queries, each waiting for its engine, or its rejection. A message without a value has none,
    /// and neither has half of a call.
    pub fn records(&self, index: usize) -> impl Iterator<Item = Judgement<'_>> {
        let unreadable = match self.readings.get(index) {
            Some(Reading::Unreadable(provenance, outcome)) => Some((provenance, None, Cow::Borrowed(outcome))),
            _ => None,
        };
        let queries = self.queries(index).iter().map(|query| (&query.provenance, Some(query), Cow::Owned(Outcome::default())));
        unreadable.into_iter().chain(queries).map(move |(provenance, query, outcome)| Judgement {
            provenance,
            query,
            original: self.original(index),
            outcome,
            gap_seconds: None,
            verdicts: Vec::new(),
            known: false,
        })
    }

    /// Event time of a message, if it could be decoded.
    pub fn time(&self, index: usize) -> Option<EventTime> {
        match self.readings.get(index) {
            Some(Reading::Half(half)) => half.as_ref().and_then(|half| half.time()),
            _ => self.queries(index).first().map(|query| query.time),
        }
    }

    /// Takes the half of a call that a message is.
    fn take_half(&mut self, index: usize) -> Option<Half> {
        match self.readings.get_mut(index) {
            Some(Reading::Half(half)) => half.take().map(|half| *half),
            _ => None,
        }
    }

    fn queries(&self, index: usize) -> &[Query] {
        match self.readings.get(index) {
            Some(Reading::Queries(range)) => &self.decoded.queries()[range.clone()],
            _ => &[],
        }
    }

    fn original(&self, index: usize) -> Original<'_> {
        let Self { messages, .. } = self;
        Original { key: messages.key(index), payload: messages.payload(index), headers: messages.headers(index) }
    }
}

// === impl Blocks ===

impl Blocks {
    /// A block to fill.
    pub fn fresh(&mut self) -> Block {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a decoded block in and returns its number.
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

    /// Takes the half of a call that a message is.
    pub fn take_half(&mut self, number: usize, index: usize) -> Option<Half> {
        self.used.get_mut(number)?.as_mut()?.take_half(index)
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

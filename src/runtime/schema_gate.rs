//! Batches that wait for the schemas of their records. Order is kept: what comes behind a batch that waits, waits as well.

use super::Runtime;
use super::block::Block;
use crate::health::Phase;
use crate::source::feed::Feed;
use crate::source::registry::Schemas;

/// The gate in front of decoding.
#[derive(Debug)]
pub struct SchemaGate {
    /// What is known.
    pub schemas: Schemas,
    waiting: Vec<Block>,
}

// === impl SchemaGate ===

impl SchemaGate {
    /// A gate where nothing waits.
    pub fn new(schemas: Schemas) -> Self {
        Self { schemas, waiting: Vec::new() }
    }

    /// Takes batches, and gives all back once every schema is known or refused.
    pub fn pass(&mut self, blocks: Vec<Block>) -> Vec<Block> {
        self.waiting.extend(blocks);
        // Every batch is looked at, so that all ids are asked for at once.
        let lacking = self.waiting.iter().filter(|block| self.schemas.lack(&block.messages)).count();
        if lacking > 0 { Vec::new() } else { std::mem::take(&mut self.waiting) }
    }

    /// Whether batches wait.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether they wait for a registry that does not answer.
    pub fn is_away(&self) -> bool {
        self.is_waiting() && self.schemas.trouble().is_some()
    }
}

impl Drop for SchemaGate {
    fn drop(&mut self) {
        self.schemas.close();
    }
}

// === impl Runtime, schemas ===

impl<F: Feed> Runtime<F> {
    /// Holds batches back until the schemas of their records are known. Meanwhile nothing more is read.
    pub(super) fn await_schemas(&mut self, blocks: Vec<Block>) -> Vec<Block> {
        let Some(gate) = &mut self.schemas else { return blocks };
        let (came, was_waiting) = (!blocks.is_empty(), gate.is_waiting());
        let ready = gate.pass(blocks);
        let readiness = &self.dispatcher.sinks.readiness;
        match (was_waiting, gate.is_waiting()) {
            // Partitions that came meanwhile are not paused yet.
            (_, true) if came => self.feed.pause(&self.merger.partitions()),
            (true, false) => {
                self.feed.resume(&self.merger.running());
                readiness.set(Phase::Ready);
            }
            _ => {}
        }
        if gate.is_away() {
            readiness.set(Phase::Retrying);
        }
        ready
    }
}

//! The engines: one a shard, each with the models that fall to it.
//!
//! Judging is sharded by *model* and not by partition or client, because a model's verdict and its campaigns need all of the
//! model's traffic in one place, in one order. Within a shard everything is sequential, so an engine needs no locks and the same
//! input gives the same verdicts, with one shard or with ten.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::{Disposition, Engine, EngineConfig, EngineError, Input, ModelStatus, Outbox};
use crate::event::{EventTime, Query};
use crate::judge::Verdict;
use crate::reference::Reference;

/// The engines.
#[derive(Debug)]
pub struct Shards {
    shards: Vec<Shard>,
    of_model: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Shard {
    engine: Engine,
    outbox: Outbox,
}

/// What an engine said to one query.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// What became of the query.
    pub disposition: Disposition,
    /// Seconds since the same client's previous query.
    pub gap_seconds: Option<f64>,
    /// Verdicts that followed.
    pub verdicts: Vec<Verdict>,
}

/// Fewer queries than this are judged on the calling thread: starting threads would take longer.
const WORTH_THREADS: usize = 128;

// === impl Shard ===

impl Shard {
    fn step(&mut self, input: Input<'_>) -> Step {
        self.outbox.verdicts.clear();
        self.engine.step(input, &mut self.outbox);
        Step {
            disposition: self.outbox.disposition,
            gap_seconds: self.outbox.gap_seconds,
            verdicts: std::mem::take(&mut self.outbox.verdicts),
        }
    }
}

// === impl Shards ===

impl Shards {
    /// Engines for `references`, shared out among at most `count` shards in order of name.
    ///
    /// # Errors
    /// As [`Engine::new`]; two references for one model are found even when they would fall to different shards.
    pub fn new(count: usize, config: &EngineConfig, mut references: Vec<Arc<Reference>>) -> Result<Self, EngineError> {
        references.sort_by(|a, b| a.model.cmp(&b.model));
        if let Some(pair) = references.windows(2).find(|pair| pair[0].model == pair[1].model) {
            return Err(EngineError::DuplicateModel(pair[0].model.clone()));
        }
        let count = count.clamp(1, references.len().max(1));
        let of_model = references.iter().enumerate().map(|(i, reference)| (reference.model.clone(), i % count)).collect();
        let own = |shard: usize| references.iter().skip(shard).step_by(count).cloned().collect();
        let engine = |shard| Engine::new(config.clone(), own(shard)).map(|engine| Shard { engine, outbox: Outbox::default() });
        Ok(Self { shards: (0..count).map(engine).collect::<Result<_, _>>()?, of_model })
    }

    /// Judges queries; `steps` gets one answer for each, in the same order.
    pub fn step(&mut self, queries: &[&Query], steps: &mut Vec<Step>) {
        steps.clear();
        if let [shard] = self.shards.as_mut_slice() {
            steps.extend(queries.iter().map(|query| shard.step(Input::Query(query))));
            return;
        }
        steps.resize_with(queries.len(), Step::default);
        let of_model = &self.of_model;
        let shard_of = |query: &Query| of_model.get(&query.model).copied().unwrap_or(0);
        if queries.len() < WORTH_THREADS {
            for (query, step) in queries.iter().zip(steps) {
                *step = self.shards[shard_of(query)].step(Input::Query(query));
            }
            return;
        }
        let mut shares: Vec<Vec<(&Query, &mut Step)>> = self.shards.iter().map(|_| Vec::new()).collect();
        for (query, step) in queries.iter().zip(steps) {
            shares[shard_of(query)].push((query, step));
        }
        std::thread::scope(|scope| {
            for (shard, share) in self.shards.iter_mut().zip(shares) {
                scope.spawn(move || {
                    for (query, step) in share {
                        *step = shard.step(Input::Query(query));
                    }
                });
            }
        });
    }

    /// Tells every engine that event time has reached `time`.
    pub fn tick(&mut self, time: EventTime) -> Vec<Verdict> {
        self.shards.iter_mut().flat_map(|shard| shard.step(Input::Tick(time)).verdicts).collect()
    }

    /// Tells every engine that the input has ended.
    pub fn end(&mut self) -> Vec<Verdict> {
        self.shards.iter_mut().flat_map(|shard| shard.step(Input::End).verdicts).collect()
    }

    /// State of every model, in order of name.
    pub fn status(&self) -> Vec<ModelStatus> {
        let mut all: Vec<ModelStatus> = self.shards.iter().flat_map(|shard| shard.engine.status()).collect();
        all.sort_by(|a, b| a.model.cmp(&b.model));
        all
    }
}

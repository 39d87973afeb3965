//! The engines: one a shard, each with the models that fall to it.
//!
//! Judging is sharded by *model* and not by partition or client, because a model's verdict and its campaigns need all of the
//! model's traffic in one place, in one order. Within a shard everything is sequential, so an engine needs no locks and the same
//! input gives the same verdicts, with one shard or with ten.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::{Engine, EngineConfig, EngineError, Input, ModelSnapshot, ModelStatus, Outbox};
use crate::event::{EventTime, Provenance, Query};
use crate::judge::Verdict;
use crate::observer::{ObservedRecord, Original};
use crate::outcome::{Outcome, Rejection};
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

/// A record, and what the engine said to it. The answer is written beside the record that it belongs to.
#[derive(Clone, Debug)]
pub struct Judgement<'a> {
    /// Where the record lies.
    pub provenance: &'a Provenance,
    /// What it says; `None` if it could not be decoded, and then it is evidence about its sender alone.
    pub query: Option<&'a Query>,
    /// Key, payload and headers as they came.
    pub original: Original<'a>,
    /// What became of it.
    pub outcome: Cow<'a, Outcome>,
    /// Seconds since the same client's previous query.
    pub gap_seconds: Option<f64>,
    /// Verdicts that followed from it.
    pub verdicts: Vec<Verdict>,
    /// It is in the restored state of its model already, so the engine does not see it again.
    pub known: bool,
}

/// Fewer records than this are judged on the calling thread. Chosen: starting threads costs about as much as judging a few dozen
/// queries (`cargo bench --bench engine` measures one), so below about a hundred they cannot pay for themselves.
const WORTH_THREADS: usize = 128;

// === impl Judgement ===

impl Judgement<'_> {
    /// Why the record could not be decoded, if it could not.
    pub fn rejection(&self) -> Option<&Rejection> {
        match &*self.outcome {
            Outcome::Rejected(rejection) if self.query.is_none() => Some(rejection),
            _ => None,
        }
    }

    /// Model of the record, if it could be read.
    pub fn model(&self) -> Option<&str> {
        let of_rejected = || self.rejection()?.caller.as_ref().map(|caller| caller.model.as_str());
        self.query.map(|query| query.model.as_str()).or_else(of_rejected)
    }

    /// The record with its outcome, as observers see it.
    pub fn observed(&self) -> ObservedRecord<'_> {
        let Self { provenance, query, original, gap_seconds, .. } = *self;
        ObservedRecord { provenance, query, outcome: &self.outcome, gap_seconds, original }
    }
}

// === impl Shard ===

impl Shard {
    fn step(&mut self, input: Input<'_>) -> Vec<Verdict> {
        self.outbox.verdicts.clear();
        self.engine.step(input, &mut self.outbox);
        std::mem::take(&mut self.outbox.verdicts)
    }

    fn judge(&mut self, judgement: &mut Judgement<'_>) {
        if judgement.known {
            return;
        }
        let Some(query) = judgement.query else {
            if let Some(record) = judgement.rejection().and_then(|rejection| rejection.evidence(judgement.provenance)) {
                judgement.verdicts = self.step(Input::Unreadable(&record));
            }
            return;
        };
        judgement.verdicts = self.step(Input::Query(query));
        judgement.outcome = Cow::Owned(std::mem::take(&mut self.outbox.outcome));
        judgement.gap_seconds = self.outbox.gap_seconds;
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

    /// Judges records in their order; each gets its answer written into it. Records that could not be decoded stay rejected.
    pub fn judge(&mut self, judgements: &mut [Judgement<'_>]) {
        if let [shard] = self.shards.as_mut_slice() {
            judgements.iter_mut().for_each(|judgement| shard.judge(judgement));
            return;
        }
        let of_model = &self.of_model;
        // The first shard has the first model in order of name, which stands for one that could not be read.
        let shard_of = |judgement: &Judgement<'_>| judgement.model().and_then(|model| of_model.get(model)).copied().unwrap_or(0);
        if judgements.len() < WORTH_THREADS {
            for judgement in judgements {
                self.shards[shard_of(judgement)].judge(judgement);
            }
            return;
        }
        let mut shares: Vec<(&mut Shard, Vec<&mut Judgement<'_>>)> = self.shards.iter_mut().map(|s| (s, Vec::new())).collect();
        for judgement in judgements {
            shares[shard_of(judgement)].1.push(judgement);
        }
        std::thread::scope(|scope| {
            for (shard, share) in shares {
                scope.spawn(move || share.into_iter().for_each(|judgement| shard.judge(judgement)));
            }
        });
    }

    /// Tells every engine that event time has reached `time`.
    pub fn tick(&mut self, time: EventTime) -> Vec<Verdict> {
        self.shards.iter_mut().flat_map(|shard| shard.step(Input::Tick(time))).collect()
    }

    /// Tells every engine that the input has ended.
    pub fn end(&mut self) -> Vec<Verdict> {
        self.shards.iter_mut().flat_map(|shard| shard.step(Input::End)).collect()
    }

    /// An engine of one model alone, with a copy of its state.
    pub fn copy_of(&self, model: &str) -> Option<Engine> {
        self.shards.get(*self.of_model.get(model)?)?.engine.copy_of(model)
    }

    /// Forgets what the log has taught about a model.
    pub fn forget(&mut self, model: &str) {
        if let Some(shard) = self.of_model.get(model).and_then(|&at| self.shards.get_mut(at)) {
            shard.engine.forget(model);
        }
    }

    /// Goes on with a model where a snapshot of it was taken.
    ///
    /// # Errors
    /// As [`Engine::restore`].
    pub fn restore(&mut self, snapshot: ModelSnapshot) -> Result<(), EngineError> {
        let at = self.of_model.get(&snapshot.header.model).copied().unwrap_or(0);
        match self.shards.get_mut(at) {
            Some(shard) => shard.engine.restore(snapshot),
            None => Ok(()),
        }
    }

    /// State of every model, in order of name.
    pub fn status(&self) -> Vec<ModelStatus> {
        let mut all: Vec<ModelStatus> = self.shards.iter().flat_map(|shard| shard.engine.status()).collect();
        all.sort_by(|a, b| a.model.cmp(&b.model));
        all
    }
}

//! The pure core: windows, signals and judging strung together, one engine a model. No clock, no I/O, no randomness of its own.
//!
//! [`settings`] is what it is told, [`status`] what it shows besides verdicts, [`judged`] what was really tested; the line that a query runs through is in
//! `engine/model.rs`.
//!
//! The shell feeds it [`Input`]s in any order of event time within the allowed lateness and takes what it says from the
//! [`Outbox`]. The same input gives the same bytes out.

pub mod judged;
mod model;
pub mod settings;
pub mod status;

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::Serialize;

pub use judged::Judged;
pub use settings::{EngineConfig, SettingError};
pub use status::ModelStatus;

use crate::event::{EventTime, Query};
use crate::judge::Verdict;
use crate::outcome::{Outcome, UnreadableRecord};
use crate::reference::Reference;
use model::ModelEngine;
pub use model::snapshot::FORMAT as SNAPSHOT_FORMAT;
pub use model::snapshot::{ModelSnapshot, Snapshot, SnapshotHeader};

/// What happens to the engine.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A query was logged.
    Query(&'a Query),
    /// A record was logged that could not be read.
    Unreadable(&'a UnreadableRecord<'a>),
    /// Event time has reached at least this instant on every input (an idle source says so).
    Tick(EventTime),
    /// The input ends: close every window.
    End,
}

/// What the engine has to say. The caller clears and reuses it.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    /// Verdicts, in order.
    pub verdicts: Vec<Verdict>,
    /// What became of the last query.
    pub outcome: Outcome,
    /// Seconds since the same client's previous query, if there was one.
    pub gap_seconds: Option<f64>,
}

/// Why an engine could not be built.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Two references for the same model.
    #[error("two references for model '{0}'")]
    DuplicateModel(String),
    /// A snapshot that does not belong to this engine.
    #[error("the snapshot of model '{model}' cannot be used: {what}")]
    Snapshot {
        /// The model that it speaks of.
        model: String,
        /// Why, and what to do.
        what: String,
    },
    /// A setting out of range.
    #[error(transparent)]
    Setting(#[from] SettingError),
}

/// The core. A clone goes on from where the original stands, with the same state.
#[derive(Clone, Debug)]
pub struct Engine {
    config: EngineConfig,
    /// One a model, in order of name.
    models: Vec<ModelEngine>,
    by_name: FxHashMap<String, usize>,
    /// The model of the last query; the next one is likely of the same.
    last: usize,
}

// === impl Engine ===

impl Engine {
    /// An engine for the models of `references`.
    pub fn new(config: EngineConfig, mut references: Vec<Arc<Reference>>) -> Result<Self, EngineError> {
        config.check()?;
        references.sort_by(|a, b| a.model.cmp(&b.model));
        if let Some(pair) = references.windows(2).find(|pair| pair[0].model == pair[1].model) {
            return Err(EngineError::DuplicateModel(pair[0].model.clone()));
        }
        let models: Vec<ModelEngine> = references.into_iter().map(|r| ModelEngine::new(r, &config)).collect();
        let by_name = models.iter().enumerate().map(|(i, j)| (j.name().to_owned(), i)).collect();
        Ok(Self { config, models, by_name, last: 0 })
    }

    /// Takes one input and writes what follows from it to `out`.
    pub fn step(&mut self, input: Input<'_>, out: &mut Outbox) {
        out.gap_seconds = None;
        let known = out.verdicts.len();
        match input {
            Input::Query(query) => match self.model_of(&query.model) {
                None => out.outcome = Outcome::unknown_model(&query.model),
                Some(model) => (out.outcome, out.gap_seconds) = model.query(query, &mut out.verdicts),
            },
            Input::Unreadable(record) => {
                if let Some(model) = self.model_of_unreadable(&record.caller.model) {
                    model.unreadable(record, &mut out.verdicts);
                }
            }
            Input::Tick(at) => self.models.iter_mut().for_each(|model| model.tick(at, &mut out.verdicts)),
            Input::End => self.models.iter_mut().for_each(|model| model.end(&mut out.verdicts)),
        }
        for verdict in &mut out.verdicts[known..] {
            verdict.set_id(self.config.salt);
        }
    }

    fn model_of(&mut self, model: &str) -> Option<&mut ModelEngine> {
        if self.models.get(self.last).is_none_or(|last| last.name() != model) {
            self.last = *self.by_name.get(model)?;
        }
        self.models.get_mut(self.last)
    }

    /// The model of a record that could not be read. If its model could not be read either, the first one in order of name stands for it.
    fn model_of_unreadable(&mut self, model: &str) -> Option<&mut ModelEngine> {
        if model.is_empty() { self.models.first_mut() } else { self.model_of(model) }
    }

    /// What the engine has learned of a model, as plain data for any serde format that tells fields apart by position (not JSON, whose
    /// keys are texts); `None` if there is no such model. What is made from the reference and the settings is left out.
    pub fn snapshot(&self, model: &str) -> Option<Snapshot<impl Serialize + '_>> {
        let at = *self.by_name.get(model)?;
        self.models.get(at).map(|model| model.snapshot(&self.config))
    }

    /// Goes on with a model where a snapshot of it was taken; the other models are left alone. From then on the engine says of the rest of
    /// a log what the first one would have said.
    ///
    /// # Errors
    /// If format, reference or settings are not those of the snapshot: its hashes, thresholds and windows would mean something
    /// else. The engine is as before.
    pub fn restore(&mut self, snapshot: ModelSnapshot) -> Result<(), EngineError> {
        let Snapshot { header: SnapshotHeader { format, model, reference }, config, state } = snapshot;
        let fault = |what: String| EngineError::Snapshot { model: model.clone(), what };
        if format != SNAPSHOT_FORMAT {
            return Err(fault(format!("it has format {format}, this program reads {SNAPSHOT_FORMAT}; start without it")));
        }
        let changed = config.changed(&self.config);
        if !changed.is_empty() {
            let names = changed.join(", ");
            return Err(fault(format!("it was made with another {names}; put the setting back, or start without the snapshot")));
        }
        let Some(engine) = self.by_name.get(&model).and_then(|&at| self.models.get_mut(at)) else {
            return Err(fault("there is no reference for this model; add it, or remove the snapshot".into()));
        };
        if engine.digest() != reference {
            return Err(fault("it was made with another reference; put that back, or start without the snapshot".into()));
        }
        engine.restore(state);
        Ok(())
    }

    /// An engine of one of the models, with a copy of its state; `None` if there is no such model. The clients are shared until one of both
    /// changes them, so this takes a moment.
    pub fn copy_of(&self, model: &str) -> Option<Self> {
        let engine = self.models.get(*self.by_name.get(model)?)?.clone();
        let by_name = [(model.to_owned(), 0)].into_iter().collect();
        Some(Self { config: self.config.clone(), models: vec![engine], by_name, last: 0 })
    }

    /// Copies what this engine shares with the one that it is a copy of. Until then the other one copies what it changes, so whoever keeps the
    /// copy in another thread does this at once.
    pub fn unshare(&mut self) {
        self.models.iter_mut().for_each(ModelEngine::unshare);
    }

    /// Forgets what a log has taught about a model.
    pub fn forget(&mut self, model: &str) {
        if let Some(engine) = self.by_name.get(model).and_then(|&at| self.models.get_mut(at)) {
            *engine = engine.fresh(&self.config);
        }
    }

    /// State of every model, in order of name.
    pub fn status(&self) -> Vec<ModelStatus> {
        self.models.iter().map(ModelEngine::status).collect()
    }

    /// Memory by model: (name, clients, bytes of clients, rows of history, bytes of history).
    pub fn memory(&self) -> Vec<(String, usize, usize, usize, usize)> {
        self.models
            .iter()
            .map(|j| {
                let (c, cb, r, rb) = j.memory();
                (j.name().to_owned(), c, cb, r, rb)
            })
            .collect()
    }

    /// The settings in force.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }
}

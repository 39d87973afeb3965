//! The pure core: windows, signals and judging strung together. No clock, no I/O, no randomness of its own.
//!
//! The shell feeds it [`Input`]s in any order of event time within the allowed lateness and takes what it says from the
//! [`Outbox`]. The same input gives the same bytes out.

mod model;
pub mod settings;
pub mod status;

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

pub use settings::{EngineConfig, SettingError};
pub use status::ModelStatus;

use crate::event::{EventTime, Query};
use crate::judge::Verdict;
use crate::outcome::Outcome;
use crate::reference::Reference;
use model::ModelEngine;
use model::snapshot::ModelSnapshot;

/// What happens to the engine.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A query was logged.
    Query(&'a Query),
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
    /// What became of the query of the last step.
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
    #[error("this snapshot cannot be used: {what}")]
    Snapshot {
        /// Why, and what to do.
        what: String,
    },
    /// A setting out of range.
    #[error(transparent)]
    Setting(#[from] SettingError),
}

/// Format of snapshots; another one is refused rather than guessed at.
const SNAPSHOT: u32 = 3;

/// A snapshot of an [`Engine`], read back: format, the settings that its hashes depend on, and each model's name, reference and
/// state.
#[derive(Debug, Deserialize)]
pub struct EngineSnapshot(u32, u64, u64, u64, Vec<(String, String, ModelSnapshot)>);

/// The core. A clone goes on from where the original stands, with the same state.
#[derive(Clone, Debug)]
pub struct Engine {
    config: EngineConfig,
    /// One judge per model, in order of name.
    judges: Vec<ModelEngine>,
    by_name: FxHashMap<String, usize>,
    /// The judge of the last query: the next one is likely his, too.
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
        let judges: Vec<ModelEngine> = references.into_iter().map(|r| ModelEngine::new(r, &config)).collect();
        let by_name = judges.iter().enumerate().map(|(i, j)| (j.name().to_owned(), i)).collect();
        Ok(Self { config, judges, by_name, last: 0 })
    }

    /// Takes one input and writes what follows from it to `out`.
    pub fn step(&mut self, input: Input<'_>, out: &mut Outbox) {
        out.gap_seconds = None;
        match input {
            Input::Query(query) => match self.judge_of(&query.model) {
                None => out.outcome = Outcome::unknown_model(&query.model),
                Some(judge) => (out.outcome, out.gap_seconds) = judge.query(query, &mut out.verdicts),
            },
            Input::Tick(at) => self.judges.iter_mut().for_each(|judge| judge.tick(at, &mut out.verdicts)),
            Input::End => self.judges.iter_mut().for_each(|judge| judge.end(&mut out.verdicts)),
        }
    }

    fn judge_of(&mut self, model: &str) -> Option<&mut ModelEngine> {
        if self.judges.get(self.last).is_none_or(|judge| judge.name() != model) {
            self.last = *self.by_name.get(model)?;
        }
        self.judges.get_mut(self.last)
    }

    /// Everything that the engine has learned, as plain data for any serde format that tells fields apart by position (not JSON,
    /// whose keys are texts). What is made from references and settings is left out: [`Engine::restore`] makes it anew.
    pub fn snapshot(&self) -> impl Serialize + '_ {
        let models: Vec<_> = self.judges.iter().map(|judge| (judge.name(), judge.digest(), judge.snapshot())).collect();
        (SNAPSHOT, self.config.salt, self.config.max_clients as u64, self.config.max_history as u64, models)
    }

    /// An engine that goes on where a snapshot was taken: it says of the rest of a log what the first one would have said. Fails
    /// if settings or references are not those of the snapshot, since its hashes and codes would mean something else.
    pub fn restore(config: EngineConfig, references: Vec<Arc<Reference>>, state: EngineSnapshot) -> Result<Self, EngineError> {
        let mut engine = Self::new(config, references)?;
        let fault = |what: String| EngineError::Snapshot { what };
        let EngineSnapshot(version, salt, clients, history, models) = state;
        if version != SNAPSHOT {
            return Err(fault(format!("it has format {version}, this program reads {SNAPSHOT}; start without it")));
        }
        let config = &engine.config;
        if (salt, clients, history) != (config.salt, config.max_clients as u64, config.max_history as u64) {
            return Err(fault(
                "it was made with another salt, max_clients or max_history; put those back, or start without it".into(),
            ));
        }
        if models.len() != engine.judges.len() {
            return Err(fault(format!("it speaks of {} models, not of {}; start without it", models.len(), engine.judges.len())));
        }
        for (judge, (name, digest, state)) in engine.judges.iter_mut().zip(models) {
            if judge.name() != name || judge.digest() != digest {
                return Err(fault(format!("model '{name}' had another reference then; start without the snapshot")));
            }
            judge.restore(state);
        }
        Ok(engine)
    }

    /// State of every model, in order of name.
    pub fn status(&self) -> Vec<ModelStatus> {
        self.judges.iter().map(ModelEngine::status).collect()
    }

    /// Memory by model: (name, clients, bytes of clients, rows of history, bytes of history).
    pub fn memory(&self) -> Vec<(String, usize, usize, usize, usize)> {
        self.judges
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

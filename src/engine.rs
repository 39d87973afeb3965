//! The pure core: windows, signals and judging strung together. No clock, no I/O, no randomness of its own.
//!
//! The shell feeds it [`Input`]s in any order of event time within the allowed lateness and takes what it says from the
//! [`Outbox`]. The same input gives the same bytes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{EventTime, Query};
use rustc_hash::FxHashMap;

use crate::judge::budget::Spent;
use crate::judge::model::{ModelJudge, ModelState};
use crate::judge::{FeatureDrift, Finding, Verdict};
use crate::reference::Reference;

/// Most rows of history: what four bytes of an index entry can tell apart, with a fingerprint beside.
const MAX_HISTORY: usize = 1 << 26;

/// Settings of the core; every bound on memory and on false alarms is here.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Stated rate of false alarms: expected false client alarms per client and day. The one knob of sensitivity.
    pub alarms_per_client_day: f64,
    /// How late an event may be, in seconds of event time, before the windows do without it.
    pub allowed_lateness_seconds: u32,
    /// Clients kept per model; the least recently seen is forgotten (and counted) beyond that.
    pub max_clients: usize,
    /// Rows of history kept per model for linking queries across callers.
    pub max_history: usize,
    /// Salt of the structure hashes. Set one per deployment, so that an attacker cannot compute collisions.
    pub salt: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { alarms_per_client_day: 1e-4, allowed_lateness_seconds: 60, max_clients: 100_000, max_history: 262_144, salt: 0 }
    }
}

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

/// What became of the last query.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Disposition {
    /// Counted in the windows.
    #[default]
    Accepted,
    /// Behind the watermark, which is given: counted as late, judged as evidence about its sender, left out of windows and drift.
    Late(EventTime),
    /// No reference for its model: counted, nothing learned.
    UnknownModel,
    /// Implausibly far ahead of everything else: dead letter.
    FromTheFuture,
}

/// What the engine has to say. The caller clears and reuses it.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    /// Verdicts, in order.
    pub verdicts: Vec<Verdict>,
    /// What became of the query of the last step.
    pub disposition: Disposition,
    /// Seconds since the same client's previous query, if there was one.
    pub gap_seconds: Option<f64>,
}

/// State of one model for metrics, pages and reports.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct ModelStatus {
    /// Model name.
    pub model: String,
    /// Watermark: event time that is complete.
    pub watermark: EventTime,
    /// Accepted queries.
    pub queries: u64,
    /// Late queries.
    pub late: u64,
    /// Clients in memory.
    pub clients: u64,
    /// Clients forgotten to keep within memory.
    pub evicted_clients: u64,
    /// Current verdict on the model; `None` before the first window closed.
    pub verdict: Option<Finding>,
    /// Clients currently flagged as probing, by family.
    pub flagged: BTreeMap<&'static str, u64>,
    /// Active campaigns.
    pub campaigns: u64,
    /// 95th percentile over clients of queries per hour in the sliding window.
    pub client_rate_p95: f64,
    /// Entropy of the window's features over that of the reference, mean over features.
    pub feature_entropy_ratio: f64,
    /// Largest information budget of a caller, an account or a campaign: distinct rows over d + 1.
    pub information_budget_ratio: f64,
    /// Who asked most that could be learned from, largest first, at most [`crate::judge::budget::LISTED`].
    pub curious: Vec<Spent>,
    /// Drift by feature, in schema order.
    pub features: Vec<FeatureDrift>,
    /// Drift of the model's answers.
    pub prediction: Option<FeatureDrift>,
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
    #[error("engine.{setting}: {what}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// What is wrong.
        what: String,
    },
}

/// Format of snapshots; another one is refused rather than guessed at.
const SNAPSHOT: u32 = 1;

/// A snapshot of an [`Engine`], read back: format, the settings that its hashes depend on, and each model's name, reference and
/// state.
#[derive(Debug, Deserialize)]
pub struct EngineState(u32, u64, u64, u64, Vec<(String, String, ModelState)>);

/// The core. A clone goes on from where the original stands, with the same state.
#[derive(Clone, Debug)]
pub struct Engine {
    config: EngineConfig,
    /// One judge per model, in order of name.
    judges: Vec<ModelJudge>,
    by_name: FxHashMap<String, usize>,
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
        let judges: Vec<ModelJudge> = references.into_iter().map(|r| ModelJudge::new(r, &config)).collect();
        let by_name = judges.iter().enumerate().map(|(i, j)| (j.name().to_owned(), i)).collect();
        Ok(Self { config, judges, by_name })
    }

    /// Takes one input and writes what follows from it to `out`.
    pub fn step(&mut self, input: Input<'_>, out: &mut Outbox) {
        out.gap_seconds = None;
        match input {
            Input::Query(query) => match self.by_name.get(query.model.as_str()) {
                None => out.disposition = Disposition::UnknownModel,
                Some(&at) => (out.disposition, out.gap_seconds) = self.judges[at].query(query, &mut out.verdicts),
            },
            Input::Tick(at) => self.judges.iter_mut().for_each(|judge| judge.tick(at, &mut out.verdicts)),
            Input::End => self.judges.iter_mut().for_each(|judge| judge.end(&mut out.verdicts)),
        }
    }

    /// Everything that the engine has learned, as plain data for any serde format that tells fields apart by position (not JSON,
    /// whose keys are texts). What is made from references and settings is left out: [`Engine::restore`] makes it anew.
    pub fn snapshot(&self) -> impl Serialize + '_ {
        let models: Vec<_> = self.judges.iter().map(|judge| (judge.name(), judge.digest(), judge.snapshot())).collect();
        (SNAPSHOT, self.config.salt, self.config.max_clients as u64, self.config.max_history as u64, models)
    }

    /// An engine that goes on where a snapshot was taken: it says of the rest of a log what the first one would have said. Fails
    /// if settings or references are not those of the snapshot, since its hashes and codes would mean something else.
    pub fn restore(config: EngineConfig, references: Vec<Arc<Reference>>, state: EngineState) -> Result<Self, EngineError> {
        let mut engine = Self::new(config, references)?;
        let fault = |what: String| EngineError::Snapshot { what };
        let EngineState(version, salt, clients, history, models) = state;
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
        self.judges.iter().map(ModelJudge::status).collect()
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

impl EngineConfig {
    /// Checks ranges; the first fault is returned.
    pub fn check(&self) -> Result<(), EngineError> {
        let fault = |setting, what: &str| Err(EngineError::Setting { setting, what: what.to_owned() });
        if !(self.alarms_per_client_day > 1e-9 && self.alarms_per_client_day <= 0.1) {
            return fault("alarms_per_client_day", "must lie above 0.000000001 and at most 0.1");
        }
        if self.max_clients == 0 || self.max_clients > 50_000_000 {
            return fault("max_clients", "must lie between 1 and 50000000");
        }
        if self.max_history < 1024 || self.max_history > MAX_HISTORY {
            return fault("max_history", "must lie between 1024 and 67108864");
        }
        Ok(())
    }
}

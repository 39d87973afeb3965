//! The pure core: windows, signals and judging strung together. No clock, no I/O, no randomness of its own.
//!
//! The shell feeds it [`Input`]s in any order of event time within the allowed lateness and takes what it says from the
//! [`Outbox`]. The same input gives the same bytes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{EventTime, Query};
use crate::judge::{Family, FeatureDrift, Finding, Verdict};
use crate::reference::Reference;

/// Settings of the core; every bound on memory and on false alarms is here.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Stated rate of false alarms: expected false client alarms per client and day. The one knob of sensitivity.
    pub alarms_per_client_day: f64,
    /// How late an event may be, in seconds of event time, before it is only counted and audited.
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
    /// Behind the watermark by more than the allowed lateness: counted as late, still judged for evidence about its sender.
    Late,
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
    /// Largest information budget of a client or campaign.
    pub information_budget_ratio: f64,
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
    /// A setting out of range.
    #[error("engine.{setting}: {what}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// What is wrong.
        what: String,
    },
}

/// The core.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    references: Vec<Arc<Reference>>,
}

// === impl Engine ===

impl Engine {
    /// An engine for the models of `references`.
    pub fn new(config: EngineConfig, references: Vec<Arc<Reference>>) -> Result<Self, EngineError> {
        Ok(Self { config, references })
    }

    /// Takes one input and writes what follows from it to `out`.
    pub fn step(&mut self, input: Input<'_>, out: &mut Outbox) {
        out.gap_seconds = None;
        if let Input::Query(query) = input {
            let known = self.references.iter().any(|r| r.model == query.model);
            out.disposition = if known { Disposition::Accepted } else { Disposition::UnknownModel };
        }
    }

    /// State of every model, in order of name.
    pub fn status(&self) -> Vec<ModelStatus> {
        Vec::new()
    }

    /// The settings in force.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Feature names of a family of statistics shown in verdicts; kept for pages that explain them.
    pub fn families() -> [Family; 9] {
        Family::ALL
    }
}

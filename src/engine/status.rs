//! What the engine shows besides verdicts: the state of each model.

use std::collections::BTreeMap;

use serde::Serialize;

use super::judged::Judged;
use crate::event::EventTime;
use crate::judge::information_budget::InformationBudget;
use crate::judge::{ColumnChange, FeatureDrift, Finding};

/// How a feature is written over the last hour.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct ColumnStatus {
    /// Feature name.
    pub name: String,
    /// Share of the queries without a value, 0 to 1.
    pub missing: f64,
    /// Share of the queries with a value that the reference does not know: unseen, of the wrong kind, or beyond its range.
    pub unseen: f64,
    /// Whether many callers write it as the reference does not know.
    pub changed: bool,
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
    /// Finding on the model that was reported last; `None` while it is undetermined: nothing was found, and no drift test was made.
    pub verdict: Option<Finding>,
    /// What was really judged, and what is missing.
    pub judged: Judged,
    /// Clients currently flagged as probing, by family.
    pub flagged: BTreeMap<&'static str, u64>,
    /// Share of the records of the last hours that could not be read.
    pub unreadable_ratio: f64,
    /// The largest such share of a caller with at least [`crate::judge::unreadable::MIN_RECORDS`] records.
    pub rejected_by_client_max_ratio: f64,
    /// Callers that are suspicious now because most of their records cannot be read.
    pub unreadable_clients: u64,
    /// Callers that are suspicious now because they ask far more than others.
    pub volume_clients: u64,
    /// Active campaigns.
    pub campaigns: u64,
    /// 95th percentile over clients of queries per hour in the sliding window.
    pub client_rate_p95: f64,
    /// Entropy of the window's features over that of the reference, mean over features.
    pub feature_entropy_ratio: f64,
    /// Largest information budget of a caller, an account or a campaign: distinct rows over d + 1.
    pub information_budget_ratio: f64,
    /// The largest information budgets, largest first, at most [`crate::judge::information_budget::LISTED`].
    pub information_budgets: Vec<InformationBudget>,
    /// How each feature is written, in schema order.
    pub columns: Vec<ColumnStatus>,
    /// Columns that many callers write as the reference does not know.
    pub column_changes: Vec<ColumnChange>,
    /// Drift by feature, in schema order.
    pub features: Vec<FeatureDrift>,
    /// Drift of the model's answers.
    pub prediction: Option<FeatureDrift>,
}

//! The summary of a replay as one JSON object, for scripts: what was found, and whether it was judged at all.

use serde::Serialize;

use super::summary::{ModelSummary, Summary};
use crate::engine::Judged;
use crate::judge::{At, Family};
use crate::reference::mismatch::Mismatch;

/// A replay.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SummaryDocument {
    /// Version of the program.
    pub version: &'static str,
    /// Records read.
    pub records: u64,
    /// Records that count in the windows.
    pub accepted: u64,
    /// Records that came late.
    pub late: u64,
    /// Records that could not be used.
    pub rejected: u64,
    /// Earliest event time; left out if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<At>,
    /// Latest event time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<At>,
    /// Whether every model was judged.
    pub judged: bool,
    /// The models, by name.
    pub models: Vec<ModelDocument>,
}

/// One model.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ModelDocument {
    /// Its name.
    pub model: String,
    /// `stable`, `drift`, `probing`, `drift+probing`, or `undetermined`.
    pub verdict: &'static str,
    /// Queries, late ones included.
    pub queries: u64,
    /// Queries that came late.
    pub late: u64,
    /// Callers found probing.
    pub probing_callers: u64,
    /// Callers that were suspicious, and no more, because they asked far more than others.
    pub volume_callers: u64,
    /// What was not judged and what it needs, in sentences.
    pub open: Vec<String>,
    /// The same in numbers; left out without a status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judged: Option<Judged>,
    /// Where log and reference differ.
    pub mismatches: Vec<Mismatch>,
}

// === impl SummaryDocument ===

impl SummaryDocument {
    /// The document of a summary.
    pub fn of(summary: &Summary) -> Self {
        let models: Vec<ModelDocument> = summary.models().iter().map(ModelDocument::of).collect();
        let span = summary.span();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            records: summary.messages(),
            accepted: summary.accepted,
            late: summary.late,
            rejected: summary.rejections(),
            from: span.map(|span| At(span.0)),
            to: span.map(|span| At(span.1)),
            judged: summary.models().iter().all(|model| model.answer().is_judged()),
            models,
        }
    }
}

// === impl ModelDocument ===

impl ModelDocument {
    fn of(model: &ModelSummary) -> Self {
        let answer = model.answer();
        Self {
            model: model.model.clone(),
            verdict: answer.name,
            queries: model.accepted + model.late,
            late: model.late,
            probing_callers: model.history.probing().count() as u64,
            volume_callers: model.history.suspicious_of(Family::Volume).count() as u64,
            open: answer.open,
            judged: model.status.as_ref().map(|status| status.judged.clone()),
            mismatches: model.mismatches(),
        }
    }
}

//! The summary of a replay as one JSON object, for scripts: what was found, and whether it was judged at all.

use serde::Serialize;

use super::activity::Seen;
use super::summary::{ModelSummary, Summary};
use super::verdict_history::Subject;
use crate::engine::Judged;
use crate::judge::{At, Family, Finding, SignalValue};
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
    /// Its earliest event time; left out if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<At>,
    /// Its latest event time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<At>,
    /// When drift was first found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift_since: Option<At>,
    /// When probing was first found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probing_since: Option<At>,
    /// Callers that were suspicious or found probing, those found probing first, the strongest evidence first.
    pub callers: Vec<SubjectDocument>,
    /// Campaigns, in the same order.
    pub campaigns: Vec<SubjectDocument>,
    /// Callers, campaigns and changes beyond what is kept; the verdict file has them all.
    pub left_out: u64,
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

/// A caller or a campaign.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SubjectDocument {
    /// Its address, if the verdict speaks of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    /// Its prefix, if the verdict speaks of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_prefix: Option<String>,
    /// Its account, if the verdict speaks of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// The strongest verdict on it.
    pub verdict: Finding,
    /// The latest verdict on it.
    pub latest: Finding,
    /// Shape of the probing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// MITRE ATLAS techniques.
    pub technique: &'static [&'static str],
    /// 0 to 1.
    pub confidence: f64,
    /// When the verdict was given.
    pub at: At,
    /// Event time of the first query that counts as evidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<At>,
    /// Queries up to the verdict.
    pub queries_seen: u64,
    /// Queries in the whole log; left out if they were not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queries: Option<u64>,
    /// Its first query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<At>,
    /// Its last query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<At>,
    /// Whether it asked within the last hour of the log.
    pub still_active: bool,
    /// The addresses of a campaign.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// Why, heaviest first.
    pub evidence: Vec<SignalValue>,
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
            from: model.span.map(|span| At(span.0)),
            to: model.span.map(|span| At(span.1)),
            drift_since: model.history.since(Finding::Drift).map(At),
            probing_since: model.history.since(Finding::Probing).map(At),
            callers: SubjectDocument::sorted(model.history.callers.iter().map(|(caller, subject)| {
                let seen = model.activity.of(caller);
                SubjectDocument {
                    source_ip: caller.source_ip.clone(),
                    source_prefix: caller.source_prefix.clone(),
                    client_id: caller.client_id.clone(),
                    ..SubjectDocument::of(model, subject, seen)
                }
            })),
            campaigns: SubjectDocument::sorted(
                model
                    .history
                    .campaigns
                    .values()
                    .map(|subject| SubjectDocument::of(model, subject, model.activity.of_members(&subject.members))),
            ),
            left_out: model.history.left_out,
            probing_callers: model.history.probing().count() as u64,
            volume_callers: model.history.suspicious_of(Family::Volume).count() as u64,
            open: answer.open,
            judged: model.status.as_ref().map(|status| status.judged.clone()),
            mismatches: model.mismatches(),
        }
    }
}

// === impl SubjectDocument ===

impl SubjectDocument {
    fn of(model: &ModelSummary, subject: &Subject, seen: Option<Seen>) -> Self {
        Self {
            source_ip: None,
            source_prefix: None,
            client_id: None,
            case: subject.case.clone(),
            verdict: subject.verdict,
            latest: subject.latest,
            family: subject.family,
            technique: subject.technique,
            confidence: subject.confidence,
            at: At(subject.at),
            since: subject.since.map(At),
            queries_seen: subject.queries_seen,
            queries: seen.map(|seen| seen.queries),
            first_seen: seen.map(|seen| At(seen.first)),
            last_seen: seen.map(|seen| At(seen.last)),
            still_active: seen.is_some_and(|seen| model.activity.is_active(&seen)),
            members: subject.members.clone(),
            evidence: subject.signals.clone(),
        }
    }

    fn sorted(all: impl Iterator<Item = Self>) -> Vec<Self> {
        let weight = |one: &Self| one.evidence.iter().map(|signal| signal.evidence).sum::<f64>();
        let mut all: Vec<Self> = all.collect();
        all.sort_by(|a, b| b.verdict.cmp(&a.verdict).then_with(|| weight(b).total_cmp(&weight(a))));
        all
    }
}

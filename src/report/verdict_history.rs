//! The verdicts of a replay by model: the course of the model's own verdict, and the strongest verdict on each caller and
//! campaign.
//!
//! Memory is bounded, so that a log in which everybody is accused still gives a page that opens. What is left out is counted.

use std::collections::BTreeMap;

use crate::event::EventTime;
use crate::judge::caller::Caller;
use crate::judge::{ColumnChange, Family, FeatureDrift, Finding, QueryRef, Scope, SignalValue, Verdict};

/// Callers, and campaigns, kept for each model. Chosen: more than a person reads, while 2,000 subjects with a few kilobytes of
/// reasons and queries each stay below 20 MB. The verdict file has them all.
pub const MAX_SUBJECTS: usize = 2_000;
/// Changes of the model's verdict kept, at 16 bytes each. The verdict changes a few times a day at most, so this is years of a
/// log; the bound is for a log that makes it change on purpose.
const MAX_CHANGES: usize = 5_000;

/// Every verdict on one model and its callers.
#[derive(Clone, Debug, Default)]
pub struct VerdictHistory {
    /// Changes of the model's verdict, in order of event time.
    pub changes: Vec<Change>,
    /// Callers that were at least suspicious at some time.
    pub callers: BTreeMap<Caller, Subject>,
    /// Campaigns, by case.
    pub campaigns: BTreeMap<String, Subject>,
    /// Features that drifted at some time, with the values when the index was highest.
    pub drifted: BTreeMap<String, Drifted>,
    /// Columns that many callers wrote as the reference does not know, with the largest share of callers.
    pub columns: BTreeMap<String, ColumnChange>,
    /// Signals of the first verdict that spoke of drift: what kind of change it was.
    pub change: Vec<SignalValue>,
    /// Subjects and changes beyond the bounds.
    pub left_out: u64,
}

/// A change of the model's verdict.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// When.
    pub at: EventTime,
    /// To what.
    pub verdict: Finding,
}

/// A caller or a campaign, with the strongest verdict on it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The strongest verdict.
    pub verdict: Finding,
    /// The latest verdict.
    pub latest: Finding,
    /// When the strongest verdict was first given.
    pub at: EventTime,
    /// Event time of the first query that counts as evidence.
    pub since: Option<EventTime>,
    /// Shape of the probing.
    pub family: Option<Family>,
    /// MITRE ATLAS techniques.
    pub technique: &'static [&'static str],
    /// OWASP ML Top 10 entry.
    pub owasp: Option<&'static str>,
    /// 0 to 1.
    pub confidence: f64,
    /// Case that groups the incident.
    pub case: Option<String>,
    /// Queries up to the verdict.
    pub queries_seen: u64,
    /// Addresses of a campaign.
    pub members: Vec<String>,
    /// What the rows of a campaign have in common, if it is a crowd.
    pub features: Vec<FeatureDrift>,
    /// Why, heaviest first.
    pub signals: Vec<SignalValue>,
    /// The queries that led there.
    pub queries: Vec<QueryRef>,
}

/// A feature that drifted.
#[derive(Clone, Debug)]
pub struct Drifted {
    /// When the model's verdict first named it.
    pub since: EventTime,
    /// Its values when the index was highest.
    pub worst: FeatureDrift,
}

// === impl VerdictHistory ===

impl VerdictHistory {
    /// Takes a verdict on this model or on somebody who asks it.
    pub fn take(&mut self, verdict: &Verdict) {
        match verdict.scope {
            Scope::Model => self.model(verdict),
            Scope::Client => {
                self.left_out += u64::from(!record(&mut self.callers, Caller::of(verdict), verdict));
            }
            Scope::Campaign => {
                let case = verdict.case.clone().unwrap_or_default();
                self.left_out += u64::from(!record(&mut self.campaigns, case, verdict));
            }
        }
    }

    fn model(&mut self, verdict: &Verdict) {
        let change = Change { at: verdict.at.0, verdict: verdict.verdict };
        match self.changes.last() {
            Some(last) if last.verdict == change.verdict => {}
            _ if self.changes.len() == MAX_CHANGES => self.left_out += 1,
            _ => self.changes.push(change),
        }
        if !matches!(verdict.verdict, Finding::Drift | Finding::DriftAndProbing) {
            return;
        }
        if self.change.is_empty() {
            self.change.clone_from(&verdict.signals);
        }
        self.columns(&verdict.columns);
        for feature in &verdict.features {
            let drifted = self.drifted.entry(feature.name.clone());
            let drifted = drifted.or_insert_with(|| Drifted { since: verdict.at.0, worst: feature.clone() });
            if feature.psi > drifted.worst.psi {
                drifted.worst = feature.clone();
            }
        }
    }

    /// Takes columns that many callers write as the reference does not know.
    pub fn columns(&mut self, changes: &[ColumnChange]) {
        for change in changes {
            let known = self.columns.entry(change.name.clone()).or_insert_with(|| change.clone());
            if change.callers > known.callers {
                *known = ColumnChange { since: known.since.min(change.since), ..change.clone() };
            } else if known.examples.is_empty() && known.kind == change.kind {
                known.examples.clone_from(&change.examples);
            }
        }
    }

    /// The finding over the whole log: drift and probing count if they were found at some time. `None` if no verdict was reached.
    pub fn finding(&self) -> Option<Finding> {
        let mut drift = false;
        let mut probing = self.probing().next().is_some() || self.probing_campaigns().next().is_some();
        for change in &self.changes {
            drift |= matches!(change.verdict, Finding::Drift | Finding::DriftAndProbing);
            probing |= matches!(change.verdict, Finding::Probing | Finding::DriftAndProbing);
        }
        match (drift, probing) {
            (false, false) => (!self.changes.is_empty()).then_some(Finding::Stable),
            (true, false) => Some(Finding::Drift),
            (false, true) => Some(Finding::Probing),
            (true, true) => Some(Finding::DriftAndProbing),
        }
    }

    /// Drifted features, those furthest beyond chance first.
    pub fn drifted_by_excess(&self) -> Vec<&Drifted> {
        // Before the first evaluation there is no critical value.
        let excess = |one: &Drifted| one.worst.psi / one.worst.critical.max(f64::EPSILON);
        let mut drifted: Vec<&Drifted> = self.drifted.values().collect();
        drifted.sort_by(|a, b| excess(b).total_cmp(&excess(a)).then_with(|| a.worst.name.cmp(&b.worst.name)));
        drifted
    }

    /// Callers found probing, strongest evidence first.
    pub fn probing_by_evidence(&self) -> Vec<(&Caller, &Subject)> {
        let mut callers: Vec<_> = self.probing().collect();
        callers.sort_by(|a, b| b.1.weight().total_cmp(&a.1.weight()).then_with(|| a.0.cmp(b.0)));
        callers
    }

    /// Whether there may be more callers than are kept.
    pub fn callers_are_full(&self) -> bool {
        self.callers.len() == MAX_SUBJECTS
    }

    /// When the model's verdict was first `which` (drift or probing).
    pub fn since(&self, which: Finding) -> Option<EventTime> {
        let says = |change: &&Change| change.verdict == which || change.verdict == Finding::DriftAndProbing;
        self.changes.iter().find(says).map(|change| change.at)
    }

    /// Callers found probing, in the order of who they are.
    pub fn probing(&self) -> impl Iterator<Item = (&Caller, &Subject)> {
        self.callers.iter().filter(|(_, subject)| subject.verdict == Finding::Probing)
    }

    /// Campaigns found probing.
    pub fn probing_campaigns(&self) -> impl Iterator<Item = (&str, &Subject)> {
        let probing = |(_, subject): &(&String, &Subject)| subject.verdict == Finding::Probing;
        self.campaigns.iter().filter(probing).map(|(case, subject)| (case.as_str(), subject))
    }

    /// Callers that were suspicious with a family, and never more: their records cannot be read, or they ask far more than others.
    pub fn suspicious_of(&self, family: Family) -> impl Iterator<Item = (&Caller, &Subject)> {
        let matches = move |subject: &Subject| subject.verdict == Finding::Suspicious && subject.family == Some(family);
        self.callers.iter().filter(move |(_, subject)| matches(subject))
    }

    /// Callers that were suspicious and never more.
    pub fn suspicious(&self) -> usize {
        self.callers.values().filter(|subject| subject.verdict == Finding::Suspicious).count()
    }
}

/// Records a verdict on a caller or campaign in its table; false if the table is full.
fn record<K: Ord>(table: &mut BTreeMap<K, Subject>, key: K, verdict: &Verdict) -> bool {
    let full = table.len() == MAX_SUBJECTS;
    match table.entry(key) {
        std::collections::btree_map::Entry::Occupied(mut old) => {
            old.get_mut().take(verdict);
            true
        }
        // Benign without anything before it is no case.
        std::collections::btree_map::Entry::Vacant(_) if verdict.verdict == Finding::Benign => true,
        std::collections::btree_map::Entry::Vacant(_) if full => false,
        std::collections::btree_map::Entry::Vacant(new) => {
            new.insert(Subject::new(verdict));
            true
        }
    }
}

// === impl Subject ===

impl Subject {
    fn new(verdict: &Verdict) -> Self {
        Self {
            verdict: verdict.verdict,
            latest: verdict.verdict,
            at: verdict.at.0,
            since: verdict.since.map(|at| at.0),
            family: verdict.family,
            technique: verdict.technique,
            owasp: verdict.owasp,
            confidence: verdict.confidence.unwrap_or_default(),
            case: verdict.case.clone(),
            queries_seen: verdict.queries_seen,
            members: verdict.members.clone(),
            features: verdict.features.clone(),
            signals: verdict.signals.clone(),
            queries: verdict.queries.clone(),
        }
    }

    fn take(&mut self, verdict: &Verdict) {
        self.latest = verdict.verdict;
        let worse = verdict.verdict > self.verdict;
        let grown = verdict.verdict == self.verdict && verdict.members.len() > self.members.len();
        // A suspicion that has a name tells more than one that has none.
        let named = verdict.verdict == self.verdict && self.family.is_none() && verdict.family.is_some();
        if worse || named {
            *self = Self::new(verdict);
        } else if grown {
            // A campaign that was found earlier and has gained members.
            self.members.clone_from(&verdict.members);
            self.queries_seen = verdict.queries_seen;
            if !verdict.features.is_empty() {
                self.features.clone_from(&verdict.features);
                self.signals.clone_from(&verdict.signals);
            }
        }
    }

    /// The sum of the evidence, as a natural logarithm.
    pub fn weight(&self) -> f64 {
        self.signals.iter().map(|signal| signal.evidence).sum()
    }
}

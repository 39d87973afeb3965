//! Counts of a replay, what was said about each model, and the summary printed at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::ledger::{Ledger, Subject};
use super::{budget, words};
use crate::engine::ModelStatus;
use crate::event::{EventTime, Provenance, Query};
use crate::judge::{Finding, SignalValue, Verdict};
use crate::reference::Reference;
use crate::replay::Rejected;

/// Callers and campaigns listed in the terminal; the report and the verdict file have more.
const LISTED: usize = 10;
/// Drifted features listed in the terminal.
const LISTED_FEATURES: usize = 8;
/// Reasons given for a verdict: the heaviest few carry nearly all of the evidence.
const REASONS: usize = 2;
/// Callers whose reasons are given in the terminal; a campaign's callers all have the same.
const EXPLAINED: usize = 5;

/// What was read, used and refused.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Queries counted in the windows.
    pub accepted: u64,
    /// Queries behind the watermark.
    pub late: u64,
    models: Vec<ModelTally>,
    last: usize,
    rejected: BTreeMap<&'static str, (u64, Example)>,
    first: Option<&'static str>,
}

/// One model's part.
#[derive(Clone, Debug, Default)]
pub struct ModelTally {
    /// Model name.
    pub model: String,
    /// Queries counted in the windows.
    pub accepted: u64,
    /// Queries behind the watermark.
    pub late: u64,
    /// Earliest and latest event time.
    pub span: Option<(EventTime, EventTime)>,
    /// What was said.
    pub ledger: Ledger,
    /// The engine's state at the end, if it gave one.
    pub status: Option<ModelStatus>,
    /// Features of the reference that no event had a value for, yet.
    pub never_seen: Vec<String>,
    /// Position of each of [`ModelTally::never_seen`] in the schema.
    never_seen_at: Vec<usize>,
    /// Queries with features that the reference does not know.
    pub with_unknown_features: u64,
}

/// The first record of its kind.
#[derive(Clone, Debug)]
pub struct Example {
    /// Where it lies.
    pub provenance: Provenance,
    /// What is wrong with it.
    pub message: String,
}

// === impl Tally ===

impl Tally {
    /// A tally that shows the models of `references` even if nothing is logged about them.
    pub fn new(references: &[Arc<Reference>]) -> Self {
        let mut tally = Self::default();
        for reference in references {
            let model = tally.model(&reference.model);
            model.never_seen = reference.features.iter().map(|feature| feature.name.clone()).collect();
            model.never_seen_at = (0..reference.features.len()).collect();
        }
        tally.models.sort_by(|a, b| a.model.cmp(&b.model));
        tally
    }

    /// A query was counted.
    pub fn accepted(&mut self, query: &Query) {
        self.accepted += 1;
        let model = self.model(&query.model);
        model.accepted += 1;
        model.look_at(query);
    }

    /// A query came too late.
    pub fn late(&mut self, query: &Query) {
        self.late += 1;
        let model = self.model(&query.model);
        model.late += 1;
        model.look_at(query);
    }

    /// A record was refused.
    pub fn reject(&mut self, record: &Rejected<'_>) {
        self.first.get_or_insert(record.reason);
        let example = || Example { provenance: record.provenance, message: record.message.to_owned() };
        self.rejected.entry(record.reason).or_insert_with(|| (0, example())).0 += 1;
    }

    /// The engine said something.
    pub fn verdict(&mut self, verdict: &Verdict) {
        self.model(&verdict.model).ledger.take(verdict);
    }

    /// The engine's state at the end.
    pub fn status(&mut self, status: Vec<ModelStatus>) {
        for one in status {
            let model = self.model(&one.model);
            model.status = Some(one);
        }
    }

    /// Records refused for `reason`.
    pub fn rejected(&self, reason: &str) -> u64 {
        self.rejected.get(reason).map_or(0, |(count, _)| *count)
    }

    /// Records refused, by reason, with the first of each.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64, &Example)> {
        self.rejected.iter().map(|(reason, (count, example))| (*reason, *count, example))
    }

    /// Records refused for any reason.
    pub fn rejections(&self) -> u64 {
        self.rejected.values().map(|(count, _)| count).sum()
    }

    /// Everything that was read: used or refused.
    pub fn messages(&self) -> u64 {
        self.accepted + self.late + self.rejections()
    }

    /// Reason and example of the first refusal.
    pub fn first_rejection(&self) -> Option<(&'static str, &Example)> {
        let reason = self.first?;
        self.rejected.get(reason).map(|(_, example)| (reason, example))
    }

    /// The models, by name.
    pub fn models(&self) -> &[ModelTally] {
        &self.models
    }

    /// Earliest and latest event time of all.
    pub fn span(&self) -> Option<(EventTime, EventTime)> {
        let spans = || self.models.iter().filter_map(|model| model.span);
        Some((spans().map(|span| span.0).min()?, spans().map(|span| span.1).max()?))
    }

    /// The model called `name`; logs rarely change it from line to line.
    fn model(&mut self, name: &str) -> &mut ModelTally {
        if self.models.get(self.last).is_none_or(|model| model.model != name) {
            self.last = self.models.iter().position(|model| model.model == name).unwrap_or_else(|| {
                self.models.push(ModelTally { model: name.to_owned(), ..ModelTally::default() });
                self.models.len() - 1
            });
        }
        &mut self.models[self.last]
    }
}

// === impl ModelTally ===

impl ModelTally {
    fn look_at(&mut self, query: &Query) {
        let (first, last) = self.span.unwrap_or((query.time, query.time));
        self.span = Some((first.min(query.time), last.max(query.time)));
        self.with_unknown_features += u64::from(query.extra_features > 0);
        // Empty after the first few events, as a rule.
        let mut nth = 0;
        while let Some(&at) = self.never_seen_at.get(nth) {
            if query.row.get(at).is_some_and(|cell| !cell.is_missing()) {
                self.never_seen_at.remove(nth);
                self.never_seen.remove(nth);
            } else {
                nth += 1;
            }
        }
    }

    /// Whether events and reference speak of different features, in words; nothing if they agree.
    pub fn mismatch(&self) -> Option<String> {
        let mut said = Vec::new();
        if !self.never_seen.is_empty() {
            let names =
                self.never_seen.iter().take(LISTED_FEATURES).map(|name| words::printable(name, 40)).collect::<Vec<_>>().join(", ");
            let more = if self.never_seen.len() > LISTED_FEATURES { ", …" } else { "" };
            let features =
                words::counted(self.never_seen.len() as u64, "feature of the reference has", "features of the reference have");
            said.push(format!("{features} no value in any event: {names}{more}"));
        }
        if self.with_unknown_features > 0 {
            let events = words::counted(self.with_unknown_features, "event has", "events have");
            said.push(format!("{events} features that the reference does not know"));
        }
        (!said.is_empty()).then(|| said.join("; ") + ". Is it the right reference?")
    }

    /// How a drifted feature is to be read: does the drift vanish without the suspects' queries?
    pub fn reading(drift: &crate::judge::FeatureDrift) -> &'static str {
        match (drift.psi > drift.critical, drift.psi_without_suspects > drift.critical) {
            (true, true) => "the world changed",
            (true, false) => "vanishes without the suspects",
            (false, _) => "within chance",
        }
    }
}

// === impl Display ===

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.span() {
            Some((first, last)) => {
                writeln!(f, "{} events, {} to {} UTC", words::count(self.messages()), words::minute(first), words::minute(last))?;
            }
            None if self.messages() == 0 => writeln!(f, "the log is empty: no events")?,
            None => writeln!(f, "{} events, none of them usable", words::count(self.messages()))?,
        }
        let [accepted, late, rejected] = [self.accepted, self.late, self.rejections()].map(words::count);
        writeln!(f, "  accepted {accepted}, late {late}, rejected {rejected}")?;
        for (reason, count, example) in self.refusals() {
            let message = words::printable(&example.message, 120);
            writeln!(f, "    {:>9}  {reason}, first in line {}: {message}", words::count(count), example.provenance.offset + 1)?;
        }
        self.models.iter().try_for_each(|model| write!(f, "\n{model}"))
    }
}

impl fmt::Display for ModelTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, accepted, late, ledger, status, .. } = self;
        if accepted + late == 0 {
            return writeln!(f, "{}: no queries", words::printable(model, 80));
        }
        let finding = ledger.finding();
        let word = finding.name().to_uppercase().replace('+', " + ");
        writeln!(f, "{}: {word}. {}.", words::printable(model, 80), words::headline(finding))?;
        let callers = status.as_ref().map_or(0, |status| status.clients + status.evicted_clients);
        let from = if callers > 0 { format!(" from {}", words::counted(callers, "caller", "callers")) } else { String::new() };
        writeln!(f, "  traffic    {}{from}", words::counted(accepted + late, "query", "queries"))?;
        for (which, label) in [(Finding::Probing, "probing"), (Finding::Drift, "drift")] {
            if let Some(since) = ledger.since(which) {
                writeln!(f, "  {label:<10} seen from {} UTC on", words::minute(since))?;
            }
        }
        if let Some(change) = words::change(&ledger.change) {
            writeln!(f, "  change     {change}")?;
        }
        if let Some(mismatch) = self.mismatch() {
            writeln!(f, "  note       {mismatch}")?;
        }
        self.write_campaigns(f)?;
        self.write_callers(f)?;
        budget::line(self, f)?;
        self.write_drift(f)
    }
}

impl ModelTally {
    fn write_callers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ledger = &self.ledger;
        let mut callers: Vec<_> = ledger.probing().collect();
        callers.sort_by(|a, b| b.1.weight().total_cmp(&a.1.weight()).then_with(|| a.0.cmp(b.0)));
        let suspicious = match ledger.suspicious() {
            0 => String::new(),
            number => format!("; {number} more were suspicious for a while"),
        };
        writeln!(f, "  who        {} found probing{suspicious}", words::counted(callers.len() as u64, "caller", "callers"))?;
        let names: Vec<String> = callers.iter().take(LISTED).map(|(caller, _)| words::printable(&caller.to_string(), 60)).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
        for (nth, (name, (_, subject))) in names.iter().zip(&callers).enumerate() {
            writeln!(f, "    {name:<width$}  {}", line(subject))?;
            let why = reasons(&subject.signals);
            if nth < EXPLAINED && !why.is_empty() {
                writeln!(f, "    {:width$}  because: {why}", "")?;
            }
        }
        more(f, callers.len())
    }

    fn write_campaigns(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let campaigns: Vec<_> = self.ledger.probing_campaigns().collect();
        if campaigns.is_empty() {
            return Ok(());
        }
        let together = words::counted(campaigns.len() as u64, "group", "groups");
        writeln!(f, "  campaigns  {together} of callers whose queries belong together")?;
        for (case, subject) in campaigns.iter().take(LISTED) {
            let members = words::counted(subject.members.len() as u64, "address", "addresses");
            writeln!(f, "    {}  {members}, {}", words::printable(case, 60), line(subject))?;
        }
        more(f, campaigns.len())
    }

    fn write_drift(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut drifted: Vec<_> = self.ledger.drifted.values().collect();
        if drifted.is_empty() {
            return Ok(());
        }
        drifted.sort_by(|a, b| (b.worst.psi / b.worst.critical.max(1e-9)).total_cmp(&(a.worst.psi / a.worst.critical.max(1e-9))));
        writeln!(
            f,
            "  shifted    {} (PSI: how far the values moved from the reference)",
            words::counted(drifted.len() as u64, "feature", "features")
        )?;
        let names: Vec<String> = drifted.iter().take(LISTED_FEATURES).map(|one| words::printable(&one.worst.name, 40)).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default().max(7);
        writeln!(f, "    {:<width$}  {:>8}  {:>12}  {:>17}", "feature", "PSI", "chance up to", "without suspects")?;
        for (name, one) in names.iter().zip(&drifted) {
            let [psi, critical, without] = [one.worst.psi, one.worst.critical, one.worst.psi_without_suspects].map(words::measured);
            writeln!(f, "    {name:<width$}  {psi:>8}  {critical:>12}  {without:>17}  {}", Self::reading(&one.worst))?;
        }
        match drifted.len().saturating_sub(LISTED_FEATURES) {
            0 => Ok(()),
            rest => writeln!(f, "    and {rest} more"),
        }
    }
}

fn more(f: &mut fmt::Formatter<'_>, all: usize) -> fmt::Result {
    match all.saturating_sub(LISTED) {
        0 => Ok(()),
        rest => writeln!(f, "    and {} more (see --verdicts or --report)", words::count(rest as u64)),
    }
}

fn line(subject: &Subject) -> String {
    let family = subject.family.map_or("", words::family);
    let since = words::minute(subject.since.unwrap_or(subject.at));
    let queries = words::counted(subject.queries_seen, "query", "queries");
    format!("{family}, {} sure after {queries}, since {since}", words::percent(subject.confidence))
}

/// The heaviest reasons, in words; the numbers are in the report and in the verdicts.
fn reasons(signals: &[SignalValue]) -> String {
    let heavy = signals.iter().filter(|signal| signal.evidence > 0.0).take(REASONS);
    heavy.map(|signal| words::reason(signal.name)).collect::<Vec<_>>().join("; ")
}

//! The lines that a replay prints at its end: a [`Summary`] in words for a terminal.

use std::fmt;

use super::activity::Seen;
use super::budget;
use super::summary::{LISTED_FEATURES, ModelSummary, Summary};
use super::verdict_history::Subject;
use crate::html::words;
use crate::judge::{Family, Finding, SignalValue};

/// Callers and campaigns listed, so that a model's lines fit a screen; the report and the verdict file have more.
const LISTED: usize = 10;
/// Reasons given for a verdict, so that they fit one line; the heaviest carry most of the evidence.
const REASONS: usize = 2;
/// Callers whose reasons are given; the callers of a campaign share theirs, so more would repeat them.
const EXPLAINED: usize = 5;
/// Characters of the reason why reading stopped: a sentence with the name of a file.
const MAX_STOP: usize = 400;

// === impl Display ===

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.span() {
            Some((first, last)) => {
                writeln!(f, "{} events, {} to {} UTC", words::count(self.messages()), words::minute(first), words::minute(last))?;
            }
            None if self.messages() == 0 => writeln!(f, "the log is empty: no events")?,
            None => writeln!(f, "{} events were read, none of them usable", words::count(self.messages()))?,
        }
        if let Some(why) = &self.stopped {
            let read = words::counted(self.messages(), "event", "events");
            writeln!(f, "  reading stopped after {read}: {}", words::printable(why, MAX_STOP))?;
        }
        let [accepted, late, rejected] = [self.accepted, self.late, self.rejections()].map(words::count);
        writeln!(f, "  accepted {accepted}, late {late}, rejected {rejected}")?;
        for (reason, count, example) in self.refusals() {
            let message = words::printable(&example.message, 120);
            writeln!(f, "    {:>9}  {reason}, first in line {}: {message}", words::count(count), example.provenance.offset + 1)?;
        }
        if self.repairs().next().is_some() {
            writeln!(f, "  used with one field less (docs/bad-records.md)")?;
        }
        for (repair, count, first) in self.repairs() {
            let (field, fault, line) = (repair.field(), repair.fault(), first.offset + 1);
            writeln!(f, "    {:>9}  {field} {fault}, first in line {line}: {}", words::count(count), repair.instead())?;
        }
        self.models().iter().try_for_each(|model| write!(f, "\n{model}"))
    }
}

impl fmt::Display for ModelSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, accepted, late, history, status, .. } = self;
        if accepted + late == 0 {
            return writeln!(f, "{}: no queries", words::printable(model, 80));
        }
        let answer = self.answer();
        writeln!(f, "{}: {}. {}.", words::printable(model, 80), answer.word, answer.headline)?;
        answer.open.iter().try_for_each(|open| writeln!(f, "  open       {open}"))?;
        let callers = status.as_ref().map_or(0, |status| status.clients + status.evicted_clients);
        let from = if callers > 0 { format!(" from {}", words::counted(callers, "caller", "callers")) } else { String::new() };
        writeln!(f, "  traffic    {}{from}", words::counted(accepted + late, "query", "queries"))?;
        for (which, label) in [(Finding::Probing, "probing"), (Finding::Drift, "drift")] {
            if let Some(since) = history.since(which) {
                writeln!(f, "  {label:<10} seen from {} UTC on", words::minute(since))?;
            }
        }
        if let Some(change) = words::change(&history.change) {
            writeln!(f, "  change     {change}")?;
        }
        for mismatch in self.mismatch_sentences().into_iter().take(LISTED) {
            writeln!(f, "  mismatch   {mismatch}")?;
        }
        if let Some(late) = self.late_note() {
            writeln!(f, "  note       {late}")?;
        }
        self.write_columns(f)?;
        self.write_campaigns(f)?;
        self.write_callers(f)?;
        budget::line(self, f)?;
        self.write_drift(f)
    }
}

impl ModelSummary {
    fn write_columns(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = &self.history.columns;
        for (nth, change) in columns.values().take(LISTED_FEATURES).enumerate() {
            let label = if nth == 0 { "pipeline" } else { "" };
            writeln!(f, "  {label:<10} {}", words::column_change(change))?;
        }
        match columns.len().saturating_sub(LISTED_FEATURES) {
            0 if columns.is_empty() => Ok(()),
            0 => writeln!(f, "  {:<10} look at the pipeline first: a release, a unit, a default, a spelling", ""),
            rest => writeln!(f, "  {:<10} and {rest} more columns; look at the pipeline first", ""),
        }
    }

    fn write_callers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.has_no_callers() {
            return writeln!(f, "  who        nobody can be named: no record says who asked");
        }
        let history = &self.history;
        let callers = history.probing_by_evidence();
        let suspicious = match history.suspicious() {
            0 => String::new(),
            number => format!("; {number} more were suspicious for a while"),
        };
        let least = if history.callers_are_full() { "at least " } else { "" };
        writeln!(f, "  who        {least}{} found probing{suspicious}", words::counted(callers.len() as u64, "caller", "callers"))?;
        let names: Vec<String> = callers.iter().take(LISTED).map(|(caller, _)| words::printable(&caller.to_string(), 60)).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
        for (nth, (name, (caller, subject))) in names.iter().zip(&callers).enumerate() {
            writeln!(f, "    {name:<width$}  {}", subject_line(subject))?;
            let why = reasons(&subject.signals);
            if nth < EXPLAINED && !why.is_empty() {
                writeln!(f, "    {:width$}  because: {why}", "")?;
            }
            if let Some(seen) = self.activity.of(caller).filter(|_| nth < EXPLAINED) {
                writeln!(f, "    {:width$}  in all: {}", "", self.seen_line(&seen))?;
            }
        }
        more(f, callers.len())?;
        self.write_hidden(f)?;
        self.write_volume(f)
    }

    fn seen_line(&self, seen: &Seen) -> String {
        let queries = words::counted(seen.queries, "query", "queries");
        let active = if self.activity.is_active(seen) { ", still active at the end of the log" } else { "" };
        format!("{queries}, {} to {} UTC{active}", words::minute(seen.first), words::minute(seen.last))
    }

    fn write_hidden(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden: Vec<_> = self.history.suspicious_of(Family::Unreadable).collect();
        if hidden.is_empty() {
            return Ok(());
        }
        let number = words::counted(hidden.len() as u64, "caller leaves", "callers leave");
        writeln!(f, "  hidden     {number} records that cannot be read: broken, or hiding")?;
        for (caller, subject) in hidden.iter().take(LISTED) {
            let name = words::printable(&caller.to_string(), 60);
            let share = subject.signals.first().map_or(0.0, |signal| signal.value);
            let records = words::counted(subject.queries_seen, "record", "records");
            writeln!(
                f,
                "    {name}  {} of {records}, from {} UTC on",
                words::percent(share),
                words::minute(subject.since.unwrap_or(subject.at))
            )?;
        }
        more(f, hidden.len())
    }

    fn write_volume(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let busy: Vec<_> = self.history.suspicious_of(Family::Volume).collect();
        if busy.is_empty() {
            return Ok(());
        }
        let number = words::counted(busy.len() as u64, "caller asks", "callers ask");
        writeln!(f, "  volume     {number} far more than others: an unannounced job, or a copy of the model (no accusation)")?;
        for (caller, subject) in busy.iter().take(LISTED) {
            let name = words::printable(&caller.to_string(), 60);
            let minute = words::minute(subject.since.unwrap_or(subject.at));
            writeln!(f, "    {name}  {}, from {minute} UTC on", words::volume(&subject.signals))?;
        }
        more(f, busy.len())
    }

    fn write_campaigns(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let campaigns: Vec<_> = self.history.probing_campaigns().collect();
        if campaigns.is_empty() {
            return Ok(());
        }
        let together = words::counted(campaigns.len() as u64, "group", "groups");
        writeln!(f, "  campaigns  {together} of callers whose queries belong together")?;
        for (case, subject) in campaigns.iter().take(LISTED) {
            let members = words::addresses(&subject.signals, subject.members.len(), subject.queries_seen);
            let case = words::printable(case, 60);
            writeln!(f, "    {case}  {members}, {}", subject_line(subject))?;
            if let Some(seen) = self.activity.of_members(&subject.members) {
                writeln!(f, "    {:width$}  in all: {}", "", self.seen_line(&seen), width = case.chars().count())?;
            }
            if let Some(common) = words::in_common(&subject.features) {
                writeln!(f, "    {:width$}  {common}", "", width = case.chars().count())?;
            }
        }
        more(f, campaigns.len())
    }

    fn write_drift(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drifted = self.history.drifted_by_excess();
        if drifted.is_empty() {
            return Ok(());
        }
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
            writeln!(f, "    {name:<width$}  {psi:>8}  {critical:>12}  {without:>17}  {}", words::drift_reading(&one.worst))?;
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

fn subject_line(subject: &Subject) -> String {
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

//! One case of the report: who, what, why, and the very queries that led there.

use maud::{Markup, html};

use super::ledger::Subject;
use super::sample::Sample;
use super::words;
use crate::event::{Cell, Prediction};
use crate::judge::{QueryRef, SignalValue};
use crate::reference::{Feature, Kind};

/// Queries listed.
const MAX_QUERIES: usize = 40;
/// Columns of feature values; those that vary come first.
const MAX_COLUMNS: usize = 12;
/// Members of a campaign listed.
const MAX_MEMBERS: usize = 400;

/// The card of a case.
pub fn draw(who: &str, subject: &Subject, sample: &Sample) -> Markup {
    html! {
        article.card.case id=(anchor(who)) {
            header {
                h4 { (words::printable(who, 100)) }
                @if let Some(family) = subject.family { span.chip.hot { (words::family(family)) } }
                span.chip { (words::percent(subject.confidence)) " sure" }
                span.chip { "since " (words::moment(subject.since.unwrap_or(subject.at))) " UTC" }
                span.chip { "found after " (words::counted(subject.queries_seen, "query", "queries")) }
                @if !subject.members.is_empty() { span.chip { (words::counted(subject.members.len() as u64, "address", "addresses")) } }
                @if subject.latest < subject.verdict { span.chip { "later " (subject.latest.name()) } }
            }
            p.note {
                @if let Some(family) = subject.family {
                    @let does = words::family_explained(family);
                    (if subject.members.is_empty() { "This caller " } else { "Together, these callers show somebody who " }) (does) ". "
                }
                "Found at " (words::moment(subject.at)) " UTC"
                @if let Some(case) = &subject.case { ", case " span.mono { (words::printable(case, 60)) } }
                @for technique in subject.technique { ", " span.mono { (technique) } }
                @if let Some(owasp) = subject.owasp { ", " span.mono { (owasp) } }
                "."
            }
            (reasons(&subject.signals))
            @if !subject.members.is_empty() {
                details {
                    summary { "Its addresses" }
                    p.mono { @for member in subject.members.iter().take(MAX_MEMBERS) { (words::printable(member, 60)) " " } }
                    @if subject.members.len() > MAX_MEMBERS { p.note { (subject.members.len() - MAX_MEMBERS) " more are in the file of --verdicts." } }
                }
            }
            @if !subject.queries.is_empty() { (queries(&subject.queries, sample)) }
        }
    }
}

/// The place of a case in the page: any text as a name that is safe in a link.
pub fn anchor(who: &str) -> String {
    format!("c{:016x}", crate::hash::text(who))
}

/// What speaks against the caller, heaviest first, and what else was measured.
fn reasons(signals: &[SignalValue]) -> Markup {
    let most = signals.iter().map(|signal| signal.evidence).fold(1.0, f64::max);
    let (heavy, light): (Vec<_>, Vec<_>) = signals.iter().partition(|signal| signal.evidence > 0.0);
    html! {
        @if !heavy.is_empty() {
            div.scroll {
                table {
                    thead { tr { th { "why" } th.n { "measured" } th.n { "usually" } th.n { "evidence" } th style="width:24%" {} } }
                    tbody {
                        @for signal in heavy {
                            tr {
                                td { (words::signal(signal.name)) }
                                td.n { (words::measured(signal.value)) }
                                td.n { (words::measured(signal.reference)) }
                                td.n { (words::measured(signal.evidence)) }
                                td { (evidence(signal.evidence, most)) }
                            }
                        }
                    }
                }
            }
        }
        @if !light.is_empty() {
            p.note {
                "Also measured, without weight: "
                @for (nth, signal) in light.iter().enumerate() {
                    @if nth > 0 { "; " }
                    (words::signal(signal.name)) " " (words::measured(signal.value))
                    // Zero stands for "nothing to compare with".
                    @if signal.reference.abs() > 0.0 { " (usually " (words::measured(signal.reference)) ")" }
                }
                "."
            }
        }
    }
}

/// A bar for a statistic's evidence.
fn evidence(value: f64, most: f64) -> Markup {
    let width = (value / most).clamp(0.0, 1.0) * 100.0;
    html! {
        svg viewBox="0 0 100 8" preserveAspectRatio="none" style="height:8px;margin-top:6px" aria-hidden="true" {
            rect width="100" height="8" fill="var(--faint)" {}
            rect width=(format!("{width:.1}")) height="8" fill="var(--suspect)" {}
        }
    }
}

/// PSI as a bar, what chance explains as a tick, and what is left without the suspects as a hollow mark.
pub fn gauge(psi: f64, critical: f64, without: f64, most: f64) -> Markup {
    let x = |value: f64| format!("{:.1}", (value / most).clamp(0.0, 1.0) * 292.0 + 4.0);
    let label = format!(
        "PSI {}, chance up to {}, without suspects {}",
        words::measured(psi),
        words::measured(critical),
        words::measured(without)
    );
    html! {
        svg viewBox="0 0 300 16" role="img" aria-label=(label) {
            title { (label) }
            line x1="4" y1="8" x2="296" y2="8" stroke="var(--faint)" stroke-width="6" {}
            line x1="4" y1="8" x2=(x(psi)) y2="8" stroke="var(--drift)" stroke-width="6" {}
            line x1=(x(critical)) y1="1" x2=(x(critical)) y2="15" stroke="var(--ink)" stroke-width="1.6" {}
            circle cx=(x(without)) cy="8" r="4.5" fill="var(--card)" stroke="var(--ink)" stroke-width="1.6" {}
        }
    }
}

/// The queries with their values, each marked where it differs from the one before.
fn queries(refs: &[QueryRef], sample: &Sample) -> Markup {
    let kept = sample.find(&refs.iter().map(|query| query.provenance.clone()).collect::<Vec<_>>());
    let shown: Vec<_> = refs.iter().take(MAX_QUERIES).map(|query| (query, kept.get(&query.provenance))).collect();
    let rows: Vec<&Vec<Cell>> = shown.iter().filter_map(|(_, row)| row.map(|(_, cells)| cells)).collect();
    let features = &sample.reference().features;
    let varies = |at: usize| rows.windows(2).any(|pair| pair[0][at].bits() != pair[1][at].bits());
    let mut columns: Vec<usize> = (0..features.len()).filter(|&at| varies(at)).collect();
    let varying = columns.len();
    columns.truncate(MAX_COLUMNS);
    let still = rows.first().filter(|_| varying < features.len());
    let mut before: Option<&Vec<Cell>> = None;
    let lines: Vec<Markup> = shown
        .iter()
        .map(|(query, row)| {
            let drawn = html! {
                tr {
                    td.t { (words::moment(query.at.0)) }
                    td.mono { (words::printable(&query.request_id, 24)) }
                    td.n { (query.provenance.offset + 1) @if query.provenance.row > 0 { "/" (query.provenance.row + 1) } }
                    @match row {
                        Some((row, cells)) => {
                            @for &at in &columns {
                                @let changed = before.is_some_and(|before| before[at].bits() != cells[at].bits());
                                td.changed[changed] { (value(&features[at], cells[at])) }
                            }
                            td { (answer(row.prediction, sample)) }
                        }
                        None => { td colspan=(columns.len() + 1) { "not kept in the sample" } }
                    }
                }
            };
            before = row.map(|(_, cells)| cells).or(before);
            drawn
        })
        .collect();
    html! {
        details {
            summary { "The " (words::counted(refs.len() as u64, "query that led here", "queries that led here")) }
            p.note {
                "A value is marked where it differs from the query before."
                @if varying > MAX_COLUMNS { " The first " (MAX_COLUMNS) " of " (varying) " features that vary are shown." }
                @if refs.len() > MAX_QUERIES { " The first " (MAX_QUERIES) " queries are shown." }
            }
            div.scroll {
                table {
                    thead { tr {
                        th { "time (UTC)" } th { "request" } th.n { "line" }
                        @for &at in &columns { th { (words::printable(&features[at].name, 24)) } }
                        th { "answer" }
                    } }
                    tbody { @for line in &lines { (line) } }
                }
            }
            @if let Some(cells) = still {
                p.note {
                    "The same in all of them: "
                    @for (nth, at) in (0..features.len()).filter(|&at| !varies(at)).take(40).enumerate() {
                        @if nth > 0 { ", " }
                        (words::printable(&features[at].name, 24)) " " (value(&features[at], cells[at]))
                    }
                    "."
                }
            }
        }
    }
}

/// A cell as the log had it.
fn value(feature: &Feature, cell: Cell) -> String {
    let number = cell.value();
    match feature.kind {
        _ if cell.is_missing() => "missing".to_owned(),
        _ if cell.is_unreadable() => "unreadable".to_owned(),
        Kind::Categorical => category(&feature.values, cell),
        _ => words::exact(number),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "category indices are small integers")]
fn category(values: &[String], cell: Cell) -> String {
    let known = (cell.value() >= 0.0).then(|| values.get(cell.value() as usize)).flatten();
    known.map_or_else(|| "(never seen)".to_owned(), |value| words::printable(value, 40))
}

fn answer(prediction: Prediction, sample: &Sample) -> String {
    let classes = &sample.reference().prediction.classes;
    match prediction {
        Prediction::Missing => "–".to_owned(),
        Prediction::Score(score) => words::exact(score),
        Prediction::Label(label) => category(classes, label),
        Prediction::Probabilities { top, probability, .. } => format!("{} {}", category(classes, top), words::percent(probability)),
    }
}

//! One case of the report: who, what, why, and the very queries that led there.

use maud::{Markup, html};

use super::sample::Sample;
use super::summary::ModelSummary;
use super::verdict_history::Subject;
use crate::event::{Cell, Prediction};
use crate::html::{svg, words};
use crate::judge::{QueryRef, SignalValue};
use crate::reference::{Feature, Kind};

/// Cases shown in full. Chosen: a case with its queries takes about 20 kB, so they stay below 1.5 MB; the verdict file has all.
const MAX_CASES: usize = 60;
/// Lines of the overview that are open: a screenful. A campaign of sixty must not push the pictures off the page.
const OPEN_LINES: usize = 12;
/// Cases that are open; the others are folded away, so that the page can be scrolled.
const OPEN_CASES: usize = 3;
/// Queries listed in a case: more than a verdict refers to, as a rule.
const MAX_QUERIES: usize = 40;
/// Columns of feature values, which is what fits the width of the page; those that vary come first.
const MAX_COLUMNS: usize = 12;
/// Members of a campaign listed, at about 14 bytes each.
const MAX_MEMBERS: usize = 400;
/// Features listed that are the same in all queries of a case.
const MAX_SAME: usize = 40;

/// Who was found: the overview, then the cases in full. Campaigns come first, then callers by evidence.
pub fn section(model: &ModelSummary, sample: &Sample) -> Markup {
    let history = &model.history;
    let campaigns: Vec<(&str, &Subject)> = history.probing_campaigns().collect();
    let callers = history.probing_by_evidence();
    let all = campaigns.len() + callers.len();
    if all == 0 && model.has_no_callers() {
        return html! { h3 { "Who was found" } p { "Nobody can be named: no record says who asked." } };
    }
    if all == 0 {
        return html! { h3 { "Who was found" } p { "Nobody. No caller gave enough evidence of probing." } };
    }
    let named = campaigns.iter().map(|(name, subject)| (format!("campaign {name}"), *subject));
    let named: Vec<(String, &Subject)> =
        named.chain(callers.iter().map(|(caller, subject)| (caller.to_string(), *subject))).collect();
    let shown = &named[..named.len().min(MAX_CASES)];
    let (open, folded) = shown.split_at(shown.len().min(OPEN_CASES));
    html! {
        h3 { "Who was found, and why" }
        (overview(shown))
        @if all > shown.len() { p.note { (words::counted((all - shown.len()) as u64, "more case is", "more cases are")) " in the file of --verdicts." } }
        p.lead.apart { "Each statistic is shown with what honest traffic usually shows, and with its evidence (7 is about one in a thousand by chance)." }
        @for (who, subject) in open { (draw(who, subject, sample)) }
        @if !folded.is_empty() {
            details {
                summary { (words::counted(folded.len() as u64, "more case in full", "more cases in full")) }
                @for (who, subject) in folded { (draw(who, subject, sample)) }
            }
        }
    }
}

/// One line for each case; a long list is folded.
fn overview(cases: &[(String, &Subject)]) -> Markup {
    let (open, folded) = cases.split_at(cases.len().min(OPEN_LINES));
    html! {
        div.card.scroll {
            (table(open))
            @if !folded.is_empty() {
                details { summary { (words::counted(folded.len() as u64, "more line", "more lines")) } (table(folded)) }
            }
        }
    }
}

fn table(cases: &[(String, &Subject)]) -> Markup {
    let heaviest =
        |subject: &Subject| subject.signals.first().filter(|signal| signal.evidence > 0.0).map(|signal| words::reason(signal.name));
    html! {
        table {
            thead { tr {
                th { "who" } th { "what" } th { "since (UTC)" } th { "found (UTC)" } th.n { "after queries" } th.n { "sure" }
                th { "heaviest reason" }
            } }
            tbody {
                @for (who, subject) in cases {
                    tr {
                        td.mono.wrap { a href={ "#" (anchor(who)) } { (words::printable(who, 60)) } }
                        td.t { (subject.family.map_or("", words::family)) }
                        td.t { (words::moment(subject.since.unwrap_or(subject.at))) }
                        td.t { (words::moment(subject.at)) }
                        td.n { (words::count(subject.queries_seen)) }
                        td.n.t { (words::percent(subject.confidence)) }
                        td { (heaviest(subject).unwrap_or_default()) }
                    }
                }
            }
        }
    }
}

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
            (crowd(subject))
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

/// What a crowd of strangers is, and what its rows have in common.
fn crowd(subject: &Subject) -> Markup {
    if !words::is_crowd(&subject.signals) {
        return html! {};
    }
    let addresses = words::addresses(&subject.signals, subject.members.len(), subject.queries_seen);
    html! {
        p {
            "A crowd: " (addresses) ", since " (words::minute(subject.since.unwrap_or(subject.at))) " UTC"
            @if let Some(common) = words::in_common(&subject.features) { "; " (common) }
            ". A new address is used for almost every query, so it is of more use to act on what the rows have in common than on addresses."
        }
        @if !subject.features.is_empty() {
            div.scroll {
                table {
                    thead { tr { th { "column" } th.n { "PSI of the crowd's rows" } th.n { "chance up to" } } }
                    tbody {
                        @for column in &subject.features {
                            tr {
                                td.mono { (words::printable(&column.name, 40)) }
                                td.n { (words::measured(column.psi)) } td.n { (words::measured(column.critical)) }
                            }
                        }
                    }
                }
            }
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
                    thead { tr { th { "why" } th.n { "measured" } th.n { "usually" } th.n { "evidence" } th.picture {} } }
                    tbody {
                        @for signal in heavy {
                            tr {
                                td { (words::signal(signal.name)) }
                                td.n { (words::measured(signal.value)) }
                                td.n { (words::measured(signal.reference)) }
                                td.n { (words::measured(signal.evidence)) }
                                td { (svg::evidence(signal.evidence, most)) }
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
            @if let Some(cells) = still { (same(sample, cells, &varies)) }
        }
    }
}

/// The features that are the same in all queries of a case.
fn same(sample: &Sample, cells: &[Cell], varies: &dyn Fn(usize) -> bool) -> Markup {
    let features = &sample.reference().features;
    html! {
        p.note {
            "The same in all of them: "
            @for (nth, at) in (0..features.len()).filter(|&at| !varies(at)).take(MAX_SAME).enumerate() {
                @if nth > 0 { ", " }
                (words::printable(&features[at].name, 24)) " " (value(&features[at], cells[at]))
            }
            "."
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

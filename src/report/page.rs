//! The page of `replay --report`: one file that opens from disk, without scripts and without anything from elsewhere.
//!
//! Text from the log is treated as hostile: maud escapes it, [`words::printable`] takes out control and direction characters and
//! bounds its length, and the content security policy of the [`frame`] forbids every script and every request. Nothing on the
//! page depends on the machine or the moment, so two replays give the same page.

use maud::{Markup, html};

use super::picture::features::{Spread, spreads};
use super::picture::{gaps::Gaps, timeline, volumes::Volumes};
use super::sample::Sample;
use super::summary::{ModelSummary, Summary};
use super::suspects::Suspects;
use super::verdict_history::Drifted;
use super::{budget, case, drift, volume};
use crate::engine::EngineConfig;
use crate::html::frame::{self, Delivery};
use crate::html::judged::Answer;
use crate::html::{glossary, svg, words};
use crate::judge::Finding;

/// Features drawn at once, three rows of the grid on a wide screen; the rest is folded away.
const FIRST_FEATURES: usize = 9;
/// Features drawn at all. Chosen: a picture takes about 4 kB, so the page stays below half a megabyte whatever the model.
const MAX_FEATURES: usize = 120;

/// The page of one replay and what it is made of.
#[derive(Clone, Copy, Debug)]
pub struct ReportPage<'a> {
    /// Name of the log.
    pub events: &'a str,
    /// Counts and verdicts.
    pub summary: &'a Summary,
    /// Kept queries, one sample a model, in any order.
    pub samples: &'a [Sample],
    /// Settings in force.
    pub config: &'a EngineConfig,
}

// === impl ReportPage ===

impl ReportPage<'_> {
    /// The page as HTML.
    pub fn render(&self) -> String {
        let models: Vec<_> = self.summary.models().iter().filter(|model| model.accepted + model.late > 0).collect();
        let rest = html! {
            @if let Some((first, last)) = self.summary.span() {
                p.lead { (words::minute(first)) " to " (words::minute(last)) " UTC, in the log's own time" }
            }
            @for (nth, model) in models.iter().enumerate() { (verdict(nth, model)) }
            @if models.is_empty() { p { "No event of this log could be used." } }
            nav aria-label="Parts of this page" {
                @for (nth, model) in models.iter().enumerate() {
                    a href={ "#m" (nth) } { (words::printable(&model.model, 40)) }
                }
                a href="#log" { "The log" }
                a href="#words" { "What the words mean" }
            }
        };
        let body = html! {
            (frame::head("Tripline replay report", &html! { (words::printable(self.events, 120)) }, &rest))
            main {
                @for (nth, model) in models.iter().enumerate() {
                    @if let Some(sample) = self.samples.iter().find(|sample| sample.reference().model == model.model) {
                        (self.model(nth, model, sample))
                    }
                }
                (self.log())
                (glossary::section())
                (self.footer())
            }
        };
        frame::page(&format!("Tripline report: {}", words::printable(self.events, 80)), Delivery::File, &body)
    }

    fn model(&self, nth: usize, model: &ModelSummary, sample: &Sample) -> Markup {
        let history = &model.history;
        let suspects = Suspects::of(history);
        let flags = suspects.flags(sample);
        let volumes = Volumes::of(sample, &flags);
        let suspect_queries: u64 =
            sample.callers().iter().zip(&flags).filter(|(_, suspect)| **suspect).map(|(caller, _)| caller.queries).sum();
        let queries = model.accepted + model.late;
        html! {
            section id={ "m" (nth) } {
                h2 { "Model " (words::printable(&model.model, 80)) }
                (frame::facts(&[
                    ("queries", words::count(queries)),
                    ("addresses", words::count(volumes.addresses() as u64)),
                    ("callers found probing", words::count(history.probing().count() as u64)),
                    ("campaigns", words::count(history.probing_campaigns().count() as u64)),
                    ("share of suspects' queries", words::percent(svg::share(suspect_queries, queries))),
                ]))
                @for mismatch in model.mismatch_sentences() { p.card { strong { "Please check: " } (mismatch) } }
                @if let Some(late) = model.late_note() { p.note { (late) } }
                @if let Some(picture) = model.span.and_then(|span| timeline::draw(span, sample, history)) {
                    h3 { "What happened when" }
                    figure {
                        (picture)
                        (frame::legend(&[
                            ("k-stable", "stable"), ("k-drift", "drift"), ("k-probing", "probing"),
                            ("k-suspect", "a caller was found probing"), ("k-reference", "queries per time"),
                        ]))
                    }
                }
                (case::section(model, sample))
                (volume::table(model))
                (budget::table(model))
                (drift::columns(model))
                (drift::section(model))
                (pictures(sample, &flags, &volumes, suspect_queries > 0))
            }
        }
    }

    fn log(&self) -> Markup {
        let summary = self.summary;
        html! {
            section id="log" {
                h2 { "The log" }
                (frame::facts(&[
                    ("events read", words::count(summary.messages())),
                    ("used", words::count(summary.accepted)),
                    ("too late", words::count(summary.late)),
                    ("not usable", words::count(summary.rejections())),
                ]))
                @if summary.rejections() > 0 {
                    div.card.scroll {
                        table {
                            thead { tr { th { "reason" } th.n { "events" } th.n { "first in line" } th { "what is wrong with it" } } }
                            tbody {
                                @for (reason, count, example) in summary.refusals() {
                                    tr {
                                        td.mono { (reason) } td.n { (words::count(count)) }
                                        td.n { (words::count(example.provenance.offset.unsigned_abs() + 1)) }
                                        td.wrap { (words::printable(&example.message, 200)) }
                                    }
                                }
                            }
                        }
                    }
                }
                @if summary.repairs().next().is_some() {
                    div.card.scroll {
                        table {
                            thead { tr { th { "used with one field less" } th.n { "events" } th.n { "first in line" } th { "what is used instead" } } }
                            tbody {
                                @for (repair, count, first) in summary.repairs() {
                                    tr {
                                        td.mono { (repair.field()) " " (repair.fault()) } td.n { (words::count(count)) }
                                        td.n { (words::count(first.offset.unsigned_abs() + 1)) }
                                        td.wrap { (repair.instead()) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn footer(&self) -> Markup {
        let config = self.config;
        html! {
            footer {
                p { "Made by tripline " (env!("CARGO_PKG_VERSION")) " with at most " (words::measured(config.alarms_per_client_day))
                    " false alarms expected per caller and day, and an allowed lateness of "
                    (words::duration(f64::from(config.allowed_lateness_seconds))) ". The same log, reference and settings give the same page." }
                @for sample in self.samples {
                    @let reference = sample.reference();
                    p.mono { "reference " (words::printable(&reference.model, 40)) ": " (words::count(reference.rows)) " rows, SHA-256 "
                        (words::printable(&reference.digest, 64)) }
                }
            }
        }
    }
}

/// The verdict on a model, over the whole log.
fn verdict(nth: usize, model: &ModelSummary) -> Markup {
    let answer = model.answer();
    let word = html! { a.plain href={ "#m" (nth) } { (words::printable(&model.model, 60)) } " · " (answer.name) };
    let rest = html! {
        p { (sentence(model, &answer)) }
        @for open in &answer.open { p { (open) } }
    };
    frame::verdict(answer.class, &word, answer.headline, &rest)
}

/// The verdict's reasons in one or two sentences.
fn sentence(model: &ModelSummary, answer: &Answer) -> String {
    let history = &model.history;
    let mut sentences = Vec::new();
    let callers = history.probing().count() as u64;
    if callers > 0 {
        let since = history.probing().map(|(_, subject)| subject.since.unwrap_or(subject.at)).min();
        let first = if callers == 1 { "" } else { "the first " };
        let since = since.map_or_else(String::new, |at| format!(", {first}from {} UTC on", words::minute(at)));
        let campaigns = history.probing_campaigns().count() as u64;
        let together = if campaigns == 0 {
            String::new()
        } else {
            format!(", linked into {}", words::counted(campaigns, "campaign", "campaigns"))
        };
        let least = if history.callers_are_full() { "At least " } else { "" };
        sentences.push(format!("{least}{} found probing{since}{together}.", words::counted(callers, "caller was", "callers were")));
    }
    let honest = |one: &&Drifted| one.worst.psi_without_suspects > one.worst.critical;
    let drifted = history.drifted.len() as u64;
    if drifted > 0 {
        let since = history.since(Finding::Drift).map_or_else(String::new, |at| format!(" from {} UTC on", words::minute(at)));
        let left = history.drifted.values().filter(honest).count() as u64;
        let rest = if callers == 0 { String::new() } else { format!("; {left} of them also without the suspects' queries") };
        sentences.push(format!(
            "{} moved away from the reference beyond chance{since}{rest}.",
            words::counted(drifted, "feature", "features")
        ));
    }
    if let Some(change) = words::change(&history.change) {
        sentences.push(format!("The change is {change}."));
    }
    if answer.headline == words::headline(Finding::Stable) {
        sentences.push("Callers and values look as they did when the reference was made.".to_owned());
    }
    match history.suspicious() {
        0 => {}
        1 => sentences.push("One caller was suspicious for a while, without enough evidence to accuse it.".to_owned()),
        number => sentences.push(format!("{number} callers were suspicious for a while, without enough evidence to accuse them.")),
    }
    sentences.join(" ")
}

/// What they ask, when, and how much.
fn pictures(sample: &Sample, flags: &[bool], volumes: &Volumes, any_suspects: bool) -> Markup {
    html! {
        h3 { "What they ask: feature values" }
        p.lead {
            @if any_suspects { "The features in which suspects differ most from the reference come first." }
            @else { "The features in which callers differ most from the reference come first." }
        }
        (groups(any_suspects, true))
        (features(&spreads(sample, flags)))
        @if let Some(picture) = Gaps::of(sample, flags).draw() {
            h3 { "When they ask: time between two queries of one caller" }
            (groups(any_suspects, false))
            figure {
                (picture)
                figcaption { "Share of each group's gaps, on a logarithmic scale. People scatter over minutes and hours; a program piles up in one or two places." }
            }
        }
        @if let Some(picture) = volumes.draw() {
            h3 { "How much they ask: queries per address" }
            (groups(any_suspects, false))
            figure {
                (picture)
                figcaption { "Every address at its rank, busiest first, both axes logarithmic. A fast attacker stands far left; a slow or distributed one hides among the many, and only what it asks gives it away." }
            }
        }
        @if sample.one_in() > 1 {
            p.note { "The log is long: the pictures of values and gaps show an even sample, one query in " (words::count(sample.one_in())) ". Volumes are exact." }
        }
    }
}

/// The groups that a picture compares.
fn groups(suspects: bool, reference: bool) -> Markup {
    let mut groups = match suspects {
        true => vec![("k-suspect", "suspects"), ("k-other", "everybody else")],
        false => vec![("k-other", "callers (no suspects)")],
    };
    if reference {
        groups.push(("k-reference", "reference"));
    }
    frame::legend(&groups)
}

fn features(spreads: &[Spread<'_>]) -> Markup {
    let (first, rest) = spreads.split_at(spreads.len().min(FIRST_FEATURES));
    let (rest, left_out) = rest.split_at(rest.len().min(MAX_FEATURES - FIRST_FEATURES));
    html! {
        div.grid { @for spread in first { (spread.draw()) } }
        @if !rest.is_empty() {
            details {
                summary { (words::counted(rest.len() as u64, "more feature", "more features")) }
                div.grid { @for spread in rest { (spread.draw()) } }
            }
        }
        @if !left_out.is_empty() { p.note { (left_out.len()) " more features differ less and are not drawn." } }
    }
}

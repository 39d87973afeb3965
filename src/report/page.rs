//! The page of `replay --report`: one file that opens from disk, without scripts and without anything from elsewhere.
//!
//! Whatever comes from the log is hostile until written as text: maud escapes it, [`words::printable`] takes out control and
//! direction characters and bounds its length, and the page forbids itself every script and every request by its content
//! security policy. Nothing on it depends on the machine or the moment, so two replays give the same page.

use maud::{Markup, html};

use super::ledger::{Caller, Drifted, Subject};
use super::picture::features::{Spread, spreads};
use super::picture::{gaps::Gaps, timeline, volumes::Volumes};
use super::sample::Sample;
use super::suspects::Suspects;
use super::tally::{ModelTally, Tally};
use super::{budget, case, frame, glossary, words};
use crate::engine::EngineConfig;
use crate::judge::{FeatureDrift, Finding};

/// Cases shown in full; the verdict file has all.
const MAX_CASES: usize = 60;
/// Lines of the overview that stand open; a campaign of sixty must not push the pictures off the page.
const OPEN_LINES: usize = 12;
/// Cases that stand open; the rest is folded away.
const OPEN_CASES: usize = 3;
/// Features drawn at once; the rest is folded away.
const FIRST_FEATURES: usize = 9;
/// Features drawn at all.
const MAX_FEATURES: usize = 120;
/// What the page is made of.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Name of the log.
    pub events: &'a str,
    /// Counts and what was said.
    pub tally: &'a Tally,
    /// Kept queries, one sample a model, in any order.
    pub samples: &'a [Sample],
    /// Settings in force.
    pub config: &'a EngineConfig,
}

// === impl Page ===

impl Page<'_> {
    /// The page as HTML.
    pub fn render(&self) -> String {
        let models: Vec<_> = self.tally.models().iter().filter(|model| model.accepted + model.late > 0).collect();
        let body = html! {
            header.top {
                p.brand { "Tripline replay report" }
                h1 { (words::printable(self.events, 120)) }
                @if let Some((first, last)) = self.tally.span() {
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
            }
            main {
                @for (nth, model) in models.iter().enumerate() {
                    @if let Some(sample) = self.samples.iter().find(|sample| sample.reference().model == model.model) {
                        (self.model(nth, model, sample))
                    }
                }
                (self.log())
                (words_explained())
                (self.footer())
            }
        };
        frame::page(&format!("Tripline report: {}", words::printable(self.events, 80)), &body)
    }

    fn model(&self, nth: usize, model: &ModelTally, sample: &Sample) -> Markup {
        let ledger = &model.ledger;
        let suspects = Suspects::of(ledger);
        let flags = suspects.flags(sample);
        let volumes = Volumes::of(sample, &flags);
        let suspect_queries: u64 =
            sample.callers().iter().zip(&flags).filter(|(_, suspect)| **suspect).map(|(caller, _)| caller.queries).sum();
        let any = suspect_queries > 0;
        html! {
            section id={ "m" (nth) } {
                h2 { "Model " (words::printable(&model.model, 80)) }
                dl.facts {
                    div { dt { "queries" } dd { (words::count(model.accepted + model.late)) } }
                    div { dt { "addresses" } dd { (words::count(volumes.addresses() as u64)) } }
                    div { dt { "callers found probing" } dd { (words::count(ledger.probing().count() as u64)) } }
                    div { dt { "campaigns" } dd { (words::count(ledger.probing_campaigns().count() as u64)) } }
                    div { dt { "share of suspects' queries" } dd { (words::percent(share(suspect_queries, model.accepted + model.late))) } }
                }
                @if let Some(mismatch) = model.mismatch() { p.card { strong { "Please check: " } (mismatch) } }
                @if let Some(picture) = model.span.and_then(|span| timeline::draw(span, sample, ledger)) {
                    h3 { "What happened when" }
                    figure {
                        (picture)
                        ul.legend {
                            li { i.k-stable {} "stable" } li { i.k-drift {} "drift" } li { i.k-probing {} "probing" }
                            li { i.k-suspect {} "a caller was found probing" } li { i.k-reference {} "queries per time" }
                        }
                    }
                }
                (cases(model, sample))
                (budget::table(model))
                (drift(model))
                h3 { "What they ask: feature values" }
                p.lead {
                    @if any { "The features in which suspects differ most from the reference come first." }
                    @else { "The features in which callers differ most from the reference come first." }
                }
                (legend(any, true))
                (features(&spreads(sample, &flags)))
                @if let Some(picture) = Gaps::of(sample, &flags).draw() {
                    h3 { "When they ask: time between two queries of one caller" }
                    (legend(any, false))
                    figure {
                        (picture)
                        figcaption { "Share of each group's gaps, on a logarithmic scale. People scatter over minutes and hours; a program piles up in one or two places." }
                    }
                }
                @if let Some(picture) = volumes.draw() {
                    h3 { "How much they ask: queries per address" }
                    (legend(any, false))
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
    }

    fn log(&self) -> Markup {
        let tally = self.tally;
        html! {
            section id="log" {
                h2 { "The log" }
                dl.facts {
                    div { dt { "events read" } dd { (words::count(tally.messages())) } }
                    div { dt { "used" } dd { (words::count(tally.accepted)) } }
                    div { dt { "too late" } dd { (words::count(tally.late)) } }
                    div { dt { "not usable" } dd { (words::count(tally.rejections())) } }
                }
                @if tally.rejections() > 0 {
                    div.card.scroll {
                        table {
                            thead { tr { th { "reason" } th.n { "events" } th.n { "first in line" } th { "what is wrong with it" } } }
                            tbody {
                                @for (reason, count, example) in tally.refusals() {
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

/// The headline of a model.
fn verdict(nth: usize, model: &ModelTally) -> Markup {
    let finding = model.ledger.finding();
    let class = match finding {
        Finding::Stable | Finding::Benign => "verdict stable",
        Finding::Drift | Finding::Suspicious => "verdict drift",
        Finding::Probing => "verdict probing",
        Finding::DriftAndProbing => "verdict both",
    };
    html! {
        div class=(class) {
            p.word { a href={ "#m" (nth) } style="color:inherit;text-decoration:none" { (words::printable(&model.model, 60)) } " · " (finding.name()) }
            p.say { (words::headline(finding)) }
            p { (sentence(model, finding)) }
        }
    }
}

/// What there is to know in one or two sentences.
fn sentence(model: &ModelTally, finding: Finding) -> String {
    let ledger = &model.ledger;
    let mut said = Vec::new();
    let callers = ledger.probing().count() as u64;
    if callers > 0 {
        let since = ledger.probing().map(|(_, subject)| subject.since.unwrap_or(subject.at)).min();
        let first = if callers == 1 { "" } else { "the first " };
        let since = since.map_or_else(String::new, |at| format!(", {first}from {} UTC on", words::minute(at)));
        let campaigns = ledger.probing_campaigns().count() as u64;
        let together = if campaigns == 0 {
            String::new()
        } else {
            format!(", linked into {}", words::counted(campaigns, "campaign", "campaigns"))
        };
        said.push(format!("{} found probing{since}{together}.", words::counted(callers, "caller was", "callers were")));
    }
    let honest = |one: &&Drifted| one.worst.psi_without_suspects > one.worst.critical;
    let drifted = ledger.drifted.len() as u64;
    if drifted > 0 {
        let since = ledger.since(Finding::Drift).map_or_else(String::new, |at| format!(" from {} UTC on", words::minute(at)));
        let left = ledger.drifted.values().filter(honest).count() as u64;
        let rest = if callers == 0 { String::new() } else { format!("; {left} of them also without the suspects' queries") };
        said.push(format!(
            "{} moved away from the reference beyond chance{since}{rest}.",
            words::counted(drifted, "feature", "features")
        ));
    }
    if let Some(change) = words::change(&ledger.change) {
        said.push(format!("The change is {change}."));
    }
    if finding == Finding::Stable {
        said.push("Callers and values look as they did when the reference was made.".to_owned());
    }
    match ledger.suspicious() {
        0 => {}
        1 => said.push("One caller was suspicious for a while, without enough evidence to accuse it.".to_owned()),
        number => said.push(format!("{number} callers were suspicious for a while, without enough evidence to accuse them.")),
    }
    said.join(" ")
}

fn legend(suspects: bool, reference: bool) -> Markup {
    html! {
        ul.legend {
            @if suspects { li { i.k-suspect {} "suspects" } li { i.k-other {} "everybody else" } } @else { li { i.k-other {} "callers (no suspects)" } }
            @if reference { li { i.k-reference {} "reference" } }
        }
    }
}

fn features(spreads: &[Spread<'_>]) -> Markup {
    let (first, rest) = spreads.split_at(spreads.len().min(FIRST_FEATURES));
    let (rest, left_out) = rest.split_at(rest.len().min(MAX_FEATURES - FIRST_FEATURES));
    html! {
        div.grid { @for spread in first { (spread.draw()) } }
        @if !rest.is_empty() {
            details {
                summary { (words::counted(rest.len() as u64, "more feature", "more features")) }
                div.grid style="margin-top:12px" { @for spread in rest { (spread.draw()) } }
            }
        }
        @if !left_out.is_empty() { p.note { (left_out.len()) " more features differ less and are not drawn." } }
    }
}

/// Campaigns and callers, strongest evidence first.
fn cases(model: &ModelTally, sample: &Sample) -> Markup {
    let ledger = &model.ledger;
    let campaigns: Vec<(&str, &Subject)> = ledger.probing_campaigns().collect();
    let mut callers: Vec<(&Caller, &Subject)> = ledger.probing().collect();
    callers.sort_by(|a, b| b.1.weight().total_cmp(&a.1.weight()).then_with(|| a.0.cmp(b.0)));
    let all = campaigns.len() + callers.len();
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
        p.lead style="margin-top:18px" { "Each statistic is shown with what honest traffic usually shows, and with its evidence (7 is about one in a thousand by chance)." }
        @for (who, subject) in open { (case::draw(who, subject, sample)) }
        @if !folded.is_empty() {
            details {
                summary { (words::counted(folded.len() as u64, "more case in full", "more cases in full")) }
                @for (who, subject) in folded { (case::draw(who, subject, sample)) }
            }
        }
    }
}

/// One line a case; a long list is folded.
fn overview(cases: &[(String, &Subject)]) -> Markup {
    let (open, folded) = cases.split_at(cases.len().min(OPEN_LINES));
    html! {
        div.card.scroll {
            (lines(open))
            @if !folded.is_empty() {
                details { summary { (words::counted(folded.len() as u64, "more line", "more lines")) } (lines(folded)) }
            }
        }
    }
}

fn lines(cases: &[(String, &Subject)]) -> Markup {
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
                        td.mono.wrap { a href={ "#" (case::anchor(who)) } { (words::printable(who, 60)) } }
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

fn drift(model: &ModelTally) -> Markup {
    let mut drifted: Vec<&Drifted> = model.ledger.drifted.values().collect();
    if drifted.is_empty() {
        return html! {};
    }
    let excess = |drift: &FeatureDrift| drift.psi / drift.critical.max(1e-9);
    drifted.sort_by(|a, b| excess(&b.worst).total_cmp(&excess(&a.worst)).then_with(|| a.worst.name.cmp(&b.worst.name)));
    let most = drifted.iter().map(|one| one.worst.psi.max(one.worst.critical)).fold(1e-6, f64::max);
    html! {
        h3 { "What changed: drift by feature" }
        p.lead { "PSI at its highest, beside what chance explains in a window of that size. The hollow mark is the PSI without the suspects' queries." }
        div.card.scroll {
            table {
                thead { tr { th { "feature" } th.n { "PSI" } th style="width:34%" { "" } th.n { "chance up to" } th.n { "without suspects" } th { "reading" } th { "seen from (UTC)" } } }
                tbody {
                    @for one in drifted {
                        @let drift = &one.worst;
                        tr {
                            td.wrap { (words::printable(&drift.name, 40)) }
                            td.n { (words::measured(drift.psi)) }
                            td { (case::gauge(drift.psi, drift.critical, drift.psi_without_suspects, most)) }
                            td.n { (words::measured(drift.critical)) }
                            td.n { (words::measured(drift.psi_without_suspects)) }
                            td { (ModelTally::reading(drift)) }
                            td { (words::minute(one.since)) }
                        }
                    }
                }
            }
        }
    }
}

fn words_explained() -> Markup {
    html! {
        section id="words" {
            h2 { "What the words mean" }
            dl.glossary {
                @for (term, meaning) in glossary::TERMS { dt { (term) } dd { (meaning) } }
                @for family in crate::judge::Family::ALL {
                    dt { (words::family(family)) }
                    dd { "Probing that " (words::family_explained(family)) "." }
                }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of queries")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

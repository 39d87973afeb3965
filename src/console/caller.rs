//! One caller or campaign: what is said of it, why in words and numbers, which queries led there, and who is near.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::callers;
use super::frame::{self, part, text, time};
use super::refusal::PageProblem;
use crate::access::Principal;
use crate::access::problem::Problem;
use crate::api::extract::PathPart;
use crate::api::state::ApiState;
use crate::api::subjects;
use crate::event::Address;
use crate::html::{frame as html_frame, svg, words};
use crate::judge::{Finding, Verdict};
use crate::readmodel::Subject;

/// Evidence below this says little by itself: odds of less than three to one, as a natural logarithm.
const MIN_EVIDENCE: f64 = 1.0;
/// Members of a campaign that are listed.
const MAX_MEMBERS: usize = 200;

/// A caller.
pub async fn caller(
    State(state): State<ApiState>,
    who: Principal,
    PathPart(id): PathPart<String>,
) -> Result<Response, PageProblem> {
    let all = state.feed.read_model().callers();
    show(&who, "/callers", &all, &all, &id)
}

/// A campaign.
pub async fn campaign(
    State(state): State<ApiState>,
    who: Principal,
    PathPart(id): PathPart<String>,
) -> Result<Response, PageProblem> {
    let read_model = state.feed.read_model();
    show(&who, "/campaigns", &read_model.all_campaigns(), &read_model.callers(), &id)
}

fn show(
    who: &Principal,
    section: &str,
    among: &[Arc<Subject>],
    callers: &[Arc<Subject>],
    id: &str,
) -> Result<Response, PageProblem> {
    let wanted = |one: &&Arc<Subject>| subjects::id_of(&one.verdict) == id && who.models.has(&one.verdict.model);
    let subject = among.iter().find(wanted).ok_or_else(Problem::not_found)?;
    let body = html! {
        div id="subject" data-live { (card(subject)) }
        (related(who, subject, callers))
    };
    Ok(frame::page(
        who,
        section,
        &callers::name(&subject.verdict),
        &html! { p.lead { "on " a href={ "/models/" (part(&subject.verdict.model)) } { (text(&subject.verdict.model)) } } },
        &body,
    ))
}

/// Everything about a subject, without its neighbours.
pub fn card(subject: &Subject) -> Markup {
    let verdict = &subject.verdict;
    html! {
        (said(verdict))
        h2 { "Why" }
        (why(verdict))
        h2 { "The queries that led here" }
        (queries(verdict))
        @if !verdict.members.is_empty() {
            h2 { "Members" }
            ul.members {
                @for member in verdict.members.iter().take(MAX_MEMBERS) { li { a.mono href={ "/addresses/" (part(member)) } { (text(member)) } } }
            }
            @if verdict.members.len() > MAX_MEMBERS { p.note { "and " (words::count((verdict.members.len() - MAX_MEMBERS) as u64)) " more; the API lists all" } }
        }
        h2 { "Course" }
        table {
            thead { tr { th { "From" } th { "Verdict" } } }
            tbody { @for change in subject.timeline.iter().rev() { tr { td.t { (time(change.at)) } td { (change.finding.name()) } } } }
        }
    }
}

fn said(verdict: &Verdict) -> Markup {
    let headline = match verdict.verdict {
        Finding::Probing => verdict.family.map_or("Queries systematically", words::family_headline),
        other => words::headline(other),
    };
    let rest = html! {
        @if let Some(family) = verdict.family { p { "It " (words::family_explained(family)) "." } }
        @let volume = words::volume(&verdict.signals);
        @if !volume.is_empty() { p { (volume) } }
        @if let Some(common) = words::in_common(&verdict.features) { p { "Of its rows: " (common) "." } }
        dl.facts {
            @if let Some(confidence) = verdict.confidence { div { dt { "confidence" } dd { (words::confidence(confidence)) } } }
            div { dt { "queries up to the verdict" } dd { (words::count(verdict.queries_seen)) } }
            @if let Some(since) = verdict.since { div { dt { "evidence since" } dd { (time(since.0)) } } }
            div { dt { "verdict at" } dd { (time(verdict.at.0)) } }
        }
        @if let Some(case) = &verdict.case { p { a href={ "/cases/" (part(case)) } { "Its case" } } }
        @if !verdict.technique.is_empty() { p.note { "MITRE ATLAS " (verdict.technique.join(", ")) } }
    };
    html_frame::verdict(html_frame::class(verdict.verdict), &html! { (verdict.verdict.name()) }, headline, &rest)
}

/// A statistic that speaks for a verdict.
#[derive(Clone, PartialEq, Debug)]
pub struct Reason {
    words: String,
    value: f64,
    reference: f64,
    evidence: f64,
}

// === impl Reason ===

impl Reason {
    /// A statistic by its name, with what was measured, what honest callers show, and the natural logarithm of the evidence.
    pub fn new(name: &str, value: f64, reference: f64, evidence: f64) -> Self {
        Self { words: words::signal(name), value, reference, evidence }
    }
}

fn why(verdict: &Verdict) -> Markup {
    reasons(&verdict.signals.iter().map(|one| Reason::new(one.name, one.value, one.reference, one.evidence)).collect::<Vec<_>>())
}

/// Reasons as a table, each with its weight as a bar.
pub fn reasons(reasons: &[Reason]) -> Markup {
    let most = reasons.iter().map(|one| one.evidence).fold(MIN_EVIDENCE, f64::max);
    html! {
        @if reasons.iter().all(|one| one.evidence < MIN_EVIDENCE) {
            p { "Little by itself: what it asks continues what other flagged callers asked." }
        }
        div.scroll {
            table {
                thead { tr { th { "What was measured" } th.n { "Here" } th.n { "Honest callers" } th.picture { "Weight" } th.n { "Evidence (ln)" } } }
                tbody {
                    @for one in reasons {
                        tr {
                            td { (one.words) }
                            td.n { (words::measured(one.value)) }
                            td.n { (words::measured(one.reference)) }
                            td.gauge { (svg::evidence(one.evidence, most)) }
                            td.n { (words::measured(one.evidence)) }
                        }
                    }
                }
            }
        }
    }
}

fn queries(verdict: &Verdict) -> Markup {
    html! {
        @if verdict.queries.is_empty() { p.note { "The verdict lists none." } } @else {
            div.scroll {
                table {
                    thead { tr { th { "When" } th { "Request" } th { "Topic" } th.n { "Partition" } th.n { "Offset" } th.n { "Row" } } }
                    tbody {
                        @for query in &verdict.queries {
                            @let place = &query.provenance;
                            tr {
                                td.t { (time(query.at.0)) }
                                td.wrap.mono { (text(&query.request_id)) }
                                td { (text(place.topic.name())) }
                                td.n { (place.partition) } td.n { (place.offset) } td.n { (place.row) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Callers of the same network or account, and the same caller on other models.
fn related(who: &Principal, subject: &Subject, callers: &[Arc<Subject>]) -> Markup {
    let own = &subject.verdict;
    let prefix = |verdict: &Verdict| match verdict.source_ip.as_deref().and_then(Address::parse) {
        Some(address) => address.prefix(),
        None => None,
    };
    let near = |one: &&Arc<Subject>| {
        let other = &one.verdict;
        let same_prefix = prefix(own).is_some() && prefix(own) == prefix(other);
        let same_account = own.client_id.is_some() && own.client_id == other.client_id;
        let same_case = own.case.is_some() && own.case == other.case;
        who.models.has(&other.model) && subjects::id_of(other) != subjects::id_of(own) && (same_prefix || same_account || same_case)
    };
    let near: Vec<_> = callers.iter().filter(near).take(50).collect();
    html! {
        h2 { "Related" }
        @if near.is_empty() { p.note { "Nobody of the same network, account or case is known." } } @else {
            div.scroll { table.list {
                thead { tr { th { "Who" } th { "Model" } th { "Verdict" } th { "Related by" } } }
                tbody {
                    @for one in near {
                        @let other = &one.verdict;
                        tr {
                            td.wrap { a.mono href=(callers::link(other)) { (callers::name(other)) } }
                            td { (text(&other.model)) }
                            td { b class=(html_frame::class(other.verdict)) { (other.verdict.name()) } }
                            td {
                                @if own.case.is_some() && own.case == other.case { "case " }
                                @if own.client_id.is_some() && own.client_id == other.client_id { "account " }
                                @if prefix(own).is_some() && prefix(own) == prefix(other) { "network" }
                            }
                        }
                    }
                }
            } }
        }
    }
}

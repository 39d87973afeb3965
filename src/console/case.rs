//! One case: why, what happened, who takes part, which queries, what is related, and what a person decides.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde_json::Value;

use super::caller::{Reason, reasons};
use super::form::Form;
use super::frame::{self, part, text, time};
use super::queue::{about, severity};
use super::refusal::PageProblem;
use crate::access::problem::Problem;
use crate::access::{Permission, Principal};
use crate::api::cases::{self, CaseDetail};
use crate::api::extract::PathPart;
use crate::api::state::{ApiState, actor};
use crate::cases::detail::{CaseQuery, TimelineEvent};
use crate::cases::rules::{Severity, Status};
use crate::cases::{Case, Change, Feedback};
use crate::export::Format;
use crate::html::{frame as html_frame, words};
use crate::judge::{Family, Finding};

/// Features that are shown of a query; more would not be read.
const MAX_FEATURES: usize = 60;

/// The page.
pub async fn page(State(state): State<ApiState>, who: Principal, PathPart(id): PathPart<String>) -> Result<Response, PageProblem> {
    let detail = cases::detail(&state, &who, &id).await?;
    let body = html! {
        (said(&detail.case))
        @if who.may(Permission::CasesWrite) { (decide(&who, &detail.case)) }
        @if who.may(Permission::ExportRead) { (exports(&detail.case)) }
        h2 { "Why" }
        (reasons(&detail.evidence.iter().map(|one| Reason::new(&one.name, one.value, one.reference, one.evidence)).collect::<Vec<_>>()))
        h2 { "What happened" }
        (timeline(&detail.timeline))
        h2 { "Who takes part" }
        (members(&who, &detail))
        h2 { "The queries that led here" }
        (queries(&detail))
        h2 { "Related cases" }
        (related(&detail))
    };
    let lead = html! { p.lead { "on " a href={ "/models/" (part(&detail.case.model)) } { (text(&detail.case.model)) } ", case " span.mono { (text(&detail.case.id)) } } };
    Ok(frame::page(&who, "/cases", &about(&detail.case), &lead, &body))
}

fn exports(case: &Case) -> Markup {
    html! {
        nav aria-label="Export" {
            span.note { "Export:" }
            @for format in Format::ALL {
                a href={ "/api/v1/cases/" (part(&case.id)) "/export?format=" (format.name()) } download { (format.name().to_uppercase()) }
            }
        }
    }
}

/// The family of a stored word.
fn family(case: &Case) -> Option<Family> {
    serde_json::from_value(Value::from(case.family.as_str())).ok()
}

fn said(case: &Case) -> Markup {
    let finding = [Finding::Benign, Finding::Suspicious, Finding::Probing].into_iter().find(|one| one.name() == case.verdict);
    let family = family(case);
    let headline = match (finding, family) {
        (Some(Finding::Probing), Some(family)) => words::family_headline(family),
        (Some(finding), _) => words::headline(finding),
        (None, _) => "A case",
    };
    let rest = html! {
        @if let Some(family) = family { p { "It " (words::family_explained(family)) "." } }
        p { (severity(case.severity)) " " span.chip { (case.status.name()) }
            @if !case.owner.is_empty() { " " span.chip { "with " (text(&case.owner)) } }
            @if let Some(feedback) = case.feedback { " " span.chip { (feedback.name().replace('_', " ")) } }
        }
        dl.facts {
            div { dt { "confidence" } dd { (words::confidence(case.confidence)) } }
            div { dt { "queries" } dd { (words::count(case.queries.unsigned_abs())) } }
            div { dt { "verdicts" } dd { (words::count(case.verdicts.unsigned_abs())) } }
            div { dt { "evidence since" } dd { (time(case.first_seen.0)) } }
            div { dt { "last seen" } dd { (time(case.last_seen.0)) } }
        }
        @if let Some(until) = case.dismissed_until { p.note { "The same pattern stays quiet until " (time(until.0)) "." } }
    };
    html_frame::verdict(finding.map_or("undetermined", html_frame::class), &html! { (text(&case.verdict)) }, headline, &rest)
}

fn decide(who: &Principal, case: &Case) -> Markup {
    let followers = Status::ALL.into_iter().filter(|next| *next != case.status && case.status.may_become(*next));
    html! {
        form.card method="post" action={ "/cases/" (part(&case.id)) } {
            h2 { "Decide" }
            (frame::token(who))
            input type="hidden" name="version" value=(case.version);
            div.filter {
                label { "Status" select name="status" { option value="" { "stays " (case.status.name()) } @for next in followers { option value=(next.name()) { (next.name()) } } } }
                label { "Owner" input name="owner" value=(case.owner) maxlength="100" list="owners"; datalist id="owners" { option value=(who.name) {} } }
                label { "Severity" select name="severity" { option value="" { "stays " (case.severity.name()) } @for one in Severity::ALL { option value=(one.name()) { (one.name()) } } } }
                label { "Was it right?" select name="feedback" {
                    option value="" { "not said" }
                    @for one in [Feedback::TruePositive, Feedback::FalsePositive] { option value=(one.name()) selected[case.feedback == Some(one)] { (one.name().replace('_', " ")) } }
                } }
            }
            label { "Note" textarea name="note" rows="2" maxlength="10000" {} }
            p { button { "Save the decision" } }
        }
    }
}

/// Changes the case, and shows it again.
pub async fn change(
    State(state): State<ApiState>,
    who: Principal,
    PathPart(id): PathPart<String>,
    form: Form,
) -> Result<Response, PageProblem> {
    let known = cases::known(state.cases()?, &who, &id).await?;
    let given = |name: &str| Some(form.get(name).trim()).filter(|text| !text.is_empty());
    let word =
        |name: &str, found: bool| if found { Ok(()) } else { Err(Problem::bad_request(format!("{name} has no such value"))) };
    let status = given("status").map(Status::read);
    let severity = given("severity").map(|word| Severity::ALL.into_iter().find(|one| one.name() == word));
    let feedback = given("feedback").map(Feedback::read);
    word("status", status != Some(None))?;
    word("severity", severity != Some(None))?;
    word("feedback", feedback != Some(None))?;
    let change = Change {
        status: status.flatten(),
        severity: severity.flatten(),
        feedback: feedback.flatten().filter(|feedback| known.feedback != Some(*feedback)),
        owner: Some(form.get("owner").trim().to_owned()).filter(|owner| *owner != known.owner),
        note: given("note").map(str::to_owned),
        dismissed_days: None,
        version: form.get("version").parse().ok(),
    };
    state.cases()?.change(&id, &change, &actor(&who), "").await?;
    Ok(Redirect::to(&format!("/cases/{}", part(&id))).into_response())
}

/// What an event says, in a line.
fn event(event: &TimelineEvent) -> String {
    let of = |name: &str| event.detail.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut said = Vec::new();
    for name in ["status", "owner", "severity", "feedback", "note", "verdict", "family"] {
        let value = of(name);
        if value.is_empty() {
            continue;
        }
        let before = of(&format!("{name}_before"));
        let arrow = if before.is_empty() { String::new() } else { format!("{before} → ") };
        said.push(format!("{name}: {arrow}{}", value.replace('_', " ")));
    }
    if said.is_empty() { text(&event.detail.to_string()) } else { words::printable(&said.join("; "), 2_000) }
}

fn timeline(events: &[TimelineEvent]) -> Markup {
    html! {
        div.scroll { table {
            thead { tr { th { "When" } th { "Kind" } th { "Who" } th { "What" } } }
            tbody {
                @for one in events { tr { td.t { (time(one.at.0)) } td { (text(&one.kind)) } td { (text(&one.who)) } td.wrap { (event(one)) } } }
                @if events.is_empty() { tr { td colspan="4" { "Nothing yet." } } }
            }
        } }
    }
}

fn members(who: &Principal, detail: &CaseDetail) -> Markup {
    let may_suppress = who.may(Permission::SuppressionsWrite);
    html! {
        div.scroll { table.list {
            thead { tr { th { "Caller" } th { "Kind" } th { "Network" } th.n { "Verdicts" } th { "First seen" } th { "Last seen" } th { "" } } }
            tbody {
                @for one in &detail.members {
                    tr {
                        td.wrap.mono { @if one.kind == "address" { a href={ "/addresses/" (part(&one.value)) } { (text(&one.value)) } } @else { (text(&one.value)) } }
                        td { (text(&one.kind)) } td.mono { (text(&one.prefix)) } td.n { (one.verdicts) }
                        td.t { (time(one.first_seen.0)) } td.t { (time(one.last_seen.0)) }
                        td { @if may_suppress { a href={ "/suppressions?" (frame::query(&[("kind", &one.kind), ("value", &one.value), ("on", &detail.case.model)])) } { "Suppress" } } }
                    }
                }
                @if detail.members.is_empty() { tr { td colspan="7" { "Nobody can be named." } } }
            }
        } }
    }
}

/// Names of the features of all queries, in order.
fn features(queries: &[CaseQuery]) -> Vec<&str> {
    let objects = queries.iter().filter_map(|one| one.content.get("features")?.as_object());
    let names: BTreeSet<&str> = objects.flat_map(|object| object.keys().map(String::as_str)).collect();
    names.into_iter().take(MAX_FEATURES).collect()
}

/// A value as the caller wrote it; empty if there is none.
fn value(of: Option<&Value>) -> String {
    match of {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(word)) => words::printable(word, 60),
        Some(other) => words::printable(&other.to_string(), 60),
    }
}

/// The queries, oldest first. Values that differ from the query before are marked: they are what the caller varied.
fn queries(detail: &CaseDetail) -> Markup {
    let names = features(&detail.queries);
    let cell = |nth: usize, name: &str| value(detail.queries.get(nth).and_then(|one| one.content.get("features")?.get(name)));
    html! {
        p.note { "Values were written by the caller. Those that differ from the query before are marked." }
        div.scroll { table {
            thead { tr {
                th { "When" } th { "Request" } th { "Topic" } th.n { "Partition" } th.n { "Offset" }
                @for name in &names { th { (text(name)) } }
                th { "Answer" }
            } }
            tbody {
                @for (nth, one) in detail.queries.iter().enumerate() {
                    tr {
                        td.t { (time(one.at.0)) } td.mono { (text(&one.request_id)) } td { (text(&one.topic)) } td.n { (one.partition) } td.n { (one.offset) }
                        @for name in &names {
                            @let is_other = nth > 0 && cell(nth, name) != cell(nth - 1, name);
                            td.changed[is_other] { (cell(nth, name)) }
                        }
                        td { @if one.content.is_null() { "not kept" } @else { (value(one.content.get("prediction"))) } }
                    }
                }
                @if detail.queries.is_empty() { tr { td colspan="6" { "None is kept." } } }
            }
        } }
    }
}

fn related(detail: &CaseDetail) -> Markup {
    html! {
        @if detail.related.is_empty() { p.note { "None is known." } }
        ul { @for one in &detail.related {
            li { a.mono href={ "/cases/" (part(&one.id)) } { (text(&one.id)) } " on " (text(&one.model)) ", " (text(&one.status)) ": same " (text(&one.why)) @if one.other_model { ", another model" } }
        } }
    }
}

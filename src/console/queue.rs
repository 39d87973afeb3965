//! The queue of cases: filtered, sorted, and changed many at a time.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::form::{Form, own_path};
use super::frame::{self, part, text, time};
use super::refusal::PageProblem;
use crate::access::problem::Problem;
use crate::access::{Permission, Principal};
use crate::api::cases::{self, BulkResult, CaseParams};
use crate::api::extract::Params;
use crate::api::page::Page;
use crate::api::state::ApiState;
use crate::cases::rules::{Severity, Status};
use crate::cases::{Case, Change};
use crate::html::words;

/// Orders of the queue with their words.
const SORTS: [(&str, &str); 5] = [
    ("severity", "most urgent first"),
    ("last_seen", "latest first"),
    ("first_seen", "newest first"),
    ("queries", "most queries first"),
    ("members", "most members first"),
];
/// Filters that a click sets.
const VIEWS: [(&str, &str); 4] = [
    ("Waiting", "status=open"),
    ("Running", "status=open,acknowledged,confirmed"),
    ("Nobody's", "status=open,acknowledged,confirmed&owner=-"),
    ("All", ""),
];

/// The page.
pub async fn page(
    State(state): State<ApiState>,
    who: Principal,
    Params(mut params): Params<CaseParams>,
) -> Result<Response, PageProblem> {
    params.sort.get_or_insert_with(|| "severity".to_owned());
    let page = cases::page(&state, &who, &params).await?;
    Ok(show(&who, &params, &page, &html! {}))
}

fn show(who: &Principal, params: &CaseParams, page: &Page<Case>, news: &Markup) -> Response {
    let may_change = who.may(Permission::CasesWrite);
    let body = html! {
        (news)
        nav aria-label="Views" {
            @for (word, query) in VIEWS { a href={ "/cases?" (query) } { (word) } }
            a href={ "/cases?" (frame::query(&[("owner", &who.name)])) } { "Mine" }
            a href="/suppressions" { "Suppressions" }
        }
        (filter(params))
        form method="post" action="/cases/bulk" {
            (frame::token(who))
            input type="hidden" name="back" value={ "/cases?" (query(params, "")) };
            div.scroll id="queue" data-live { (table(page, may_change)) }
            @if may_change && !page.items.is_empty() { (bulk()) }
        }
        @if let Some(next) = &page.next { p { a href={ "/cases?" (query(params, next)) } { "Next page" } } }
    };
    frame::page(who, "/cases", "Cases", &html! {}, &body)
}

fn query(params: &CaseParams, cursor: &str) -> String {
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    frame::query(&[
        ("model", &of(&params.model)),
        ("family", &of(&params.family)),
        ("severity", &of(&params.severity)),
        ("status", &of(&params.status)),
        ("owner", &of(&params.owner)),
        ("network", &of(&params.network)),
        ("account", &of(&params.account)),
        ("sort", &of(&params.sort)),
        ("cursor", cursor),
    ])
}

fn filter(params: &CaseParams) -> Markup {
    html! {
        form.filter method="get" action="/cases" role="search" {
            label { "Model" input name="model" value=[params.model.as_deref()] maxlength="200"; }
            label { "Severity, at least"
                select name="severity" {
                    option value="" { "any" }
                    @for one in Severity::ALL { option value=(one.name()) selected[params.severity.as_deref() == Some(one.name())] { (one.name()) } }
                }
            }
            label { "Status"
                select name="status" {
                    option value="" { "any" }
                    @for one in Status::ALL { option value=(one.name()) selected[params.status.as_deref() == Some(one.name())] { (one.name()) } }
                }
            }
            label { "Family" input name="family" value=[params.family.as_deref()] placeholder="boundary" maxlength="50"; }
            label { "Owner" input name="owner" value=[params.owner.as_deref()] maxlength="100"; }
            label { "Network" input name="network" value=[params.network.as_deref()] placeholder="203.0.113.0/24" maxlength="50"; }
            label { "Account" input name="account" value=[params.account.as_deref()] maxlength="200"; }
            label { "Order"
                select name="sort" { @for (value, word) in SORTS { option value=(value) selected[params.sort.as_deref() == Some(value)] { (word) } } }
            }
            button { "Show" }
        }
    }
}

/// A severity as a chip; the word says it, the colour repeats it.
pub fn severity(severity: Severity) -> Markup {
    let class = match severity {
        Severity::Low => "",
        Severity::Medium | Severity::High => "hot",
        Severity::Critical => "wrong",
    };
    html! { span class={ "chip " (class) } { (severity.name()) } }
}

/// Whom a case is about.
pub fn about(case: &Case) -> String {
    if case.actor.is_empty() {
        return format!("campaign of {}", words::counted(case.members.unsigned_abs(), "caller", "callers"));
    }
    text(case.actor.split_once('=').map_or(case.actor.as_str(), |(_, value)| value))
}

fn table(page: &Page<Case>, may_change: bool) -> Markup {
    html! {
        table.list {
            thead { tr {
                @if may_change { th { input type="checkbox" data-all hidden aria-label="Select all"; } }
                th { "Severity" } th { "Case" } th { "Model" } th { "What" } th { "Status" } th { "Owner" } th.n { "Queries" } th { "Last seen" }
            } }
            tbody {
                @for case in &page.items {
                    tr {
                        @if may_change { td { input type="checkbox" name="id" value=(case.id) aria-label={ "Select " (about(case)) }; } }
                        td { (severity(case.severity)) }
                        td.wrap { a.mono href={ "/cases/" (part(&case.id)) } { (about(case)) } }
                        td { (text(&case.model)) }
                        td { (case.family.replace('_', " ")) }
                        td { (case.status.name()) @if let Some(feedback) = case.feedback { " (" (feedback.name().replace('_', " ")) ")" } }
                        td { (text(&case.owner)) }
                        td.n { (words::count(case.queries.unsigned_abs())) }
                        td.t { (time(case.last_seen.0)) }
                    }
                }
                @if page.items.is_empty() { tr { td colspan="9" { "No case fits." } } }
            }
        }
    }
}

fn bulk() -> Markup {
    html! {
        fieldset.filter {
            legend { "The selected cases" }
            label { "Note" input name="note" maxlength="1000"; }
            button name="action" value="acknowledge" { "Acknowledge" }
            button.quiet name="action" value="mine" { "Assign to me" }
            button.quiet name="action" value="dismiss" { "Dismiss" }
            button.quiet name="action" value="close" { "Close" }
        }
    }
}

/// The change that a button means.
fn change(who: &Principal, action: &str, note: &str) -> Result<Change, Problem> {
    let note = Some(note.trim().to_owned()).filter(|note| !note.is_empty());
    let to = |status: Status| Change { status: Some(status), note: note.clone(), ..Change::default() };
    match action {
        "acknowledge" => Ok(Change { owner: Some(who.name.clone()), ..to(Status::Acknowledged) }),
        "mine" => Ok(Change { owner: Some(who.name.clone()), note, ..Change::default() }),
        "dismiss" => Ok(to(Status::Dismissed)),
        "close" => Ok(to(Status::Closed)),
        _ => Err(Problem::bad_request("there is no such action")),
    }
}

/// Changes the selected cases, and goes back to the queue.
pub async fn bulk_change(State(state): State<ApiState>, who: Principal, form: Form) -> Result<Response, PageProblem> {
    let ids: Vec<String> = form.all("id").map(str::to_owned).collect();
    let change = change(&who, form.get("action"), form.get("note"))?;
    if ids.is_empty() {
        return Err(Problem::bad_request("no case is selected").into());
    }
    let results = cases::change_all(&state, &who, &ids, &change, "").await?;
    let failed: Vec<&BulkResult> = results.iter().filter(|one| !one.changed).collect();
    if failed.is_empty() {
        return Ok(Redirect::to(own_path(form.get("back"))).into_response());
    }
    let body = html! {
        p { (words::count((results.len() - failed.len()) as u64)) " of " (words::counted(results.len() as u64, "case", "cases")) " changed." }
        ul { @for one in failed { li { a.mono href={ "/cases/" (part(&one.id)) } { (text(&one.id)) } ": " (one.problem.as_deref().unwrap_or_default()) } } }
        p { a href=(own_path(form.get("back"))) { "Back to the queue" } }
    };
    Ok(frame::page(&who, "/cases", "Some cases did not change", &html! {}, &body))
}

//! Lists of callers and campaigns, filtered and sorted as the API does it.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::frame::{self, part, text};
use super::refusal::PageProblem;
use crate::access::Principal;
use crate::api::extract::Params;
use crate::api::page::Page;
use crate::api::state::ApiState;
use crate::api::subjects::{self, SubjectFilter, SubjectSort, SubjectSummary, SubjectVerdict};
use crate::event::EventTime;
use crate::html::words;
use crate::judge::caller::Caller;
use crate::judge::{Scope, Verdict};

/// The page of whom a verdict speaks.
pub fn link(verdict: &Verdict) -> String {
    match verdict.scope {
        Scope::Model => format!("/models/{}", part(&verdict.model)),
        Scope::Client => format!("/callers/{}", subjects::id_of(verdict)),
        Scope::Campaign => format!("/campaigns/{}", part(&subjects::id_of(verdict))),
    }
}

/// The name of whom a verdict speaks.
pub fn name(verdict: &Verdict) -> String {
    match verdict.scope {
        Scope::Model => "the model".to_owned(),
        Scope::Client => text(&Caller::of(verdict).to_string()),
        Scope::Campaign => {
            format!("campaign of {}", words::addresses(&verdict.signals, verdict.members.len(), verdict.queries_seen))
        }
    }
}

/// Callers.
pub async fn callers(
    State(state): State<ApiState>,
    who: Principal,
    Params(filter): Params<SubjectFilter>,
) -> Result<Response, PageProblem> {
    let page = subjects::page(&state.feed.read_model().callers(), &who, &filter)?;
    Ok(list(&who, "/callers", "Callers", &filter, &page))
}

/// Campaigns.
pub async fn campaigns(
    State(state): State<ApiState>,
    who: Principal,
    Params(filter): Params<SubjectFilter>,
) -> Result<Response, PageProblem> {
    let page = subjects::page(&state.feed.read_model().all_campaigns(), &who, &filter)?;
    Ok(list(&who, "/campaigns", "Campaigns", &filter, &page))
}

fn list(who: &Principal, path: &'static str, title: &str, filter: &SubjectFilter, page: &Page<SubjectSummary>) -> Response {
    let body = html! {
        (form(path, filter))
        div.scroll id="list" data-live { (table(path, page)) }
        @if let Some(next) = &page.next { p { a href={ (path) "?" (next_query(filter, next)) } { "Next page" } } }
    };
    frame::page(who, path, title, &html! {}, &body)
}

fn word(verdict: SubjectVerdict) -> (&'static str, &'static str) {
    match verdict {
        SubjectVerdict::Benign => ("benign", "stable"),
        SubjectVerdict::Suspicious => ("suspicious", "drift"),
        SubjectVerdict::Probing => ("probing", "probing"),
    }
}

fn sort_word(sort: SubjectSort) -> (&'static str, &'static str) {
    match sort {
        SubjectSort::At => ("at", "latest first"),
        SubjectSort::Queries => ("queries", "most queries first"),
        SubjectSort::Confidence => ("confidence", "surest first"),
    }
}

fn next_query(filter: &SubjectFilter, next: &str) -> String {
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    frame::query(&[
        ("model", &of(&filter.model)),
        ("family", &of(&filter.family)),
        ("subject", &of(&filter.subject)),
        ("network", &of(&filter.network)),
        ("verdict", filter.verdict.map_or("", |verdict| word(verdict).0)),
        ("sort", filter.sort.map_or("", |sort| sort_word(sort).0)),
        ("cursor", next),
    ])
}

fn form(path: &str, filter: &SubjectFilter) -> Markup {
    let sort = filter.sort.unwrap_or_default();
    html! {
        form.filter method="get" action=(path) role="search" {
            label { "Model" input name="model" value=[filter.model.as_deref()] maxlength="200"; }
            label { "Address or account" input name="subject" value=[filter.subject.as_deref()] maxlength="200"; }
            label { "Network" input name="network" value=[filter.network.as_deref()] placeholder="203.0.113.0/24" maxlength="50"; }
            label { "Verdict"
                select name="verdict" {
                    option value="" { "any" }
                    @for verdict in [SubjectVerdict::Probing, SubjectVerdict::Suspicious, SubjectVerdict::Benign] {
                        option value=(word(verdict).0) selected[filter.verdict == Some(verdict)] { (word(verdict).0) }
                    }
                }
            }
            label { "Order"
                select name="sort" {
                    @for one in [SubjectSort::At, SubjectSort::Queries, SubjectSort::Confidence] {
                        option value=(sort_word(one).0) selected[one == sort] { (sort_word(one).1) }
                    }
                }
            }
            button { "Show" }
        }
    }
}

fn table(path: &str, page: &Page<SubjectSummary>) -> Markup {
    html! {
        table.list {
            thead { tr { th { "Who" } th { "Model" } th { "Verdict" } th { "What" } th.n { "Queries" } th.n { "Confidence" } th { "Since" } } }
            tbody {
                @for one in &page.items {
                    tr {
                        td.wrap { a.mono href={ (path) "/" (part(&one.id)) } { (who(one)) } }
                        td { (text(&one.model)) }
                        td { b class=(word(one.verdict).1) { (word(one.verdict).0) } }
                        td { (one.family.as_deref().unwrap_or("").replace('_', " ")) }
                        td.n { (words::count(one.queries_seen)) }
                        td.n { @if let Some(confidence) = one.confidence { (words::confidence(confidence)) } }
                        td.t { @if let Some(since) = one.since.as_deref().and_then(|text| EventTime::parse(text).ok()) { (frame::time(since)) } }
                    }
                }
                @if page.items.is_empty() { tr { td colspan="7" { "Nobody fits." } } }
            }
        }
    }
}

fn who(one: &SubjectSummary) -> String {
    if !one.members.is_empty() && one.source_ip.is_none() && one.client_id.is_none() && one.source_prefix.is_none() {
        return words::counted(one.members.len() as u64, "address", "addresses");
    }
    let caller =
        Caller { source_ip: one.source_ip.clone(), source_prefix: one.source_prefix.clone(), client_id: one.client_id.clone() };
    text(&caller.to_string())
}

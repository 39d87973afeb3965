//! The audit as a page.

use axum::extract::State;
use axum::response::Response;
use maud::html;

use super::frame::{self, text, time};
use super::refusal::PageProblem;
use crate::access::Principal;
use crate::api::extract::Params;
use crate::api::state::ApiState;
use crate::api::trail::{self, TrailFilter};
use crate::event::EventTime;

/// The page.
pub async fn page(
    State(state): State<ApiState>,
    who: Principal,
    Params(filter): Params<TrailFilter>,
) -> Result<Response, PageProblem> {
    let page = trail::page(&state, &filter).await?;
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    let next = |cursor: &str| {
        frame::query(&[
            ("actor", &of(&filter.actor)),
            ("action", &of(&filter.action)),
            ("subject", &of(&filter.subject)),
            ("cursor", cursor),
        ])
    };
    let body = html! {
        p.note { "Each entry is signed together with all before it; " code { "tripline audit verify" } " walks the chain." }
        form.filter method="get" action="/audit" role="search" {
            label { "Who" input name="actor" value=[filter.actor.as_deref()] maxlength="100"; }
            label { "What" input name="action" value=[filter.action.as_deref()] placeholder="case" maxlength="100"; }
            label { "To what" input name="subject" value=[filter.subject.as_deref()] placeholder="user:ada" maxlength="200"; }
            button { "Show" }
        }
        div.scroll {
            table.list {
                thead { tr { th.n { "Place" } th { "When" } th { "Who" } th { "What" } th { "To what" } th { "How" } } }
                tbody {
                    @for entry in &page.items {
                        tr {
                            td.n { (entry.seq) }
                            td.t { @if let Ok(at) = EventTime::parse(&entry.at) { (time(at)) } }
                            td { (text(&entry.actor)) " (" (entry.actor_kind) ")" }
                            td { (entry.action) }
                            td.wrap { @if entry.erased { "erased" } @else { (text(&entry.subject)) } }
                            td.wrap.mono { @if !entry.erased { (text(&entry.detail.to_string())) } }
                        }
                    }
                    @if page.items.is_empty() { tr { td colspan="6" { "Nothing fits." } } }
                }
            }
        }
        @if let Some(cursor) = &page.next { p { a href={ "/audit?" (next(cursor)) } { "Next page" } } }
    };
    Ok(frame::page(&who, "/audit", "Audit", &html! {}, &body))
}

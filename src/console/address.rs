//! All that is known of one address, on every model, and of its neighbours.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::html;

use super::caller::card;
use super::callers;
use super::frame::{self, text};
use super::refusal::PageProblem;
use crate::access::Principal;
use crate::api::extract::PathPart;
use crate::api::state::ApiState;
use crate::event::Address;
use crate::html::frame as html_frame;
use crate::readmodel::Subject;

/// Neighbours that are listed.
const MAX_NEIGHBOURS: usize = 100;

/// The page.
pub async fn page(
    State(state): State<ApiState>,
    who: Principal,
    PathPart(address): PathPart<String>,
) -> Result<Response, PageProblem> {
    let read_model = state.feed.read_model();
    let mut callers = read_model.callers();
    callers.retain(|one| who.models.has(&one.verdict.model));
    callers.sort_by(|a, b| b.verdict.at.cmp(&a.verdict.at).then_with(|| a.verdict.id.cmp(&b.verdict.id)));
    let mut campaigns = read_model.all_campaigns();
    campaigns.retain(|one| who.models.has(&one.verdict.model) && one.verdict.members.contains(&address));
    let is_own = |one: &&Arc<Subject>| one.verdict.source_ip.as_deref() == Some(&address);
    let own: Vec<_> = callers.iter().filter(is_own).collect();
    let network = Address::parse(&address).and_then(Address::prefix);
    let of_network = |one: &&Arc<Subject>| {
        let prefix = one.verdict.source_ip.as_deref().and_then(Address::parse).and_then(Address::prefix);
        network.is_some() && prefix == network && !is_own(one)
    };
    let neighbours: Vec<_> = callers.iter().filter(of_network).take(MAX_NEIGHBOURS).collect();
    let body = html! {
        @if own.is_empty() && campaigns.is_empty() {
            p { "Nothing was ever found against this address, or it was forgotten since the service started." }
        }
        @for one in own {
            section.apart { h2 { a href=(callers::link(&one.verdict)) { (callers::name(&one.verdict)) } " on " (text(&one.verdict.model)) } (card(one)) }
        }
        @if !campaigns.is_empty() {
            h2 { "Campaigns that it belongs to" }
            ul { @for one in &campaigns { li { a href=(callers::link(&one.verdict)) { (callers::name(&one.verdict)) } " on " (text(&one.verdict.model)) } } }
        }
        h2 { "Neighbours" @if let Some(network) = network { " in " span.mono { (network) } } }
        @if neighbours.is_empty() { p.note { "None is known." } }
        ul {
            @for one in &neighbours {
                li {
                    a.mono href=(callers::link(&one.verdict)) { (callers::name(&one.verdict)) } " on " (text(&one.verdict.model)) ": "
                    b class=(html_frame::class(one.verdict.verdict)) { (one.verdict.verdict.name()) }
                }
            }
        }
    };
    Ok(frame::page(&who, "/callers", &text(&address), &html! {}, &body))
}

//! All models, what happened over the last day, and what to do first.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::frame::{self, part, text, time};
use super::refusal::PageProblem;
use super::strip;
use crate::access::Principal;
use crate::api::state::ApiState;
use crate::html::{frame as html_frame, words};
use crate::judge::{Finding, Scope, Verdict};
use crate::readmodel::Model;

/// Verdicts shown.
const MAX_VERDICTS: usize = 12;

/// The page.
pub async fn page(State(state): State<ApiState>, who: Principal) -> Result<Response, PageProblem> {
    let mut models = state.feed.read_model().models();
    models.retain(|model| who.models.has(&model.name));
    let recent: Vec<_> =
        state.feed.recent().into_iter().filter(|one| who.models.has(&one.verdict.model)).take(MAX_VERDICTS).collect();
    let body = html! {
        section id="first" data-live { (first(&models)) }
        h2 { "Models" }
        div.models id="models" data-live {
            @for model in &models { (card(model)) }
            @if models.is_empty() { p.note { "No model was seen yet: the service waits for its first records." } }
        }
        h2 { "Latest verdicts" }
        div.scroll id="latest" data-live { (latest(&recent.iter().map(|one| &*one.verdict).collect::<Vec<_>>())) }
    };
    Ok(frame::page(&who, "/", "Overview", &html! {}, &body))
}

/// What to do first, the most urgent on top.
fn first(models: &[std::sync::Arc<Model>]) -> Markup {
    let flagged = |model: &Model| model.status.as_ref().map_or(0, |status| status.flagged.values().sum::<u64>());
    let probed: Vec<_> =
        models.iter().filter(|model| matches!(model.finding(), Some(Finding::Probing | Finding::DriftAndProbing))).collect();
    let drifting: Vec<_> =
        models.iter().filter(|model| matches!(model.finding(), Some(Finding::Drift | Finding::DriftAndProbing))).collect();
    html! {
        h2 { "What to do first" }
        ol.first {
            @for model in &probed {
                li {
                    strong { (text(&model.name)) " is being probed." } " Look at "
                    a href={ "/callers?" (frame::query(&[("model", &model.name), ("verdict", "probing")])) } {
                        (words::counted(flagged(model), "flagged caller", "flagged callers"))
                    }
                    ", the most queries first, and decide whether to limit or block them."
                }
            }
            @for model in &drifting {
                li {
                    strong { (text(&model.name)) " drifts." } " Many honest callers changed; nobody is to blame. See "
                    a href={ "/models/" (part(&model.name)) } { "which features" } ", then look at where the data comes from."
                }
            }
            @if probed.is_empty() && drifting.is_empty() { li { "Nothing needs a person now." } }
        }
    }
}

fn card(model: &Model) -> Markup {
    let answer = model.answer();
    let status = model.status.clone().unwrap_or_default();
    let flagged: u64 = status.flagged.values().sum();
    let rest = html! {
        @if let Some(since) = model.since() { p { "Since " (time(since)) "." } }
        @for open in answer.open.iter().take(2) { p.note { (open) } }
        (strip::draw(&model.timeline, status.watermark.max(model.since().unwrap_or_default()), 24, strip::CARD))
        (html_frame::facts(&[
            ("queries", words::count(status.queries)),
            ("callers flagged", words::count(flagged)),
            ("campaigns", words::count(status.campaigns)),
        ]))
    };
    html! {
        article {
            h3 { a href={ "/models/" (part(&model.name)) } { (text(&model.name)) } }
            (html_frame::verdict(answer.class, &html! { (answer.word) }, answer.headline, &rest))
        }
    }
}

fn latest(verdicts: &[&Verdict]) -> Markup {
    html! {
        table.list {
            thead { tr { th { "When" } th { "Model" } th { "Whom" } th { "Verdict" } th { "What" } } }
            tbody {
                @for verdict in verdicts {
                    tr {
                        td.t { (time(verdict.at.0)) }
                        td { (text(&verdict.model)) }
                        td.wrap { a href=(super::callers::link(verdict)) { (super::callers::name(verdict)) } }
                        td { b class=(html_frame::class(verdict.verdict)) { (verdict.verdict.name()) } }
                        td { (verdict.family.map_or("", words::family)) @if verdict.scope == Scope::Model { (words::headline(verdict.verdict)) } }
                    }
                }
                @if verdicts.is_empty() { tr { td colspan="5" { "None since the service started." } } }
            }
        }
    }
}

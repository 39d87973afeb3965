//! One model: its verdict, its drift feature by feature, how its fields are written, and who asks.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::callers;
use super::frame::{self, text, time};
use super::refusal::PageProblem;
use super::strip;
use crate::access::Principal;
use crate::access::problem::Problem;
use crate::api::extract::PathPart;
use crate::api::state::{ApiState, within};
use crate::html::{frame as html_frame, svg, words};
use crate::judge::FeatureDrift;
use crate::readmodel::{Model, Subject};

/// The gauges of drift end here at least, so that a model without drift is not drawn as if it had much.
const LEAST_GAUGE: f64 = 0.12;
/// Callers and campaigns that are listed; the rest are a click away.
const MAX_LISTED: usize = 20;

/// The page.
pub async fn page(
    State(state): State<ApiState>,
    who: Principal,
    PathPart(name): PathPart<String>,
) -> Result<Response, PageProblem> {
    within(&who.models, &name)?;
    let read_model = state.feed.read_model();
    let model = read_model.models().into_iter().find(|model| model.name == name).ok_or_else(Problem::not_found)?;
    let (flagged, campaigns) = (read_model.flagged(&name), read_model.campaigns(&name));
    let body = html! {
        div id="verdict" data-live { (verdict(&model)) }
        h2 { "Drift by feature" }
        p.note { "How far the recent traffic lies from the training data (PSI). A bar beyond its tick is more than chance; the hollow mark is what is left without the suspects." }
        div.scroll id="features" data-live { (features(&model)) }
        h2 { "How fields are written" }
        div.scroll id="columns" data-live { (columns(&model)) }
        h2 { "Flagged callers" }
        div.scroll id="flagged" data-live { (subjects(&flagged)) }
        p { a href={ "/callers?" (frame::query(&[("model", &name)])) } { "All callers of this model" } }
        h2 { "Campaigns" }
        div.scroll id="campaigns" data-live { (subjects(&campaigns)) }
    };
    Ok(frame::page(&who, "/", &text(&name), &html! {}, &body))
}

fn verdict(model: &Model) -> Markup {
    let answer = model.answer();
    let status = model.status.clone().unwrap_or_default();
    let rest = html! {
        @if let Some(since) = model.since() { p { "Since " (time(since)) "." } }
        @for open in &answer.open { p { (open) } }
        @for change in &status.column_changes { p { (words::column_change(change)) "." } }
        (strip::draw(&model.timeline, status.watermark.max(model.since().unwrap_or_default()), 24, strip::PAGE))
        (html_frame::facts(&[
            ("queries", words::count(status.queries)),
            ("late", words::count(status.late)),
            ("clients in memory", words::count(status.clients)),
            ("callers flagged", words::count(status.flagged.values().sum())),
            ("campaigns", words::count(status.campaigns)),
            ("largest information budget", words::measured(status.information_budget_ratio)),
        ]))
    };
    html_frame::verdict(answer.class, &html! { (answer.word) }, answer.headline, &rest)
}

fn features(model: &Model) -> Markup {
    let drift: Vec<&FeatureDrift> = model.drift().collect();
    let most = drift.iter().map(|one| one.psi.max(one.psi_without_suspects).max(one.critical)).fold(LEAST_GAUGE, f64::max);
    html! {
        @if drift.is_empty() { p.note { "No test was made yet." } } @else {
            table {
                thead { tr { th { "Feature" } th.picture { "PSI against chance" } th.n { "PSI" } th.n { "Chance up to" } th.n { "Without suspects" } th { "Reading" } } }
                tbody {
                    @for one in &drift {
                        tr {
                            td { @if one.name == "prediction" { "the model's answer" } @else { (text(&one.name)) } }
                            td.gauge { (svg::drift_gauge(one, most)) }
                            td.n { (words::measured(one.psi)) }
                            td.n { (words::measured(one.critical)) }
                            td.n { (words::measured(one.psi_without_suspects)) }
                            td { (words::drift_reading(one)) }
                        }
                    }
                }
            }
        }
    }
}

fn columns(model: &Model) -> Markup {
    let status = model.status.clone().unwrap_or_default();
    html! {
        table {
            thead { tr { th { "Field" } th.n { "Missing" } th.n { "Not in the reference" } } }
            tbody {
                @for column in &status.columns {
                    tr {
                        td.changed[column.changed] { (text(&column.name)) @if column.changed { " (changed)" } }
                        td.n { (words::percent(column.missing)) } td.n { (words::percent(column.unseen)) }
                    }
                }
            }
        }
    }
}

fn subjects(subjects: &[std::sync::Arc<Subject>]) -> Markup {
    html! {
        table.list {
            thead { tr { th { "Who" } th { "What" } th.n { "Queries" } th.n { "Confidence" } th { "Since" } } }
            tbody {
                @for one in subjects.iter().take(MAX_LISTED) {
                    @let verdict = &one.verdict;
                    tr {
                        td.wrap { a.mono href=(callers::link(verdict)) { (callers::name(verdict)) } }
                        td { (verdict.family.map_or("", words::family)) }
                        td.n { (words::count(verdict.queries_seen)) }
                        td.n { @if let Some(confidence) = verdict.confidence { (words::confidence(confidence)) } }
                        td.t { @if let Some(since) = verdict.since { (time(since.0)) } }
                    }
                }
                @if subjects.is_empty() { tr { td colspan="5" { "None now." } } }
            }
        }
    }
}

//! Suppressions: whom nobody wants to hear of for a time. Before one is made, a preview says what it would have silenced.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::form::Form;
use super::frame::{self, part, text, time};
use super::refusal::PageProblem;
use crate::access::problem::Problem;
use crate::access::{Permission, Principal};
use crate::api::extract::{Params, PathPart};
use crate::api::state::{ApiState, actor};
use crate::api::suppressions::{PREVIEW_DAYS, end_for, known, reaches};
use crate::cases::suppression::preview::Preview;
use crate::cases::suppression::{Mode, NewSuppression, Suppression, Target};
use crate::html::words;

/// What a link to the page fills into its form.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    /// Kind of caller.
    kind: String,
    /// Which caller.
    value: String,
    /// On which model.
    on: String,
}

/// The page.
pub async fn page(State(state): State<ApiState>, who: Principal, Params(wanted): Params<Wanted>) -> Result<Response, PageProblem> {
    let all = known(&state, &who, false).await?;
    let body = html! {
        @if who.may(Permission::SuppressionsWrite) { (new_form(&who, &wanted)) }
        h2 { "In force and over" }
        div.scroll { table.list {
            thead { tr { th { "Caller" } th { "Mode" } th { "Model" } th { "Why" } th { "By" } th { "Ends" } th.n { "Silenced" } th { "" } } }
            tbody {
                @for one in &all { (row(&who, one)) }
                @if all.is_empty() { tr { td colspan="8" { "None." } } }
            }
        } }
    };
    Ok(frame::page(&who, "/cases", "Suppressions", &html! {}, &body))
}

fn row(who: &Principal, one: &Suppression) -> Markup {
    html! {
        tr {
            td.wrap.mono { (text(&one.value)) } td { (mode_word(one.mode)) } td { @if one.model.is_empty() { "all" } @else { (text(&one.model)) } }
            td.wrap { (text(&one.reason)) } td { (text(&one.created_by)) } td.t { (time(one.expires_at.0)) } td.n { (one.hits) }
            td {
                @if let Some(ended) = one.ended_at { "ended " (time(ended.0)) } @else if who.may(Permission::SuppressionsWrite) {
                    form method="post" action={ "/suppressions/" (part(&one.id)) "/end" } { (frame::token(who)) button.quiet { "End" } }
                }
            }
        }
    }
}

fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Suppress => "suppressed",
        Mode::Allow => "allowed",
    }
}

fn new_form(who: &Principal, wanted: &Wanted) -> Markup {
    html! {
        h2 { "A new one" }
        form.filter method="post" action="/suppressions/preview" {
            (frame::token(who))
            label { "Kind" select name="kind" { @for kind in ["address", "prefix", "account"] { option value=(kind) selected[wanted.kind == kind] { (kind) } } } }
            label { "Which" input name="value" value=(wanted.value) required maxlength="200"; }
            label { "Model; empty for all" input name="model" value=(wanted.on) maxlength="200"; }
            label { "Mode" select name="mode" { option value="suppress" { "suppress" } option value="allow" { "allow" } } }
            label { "Days" input name="days" type="number" min="1" max="366" value="30" required; }
            label { "Why" input name="reason" required maxlength="1000"; }
            button { "See what it would silence" }
        }
    }
}

fn read(form: &Form) -> Result<NewSuppression, Problem> {
    let wrong = |what: &str| Problem::bad_request(format!("{what} has no such value"));
    let kind = match form.get("kind") {
        "address" => Target::Address,
        "prefix" => Target::Prefix,
        "account" => Target::Account,
        _ => return Err(wrong("kind")),
    };
    let mode = match form.get("mode") {
        "suppress" => Mode::Suppress,
        "allow" => Mode::Allow,
        _ => return Err(wrong("mode")),
    };
    let days = form.get("days").parse().map_err(|_| wrong("days"))?;
    let text = |name: &str| form.get(name).trim().to_owned();
    Ok(NewSuppression { mode, kind, value: text("value"), model: text("model"), reason: text("reason"), days })
}

/// What it would have silenced, with the button that makes it.
pub async fn preview(State(state): State<ApiState>, who: Principal, form: Form) -> Result<Response, PageProblem> {
    let new = read(&form)?;
    reaches(&who.models, &new.model)?;
    let preview = state.cases()?.preview(new.clone(), PREVIEW_DAYS).await?;
    let body = html! {
        (effect(&preview))
        form method="post" action="/suppressions" {
            (frame::token(&who))
            @for name in ["kind", "value", "model", "mode", "days", "reason"] { input type="hidden" name=(name) value=(form.get(name)); }
            p { button.danger { "Make it" } " " a href="/suppressions" { "Do not" } }
        }
    };
    Ok(frame::page(&who, "/cases", &format!("Suppress {}?", text(&new.value)), &html! {}, &body))
}

fn effect(preview: &Preview) -> Markup {
    html! {
        p {
            "In the last " (preview.days) " days it would have silenced " strong { (words::counted(preview.verdicts, "verdict", "verdicts")) }
            " and " strong { (words::counted(preview.cases_total, "whole case", "whole cases")) } "."
            @if preview.incomplete { " There were more verdicts than could be looked at." }
        }
        @if !preview.confirmed.is_empty() {
            p.alert { "Among them are cases that people confirmed:" }
            ul { @for id in &preview.confirmed { li { a.mono href={ "/cases/" (part(id)) } { (text(id)) } } } }
        }
        @if !preview.cases.is_empty() {
            details { summary { "The cases" } ul { @for id in &preview.cases { li { a.mono href={ "/cases/" (part(id)) } { (text(id)) } } } } }
        }
    }
}

/// Makes it.
pub async fn make(State(state): State<ApiState>, who: Principal, form: Form) -> Result<Response, PageProblem> {
    let new = read(&form)?;
    reaches(&who.models, &new.model)?;
    state.cases()?.suppress(new, &actor(&who)).await?;
    Ok(Redirect::to("/suppressions").into_response())
}

/// Ends one.
pub async fn end(State(state): State<ApiState>, who: Principal, PathPart(id): PathPart<String>) -> Result<Response, PageProblem> {
    end_for(&state, &who, &id, "ended in the console").await?;
    Ok(Redirect::to("/suppressions").into_response())
}

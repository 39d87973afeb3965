//! Accounts and keys. A new key is shown once, on the answer to the form that made it.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde_json::json;

use super::form::Form;
use super::frame::{self, part, text, time};
use super::refusal::PageProblem;
use crate::access::accounts::KeyRecord;
use crate::access::problem::Problem;
use crate::access::{Principal, Role};
use crate::api::extract::PathPart;
use crate::api::keys;
use crate::api::state::{ApiState, actor};
use crate::clock;

/// The page.
pub async fn page(State(state): State<ApiState>, who: Principal) -> Result<Response, PageProblem> {
    show(&state, &who, &html! {}).await
}

async fn show(state: &ApiState, who: &Principal, news: &Markup) -> Result<Response, PageProblem> {
    let accounts = state.accounts()?;
    let (users, keys) = (accounts.users().await?, accounts.keys().await?);
    let now = clock::now();
    let body = html! {
        (news)
        h2 { "People" }
        table {
            thead { tr { th { "Name" } th { "Role" } th { "Models" } th { "Since" } } }
            tbody { @for user in &users { tr { td { (user.name) } td { (user.role.name()) } td { (models(&user.models.list())) } td.t { (time(user.created_at)) } } } }
        }
        p.note { "Accounts are made and removed through the API: POST and DELETE of /api/v1/users." }
        h2 { "API keys" }
        div.scroll { table {
            thead { tr { th { "Name" } th { "Role" } th { "Models" } th { "Made by" } th { "Ends" } th { "" } } }
            tbody { @for key in &keys { (row(who, key, key.is_in_force(now))) } }
        } }
        h3 { "A new key" }
        form.filter method="post" action="/people/keys" {
            (frame::token(who))
            label { "Name" input name="name" required maxlength="64" pattern="[A-Za-z0-9._@\\-]+"; }
            label { "Role" select name="role" { @for role in Role::ALL { option value=(role.name()) { (role.name()) } } } }
            label { "Models, apart by blanks; none for all" input name="models" maxlength="500"; }
            label { "Days" input name="days" type="number" min="1" max="366" value="90" required; }
            button { "Make the key" }
        }
    };
    Ok(frame::page(who, "/people", "People and keys", &html! {}, &body))
}

fn models(list: &[String]) -> String {
    if list.is_empty() { "all".to_owned() } else { text(&list.join(", ")) }
}

fn row(who: &Principal, key: &KeyRecord, is_in_force: bool) -> Markup {
    html! {
        tr {
            td { (key.name) } td { (key.role.name()) } td { (models(&key.models.list())) } td { (key.created_by) } td.t { (time(key.expires_at)) }
            td {
                @if is_in_force {
                    form method="post" action={ "/people/keys/" (part(&key.id)) "/revoke" } { (frame::token(who)) button.quiet { "Revoke" } }
                } @else if key.revoked_at.is_some() { "revoked" } @else { "ended" }
            }
        }
    }
}

/// Makes a key, and shows it once.
pub async fn make_key(State(state): State<ApiState>, who: Principal, form: Form) -> Result<Response, PageProblem> {
    let days = form.get("days").parse().map_err(|_| Problem::bad_request("days must be a number"))?;
    let role = Role::parse(form.get("role")).ok_or_else(|| Problem::bad_request("there is no such role"))?;
    let models = form.get("models").split_whitespace().map(str::to_owned).collect();
    let key = keys::make_for(&state, &who, keys::KeyWanted::new(form.get("name").to_owned(), role, models, days)).await?;
    let news = html! {
        div.card role="status" {
            p { "The key, shown once and kept nowhere:" }
            p.mono { (key.reveal()) }
        }
    };
    show(&state, &who, &news).await
}

/// Revokes a key.
pub async fn revoke_key(
    State(state): State<ApiState>,
    who: Principal,
    PathPart(id): PathPart<String>,
) -> Result<Response, PageProblem> {
    if !state.accounts()?.revoke_key(&id, clock::now()).await? {
        return Err(Problem::not_found().into());
    }
    state.note(actor(&who), "key.revoke", format!("key:{id}"), json!({})).await?;
    Ok(Redirect::to("/people").into_response())
}

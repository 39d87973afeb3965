//! One's own account: what one may do, and a new password.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde_json::json;

use super::form::Form;
use super::frame::{self, text};
use super::refusal::PageProblem;
use crate::access::authenticate::SignInFault;
use crate::access::guard::CallerAddress;
use crate::access::problem::Problem;
use crate::access::{Permission, Principal, password};
use crate::api::state::{ApiState, actor};
use crate::clock;

/// The page.
pub async fn page(who: Principal) -> Response {
    show(&who, None)
}

fn show(who: &Principal, fault: Option<&str>) -> Response {
    let may: Vec<&str> = Permission::ALL.into_iter().filter(|one| who.may(*one)).map(Permission::name).collect();
    let models = who.models.list();
    let body = html! {
        table { tbody {
            tr { th { "Name" } td { (text(&who.name)) } }
            tr { th { "Role" } td { (who.role.name()) } }
            tr { th { "May" } td { (may.join(", ")) } }
            tr { th { "Models" } td { @if models.is_empty() { "all" } @else { (text(&models.join(", "))) } } }
        } }
        @if who.session().is_some() { (form(who, fault)) }
    };
    frame::page(who, "/account", "Your account", &html! {}, &body)
}

fn form(who: &Principal, fault: Option<&str>) -> Markup {
    html! {
        h2 { "A new password" }
        form.card.narrow method="post" action="/account" {
            @if let Some(fault) = fault { p.alert role="alert" { (fault) } }
            (frame::token(who))
            label { "Present password" input name="old" type="password" autocomplete="current-password" required maxlength="256"; }
            label { "New password, 12 characters at least" input name="new" type="password" autocomplete="new-password" required minlength="12" maxlength="256"; }
            button { "Change it, and end all other sessions" }
        }
    }
}

/// Exchanges the password of whoever asks. Every session of the account ends, and a new one begins.
pub async fn change(
    State(state): State<ApiState>,
    who: Principal,
    CallerAddress(address): CallerAddress,
    fields: Form,
) -> Result<Response, PageProblem> {
    if who.session().is_none() {
        return Err(Problem::conflict("this credential has no password").into());
    }
    let new = fields.get("new");
    if let Some(fault) = password::fault(new, &who.name) {
        return Ok(show(&who, Some(fault)));
    }
    // Whoever found an open window must not guess here either.
    let checked = state.gate.check_password(&who.name, fields.get("old"), &address, clock::now()).await;
    match checked {
        Ok(true) => {}
        Ok(false) => return Ok(show(&who, Some("The present password is wrong."))),
        Err(SignInFault::Wait(seconds)) => return Err(Problem::too_many(seconds).into()),
        Err(SignInFault::Unavailable) => return Err(Problem::unavailable().into()),
    }
    let accounts = state.accounts()?;
    let hash = state.gate.passwords.hash(new.to_owned()).await.ok_or_else(Problem::unavailable)?;
    state.note(actor(&who), "user.password", format!("user:{}", who.name), json!({"address": address})).await?;
    accounts.set_password(&who.name, &hash).await?;
    let session = accounts.open_session(&who.name, state.gate.limits, clock::now()).await?;
    Ok(([(header::SET_COOKIE, state.gate.cookie(session.reveal()))], Redirect::to("/account")).into_response())
}

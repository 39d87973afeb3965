//! Sign-in, sign-out, and the first account.
//!
//! What went wrong is not said: a stranger must not learn which accounts exist. The audit tells an admin.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::form::{Form, own_path};
use super::frame;
use super::refusal::PageProblem;
use crate::access::accounts::NewUser;
use crate::access::authenticate::SignInFault;
use crate::access::guard::CallerAddress;
use crate::access::problem::Problem;
use crate::access::secret_token::SecretToken;
use crate::access::{ModelScope, Principal, Role, password};
use crate::api::extract::Params;
use crate::api::state::{ApiState, actor};
use crate::audit::Actor;
use crate::clock;

/// What the address of the sign-in says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Next {
    /// Where the person wanted to go.
    next: String,
}

/// The page of the sign-in.
pub async fn page(State(state): State<ApiState>, Params(Next { next }): Params<Next>) -> Result<Response, PageProblem> {
    if !state.accounts()?.has_users().await? {
        return Ok(Redirect::to("/first").into_response());
    }
    Ok(sign_in_page(&next, None))
}

fn sign_in_page(next: &str, fault: Option<&str>) -> Response {
    let body = html! {
        form.card.narrow method="post" action="/login" {
            (alert(fault))
            input type="hidden" name="next" value=(own_path(next));
            label { "Name" input name="name" autocomplete="username" autocapitalize="none" required maxlength="64" autofocus; }
            label { "Password" input name="password" type="password" autocomplete="current-password" required maxlength="256"; }
            button { "Sign in" }
        }
    };
    frame::bare("Sign in", &body)
}

fn alert(fault: Option<&str>) -> Markup {
    html! { @if let Some(fault) = fault { p.alert role="alert" { (fault) } } }
}

/// Signs a person in.
pub async fn enter(
    State(state): State<ApiState>,
    CallerAddress(address): CallerAddress,
    form: Form,
) -> Result<Response, PageProblem> {
    let (name, next) = (form.get("name"), form.get("next"));
    let session = match state.gate.sign_in(name, form.get("password"), &address, clock::now()).await {
        Ok(session) => session,
        Err(SignInFault::Wait(seconds)) => return Err(Problem::too_many(seconds).into()),
        Err(SignInFault::Unavailable) => return Err(Problem::unavailable().into()),
    };
    let Some(session) = session else {
        // A name that is not known may be a password in the wrong field.
        let is_known = state.accounts()?.user(name).await?.is_some();
        let subject = if is_known { format!("user:{name}") } else { "user:unknown".to_owned() };
        state.note(Actor::service(), "login.failed", subject, json!({"address": address})).await?;
        return Ok(sign_in_page(next, Some("The name or the password is wrong.")));
    };
    state.note(Actor::person(name), "login.succeeded", format!("user:{name}"), json!({"address": address})).await?;
    Ok(entered(&state, &session, own_path(next)))
}

fn entered(state: &ApiState, session: &SecretToken, next: &str) -> Response {
    ([(header::SET_COOKIE, state.gate.cookie(session.reveal()))], Redirect::to(next)).into_response()
}

/// Ends the session.
pub async fn leave(State(state): State<ApiState>, who: Principal) -> Result<Response, PageProblem> {
    if let Some(session) = who.session() {
        state.accounts()?.close_session(session).await?;
        state.note(actor(&who), "session.end", format!("user:{}", who.name), json!({})).await?;
    }
    Ok(([(header::SET_COOKIE, state.gate.cookie(""))], Redirect::to("/login")).into_response())
}

/// The page of the first account.
pub async fn first_page(State(state): State<ApiState>) -> Result<Response, PageProblem> {
    if state.accounts()?.has_users().await? {
        return Ok(Redirect::to("/login").into_response());
    }
    Ok(first_form("", None))
}

fn first_form(name: &str, fault: Option<&str>) -> Response {
    let body = html! {
        p.lead { "There is no account yet. The service has written a token to a file that its own user can read, and named that file in its log." }
        form.card.narrow method="post" action="/first" {
            (alert(fault))
            label { "Token" input name="token" autocomplete="off" required maxlength="128" autofocus; }
            label { "Your name" input name="name" value=(name) autocomplete="username" autocapitalize="none" required maxlength="64"; }
            label { "Your password, 12 characters at least" input name="password" type="password" autocomplete="new-password" required minlength="12" maxlength="256"; }
            button { "Make the first account" }
        }
    };
    frame::bare("The first account", &body)
}

/// Makes the first account, an admin, and signs it in.
pub async fn first(
    State(state): State<ApiState>,
    CallerAddress(address): CallerAddress,
    form: Form,
) -> Result<Response, PageProblem> {
    let now = clock::now();
    if let Some(seconds) = state.gate.first_wait(&address, now) {
        return Err(Problem::too_many(seconds).into());
    }
    let (name, secret) = (form.get("name").trim(), form.get("password"));
    let fault = password::fault(secret, name).or_else(|| crate::access::accounts::name_fault(name));
    if let Some(fault) = fault {
        return Ok(first_form(name, Some(fault)));
    }
    let accounts = state.accounts()?;
    let password = state.gate.passwords.hash(secret.to_owned()).await.ok_or_else(Problem::unavailable)?;
    let user = NewUser { name: name.to_owned(), password, role: Role::Admin, models: ModelScope::All };
    if !accounts.redeem_first(&SecretToken::sent(form.get("token").trim()), &user, now).await? {
        state.gate.first_failed(&address, now);
        state.note(Actor::service(), "login.failed", "user:first".to_owned(), json!({"address": address})).await?;
        return Ok(first_form(name, Some("The token is wrong, has ended, or was used.")));
    }
    state.note(Actor::person(name), "user.create", format!("user:{name}"), json!({"role": "admin", "address": address})).await?;
    let session = accounts.open_session(name, state.gate.limits, now).await?;
    Ok(entered(&state, &session, "/"))
}

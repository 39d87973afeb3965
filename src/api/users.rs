//! Local accounts of people, and their sessions.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::extract::{Body, PathPart};
use super::keys::narrowed;
use super::refusals::Refusals;
use super::state::{ApiState, actor};
use crate::access::accounts::NewUser;
use crate::access::problem::Problem;
use crate::access::{Principal, Role, password};
use crate::audit::Entry;
use crate::clock;

/// A local account.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct UserView {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Models that it may know of; empty for all.
    pub models: Vec<String>,
    /// When it was made, RFC 3339.
    pub created_at: String,
}

/// Every local account.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct UserList {
    /// By name.
    pub items: Vec<UserView>,
}

/// An account to be made.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserWanted {
    /// Its name: letters, digits and . - _ @.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._@-]+$")]
    name: String,
    /// Its password, 12 characters at least, without the name.
    #[schema(min_length = 12, max_length = 256)]
    password: String,
    /// What it may do; at most what the caller may.
    role: Role,
    /// Models that it may know of; none for all that the caller may know of.
    #[serde(default)]
    models: Vec<String>,
}

/// Every local account, without its password.
#[utoipa::path(
    get, path = "/api/v1/users", tag = "access", operation_id = "list_users",
    responses((status = 200, description = "The accounts, by name", body = UserList), Refusals)
)]
pub async fn list(State(state): State<ApiState>) -> Result<Json<UserList>, Problem> {
    let users = state.accounts()?.users().await?.into_iter();
    let view = |user: crate::access::accounts::UserRecord| UserView {
        name: user.name,
        role: user.role,
        models: user.models.list(),
        created_at: user.created_at.to_string(),
    };
    Ok(Json(UserList { items: users.map(view).collect() }))
}

/// Makes a local account.
#[utoipa::path(
    post, path = "/api/v1/users", tag = "access", operation_id = "make_user", request_body = UserWanted,
    responses((status = 201, description = "It is made"), Refusals)
)]
pub async fn make(State(state): State<ApiState>, who: Principal, Body(wanted): Body<UserWanted>) -> Result<StatusCode, Problem> {
    if wanted.role > who.role {
        return Err(Problem::forbidden());
    }
    if let Some(fault) = password::fault(&wanted.password, &wanted.name) {
        return Err(Problem::bad_request(fault));
    }
    let models = narrowed(&who.models, &wanted.models)?;
    let accounts = state.accounts()?;
    let hash = state.gate.passwords.hash(wanted.password).await.ok_or_else(Problem::unavailable)?;
    let new = NewUser { name: wanted.name, password: hash, role: wanted.role, models };
    let detail = json!({"role": new.role, "models": new.models.list()});
    let entry = Entry { actor: actor(&who), action: "user.create", subject: format!("user:{}", new.name), detail };
    accounts.add_user_noted(&new, clock::now(), state.audit()?, &entry).await?;
    Ok(StatusCode::CREATED)
}

/// Removes a local account, and ends its sessions at once. The last admin stays.
#[utoipa::path(
    delete, path = "/api/v1/users/{name}", tag = "access", operation_id = "remove_user", params(("name" = String, Path, description = "Name")),
    responses((status = 204, description = "It is removed"), Refusals)
)]
pub async fn remove(
    State(state): State<ApiState>,
    who: Principal,
    PathPart(name): PathPart<String>,
) -> Result<StatusCode, Problem> {
    if !state.accounts()?.remove_user(&name).await? {
        return Err(Problem::not_found());
    }
    state.note(actor(&who), "user.remove", format!("user:{name}"), json!({})).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends every session of an account at once.
#[utoipa::path(
    delete, path = "/api/v1/users/{name}/sessions", tag = "access", operation_id = "end_sessions",
    params(("name" = String, Path, description = "Name of the account")),
    responses((status = 204, description = "They have ended"), Refusals)
)]
pub async fn end_sessions(
    State(state): State<ApiState>,
    who: Principal,
    PathPart(name): PathPart<String>,
) -> Result<StatusCode, Problem> {
    let accounts = state.accounts()?;
    if accounts.user(&name).await?.is_none() {
        return Err(Problem::not_found());
    }
    let ended = accounts.close_sessions_of(&name).await?;
    state.note(actor(&who), "session.revoke", format!("user:{name}"), json!({"sessions": ended})).await?;
    Ok(StatusCode::NO_CONTENT)
}

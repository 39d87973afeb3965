//! Who asks, as it is known here, and the end of its own session.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::json;

use super::refusals::Refusals;
use super::state::{ApiState, actor};
use crate::access::problem::Problem;
use crate::access::{Permission, Principal, Role};

/// Who asks.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Me {
    /// Name in the audit.
    name: String,
    /// `user`, `key`, `token` or `anonymous`.
    kind: String,
    /// What it may do in general.
    role: Role,
    /// What it may do exactly.
    permissions: Vec<String>,
    /// Models that it may know of; empty for all.
    models: Vec<String>,
}

/// Who asks, and what it may do.
#[utoipa::path(
    get, path = "/api/v1/me", tag = "access", operation_id = "get_me",
    responses((status = 200, description = "The caller", body = Me), Refusals)
)]
pub async fn get(who: Principal) -> Json<Me> {
    let permissions = Permission::ALL.into_iter().filter(|one| who.may(*one)).map(|one| one.name().to_owned()).collect();
    let kind = who.kind_name().to_owned();
    Json(Me { name: who.name, kind, role: who.role, permissions, models: who.models.list() })
}

/// Ends the session of the request's cookie at once.
#[utoipa::path(
    delete, path = "/api/v1/session", tag = "access", operation_id = "end_session",
    responses((status = 204, description = "It has ended"), Refusals)
)]
pub async fn end(State(state): State<ApiState>, who: Principal) -> Result<impl IntoResponse, Problem> {
    let session = who.session().ok_or_else(|| Problem::conflict("this credential has no session"))?;
    state.accounts()?.close_session(session).await?;
    state.note(actor(&who), "session.end", format!("user:{}", who.name), json!({})).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, state.gate.cookie(""))]))
}

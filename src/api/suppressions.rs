//! Suppressions: callers of whom nobody wants to hear for a time, with a reason, and a preview of what they would silence.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::extract::{Body, Params, PathPart};
use super::refusals::Refusals;
use super::state::{ApiState, actor};
use crate::access::problem::Problem;
use crate::access::{ModelScope, Principal};
use crate::cases::suppression::preview::Preview;
use crate::cases::suppression::{NewSuppression, Suppression};

/// Days that a preview looks back.
pub const PREVIEW_DAYS: u32 = 14;

/// Which suppressions are wanted.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SuppressionParams {
    /// Those in force alone.
    active: bool,
}

/// Suppressions.
#[derive(Clone, Debug, Serialize)]
pub struct SuppressionList {
    /// The latest first.
    items: Vec<Suppression>,
}

/// Whether somebody may silence on this model. Who may know of some models alone cannot silence on all.
///
/// # Errors
/// Not permitted.
pub fn reaches(scope: &ModelScope, model: &str) -> Result<(), Problem> {
    let is_allowed = if model.is_empty() { *scope == ModelScope::All } else { scope.has(model) };
    if is_allowed { Ok(()) } else { Err(Problem::forbidden()) }
}

/// The suppressions that somebody may know of: those of its models.
///
/// # Errors
/// The database.
pub async fn known(state: &ApiState, who: &Principal, active: bool) -> Result<Vec<Suppression>, Problem> {
    let mut all = state.cases()?.suppressions(active).await?;
    all.retain(|one| one.model.is_empty() || who.models.has(&one.model));
    Ok(all)
}

/// Ends a suppression that somebody may end.
///
/// # Errors
/// Not found, not permitted, or the database.
pub async fn end_for(state: &ApiState, who: &Principal, id: &str, reason: &str) -> Result<(), Problem> {
    let found = known(state, who, false).await?.into_iter().find(|one| one.id == id).ok_or_else(Problem::not_found)?;
    reaches(&who.models, &found.model)?;
    Ok(state.cases()?.end_suppression(id, reason, &actor(who)).await?)
}

/// Suppressions and allowances.
#[utoipa::path(
    get, path = "/api/v1/suppressions", tag = "suppressions", operation_id = "list_suppressions", params(SuppressionParams),
    responses((status = 200, description = "The suppressions", body = Object), Refusals)
)]
pub async fn list(
    State(state): State<ApiState>,
    who: Principal,
    Params(params): Params<SuppressionParams>,
) -> Result<Json<SuppressionList>, Problem> {
    Ok(Json(SuppressionList { items: known(&state, &who, params.active).await? }))
}

/// Makes a suppression.
#[utoipa::path(
    post, path = "/api/v1/suppressions", tag = "suppressions", operation_id = "make_suppression", request_body = Object,
    responses((status = 201, description = "The suppression", body = Object), Refusals)
)]
pub async fn make(
    State(state): State<ApiState>,
    who: Principal,
    Body(new): Body<NewSuppression>,
) -> Result<(StatusCode, Json<Suppression>), Problem> {
    reaches(&who.models, &new.model)?;
    Ok((StatusCode::CREATED, Json(state.cases()?.suppress(new, &actor(&who)).await?)))
}

/// What a suppression would have silenced in the last fourteen days. It changes nothing.
#[utoipa::path(
    post, path = "/api/v1/suppressions/preview", tag = "suppressions", operation_id = "preview_suppression", request_body = Object,
    responses((status = 200, description = "What it would have silenced", body = Object), Refusals)
)]
pub async fn preview(
    State(state): State<ApiState>,
    who: Principal,
    Body(new): Body<NewSuppression>,
) -> Result<Json<Preview>, Problem> {
    reaches(&who.models, &new.model)?;
    Ok(Json(state.cases()?.preview(new, PREVIEW_DAYS).await?))
}

/// Ends a suppression before its time.
#[utoipa::path(
    delete, path = "/api/v1/suppressions/{id}", tag = "suppressions", operation_id = "end_suppression",
    params(("id" = String, Path, description = "Id of the suppression")),
    responses((status = 204, description = "It has ended"), Refusals)
)]
pub async fn end(State(state): State<ApiState>, who: Principal, PathPart(id): PathPart<String>) -> Result<StatusCode, Problem> {
    end_for(&state, &who, &id, "").await?;
    Ok(StatusCode::NO_CONTENT)
}

//! API keys: made once, shown once, revoked at once.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::extract::{Body, PathPart};
use super::refusals::Refusals;
use super::state::{ApiState, actor};
use crate::access::accounts::{KeyRecord, NewKey};
use crate::access::problem::Problem;
use crate::access::secret_token::ApiKey;
use crate::access::{ModelScope, Principal, Role};
use crate::clock;

/// Longest life of a key in days: what never ends is forgotten.
const MAX_DAYS: u32 = 366;

/// A key as it is kept.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct KeyView {
    /// Its id: the part between its underscores.
    pub id: String,
    /// Its name in the audit.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Models that it may know of; empty for all.
    pub models: Vec<String>,
    /// Who made it.
    pub created_by: String,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it ends, RFC 3339.
    pub expires_at: String,
    /// When it was revoked, RFC 3339.
    pub revoked_at: Option<String>,
}

/// Every key.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct KeyList {
    /// By name.
    pub items: Vec<KeyView>,
}

/// A key to be made.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyWanted {
    /// Its name in the audit: letters, digits and . - _ @. No other key may have it, so a repeated request makes no second key.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._@-]+$")]
    name: String,
    /// What it may do; at most what the caller may.
    role: Role,
    /// Models that it may know of; none for all that the caller may know of.
    #[serde(default)]
    models: Vec<String>,
    /// Days until it ends, 1 to 366.
    #[schema(minimum = 1, maximum = 366)]
    days: u32,
}

/// A key that was just made.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct KeyMade {
    /// The key. It is shown here once and kept nowhere.
    pub key: String,
    /// Its id.
    pub id: String,
}

impl From<KeyRecord> for KeyView {
    fn from(key: KeyRecord) -> Self {
        Self {
            id: key.id,
            name: key.name,
            role: key.role,
            models: key.models.list(),
            created_by: key.created_by,
            created_at: key.created_at.to_string(),
            expires_at: key.expires_at.to_string(),
            revoked_at: key.revoked_at.map(|at| at.to_string()),
        }
    }
}

/// Every API key, without its secret.
#[utoipa::path(
    get, path = "/api/v1/keys", tag = "access", operation_id = "list_keys",
    responses((status = 200, description = "The keys, by name", body = KeyList), Refusals)
)]
pub async fn list(State(state): State<ApiState>) -> Result<Json<KeyList>, Problem> {
    let keys = state.accounts()?.keys().await?;
    Ok(Json(KeyList { items: keys.into_iter().map(KeyView::from).collect() }))
}

/// Makes an API key.
#[utoipa::path(
    post, path = "/api/v1/keys", tag = "access", operation_id = "make_key", request_body = KeyWanted,
    responses((status = 201, description = "The key, shown once", body = KeyMade), Refusals)
)]
pub async fn make(
    State(state): State<ApiState>,
    who: Principal,
    Body(wanted): Body<KeyWanted>,
) -> Result<(StatusCode, Json<KeyMade>), Problem> {
    let key = make_for(&state, &who, wanted).await?;
    Ok((StatusCode::CREATED, Json(KeyMade { key: key.reveal(), id: key.id })))
}

/// Makes a key for somebody who may make keys.
///
/// # Errors
/// A problem if it would reach further than its maker, or its name is taken.
pub async fn make_for(state: &ApiState, who: &Principal, wanted: KeyWanted) -> Result<ApiKey, Problem> {
    if !(1..=MAX_DAYS).contains(&wanted.days) {
        return Err(Problem::bad_request(format!("days must be 1 to {MAX_DAYS}")));
    }
    if wanted.role > who.role {
        return Err(Problem::forbidden());
    }
    let models = narrowed(&who.models, &wanted.models)?;
    let now = clock::now();
    let new = NewKey {
        name: wanted.name,
        role: wanted.role,
        models,
        created_by: who.name.clone(),
        expires_at: now.plus_seconds(i64::from(wanted.days) * 86_400),
    };
    let key = state.accounts()?.add_key(&new, now).await?;
    let detail = json!({"name": new.name, "role": new.role, "models": new.models.list(), "expires_at": new.expires_at.to_string()});
    state.note(actor(who), "key.create", format!("key:{}", key.id), detail).await?;
    Ok(key)
}

// === impl KeyWanted ===

impl KeyWanted {
    /// A key to be made.
    pub const fn new(name: String, role: Role, models: Vec<String>, days: u32) -> Self {
        Self { name, role, models, days }
    }
}

/// Revokes an API key at once. Keys of the configuration are taken out there.
#[utoipa::path(
    delete, path = "/api/v1/keys/{id}", tag = "access", operation_id = "revoke_key", params(("id" = String, Path, description = "Id of the key")),
    responses((status = 204, description = "It is revoked"), Refusals)
)]
pub async fn revoke(State(state): State<ApiState>, who: Principal, PathPart(id): PathPart<String>) -> Result<StatusCode, Problem> {
    if !state.accounts()?.revoke_key(&id, clock::now()).await? {
        return Err(Problem::not_found());
    }
    state.note(actor(&who), "key.revoke", format!("key:{id}"), json!({})).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A scope that somebody may give: part of its own.
///
/// # Errors
/// A problem if it reaches further.
pub fn narrowed(own: &ModelScope, wanted: &[String]) -> Result<ModelScope, Problem> {
    if wanted.is_empty() {
        return Ok(own.clone());
    }
    if wanted.iter().all(|model| own.has(model)) { Ok(ModelScope::of(wanted)) } else { Err(Problem::forbidden()) }
}

//! The audit: who did what.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::extract::Params;
use super::page::{MAX_LIMIT, Page};
use super::refusals::Refusals;
use super::state::ApiState;
use crate::access::problem::Problem;
use crate::audit::{AuditFilter, AuditRecord};
use crate::event::EventTime;

/// Which entries are wanted.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TrailFilter {
    /// Those of this actor.
    pub actor: Option<String>,
    /// Those of this action, such as `case.change`, or of its area, such as `case`.
    pub action: Option<String>,
    /// Those about this subject, such as `case:c-1`.
    pub subject: Option<String>,
    /// Those from this time on, RFC 3339.
    pub from: Option<String>,
    /// Those before this time, RFC 3339.
    pub until: Option<String>,
    /// Entries of a page, 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    pub cursor: Option<String>,
}

/// An entry of the audit.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct TrailEntry {
    /// Place in the chain, from 1.
    pub seq: i64,
    /// When, RFC 3339.
    pub at: String,
    /// Kind of the actor: `person`, `key`, `service` or `command`.
    pub actor_kind: String,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what; empty if it was erased.
    pub subject: String,
    /// How; null if it was erased.
    #[schema(value_type = Option<Object>)]
    pub detail: Value,
    /// Whether subject and detail were erased at a person's demand.
    pub erased: bool,
    /// Signature of the entry and of all before it.
    pub mac: String,
}

impl From<AuditRecord> for TrailEntry {
    fn from(entry: AuditRecord) -> Self {
        Self {
            seq: entry.seq,
            at: entry.at.0.to_string(),
            actor_kind: entry.actor.kind.name().to_owned(),
            actor: entry.actor.name,
            action: entry.action,
            subject: entry.subject,
            detail: entry.detail,
            erased: entry.erased,
            mac: entry.mac,
        }
    }
}

// === impl TrailFilter ===

impl TrailFilter {
    /// The filter as the audit takes it, and the entries of a page.
    ///
    /// # Errors
    /// A problem if a value cannot be used.
    pub fn read(&self) -> Result<(AuditFilter, u32), Problem> {
        let limit = self.limit.unwrap_or(super::page::DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Problem::bad_request(format!("limit must be 1 to {MAX_LIMIT}")));
        }
        let time = |text: &Option<String>| match text {
            None => Ok(0),
            Some(text) => EventTime::parse(text).map(EventTime::micros).map_err(|_| Problem::bad_request("a time is no RFC 3339")),
        };
        let before = match self.cursor.as_deref().map(str::parse::<i64>) {
            None => 0,
            Some(Ok(seq)) if seq > 0 => seq,
            Some(_) => return Err(Problem::bad_request("the cursor is none of this service")),
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let filter = AuditFilter {
            actor: text(&self.actor),
            action: text(&self.action),
            subject: text(&self.subject),
            from: time(&self.from)?,
            until: time(&self.until)?,
            before,
            // One more says whether there is another page.
            limit: limit + 1,
        };
        Ok((filter, limit))
    }
}

/// A page of the audit.
///
/// # Errors
/// A problem without a database, or if it cannot be read.
pub async fn page(state: &ApiState, filter: &TrailFilter) -> Result<Page<TrailEntry>, Problem> {
    let (wanted, limit) = filter.read()?;
    let mut entries = state.audit()?.query(&wanted).await?;
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let next = entries.last().filter(|_| more).map(|entry| entry.seq.to_string());
    Ok(Page { items: entries.into_iter().map(TrailEntry::from).collect(), next })
}

/// Entries of the audit, the latest first.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "audit", operation_id = "list_audit", params(TrailFilter),
    responses((status = 200, description = "A page of entries", body = Page<TrailEntry>), Refusals)
)]
pub async fn list(State(state): State<ApiState>, Params(filter): Params<TrailFilter>) -> Result<Json<Page<TrailEntry>>, Problem> {
    page(&state, &filter).await.map(Json)
}

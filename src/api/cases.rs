//! Cases: the queue, everything of one case, and what people do with it.
//!
//! A change may bring `Idempotency-Key`: sent twice, it happens once. It may name the version that it means; another one is a conflict.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::extract::{Body, Params, PathPart};
use super::page::{DEFAULT_LIMIT, MAX_LIMIT, Page};
use super::refusals::Refusals;
use super::state::{ApiState, actor};
use crate::access::problem::Problem;
use crate::access::{ModelScope, Principal};
use crate::cases::detail::{CaseQuery, Member, Related, TimelineEvent};
use crate::cases::line::Signal;
use crate::cases::rules::{Severity, Status};
use crate::cases::{Case, CaseError, CaseFilter, CaseSort, Cases, Change, Feedback};
use crate::event::EventTime;
use crate::export::Format;

/// Rows of each part of a case.
const MAX_ROWS: u32 = 500;
/// The header that names a request.
const KEY: &str = "idempotency-key";
/// Longest name of a request.
const MAX_KEY: usize = 200;

/// Which cases are wanted.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CaseParams {
    /// Those on this model.
    pub model: Option<String>,
    /// Those with this shape of probing.
    pub family: Option<String>,
    /// Those of this severity or more: `low`, `medium`, `high` or `critical`.
    pub severity: Option<String>,
    /// Those with one of these statuses, apart by commas: `open`, `acknowledged`, `confirmed`, `dismissed`, `closed`.
    pub status: Option<String>,
    /// Those of this owner; `-` for those without one.
    pub owner: Option<String>,
    /// Those with an address in this network.
    pub network: Option<String>,
    /// Those with this account.
    pub account: Option<String>,
    /// Those found `true_positive` or `false_positive`.
    pub feedback: Option<String>,
    /// Those heard of at this time or later, RFC 3339.
    pub seen_from: Option<String>,
    /// Those heard of first before this time, RFC 3339.
    pub seen_until: Option<String>,
    /// What to sort by, the largest first: `severity` (unless given), `last_seen`, `first_seen`, `queries` or `members`.
    pub sort: Option<String>,
    /// Cases of a page, 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    pub cursor: Option<String>,
}

/// Everything of a case.
#[derive(Clone, Debug, Serialize)]
pub struct CaseDetail {
    /// The case.
    pub case: Case,
    /// Its callers.
    pub members: Vec<Member>,
    /// What happened, the latest first.
    pub timeline: Vec<TimelineEvent>,
    /// Why, heaviest first.
    pub evidence: Vec<Signal>,
    /// The queries that led to it, oldest first. What strangers wrote stands in it as they wrote it.
    pub queries: Vec<CaseQuery>,
    /// Cases that have something in common with it.
    pub related: Vec<Related>,
}

/// The same change of several cases.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bulk {
    /// The cases, 500 at most.
    #[schema(min_items = 1, max_items = 500)]
    ids: Vec<String>,
    /// The change.
    #[schema(value_type = Object)]
    change: Change,
}

/// What became of one case.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct BulkResult {
    /// The case.
    pub id: String,
    /// Whether it was changed.
    pub changed: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What became of all.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct BulkResults {
    /// In the order of the request.
    pub items: Vec<BulkResult>,
}

impl From<CaseError> for Problem {
    fn from(error: CaseError) -> Self {
        match error {
            CaseError::NotFound(_) => Self::not_found(),
            CaseError::Conflict(what) => Self::conflict(what),
            CaseError::Invalid(what) => Self::bad_request(what),
            CaseError::Store(error) => error.into(),
        }
    }
}

// === impl CaseParams ===

impl CaseParams {
    /// The filter, the order and the size of a page.
    ///
    /// # Errors
    /// A problem if a value cannot be used.
    pub fn read(&self, scope: &ModelScope) -> Result<(CaseFilter, CaseSort, u32), Problem> {
        fn word<T: serde::de::DeserializeOwned>(name: &str, word: &str) -> Result<T, Problem> {
            serde_json::from_value(Value::from(word)).map_err(|_| Problem::bad_request(format!("there is no {name} '{word}'")))
        }
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let text = |of: &Option<String>| given(of).unwrap_or_default();
        let time = |text: &Option<String>| match given(text) {
            None => Ok(0),
            Some(text) => EventTime::parse(&text).map(EventTime::micros).map_err(|_| Problem::bad_request("a time is no RFC 3339")),
        };
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Problem::bad_request(format!("limit must be 1 to {MAX_LIMIT}")));
        }
        let status = given(&self.status);
        let status =
            status.iter().flat_map(|all| all.split(',')).map(|one| word::<Status>("status", one)).collect::<Result<_, _>>()?;
        let filter = CaseFilter {
            model: text(&self.model),
            models: scope.list(),
            family: text(&self.family),
            severity: given(&self.severity).map(|one| word::<Severity>("severity", &one)).transpose()?,
            status,
            owner: text(&self.owner),
            network: text(&self.network),
            account: text(&self.account),
            feedback: given(&self.feedback).map(|one| word::<Feedback>("feedback", &one)).transpose()?,
            seen_from: time(&self.seen_from)?,
            seen_until: time(&self.seen_until)?,
        };
        let sort = given(&self.sort).map_or(Ok(CaseSort::default()), |one| word("sort", &one))?;
        Ok((filter, sort, limit))
    }
}

/// A page of the queue, of the cases that somebody may know of.
///
/// # Errors
/// A problem if the filter cannot be used, or the database.
pub async fn page(state: &ApiState, who: &Principal, params: &CaseParams) -> Result<Page<Case>, Problem> {
    let (filter, sort, limit) = params.read(&who.models)?;
    let cases = state.cases()?;
    if knows_nothing(&who.models) {
        // The queue takes an empty list as all models.
        return Ok(Page { items: Vec::new(), next: None });
    }
    let cursor = params.cursor.as_deref().filter(|cursor| !cursor.is_empty());
    let page = cases.list(&filter, sort, cursor, limit).await?;
    Ok(Page { items: page.cases, next: page.next })
}

fn knows_nothing(scope: &ModelScope) -> bool {
    *scope != ModelScope::All && scope.list().is_empty()
}

/// A case that somebody may know of.
///
/// # Errors
/// Not found, or the database.
pub async fn known(cases: &Cases, who: &Principal, id: &str) -> Result<Case, Problem> {
    let case = cases.get(id).await?;
    super::state::within(&who.models, &case.model)?;
    Ok(case)
}

/// Everything of a case that somebody may know of.
///
/// # Errors
/// Not found, or the database.
pub async fn detail(state: &ApiState, who: &Principal, id: &str) -> Result<CaseDetail, Problem> {
    let cases = state.cases()?;
    let case = known(cases, who, id).await?;
    let mut related = cases.related(id).await?;
    related.retain(|one| who.models.has(&one.model));
    Ok(CaseDetail {
        members: cases.members_of(id, MAX_ROWS).await?,
        timeline: cases.timeline(id, MAX_ROWS).await?,
        evidence: cases.evidence(id).await?,
        queries: cases.queries_of(id, MAX_ROWS).await?,
        related,
        case,
    })
}

/// Changes cases that somebody may know of, each by itself.
///
/// # Errors
/// A problem if the change is not in order, or the database.
pub async fn change_all(
    state: &ApiState,
    who: &Principal,
    ids: &[String],
    change: &Change,
    key: &str,
) -> Result<Vec<BulkResult>, Problem> {
    let cases = state.cases()?;
    let (mut allowed, mut results) = (Vec::new(), Vec::new());
    for id in ids {
        match known(cases, who, id).await {
            Ok(_) => allowed.push(id.clone()),
            Err(problem) if problem.status() == StatusCode::NOT_FOUND => {
                results.push(BulkResult { id: id.clone(), changed: false, problem: Some("there is no such case".into()) });
            }
            Err(problem) => return Err(problem),
        }
    }
    for one in cases.change_all(&allowed, change, &actor(who), key).await? {
        let problem = one.result.err().map(|error| Problem::from(error).words());
        results.push(BulkResult { id: one.id, changed: problem.is_none(), problem });
    }
    Ok(results)
}

/// The name of a request; empty if it has none.
fn key(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get(KEY) else { return Ok(String::new()) };
    let text = value.to_str().ok().filter(|text| (1..=MAX_KEY).contains(&text.len()));
    text.map(str::to_owned).ok_or_else(|| Problem::bad_request("Idempotency-Key has 1 to 200 plain characters"))
}

/// The queue.
#[utoipa::path(
    get, path = "/api/v1/cases", tag = "cases", operation_id = "list_cases", params(CaseParams),
    responses((status = 200, description = "A page of cases", body = Page<Object>), Refusals)
)]
pub async fn list(
    State(state): State<ApiState>,
    who: Principal,
    Params(params): Params<CaseParams>,
) -> Result<Json<Page<Case>>, Problem> {
    page(&state, &who, &params).await.map(Json)
}

/// Everything of a case: members, timeline, evidence, queries, related cases.
#[utoipa::path(
    get, path = "/api/v1/cases/{id}", tag = "cases", operation_id = "get_case", params(("id" = String, Path, description = "Id of the case")),
    responses((status = 200, description = "The case", body = Object), Refusals)
)]
pub async fn get(
    State(state): State<ApiState>,
    who: Principal,
    PathPart(id): PathPart<String>,
) -> Result<Json<CaseDetail>, Problem> {
    detail(&state, &who, &id).await.map(Json)
}

/// In which format a case is exported.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportParams {
    /// `json` (unless given), `csv`, `ocsf`, `ecs` or `stix`.
    format: Option<String>,
}

/// A case with everything that belongs to it, in a format of other systems. The export is noted in the audit.
#[utoipa::path(
    get, path = "/api/v1/cases/{id}/export", tag = "cases", operation_id = "export_case",
    params(("id" = String, Path, description = "Id of the case"), ExportParams),
    responses(
        (status = 200, description = "The case", content(
            (Object = "application/x-ndjson"), (String = "text/csv"), (Object = "application/stix+json"),
        )),
        Refusals,
    )
)]
pub async fn export(
    State(state): State<ApiState>,
    who: Principal,
    PathPart(id): PathPart<String>,
    Params(params): Params<ExportParams>,
) -> Result<Response, Problem> {
    let word = params.format.as_deref().unwrap_or("json");
    let format = Format::read(word).ok_or_else(|| Problem::bad_request(format!("there is no format '{word}'")))?;
    let cases = state.cases()?;
    let case = known(cases, &who, &id).await?;
    let file = cases.export(&case.id, &actor(&who), format.name()).await?;
    let text = format.write(&[file]).map_err(|error| {
        tracing::error!("{error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the export cannot be written")
    })?;
    // A download, so that a browser never shows it as a page.
    let name = format!("attachment; filename=\"tripline-case.{}\"", format.name());
    Ok(([(header::CONTENT_TYPE, format.media_type().to_owned()), (header::CONTENT_DISPOSITION, name)], text).into_response())
}

/// Changes a case: status, owner, severity, note, feedback.
#[utoipa::path(
    patch, path = "/api/v1/cases/{id}", tag = "cases", operation_id = "change_case",
    params(("id" = String, Path, description = "Id of the case"), ("Idempotency-Key" = Option<String>, Header, description = "Name of the request")),
    request_body = Object, responses((status = 200, description = "The case as it is now", body = Object), Refusals)
)]
pub async fn change(
    State(state): State<ApiState>,
    who: Principal,
    PathPart(id): PathPart<String>,
    headers: HeaderMap,
    Body(change): Body<Change>,
) -> Result<Json<Case>, Problem> {
    let cases = state.cases()?;
    known(cases, &who, &id).await?;
    Ok(Json(cases.change(&id, &change, &actor(&who), &key(&headers)?).await?))
}

/// Changes several cases, each by itself.
#[utoipa::path(
    post, path = "/api/v1/cases/bulk", tag = "cases", operation_id = "change_cases",
    params(("Idempotency-Key" = Option<String>, Header, description = "Name of the request")),
    request_body = Bulk, responses((status = 200, description = "What became of each", body = BulkResults), Refusals)
)]
pub async fn bulk(
    State(state): State<ApiState>,
    who: Principal,
    headers: HeaderMap,
    Body(bulk): Body<Bulk>,
) -> Result<Json<BulkResults>, Problem> {
    let items = change_all(&state, &who, &bulk.ids, &bulk.change, &key(&headers)?).await?;
    Ok(Json(BulkResults { items }))
}

//! Models and their state.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::extract::{Params, PathPart};
use super::page::{Page, Place, Wanted};
use super::refusals::Refusals;
use super::state::{ApiState, within};
use crate::access::Principal;
use crate::access::problem::Problem;
use crate::judge::FeatureDrift;
use crate::readmodel::{Change, Model};

/// Which models are wanted.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ModelFilter {
    /// Those with this verdict: `stable`, `drift`, `probing`, `drift+probing` or `undetermined`.
    #[param(inline)]
    verdict: Option<ModelVerdict>,
    /// Items of a page, 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// What is said of a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub enum ModelVerdict {
    /// Nothing is happening.
    #[serde(rename = "stable")]
    Stable,
    /// The world changed.
    #[serde(rename = "drift")]
    Drift,
    /// Somebody queries systematically.
    #[serde(rename = "probing")]
    Probing,
    /// Both at once.
    #[serde(rename = "drift+probing")]
    DriftAndProbing,
    /// It was not judged yet.
    #[serde(rename = "undetermined")]
    Undetermined,
}

/// A model in a list.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ModelSummary {
    /// Its name.
    pub name: String,
    /// What is said of it.
    pub verdict: ModelVerdict,
    /// The same as a headline.
    pub headline: String,
    /// Event time since which it is said, RFC 3339.
    pub since: Option<String>,
    /// What was not judged, in sentences.
    pub open: Vec<String>,
    /// Accepted queries.
    pub queries: u64,
    /// Clients in memory.
    pub clients: u64,
    /// Callers flagged now.
    pub flagged: u64,
    /// Campaigns now.
    pub campaigns: u64,
}

/// A model.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ModelDetail {
    /// As in a list.
    #[serde(flatten)]
    pub summary: ModelSummary,
    /// Event time that is complete, RFC 3339; null before the first record.
    pub watermark: Option<String>,
    /// Late queries.
    pub late: u64,
    /// Features that drift now.
    pub drifting: Vec<String>,
    /// Drift by feature, and of the model's answers.
    pub features: Vec<FeatureView>,
    /// Changes of the verdict, oldest first.
    pub timeline: Vec<ChangeView>,
}

/// Drift of one feature.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct FeatureView {
    /// Its name; `prediction` for the model's answers.
    pub name: String,
    /// Population stability index of the window.
    pub psi: f64,
    /// What chance exceeds with the configured probability.
    pub critical: f64,
    /// The index without the suspects' queries.
    pub psi_without_suspects: f64,
}

/// A change of a verdict.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ChangeView {
    /// Event time, RFC 3339.
    pub at: String,
    /// The verdict from then on.
    pub verdict: String,
}

impl From<&Change> for ChangeView {
    fn from(change: &Change) -> Self {
        Self { at: change.at.to_string(), verdict: change.finding.name().to_owned() }
    }
}

impl From<&FeatureDrift> for FeatureView {
    fn from(drift: &FeatureDrift) -> Self {
        let FeatureDrift { name, psi, critical, psi_without_suspects } = drift.clone();
        Self { name, psi, critical, psi_without_suspects }
    }
}

// === impl ModelVerdict ===

impl ModelVerdict {
    fn of(name: &str) -> Self {
        match name {
            "stable" => Self::Stable,
            "drift" => Self::Drift,
            "probing" => Self::Probing,
            "drift+probing" => Self::DriftAndProbing,
            _ => Self::Undetermined,
        }
    }
}

// === impl ModelSummary ===

impl ModelSummary {
    /// A model in a list.
    pub fn of(model: &Model) -> Self {
        let answer = model.answer();
        let status = model.status.clone().unwrap_or_default();
        Self {
            name: model.name.clone(),
            verdict: ModelVerdict::of(answer.name),
            headline: answer.headline.to_owned(),
            since: model.since().map(|at| at.to_string()),
            open: answer.open,
            queries: status.queries,
            clients: status.clients,
            flagged: status.flagged.values().sum(),
            campaigns: status.campaigns,
        }
    }
}

/// The models that a caller may know of.
#[utoipa::path(
    get, path = "/api/v1/models", tag = "models", operation_id = "list_models", params(ModelFilter),
    responses((status = 200, description = "A page of models, by name", body = Page<ModelSummary>), Refusals)
)]
pub async fn list(
    State(state): State<ApiState>,
    who: Principal,
    Params(filter): Params<ModelFilter>,
) -> Result<Json<Page<ModelSummary>>, Problem> {
    let wanted = Wanted::read(filter.limit, filter.cursor.as_deref(), false)?;
    let models = state.feed.read_model().models();
    let seen = models.iter().filter(|model| who.models.has(&model.name)).map(|model| ModelSummary::of(model));
    let of_verdict = seen.filter(|model| filter.verdict.is_none_or(|verdict| verdict == model.verdict)).collect();
    Ok(Json(wanted.cut(of_verdict, |model| Place::by_name(&model.name))))
}

/// One model.
#[utoipa::path(
    get, path = "/api/v1/models/{model}", tag = "models", operation_id = "get_model", params(("model" = String, Path, description = "Name")),
    responses((status = 200, description = "The model", body = ModelDetail), Refusals)
)]
pub async fn get(
    State(state): State<ApiState>,
    who: Principal,
    PathPart(name): PathPart<String>,
) -> Result<Json<ModelDetail>, Problem> {
    within(&who.models, &name)?;
    let model = state.feed.read_model().models().into_iter().find(|model| model.name == name).ok_or_else(Problem::not_found)?;
    let status = model.status.as_ref();
    Ok(Json(ModelDetail {
        summary: ModelSummary::of(&model),
        watermark: status.map(|status| status.watermark.to_string()),
        late: status.map(|status| status.late).unwrap_or_default(),
        drifting: model.drifting_now().into_iter().map(str::to_owned).collect(),
        features: model.drift().map(FeatureView::from).collect(),
        timeline: model.timeline.iter().map(ChangeView::from).collect(),
    }))
}

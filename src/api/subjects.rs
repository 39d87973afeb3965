//! Callers and campaigns: whom verdicts speak of.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::extract::{Params, PathPart};
use super::models::ChangeView;
use super::page::{Page, Place, Wanted};
use super::refusals::Refusals;
use super::state::ApiState;
use crate::access::Principal;
use crate::access::problem::Problem;
use crate::event::Address;
use crate::judge::{Scope, Verdict};
use crate::readmodel::Subject;

/// Which callers or campaigns are wanted.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SubjectFilter {
    /// Those of this model.
    pub model: Option<String>,
    /// Those with this verdict.
    #[param(inline)]
    pub verdict: Option<SubjectVerdict>,
    /// Those with this shape of probing, such as `grid` or `boundary`.
    pub family: Option<String>,
    /// Those with this address or account among them.
    pub subject: Option<String>,
    /// Those with an address in this network, such as `203.0.113.0/24`.
    pub network: Option<String>,
    /// What to sort by; the latest first unless given.
    #[param(inline)]
    pub sort: Option<SubjectSort>,
    /// Items of a page, 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    pub cursor: Option<String>,
}

/// What is said of a caller or campaign.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectVerdict {
    /// Nothing against it any more.
    Benign,
    /// Evidence, but not enough.
    Suspicious,
    /// It queries systematically.
    Probing,
}

/// What to sort by, the largest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectSort {
    /// Event time of the latest verdict.
    #[default]
    At,
    /// Queries up to it.
    Queries,
    /// Confidence.
    Confidence,
}

/// A caller or a campaign in a list.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SubjectSummary {
    /// Its id: of a campaign its case, of a caller a hash of model, address and account.
    pub id: String,
    /// The model that it asks.
    pub model: String,
    /// The address, if it is one.
    pub source_ip: Option<String>,
    /// The prefix, if it is one.
    pub source_prefix: Option<String>,
    /// The account, if it is one.
    pub client_id: Option<String>,
    /// The addresses of a campaign.
    pub members: Vec<String>,
    /// What is said of it.
    pub verdict: SubjectVerdict,
    /// Shape of the probing.
    pub family: Option<String>,
    /// 0 to 1.
    pub confidence: Option<f64>,
    /// Queries up to the latest verdict.
    pub queries_seen: u64,
    /// Event time of the latest verdict, RFC 3339.
    pub at: String,
    /// Event time of the first query that counts as evidence, RFC 3339.
    pub since: Option<String>,
    /// The case that groups the verdicts.
    pub case: Option<String>,
}

/// A caller or a campaign.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SubjectDetail {
    /// As in a list.
    #[serde(flatten)]
    pub summary: SubjectSummary,
    /// Changes of its verdict, oldest first.
    pub timeline: Vec<ChangeView>,
    /// The latest verdict as in the stream of verdicts, with signals and queries. What strangers wrote stands in it as they wrote it.
    #[schema(value_type = Object)]
    pub latest: Value,
}

/// A network: an address and the bits that count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network(IpAddr, u8);

// === impl Network ===

impl Network {
    /// Reads `203.0.113.0/24`, or an address alone.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
        (bits <= most).then_some(Self(address, bits))
    }

    /// Whether an address is in it.
    pub fn has(&self, address: IpAddr) -> bool {
        match (self.0, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.1)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.1)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// The id of a caller or campaign.
pub fn id_of(verdict: &Verdict) -> String {
    if verdict.scope == Scope::Campaign {
        return verdict.case.clone().unwrap_or_default();
    }
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    let text = [verdict.model.clone(), part(&verdict.source_ip), part(&verdict.source_prefix), part(&verdict.client_id)].join("\0");
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn summary(subject: &Subject) -> SubjectSummary {
    let verdict = &subject.verdict;
    SubjectSummary {
        id: id_of(verdict),
        model: verdict.model.clone(),
        source_ip: verdict.source_ip.clone(),
        source_prefix: verdict.source_prefix.clone(),
        client_id: verdict.client_id.clone(),
        members: verdict.members.clone(),
        verdict: match verdict.verdict.name() {
            "probing" => SubjectVerdict::Probing,
            "suspicious" => SubjectVerdict::Suspicious,
            _ => SubjectVerdict::Benign,
        },
        family: verdict.family.map(|family| family.name().to_owned()),
        confidence: verdict.confidence,
        queries_seen: verdict.queries_seen,
        at: verdict.at.0.to_string(),
        since: verdict.since.map(|at| at.0.to_string()),
        case: verdict.case.clone(),
    }
}

fn detail(subject: &Subject) -> SubjectDetail {
    SubjectDetail {
        summary: summary(subject),
        timeline: subject.timeline.iter().map(ChangeView::from).collect(),
        latest: serde_json::to_value(&subject.verdict).unwrap_or_default(),
    }
}

/// The page of subjects that a filter asks for, of those that a caller may know of.
///
/// # Errors
/// A problem if the filter cannot be used.
pub fn page(subjects: &[Arc<Subject>], who: &Principal, filter: &SubjectFilter) -> Result<Page<SubjectSummary>, Problem> {
    let wanted = Wanted::read(filter.limit, filter.cursor.as_deref(), true)?;
    let network =
        filter.network.as_deref().map(|text| Network::parse(text).ok_or_else(|| Problem::bad_request("network is no network")));
    let network = network.transpose()?;
    let in_network = |text: &String| match (network, Address::parse(text)) {
        (Some(network), Some(Address::Ip(ip))) => network.has(ip),
        (Some(_), _) => false,
        (None, _) => true,
    };
    let fits = |one: &SubjectSummary| {
        let names = || one.source_ip.iter().chain(&one.client_id).chain(&one.source_prefix).chain(&one.members);
        let addresses = || one.source_ip.iter().chain(&one.members);
        who.models.has(&one.model)
            && filter.model.as_ref().is_none_or(|model| *model == one.model)
            && filter.verdict.is_none_or(|verdict| verdict == one.verdict)
            && filter.family.as_ref().is_none_or(|family| one.family.as_ref() == Some(family))
            && filter.subject.as_ref().is_none_or(|subject| names().any(|name| name == subject))
            && (network.is_none() || addresses().any(in_network))
    };
    let sort = filter.sort.unwrap_or_default();
    let found: Vec<(f64, SubjectSummary)> =
        subjects.iter().map(|subject| (value(subject, sort), summary(subject))).filter(|(_, summary)| fits(summary)).collect();
    let page = wanted.cut(found, |(value, summary)| Place { value: *value, id: summary.id.clone() });
    Ok(Page { items: page.items.into_iter().map(|(_, summary)| summary).collect(), next: page.next })
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of this century and counts of queries are below 2^53")]
fn value(subject: &Subject, sort: SubjectSort) -> f64 {
    match sort {
        SubjectSort::At => subject.verdict.at.0.micros() as f64,
        SubjectSort::Queries => subject.verdict.queries_seen as f64,
        SubjectSort::Confidence => subject.verdict.confidence.unwrap_or_default(),
    }
}

fn one(subjects: &[Arc<Subject>], who: &Principal, id: &str) -> Result<Json<SubjectDetail>, Problem> {
    let wanted = |subject: &&Arc<Subject>| id_of(&subject.verdict) == id && who.models.has(&subject.verdict.model);
    subjects.iter().find(wanted).map(|subject| Json(detail(subject))).ok_or_else(Problem::not_found)
}

/// Callers that were flagged or suspicious, or are.
#[utoipa::path(
    get, path = "/api/v1/callers", tag = "callers", operation_id = "list_callers", params(SubjectFilter),
    responses((status = 200, description = "A page of callers", body = Page<SubjectSummary>), Refusals)
)]
pub async fn callers(
    State(state): State<ApiState>,
    who: Principal,
    Params(filter): Params<SubjectFilter>,
) -> Result<Json<Page<SubjectSummary>>, Problem> {
    page(&state.feed.read_model().callers(), &who, &filter).map(Json)
}

/// One caller.
#[utoipa::path(
    get, path = "/api/v1/callers/{id}", tag = "callers", operation_id = "get_caller", params(("id" = String, Path, description = "Id in the list")),
    responses((status = 200, description = "The caller", body = SubjectDetail), Refusals)
)]
pub async fn caller(
    State(state): State<ApiState>,
    who: Principal,
    PathPart(id): PathPart<String>,
) -> Result<Json<SubjectDetail>, Problem> {
    one(&state.feed.read_model().callers(), &who, &id)
}

/// Campaigns: several callers whose queries belong together.
#[utoipa::path(
    get, path = "/api/v1/campaigns", tag = "campaigns", operation_id = "list_campaigns", params(SubjectFilter),
    responses((status = 200, description = "A page of campaigns", body = Page<SubjectSummary>), Refusals)
)]
pub async fn campaigns(
    State(state): State<ApiState>,
    who: Principal,
    Params(filter): Params<SubjectFilter>,
) -> Result<Json<Page<SubjectSummary>>, Problem> {
    page(&state.feed.read_model().all_campaigns(), &who, &filter).map(Json)
}

/// One campaign.
#[utoipa::path(
    get, path = "/api/v1/campaigns/{id}", tag = "campaigns", operation_id = "get_campaign", params(("id" = String, Path, description = "Its case")),
    responses((status = 200, description = "The campaign", body = SubjectDetail), Refusals)
)]
pub async fn campaign(
    State(state): State<ApiState>,
    who: Principal,
    PathPart(id): PathPart<String>,
) -> Result<Json<SubjectDetail>, Problem> {
    one(&state.feed.read_model().all_campaigns(), &who, &id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_alone() {
        let of = |text: &str| Network::parse(text).unwrap();
        assert!(of("203.0.113.0/24").has("203.0.113.7".parse().unwrap()));
        assert!(!of("203.0.113.0/24").has("203.0.114.7".parse().unwrap()));
        assert!(of("203.0.113.7").has("203.0.113.7".parse().unwrap()) && !of("203.0.113.7").has("203.0.113.8".parse().unwrap()));
        assert!(of("0.0.0.0/0").has("198.51.100.1".parse().unwrap()) && of("::/0").has("2001:db8::1".parse().unwrap()));
        assert!(of("2001:db8::/32").has("2001:db8:1::1".parse().unwrap()) && !of("::/0").has("192.0.2.1".parse().unwrap()));
        for text in ["", "x", "203.0.113.0/33", "203.0.113.0/", "2001:db8::/129", "203.0.113.0/-1"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }
}

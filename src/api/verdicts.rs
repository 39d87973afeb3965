//! The stream of verdicts: the latest as a list, and live as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream, StreamExt as _};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;

use super::extract::Params;
use super::feed::Numbered;
use super::page::{Page, Place, Wanted};
use super::refusals::Refusals;
use super::state::ApiState;
use crate::access::problem::Problem;
use crate::access::{ModelScope, Principal};

/// A silent stream says so often that it is alive: proxies close connections that are silent for a minute.
const ALIVE: Duration = Duration::from_secs(15);
/// A stream ends after so long, so that a session or key that was revoked meanwhile does not follow for ever; browsers come again by
/// themselves.
const LONGEST: Duration = Duration::from_secs(300);

/// Which verdicts are wanted.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VerdictFilter {
    /// Those on this model.
    model: Option<String>,
    /// Those on this address, account or member.
    subject: Option<String>,
    /// Items of a page, 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// Which verdicts are followed.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FollowFilter {
    /// Those on this model.
    model: Option<String>,
}

/// The latest verdicts of this process, at most a thousand, latest first.
#[utoipa::path(
    get, path = "/api/v1/verdicts", tag = "verdicts", operation_id = "list_verdicts", params(VerdictFilter),
    responses((status = 200, description = "A page of verdicts, as in the verdict topic", body = Page<Object>), Refusals)
)]
pub async fn list(
    State(state): State<ApiState>,
    who: Principal,
    Params(filter): Params<VerdictFilter>,
) -> Result<Json<Page<Value>>, Problem> {
    let wanted = Wanted::read(filter.limit, filter.cursor.as_deref(), true)?;
    let fits = |one: &Numbered| {
        let verdict = &one.verdict;
        let mut names = verdict.source_ip.iter().chain(&verdict.client_id).chain(&verdict.source_prefix).chain(&verdict.members);
        who.models.has(&verdict.model)
            && filter.model.as_ref().is_none_or(|model| *model == verdict.model)
            && filter.subject.as_ref().is_none_or(|subject| names.any(|name| name == subject))
    };
    let found = state.feed.recent().into_iter().filter(fits).collect();
    #[expect(clippy::cast_precision_loss, reason = "the number of verdicts of a process is below 2^53")]
    let page = wanted.cut(found, |one: &Numbered| Place { value: one.place as f64, id: String::new() });
    let items = page.items.iter().map(|one| serde_json::to_value(&*one.verdict).unwrap_or_default()).collect();
    Ok(Json(Page { items, next: page.next }))
}

/// Verdicts from now on, as server-sent events `verdict`. A follower that is too slow gets an event `missed` with the number of verdicts
/// that it missed. The stream ends after five minutes; come again.
#[utoipa::path(
    get, path = "/api/v1/verdicts/stream", tag = "verdicts", operation_id = "follow_verdicts", params(FollowFilter),
    responses((status = 200, description = "The stream", body = String, content_type = "text/event-stream"), Refusals)
)]
pub async fn follow(
    State(state): State<ApiState>,
    who: Principal,
    Params(filter): Params<FollowFilter>,
) -> Result<(HeaderMap, Sse<impl Stream<Item = Result<Event, Infallible>> + Send + use<>>), Problem> {
    let place = std::sync::Arc::clone(&state.followers).try_acquire_owned();
    let place = place.map_err(|_| Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many followers").after(30))?;
    let receiver = state.feed.follow();
    let scope = who.models;
    let events = stream::unfold((receiver, place), |(mut receiver, place)| async move {
        match receiver.recv().await {
            Ok(verdict) => Some((Ok(verdict), (receiver, place))),
            Err(RecvError::Lagged(missed)) => Some((Err(missed), (receiver, place))),
            Err(RecvError::Closed) => None,
        }
    });
    let events = events.filter_map(move |next| std::future::ready(event(next, &scope, filter.model.as_deref()).map(Ok)));
    let events = events.take_until(tokio::time::sleep(LONGEST));
    let mut headers = HeaderMap::new();
    // nginx would hold the events back.
    headers.insert(HeaderName::from_static("x-accel-buffering"), axum::http::HeaderValue::from_static("no"));
    Ok((headers, Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE))))
}

fn event(next: Result<Numbered, u64>, scope: &ModelScope, model: Option<&str>) -> Option<Event> {
    match next {
        Ok(Numbered { place, verdict }) => {
            let wanted = scope.has(&verdict.model) && model.is_none_or(|model| model == verdict.model);
            // A verdict can always be written.
            wanted.then(|| Event::default().event("verdict").id(place.to_string()).json_data(&*verdict).unwrap_or_default())
        }
        Err(missed) => Some(Event::default().event("missed").data(missed.to_string())),
    }
}

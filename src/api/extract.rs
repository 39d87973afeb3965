//! What handlers take out of a request; what cannot be read is a problem in the form of all others.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use serde::de::DeserializeOwned;

use crate::access::problem::Problem;

/// The query of the URL. Parameters that are empty count as left out.
#[derive(Clone, Debug)]
pub struct Params<T>(pub T);

/// A part of the path.
#[derive(Clone, Debug)]
pub struct PathPart<T>(pub T);

/// A body of JSON.
#[derive(Clone, Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let uri = without_empty(&parts.uri);
        let query: Result<Query<T>, QueryRejection> = Query::try_from_uri(&uri);
        query.map(|Query(value)| Self(value)).map_err(|error| Problem::bad_request(error.body_text()))
    }
}

/// The address without parameters that are empty: a form sends every field, also those that were left empty, and means nothing by them.
fn without_empty(uri: &Uri) -> Uri {
    let given = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).filter(|(_, value)| !value.is_empty());
    let query: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
    // A query that was encoded is a query.
    format!("/?{query}").parse().unwrap_or_default()
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathPart<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<Path<T>, PathRejection> = Path::from_request_parts(parts, state).await;
        path.map(|Path(value)| Self(value)).map_err(|error| Problem::bad_request(error.body_text()))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        body.map(|Json(value)| Self(value)).map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send JSON").detail("the content type must be application/json")
            }
            // Broken JSON and JSON of another shape are the same to a client: it must send something else.
            _ => Problem::bad_request(error.body_text()),
        })
    }
}

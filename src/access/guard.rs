//! The one place that decides whether a request reaches its handler.
//!
//! In this order, each step cheaper than the next: the host that the request names; the rate of its address; who asks; the rate of the
//! caller; the permission of the route; and for a change with a cookie, whether this server's own page sent it. What passes carries its
//! [`Principal`] for the handler.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};

use super::authenticate::{Gate, Unknown};
use super::csrf;
use super::principal::Principal;
use super::problem::Problem;
use super::route::{Access, Route};
use crate::clock;
use crate::http::Peer;

/// Longest form that is searched for its token.
const MAX_FORM: usize = 64 * 1024;
/// Where a person signs in.
pub const SIGN_IN: &str = "/login";

/// What the guard of one route needs to know.
#[derive(Clone, Debug)]
pub struct Rule {
    gate: Arc<Gate>,
    access: Access,
    is_api: bool,
}

/// The address that a request came from, for handlers that count by it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallerAddress(pub String);

// === impl Rule ===

impl Rule {
    /// The rule of a route.
    pub fn new(gate: Arc<Gate>, route: &Route) -> Self {
        Self { gate, access: route.access, is_api: route.is_api() }
    }

    /// A refusal as this kind of route says it.
    fn refuse(&self, problem: Problem) -> Response {
        if self.is_api {
            return problem.into_response();
        }
        let mut response = (problem.status(), format!("{}\n", problem.words())).into_response();
        if let Some(value) = problem.into_response().headers().get(header::RETRY_AFTER) {
            response.headers_mut().insert(header::RETRY_AFTER, value.clone());
        }
        response
    }

    async fn admit(&self, mut request: Request) -> Result<Request, Response> {
        let address =
            request.extensions().get::<ConnectInfo<Peer>>().map_or_else(|| "unknown".into(), |peer| peer.0.0.ip().to_string());
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        if !self.gate.serves(host) {
            let problem = Problem::new(StatusCode::MISDIRECTED_REQUEST, "not this host");
            return Err(
                self.refuse(problem.detail("the request names a host that is not this server; api.public_url says which is"))
            );
        }
        let too_many = |wait: std::time::Duration| self.refuse(Problem::too_many(wait.as_secs() + 1));
        if let Some(wait) = self.gate.rates.address(&address) {
            return Err(too_many(wait));
        }
        let is_change = !csrf::is_safe(request.method());
        match self.access {
            Access::Public => {
                if let Some(wait) = self.gate.rates.unknown(&address) {
                    return Err(too_many(wait));
                }
                // A page of another site must not sign a person in as somebody else.
                if is_change && csrf::is_foreign(request.headers()) {
                    return Err(self.refuse(Problem::forbidden()));
                }
            }
            Access::Known | Access::Needs(_) => {
                let who = match self.gate.authenticate(request.headers(), clock::now()).await {
                    Ok(who) => who,
                    Err(unknown) => return Err(self.unknown(&request, &address, &unknown)),
                };
                if let Some(wait) = self.gate.rates.known(&who.rate_key()) {
                    return Err(too_many(wait));
                }
                if matches!(self.access, Access::Needs(permission) if !who.may(permission)) {
                    return Err(self.refuse(Problem::forbidden()));
                }
                if is_change && let Some(token) = who.form_token() {
                    request = self.own_page(token.to_owned(), request).await?;
                }
                request.extensions_mut().insert(who);
            }
        }
        request.extensions_mut().insert(CallerAddress(address));
        Ok(request)
    }

    /// Refuses whoever is not known: a person is sent to the sign-in.
    fn unknown(&self, request: &Request, address: &str, unknown: &Unknown) -> Response {
        if let Some(wait) = self.gate.rates.unknown(address) {
            return self.refuse(Problem::too_many(wait.as_secs() + 1));
        }
        match unknown {
            Unknown::Unavailable => self.refuse(Problem::unavailable()),
            Unknown::Missing | Unknown::Wrong
                if !self.is_api && self.gate.accounts.is_some() && csrf::is_safe(request.method()) =>
            {
                let next = request.uri().path_and_query().map_or("/", |target| target.as_str());
                let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
                Redirect::to(&format!("{SIGN_IN}?{query}")).into_response()
            }
            Unknown::Missing | Unknown::Wrong => self.refuse(Problem::unauthenticated()),
        }
    }

    /// Passes a change on if this server's own page sent it.
    async fn own_page(&self, token: String, request: Request) -> Result<Request, Response> {
        if csrf::is_foreign(request.headers()) {
            return Err(self.refuse(Problem::forbidden()));
        }
        let (parts, body) = request.into_parts();
        if !is_form(&parts.headers) {
            let is_own = csrf::brings(&token, &parts.headers, None);
            return if is_own { Ok(Request::from_parts(parts, body)) } else { Err(self.refuse(Problem::forbidden())) };
        }
        let form = to_bytes(body, MAX_FORM)
            .await
            .map_err(|_| self.refuse(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the form is too long")))?;
        if !csrf::brings(&token, &parts.headers, Some(&form)) {
            return Err(self.refuse(Problem::forbidden()));
        }
        Ok(Request::from_parts(parts, Body::from(form)))
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/x-www-form-urlencoded")
}

/// Lets a request through, or refuses it.
pub async fn guard(State(rule): State<Rule>, request: Request, next: Next) -> Response {
    let mut response = match rule.admit(request).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => refusal,
    };
    // What is shown to one caller must not be kept for another.
    if rule.access != Access::Public {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Who asks, for handlers of routes that need a permission.
impl<S: Sync> axum::extract::FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unauthenticated)
    }
}

/// Where a request came from.
impl<S: Sync> axum::extract::FromRequestParts<S> for CallerAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unauthenticated)
    }
}

//! The server of the demo's page.
//!
//! It listens on the loopback interface alone. The page asks for `/state.json` twice a second; nothing is lost between two
//! requests, so polling is simpler and sturdier than a stream of events.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use serde::Serialize;

use super::page;
use super::state::DemoState;
use super::view::{FlaggedCaller, Score};
use crate::html::frame::{STYLE, STYLE_PATH};
use crate::http::{HttpError, Limits, Server};
use crate::outcome::OutcomeCounts;

/// Port of the page unless another is asked for.
pub const DEFAULT_PORT: u16 = 8080;

/// The page, bound and not yet serving.
#[derive(Debug)]
pub struct DemoPage {
    server: Server,
    state: DemoState,
}

/// The answer of `/state.json`: the numbers for programs, and the parts of the page for its script.
#[derive(Debug, Serialize)]
struct StateDocument {
    model: String,
    clock: String,
    finding: &'static str,
    finished: bool,
    counts: OutcomeCounts,
    score: Score,
    flagged: Vec<FlaggedCaller>,
    parts: BTreeMap<&'static str, String>,
}

// === impl DemoPage ===

impl DemoPage {
    /// Binds a port of the loopback interface. If it is taken, a free one is bound, and the second value is `true`.
    ///
    /// # Errors
    /// If no port at all can be had.
    pub async fn bind(port: u16, state: DemoState) -> Result<(Self, bool), HttpError> {
        let server = |port| Server::bind((Ipv4Addr::LOCALHOST, port).into(), "the page", "--port", Limits::SMALL);
        let (server, moved) = match server(port).await {
            Ok(server) => (server, false),
            Err(_) => (server(0).await?, true),
        };
        Ok((Self { server, state }, moved))
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Serves until dropped.
    ///
    /// # Errors
    /// If the socket breaks.
    pub async fn serve(self) -> Result<(), HttpError> {
        let router = Router::new()
            .route("/", get(index))
            .route(STYLE_PATH, get(|| asset("text/css; charset=utf-8", STYLE)))
            .route(page::SCRIPT_PATH, get(|| asset("text/javascript; charset=utf-8", page::SCRIPT)))
            .route("/state.json", get(state_json))
            .with_state(self.state);
        self.server.serve(router, std::future::pending()).await
    }
}

async fn index(State(state): State<DemoState>) -> impl IntoResponse {
    let policy = page::DELIVERY.policy();
    let headers = [(header::CONTENT_SECURITY_POLICY, policy), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, Html(page::render(&state.view())))
}

async fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")], text)
}

async fn state_json(State(state): State<DemoState>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(document(&state)))
}

fn document(state: &DemoState) -> StateDocument {
    let view = state.view();
    StateDocument {
        model: view.script.model.clone(),
        clock: view.clock.to_string(),
        finding: view.answer().name,
        finished: view.finished,
        counts: view.counts,
        score: view.score,
        flagged: view.flagged_callers(),
        parts: page::parts(&view).into_iter().map(|(id, part)| (id, part.into_string())).collect(),
    }
}

//! The server of the demo's page.
//!
//! It listens on the loopback interface alone. The page asks for `/state.json` twice a second; nothing is lost between two
//! requests, so polling is simpler and sturdier than a stream of events.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;

use super::page;
use super::state::DemoState;
use super::view::{FlaggedCaller, Score};
use crate::html::frame::{STYLE, STYLE_PATH};
use crate::judge::Finding;
use crate::runtime::Counts;

/// Port of the page unless another is asked for.
pub const DEFAULT_PORT: u16 = 8080;

/// The page, bound and not yet serving.
#[derive(Debug)]
pub struct DemoPage {
    listener: TcpListener,
    address: SocketAddr,
    state: DemoState,
}

/// The answer of `/state.json`: the numbers for programs, and the parts of the page for its script.
#[derive(Debug, Serialize)]
struct StateDocument {
    model: String,
    clock: String,
    finding: Finding,
    finished: bool,
    counts: Counts,
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
    pub async fn bind(port: u16, state: DemoState) -> io::Result<(Self, bool)> {
        let (listener, moved) = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => (listener, false),
            Err(_) => (TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?, true),
        };
        let address = listener.local_addr()?;
        Ok((Self { listener, address, state }, moved))
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until dropped.
    ///
    /// # Errors
    /// If the socket breaks.
    pub async fn serve(self) -> io::Result<()> {
        let router = Router::new()
            .route("/", get(index))
            .route(STYLE_PATH, get(|| asset("text/css; charset=utf-8", STYLE)))
            .route(page::SCRIPT_PATH, get(|| asset("text/javascript; charset=utf-8", page::SCRIPT)))
            .route("/state.json", get(state_json))
            .with_state(self.state);
        axum::serve(self.listener, router).await
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
        finding: view.finding(),
        finished: view.finished,
        counts: view.counts,
        score: view.score,
        flagged: view.flagged_callers(),
        parts: page::parts(&view).into_iter().map(|(id, part)| (id, part.into_string())).collect(),
    }
}

//! The operations endpoint: `/metrics`, `/livez` and `/readyz` on an address of their own, apart from API and console.
//!
//! It stays up when other things do not: it takes no lock that a busy worker holds for long, and the limits and the drain of
//! [`http`](crate::http) hold. On its default address it answers to this machine alone.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use crate::clock;
use crate::health::Readiness;
use crate::http::{HttpError, Limits, Server};
use crate::sink::metrics::Metrics;

/// Where `/metrics` is served unless configured otherwise. The port lies in the range of Prometheus exporters.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// Section `[server]` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address of `/metrics`, `/livez` and `/readyz`.
    pub metrics: SocketAddr,
}

/// The endpoint, bound and not yet serving.
#[derive(Debug)]
pub struct TelemetryServer {
    server: Server,
    shared: Shared,
}

#[derive(Clone, Debug)]
struct Shared {
    metrics: Metrics,
    readiness: Readiness,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { metrics: DEFAULT_LISTEN }
    }
}

// === impl TelemetryServer ===

impl TelemetryServer {
    /// Binds the address, so that a taken port is known before anything else starts. Port 0 takes a free one.
    ///
    /// # Errors
    /// [`HttpError::Bind`] if the address cannot be had.
    pub async fn bind(address: SocketAddr, metrics: Metrics, readiness: Readiness) -> Result<Self, HttpError> {
        let server = Server::bind(address, "/metrics", "server.metrics", Limits::SMALL).await?;
        Ok(Self { server, shared: Shared { metrics, readiness } })
    }

    /// The address it really has.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Serves until `shutdown` resolves, then finishes answers under way for a bounded time. Call it last in an ordered shutdown,
    /// so that probes see the instance stop.
    ///
    /// # Errors
    /// [`HttpError::Serve`] if the socket breaks.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), HttpError> {
        self.server.serve(router(self.shared), shutdown).await
    }
}

fn router(shared: Shared) -> Router {
    Router::new().route("/metrics", get(metrics)).route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(shared)
}

async fn metrics(State(shared): State<Shared>) -> Response {
    match shared.metrics.render(Some(clock::now())) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("the metrics cannot be written: {error}\n")).into_response(),
    }
}

async fn livez() -> &'static str {
    "alive\n"
}

async fn readyz(State(shared): State<Shared>) -> Response {
    let phase = shared.readiness.phase();
    let code = if shared.readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let lines: String = shared.readiness.open().iter().map(|line| format!("{line}\n")).collect();
    (code, format!("{}\n{lines}", phase.reason())).into_response()
}

#[cfg(test)]
mod tests;

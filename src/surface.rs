//! The server of people and programs: API and console behind one guard, on one address.
//!
//! Around every answer stand the headers that a browser needs to protect its user: the content security policy of the pages, no guessing
//! of types, no framing, no referrer, and with TLS the instruction to come by TLS alone (RFC 6797).

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};

use crate::access::accounts::Accounts;
use crate::access::authenticate::{Gate, GateSettings};
use crate::access::problem::Problem;
use crate::access::routes::{Route, Routes};
use crate::access::secret_token::SecretToken;
use crate::api;
use crate::api::config::ApiConfig;
use crate::api::feed::FeedReader;
use crate::api::settings;
use crate::api::state::ApiState;
use crate::cases::Cases;
use crate::clock;
use crate::config::Config;
use crate::console;
use crate::exit::{Exit, Failure};
use crate::html::frame::CONSOLE_REFERRER;
use crate::http::tls::Certificates;
use crate::http::{Limits, Server};

/// Connections at a time: a team with a few windows each, and their scripts.
const CONNECTIONS: usize = 256;
/// Seconds for which browsers come by TLS alone: a year, as the lists of browsers ask for.
const HSTS: &str = "max-age=31536000";
/// Pause before a database that is away is asked again.
const RETRY: Duration = Duration::from_secs(5);

/// The server, bound and not yet serving.
#[derive(Debug)]
pub struct Surface {
    server: Server,
    router: Router,
    certificates: Option<Certificates>,
    scheme: &'static str,
}

// === impl Surface ===

impl Surface {
    /// Binds the address of the configuration. `cases` are those of the database, if there is one; its schema may
    /// come later.
    ///
    /// # Errors
    /// 64 if a certificate or the keys of the token issuer cannot be read, 74 if the address cannot be had.
    pub async fn bind(config: &Config, api: &ApiConfig, feed: FeedReader, cases: Option<Cases>) -> Result<Self, Failure> {
        let usage = |what: String| Failure::new(Exit::Usage, what);
        let certificates = api.certificates(&config.directory).map_err(|what| usage(format!("api.tls: {what}")))?;
        let accounts = cases.as_ref().map(|cases| Accounts::new(cases.database().clone()));
        let gate = gate(api, &config.directory, accounts)?;
        let state = ApiState::new(Arc::clone(&gate), feed, cases, settings::shown(config));
        let limits = Limits { connections: CONNECTIONS, ..Limits::SMALL };
        let server = Server::bind(api.listen, "API and console", "api.listen", limits).await;
        let mut server = server.map_err(|error| Failure::new(Exit::Io, error.to_string()))?;
        if let Some(certificates) = &certificates {
            server = server.with_tls(certificates.clone());
        }
        if gate.is_open() {
            tracing::warn!(
                "no credential is configured: anybody on this machine may look at {} (docs/access.md)",
                server.address()
            );
        }
        if gate.accounts.is_none() {
            tracing::warn!("there is no database ([store] url): no cases, no accounts, and no audit but this log");
        }
        let (router, _) = router(&gate, state, api.openapi);
        let scheme = if certificates.is_some() { "https" } else { "http" };
        Ok(Self { server, router, certificates, scheme })
    }

    /// Where it listens, as a URL.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.server.address())
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Serves until `shutdown` resolves.
    ///
    /// # Errors
    /// If the socket breaks.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), crate::http::HttpError> {
        let watching = self.certificates.map(|certificates| tokio::spawn(certificates.watch()));
        let served = self.server.serve(self.router, shutdown).await;
        if let Some(watching) = watching {
            watching.abort();
        }
        served
    }
}

fn gate(api: &ApiConfig, directory: &Path, accounts: Option<Accounts>) -> Result<Arc<Gate>, Failure> {
    let settings = GateSettings {
        accounts,
        keys: api.keys.clone(),
        jwt: api.jwt.clone(),
        limits: api.session_limits(),
        is_secure: api.is_secure(),
        hosts: api.hosts(),
    };
    Gate::new(settings, directory).map(Arc::new).map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}

/// The router of everything, and the table of its routes.
pub fn router(gate: &Arc<Gate>, state: ApiState, has_description: bool) -> (Router, Vec<Route>) {
    let routes = console::routes(api::routes(Routes::new(Arc::clone(gate)), has_description));
    let (router, table) = routes.finish();
    let headers = headers(gate.is_secure);
    let router = router.fallback(unknown).with_state(state).layer(middleware::from_fn_with_state(headers, protect));
    (router, table)
}

async fn unknown() -> Problem {
    Problem::not_found()
}

/// The headers of every answer.
fn headers(is_secure: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut add = |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    add(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(header::X_FRAME_OPTIONS, "DENY");
    add(header::REFERRER_POLICY, CONSOLE_REFERRER);
    add(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    add(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    add(HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()");
    // Answers that are no pages may do nothing at all; pages bring their own policy.
    add(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    if is_secure {
        add(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    headers
}

async fn protect(State(headers): State<HeaderMap>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    // The server's own 405 is not ours, so it has no body.
    if response.status() == axum::http::StatusCode::METHOD_NOT_ALLOWED {
        let allow = response.headers().get(header::ALLOW).cloned();
        response = Problem::new(response.status(), "method not allowed").into_response();
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    for (name, value) in &headers {
        response.headers_mut().entry(name).or_insert_with(|| value.clone());
    }
    response
}

/// Offers the first sign-in while there is no account: a token from the environment, or in a file that this user alone can read. It waits
/// for a database that is away.
pub async fn offer_first(accounts: Accounts, config: ApiConfig, directory: std::path::PathBuf) {
    let path = directory.join(&config.first_token_file);
    let given = if config.first_token.is_empty() { None } else { config.first_token.reveal(&directory).ok() };
    let token = match given.as_deref().map(SecretToken::sent).map_or_else(SecretToken::new, Ok) {
        Ok(token) => token,
        Err(error) => return tracing::error!("nobody can sign in for the first time: {error}"),
    };
    let is_offered = loop {
        match accounts.offer_first(&token, clock::now()).await {
            Ok(is_offered) => break is_offered,
            Err(error) => tracing::debug!("the first sign-in cannot be offered yet: {error}"),
        }
        tokio::time::sleep(RETRY).await;
    };
    if given.is_some() || !is_offered {
        // A token of an earlier start no longer works.
        let _ = std::fs::remove_file(&path);
        return;
    }
    match write_private(&path, token.reveal()) {
        Ok(()) => tracing::info!("there is no account yet: open /first and enter the token of {}", path.display()),
        Err(error) => tracing::error!(
            "the token of the first sign-in cannot be written to {}: {error} (api.first_token_file)",
            path.display()
        ),
    }
}

/// Writes a file that this user alone can read. One that is there is taken away first, so that no other file is written through a link,
/// and no wider permission of an old one stays.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    writeln!(file, "{text}")
}

#[cfg(test)]
mod tests;

//! The live page of the demo: what happens, what Tripline says, and why, on one screen.
//!
//! It is served on this machine alone and brings everything with it: no font, script or picture from elsewhere, and a content
//! security policy that says so. The page asks for [`board`]'s state twice a second; there is nothing to lose between two asks,
//! so plain polling is simpler and sturdier than a stream of events.

pub mod board;
mod html;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use board::DemoState;

/// Port of the page unless another is asked for.
pub const DEFAULT_PORT: u16 = 8080;

/// Nothing from elsewhere, nothing inline, no frames round it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'";

/// The page, bound and not yet serving.
#[derive(Debug)]
pub struct Page {
    listener: TcpListener,
    address: SocketAddr,
    board: DemoState,
}

// === impl Page ===

impl Page {
    /// Binds a port of the loopback interface; if it is taken, a free one, and says so with `true`.
    ///
    /// # Errors
    /// If no port at all can be had.
    pub async fn bind(port: u16, board: DemoState) -> io::Result<(Self, bool)> {
        let (listener, moved) = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => (listener, false),
            Err(_) => (TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?, true),
        };
        let address = listener.local_addr()?;
        Ok((Self { listener, address, board }, moved))
    }

    /// Where it is.
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
            .route("/style.css", get(|| asset("text/css; charset=utf-8", include_str!("page/style.css"))))
            .route("/app.js", get(|| asset("text/javascript; charset=utf-8", include_str!("page/app.js"))))
            .route("/state.json", get(state))
            .with_state(self.board);
        axum::serve(self.listener, router).await
    }
}

async fn index(State(board): State<DemoState>) -> impl IntoResponse {
    let headers = [(header::CONTENT_SECURITY_POLICY, POLICY), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, axum::response::Html(html::page(&board.setting()).into_string()))
}

async fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")], text)
}

async fn state(State(board): State<DemoState>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(board.view()))
}

//! The table of routes with their permissions. A route is added here or nowhere: [`Routes::add`] demands what a caller must be allowed to
//! do, and wraps the handler into the [`guard`], so a route without a permission does not compile.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, on};

use super::authenticate::Gate;
use super::guard::{self, Rule};
pub use super::route::{Access, Route};

/// Routes under way to a router. `S` is what the handlers share.
pub struct Routes<S> {
    gate: Arc<Gate>,
    router: Router<S>,
    table: Vec<Route>,
}

// === impl Routes ===

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// No routes, behind a gate.
    pub fn new(gate: Arc<Gate>) -> Self {
        Self { gate, router: Router::new(), table: Vec::new() }
    }

    /// Adds a route.
    #[must_use]
    pub fn add<H, T>(mut self, method: Method, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        // Only GET, POST, PUT, PATCH and DELETE are used, which all have a filter.
        let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
        let route = Route { method, path, access };
        let rule = Rule::new(Arc::clone(&self.gate), &route);
        self.router = self.router.route(path, on(filter, handler).route_layer(from_fn_with_state(rule, guard::guard)));
        self.table.push(route);
        self
    }

    /// The router, and the table of what it serves.
    pub fn finish(self) -> (Router<S>, Vec<Route>) {
        (self.router, self.table)
    }
}

impl<S> std::fmt::Debug for Routes<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.table).finish()
    }
}

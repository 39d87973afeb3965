//! A route, and what a caller must be to reach it.

use axum::http::Method;

use super::permission::Permission;

/// What a caller must be to reach a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Anybody: sign-in, style and script. Such a route shows nothing of the service's state.
    Public,
    /// Whoever is known, about itself: its name, its own session.
    Known,
    /// Whoever has the permission.
    Needs(Permission),
}

/// One route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Method.
    pub method: Method,
    /// Path with its parameters in braces.
    pub path: &'static str,
    /// Who reaches it.
    pub access: Access,
}

// === impl Route ===

impl Route {
    /// Whether it is answered to programs; else it is a page.
    pub fn is_api(&self) -> bool {
        self.path.starts_with("/api/")
    }
}

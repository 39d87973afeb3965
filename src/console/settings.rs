//! How the service is configured, to look at.

use axum::extract::State;
use axum::response::Response;
use maud::html;

use super::frame::{self, text};
use crate::access::Principal;
use crate::api::state::ApiState;

/// The page.
pub async fn page(State(state): State<ApiState>, who: Principal) -> Response {
    let body = html! {
        p.note { "Changed in the configuration file alone. Secrets and paths of keys are not shown." }
        table {
            thead { tr { th { "Setting" } th { "Value" } } }
            tbody { @for (name, value) in &state.settings { tr { td.mono { (name) } td.wrap { (text(value)) } } } }
        }
    };
    frame::page(&who, "/settings", "Settings", &html! {}, &body)
}

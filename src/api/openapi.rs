//! The description of the API in OpenAPI 3.1, made from handlers and types. A test compares it with the table of routes, and with the
//! committed file `docs/openapi.json`.

use axum::Json;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{cases, keys, me, models, settings, subjects, suppressions, trail, users, verdicts};
use crate::access::problem::Problem;

/// The description.
#[derive(OpenApi)]
#[openapi(
    info(title = "Tripline", description = "Models, callers, campaigns, verdicts and who may see them."),
    paths(
        models::list, models::get, subjects::callers, subjects::caller, subjects::campaigns, subjects::campaign, verdicts::list,
        verdicts::follow, cases::list, cases::get, cases::export, cases::change, cases::bulk, suppressions::list, suppressions::make,
        suppressions::preview, suppressions::end, me::get, me::end, keys::list, keys::make, keys::revoke, users::list, users::make,
        users::remove, users::end_sessions, trail::list, settings::list,
    ),
    components(schemas(Problem)),
    modifiers(&Credentials),
    security(("key" = []), ("bearer" = []), ("session" = [])),
)]
struct Description;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Api-Key"))));
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("tripline"))));
    }
}

/// The description of the API.
pub fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

/// The description as JSON. It is served only where the configuration asks for it.
pub async fn get() -> Json<utoipa::openapi::OpenApi> {
    Json(description())
}

//! `/api/v1`: what people and programs may ask and change, as JSON.
//!
//! Every route stands in [`routes`] with its permission; there is no other place to add one. Lists are filtered, sorted and paged with a
//! cursor ([`page`]). Refusals and faults are `application/problem+json`. What a caller may not know of is not found, so an answer does not
//! tell that it exists.
//!
//! | file | what it serves |
//! |---|---|
//! | [`config`] | its settings |
//! | [`feed`] | the service's side: read model, latest verdicts, followers |
//! | [`state`] | what handlers share |
//! | [`extract`] | parts of a request, with faults as problems |
//! | [`page`] | lists in pages |
//! | [`models`] | models and their state |
//! | [`subjects`] | callers and campaigns |
//! | [`verdicts`] | the stream of verdicts, also live |
//! | [`cases`], [`suppressions`] | what people work on, and of whom nobody wants to hear |
//! | [`me`], [`keys`], [`users`] | who asks, API keys, local accounts |
//! | [`trail`] | the audit |
//! | [`settings`] | how the service is configured |
//! | [`openapi`], [`refusals`] | the description of all this |

pub mod cases;
pub mod config;
pub mod extract;
pub mod feed;
pub mod keys;
pub mod me;
pub mod models;
pub mod openapi;
pub mod page;
pub mod refusals;
pub mod settings;
pub mod state;
pub mod subjects;
pub mod suppressions;
pub mod trail;
pub mod users;
pub mod verdicts;

use axum::http::Method;

use crate::access::accounts::AccountError;
use crate::access::permission::Permission::{
    AuditRead, CallersRead, CampaignsRead, CasesRead, CasesWrite, ExportRead, KeysRead, KeysWrite, ModelsRead, SettingsRead,
    SuppressionsRead, SuppressionsWrite, UsersRead, UsersWrite, VerdictsRead,
};
use crate::access::problem::Problem;
use crate::access::routes::Access::{Known, Needs};
use crate::access::routes::Routes;
use state::ApiState;

/// Adds the routes of the API. `has_description` says whether the API's own description is served.
pub fn routes(routes: Routes<ApiState>, has_description: bool) -> Routes<ApiState> {
    let routes = routes
        .add(Method::GET, "/api/v1/models", Needs(ModelsRead), models::list)
        .add(Method::GET, "/api/v1/models/{model}", Needs(ModelsRead), models::get)
        .add(Method::GET, "/api/v1/callers", Needs(CallersRead), subjects::callers)
        .add(Method::GET, "/api/v1/callers/{id}", Needs(CallersRead), subjects::caller)
        .add(Method::GET, "/api/v1/campaigns", Needs(CampaignsRead), subjects::campaigns)
        .add(Method::GET, "/api/v1/campaigns/{id}", Needs(CampaignsRead), subjects::campaign)
        .add(Method::GET, "/api/v1/verdicts", Needs(VerdictsRead), verdicts::list)
        .add(Method::GET, "/api/v1/verdicts/stream", Needs(VerdictsRead), verdicts::follow)
        .add(Method::GET, "/api/v1/cases", Needs(CasesRead), cases::list)
        .add(Method::GET, "/api/v1/cases/{id}", Needs(CasesRead), cases::get)
        .add(Method::PATCH, "/api/v1/cases/{id}", Needs(CasesWrite), cases::change)
        .add(Method::POST, "/api/v1/cases/bulk", Needs(CasesWrite), cases::bulk)
        .add(Method::GET, "/api/v1/cases/{id}/export", Needs(ExportRead), cases::export)
        .add(Method::GET, "/api/v1/suppressions", Needs(SuppressionsRead), suppressions::list)
        .add(Method::POST, "/api/v1/suppressions", Needs(SuppressionsWrite), suppressions::make)
        .add(Method::POST, "/api/v1/suppressions/preview", Needs(SuppressionsWrite), suppressions::preview)
        .add(Method::DELETE, "/api/v1/suppressions/{id}", Needs(SuppressionsWrite), suppressions::end)
        .add(Method::GET, "/api/v1/me", Known, me::get)
        .add(Method::DELETE, "/api/v1/session", Known, me::end)
        .add(Method::GET, "/api/v1/keys", Needs(KeysRead), keys::list)
        .add(Method::POST, "/api/v1/keys", Needs(KeysWrite), keys::make)
        .add(Method::DELETE, "/api/v1/keys/{id}", Needs(KeysWrite), keys::revoke)
        .add(Method::GET, "/api/v1/users", Needs(UsersRead), users::list)
        .add(Method::POST, "/api/v1/users", Needs(UsersWrite), users::make)
        .add(Method::DELETE, "/api/v1/users/{name}", Needs(UsersWrite), users::remove)
        .add(Method::DELETE, "/api/v1/users/{name}/sessions", Needs(UsersWrite), users::end_sessions)
        .add(Method::GET, "/api/v1/audit", Needs(AuditRead), trail::list)
        .add(Method::GET, "/api/v1/settings", Needs(SettingsRead), settings::list);
    if has_description { routes.add(Method::GET, "/api/v1/openapi.json", Known, openapi::get) } else { routes }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Refused(what) => Self::conflict(what),
            AccountError::Store(error) => error.into(),
        }
    }
}

//! The console: pages for the people who look into what Tripline found, rendered on the server.
//!
//! A page is HTML that works without a script: links to move, forms to change. The one script converts times to the viewer's zone, moves
//! through tables by keyboard, and exchanges the parts of a page that changed when a verdict comes. Every form brings the token of its
//! session. Nothing is loaded from another host, and nothing is inline, so the content security policy allows neither.
//!
//! Addresses of pages are stable: a link in an alert works months later, as long as the thing is known.
//!
//! | file | what it is |
//! |---|---|
//! | [`frame`] | what every page has: navigation, sign-out, title |
//! | [`form`] | the fields of a posted form |
//! | [`refusal`] | refusals as pages |
//! | [`sign_in`] | sign-in, sign-out, and the first account |
//! | [`overview`] | all models, and what to do first |
//! | [`model`] | one model |
//! | [`strip`] | the course of a verdict as a picture, with its table |
//! | [`callers`] | lists of callers and campaigns |
//! | [`caller`] | one caller or campaign: why, and which queries |
//! | [`address`] | all that is known of an address, and of its neighbours |
//! | [`queue`] | the queue of cases, and what is done to many at a time |
//! | [`case`] | one case: why, what happened, and what a person decides |
//! | [`suppressions`] | of whom nobody wants to hear, with a preview |
//! | [`trail`] | the audit |
//! | [`people`] | accounts and keys |
//! | [`account`] | one's own account, and a new password |
//! | [`settings`] | how the service is configured |

pub mod account;
pub mod address;
pub mod caller;
pub mod callers;
pub mod case;
pub mod form;
pub mod frame;
pub mod model;
pub mod overview;
pub mod people;
pub mod queue;
pub mod refusal;
pub mod settings;
pub mod sign_in;
pub mod strip;
pub mod suppressions;
pub mod trail;

use axum::http::{Method, header};
use axum::response::IntoResponse;

use crate::access::permission::Permission::{
    AuditRead, CallersRead, CampaignsRead, CasesRead, CasesWrite, KeysWrite, ModelsRead, SettingsRead, SuppressionsRead,
    SuppressionsWrite, UsersRead,
};
use crate::access::routes::Access::{Known, Needs, Public};
use crate::access::routes::Routes;
use crate::api::state::ApiState;
use crate::html::frame::{STYLE, STYLE_PATH};

/// Where the script is served.
pub const SCRIPT_PATH: &str = "/console.js";

/// Adds the routes of the console.
pub fn routes(routes: Routes<ApiState>) -> Routes<ApiState> {
    routes
        .add(Method::GET, STYLE_PATH, Public, style)
        .add(Method::GET, SCRIPT_PATH, Public, script)
        .add(Method::GET, "/login", Public, sign_in::page)
        .add(Method::POST, "/login", Public, sign_in::enter)
        .add(Method::GET, "/first", Public, sign_in::first_page)
        .add(Method::POST, "/first", Public, sign_in::first)
        .add(Method::POST, "/logout", Known, sign_in::leave)
        .add(Method::GET, "/", Needs(ModelsRead), overview::page)
        .add(Method::GET, "/models/{model}", Needs(ModelsRead), model::page)
        .add(Method::GET, "/callers", Needs(CallersRead), callers::callers)
        .add(Method::GET, "/callers/{id}", Needs(CallersRead), caller::caller)
        .add(Method::GET, "/campaigns", Needs(CampaignsRead), callers::campaigns)
        .add(Method::GET, "/campaigns/{id}", Needs(CampaignsRead), caller::campaign)
        .add(Method::GET, "/addresses/{address}", Needs(CallersRead), address::page)
        .add(Method::GET, "/cases", Needs(CasesRead), queue::page)
        .add(Method::POST, "/cases/bulk", Needs(CasesWrite), queue::bulk_change)
        .add(Method::GET, "/cases/{id}", Needs(CasesRead), case::page)
        .add(Method::POST, "/cases/{id}", Needs(CasesWrite), case::change)
        .add(Method::GET, "/suppressions", Needs(SuppressionsRead), suppressions::page)
        .add(Method::POST, "/suppressions", Needs(SuppressionsWrite), suppressions::make)
        .add(Method::POST, "/suppressions/preview", Needs(SuppressionsWrite), suppressions::preview)
        .add(Method::POST, "/suppressions/{id}/end", Needs(SuppressionsWrite), suppressions::end)
        .add(Method::GET, "/audit", Needs(AuditRead), trail::page)
        .add(Method::GET, "/people", Needs(UsersRead), people::page)
        .add(Method::POST, "/people/keys", Needs(KeysWrite), people::make_key)
        .add(Method::POST, "/people/keys/{id}/revoke", Needs(KeysWrite), people::revoke_key)
        .add(Method::GET, "/account", Known, account::page)
        .add(Method::POST, "/account", Known, account::change)
        .add(Method::GET, "/settings", Needs(SettingsRead), settings::page)
}

async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=300")], STYLE)
}

async fn script() -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, "max-age=300")];
    (headers, include_str!("console/console.js"))
}

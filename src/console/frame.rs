//! What every page of the console has: navigation, who is signed in, the way out, and the policy.

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};

use super::SCRIPT_PATH;
use crate::access::csrf::FIELD;
use crate::access::{Permission, Principal};
use crate::event::EventTime;
use crate::html::frame::{self, Delivery};
use crate::html::words;

/// How pages of the console reach their reader.
pub const DELIVERY: Delivery = Delivery::Console { script: SCRIPT_PATH };

/// Sections of the console: path, word, and who sees them.
const SECTIONS: [(&str, &str, Permission); 7] = [
    ("/", "Overview", Permission::ModelsRead),
    ("/cases", "Cases", Permission::CasesRead),
    ("/callers", "Callers", Permission::CallersRead),
    ("/campaigns", "Campaigns", Permission::CampaignsRead),
    ("/audit", "Audit", Permission::AuditRead),
    ("/people", "People and keys", Permission::UsersRead),
    ("/settings", "Settings", Permission::SettingsRead),
];

/// A page for somebody. `section` is the path of its section.
pub fn page(who: &Principal, section: &str, title: &str, lead: &Markup, body: &Markup) -> Response {
    let all = html! {
        a.skip href="#content" { "Skip to the content" }
        (bar(who, section))
        (frame::head("Tripline", &html! { (title) }, lead))
        main id="content" { (body) (keys()) }
    };
    respond(title, &all)
}

/// A page without navigation, for whoever is not signed in.
pub fn bare(title: &str, body: &Markup) -> Response {
    let all = html! {
        (frame::head("Tripline", &html! { (title) }, &html! {}))
        main id="content" { (body) }
    };
    respond(title, &all)
}

fn respond(title: &str, body: &Markup) -> Response {
    let title = format!("{} – Tripline", words::printable(title, 80));
    ([(header::CONTENT_SECURITY_POLICY, DELIVERY.policy())], Html(frame::page(&title, DELIVERY, body))).into_response()
}

fn bar(who: &Principal, section: &str) -> Markup {
    html! {
        header.bar {
            nav aria-label="Sections" {
                @for (path, word, permission) in SECTIONS {
                    @if who.may(permission) { a href=(path) aria-current=[(path == section).then_some("page")] { (word) } }
                }
            }
            @if who.session().is_some() {
                form method="post" action="/logout" {
                    (token(who))
                    a.note href="/account" aria-current=[(section == "/account").then_some("page")] { (who.name) " (" (who.role.name()) ")" }
                    button.quiet { "Sign out" }
                }
            } @else {
                span.note { (who.name) " (" (who.role.name()) ")" }
            }
        }
    }
}

fn keys() -> Markup {
    html! {
        details.keys id="keys" {
            summary { "Keys" }
            p.note { "j and k: next and previous row. Enter: open. x: select. /: filter. ?: this help." }
        }
    }
}

/// The hidden field that every form of a person brings.
pub fn token(who: &Principal) -> Markup {
    html! { @if let Some(token) = who.form_token() { input type="hidden" name=(FIELD) value=(token); } }
}

/// A time: UTC in the page, the viewer's own zone by the script.
pub fn time(at: EventTime) -> Markup {
    html! { time datetime=(at.to_string()) { (words::minute(at)) " UTC" } }
}

/// Text from a log.
pub fn text(text: &str) -> String {
    words::printable(text, 120)
}

/// A part of a path, so that text of a log cannot be another path.
pub fn part(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A query of a URL.
pub fn query(pairs: &[(&str, &str)]) -> String {
    let given = pairs.iter().filter(|(_, value)| !value.is_empty());
    form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish()
}

//! A service with API and console, a database, and an attack that it has found.

use std::path::Path;

use serde_json::Value;

use super::daemon::{free_port, wait_for};
use super::data::{Cut, text};
use super::service::Service;

/// Name and password of the first account.
pub const ADMIN: (&str, &str) = ("ada", "correct horse battery");

/// The service and its address.
#[derive(Debug)]
pub struct Site {
    /// The service.
    pub service: Service,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// Token of the first sign-in.
    pub token: String,
    /// Posted records.
    pub posted: usize,
    records: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Where it sends the client.
    pub location: String,
    /// The session's cookie, if it sets one.
    pub cookie: String,
    /// Body.
    pub body: String,
}

// === impl Answer ===

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

// === impl Site ===

impl Site {
    /// Starts a service for the model of a cut; nothing is posted yet.
    pub fn start(folder: &Path, cut: Cut, api: &str) -> Self {
        let (port, records) = (free_port(), free_port());
        let reference = cut.fit(folder);
        let config = format!(
            "[source.http]\nlisten = \"127.0.0.1:{records}\"\n[decode.topics.http]\nformat = \"canonical\"\n\
             [[models]]\nreference = \"{}\"\n[runtime]\nstatus_interval = \"100ms\"\n\
             [sink.dead_letters]\ntopic = \"\"\n[store]\nurl = \"sqlite://site.db\"\n\
             [api]\nlisten = \"127.0.0.1:{port}\"\n{api}",
            text(&reference),
        );
        let mut service = Service::start(folder, "site", &config).ready();
        let file = folder.join("tripline-first-token");
        let token =
            service.wait_for("the first token", |_| std::fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n')));
        let records = format!("http://127.0.0.1:{records}/");
        Self { service, url: format!("http://127.0.0.1:{port}"), token: token.trim().to_owned(), posted: 0, records }
    }

    /// Posts a recording, and waits until it was judged.
    pub fn post(&mut self, cut: Cut) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        for line in cut.lines() {
            // Refused while the buffer is full.
            wait_for("room for a record", || {
                let sent = agent.post(&self.records).header("content-type", "application/json").send(line.as_str()).ok()?;
                (sent.status() == 202).then_some(())
            });
            self.posted += 1;
        }
        #[expect(clippy::cast_precision_loss, reason = "thousands of records")]
        let all = self.posted as f64;
        self.service.wait_for("the records", |service| (service.seen() >= all).then_some(()));
    }

    /// Asks with headers; a redirect is not followed.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = agent.run(request.body(body.to_owned()).unwrap()).unwrap();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let (location, cookie) = (header("location"), header("set-cookie"));
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        Answer { status: response.status().as_u16(), location, cookie, body: response.body_mut().read_to_string().unwrap() }
    }

    /// Posts a form.
    pub fn form(&self, path: &str, cookie: &str, fields: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let headers = if cookie.is_empty() { vec![kind] } else { vec![kind, ("cookie", cookie)] };
        self.ask("POST", path, &headers, &body)
    }

    /// Makes the first account, and returns its session's cookie.
    pub fn first_admin(&self) -> String {
        let answer = self.form("/first", "", &[("token", &self.token), ("name", ADMIN.0), ("password", ADMIN.1)]);
        assert_eq!((answer.status, answer.location.as_str()), (303, "/"), "{}", answer.body);
        answer.cookie
    }

    /// What the forms of a session bring.
    pub fn form_token(&self, cookie: &str) -> String {
        let page = self.ask("GET", "/", &[("cookie", cookie)], "").body;
        let (_, rest) = page.split_once("name=\"form_token\" value=\"").unwrap_or_else(|| panic!("no form in {page}"));
        rest.split('"').next().unwrap().to_owned()
    }

    /// Makes a key as the admin of a session.
    pub fn key(&self, cookie: &str, name: &str, role: &str) -> String {
        let body = serde_json::json!({"name": name, "role": role, "days": 1}).to_string();
        let token = self.form_token(cookie);
        let headers = [("cookie", cookie), ("x-csrf-token", token.as_str()), ("content-type", "application/json")];
        let made = self.ask("POST", "/api/v1/keys", &headers, &body);
        assert_eq!(made.status, 201, "{}", made.body);
        made.json()["key"].as_str().unwrap().to_owned()
    }
}

//! The whole surface behind its guard: every route as every role, and what a hostile caller tries first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::access::accounts::{NewKey, NewUser, SessionLimits};
use crate::access::config::{JwtConfig, KeyConfig};
use crate::access::routes::Access;
use crate::access::secret_token::ApiKey;
use crate::access::{ModelScope, Permission, Role};
use crate::api::feed::Feed;
use crate::audit::AuditKeys;
use crate::cases::{CasesConfig, PrivacyConfig};
use crate::engine::ModelStatus;
use crate::observer::Observer as _;
use crate::outcome::OutcomeCounts;
use crate::store::{Database, StoreConfig};

mod cases;

const LIMITS: SessionLimits = SessionLimits { idle: Duration::from_secs(3_600), lifetime: Duration::from_secs(12 * 3_600) };
const HOST: &str = "127.0.0.1";

/// A surface with a database, two models and a key for each role.
struct Fixture {
    router: Router,
    table: Vec<Route>,
    gate: Arc<Gate>,
    keys: BTreeMap<Role, ApiKey>,
    cases: Cases,
    _folder: tempfile::TempDir,
}

/// An answer.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Fixture {
    async fn new() -> Self {
        Self::with(Vec::new()).await
    }

    async fn with(config_keys: Vec<KeyConfig>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::connect(&StoreConfig::at("sqlite://surface.db"), folder.path()).await.unwrap();
        let accounts = Accounts::new(database.clone());
        let mut keys = BTreeMap::new();
        for role in Role::ALL {
            let name = format!("{}-key", role.name());
            let expires_at = clock::now().plus_seconds(3_600);
            let new = NewKey { name, role, models: ModelScope::All, created_by: "test".into(), expires_at };
            keys.insert(role, accounts.add_key(&new, clock::now()).await.unwrap());
        }
        let settings = GateSettings {
            accounts: Some(accounts),
            keys: config_keys,
            jwt: JwtConfig::default(),
            limits: LIMITS,
            is_secure: false,
            hosts: vec![HOST.into()],
        };
        let gate = Arc::new(Gate::new(settings, folder.path()).unwrap());
        let audit_keys = AuditKeys::read(&Default::default(), &[], folder.path()).unwrap();
        let cases = Cases::new(database, audit_keys, &CasesConfig::default(), &PrivacyConfig::default(), folder.path()).unwrap();
        let mut feed = Feed::new();
        let status = |model: &str| ModelStatus { model: model.into(), queries: 7, ..ModelStatus::default() };
        feed.status(&[status("adult"), status("flights")], &OutcomeCounts::default(), Duration::ZERO).unwrap();
        let state = ApiState::new(Arc::clone(&gate), feed.reader(), Some(cases.clone()), vec![("models".into(), "adult".into())]);
        let (router, table) = router(&gate, state, true);
        Self { router, table, gate, keys, cases, _folder: folder }
    }

    fn accounts(&self) -> &Accounts {
        self.gate.accounts.as_ref().unwrap()
    }

    async fn ask(&self, method: &Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = axum::http::Request::builder().method(method).uri(path).header("host", HOST);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let is_stream = headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body = if is_stream { Vec::new() } else { to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec() };
        Answer { status, headers, body: String::from_utf8(body).unwrap() }
    }

    async fn as_role(&self, role: Role, method: &Method, path: &str, body: &str) -> Answer {
        let key = self.keys[&role].reveal();
        self.ask(method, path, &[("x-api-key", &key), ("content-type", "application/json")], body).await
    }

    /// A signed-in person's cookie and the token of its forms.
    async fn session(&self, name: &str, role: Role) -> (String, String) {
        let user = NewUser { name: name.into(), password: "$none".into(), role, models: ModelScope::All };
        self.accounts().add_user(&user, clock::now()).await.unwrap();
        let token = self.accounts().open_session(name, LIMITS, clock::now()).await.unwrap();
        (format!("{}={}", self.gate.cookie_name(), token.reveal()), token.derived("form"))
    }
}

/// A route's path with its parameters filled in.
fn filled(path: &str) -> String {
    let mut out = path.to_owned();
    while let (Some(start), Some(end)) = (out.find('{'), out.find('}')) {
        out.replace_range(start..=end, "nobody");
    }
    out
}

#[tokio::test]
async fn every_route_is_reached_by_the_roles_that_have_its_permission_and_by_nobody_else() {
    let fixture = Fixture::new().await;
    assert!(fixture.table.len() >= 20, "{:?}", fixture.table);
    for route in &fixture.table {
        let path = filled(route.path);
        let nobody = fixture.ask(&route.method, &path, &[], "").await;
        if route.access != Access::Public {
            let turned_away = if route.is_api() { StatusCode::UNAUTHORIZED } else { StatusCode::SEE_OTHER };
            let turned_away = if !route.is_api() && route.method != Method::GET { StatusCode::UNAUTHORIZED } else { turned_away };
            assert_eq!(nobody.status, turned_away, "{route:?} without a credential");
        }
        for role in Role::ALL {
            let answer = fixture.as_role(role, &route.method, &path, "{}").await;
            let may = match route.access {
                Access::Public | Access::Known => true,
                Access::Needs(permission) => role.may(permission),
            };
            let refused = answer.status == StatusCode::FORBIDDEN || answer.status == StatusCode::UNAUTHORIZED;
            assert_eq!(refused, !may, "{route:?} as {role:?}: {} {}", answer.status, answer.body);
            assert!(!answer.status.is_server_error(), "{route:?} as {role:?}: {} {}", answer.status, answer.body);
        }
    }
}

#[tokio::test]
async fn every_permission_guards_a_route_and_no_change_is_public() {
    let fixture = Fixture::new().await;
    let public: Vec<&Route> = fixture.table.iter().filter(|route| route.access == Access::Public).collect();
    assert!(public.iter().all(|route| !route.is_api()), "{public:?}");
    for route in &fixture.table {
        let Access::Needs(permission) = route.access else { continue };
        let is_change = route.method != Method::GET;
        assert_eq!(is_change, permission.name().ends_with(":write"), "{route:?}: the name of the permission says what it does");
    }
    let used: BTreeSet<Permission> = fixture
        .table
        .iter()
        .filter_map(|route| match route.access {
            Access::Needs(permission) => Some(permission),
            _ => None,
        })
        .collect();
    assert!(used.len() >= 8, "{used:?}");
}

#[tokio::test]
async fn wrong_ended_and_revoked_keys_are_refused_alike() {
    let fixture = Fixture::new().await;
    let good = fixture.keys[&Role::Viewer].clone();
    let ask = |key: String| async { fixture.ask(&Method::GET, "/api/v1/models", &[("x-api-key", &{ key })], "").await };
    assert_eq!(ask(good.reveal()).await.status, StatusCode::OK);
    let other_secret = ApiKey { id: good.id.clone(), secret: SecretToken::new().unwrap() }.reveal();
    let expired = NewKey {
        name: "old".into(),
        role: Role::Admin,
        models: ModelScope::All,
        created_by: "t".into(),
        expires_at: clock::now().plus_seconds(-1),
    };
    let expired = fixture.accounts().add_key(&expired, clock::now()).await.unwrap().reveal();
    fixture.accounts().revoke_key(&good.id, clock::now()).await.unwrap();
    let mut bodies = BTreeSet::new();
    for key in [good.reveal(), other_secret, expired, ApiKey::new().unwrap().reveal(), "x".into(), String::new()] {
        let answer = ask(key.clone()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{key}");
        bodies.insert(answer.body);
    }
    assert_eq!(bodies.len(), 1, "an answer must not say why: {bodies:?}");
    let bearer = fixture.ask(&Method::GET, "/api/v1/models", &[("authorization", "Bearer a.b.c")], "").await;
    assert_eq!(bearer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_key_of_the_configuration_works_until_it_ends_and_within_its_models() {
    let (key, ended) = (ApiKey::new().unwrap(), ApiKey::new().unwrap());
    let config = |key: &ApiKey, name: &str, expires: &str| KeyConfig {
        name: name.into(),
        id: key.id.clone(),
        hash: key.secret.hash(),
        role: Role::Viewer,
        models: vec!["adult".into()],
        expires: expires.into(),
    };
    let fixture = Fixture::with(vec![config(&key, "a", ""), config(&ended, "b", "2020-01-01")]).await;
    let list = fixture.ask(&Method::GET, "/api/v1/models", &[("x-api-key", &key.reveal())], "").await.json();
    let names: Vec<&str> = list["items"].as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["adult"]);
    let hidden = fixture.ask(&Method::GET, "/api/v1/models/flights", &[("x-api-key", &key.reveal())], "").await;
    let absent = fixture.ask(&Method::GET, "/api/v1/models/nothing", &[("x-api-key", &key.reveal())], "").await;
    assert_eq!((hidden.status, &hidden.body), (StatusCode::NOT_FOUND, &absent.body), "what is hidden looks like what is not there");
    let late = fixture.ask(&Method::GET, "/api/v1/models", &[("x-api-key", &ended.reveal())], "").await;
    assert_eq!(late.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_change_with_a_cookie_needs_this_servers_own_page() {
    let fixture = Fixture::new().await;
    let (cookie, token) = fixture.session("root", Role::Admin).await;
    let change = |headers: Vec<(&'static str, String)>| {
        let cookie = cookie.clone();
        let fixture = &fixture;
        async move {
            let mut all: Vec<(&str, &str)> = vec![("cookie", &cookie), ("content-type", "application/json")];
            all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
            fixture.ask(&Method::DELETE, "/api/v1/users/nobody", &all, "").await.status
        }
    };
    assert_eq!(change(vec![("x-csrf-token", token.clone())]).await, StatusCode::NOT_FOUND, "it passed");
    for refused in [
        vec![],
        vec![("x-csrf-token", "guessed".into())],
        vec![("x-csrf-token", token.clone()), ("origin", "https://evil.example".into())],
        vec![("x-csrf-token", token.clone()), ("sec-fetch-site", "cross-site".into())],
    ] {
        assert_eq!(change(refused.clone()).await, StatusCode::FORBIDDEN, "{refused:?}");
    }
    // The token of another session is of no use.
    let (_, other) = fixture.session("second", Role::Admin).await;
    assert_eq!(change(vec![("x-csrf-token", other)]).await, StatusCode::FORBIDDEN);
    // Reading needs no token, and a key needs none for a change.
    assert_eq!(fixture.ask(&Method::GET, "/api/v1/me", &[("cookie", &cookie)], "").await.status, StatusCode::OK);
    assert_eq!(fixture.as_role(Role::Admin, &Method::DELETE, "/api/v1/users/nobody", "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_session_that_is_revoked_ends_at_once() {
    let fixture = Fixture::new().await;
    let (cookie, token) = fixture.session("ada", Role::Analyst).await;
    let credential = [("cookie", cookie.as_str())];
    let me = || fixture.ask(&Method::GET, "/api/v1/me", &credential, "");
    assert_eq!(me().await.json()["name"], "ada");
    let ended = fixture.as_role(Role::Admin, &Method::DELETE, "/api/v1/users/ada/sessions", "").await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    assert_eq!(me().await.status, StatusCode::UNAUTHORIZED);
    let again = fixture.accounts().open_session("ada", LIMITS, clock::now()).await.unwrap();
    let cookie = format!("tripline={}", again.reveal());
    assert_ne!(again.derived("form"), token);
    let out =
        fixture.ask(&Method::DELETE, "/api/v1/session", &[("cookie", &cookie), ("x-csrf-token", &again.derived("form"))], "").await;
    assert!(out.status == StatusCode::NO_CONTENT && out.header("set-cookie").contains("Max-Age=0"), "{:?}", out.headers);
    let gone = fixture.ask(&Method::GET, "/api/v1/me", &[("cookie", &cookie)], "").await;
    assert_eq!(gone.status, StatusCode::UNAUTHORIZED);
    let noted = fixture.as_role(Role::Admin, &Method::GET, "/api/v1/audit?action=session", "").await.json();
    assert_eq!(noted["items"].as_array().unwrap().len(), 2, "{noted}");
}

#[tokio::test]
async fn nobody_gives_more_than_it_has() {
    let fixture = Fixture::new().await;
    let scoped = NewKey {
        name: "scoped".into(),
        role: Role::Admin,
        models: ModelScope::of(&["adult".into()]),
        created_by: "t".into(),
        expires_at: clock::now().plus_seconds(60),
    };
    let scoped = fixture.accounts().add_key(&scoped, clock::now()).await.unwrap().reveal();
    let headers = [("x-api-key", scoped.as_str()), ("content-type", "application/json")];
    let wider = json!({"name": "w", "role": "viewer", "models": ["flights"], "days": 1}).to_string();
    assert_eq!(fixture.ask(&Method::POST, "/api/v1/keys", &headers, &wider).await.status, StatusCode::FORBIDDEN);
    let same = json!({"name": "s", "role": "viewer", "days": 1}).to_string();
    let made = fixture.ask(&Method::POST, "/api/v1/keys", &headers, &same).await.json();
    let seen = fixture.ask(&Method::GET, "/api/v1/models", &[("x-api-key", made["key"].as_str().unwrap())], "").await.json();
    assert_eq!(seen["items"].as_array().unwrap().len(), 1, "a scope is passed on: {seen}");
    let listed = fixture.as_role(Role::Admin, &Method::GET, "/api/v1/keys", "").await;
    assert!(
        !listed.body.contains(made["key"].as_str().unwrap().rsplit('_').next().unwrap()) && !listed.body.contains("sha256"),
        "{}",
        listed.body
    );
    assert_eq!(
        fixture.ask(&Method::POST, "/api/v1/keys", &headers, &same).await.status,
        StatusCode::CONFLICT,
        "a name is used once"
    );
}

#[tokio::test]
async fn wrong_passwords_lock_and_say_nothing_about_accounts() {
    let fixture = Fixture::new().await;
    let hash = fixture.gate.passwords.hash("correct horse battery".into()).await.unwrap();
    let user = NewUser { name: "ada".into(), password: hash, role: Role::Viewer, models: ModelScope::All };
    fixture.accounts().add_user(&user, clock::now()).await.unwrap();
    let sign_in = |name: &'static str, password: &'static str| fixture.gate.sign_in(name, password, "192.0.2.1", clock::now());
    assert!(sign_in("ada", "correct horse battery").await.unwrap().is_some());
    for _ in 0..5 {
        assert_eq!(sign_in("ada", "wrong").await, Ok(None));
        assert_eq!(sign_in("nobody", "wrong").await, Ok(None));
    }
    for name in ["ada", "nobody"] {
        assert!(
            matches!(sign_in(name, "correct horse battery").await, Err(crate::access::authenticate::SignInFault::Wait(_))),
            "{name}"
        );
    }
    let elsewhere = fixture.gate.sign_in("ada", "correct horse battery", "192.0.2.2", clock::now()).await;
    assert!(elsewhere.unwrap().is_some(), "the right person at another address gets in");
}

#[tokio::test]
async fn a_new_password_needs_the_old_one_and_ends_every_other_session() {
    let fixture = Fixture::new().await;
    let (cookie, token) = fixture.session("ada", Role::Viewer).await;
    let hash = fixture.gate.passwords.hash("correct horse battery".into()).await.unwrap();
    fixture.accounts().set_password("ada", &hash).await.unwrap();
    let gone = fixture.ask(&Method::GET, "/account", &[("cookie", &cookie)], "").await;
    assert_eq!(gone.status, StatusCode::SEE_OTHER, "a new password ends sessions");
    let session = fixture.accounts().open_session("ada", LIMITS, clock::now()).await.unwrap();
    let cookie = format!("tripline={}", session.reveal());
    assert_ne!(session.derived("form"), token);
    let change = |old: &'static str| {
        let body = format!("form_token={}&old={old}&new=another+horse+battery", session.derived("form"));
        let (fixture, cookie) = (&fixture, cookie.clone());
        async move {
            let headers = [("cookie", cookie.as_str()), ("content-type", "application/x-www-form-urlencoded")];
            fixture.ask(&Method::POST, "/account", &headers, &body).await
        }
    };
    let wrong = change("guessed").await;
    assert!(wrong.status == StatusCode::OK && wrong.body.contains("is wrong"), "{}", wrong.body);
    let right = change("correct+horse+battery").await;
    assert_eq!(right.status, StatusCode::SEE_OTHER, "{}", right.body);
    assert!(right.header("set-cookie").starts_with("tripline=") && right.header("set-cookie").contains("HttpOnly; SameSite=Lax"));
    assert_eq!(change("another+horse+battery").await.status, StatusCode::UNAUTHORIZED, "the old session has ended");
    assert!(fixture.gate.sign_in("ada", "another horse battery", "192.0.2.9", clock::now()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_page_of_another_name_cannot_reach_this_machine() {
    let fixture = Fixture::new().await;
    let key = fixture.keys[&Role::Viewer].reveal();
    for (host, status) in [("127.0.0.1:8080", 200), ("evil.example", 421), ("127.0.0.1.evil.example:8080", 421), ("", 421)] {
        let request = axum::http::Request::builder().uri("/api/v1/models").header("x-api-key", &key).header("host", host);
        let response = fixture.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{host}");
    }
}

#[tokio::test]
async fn every_answer_has_its_headers_and_refusals_have_one_form() {
    let fixture = Fixture::new().await;
    let long = format!("{{\"name\": \"{}\"}}", "x".repeat(3 << 20));
    let admin = |method: Method, path: &'static str, body: String| {
        let fixture = &fixture;
        async move { fixture.as_role(Role::Admin, &method, path, &body).await }
    };
    for (answer, status) in [
        (admin(Method::GET, "/api/v1/models?limit=0", String::new()).await, 400),
        (admin(Method::GET, "/api/v1/models?colour=red", String::new()).await, 400),
        (admin(Method::GET, "/api/v1/models?cursor=x", String::new()).await, 400),
        (admin(Method::GET, "/api/v1/callers?network=x", String::new()).await, 400),
        (admin(Method::GET, "/api/v1/audit?from=yesterday", String::new()).await, 400),
        (admin(Method::POST, "/api/v1/keys", "{".into()).await, 400),
        (admin(Method::POST, "/api/v1/keys", "{\"days\": 1}".into()).await, 400),
        (admin(Method::POST, "/api/v1/keys", long).await, 413),
        (admin(Method::GET, "/api/v1/nothing", String::new()).await, 404),
        (admin(Method::PUT, "/api/v1/models", String::new()).await, 405),
        (fixture.ask(&Method::GET, "/api/v1/models", &[], "").await, 401),
    ] {
        assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{}", answer.body);
        assert_eq!(answer.json()["status"], status);
        for (name, value) in
            [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY"), ("referrer-policy", "same-origin")]
        {
            assert_eq!(answer.header(name), value, "{status}");
        }
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
        assert_eq!(answer.header("strict-transport-security"), "", "not without TLS");
    }
    let secure = headers(true);
    assert_eq!(secure[header::STRICT_TRANSPORT_SECURITY], HSTS);
}

#[tokio::test]
async fn the_description_lists_exactly_the_routes_and_matches_the_committed_file() {
    let fixture = Fixture::new().await;
    let description = api::openapi::description();
    let mut described: BTreeSet<(String, String)> = BTreeSet::new();
    let json = serde_json::to_value(&description).unwrap();
    for (path, methods) in json["paths"].as_object().unwrap() {
        described.extend(methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
    }
    let served = fixture.table.iter().filter(|route| route.is_api() && route.path != "/api/v1/openapi.json");
    let served: BTreeSet<(String, String)> = served.map(|route| (route.method.to_string(), route.path.to_owned())).collect();
    assert_eq!(described, served);
    let text = serde_json::to_string_pretty(&description).unwrap() + "\n";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    if std::env::var_os("TRIPLINE_UPDATE").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(text == kept, "docs/openapi.json is stale: run this test with TRIPLINE_UPDATE=1 and look at the difference");
}

#[tokio::test]
async fn without_credentials_anybody_here_may_look_and_change_nothing() {
    let settings = GateSettings {
        accounts: None,
        keys: Vec::new(),
        jwt: JwtConfig::default(),
        limits: LIMITS,
        is_secure: false,
        hosts: vec![HOST.into()],
    };
    let gate = Arc::new(Gate::new(settings, Path::new("/")).unwrap());
    let state = ApiState::new(Arc::clone(&gate), Feed::new().reader(), None, Vec::new());
    let (router, table) = router(&gate, state, false);
    for route in table.iter().filter(|route| route.is_api()) {
        let request = axum::http::Request::builder().method(&route.method).uri(filled(route.path)).header("host", HOST);
        let status = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status();
        let may = match route.access {
            Access::Needs(permission) => Role::Viewer.may(permission),
            _ => true,
        };
        assert_eq!(status != StatusCode::FORBIDDEN, may, "{route:?}: {status}");
    }
    assert!(!table.iter().any(|route| route.path.contains("openapi")), "the description is off unless asked for");
}

#[cfg(unix)]
#[tokio::test]
async fn the_first_token_is_in_a_file_for_this_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Fixture::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tripline-first-token");
    std::fs::write(&path, "old").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    offer_first(fixture.accounts().clone(), ApiConfig::default(), folder.path().to_owned()).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let token = SecretToken::sent(std::fs::read_to_string(&path).unwrap().trim());
    let user = NewUser { name: "root".into(), password: "$x".into(), role: Role::Admin, models: ModelScope::All };
    assert!(fixture.accounts().redeem_first(&token, &user, clock::now()).await.unwrap());
    offer_first(fixture.accounts().clone(), ApiConfig::default(), folder.path().to_owned()).await;
    assert!(!path.exists(), "there is an account, so there is no token");
}

//! Cases through API and pages: who sees them, and what a decision needs.

use super::*;
use crate::cases::line::SpoolLine;

/// A verdict line as the intake reads it from the spool.
fn line(model: &str, id: &str, ip: &str) -> SpoolLine {
    let body = json!({
        "id": id, "at": "2026-03-02T09:15:00Z", "scope": "client", "model": model, "source_ip": ip, "verdict": "probing",
        "family": "grid", "confidence": 0.99, "case": format!("c-{id}"), "queries_seen": 9,
        "signals": [{"name": "lattice_steps", "value": 3.1, "reference": 0.1, "evidence": 7.4}],
        "queries": [{"at": "2026-03-02T09:14:00Z", "request_id": "<script>alert(1)</script>", "partition": 0, "offset": 7, "row": 0}],
    });
    serde_json::from_value(json!({"verdict": body})).unwrap()
}

#[tokio::test]
async fn cases_are_seen_and_changed_within_the_models_that_somebody_may_know_of() {
    let fixture = Fixture::new().await;
    fixture.cases.take(&[line("adult", "v1", "203.0.113.7"), line("flights", "v2", "203.0.113.8")]).await.unwrap();
    let scoped = NewKey {
        name: "scoped".into(),
        role: Role::Analyst,
        models: ModelScope::of(&["adult".into()]),
        created_by: "t".into(),
        expires_at: clock::now().plus_seconds(60),
    };
    let scoped = fixture.accounts().add_key(&scoped, clock::now()).await.unwrap().reveal();
    let headers = [("x-api-key", scoped.as_str()), ("content-type", "application/json"), ("idempotency-key", "once")];
    let list = fixture.ask(&Method::GET, "/api/v1/cases", &headers, "").await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(fixture.ask(&Method::GET, "/api/v1/cases/c-v2", &headers, "").await.status, StatusCode::NOT_FOUND);
    let change = json!({"status": "acknowledged", "note": "looking"}).to_string();
    assert_eq!(fixture.ask(&Method::PATCH, "/api/v1/cases/c-v2", &headers, &change).await.status, StatusCode::NOT_FOUND);
    for _ in 0..2 {
        let case = fixture.ask(&Method::PATCH, "/api/v1/cases/c-v1", &headers, &change).await;
        assert_eq!(case.json()["status"], "acknowledged", "{}", case.body);
    }
    let detail = fixture.ask(&Method::GET, "/api/v1/cases/c-v1", &headers, "").await.json();
    let notes = detail["timeline"].as_array().unwrap().iter().filter(|event| event["detail"]["note"] == "looking").count();
    assert_eq!(notes, 1, "a request that came twice happened once: {detail}");
    let bulk = json!({"ids": ["c-v1", "c-v2", "c-none"], "change": {"owner": "ada"}}).to_string();
    let bulk = fixture.ask(&Method::POST, "/api/v1/cases/bulk", &headers, &bulk).await.json();
    let changed: Vec<bool> = bulk["items"].as_array().unwrap().iter().map(|one| one["changed"].as_bool().unwrap()).collect();
    assert_eq!(changed.iter().filter(|changed| **changed).count(), 1, "{bulk}");
    let everywhere =
        json!({"mode": "suppress", "kind": "address", "value": "203.0.113.7", "reason": "own scanner", "days": 7}).to_string();
    assert_eq!(fixture.ask(&Method::POST, "/api/v1/suppressions", &headers, &everywhere).await.status, StatusCode::FORBIDDEN);
    let here = everywhere.replace("\"mode\"", "\"model\": \"adult\", \"mode\"");
    let preview = fixture.ask(&Method::POST, "/api/v1/suppressions/preview", &headers, &here).await;
    assert_eq!(preview.status, StatusCode::OK, "{}", preview.body);
    assert_eq!(fixture.ask(&Method::POST, "/api/v1/suppressions", &headers, &here).await.status, StatusCode::CREATED);
    let export = fixture.ask(&Method::GET, "/api/v1/cases/c-v1/export?format=csv", &headers, "").await;
    assert!(export.status == StatusCode::OK && export.body.contains("c-v1"), "{}", export.body);
    assert!(export.header("content-disposition").starts_with("attachment"), "{:?}", export.headers);
    assert_eq!(fixture.ask(&Method::GET, "/api/v1/cases/c-v2/export", &headers, "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        fixture.ask(&Method::GET, "/api/v1/cases/c-v1/export?format=exe", &headers, "").await.status,
        StatusCode::BAD_REQUEST
    );
    // A viewer sees the page, without a form to change anything, and markup of the log stays text.
    let page = fixture.as_role(Role::Viewer, &Method::GET, "/cases/c-v1", "").await;
    assert!(page.status == StatusCode::OK && page.body.contains("It scans the model in a grid"), "{}", page.body);
    assert!(!page.body.contains("<script>alert") && page.body.contains("&lt;script&gt;alert"), "{}", page.body);
    assert!(!page.body.contains("Save the decision") && page.header("content-security-policy").contains("form-action 'self'"));
    let queue = fixture.as_role(Role::Analyst, &Method::GET, "/cases?status=&model=adult", "").await;
    assert!(queue.body.contains("203.0.113.7") && !queue.body.contains("203.0.113.8"), "{}", queue.body);
}

#[tokio::test]
async fn a_person_decides_on_the_pages_with_the_forms_token_alone() {
    let fixture = Fixture::new().await;
    fixture.cases.take(&[line("adult", "v1", "203.0.113.7")]).await.unwrap();
    let (cookie, token) = fixture.session("ada", Role::Analyst).await;
    let post = |path: &'static str, body: String| {
        let (cookie, fixture) = (cookie.clone(), &fixture);
        async move {
            let headers = [("cookie", cookie.as_str()), ("content-type", "application/x-www-form-urlencoded")];
            fixture.ask(&Method::POST, path, &headers, &body).await
        }
    };
    assert_eq!(post("/cases/c-v1", "status=confirmed".into()).await.status, StatusCode::FORBIDDEN);
    let decided = post("/cases/c-v1", format!("form_token={token}&status=confirmed&owner=ada&note=seen+it")).await;
    assert_eq!((decided.status, decided.header("location")), (StatusCode::SEE_OTHER, "/cases/c-v1"), "{}", decided.body);
    let bulk = post("/cases/bulk", format!("form_token={token}&id=c-v1&action=close&back=%2F%2Fevil.example")).await;
    assert_eq!((bulk.status, bulk.header("location")), (StatusCode::SEE_OTHER, "/"), "{}", bulk.body);
    let case = fixture.cases.get("c-v1").await.unwrap();
    assert_eq!((case.status.name(), case.owner.as_str()), ("closed", "ada"));
    let preview = format!("form_token={token}&kind=address&value=203.0.113.7&mode=suppress&days=7&reason=own+scanner");
    let preview = post("/suppressions/preview", preview).await;
    assert!(preview.body.contains("it would have silenced"), "{}", preview.body);
}

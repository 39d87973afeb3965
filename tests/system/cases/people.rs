//! What people do with cases, on both databases: decide, dismiss, suppress, and be told of a conflict.

use serde_json::json;
use tripline::audit::{Actor, AuditFilter};
use tripline::cases::rules::{Severity, Status};
use tripline::cases::suppression::NewSuppression;
use tripline::cases::{CaseError, CaseFilter, Change, Feedback};

use super::{Place, campaign, verdict};

fn status(status: Status) -> Change {
    Change { status: Some(status), ..Change::default() }
}

async fn decisions_are_made_once_and_kept(place: &Place) {
    let cases = place.cases("").await;
    let (ana, ben) = (Actor::person("ana"), Actor::person("ben"));
    cases.take(&[verdict("v-1", "2026-03-02T08:00:00Z", "192.0.2.1", "grid", "c-1")]).await.unwrap();
    let take = Change { owner: Some("ana".into()), status: Some(Status::Acknowledged), ..Change::default() };
    let case = cases.change("c-1", &take, &ana, "key-1").await.unwrap();
    assert_eq!((case.owner.as_str(), case.status, case.version), ("ana", Status::Acknowledged, 2));
    let again = cases.change("c-1", &take, &ana, "key-1").await.unwrap();
    assert_eq!(again.version, 2, "the same request changes nothing");
    let other = cases.change("c-1", &status(Status::Closed), &ana, "key-1").await.unwrap_err();
    assert!(matches!(other, CaseError::Conflict(_)), "{other}");
    let stale = Change { version: Some(1), ..status(Status::Confirmed) };
    assert!(matches!(cases.change("c-1", &stale, &ben, "").await.unwrap_err(), CaseError::Conflict(_)));
    let confirmed = cases.change("c-1", &Change { version: Some(2), ..stale }, &ben, "").await.unwrap();
    assert_eq!((confirmed.status, confirmed.feedback), (Status::Confirmed, Some(Feedback::TruePositive)));
    cases.change("c-1", &status(Status::Closed), &ben, "").await.unwrap();
    assert!(matches!(cases.change("c-1", &status(Status::Confirmed), &ben, "").await.unwrap_err(), CaseError::Conflict(_)));
    assert!(matches!(cases.change("c-none", &status(Status::Closed), &ben, "").await.unwrap_err(), CaseError::NotFound(_)));
    assert!(matches!(cases.change("c-1", &Change::default(), &ben, "").await.unwrap_err(), CaseError::Invalid(_)));
    let kinds: Vec<_> = cases.timeline("c-1", 100).await.unwrap().into_iter().map(|event| (event.kind, event.who)).collect();
    let decided = |who: &str| ("decision".to_owned(), who.to_owned());
    assert_eq!(kinds, [decided("ben"), decided("ben"), decided("ana"), ("verdict".into(), "tripline".into())]);
    let entries = cases.audit().query(&AuditFilter { action: "case.change".into(), ..AuditFilter::default() }).await.unwrap();
    assert_eq!(entries.len(), 3, "refused and repeated requests are no changes");
    assert_eq!(
        (entries[0].detail["status"].as_str(), entries[0].detail["status_before"].as_str()),
        (Some("closed"), Some("confirmed"))
    );
    let counts = cases.counts().await.unwrap();
    assert_eq!(counts.judged["grid"], (1, 0));
    // A severity that a person set is not raised by verdicts.
    cases.take(&[verdict("v-2", "2026-03-02T08:10:00Z", "192.0.2.2", "grid", "c-2")]).await.unwrap();
    cases.change("c-2", &Change { severity: Some(Severity::Low), ..Change::default() }, &ana, "").await.unwrap();
    cases.take(&[campaign("v-3", "2026-03-02T08:11:00Z", &["192.0.2.2", "192.0.2.3"], "c-2")]).await.unwrap();
    let case = cases.get("c-2").await.unwrap();
    assert_eq!((case.severity, case.members, case.scope.as_str()), (Severity::Low, 2, "campaign"));
    let ids = ["c-1".to_owned(), "c-2".to_owned(), "c-none".to_owned()];
    let reopened = cases.change_all(&ids, &status(Status::Open), &ana, "bulk").await.unwrap();
    assert_eq!(reopened.iter().map(|one| one.result.is_ok()).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(cases.count(&CaseFilter { status: vec![Status::Open], ..CaseFilter::default() }).await.unwrap(), 2);
}

async fn what_is_dismissed_stays_dismissed(place: &Place) {
    let cases = place.cases("").await;
    let ana = Actor::person("ana");
    let at = |day: u32| format!("2026-03-{day:02}T08:00:00Z");
    cases.take(&[verdict("v-d1", &at(2), "192.0.2.50", "grid", "c-d1")]).await.unwrap();
    let dismiss = Change { feedback: Some(Feedback::FalsePositive), ..status(Status::Dismissed) };
    let case = cases.change("c-d1", &dismiss, &ana, "").await.unwrap();
    assert!(case.dismissed_until.is_some());
    // The same pattern tomorrow, as another incident: the case hears of it and stays dismissed.
    cases.take(&[verdict("v-d2", &at(3), "192.0.2.50", "grid", "c-d2")]).await.unwrap();
    let case = cases.get("c-d1").await.unwrap();
    assert_eq!((case.status, case.verdicts), (Status::Dismissed, 2));
    assert!(cases.get("c-d2").await.is_err());
    // Another family is another pattern: a case that names the old one.
    cases.take(&[verdict("v-d3", &at(4), "192.0.2.50", "boundary", "c-d3")]).await.unwrap();
    let case = cases.get("c-d3").await.unwrap();
    assert_eq!((case.status, case.related.as_str()), (Status::Open, "c-d1"));
    // The dismissed incident grows into a campaign: it comes back.
    cases.take(&[campaign("v-d4", &at(5), &["192.0.2.50", "192.0.2.51"], "c-d2")]).await.unwrap();
    let case = cases.get("c-d1").await.unwrap();
    assert_eq!((case.status, case.severity), (Status::Open, Severity::High));
    assert!(cases.timeline("c-d1", 10).await.unwrap().iter().any(|event| event.kind == "reopened"));
    let related = cases.related("c-d1").await.unwrap();
    assert_eq!(related.iter().map(|one| (one.id.as_str(), one.why.as_str())).collect::<Vec<_>>(), [("c-d3", "address")]);
    let counts = cases.counts().await.unwrap();
    assert_eq!(counts.judged["grid"], (0, 1));
}

async fn suppressions_silence_and_are_previewed(place: &Place) {
    let cases = place.cases("").await;
    let ana = Actor::person("ana");
    // A preview looks back from now.
    let at = tripline::clock::now().plus_seconds(-3_600).to_string();
    let mut other_model = verdict("v-s4", &at, "203.0.113.9", "grid", "c-s4");
    other_model.verdict["model"] = "flights".into();
    let lines = [
        verdict("v-s1", &at, "203.0.113.7", "grid", "c-s1"),
        verdict("v-s2", &at, "203.0.113.8", "grid", "c-s2"),
        campaign("v-s3", &at, &["203.0.113.7", "198.51.100.77"], "c-s3"),
        other_model,
        verdict("v-old", "2026-01-01T00:00:00Z", "203.0.113.70", "grid", "c-old"),
    ];
    cases.take(&lines).await.unwrap();
    cases.change("c-s2", &status(Status::Confirmed), &ana, "").await.unwrap();
    let new = |value: &str| -> NewSuppression {
        serde_json::from_value(
            json!({"mode": "suppress", "kind": "prefix", "value": value, "model": "adult", "reason": "our scanner", "days": 7}),
        )
        .unwrap()
    };
    let preview = cases.preview(new("203.0.113.0/24"), 7).await.unwrap();
    assert_eq!((preview.verdicts, preview.cases_total), (2, 2), "{preview:?}");
    assert_eq!((preview.cases, preview.confirmed), (vec!["c-s1".to_owned(), "c-s2".into()], vec!["c-s2".to_owned()]));
    let made = cases.suppress(new("203.0.113.0/24"), &ana).await.unwrap();
    let taken = cases
        .take(&[
            verdict("v-s5", &at, "203.0.113.10", "grid", "c-s5"),
            campaign("v-s6", &at, &["203.0.113.7", "198.51.100.77"], "c-s6"),
            campaign("v-s7", &at, &["203.0.113.7", "203.0.113.8"], "c-s7"),
        ])
        .await
        .unwrap();
    assert_eq!((taken.stored, taken.suppressed), (1, 2));
    assert!(cases.get("c-s5").await.is_err() && cases.get("c-s6").await.is_ok() && cases.get("c-s7").await.is_err());
    let known = cases.suppressions(true).await.unwrap();
    assert_eq!((known.len(), known[0].hits, known[0].value.as_str()), (1, 2, "203.0.113.0/24"));
    cases.end_suppression(&made.id, "no longer needed", &ana).await.unwrap();
    assert!(cases.suppressions(true).await.unwrap().is_empty() && cases.suppressions(false).await.unwrap().len() == 1);
    let taken = cases.take(&[verdict("v-s8", &at, "203.0.113.11", "grid", "c-s8")]).await.unwrap();
    assert_eq!(taken.stored, 1);
    assert!(matches!(cases.end_suppression("s-none", "", &ana).await.unwrap_err(), CaseError::NotFound(_)));
    let related = cases.related("c-s1").await.unwrap();
    let of = |id: &str| related.iter().find(|one| one.id == id).map(|one| (one.why.as_str(), one.other_model));
    assert_eq!((of("c-s2"), of("c-s3")), (Some(("prefix", false)), Some(("address", false))));
    assert_eq!(cases.audit().verify(None).await.unwrap().broken, None);
}

async fn filters_are_saved_for_their_owner(place: &Place) {
    let cases = place.cases("").await;
    let (ana, ben) = (Actor::person("ana"), Actor::person("ben"));
    let filter = CaseFilter { family: "grid".into(), status: vec![Status::Open], ..CaseFilter::default() };
    let first = cases.save_filter("mine", &filter, &ana).await.unwrap();
    let again = cases.save_filter("mine", &CaseFilter { owner: "ana".into(), ..filter }, &ana).await.unwrap();
    assert_eq!(first.id, again.id);
    let saved = cases.saved_filters(&ana).await.unwrap();
    assert_eq!((saved.len(), saved[0].filter.owner.as_str()), (1, "ana"));
    assert!(cases.saved_filters(&ben).await.unwrap().is_empty());
    assert!(cases.remove_filter(&first.id, &ben).await.is_err());
    cases.remove_filter(&first.id, &ana).await.unwrap();
    assert!(cases.saved_filters(&ana).await.unwrap().is_empty());
}

#[tokio::test]
async fn people_work_with_cases_on_sqlite() {
    decisions_are_made_once_and_kept(&Place::sqlite()).await;
    what_is_dismissed_stays_dismissed(&Place::sqlite()).await;
    suppressions_silence_and_are_previewed(&Place::sqlite()).await;
    filters_are_saved_for_their_owner(&Place::sqlite()).await;
}

#[tokio::test]
async fn people_work_with_cases_on_postgres() {
    let place = Place::postgres();
    decisions_are_made_once_and_kept(&place).await;
    what_is_dismissed_stays_dismissed(&Place::postgres()).await;
    suppressions_silence_and_are_previewed(&Place::postgres()).await;
    filters_are_saved_for_their_owner(&place).await;
}

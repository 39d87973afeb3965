//! The same on SQLite and PostgreSQL: verdicts into cases once, the queue, the chain, pseudonyms and erasure.

use sqlx::{Column as _, Row as _};
use tripline::audit::{Actor, AuditFilter};
use tripline::cases::rules::Status;
use tripline::cases::{CaseFilter, CaseSort, Cases, Change};

use super::{Place, as_json, attack, campaign, verdict};

/// Every table with something in it.
const TABLES: [&str; 14] = [
    "cases",
    "case_incidents",
    "case_actors",
    "case_members",
    "verdicts",
    "case_events",
    "case_queries",
    "suppressions",
    "saved_filters",
    "idempotency_keys",
    "audit_entries",
    "audit_details",
    "audit_erasures",
    "store_facts",
];

/// Everything in the database, as text.
async fn dump(cases: &Cases) -> String {
    let mut all = String::new();
    for table in TABLES {
        let rows =
            sqlx::query(sqlx::AssertSqlSafe(format!("SELECT * FROM {table}"))).fetch_all(cases.database().pool()).await.unwrap();
        for row in rows {
            for column in row.columns() {
                let at = column.ordinal();
                let text = row.try_get::<String, _>(at).or_else(|_| row.try_get::<i64, _>(at).map(|number| number.to_string()));
                all.push_str(&text.unwrap_or_default());
                all.push('\n');
            }
        }
    }
    all
}

async fn everything(cases: &Cases) -> serde_json::Value {
    let page = cases.list(&CaseFilter::default(), CaseSort::Severity, None, 500).await.unwrap();
    let mut all = Vec::new();
    for case in &page.cases {
        all.push(serde_json::json!({
            "case": case, "members": cases.members_of(&case.id, 1000).await.unwrap(), "timeline": cases.timeline(&case.id, 1000).await.unwrap(),
            "queries": cases.queries_of(&case.id, 1000).await.unwrap(), "verdicts": cases.verdicts_of(&case.id, 1000).await.unwrap(),
        }));
    }
    all.into()
}

/// A recorded attack becomes cases, once.
async fn verdicts_become_cases_once(place: &Place) {
    let cases = place.cases("").await;
    let lines = attack();
    let taken = cases.take(&lines).await.unwrap();
    assert_eq!((taken.stored, taken.repeated, taken.refused), (lines.len() as u64, 0, 0));
    let before = everything(&cases).await;
    let incidents: std::collections::BTreeSet<_> = lines.iter().filter_map(|line| line.verdict["case"].as_str()).collect();
    assert!(before.as_array().unwrap().len() <= incidents.len(), "an incident is one case");
    let first = &before[0]["case"];
    assert_eq!(
        (first["scope"].as_str(), first["severity"].as_str(), first["status"].as_str()),
        (Some("campaign"), Some("critical"), Some("open"))
    );
    assert!(first["members"].as_i64().unwrap() > 10 && !before[0]["queries"].as_array().unwrap().is_empty());
    assert!(!cases.evidence(first["id"].as_str().unwrap()).await.unwrap().is_empty());
    // After a restart, whatever part of the stream comes again.
    let again = place.cases("").await;
    let taken = again.take(&lines[lines.len() / 2..]).await.unwrap();
    assert_eq!((taken.stored, taken.repeated), (0, (lines.len() - lines.len() / 2) as u64));
    assert_eq!(everything(&again).await, before);
    let verified = again.audit().verify(None).await.unwrap();
    assert_eq!(verified.broken, None);
    assert!(verified.entries >= 50, "each verdict of a case is an entry");
    // In batches of any size the same cases come out.
    let other = Place::sqlite();
    let piecemeal = other.cases("").await;
    for batch in lines.chunks(7) {
        piecemeal.take(batch).await.unwrap();
    }
    assert_eq!(everything(&piecemeal).await, before);
}

/// The queue shows each case once, in each order, and finds by each filter.
async fn the_queue_is_complete(place: &Place) {
    let cases = place.cases("").await;
    let lines: Vec<_> = (0..57)
        .map(|n| {
            let at = format!("2026-03-02T08:{:02}:{:02}Z", n / 7, n % 3);
            verdict(
                &format!("v-{n}"),
                &at,
                &format!("198.51.{}.{n}", n % 3),
                if n % 2 == 0 { "grid" } else { "boundary" },
                &format!("c-{n:02}"),
            )
        })
        .chain([campaign("v-c", "2026-03-02T08:30:00Z", &["203.0.113.1", "203.0.113.2"], "c-campaign")])
        .collect();
    cases.take(&lines).await.unwrap();
    let all = CaseFilter::default();
    for sort in [CaseSort::Severity, CaseSort::LastSeen, CaseSort::FirstSeen, CaseSort::Queries, CaseSort::Members] {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = cases.list(&all, sort, cursor.as_deref(), 10).await.unwrap();
            seen.extend(page.cases.iter().map(|case| case.id.clone()));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let whole = cases.list(&all, sort, None, 500).await.unwrap();
        assert_eq!(seen, whole.cases.iter().map(|case| case.id.clone()).collect::<Vec<_>>(), "{sort:?}");
        assert_eq!(seen.len(), 58, "{sort:?}");
    }
    assert_eq!(cases.list(&all, CaseSort::Severity, None, 1).await.unwrap().cases[0].id, "c-campaign");
    let cursor = cases.list(&all, CaseSort::Severity, None, 1).await.unwrap().next;
    assert!(cases.list(&all, CaseSort::LastSeen, cursor.as_deref(), 1).await.is_err(), "a cursor belongs to its order");
    let filter = |json: serde_json::Value| serde_json::from_value::<CaseFilter>(json).unwrap();
    for (json, expected) in [
        (serde_json::json!({"family": "grid"}), 30),
        (serde_json::json!({"severity": "high"}), 1),
        (serde_json::json!({"network": "198.51.1.0/24"}), 19),
        (serde_json::json!({"network": "198.51.0.0/16"}), 57),
        (serde_json::json!({"network": "203.0.113.2"}), 1),
        (serde_json::json!({"network": "2001:db8::/32"}), 0),
        (serde_json::json!({"model": "other"}), 0),
        (serde_json::json!({"status": ["dismissed", "closed"]}), 0),
        (serde_json::json!({"status": ["open"], "owner": "-", "family": "boundary"}), 28),
    ] {
        assert_eq!(cases.count(&filter(json.clone())).await.unwrap(), expected, "{json}");
    }
    let mut others = all.clone();
    others.models = vec!["flights".into()];
    assert_eq!(cases.count(&others).await.unwrap(), 0, "who may see other models only sees none of these");
    assert!(cases.count(&filter(serde_json::json!({"network": "'; DROP TABLE cases; --"}))).await.is_err());
    assert_eq!(cases.count(&filter(serde_json::json!({"owner": "'; DROP TABLE cases; --"}))).await.unwrap(), 0);
}

/// Under a key nobody is named at rest, and everything works as before.
async fn pseudonyms_name_nobody(place: &Place) {
    std::fs::write(place.folder.path().join("key"), "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").unwrap();
    let cases = place.cases("key = \"${file:key}\"\n").await;
    let mut line = verdict("v-p", "2026-03-02T08:00:00Z", "192.0.2.77", "grid", "c-pseudonym");
    line.verdict["client_id"] = "acct-of-ana".into();
    cases.take(&[line]).await.unwrap();
    cases.take(&[campaign("v-q", "2026-03-02T08:01:00Z", &["192.0.2.77", "192.0.2.78"], "c-pseudonym")]).await.unwrap();
    let dump = dump(&cases).await;
    assert!(!dump.contains("192.0.2.7") && !dump.contains("acct-of-ana"), "a caller is named at rest");
    assert!(dump.contains("c-pseudonym"));
    let case = cases.get("c-pseudonym").await.unwrap();
    assert_eq!((case.actor.as_str(), case.members), ("account=acct-of-ana address=192.0.2.77", 3));
    let members = cases.members_of("c-pseudonym", 10).await.unwrap();
    assert!(members.iter().any(|member| member.value == "192.0.2.78" && member.prefix == "192.0.2.0/24"));
    assert_eq!(cases.verdicts_of("c-pseudonym", 1).await.unwrap()[0]["members"][0], "192.0.2.77");
    for (network, found) in [("192.0.2.77", 1), ("192.0.2.0/24", 1), ("192.0.3.0/24", 0)] {
        let filter = CaseFilter { network: network.into(), ..CaseFilter::default() };
        assert_eq!(cases.count(&filter).await.unwrap(), found, "{network}");
    }
    let wide = CaseFilter { network: "192.0.0.0/16".into(), ..CaseFilter::default() };
    assert!(cases.count(&wide).await.unwrap_err().to_string().contains("pseudonyms"));
}

/// A subject is exported and erased, and the chain still holds.
async fn erasure_keeps_the_chain(place: &Place) {
    let cases = place.cases("").await;
    let ana = Actor::person("ana");
    let (subject, other) = ("192.0.2.200", "192.0.2.201");
    cases.take(&[verdict("v-e1", "2026-03-02T09:00:00Z", subject, "grid", "c-alone")]).await.unwrap();
    cases.take(&[campaign("v-e2", "2026-03-02T09:01:00Z", &[subject, other], "c-both")]).await.unwrap();
    let note = Change { note: Some(format!("{subject} is a customer")), ..Change::default() };
    cases.change("c-both", &note, &ana, "").await.unwrap();
    let new = serde_json::json!({"mode": "allow", "kind": "address", "value": subject, "reason": "test", "days": 3});
    cases.suppress(serde_json::from_value(new).unwrap(), &ana).await.unwrap();
    let export = cases.export_subject(subject, &ana).await.unwrap();
    assert_eq!((export.cases.len(), export.verdicts.len(), export.suppressions.len(), export.decisions.len()), (2, 2, 1, 1));
    let erased = cases.erase_subject(subject, "asked for, article 17", &ana).await.unwrap();
    assert_eq!((erased.cases_removed, erased.cases_redacted, erased.suppressions), (1, 1, 1), "{erased:?}");
    let dump = dump(&cases).await;
    assert!(!dump.contains(subject), "{}", dump.lines().find(|line| line.contains(subject)).unwrap_or_default());
    assert!(dump.contains(other) && cases.get("c-alone").await.is_err());
    let verified = cases.audit().verify(None).await.unwrap();
    assert_eq!(verified.broken, None);
    assert!(verified.erased >= 2, "{verified:?}");
    let entries = cases.audit().query(&AuditFilter { action: "privacy".into(), ..AuditFilter::default() }).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(), ["privacy.erase", "privacy.export"]);
}

/// What is over for long enough is removed, and what is not stays.
async fn what_is_over_is_kept_no_longer_than_said(place: &Place) {
    let cases = place.cases("keep_cases = \"10d\"\nkeep_verdicts = \"1d\"\n").await;
    let day = 86_400_000_000;
    cases.take(&[verdict("v-s1", "2026-03-02T09:00:00Z", "192.0.2.90", "grid", "c-over")]).await.unwrap();
    cases.take(&[verdict("v-s2", "2026-03-02T09:00:00Z", "192.0.2.91", "grid", "c-running")]).await.unwrap();
    let change = Change { status: Some(Status::Closed), ..Change::default() };
    cases.change("c-over", &change, &Actor::person("ana"), "").await.unwrap();
    let now = tripline::clock::now().micros();
    cases.sweep(now + 9 * day).await.unwrap();
    assert!(cases.get("c-over").await.is_ok());
    assert_eq!(cases.sweep(now + 11 * day).await.unwrap().0, 1);
    assert!(cases.get("c-over").await.is_err() && cases.get("c-running").await.is_ok());
    assert!(!dump(&cases).await.contains("192.0.2.90"));
    assert_eq!(cases.audit().verify(None).await.unwrap().broken, None);
}

/// The tables of the audit refuse changes, in whatever way they are asked for.
async fn the_audit_refuses_changes(place: &Place, postgres: bool) {
    let cases = place.cases("").await;
    let mut statements = vec![
        "UPDATE audit_entries SET actor = 'eve'",
        "DELETE FROM audit_entries",
        "UPDATE audit_details SET detail = '{}'",
        "DELETE FROM audit_details",
        "DELETE FROM audit_head",
    ];
    if postgres {
        statements.extend(["TRUNCATE audit_entries", "TRUNCATE audit_details", "TRUNCATE audit_head"]);
    }
    for statement in statements {
        let refused = sqlx::query(statement).execute(cases.database().pool()).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{statement}: {refused}");
    }
    let verified = cases.audit().verify(None).await.unwrap();
    assert!(verified.broken.is_none() && verified.entries > 0, "{verified:?}");
}

async fn all(place: &Place, postgres: bool) {
    verdicts_become_cases_once(place).await;
    the_audit_refuses_changes(place, postgres).await;
    erasure_keeps_the_chain(place).await;
    what_is_over_is_kept_no_longer_than_said(place).await;
}

#[tokio::test]
async fn sqlite_keeps_cases_and_audit() {
    all(&Place::sqlite(), false).await;
    the_queue_is_complete(&Place::sqlite()).await;
    pseudonyms_name_nobody(&Place::sqlite()).await;
}

#[tokio::test]
async fn postgres_keeps_cases_and_audit() {
    all(&Place::postgres(), true).await;
    the_queue_is_complete(&Place::postgres()).await;
    pseudonyms_name_nobody(&Place::postgres()).await;
}

#[tokio::test]
async fn both_databases_have_the_same_cases() {
    let (one, other) = (Place::sqlite(), Place::postgres());
    let lines = attack();
    let (one, other) = (one.cases("").await, (other.cases("").await, other));
    one.take(&lines).await.unwrap();
    other.0.take(&lines).await.unwrap();
    assert_eq!(as_json(&everything(&one).await), as_json(&everything(&other.0).await));
}

use serde_json::json;

use super::*;
use crate::store::StoreConfig;

async fn audit(folder: &std::path::Path) -> Audit {
    let database = Database::connect(&StoreConfig::at("sqlite://audit.db"), folder).await.unwrap();
    Audit::new(database, AuditKeys::default())
}

fn entry(number: u32) -> Entry {
    Entry {
        actor: Actor::person("ana"),
        action: "case.change",
        subject: format!("case:c-{number}"),
        detail: json!({"status": "confirmed", "number": number}),
    }
}

#[tokio::test]
async fn the_chain_holds_and_its_tables_refuse_changes() {
    let folder = tempfile::tempdir().unwrap();
    let audit = audit(folder.path()).await;
    for number in 1..=5 {
        assert_eq!(audit.append(entry(number)).await.unwrap(), i64::from(number));
    }
    let verified = audit.verify(None).await.unwrap();
    assert_eq!((verified.entries, verified.without_key, verified.broken), (5, 5, None));
    for sql in [
        "UPDATE audit_entries SET actor = 'eve' WHERE seq = 2",
        "DELETE FROM audit_entries WHERE seq = 2",
        "UPDATE audit_details SET detail = '{}' WHERE seq = 2",
        "DELETE FROM audit_details WHERE seq = 2",
        "DELETE FROM audit_head",
        "UPDATE audit_head SET seq = 1",
    ] {
        let refused = sqlx::query(sql).execute(audit.database.pool()).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{sql}: {refused}");
    }
    let found = audit.query(&AuditFilter { subject: "case:c-3".into(), ..AuditFilter::default() }).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].seq, &found[0].detail["number"]), (3, &json!(3)));
    let found = audit.query(&AuditFilter { action: "case".into(), before: 5, limit: 2, ..AuditFilter::default() }).await.unwrap();
    assert_eq!(found.iter().map(|record| record.seq).collect::<Vec<_>>(), [4, 3]);
    assert!(audit.query(&AuditFilter { action: "cas".into(), ..AuditFilter::default() }).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_first_broken_entry_is_named_whatever_was_done_to_it() {
    let tampering = [
        ("UPDATE audit_entries SET actor = 'eve' WHERE seq = 3", 3, "signature"),
        ("UPDATE audit_details SET detail = '{}' WHERE seq = 2", 2, "changed"),
        ("DELETE FROM audit_details WHERE seq = 4", 4, "no entry tells of an erasure"),
        ("DELETE FROM audit_entries WHERE seq = 3", 3, "missing"),
        ("DELETE FROM audit_entries WHERE seq >= 4", 4, "missing"),
        ("DELETE FROM audit_entries WHERE seq = 5; UPDATE audit_head SET seq = 4", 5, "head"),
    ];
    for (sql, seq, word) in tampering {
        let folder = tempfile::tempdir().unwrap();
        let audit = audit(folder.path()).await;
        for number in 1..=5 {
            audit.append(entry(number)).await.unwrap();
        }
        // Whoever owns the file can remove the triggers.
        let triggers: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            .fetch_all(audit.database.pool())
            .await
            .unwrap();
        for trigger in triggers {
            sqlx::query(sqlx::AssertSqlSafe(format!("DROP TRIGGER {trigger}"))).execute(audit.database.pool()).await.unwrap();
        }
        sqlx::raw_sql(sql).execute(audit.database.pool()).await.unwrap();
        let broken = audit.verify(None).await.unwrap().broken.unwrap();
        assert!(broken.seq == seq && broken.what.contains(word), "{sql}: {broken:?}");
    }
}

#[tokio::test]
async fn an_end_that_was_cut_off_is_seen_by_whoever_kept_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let audit = audit(folder.path()).await;
    audit.append(entry(1)).await.unwrap();
    let head = audit.head().await.unwrap();
    audit.append(entry(2)).await.unwrap();
    assert_eq!(audit.verify(Some(&head)).await.unwrap().broken, None);
    let ahead = Head { seq: 7, mac: "x".into() };
    assert_eq!(audit.verify(Some(&ahead)).await.unwrap().broken.unwrap().seq, 3);
    let other = Head { seq: 1, mac: "x".into() };
    assert_eq!(audit.verify(Some(&other)).await.unwrap().broken.unwrap().seq, 1);
}

#[tokio::test]
async fn entries_of_many_tasks_get_places_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let audit = audit(folder.path()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..30 {
        let audit = audit.clone();
        tasks.spawn(async move { audit.append(entry(number)).await });
    }
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
    let verified = audit.verify(None).await.unwrap();
    assert_eq!((verified.entries, verified.broken), (30, None));
}

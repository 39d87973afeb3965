//! What is kept of people: removal of what is kept no longer, everything about a subject on demand (GDPR article 15), and its erasure
//! (article 17). The audit chain stays verifiable: erased details leave their salted hashes, and the entry that says that they were erased.
//!
//! A subject is an address or an account, as the log states it.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{Any, Row, Transaction};

use super::detail::TimelineEvent;
use super::suppression::Suppression;
use super::{Case, CaseError, Cases};
use crate::audit::{Actor, AuditFilter, AuditRecord, Entry};
use crate::clock;
use crate::store::StoreError;

/// Cases or verdicts removed in one transaction: a fraction of a second.
const SWEPT: i64 = 500;
/// Requests are remembered for so long: a client that repeats one does so within minutes. Seven days in microseconds.
const IDEMPOTENCY: i64 = 7 * 86_400_000_000;
/// What stands where a subject stood.
const ERASED: &str = "(erased)";

/// Tables with rows of a case.
const PARTS: [&str; 6] = ["case_members", "case_queries", "case_events", "case_incidents", "case_actors", "verdicts"];

type Tx = Transaction<'static, Any>;

/// Everything about a subject.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SubjectExport {
    /// The subject.
    pub subject: String,
    /// Cases in which it takes part.
    pub cases: Vec<Case>,
    /// Verdict lines that speak of it.
    pub verdicts: Vec<Value>,
    /// The timelines of its cases, as far as people wrote them.
    pub decisions: Vec<TimelineEvent>,
    /// Suppressions of it.
    pub suppressions: Vec<Suppression>,
    /// Entries of the audit about its cases.
    pub audit: Vec<AuditRecord>,
}

/// What was erased.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Erased {
    /// Cases that spoke of nobody else: removed.
    pub cases_removed: u64,
    /// Cases with others in them, in which the subject was made unreadable.
    pub cases_redacted: u64,
    /// Verdict lines that were removed or made unreadable.
    pub verdicts: u64,
    /// Suppressions removed.
    pub suppressions: u64,
    /// Details of the audit erased; their entries and hashes stay.
    pub audit_details: u64,
}

impl Cases {
    /// Removes what is kept no longer: cases that are over, verdicts without a case, and remembered requests. Returns the number of cases and
    /// verdicts.
    ///
    /// # Errors
    /// The database.
    pub async fn sweep(&self, now: i64) -> Result<(u64, u64), StoreError> {
        let cases_before = now.saturating_sub(super::micros(self.0.keep_cases));
        let verdicts_before = now.saturating_sub(super::micros(self.0.keep_verdicts));
        let (mut cases, mut verdicts) = (0, 0);
        loop {
            let mut tx = self.database().begin().await?;
            let select = "SELECT id FROM cases WHERE status IN ('dismissed', 'closed') AND last_seen < $1 AND changed_at < $1 ORDER BY id LIMIT $2";
            let over: Vec<String> = sqlx::query_scalar(select).bind(cases_before).bind(SWEPT).fetch_all(&mut *tx).await?;
            for id in &over {
                remove_case(&mut tx, id).await?;
            }
            let delete =
                "DELETE FROM verdicts WHERE id IN (SELECT id FROM verdicts WHERE case_id = '' AND stored_at < $1 LIMIT $2)";
            let old = sqlx::query(delete).bind(verdicts_before).bind(SWEPT).execute(&mut *tx).await?.rows_affected();
            let keys = sqlx::query("DELETE FROM idempotency_keys WHERE at < $1").bind(now.saturating_sub(IDEMPOTENCY));
            keys.execute(&mut *tx).await?;
            if !over.is_empty() || old > 0 {
                let detail = json!({"cases": over.len(), "verdicts": old});
                let entry = Entry { actor: Actor::service(), action: "privacy.retention", subject: "cases".into(), detail };
                self.audit().append_in(&mut tx, &entry).await?;
            }
            tx.commit().await?;
            (cases, verdicts) = (cases + over.len() as u64, verdicts + old);
            if over.len() as u64 + old == 0 {
                return Ok((cases, verdicts));
            }
        }
    }

    /// Everything about a subject.
    ///
    /// # Errors
    /// [`CaseError::Invalid`] for an empty subject, or the database.
    pub async fn export_subject(&self, subject: &str, who: &Actor) -> Result<SubjectExport, CaseError> {
        let subject = checked(subject)?;
        let mut tx = self.database().begin().await?;
        let entry = Entry { actor: who.clone(), action: "privacy.export", subject: "privacy".into(), detail: json!({}) };
        self.audit().append_in(&mut tx, &entry).await?;
        let ids = self.cases_with(&mut tx, subject).await?;
        let (mut cases, mut verdicts) = (Vec::new(), Vec::new());
        for id in &ids {
            cases.extend(self.find(&mut tx, id).await?);
        }
        for (_, body) in self.verdicts_with(&mut tx, subject).await? {
            verdicts.push(serde_json::from_str(&body).unwrap_or(Value::String(body)));
        }
        tx.commit().await.map_err(StoreError::from)?;
        let (mut decisions, mut audit) = (Vec::new(), Vec::new());
        for id in &ids {
            let timeline = self.timeline(id, super::detail::MAX_ROWS).await?;
            decisions.extend(timeline.into_iter().filter(|event| event.kind == "decision" || event.kind == "note"));
            let filter = AuditFilter { subject: format!("case:{id}"), limit: crate::audit::MAX_ENTRIES, ..AuditFilter::default() };
            audit.extend(self.audit().query(&filter).await?);
        }
        let suppressions = self.suppressions(false).await?.into_iter().filter(|one| one.value == subject).collect();
        Ok(SubjectExport { subject: subject.to_owned(), cases, verdicts, decisions, suppressions, audit })
    }

    /// Erases a subject: cases that speak of it alone are removed, in others it becomes unreadable, and details of the audit about it are
    /// erased. What still waits in the spool, and what lies in logs and topics, is not reached from here.
    ///
    /// # Errors
    /// [`CaseError::Invalid`] for an empty subject, or the database; then nothing is erased.
    pub async fn erase_subject(&self, subject: &str, reason: &str, who: &Actor) -> Result<Erased, CaseError> {
        let subject = checked(subject)?;
        let mut tx = self.database().begin().await?;
        // The entry says that somebody was erased, and not who.
        let entry =
            Entry { actor: who.clone(), action: "privacy.erase", subject: "privacy".into(), detail: json!({"reason": reason}) };
        let reason_seq = self.audit().append_in(&mut tx, &entry).await?;
        let mut erased = Erased::default();
        let mut removed = Vec::new();
        for (id, body) in self.verdicts_with(&mut tx, subject).await? {
            let redacted = self.seal().seal(&replaced(&body, subject));
            let update = sqlx::query("UPDATE verdicts SET body = $2 WHERE id = $1").bind(id).bind(redacted);
            erased.verdicts += update.execute(&mut *tx).await.map_err(StoreError::from)?.rows_affected();
        }
        for id in self.cases_with(&mut tx, subject).await? {
            if self.is_alone(&mut tx, &id, subject).await? {
                remove_case(&mut tx, &id).await?;
                erased.cases_removed += 1;
                removed.push(id);
            } else {
                self.redact_case(&mut tx, &id, subject).await?;
                erased.cases_redacted += 1;
            }
        }
        let sealed = self.seal().seal(subject);
        let delete = sqlx::query("DELETE FROM suppressions WHERE value = $1").bind(&sealed).execute(&mut *tx).await;
        erased.suppressions = delete.map_err(StoreError::from)?.rows_affected();
        erased.audit_details = self.erase_details(&mut tx, subject, &sealed, &removed, reason_seq).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(erased)
    }

    async fn cases_with(&self, tx: &mut Tx, subject: &str) -> Result<BTreeSet<String>, StoreError> {
        let select = "SELECT DISTINCT case_id FROM case_members WHERE kind IN ('address', 'account') AND value = $1";
        let ids: Vec<String> = sqlx::query_scalar(select).bind(self.seal().seal(subject)).fetch_all(&mut **tx).await?;
        Ok(ids.into_iter().collect())
    }

    /// Verdict lines that name a subject, opened.
    async fn verdicts_with(&self, tx: &mut Tx, subject: &str) -> Result<Vec<(String, String)>, StoreError> {
        // A line lies under a pseudonym as a whole, so every line is opened; this is rare and may take its time.
        let quoted = Value::from(subject).to_string();
        let mut found = Vec::new();
        let mut last = String::new();
        loop {
            let select = sqlx::query("SELECT id, body FROM verdicts WHERE id > $1 ORDER BY id LIMIT 1000").bind(&last);
            let rows = select.fetch_all(&mut **tx).await?;
            let Some(end) = rows.last() else { return Ok(found) };
            last = end.try_get("id")?;
            for row in &rows {
                let body = self.seal().open(&row.try_get::<String, _>("body")?);
                if body.contains(&quoted) {
                    found.push((row.try_get("id")?, body));
                }
            }
        }
    }

    /// Whether a case speaks of nobody else: no other address and no other account.
    async fn is_alone(&self, tx: &mut Tx, id: &str, subject: &str) -> Result<bool, StoreError> {
        let others = "SELECT count(*) FROM case_members WHERE case_id = $1 AND kind <> 'prefix' AND value <> $2";
        let others: i64 = sqlx::query_scalar(others).bind(id).bind(self.seal().seal(subject)).fetch_one(&mut **tx).await?;
        Ok(others == 0)
    }

    async fn redact_case(&self, tx: &mut Tx, id: &str, subject: &str) -> Result<(), StoreError> {
        let case = self.find(tx, id).await?;
        if let Some(case) = case.filter(|case| case.actor.contains(subject)) {
            let actor = self.seal().seal(&case.actor);
            sqlx::query("DELETE FROM case_actors WHERE model = $1 AND actor = $2")
                .bind(&case.model)
                .bind(actor)
                .execute(&mut **tx)
                .await?;
            sqlx::query("UPDATE cases SET actor = $2 WHERE id = $1").bind(id).bind(ERASED).execute(&mut **tx).await?;
        }
        for kind in ["address", "account"] {
            let actor = self.seal().seal(&format!("{kind}={subject}"));
            sqlx::query("DELETE FROM case_actors WHERE case_id = $1 AND actor = $2")
                .bind(id)
                .bind(actor)
                .execute(&mut **tx)
                .await?;
        }
        let delete = sqlx::query("DELETE FROM case_members WHERE case_id = $1 AND kind <> 'prefix' AND value = $2");
        delete.bind(id).bind(self.seal().seal(subject)).execute(&mut **tx).await?;
        let update = sqlx::query("UPDATE case_events SET detail = replace(detail, $2, $3) WHERE case_id = $1");
        update.bind(id).bind(subject).bind(ERASED).execute(&mut **tx).await?;
        Ok(())
    }

    /// Erases details of the audit that name the subject or a case that was removed.
    async fn erase_details(
        &self,
        tx: &mut Tx,
        subject: &str,
        sealed: &str,
        removed: &[String],
        reason: i64,
    ) -> Result<u64, StoreError> {
        let select = "SELECT seq FROM audit_details WHERE seq < $3 AND (replace(detail, $1, '') <> detail OR replace(detail, $2, '') <> detail)";
        let select = sqlx::query_scalar::<_, i64>(select).bind(subject).bind(sealed).bind(reason);
        let mut entries: BTreeSet<i64> = select.fetch_all(&mut **tx).await?.into_iter().collect();
        for id in removed {
            let select = sqlx::query_scalar::<_, i64>("SELECT seq FROM audit_details WHERE subject = $1 AND seq < $2");
            entries.extend(select.bind(format!("case:{id}")).bind(reason).fetch_all(&mut **tx).await?);
        }
        for seq in &entries {
            let insert = sqlx::query("INSERT INTO audit_erasures (seq, reason_seq) VALUES ($1, $2) ON CONFLICT (seq) DO NOTHING");
            insert.bind(seq).bind(reason).execute(&mut **tx).await?;
            sqlx::query("DELETE FROM audit_details WHERE seq = $1").bind(seq).execute(&mut **tx).await?;
        }
        Ok(entries.len() as u64)
    }

    /// Notes that the service loaded its configuration: the digest of the file, and the head of the chain before, which is logged as well.
    ///
    /// # Errors
    /// The database.
    pub async fn note_start(&self, digest: &str, version: &str) -> Result<(), StoreError> {
        let head = self.audit().head().await?;
        let detail = json!({"sha256": digest, "version": version, "at": crate::judge::At(clock::now())});
        let entry = Entry { actor: Actor::service(), action: "config.load", subject: "config".into(), detail };
        self.audit().append(entry).await?;
        tracing::info!(
            entries = head.seq,
            mac = head.mac,
            "the audit's head; keep it elsewhere for 'tripline audit verify --head'"
        );
        Ok(())
    }
}

/// Removes a case with everything that belongs to it. Its verdicts go too, so an old log that is read again opens it again.
async fn remove_case(tx: &mut Tx, id: &str) -> Result<(), StoreError> {
    for table in PARTS {
        // Constants of this file.
        let delete = format!("DELETE FROM {table} WHERE case_id = $1");
        sqlx::query(sqlx::AssertSqlSafe(delete)).bind(id).execute(&mut **tx).await?;
    }
    sqlx::query("DELETE FROM cases WHERE id = $1").bind(id).execute(&mut **tx).await?;
    Ok(())
}

fn checked(subject: &str) -> Result<&str, CaseError> {
    match subject.trim() {
        "" => Err(CaseError::Invalid("a subject is needed: an address or an account".into())),
        subject => Ok(subject),
    }
}

/// A line with every text that is the subject replaced.
fn replaced(line: &str, subject: &str) -> String {
    line.replace(&Value::from(subject).to_string(), &Value::from(ERASED).to_string())
}

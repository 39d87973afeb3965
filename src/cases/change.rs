//! What people do with a case: status, owner, severity, notes, feedback. Each change is one transaction with its event in the timeline and its
//! entry in the audit, and one that is asked for twice with the same key happens once.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{Any, Transaction};

use super::rules::{Severity, Status};
use super::{Case, CaseError, Cases, Feedback};
use crate::audit::{Actor, Entry, chain};
use crate::clock;
use crate::store::StoreError;

/// Longest note in bytes.
const MAX_NOTE: usize = 20_000;
/// Longest name of an owner in bytes.
const MAX_OWNER: usize = 200;
/// Longest idempotency key in bytes.
const MAX_KEY: usize = 200;
/// Longest dismissal in days.
const MAX_DISMISSED_DAYS: u32 = 366;
/// Most cases of one bulk change.
pub const MAX_BULK: usize = 500;

/// What to change. Left out: stays as it is.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    /// New status.
    pub status: Option<Status>,
    /// New owner; empty: nobody.
    pub owner: Option<String>,
    /// New severity; verdicts do not raise it any more.
    pub severity: Option<Severity>,
    /// What people found. Confirming a case finds it right unless something else is said.
    pub feedback: Option<Feedback>,
    /// A note in the timeline.
    pub note: Option<String>,
    /// With a dismissal: for how many days the pattern stays dismissed; the configured time unless given.
    pub dismissed_days: Option<u32>,
    /// The version that the change means; another one is a conflict.
    pub version: Option<i64>,
}

/// The outcome of one case of a bulk change.
#[derive(Debug)]
pub struct Changed {
    /// The case.
    pub id: String,
    /// As it is now, or why it did not change.
    pub result: Result<Case, CaseError>,
}

type Tx = Transaction<'static, Any>;

// === impl Change ===

impl Change {
    /// What is wrong with it by itself.
    fn check(&self) -> Result<(), CaseError> {
        let invalid = |what: String| Err(CaseError::Invalid(what));
        if self.note.as_ref().is_some_and(|note| note.trim().is_empty() || note.len() > MAX_NOTE) {
            return invalid(format!("a note has 1 to {MAX_NOTE} bytes"));
        }
        if self.owner.as_ref().is_some_and(|owner| owner.len() > MAX_OWNER || owner.contains('\0')) {
            return invalid(format!("an owner has at most {MAX_OWNER} bytes"));
        }
        if let Some(days) = self.dismissed_days {
            if self.status != Some(Status::Dismissed) {
                return invalid("dismissed_days belongs to the status dismissed".into());
            }
            if !(1..=MAX_DISMISSED_DAYS).contains(&days) {
                return invalid(format!("dismissed_days is outside 1 to {MAX_DISMISSED_DAYS}"));
            }
        }
        let nothing = Self { version: self.version, ..Self::default() };
        if *self == nothing {
            return invalid("nothing is to be changed".into());
        }
        Ok(())
    }

    /// What it says, for timeline and audit.
    fn told(&self, before: &Case) -> Value {
        let mut told = serde_json::Map::new();
        let mut say = |name: &str, value: Value| drop(told.insert(name.to_owned(), value));
        if let Some(status) = self.status.filter(|status| *status != before.status) {
            say("status", json!(status));
            say("status_before", json!(before.status));
        }
        if let Some(owner) = self.owner.as_ref().filter(|owner| **owner != before.owner) {
            say("owner", json!(owner));
            say("owner_before", json!(before.owner));
        }
        if let Some(severity) = self.severity {
            say("severity", json!(severity));
            say("severity_before", json!(before.severity));
        }
        if let Some(feedback) = self.feedback {
            say("feedback", json!(feedback));
        }
        if let Some(note) = &self.note {
            say("note", json!(note));
        }
        if let Some(days) = self.dismissed_days {
            say("dismissed_days", json!(days));
        }
        Value::Object(told)
    }
}

// === impl Cases ===

impl Cases {
    /// Changes a case. `key` names the request, so that the same request again changes nothing; empty: each request counts.
    ///
    /// # Errors
    /// [`CaseError::NotFound`], [`CaseError::Invalid`]; [`CaseError::Conflict`] if the case has another version, the status cannot follow, or
    /// the key was used for something else; or the database.
    pub async fn change(&self, id: &str, change: &Change, who: &Actor, key: &str) -> Result<Case, CaseError> {
        change.check()?;
        let mut transaction = self.database().begin().await?;
        if !key.is_empty() && !self.is_new(&mut transaction, id, change, who, key).await? {
            drop(transaction);
            return self.get(id).await;
        }
        let case = self.apply(&mut transaction, id, change, who, key).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(case)
    }

    /// Changes several cases, each by itself: one that cannot be changed does not hold up the others.
    ///
    /// # Errors
    /// [`CaseError::Invalid`] if there are more than [`MAX_BULK`], or the change is not in order.
    pub async fn change_all(&self, ids: &[String], change: &Change, who: &Actor, key: &str) -> Result<Vec<Changed>, CaseError> {
        change.check()?;
        if ids.len() > MAX_BULK {
            return Err(CaseError::Invalid(format!("{} cases are more than {MAX_BULK}", ids.len())));
        }
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            // Each case has its own part of the key.
            let key = if key.is_empty() { String::new() } else { format!("{key}/{id}") };
            all.push(Changed { id: id.clone(), result: self.change(id, change, who, &key).await });
        }
        Ok(all)
    }

    /// Notes a request; false if the same was made before.
    async fn is_new(&self, tx: &mut Tx, id: &str, change: &Change, who: &Actor, key: &str) -> Result<bool, CaseError> {
        if key.len() > MAX_KEY || key.contains('\0') {
            return Err(CaseError::Invalid(format!("an idempotency key has at most {MAX_KEY} bytes")));
        }
        let content = serde_json::to_string(change).map_err(|error| CaseError::Invalid(error.to_string()))?;
        let digest = chain::hex(&Sha256::digest(format!("{id}\n{content}")));
        let insert =
            "INSERT INTO idempotency_keys (who, name, digest, at) VALUES ($1, $2, $3, $4) ON CONFLICT (who, name) DO NOTHING";
        let insert = sqlx::query(insert).bind(&who.name).bind(key).bind(&digest).bind(clock::now().micros());
        if insert.execute(&mut **tx).await.map_err(StoreError::from)?.rows_affected() > 0 {
            return Ok(true);
        }
        let known = sqlx::query_scalar::<_, String>("SELECT digest FROM idempotency_keys WHERE who = $1 AND name = $2");
        let known = known.bind(&who.name).bind(key).fetch_one(&mut **tx).await.map_err(StoreError::from)?;
        if known == digest {
            Ok(false)
        } else {
            Err(CaseError::Conflict("the idempotency key was used for another request".into()))
        }
    }

    async fn apply(&self, tx: &mut Tx, id: &str, change: &Change, who: &Actor, key: &str) -> Result<Case, CaseError> {
        let now = clock::now();
        // This locks the row, so that two people who change a case come one after the other.
        let update =
            sqlx::query("UPDATE cases SET version = version + 1, changed_at = $2 WHERE id = $1").bind(id).bind(now.micros());
        update.execute(&mut **tx).await.map_err(StoreError::from)?;
        let before = self.find(tx, id).await?.ok_or_else(|| CaseError::NotFound(format!("case {id}")))?;
        if change.version.is_some_and(|version| version + 1 != before.version) {
            let what = format!("case {id} was changed meanwhile: it has version {}; look at it again", before.version - 1);
            return Err(CaseError::Conflict(what));
        }
        let status = change.status.unwrap_or(before.status);
        if status != before.status && !before.status.may_become(status) {
            let what = format!("case {id} is {}; open it again before it becomes {}", before.status.name(), status.name());
            return Err(CaseError::Conflict(what));
        }
        let confirmed = change.status == Some(Status::Confirmed) && before.feedback.is_none();
        let feedback = change.feedback.or(before.feedback).or(confirmed.then_some(Feedback::TruePositive));
        let severity = change.severity.unwrap_or(before.severity);
        let until = match (change.status, status) {
            (Some(Status::Dismissed), _) => {
                let days =
                    change.dismissed_days.map(|days| super::micros(std::time::Duration::from_secs(u64::from(days) * 86_400)));
                let length = days.unwrap_or_else(|| super::micros(self.0.dismissed_for));
                // A log of before may be judged now: its time counts, if it is the later one.
                now.micros().max(before.last_seen.0.micros()).saturating_add(length)
            }
            (None, Status::Dismissed) => before.dismissed_until.map_or(0, |until| until.0.micros()),
            _ => 0,
        };
        // What is dismissed is the pattern as the verdicts show it, whatever severity people gave the case.
        let update = "UPDATE cases SET status = $2, owner = $3, severity = $4, severity_fixed = $5, feedback = $6, dismissed_until = $7, \
                      dismissed_family = family, dismissed_severity = CASE WHEN $8 = 0 THEN dismissed_severity \
                      ELSE (SELECT coalesce(max(severity), 0) FROM verdicts WHERE case_id = $1) END WHERE id = $1";
        let update = sqlx::query(update).bind(id).bind(status.name()).bind(change.owner.as_ref().unwrap_or(&before.owner));
        let update = update.bind(severity.rank()).bind(i64::from(before.severity_fixed || change.severity.is_some()));
        let update = update.bind(feedback.map_or("", Feedback::name)).bind(until);
        let update = update.bind(i64::from(change.status == Some(Status::Dismissed)));
        update.execute(&mut **tx).await.map_err(StoreError::from)?;
        let told = change.told(&before);
        let kind = if change.status.is_some() || change.note.is_none() { "decision" } else { "note" };
        // The same decision may be made again later, so its version is part of the event's id.
        let key = format!("{}/{}/{key}", who.name, before.version);
        self.event_by(tx, id, now.micros(), (kind, &who.name), &key, told.clone()).await?;
        let entry = Entry { actor: who.clone(), action: "case.change", subject: format!("case:{id}"), detail: told };
        self.audit().append_in(tx, &entry).await?;
        let after = self.find(tx, id).await?.ok_or_else(|| CaseError::NotFound(format!("case {id}")))?;
        Ok(after)
    }
}

//! Everything of one case: members, timeline, verdict lines, queries, reasons, and the cases that are related to it.

use serde::Serialize;
use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::line::Signal;
use super::{CaseError, Cases};
use crate::event::EventTime;
use crate::judge::At;
use crate::store::StoreError;

/// Most rows of each part.
pub const MAX_ROWS: u32 = 1_000;
/// Most related cases.
const MAX_RELATED: usize = 50;
/// Rows read for them: each may have a caller, a network and more in common.
const RELATED_ROWS: i64 = 200;

/// A caller that takes part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Member {
    /// `address`, `prefix` or `account`.
    pub kind: String,
    /// Which.
    pub value: String,
    /// Its network (/24, /64); empty for an account.
    pub prefix: String,
    /// Event time of its first verdict.
    pub first_seen: At,
    /// Event time of its last verdict.
    pub last_seen: At,
    /// Verdicts that speak of it.
    pub verdicts: i64,
}

/// An event of the timeline.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TimelineEvent {
    /// Id.
    pub id: String,
    /// Event time of a verdict; the time of a decision.
    pub at: At,
    /// `verdict`, `reopened`, `decision` or `note`.
    pub kind: String,
    /// Who.
    pub who: String,
    /// What.
    pub detail: Value,
}

/// A query that led to the case.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CaseQuery {
    /// When.
    pub at: At,
    /// Request id; empty if the log has none.
    pub request_id: String,
    /// Topic; empty for a file.
    pub topic: String,
    /// Partition.
    pub partition: i64,
    /// Offset.
    pub offset: i64,
    /// Row of a batch.
    pub row: i64,
    /// What was asked and answered, redacted by policy; null if it was not remembered.
    pub content: Value,
}

/// A related case.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Related {
    /// The case.
    pub id: String,
    /// Its model.
    pub model: String,
    /// Its status.
    pub status: String,
    /// What both have in common: `address`, `account`, `prefix`, or `earlier` for a case of the same actor that is over.
    pub why: String,
    /// Whether it is the same actor on another model.
    pub other_model: bool,
}

// === impl Cases ===

impl Cases {
    /// The members of a case, those heard of last first.
    ///
    /// # Errors
    /// The database.
    pub async fn members_of(&self, id: &str, limit: u32) -> Result<Vec<Member>, StoreError> {
        let select = "SELECT * FROM case_members WHERE case_id = $1 ORDER BY last_seen DESC, kind, value LIMIT $2";
        let member = |row: &AnyRow| {
            let sealed = |name: &str| row.try_get::<String, _>(name).map(|text| self.seal().open(&text));
            Ok(Member {
                kind: row.try_get("kind")?,
                value: sealed("value")?,
                prefix: sealed("prefix")?,
                first_seen: at(row, "first_seen")?,
                last_seen: at(row, "last_seen")?,
                verdicts: row.try_get("verdicts")?,
            })
        };
        self.rows(select, id, limit).await?.iter().map(member).collect()
    }

    /// The timeline of a case, the latest first.
    ///
    /// # Errors
    /// The database.
    pub async fn timeline(&self, id: &str, limit: u32) -> Result<Vec<TimelineEvent>, StoreError> {
        let select = "SELECT id, at, kind, who, detail FROM case_events WHERE case_id = $1 ORDER BY at DESC, id DESC LIMIT $2";
        let event = |row: &AnyRow| {
            let detail: String = row.try_get("detail")?;
            Ok(TimelineEvent {
                id: row.try_get("id")?,
                at: at(row, "at")?,
                kind: row.try_get("kind")?,
                who: row.try_get("who")?,
                detail: serde_json::from_str(&detail).unwrap_or(Value::String(detail)),
            })
        };
        self.rows(select, id, limit).await?.iter().map(event).collect()
    }

    /// The verdict lines of a case as they came, the latest first.
    ///
    /// # Errors
    /// The database.
    pub async fn verdicts_of(&self, id: &str, limit: u32) -> Result<Vec<Value>, StoreError> {
        let select = "SELECT body FROM verdicts WHERE case_id = $1 ORDER BY at DESC, id DESC LIMIT $2";
        let line = |row: &AnyRow| {
            let body = self.seal().open(&row.try_get::<String, _>("body")?);
            serde_json::from_str(&body).map_err(|error| StoreError::Damaged(format!("a verdict of case {id}: {error}")))
        };
        self.rows(select, id, limit).await?.iter().map(line).collect()
    }

    /// Why: the reasons of the surest of its latest verdicts, heaviest first.
    ///
    /// # Errors
    /// The database.
    pub async fn evidence(&self, id: &str) -> Result<Vec<Signal>, StoreError> {
        let verdicts = self.verdicts_of(id, 100).await?;
        let confidence = |line: &Value| line["confidence"].as_f64().unwrap_or(0.0);
        let against = verdicts
            .iter()
            .filter(|line| line["verdict"] != "benign" && line["signals"].as_array().is_some_and(|all| !all.is_empty()));
        let surest = against.max_by(|a, b| confidence(a).total_cmp(&confidence(b)));
        Ok(surest.and_then(|line| serde_json::from_value(line["signals"].clone()).ok()).unwrap_or_default())
    }

    /// The queries that led to a case, oldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn queries_of(&self, id: &str, limit: u32) -> Result<Vec<CaseQuery>, StoreError> {
        let select =
            "SELECT * FROM case_queries WHERE case_id = $1 ORDER BY at, topic, partition_number, log_offset, row_number LIMIT $2";
        let query = |row: &AnyRow| {
            let content = self.seal().open(&row.try_get::<String, _>("content")?);
            Ok(CaseQuery {
                at: at(row, "at")?,
                request_id: row.try_get("request_id")?,
                topic: row.try_get("topic")?,
                partition: row.try_get("partition_number")?,
                offset: row.try_get("log_offset")?,
                row: row.try_get("row_number")?,
                content: serde_json::from_str(&content).unwrap_or(Value::Null),
            })
        };
        self.rows(select, id, limit).await?.iter().map(query).collect()
    }

    /// Cases that have something in common with a case: a caller, or a network; running ones first.
    ///
    /// # Errors
    /// [`CaseError::NotFound`], or the database.
    pub async fn related(&self, id: &str) -> Result<Vec<Related>, CaseError> {
        let case = self.get(id).await?;
        let select = "SELECT c.id, c.model, c.status, r.why FROM ( \
                        SELECT o.case_id, o.kind AS why FROM case_members m JOIN case_members o ON o.kind = m.kind AND o.value = m.value \
                        WHERE m.case_id = $1 AND o.case_id <> $1 \
                        UNION SELECT o.case_id, 'prefix' FROM case_members m JOIN case_members o ON o.prefix = m.prefix \
                        WHERE m.case_id = $1 AND o.case_id <> $1 AND m.prefix <> '' \
                        UNION SELECT id, 'earlier' FROM cases WHERE id = $2 \
                      ) r JOIN cases c ON c.id = r.case_id \
                      ORDER BY CASE WHEN c.status IN ('open', 'acknowledged', 'confirmed') THEN 0 ELSE 1 END, c.last_seen DESC, c.id, r.why \
                      LIMIT $3";
        let rows = sqlx::query(select).bind(id).bind(&case.related).bind(RELATED_ROWS).fetch_all(self.database().pool()).await;
        let mut related: Vec<Related> = Vec::new();
        for row in rows.map_err(StoreError::from)? {
            let text = |name: &str| row.try_get::<String, _>(name).map_err(StoreError::from);
            let (id, model, why) = (text("id")?, text("model")?, text("why")?);
            if let Some(known) = related.iter_mut().find(|known| known.id == id) {
                // Who has the address has the network too.
                if known.why == "prefix" || why == "earlier" {
                    known.why = why;
                }
            } else if related.len() < MAX_RELATED {
                let other_model = model != case.model && why != "prefix";
                related.push(Related { id, model, status: text("status")?, why, other_model });
            }
        }
        Ok(related)
    }

    async fn rows(&self, select: &'static str, id: &str, limit: u32) -> Result<Vec<AnyRow>, StoreError> {
        let select = sqlx::query(select).bind(id).bind(i64::from(limit.clamp(1, MAX_ROWS)));
        Ok(select.fetch_all(self.database().pool()).await?)
    }
}

fn at(row: &AnyRow, name: &str) -> Result<At, StoreError> {
    Ok(At(EventTime::from_micros(row.try_get::<i64, _>(name)?)))
}

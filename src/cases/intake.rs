//! Verdicts into cases, each exactly once: a verdict whose id is known changes nothing, and everything that one changes is one transaction.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::{Any, Transaction};

use super::line::{MAX_MEMBERS, QueryLine, SpoolLine, VerdictLine};
use super::rules::{CaseState, Placement, place};
use super::suppression::Suppression;
use super::{Cases, id_of, state};
use crate::audit::{Actor, Entry};
use crate::clock;
use crate::store::StoreError;

/// What became of some verdicts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// They are in the database now, most with a case.
    pub stored: u64,
    /// They were there already.
    pub repeated: u64,
    /// They speak of a caller of whom nobody wants to hear.
    pub suppressed: u64,
    /// They cannot be read.
    pub refused: u64,
}

type Tx = Transaction<'static, Any>;

impl Cases {
    /// Takes verdicts in their order, in one transaction.
    ///
    /// # Errors
    /// If the database cannot be written; then nothing is taken.
    pub async fn take(&self, lines: &[SpoolLine]) -> Result<Taken, StoreError> {
        let mut transaction = self.0.database.begin().await?;
        let suppressions = self.active_suppressions(&mut transaction, clock::now().micros()).await?;
        let mut taken = Taken::default();
        for line in lines {
            match VerdictLine::read(&line.verdict) {
                Ok(verdict) => self.take_one(&mut transaction, &verdict, line, &suppressions, &mut taken).await?,
                Err(what) => {
                    tracing::error!("a verdict of the spool cannot be read: {what}");
                    taken.refused += 1;
                }
            }
        }
        transaction.commit().await?;
        Ok(taken)
    }

    async fn take_one(
        &self,
        tx: &mut Tx,
        verdict: &VerdictLine,
        line: &SpoolLine,
        suppressions: &[Suppression],
        taken: &mut Taken,
    ) -> Result<(), StoreError> {
        let silenced = suppressions.iter().find(|suppression| suppression.silences(verdict));
        let by = silenced.map_or("", |suppression| suppression.id.as_str());
        if !self.insert_verdict(tx, verdict, &line.verdict, by).await? {
            taken.repeated += 1;
            return Ok(());
        }
        if let Some(suppression) = silenced {
            taken.suppressed += 1;
            sqlx::query("UPDATE suppressions SET hits = hits + 1 WHERE id = $1").bind(&suppression.id).execute(&mut **tx).await?;
            let subject = format!("suppression:{}", suppression.id);
            return self.note(tx, "verdict.suppressed", subject, summary(verdict)).await;
        }
        taken.stored += 1;
        let of_incident = self.case_of(tx, "case_incidents", "incident", verdict, &verdict.incident).await?;
        let actor = self.0.seal.seal(&verdict.actor());
        let of_actor = self.case_of(tx, "case_actors", "actor", verdict, &actor).await?;
        let case = match place(&verdict.facts(), of_incident.as_ref(), of_actor.as_ref(), self.0.rules) {
            Placement::None => return Ok(()),
            Placement::Join { case, reopens } => {
                self.join(tx, &case, verdict, reopens).await?;
                case
            }
            Placement::Open { id, related } => self.open(tx, &id, &related, verdict, &actor).await?,
        };
        self.remember(tx, &case, verdict, &actor).await?;
        self.members(tx, &case, verdict).await?;
        self.queries(tx, &case, verdict, &line.queries).await?;
        sqlx::query("UPDATE verdicts SET case_id = $1 WHERE id = $2").bind(&case).bind(&verdict.id).execute(&mut **tx).await?;
        self.event(tx, &case, verdict.at_micros, "verdict", &verdict.id, summary(verdict)).await?;
        self.note(tx, "verdict.case", format!("case:{case}"), summary(verdict)).await
    }

    /// Stores the verdict; false if it is there already.
    async fn insert_verdict(&self, tx: &mut Tx, verdict: &VerdictLine, body: &Value, by: &str) -> Result<bool, StoreError> {
        let insert = "INSERT INTO verdicts (id, case_id, model, at, scope, verdict, family, severity, suppressed_by, stored_at, body) \
                      VALUES ($1, '', $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING";
        let insert = sqlx::query(insert).bind(&verdict.id).bind(&verdict.model).bind(verdict.at_micros).bind(&verdict.scope);
        let insert = insert
            .bind(verdict.finding.name())
            .bind(&verdict.family)
            .bind(verdict.severity().rank())
            .bind(by)
            .bind(clock::now().micros());
        Ok(insert.bind(self.0.seal.seal(&body.to_string())).execute(&mut **tx).await?.rows_affected() > 0)
    }

    /// The case that an incident or actor has; `table` and `column` are constants of this file.
    async fn case_of(
        &self,
        tx: &mut Tx,
        table: &'static str,
        column: &'static str,
        verdict: &VerdictLine,
        value: &str,
    ) -> Result<Option<CaseState>, StoreError> {
        if value.is_empty() {
            return Ok(None);
        }
        let select = format!(
            "SELECT c.id, c.status, c.last_seen, c.dismissed_family, c.dismissed_severity, c.dismissed_until \
             FROM {table} k JOIN cases c ON c.id = k.case_id WHERE k.model = $1 AND k.{column} = $2"
        );
        let select = sqlx::query(sqlx::AssertSqlSafe(select)).bind(&verdict.model).bind(value);
        select.fetch_optional(&mut **tx).await?.map(|row| state(&row)).transpose()
    }

    async fn open(
        &self,
        tx: &mut Tx,
        wanted: &str,
        related: &str,
        verdict: &VerdictLine,
        actor: &str,
    ) -> Result<String, StoreError> {
        let taken = self.find(tx, wanted).await?.is_some();
        let id = if taken { id_of('c', &[wanted, &verdict.id]) } else { wanted.to_owned() };
        let insert = "INSERT INTO cases (id, model, scope, actor, verdict, family, confidence, severity, status, first_seen, last_seen, \
                      verdicts, queries, members, related, changed_at, version) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9, $10, 1, $11, 0, $12, $10, 1)";
        let insert = sqlx::query(insert).bind(&id).bind(&verdict.model).bind(&verdict.scope).bind(actor);
        let insert = insert.bind(verdict.finding.name()).bind(&verdict.family).bind(verdict.confidence);
        let insert = insert.bind(verdict.severity().rank()).bind(verdict.first_micros()).bind(verdict.at_micros);
        insert.bind(as_i64(verdict.queries_seen)).bind(related).execute(&mut **tx).await?;
        Ok(id)
    }

    async fn join(&self, tx: &mut Tx, case: &str, verdict: &VerdictLine, reopens: bool) -> Result<(), StoreError> {
        // A benign verdict clears the finding, and says nothing of the family, the confidence or the severity.
        let update = "UPDATE cases SET verdict = $2, verdicts = verdicts + 1, version = version + 1, \
                      last_seen = CASE WHEN last_seen < $3 THEN $3 ELSE last_seen END, \
                      first_seen = CASE WHEN first_seen > $4 THEN $4 ELSE first_seen END, \
                      queries = CASE WHEN queries < $5 THEN $5 ELSE queries END, \
                      family = CASE WHEN $6 = '' OR (family <> '' AND $7 <= confidence) THEN family ELSE $6 END, \
                      confidence = CASE WHEN confidence < $7 THEN $7 ELSE confidence END, \
                      severity = CASE WHEN severity_fixed = 0 AND severity < $8 THEN $8 ELSE severity END, \
                      scope = CASE WHEN $9 = 'campaign' THEN $9 ELSE scope END WHERE id = $1";
        let (family, severity) = match verdict.finding {
            crate::judge::Finding::Benign => ("", 0),
            _ => (verdict.family.as_str(), verdict.severity().rank()),
        };
        let update = sqlx::query(update).bind(case).bind(verdict.finding.name()).bind(verdict.at_micros);
        let update = update.bind(verdict.first_micros()).bind(as_i64(verdict.queries_seen)).bind(family);
        update.bind(verdict.confidence).bind(severity).bind(&verdict.scope).execute(&mut **tx).await?;
        if reopens {
            sqlx::query("UPDATE cases SET status = 'open', dismissed_until = 0 WHERE id = $1")
                .bind(case)
                .execute(&mut **tx)
                .await?;
            let detail = json!({"status": "open", "reason": "new evidence", "verdict": verdict.id});
            self.event(tx, case, verdict.at_micros, "reopened", &verdict.id, detail.clone()).await?;
            self.note(tx, "case.reopened", format!("case:{case}"), detail).await?;
        }
        Ok(())
    }

    /// Remembers to which case incident and actor belong.
    async fn remember(&self, tx: &mut Tx, case: &str, verdict: &VerdictLine, actor: &str) -> Result<(), StoreError> {
        if !verdict.incident.is_empty() {
            let insert = "INSERT INTO case_incidents (model, incident, case_id) VALUES ($1, $2, $3) ON CONFLICT (model, incident) DO NOTHING";
            sqlx::query(insert).bind(&verdict.model).bind(&verdict.incident).bind(case).execute(&mut **tx).await?;
        }
        if !actor.is_empty() {
            let insert = "INSERT INTO case_actors (model, actor, case_id) VALUES ($1, $2, $3) \
                          ON CONFLICT (model, actor) DO UPDATE SET case_id = excluded.case_id";
            sqlx::query(insert).bind(&verdict.model).bind(actor).bind(case).execute(&mut **tx).await?;
        }
        Ok(())
    }

    async fn members(&self, tx: &mut Tx, case: &str, verdict: &VerdictLine) -> Result<(), StoreError> {
        let seal = &self.0.seal;
        let known: i64 =
            sqlx::query_scalar("SELECT count(*) FROM case_members WHERE case_id = $1").bind(case).fetch_one(&mut **tx).await?;
        let room = MAX_MEMBERS.saturating_sub(usize::try_from(known).unwrap_or(MAX_MEMBERS));
        let mut added = 0;
        for member in verdict.members() {
            let value = seal.seal(&member.value);
            let update = "UPDATE case_members SET verdicts = verdicts + 1, last_seen = CASE WHEN last_seen < $4 THEN $4 ELSE last_seen END \
                          WHERE case_id = $1 AND kind = $2 AND value = $3";
            let update = sqlx::query(update).bind(case).bind(member.kind).bind(&value).bind(verdict.at_micros);
            if update.execute(&mut **tx).await?.rows_affected() > 0 || added >= room {
                continue;
            }
            added += 1;
            // A place is a range of addresses, which a pseudonym has not.
            let place = if seal.is_active() { String::new() } else { member.place() };
            let insert = "INSERT INTO case_members (case_id, kind, value, prefix, place, first_seen, last_seen, verdicts) \
                          VALUES ($1, $2, $3, $4, $5, $6, $6, 1)";
            let insert = sqlx::query(insert).bind(case).bind(member.kind).bind(value).bind(seal.seal(&member.prefix()));
            insert.bind(place).bind(verdict.at_micros).execute(&mut **tx).await?;
        }
        let update = "UPDATE cases SET members = (SELECT count(*) FROM case_members WHERE case_id = $1) WHERE id = $1";
        sqlx::query(update).bind(case).execute(&mut **tx).await?;
        Ok(())
    }

    async fn queries(&self, tx: &mut Tx, case: &str, verdict: &VerdictLine, contents: &[Value]) -> Result<(), StoreError> {
        let known: i64 =
            sqlx::query_scalar("SELECT count(*) FROM case_queries WHERE case_id = $1").bind(case).fetch_one(&mut **tx).await?;
        let room = usize::try_from(i64::from(self.0.queries_per_case).saturating_sub(known)).unwrap_or(0);
        let null = Value::Null;
        for (nth, query) in verdict.queries.iter().enumerate().take(room) {
            let QueryLine { topic, request_id, partition, offset, row, .. } = query;
            let content = match contents.get(nth).unwrap_or(&null) {
                Value::Null => String::new(),
                content => self.0.seal.seal(&content.to_string()),
            };
            let insert = "INSERT INTO case_queries (case_id, topic, partition_number, log_offset, row_number, at, request_id, content) \
                          VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
            let insert = sqlx::query(insert).bind(case).bind(topic).bind(partition).bind(offset).bind(row);
            insert.bind(query.at_micros()).bind(request_id).bind(content).execute(&mut **tx).await?;
        }
        Ok(())
    }

    /// Adds an event to the timeline of a case. `key` makes its id; an event that is there already is not added again.
    pub(super) async fn event(
        &self,
        tx: &mut Tx,
        case: &str,
        at: i64,
        kind: &str,
        key: &str,
        detail: Value,
    ) -> Result<(), StoreError> {
        self.event_by(tx, case, at, (kind, &Actor::service().name), key, detail).await
    }

    /// The same for an event that somebody brought about.
    pub(super) async fn event_by(
        &self,
        tx: &mut Tx,
        case: &str,
        at: i64,
        (kind, who): (&str, &str),
        key: &str,
        detail: Value,
    ) -> Result<(), StoreError> {
        let insert = "INSERT INTO case_events (id, case_id, at, kind, who, detail) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING";
        let insert = sqlx::query(insert).bind(id_of('e', &[case, kind, key])).bind(case).bind(at).bind(kind).bind(who);
        insert.bind(detail.to_string()).execute(&mut **tx).await?;
        Ok(())
    }

    async fn note(&self, tx: &mut Tx, action: &'static str, subject: String, detail: Value) -> Result<(), StoreError> {
        let entry = Entry { actor: Actor::service(), action, subject, detail };
        self.0.audit.append_in(tx, &entry).await.map(drop)
    }

    /// Number of cases by status, and how many people found right and wrong, by family: for metrics.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn counts(&self) -> Result<CaseCounts, StoreError> {
        let pool = self.0.database.pool();
        let by_status = sqlx::query_as::<_, (String, i64)>("SELECT status, count(*) FROM cases GROUP BY status");
        let judged = "SELECT family, feedback, count(*) FROM cases WHERE feedback <> '' GROUP BY family, feedback";
        let judged = sqlx::query_as::<_, (String, String, i64)>(judged).fetch_all(pool).await?;
        let mut counts = CaseCounts { by_status: by_status.fetch_all(pool).await?.into_iter().collect(), ..CaseCounts::default() };
        for (family, feedback, cases) in judged {
            let judged = counts.judged.entry(family).or_default();
            match feedback.as_str() {
                "true_positive" => judged.0 = cases,
                _ => judged.1 = cases,
            }
        }
        Ok(counts)
    }
}

/// Numbers of cases.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CaseCounts {
    /// Cases by status.
    pub by_status: BTreeMap<String, i64>,
    /// Cases that people found right, and wrong, by family.
    pub judged: BTreeMap<String, (i64, i64)>,
}

/// What timeline and audit say of a verdict: nothing that names a caller.
fn summary(verdict: &VerdictLine) -> Value {
    json!({
        "verdict": verdict.id, "scope": verdict.scope, "finding": verdict.finding.name(), "family": verdict.family,
        "confidence": verdict.confidence, "model": verdict.model, "members": verdict.members.len(), "queries_seen": verdict.queries_seen,
    })
}

fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

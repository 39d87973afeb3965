//! The audit: who did what, when, to which case or setting. Append-only, chained by signatures ([`chain`]), in the same transaction as the
//! change that it tells of.
//!
//! Triggers of the database refuse to change or remove an entry. Whoever can write around them breaks the chain, and `tripline audit verify`
//! names the first broken entry ([`verify`]). Entries that were cut off at the end leave no gap; therefore the service logs the head of the
//! chain when it starts, and `audit verify --head` checks that a head of before is still in the chain.

pub mod chain;
pub mod config;
pub mod keys;
pub mod verify;

use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{Any, Transaction};

use crate::clock;
use crate::event::EventTime;
use crate::judge::At;
use crate::store::{Database, StoreError};
use chain::Link;
pub use config::AuditConfig;
pub use keys::AuditKeys;

/// Most entries that one query returns.
pub const MAX_ENTRIES: u32 = 1_000;
/// Bytes of the salt of a detail: as many as its hash could be guessed from otherwise, in any number of attempts.
const SALT_BYTES: usize = 16;

/// Kind of an actor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person who is logged in.
    Person,
    /// An API key or a token of a machine.
    Key,
    /// Tripline itself.
    Service,
    /// A command at a terminal of this machine.
    Command,
}

/// Who does something.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Actor {
    /// Kind.
    pub kind: ActorKind,
    /// Name: of the account, the key or the command.
    pub name: String,
}

/// What happened, to be appended.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Who.
    pub actor: Actor,
    /// What, as `area.verb`: `case.change`, `login.failed`, `config.load`.
    pub action: &'static str,
    /// To what, as `kind:id`: `case:c-…`.
    pub subject: String,
    /// How: what changed, and why. It may be erased if the subject is a person.
    pub detail: Value,
}

/// An entry as it is read.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct AuditRecord {
    /// Place in the chain, from 1.
    pub seq: i64,
    /// When.
    pub at: At,
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: String,
    /// To what; empty if it was erased.
    pub subject: String,
    /// How; null if it was erased.
    pub detail: Value,
    /// Whether subject and detail were erased at a person's demand.
    pub erased: bool,
    /// Signature.
    pub mac: String,
}

/// Which entries are wanted. Empty or 0: any.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditFilter {
    /// Name of the actor.
    pub actor: String,
    /// The action, or its area: `case` finds `case.change` and `case.note`.
    pub action: String,
    /// The subject.
    pub subject: String,
    /// From this time on, in microseconds.
    pub from: i64,
    /// Before this time, in microseconds.
    pub until: i64,
    /// Entries before this place, for the next page.
    pub before: i64,
    /// Number of entries, [`MAX_ENTRIES`] at most; 0 is 100.
    pub limit: u32,
}

/// The end of the chain.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Head {
    /// Entries so far.
    pub seq: i64,
    /// Signature of the last; empty if there is none.
    pub mac: String,
}

/// The audit of a database.
#[derive(Clone, Debug)]
pub struct Audit {
    database: Database,
    keys: AuditKeys,
}

// === impl ActorKind ===

impl ActorKind {
    /// The word in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Key => "key",
            Self::Service => "service",
            Self::Command => "command",
        }
    }

    fn read(name: &str) -> Option<Self> {
        [Self::Person, Self::Key, Self::Service, Self::Command].into_iter().find(|kind| kind.name() == name)
    }
}

// === impl Actor ===

impl Actor {
    /// Tripline itself.
    pub fn service() -> Self {
        Self { kind: ActorKind::Service, name: "tripline".to_owned() }
    }

    /// A person.
    pub fn person(name: impl Into<String>) -> Self {
        Self { kind: ActorKind::Person, name: name.into() }
    }
}

// === impl Audit ===

impl Audit {
    /// The audit in a database, signed with these keys.
    pub const fn new(database: Database, keys: AuditKeys) -> Self {
        Self { database, keys }
    }

    /// The keys.
    pub const fn keys(&self) -> &AuditKeys {
        &self.keys
    }

    /// Appends an entry by itself.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub async fn append(&self, entry: Entry) -> Result<i64, StoreError> {
        let mut transaction = self.database.begin().await?;
        let seq = self.append_in(&mut transaction, &entry).await?;
        transaction.commit().await?;
        Ok(seq)
    }

    /// Appends an entry in the transaction of the change that it tells of: both happen or none.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub async fn append_in(&self, transaction: &mut Transaction<'static, Any>, entry: &Entry) -> Result<i64, StoreError> {
        // The update locks the row, so entries of several processes get places one after the other.
        let head = sqlx::query_as::<_, (i64, String)>("UPDATE audit_head SET seq = seq + 1 WHERE id = 1 RETURNING seq, mac");
        let (seq, previous) = head.fetch_one(&mut **transaction).await?;
        let salt = salt()?;
        // Neither database takes a NUL in a text.
        let (subject, detail) = (without_nul(&entry.subject), entry.detail.to_string());
        let mut link = Link {
            seq,
            at: clock::now().micros(),
            actor_kind: entry.actor.kind.name().to_owned(),
            actor: without_nul(&entry.actor.name),
            action: entry.action.to_owned(),
            digest: chain::digest(&salt, &subject, &detail),
            key_id: self.keys.id().to_owned(),
            previous,
            mac: String::new(),
        };
        link.mac = self.keys.sign(&link.message());
        let insert = "INSERT INTO audit_entries (seq, at, actor_kind, actor, action, digest, key_id, previous, mac) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let insert = sqlx::query(insert).bind(link.seq).bind(link.at).bind(link.actor_kind).bind(link.actor).bind(link.action);
        let insert = insert.bind(link.digest).bind(link.key_id).bind(link.previous).bind(link.mac.clone());
        insert.execute(&mut **transaction).await?;
        let details = sqlx::query("INSERT INTO audit_details (seq, salt, subject, detail) VALUES ($1, $2, $3, $4)");
        details.bind(seq).bind(salt).bind(subject).bind(detail).execute(&mut **transaction).await?;
        let head = sqlx::query("UPDATE audit_head SET mac = $1 WHERE id = 1");
        head.bind(link.mac).execute(&mut **transaction).await?;
        Ok(seq)
    }

    /// The end of the chain, to be kept outside the database.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn head(&self) -> Result<Head, StoreError> {
        let head = sqlx::query_as::<_, (i64, String)>("SELECT seq, mac FROM audit_head WHERE id = 1");
        let (seq, mac) = head.fetch_one(self.database.pool()).await?;
        Ok(Head { seq, mac })
    }

    /// Entries, the latest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn query(&self, filter: &AuditFilter) -> Result<Vec<AuditRecord>, StoreError> {
        type Row = (i64, i64, String, String, String, String, String, String, String);
        // A missing detail was erased, so it is no NULL but an empty text.
        let select = "SELECT e.seq, e.at, e.actor_kind, e.actor, e.action, e.mac, coalesce(d.subject, ''), coalesce(d.detail, ''), \
                      coalesce(d.salt, '') FROM audit_entries e LEFT JOIN audit_details d ON d.seq = e.seq \
                      WHERE ($1 = '' OR e.actor = $1) AND ($2 = '' OR e.action = $2 OR substr(e.action, 1, length($2) + 1) = $2 || '.') \
                      AND ($3 = '' OR d.subject = $3) AND ($4 = 0 OR e.at >= $4) AND ($5 = 0 OR e.at < $5) AND ($6 = 0 OR e.seq < $6) \
                      ORDER BY e.seq DESC LIMIT $7";
        let limit = match filter.limit {
            0 => 100,
            some => some.min(MAX_ENTRIES),
        };
        let select = sqlx::query_as::<_, Row>(select).bind(&filter.actor).bind(&filter.action).bind(&filter.subject);
        let select = select.bind(filter.from).bind(filter.until).bind(filter.before).bind(i64::from(limit));
        let rows = select.fetch_all(self.database.pool()).await?;
        rows.into_iter().map(record).collect()
    }
}

fn record(row: (i64, i64, String, String, String, String, String, String, String)) -> Result<AuditRecord, StoreError> {
    let (seq, at, kind, name, action, mac, subject, detail, salt) = row;
    let damaged = |what: &str| StoreError::Damaged(format!("audit entry {seq}: {what}"));
    let kind = ActorKind::read(&kind).ok_or_else(|| damaged("its kind of actor is not known"))?;
    let erased = salt.is_empty();
    let detail = if erased { Value::Null } else { serde_json::from_str(&detail).map_err(|_| damaged("its detail is no JSON"))? };
    Ok(AuditRecord { seq, at: At(EventTime::from_micros(at)), actor: Actor { kind, name }, action, subject, detail, erased, mac })
}

fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn salt() -> Result<String, StoreError> {
    let mut bytes = [0; SALT_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| StoreError::Unavailable("the system gives no random numbers".into()))?;
    Ok(chain::hex(&bytes))
}

#[cfg(test)]
mod tests;

//! Cases: what people work on. Verdicts about the same actor and model become a case with a status, an owner, a timeline and evidence.
//!
//! | file | what it does |
//! |---|---|
//! | [`rules`] | to which case a verdict belongs, severity, status; pure |
//! | [`mod@line`] | a verdict line as cases read it |
//! | [`intake`] | verdicts into cases, each exactly once |
//! | [`feed`] | from the running service to the intake, through a spool on disk |
//! | [`network`] | networks of addresses; pure |
//! | [`list`] | the queue: filter, sort, cursor |
//! | [`detail`] | everything of one case, and what is related to it |
//! | [`change`] | what people do with a case |
//! | [`suppression`] | callers of whom nobody wants to hear, with a preview |
//! | [`saved`] | filters with a name |
//! | [`seal`] | pseudonyms at rest |
//! | [`privacy`] | retention, export and erasure |
//!
//! Ids are functions of content: of a verdict the engine's own, of a case its incident's, of an event of a timeline the hash of what it
//! says. What comes twice (after a crash, or by a replay) therefore changes nothing.

pub mod change;
pub mod config;
pub mod detail;
pub mod feed;
pub mod intake;
pub mod line;
pub mod list;
pub mod network;
pub mod privacy;
pub mod rules;
pub mod saved;
pub mod seal;
pub mod suppression;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

use crate::audit::{Audit, AuditKeys, chain};
use crate::event::EventTime;
use crate::judge::At;
use crate::store::{Database, StoreError};
pub use change::{Change, Changed};
pub use config::{CasesConfig, PrivacyConfig};
pub use list::{CaseFilter, CaseSort, Page};
use rules::{CaseState, Dismissed, Rules, Severity, Status};
use seal::Seal;

/// Hexadecimal digits of an id that is made here: two of a billion meet by chance once in ten thousand deployments.
const ID_DIGITS: usize = 20;

/// Whether a person found a case right.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feedback {
    /// It is an attack.
    TruePositive,
    /// It is none.
    FalsePositive,
}

/// A case.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Case {
    /// Id: the engine's id of its first incident, as in verdict lines and alerts.
    pub id: String,
    /// Model.
    pub model: String,
    /// `client` or `campaign`.
    pub scope: String,
    /// Whom its first verdict spoke of, such as `address=203.0.113.7`; empty for a campaign.
    pub actor: String,
    /// What its last verdict says.
    pub verdict: String,
    /// Family; empty if it has none.
    pub family: String,
    /// Confidence of the surest verdict, 0 to 1.
    pub confidence: f64,
    /// Severity.
    pub severity: Severity,
    /// Whether a person set the severity, so that verdicts do not raise it.
    pub severity_fixed: bool,
    /// Status.
    pub status: Status,
    /// Who works on it; empty: nobody.
    pub owner: String,
    /// Whether a person found it right; none yet.
    pub feedback: Option<Feedback>,
    /// Event time of the first evidence.
    pub first_seen: At,
    /// Event time of the last verdict.
    pub last_seen: At,
    /// Verdicts.
    pub verdicts: i64,
    /// Queries, as the verdict with the most of them says.
    pub queries: i64,
    /// Members.
    pub members: i64,
    /// An earlier case of the same actor that is over; empty if there is none.
    pub related: String,
    /// Until when the pattern stays dismissed, if it is.
    pub dismissed_until: Option<At>,
    /// When it was changed last.
    pub changed_at: At,
    /// Number of changes; a change may name the version that it means.
    pub version: i64,
}

/// Why something could not be done with a case.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// There is none.
    #[error("there is no {0}")]
    NotFound(String),
    /// It was changed meanwhile, or the change does not fit its status.
    #[error("{0}")]
    Conflict(String),
    /// What was asked for cannot be.
    #[error("{0}")]
    Invalid(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The cases of a database. Clones share it.
#[derive(Clone, Debug)]
pub struct Cases(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    audit: Audit,
    seal: Seal,
    rules: Rules,
    dismissed_for: Duration,
    queries_per_case: u32,
    keep_cases: Duration,
    keep_verdicts: Duration,
}

// === impl Cases ===

impl Cases {
    /// The cases of a database; the settings are valid, and paths of secrets begin at `directory`.
    ///
    /// # Errors
    /// If a key cannot be read.
    pub fn new(
        database: Database,
        audit: AuditKeys,
        cases: &CasesConfig,
        privacy: &PrivacyConfig,
        directory: &Path,
    ) -> Result<Self, StoreError> {
        let seal = privacy.seal(directory);
        let seal = seal.map_err(|(name, what)| StoreError::Setting { setting: "privacy", what: format!("{name}: {what}") })?;
        Ok(Self(Arc::new(Inner {
            audit: Audit::new(database.clone(), audit),
            database,
            seal,
            rules: Rules { join_micros: micros(cases.join_within.0) },
            dismissed_for: cases.dismissed_for.0,
            queries_per_case: cases.queries_per_case,
            keep_cases: privacy.keep_cases.0,
            keep_verdicts: privacy.keep_verdicts.0,
        })))
    }

    /// The audit of the same database.
    pub fn audit(&self) -> &Audit {
        &self.0.audit
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.0.database
    }

    /// The pseudonyms.
    pub fn seal(&self) -> &Seal {
        &self.0.seal
    }

    /// A case.
    ///
    /// # Errors
    /// [`CaseError::NotFound`], or the database.
    pub async fn get(&self, id: &str) -> Result<Case, CaseError> {
        let row = sqlx::query("SELECT * FROM cases WHERE id = $1").bind(id).fetch_optional(self.0.database.pool()).await;
        let row = row.map_err(StoreError::from)?.ok_or_else(|| CaseError::NotFound(format!("case {id}")))?;
        Ok(self.case(&row)?)
    }

    /// A case within a transaction; none if there is none.
    async fn find(&self, transaction: &mut Transaction<'static, Any>, id: &str) -> Result<Option<Case>, StoreError> {
        let row = sqlx::query("SELECT * FROM cases WHERE id = $1").bind(id).fetch_optional(&mut **transaction).await?;
        row.map(|row| self.case(&row)).transpose()
    }

    fn case(&self, row: &AnyRow) -> Result<Case, StoreError> {
        let text = |name: &str| row.try_get::<String, _>(name);
        let number = |name: &str| row.try_get::<i64, _>(name);
        let at = |micros: i64| At(EventTime::from_micros(micros));
        let (id, status, feedback) = (text("id")?, text("status")?, text("feedback")?);
        let status = Status::read(&status).ok_or_else(|| StoreError::Damaged(format!("case {id} has the status '{status}'")))?;
        let until = number("dismissed_until")?;
        Ok(Case {
            id,
            model: text("model")?,
            scope: text("scope")?,
            actor: self.0.seal.open(&text("actor")?),
            verdict: text("verdict")?,
            family: text("family")?,
            confidence: row.try_get("confidence")?,
            severity: Severity::of_rank(number("severity")?),
            severity_fixed: number("severity_fixed")? != 0,
            status,
            owner: text("owner")?,
            feedback: Feedback::read(&feedback),
            first_seen: at(number("first_seen")?),
            last_seen: at(number("last_seen")?),
            verdicts: number("verdicts")?,
            queries: number("queries")?,
            members: number("members")?,
            related: text("related")?,
            dismissed_until: (status == Status::Dismissed && until > 0).then(|| at(until)),
            changed_at: at(number("changed_at")?),
            version: number("version")?,
        })
    }
}

// === impl Feedback ===

impl Feedback {
    /// The word in the database and the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TruePositive => "true_positive",
            Self::FalsePositive => "false_positive",
        }
    }

    /// Reads the word.
    pub fn read(name: &str) -> Option<Self> {
        [Self::TruePositive, Self::FalsePositive].into_iter().find(|feedback| feedback.name() == name)
    }
}

/// What the rules need of a case, from a row with the columns id, status, `last_seen` and those of the dismissal.
fn state(row: &AnyRow) -> Result<CaseState, StoreError> {
    let (id, status): (String, String) = (row.try_get("id")?, row.try_get("status")?);
    let status = Status::read(&status).ok_or_else(|| StoreError::Damaged(format!("case {id} has the status '{status}'")))?;
    let dismissed = Dismissed {
        family: row.try_get("dismissed_family")?,
        severity: row.try_get("dismissed_severity")?,
        until: row.try_get("dismissed_until")?,
    };
    Ok(CaseState { id, status, last_seen: row.try_get("last_seen")?, dismissed })
}

/// An id that is a function of its parts.
fn id_of(letter: char, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut digits = chain::hex(&hash.finalize());
    digits.truncate(ID_DIGITS);
    format!("{letter}-{digits}")
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

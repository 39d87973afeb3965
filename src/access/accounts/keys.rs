//! API keys of programs.

use super::{AccountError, Accounts, is_taken, models_of, models_text, name_fault};
use crate::access::permission::Role;
use crate::access::principal::ModelScope;
use crate::access::secret_token::ApiKey;
use crate::event::EventTime;

/// An API key as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRecord {
    /// Its id: the part between its underscores.
    pub id: String,
    /// Its name in the audit.
    pub name: String,
    /// Hash of its secret.
    pub hash: String,
    /// What it may do.
    pub role: Role,
    /// Of which models it may know.
    pub models: ModelScope,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: EventTime,
    /// When it ends.
    pub expires_at: EventTime,
    /// When it was revoked.
    pub revoked_at: Option<EventTime>,
}

/// A key to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewKey {
    /// Its name in the audit.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Of which models it may know.
    pub models: ModelScope,
    /// Who makes it.
    pub created_by: String,
    /// When it ends.
    pub expires_at: EventTime,
}

type Row = (String, String, String, String, String, String, i64, i64, i64);

fn record((id, name, hash, role, models, created_by, created_at, expires_at, revoked_at): Row) -> KeyRecord {
    KeyRecord {
        id,
        name,
        hash,
        role: Role::parse(&role).unwrap_or(Role::Viewer),
        models: models_of(&models),
        created_by,
        created_at: EventTime::from_micros(created_at),
        expires_at: EventTime::from_micros(expires_at),
        revoked_at: (revoked_at > 0).then(|| EventTime::from_micros(revoked_at)),
    }
}

// === impl KeyRecord ===

impl KeyRecord {
    /// Whether it is in force.
    pub fn is_in_force(&self, now: EventTime) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

// === impl Accounts ===

impl Accounts {
    /// The key of an id, in force or not.
    ///
    /// # Errors
    /// The database's.
    pub async fn key(&self, id: &str) -> Result<Option<KeyRecord>, AccountError> {
        let query =
            "SELECT id, name, hash, role, models, created_by, created_at, expires_at, revoked_at FROM access_keys WHERE id = $1";
        Ok(sqlx::query_as::<_, Row>(query).bind(id).fetch_optional(self.database.pool()).await?.map(record))
    }

    /// Every key, by name.
    ///
    /// # Errors
    /// The database's.
    pub async fn keys(&self) -> Result<Vec<KeyRecord>, AccountError> {
        let query =
            "SELECT id, name, hash, role, models, created_by, created_at, expires_at, revoked_at FROM access_keys ORDER BY name";
        Ok(sqlx::query_as::<_, Row>(query).fetch_all(self.database.pool()).await?.into_iter().map(record).collect())
    }

    /// Makes a key. The result is the only place where the whole key is.
    ///
    /// # Errors
    /// [`AccountError::Refused`] if the name is taken or cannot be used, or there is no randomness; the database's.
    pub async fn add_key(&self, key: &NewKey, now: EventTime) -> Result<ApiKey, AccountError> {
        if let Some(fault) = name_fault(&key.name) {
            return Err(AccountError::Refused(fault.into()));
        }
        let made = ApiKey::new().map_err(|error| AccountError::Refused(error.to_string()))?;
        let query = sqlx::query(
            "INSERT INTO access_keys (id, name, hash, role, models, created_by, created_at, expires_at, revoked_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)",
        );
        let query =
            query.bind(&made.id).bind(&key.name).bind(made.secret.hash()).bind(key.role.name()).bind(models_text(&key.models));
        let query = query.bind(&key.created_by).bind(now.micros()).bind(key.expires_at.micros());
        match query.execute(self.database.pool()).await {
            Err(error) if is_taken(&error) => Err(AccountError::Refused("the name is taken, also by a revoked key".into())),
            other => Ok(other.map(|_| made)?),
        }
    }

    /// Revokes a key; whether there was one in force. The record stays, for the audit.
    ///
    /// # Errors
    /// The database's.
    pub async fn revoke_key(&self, id: &str, now: EventTime) -> Result<bool, AccountError> {
        let query = sqlx::query("UPDATE access_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at = 0");
        Ok(query.bind(now.micros()).bind(id).execute(self.database.pool()).await?.rows_affected() > 0)
    }
}

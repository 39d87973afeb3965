//! Accounts, keys and sessions in the database. Nothing is cached, so what is revoked is revoked at once, in every process that shares the
//! database.
//!
//! Of a secret only the hash is kept, and the hash is compared in constant time ([`secret_token`](super::secret_token)). A session's hash is
//! also its key, so it is found by an index; whoever could measure that lookup would learn of a hash, which is of no use without what was
//! hashed.

mod first;
mod keys;
mod sessions;
mod users;

pub use keys::{KeyRecord, NewKey};
pub use sessions::{SessionLimits, SessionRecord};
pub use users::{NewUser, UserRecord};

use super::principal::ModelScope;
use crate::store::{Database, StoreError};

/// Longest name of an account or a key.
pub const MAX_NAME: usize = 64;

/// The tables of access. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Accounts {
    database: Database,
}

/// Why an account or key cannot be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// What was asked for cannot be.
    #[error("{0}")]
    Refused(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for AccountError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

// === impl Accounts ===

impl Accounts {
    /// The tables of a database whose schema is up to date.
    pub const fn new(database: Database) -> Self {
        Self { database }
    }
}

/// What is wrong with a name; none if it may be used. Names stand in the audit and in pages, so they are plain.
pub fn name_fault(name: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
    match () {
        () if name.is_empty() || name.len() > MAX_NAME => Some("a name has 1 to 64 characters"),
        () if !name.chars().all(plain) => Some("a name has letters, digits and . - _ @ alone"),
        () => None,
    }
}

/// A scope as it is stored.
fn models_text(models: &ModelScope) -> String {
    // A list of texts can always be written.
    serde_json::to_string(&models.list()).unwrap_or_default()
}

/// A stored scope. One that cannot be read holds no model.
fn models_of(text: &str) -> ModelScope {
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(models) => ModelScope::of(&models),
        Err(_) => ModelScope::Only(std::collections::BTreeSet::new()),
    }
}

/// Whether an error says that there is such a row already.
fn is_taken(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.is_unique_violation())
}

#[cfg(test)]
mod tests;

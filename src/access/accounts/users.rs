//! Local accounts of people.

use super::{AccountError, Accounts, is_taken, models_of, models_text, name_fault};
use crate::access::permission::Role;
use crate::access::principal::ModelScope;
use crate::audit::{Audit, Entry};
use crate::event::EventTime;

/// A local account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserRecord {
    /// Its name.
    pub name: String,
    /// Hash of its password.
    pub password: String,
    /// What it may do.
    pub role: Role,
    /// Of which models it may know.
    pub models: ModelScope,
    /// When it was made.
    pub created_at: EventTime,
}

/// An account to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewUser {
    /// Its name.
    pub name: String,
    /// Hash of its password.
    pub password: String,
    /// What it may do.
    pub role: Role,
    /// Of which models it may know.
    pub models: ModelScope,
}

type Row = (String, String, String, String, i64);

/// A row as an account; a role that is not known is the least.
pub(super) fn record((name, password, role, models, created_at): Row) -> UserRecord {
    UserRecord {
        name,
        password,
        role: Role::parse(&role).unwrap_or(Role::Viewer),
        models: models_of(&models),
        created_at: EventTime::from_micros(created_at),
    }
}

// === impl Accounts ===

impl Accounts {
    /// The account of a name.
    ///
    /// # Errors
    /// The database's.
    pub async fn user(&self, name: &str) -> Result<Option<UserRecord>, AccountError> {
        let query = sqlx::query_as::<_, Row>("SELECT name, password, role, models, created_at FROM access_users WHERE name = $1");
        Ok(query.bind(name).fetch_optional(self.database.pool()).await?.map(record))
    }

    /// Every account, by name.
    ///
    /// # Errors
    /// The database's.
    pub async fn users(&self) -> Result<Vec<UserRecord>, AccountError> {
        let query = sqlx::query_as::<_, Row>("SELECT name, password, role, models, created_at FROM access_users ORDER BY name");
        Ok(query.fetch_all(self.database.pool()).await?.into_iter().map(record).collect())
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`AccountError::Refused`] if the name is taken or cannot be used; the database's.
    pub async fn add_user(&self, user: &NewUser, now: EventTime) -> Result<(), AccountError> {
        if let Some(fault) = name_fault(&user.name) {
            return Err(AccountError::Refused(fault.into()));
        }
        let made = insert(user, now).execute(self.database.pool()).await;
        match made {
            Err(error) if is_taken(&error) => Err(AccountError::Refused("the name is taken".into())),
            other => Ok(other.map(drop)?),
        }
    }

    /// Makes an account, and notes it in the audit: both happen or none.
    ///
    /// # Errors
    /// As [`Accounts::add_user`].
    pub async fn add_user_noted(&self, user: &NewUser, now: EventTime, audit: &Audit, entry: &Entry) -> Result<(), AccountError> {
        if let Some(fault) = name_fault(&user.name) {
            return Err(AccountError::Refused(fault.into()));
        }
        let mut transaction = self.database.begin().await?;
        match insert(user, now).execute(&mut *transaction).await {
            Err(error) if is_taken(&error) => return Err(AccountError::Refused("the name is taken".into())),
            other => other.map(drop)?,
        }
        audit.append_in(&mut transaction, entry).await?;
        Ok(transaction.commit().await.map_err(crate::store::StoreError::from)?)
    }

    /// Exchanges an account's password, and ends its sessions; whether there is such an account.
    ///
    /// # Errors
    /// The database's.
    pub async fn set_password(&self, name: &str, password: &str) -> Result<bool, AccountError> {
        let mut transaction = self.database.begin().await?;
        let query = sqlx::query("UPDATE access_users SET password = $1 WHERE name = $2").bind(password).bind(name);
        let changed = query.execute(&mut *transaction).await?.rows_affected() > 0;
        sqlx::query("DELETE FROM access_sessions WHERE user_name = $1").bind(name).execute(&mut *transaction).await?;
        transaction.commit().await.map_err(crate::store::StoreError::from)?;
        Ok(changed)
    }

    /// Removes an account with its sessions; whether there was one. The last admin stays.
    ///
    /// # Errors
    /// [`AccountError::Refused`] for the last admin; the database's.
    pub async fn remove_user(&self, name: &str) -> Result<bool, AccountError> {
        let mut transaction = self.database.begin().await?;
        let admins = "SELECT count(*) FROM access_users WHERE role = 'admin' AND name <> $1";
        let others: i64 = sqlx::query_scalar(admins).bind(name).fetch_one(&mut *transaction).await?;
        let query = sqlx::query("DELETE FROM access_users WHERE name = $1").bind(name);
        let removed = query.execute(&mut *transaction).await?.rows_affected() > 0;
        if removed && others == 0 {
            // Dropping the transaction undoes it.
            return Err(AccountError::Refused("it is the last admin; make another one first".into()));
        }
        sqlx::query("DELETE FROM access_sessions WHERE user_name = $1").bind(name).execute(&mut *transaction).await?;
        transaction.commit().await.map_err(crate::store::StoreError::from)?;
        Ok(removed)
    }
}

/// The statement that makes an account.
pub(super) fn insert(user: &NewUser, now: EventTime) -> sqlx::query::Query<'_, sqlx::Any, sqlx::any::AnyArguments> {
    sqlx::query("INSERT INTO access_users (name, password, role, models, created_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(&user.name)
        .bind(&user.password)
        .bind(user.role.name())
        .bind(models_text(&user.models))
        .bind(now.micros())
}

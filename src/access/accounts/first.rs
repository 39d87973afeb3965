//! The first account: an admin, made once by whoever can read the service's files or environment.
//!
//! While there is no account, a start of the service makes a token that works once, for a day. It is not a password: it only allows to
//! choose the name and password of the first admin. It comes from the environment, or is written to a file that the service's user alone
//! can read. A later start makes a new one and ends the old.

use super::users::{self, NewUser};
use super::{AccountError, Accounts, name_fault};
use crate::access::secret_token::SecretToken;
use crate::event::EventTime;

/// Seconds for which the token works.
const LIFETIME: i64 = 24 * 3600;

// === impl Accounts ===

impl Accounts {
    /// Makes `token` the one that allows the first account; `false` if there is an account already.
    ///
    /// # Errors
    /// The database's.
    pub async fn offer_first(&self, token: &SecretToken, now: EventTime) -> Result<bool, AccountError> {
        let mut transaction = self.database.begin().await?;
        let users: i64 = sqlx::query_scalar("SELECT count(*) FROM access_users").fetch_one(&mut *transaction).await?;
        sqlx::query("DELETE FROM access_first_tokens").execute(&mut *transaction).await?;
        if users == 0 {
            let query = sqlx::query("INSERT INTO access_first_tokens (hash, expires_at) VALUES ($1, $2)");
            query.bind(token.hash()).bind(now.plus_seconds(LIFETIME).micros()).execute(&mut *transaction).await?;
        }
        transaction.commit().await.map_err(crate::store::StoreError::from)?;
        Ok(users == 0)
    }

    /// Whether a first account can be made.
    ///
    /// # Errors
    /// The database's.
    pub async fn has_users(&self) -> Result<bool, AccountError> {
        let users: i64 = sqlx::query_scalar("SELECT count(*) FROM access_users").fetch_one(self.database.pool()).await?;
        Ok(users > 0)
    }

    /// Makes the first account with the token, which then no longer works; `false` if the token is wrong, has ended, or was used.
    ///
    /// # Errors
    /// [`AccountError::Refused`] if the name cannot be used; the database's.
    pub async fn redeem_first(&self, token: &SecretToken, user: &NewUser, now: EventTime) -> Result<bool, AccountError> {
        if let Some(fault) = name_fault(&user.name) {
            return Err(AccountError::Refused(fault.into()));
        }
        let mut transaction = self.database.begin().await?;
        let offered: Option<(String, i64)> =
            sqlx::query_as("SELECT hash, expires_at FROM access_first_tokens").fetch_optional(&mut *transaction).await?;
        let users: i64 = sqlx::query_scalar("SELECT count(*) FROM access_users").fetch_one(&mut *transaction).await?;
        let is_right = offered.is_some_and(|(hash, expires)| token.matches(&hash) && now.micros() < expires);
        if !is_right || users > 0 {
            return Ok(false);
        }
        // Of two requests at the same moment one deletes the row.
        let used = sqlx::query("DELETE FROM access_first_tokens").execute(&mut *transaction).await?.rows_affected();
        if used == 0 {
            return Ok(false);
        }
        users::insert(user, now).execute(&mut *transaction).await?;
        transaction.commit().await.map_err(crate::store::StoreError::from)?;
        Ok(true)
    }
}

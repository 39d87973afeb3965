//! Who is signed in. A session ends when nobody used it for a while, at the latest after its lifetime, and at once when it is closed.

use std::time::Duration;

use super::{AccountError, Accounts, users};
use crate::access::secret_token::{NoRandomness, SecretToken};
use crate::event::EventTime;

/// A session's last use is written at most so often, so that a page does not cost a write.
const TOUCH_AFTER: f64 = 60.0;

/// How long a session lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionLimits {
    /// Without a request.
    pub idle: Duration,
    /// In all.
    pub lifetime: Duration,
}

/// A session that is in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionRecord {
    /// Its account.
    pub user: users::UserRecord,
    /// Hash of its token.
    pub hash: String,
    /// When it was used last, to the minute.
    pub seen_at: EventTime,
    /// When it ends at the latest.
    pub expires_at: EventTime,
}

type Row = (String, String, String, String, i64, i64, i64);

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

// === impl Accounts ===

impl Accounts {
    /// Opens a session, and clears away those that have ended. The token is the only place where the secret is.
    ///
    /// # Errors
    /// The database's, or no randomness.
    pub async fn open_session(&self, user: &str, limits: SessionLimits, now: EventTime) -> Result<SecretToken, AccountError> {
        let token = SecretToken::new().map_err(|error: NoRandomness| AccountError::Refused(error.to_string()))?;
        let mut transaction = self.database.begin().await?;
        let idle = now.plus_seconds(-seconds(limits.idle)).micros();
        let sweep =
            sqlx::query("DELETE FROM access_sessions WHERE expires_at <= $1 OR seen_at <= $2").bind(now.micros()).bind(idle);
        sweep.execute(&mut *transaction).await?;
        let insert = sqlx::query(
            "INSERT INTO access_sessions (hash, user_name, created_at, seen_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
        );
        let expires = now.plus_seconds(seconds(limits.lifetime)).micros();
        let insert = insert.bind(token.hash()).bind(user).bind(now.micros()).bind(now.micros()).bind(expires);
        insert.execute(&mut *transaction).await?;
        transaction.commit().await.map_err(crate::store::StoreError::from)?;
        Ok(token)
    }

    /// The session of a token, if it is in force. Its use is noted.
    ///
    /// # Errors
    /// The database's.
    pub async fn session(
        &self,
        token: &SecretToken,
        limits: SessionLimits,
        now: EventTime,
    ) -> Result<Option<SessionRecord>, AccountError> {
        let hash = token.hash();
        let query = "SELECT u.name, u.password, u.role, u.models, u.created_at, s.seen_at, s.expires_at \
                     FROM access_sessions s JOIN access_users u ON u.name = s.user_name WHERE s.hash = $1";
        let row = sqlx::query_as::<_, Row>(query).bind(&hash).fetch_optional(self.database.pool()).await?;
        let Some((name, password, role, models, created_at, seen_at, expires_at)) = row else { return Ok(None) };
        let (seen_at, expires_at) = (EventTime::from_micros(seen_at), EventTime::from_micros(expires_at));
        let unused = now.seconds_since(seen_at);
        if now >= expires_at || unused >= limits.idle.as_secs_f64() {
            return Ok(None);
        }
        if unused >= TOUCH_AFTER {
            let query = sqlx::query("UPDATE access_sessions SET seen_at = $1 WHERE hash = $2").bind(now.micros()).bind(&hash);
            query.execute(self.database.pool()).await?;
        }
        let user = users::record((name, password, role, models, created_at));
        Ok(Some(SessionRecord { user, hash, seen_at, expires_at }))
    }

    /// Closes a session at once.
    ///
    /// # Errors
    /// The database's.
    pub async fn close_session(&self, hash: &str) -> Result<(), AccountError> {
        sqlx::query("DELETE FROM access_sessions WHERE hash = $1").bind(hash).execute(self.database.pool()).await?;
        Ok(())
    }

    /// Closes every session of an account at once; how many there were.
    ///
    /// # Errors
    /// The database's.
    pub async fn close_sessions_of(&self, user: &str) -> Result<u64, AccountError> {
        let query = sqlx::query("DELETE FROM access_sessions WHERE user_name = $1").bind(user);
        Ok(query.execute(self.database.pool()).await?.rows_affected())
    }
}

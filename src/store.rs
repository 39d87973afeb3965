//! The database of what people work with: cases, decisions, audit and access. SQLite in a file by default, PostgreSQL by URL.
//!
//! Both are reached through one driver (`sqlx::Any`), so a query is written once, with placeholders `$1`. Its types are those that both
//! have ([`migrations`]); texts hold JSON where a value has a structure.
//!
//! SQLite: a write-ahead log, so readers never wait for the writer; every commit reaches the disk, since the audit must not lose its end;
//! writers wait for each other, at most the configured time. A transaction that writes begins with [`Database::begin`], which takes the lock
//! at once: a transaction that only finds out later that it writes would fail instead of waiting. PostgreSQL: transactions see what is
//! committed, and lock the rows that they change.

pub mod config;
mod migrations;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::MigrateError;
use sqlx::{Any, AnyPool, ConnectOptions, Executor, Transaction};

pub use config::StoreConfig;

/// An unused connection is closed after so long, so that a database that was restarted or a network that forgot it is noticed.
const IDLE_LIMIT: Duration = Duration::from_secs(300);

/// Which database it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A file of this machine.
    Sqlite,
    /// A server.
    Postgres,
}

/// A database with the current schema. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Database {
    pool: AnyPool,
    kind: Kind,
    migrated: Arc<AtomicBool>,
}

/// Why the database could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A setting is wrong.
    #[error("{setting}: {what}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The database cannot be reached, or is busy: later it may work.
    #[error("the database cannot be used now: {0}; check that it runs, and store.url")]
    Unavailable(String),
    /// Its schema is not that of this program.
    #[error("the database's schema: {0}")]
    Schema(String),
    /// It refused what it was asked; another attempt will not help.
    #[error("the database refused: {0}")]
    Refused(String),
    /// What it holds cannot be read.
    #[error("a row cannot be read: {0}; restore the database from a backup")]
    Damaged(String),
}

// === impl Database ===

impl Database {
    /// Opens the database and brings its schema up to date. The file of SQLite is made if it does not exist, readable by this user alone.
    /// Relative paths begin at `directory`.
    ///
    /// # Errors
    /// [`StoreError::Setting`], [`StoreError::Unavailable`] or [`StoreError::Schema`].
    pub async fn connect(config: &StoreConfig, directory: &Path) -> Result<Self, StoreError> {
        let database = Self::open(config, directory)?;
        database.migrate().await?;
        Ok(database)
    }

    /// Opens the database without asking it anything yet: it may be away. [`Database::migrate`] must succeed before it is used.
    ///
    /// # Errors
    /// [`StoreError::Setting`] if the settings are wrong, [`StoreError::Unavailable`] if SQLite's file cannot be made.
    pub fn open(config: &StoreConfig, directory: &Path) -> Result<Self, StoreError> {
        let fault = |(setting, what)| StoreError::Setting { setting, what };
        let (kind, url) = config.resolve(directory).map_err(fault)?;
        sqlx::any::install_default_drivers();
        if let Some(path) = config.file(directory).map_err(fault)? {
            config::make_private(&path).map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))?;
        }
        let options = AnyConnectOptions::from_url(&url).map_err(StoreError::from)?;
        // Statements are not logged: they carry addresses.
        let options = options.disable_statement_logging();
        let busy = config.timeout.0.as_millis();
        let pool = AnyPoolOptions::new()
            .max_connections(config.connections)
            .acquire_timeout(config.timeout.0)
            .idle_timeout(IDLE_LIMIT)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if kind == Kind::Sqlite {
                        let settings = format!(
                            "PRAGMA busy_timeout = {busy}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                             PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA secure_delete = ON"
                        );
                        // Numbers and constants alone.
                        connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(settings))).await?;
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(options);
        Ok(Self { pool, kind, migrated: Arc::default() })
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], or [`StoreError::Schema`] if the database was made by another version.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        migrations::migrator(self.kind).run(&self.pool).await.map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            MigrateError::VersionMissing(step) => {
                StoreError::Schema(format!("step {step} is not known; a newer version of Tripline made it, so use that one"))
            }
            other => StoreError::Schema(format!("{other}; restore it from a backup, or use the version that made it")),
        })?;
        self.migrated.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether the schema was brought up to date since the start. Until then nothing can be asked.
    pub fn is_migrated(&self) -> bool {
        self.migrated.load(Ordering::Acquire)
    }

    /// The connections.
    pub const fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Which database it is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Begins a transaction that writes. It must be committed; dropped, it is undone.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if there is no connection, or SQLite's lock is not free in time.
    pub async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let statement = match self.kind {
            Kind::Sqlite => "BEGIN IMMEDIATE",
            Kind::Postgres => "BEGIN",
        };
        Ok(self.pool.begin_with(statement).await?)
    }

    /// Closes every connection, after what is under way.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

// === impl StoreError ===

impl StoreError {
    /// Whether the same request may work later.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed
            | sqlx::Error::Protocol(_) => Self::Unavailable(text),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::Damaged(text),
            sqlx::Error::Database(error) if error.code().is_some_and(|code| is_transient(&code)) => Self::Unavailable(text),
            _ => Self::Refused(text),
        }
    }
}

/// Whether a code of either database says that the same request may work later. PostgreSQL's are five letters (appendix A of its manual):
/// connection (08), transaction rolled back (40), resources (53), intervention by an operator (57), system error (58), and a server
/// that refuses the role or database for now (28, 3D) as during a restore. SQLite's are numbers whose last byte is the kind: busy (5),
/// locked (6), I/O (10), full (13), cannot open (14).
fn is_transient(code: &str) -> bool {
    match code.parse::<u32>() {
        Ok(number) if code.len() != 5 => matches!(number & 0xff, 5 | 6 | 10 | 13 | 14),
        _ => ["08", "28", "3D", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_made_private_and_has_the_schema_again_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig::at("sqlite://deep/cases.db");
        for expected in [0_i64, 1] {
            let database = Database::connect(&config, folder.path()).await.unwrap();
            let count: i64 = sqlx::query_scalar("SELECT count(*) FROM store_facts").fetch_one(database.pool()).await.unwrap();
            assert_eq!(count, expected);
            let mut transaction = database.begin().await.unwrap();
            let insert = sqlx::query("INSERT INTO store_facts (name, value) VALUES ($1, $2)").bind(format!("n{count}")).bind("v");
            insert.execute(&mut *transaction).await.unwrap();
            transaction.commit().await.unwrap();
            let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(database.pool()).await.unwrap();
            assert_eq!(mode, "wal");
            database.close().await;
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(folder.path().join("deep/cases.db")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn writers_wait_for_each_other_instead_of_failing() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::connect(&StoreConfig::at("sqlite://cases.db"), folder.path()).await.unwrap();
        let mut writers = tokio::task::JoinSet::new();
        for number in 0..20 {
            let database = database.clone();
            writers.spawn(async move {
                let mut transaction = database.begin().await?;
                let insert = sqlx::query("INSERT INTO store_facts (name, value) VALUES ($1, '')").bind(number.to_string());
                insert.execute(&mut *transaction).await?;
                transaction.commit().await?;
                Ok::<_, StoreError>(())
            });
        }
        let results = writers.join_all().await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    }

    #[tokio::test]
    async fn a_database_of_a_newer_version_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig::at("sqlite://cases.db");
        let database = Database::connect(&config, folder.path()).await.unwrap();
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'x', 1, X'00', 0)";
        sqlx::query(newer).execute(database.pool()).await.unwrap();
        let error = Database::connect(&config, folder.path()).await.unwrap_err();
        assert!(matches!(&error, StoreError::Schema(what) if what.contains("9999") && what.contains("newer")), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_transient_and_its_password_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pw"), "hunter2").unwrap();
        let mut config = StoreConfig::at("postgres://u@127.0.0.1:1/t");
        config.password = "${file:pw}".to_owned().into();
        config.timeout = crate::document::Period::millis(300);
        let error = Database::connect(&config, folder.path()).await.unwrap_err();
        assert!(error.is_transient() && !error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn codes_of_both_databases_say_what_may_work_later() {
        for code in ["5", "261", "6", "10", "13", "57P01", "08006", "40001", "53300"] {
            assert!(is_transient(code), "{code}");
        }
        for code in ["1", "19", "2067", "42P01", "23505", "22021"] {
            assert!(!is_transient(code), "{code}");
        }
    }
}

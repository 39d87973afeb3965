//! Settings of the database: section `[store]` of the configuration.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use url::Url;

use super::Kind;
use crate::document::secret::{Secret, expand};
use crate::document::{Faults, Period};

/// Most connections that may be configured. PostgreSQL accepts a hundred by default, for all its clients together.
const MAX_CONNECTIONS: u32 = 64;

/// The database of cases, audit and access.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// `sqlite:///var/lib/tripline/tripline.db` or `postgres://user@host/database`. Empty: there are no cases.
    pub url: String,
    /// Password of PostgreSQL, given as `${env:NAME}` or `${file:/path}`.
    pub password: Secret,
    /// Connections at most.
    pub connections: u32,
    /// Longest wait for a connection, and for a lock of SQLite.
    pub timeout: Period,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            password: Secret::default(),
            // Handlers of pages and one writer: a request holds a connection for some milliseconds.
            connections: 8,
            // A person waits so long for a page before trying again.
            timeout: Period::seconds(5),
        }
    }
}

// === impl StoreConfig ===

impl StoreConfig {
    /// Settings for a database, with the defaults of the rest.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Whether there is a database at all.
    pub fn is_used(&self) -> bool {
        !self.url.is_empty()
    }

    /// Which database it is, and the URL to connect to: complete, with the password. A relative path begins at `directory`.
    ///
    /// # Errors
    /// The setting, and what is wrong with it; no password is repeated.
    pub fn resolve(&self, directory: &Path) -> Result<(Kind, Url), (&'static str, String)> {
        let text = expand(&self.url, directory).map_err(|what| ("store.url", what))?;
        match text.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Ok((Kind::Sqlite, sqlite_url(&text, directory).map_err(|what| ("store.url", what))?)),
            Some("postgres" | "postgresql") => Ok((Kind::Postgres, self.postgres_url(&text, directory)?)),
            _ => Err(("store.url", "it begins neither with sqlite: nor with postgres:".into())),
        }
    }

    /// The file of SQLite; none for PostgreSQL.
    ///
    /// # Errors
    /// As [`StoreConfig::resolve`].
    pub fn file(&self, directory: &Path) -> Result<Option<PathBuf>, (&'static str, String)> {
        let (kind, _) = self.resolve(directory)?;
        let text = expand(&self.url, directory).map_err(|what| ("store.url", what))?;
        match kind {
            Kind::Sqlite => sqlite_path(&text, directory).map(Some).map_err(|what| ("store.url", what)),
            Kind::Postgres => Ok(None),
        }
    }

    fn postgres_url(&self, text: &str, directory: &Path) -> Result<Url, (&'static str, String)> {
        let mut url = Url::parse(text).map_err(|error| ("store.url", format!("the URL cannot be read: {error}")))?;
        // A password that came out of a variable or file, as part of the URL, is no fault.
        if url.password().is_some() && !self.url.contains("${") {
            let what = "the URL holds a password; write it as store.password = \"${env:NAME}\" or \"${file:/path}\"";
            return Err(("store.url", what.into()));
        }
        if !self.password.is_empty() {
            let password = self.password.reveal(directory).map_err(|what| ("store.password", what))?;
            url.set_password(Some(&password)).map_err(|()| ("store.url", "a URL with a password needs a host".to_owned()))?;
        }
        Ok(url)
    }

    /// Adds every fault of the section; relative paths begin at `directory`.
    pub fn validate(&self, faults: &mut Faults<'_>, directory: &Path) {
        if !self.is_used() {
            return;
        }
        if let Err((setting, what)) = self.resolve(directory) {
            faults.add(setting, what, "write sqlite:///var/lib/tripline/tripline.db or postgres://user@host/database");
        }
        if !(1..=MAX_CONNECTIONS).contains(&self.connections) {
            let what = format!("{} is outside 1 to {MAX_CONNECTIONS}", self.connections);
            faults.add("store.connections", what, format!("choose a number from 1 to {MAX_CONNECTIONS}"));
        }
        let (low, high) = (Period::millis(100), Period::seconds(60));
        if self.timeout < low || self.timeout > high {
            let what = format!("{} is outside {low} to {high}", self.timeout);
            faults.add("store.timeout", what, format!("choose a duration from {low} to {high}"));
        }
    }
}

/// The file of an SQLite URL.
///
/// # Errors
/// What is wrong with it.
fn sqlite_path(text: &str, directory: &Path) -> Result<PathBuf, String> {
    let path = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")).unwrap_or(text);
    if path.is_empty() || path.contains(":memory:") {
        return Err("it names no file; cases in memory would be lost with the process".into());
    }
    if path.contains('?') {
        return Err("options behind '?' are not read; the settings of SQLite are fixed".into());
    }
    Ok(directory.join(path))
}

fn sqlite_url(text: &str, directory: &Path) -> Result<Url, String> {
    let path = sqlite_path(text, directory)?;
    let path = std::path::absolute(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    // A file URL escapes what a URL cannot hold; the driver undoes it.
    let file = Url::from_file_path(&path).map_err(|()| format!("{} is no path", path.display()))?;
    Url::parse(&format!("sqlite://{}?mode=rwc", file.path())).map_err(|error| error.to_string())
}

/// Makes the directory and an empty file that this user alone can read; an existing file is left as it is.
///
/// # Errors
/// What the system said.
pub(super) fn make_private(path: &Path) -> Result<(), std::io::Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut options = fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_both_databases_are_read_and_relative_paths_begin_at_the_configuration() {
        let directory = Path::new("/etc/tripline");
        let (kind, url) = StoreConfig::at("sqlite://cases.db").resolve(directory).unwrap();
        assert_eq!((kind, url.as_str()), (Kind::Sqlite, "sqlite:///etc/tripline/cases.db?mode=rwc"));
        let (_, url) = StoreConfig::at("sqlite:///var/lib/a b/x.db").resolve(directory).unwrap();
        assert_eq!(url.as_str(), "sqlite:///var/lib/a%20b/x.db?mode=rwc");
        let (kind, _) = StoreConfig::at("postgres://tripline@db/tripline").resolve(directory).unwrap();
        assert_eq!(kind, Kind::Postgres);
    }

    #[test]
    fn a_password_comes_from_elsewhere_and_is_never_repeated() {
        let what = StoreConfig::at("postgres://u:hunter2@db/t").resolve(Path::new("/")).unwrap_err();
        assert!(what.0 == "store.url" && what.1.contains("password") && !what.1.contains("hunter2"), "{what:?}");
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pw"), "p@ss/word\n").unwrap();
        let config = StoreConfig { password: "${file:pw}".to_owned().into(), ..StoreConfig::at("postgres://u@db/t") };
        let (_, url) = config.resolve(folder.path()).unwrap();
        assert_eq!(url.password(), Some("p%40ss%2Fword"));
        assert!(!format!("{config:?}").contains("p@ss"));
    }

    #[test]
    fn what_is_no_database_is_refused() {
        for url in ["mysql://x", "tripline.db", "sqlite:", "sqlite::memory:", "sqlite://x.db?mode=ro"] {
            assert!(StoreConfig::at(url).resolve(Path::new("/")).is_err(), "{url}");
        }
    }
}

//! Settings of the state: section `[state]` of the configuration.

use std::path::Path;

use serde::Deserialize;
use url::Url;

use super::keys::Keys;
use crate::document::secret::{Secret, expand};
use crate::document::{Faults, Options, Period};

/// Schemes of the stores, as people write them.
const SCHEMES: [&str; 9] = ["file", "s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss"];
/// Beginnings of the names of options that carry no secret although they end like one.
const PUBLIC_OPTIONS: [&str; 2] = ["aws_access_key_id", "access_key_id"];

/// Where state is kept, and how often it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateConfig {
    /// Directory (`file:///…`) or bucket (`s3://`, `gs://`, `az://`); empty: no state survives a restart.
    pub url: String,
    /// Time between snapshots. So much of the log is judged again after a crash.
    pub interval: Period,
    /// Whether the service may go on without: if set, it neither starts nor commits while its state cannot be read or written.
    pub required: bool,
    /// Options of the object store, by the names of its provider (`aws_endpoint`, `google_service_account`, …).
    pub options: Options,
    /// Key of the encryption at rest: 32 bytes in base64, given as `${env:NAME}` or `${file:/path}`. Empty: not encrypted.
    pub key: Secret,
    /// Keys of before, which still open older snapshots.
    pub old_keys: Vec<Secret>,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            // A crash repeats so much work; a tenth of the five minutes after which a stale checkpoint alarms.
            interval: Period::seconds(30),
            required: false,
            options: Options::default(),
            key: Secret::default(),
            old_keys: Vec::new(),
        }
    }
}

// === impl StateConfig ===

impl StateConfig {
    /// Whether state is kept at all.
    pub fn is_kept(&self) -> bool {
        !self.url.is_empty()
    }

    /// The URL with `${env:…}` and `${file:…}` replaced.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parsed_url(&self, directory: &Path) -> Result<Url, String> {
        parse_url(&expand(&self.url, directory)?)
    }

    /// The keys of the encryption.
    ///
    /// # Errors
    /// The setting, and what is wrong with it.
    pub fn keys(&self, directory: &Path) -> Result<Keys, (String, String)> {
        Keys::read(&self.key, &self.old_keys, directory)
    }

    /// Adds every fault of the section; relative paths of secrets begin at `directory`.
    pub fn validate(&self, faults: &mut Faults<'_>, directory: &Path) {
        if !self.is_kept() {
            if self.required {
                faults.add(
                    "state.required",
                    "state is required, and there is no place for it",
                    "write url = \"file:///var/lib/tripline\"",
                );
            }
            return;
        }
        if let Err(what) = self.parsed_url(directory) {
            faults.add("state.url", what, "write file:///directory, s3://bucket/path, gs://bucket/path or az://container/path");
        }
        let (low, high) = (Period::millis(100), Period::seconds(3_600));
        if self.interval < low || self.interval > high {
            let what = format!("{} is outside {low} to {high}", self.interval);
            faults.add("state.interval", what, format!("choose a duration from {low} to {high}"));
        }
        for (name, value) in &self.options.0 {
            if is_secret(name) && !value.contains("${") {
                let remedy = "write \"${env:NAME}\" or \"${file:/path}\" and keep the value there";
                faults.add(&format!("state.options.{name}"), "a secret must not stand in the configuration file", remedy);
            }
        }
        if let Err((name, what)) = self.options.resolve(directory) {
            let remedy = "set the variable or create the file, readable by this user";
            faults.add(&format!("state.options.{name}"), what, remedy);
        }
        if let Err((setting, what)) = self.keys(directory) {
            faults.add(&setting, what, "make one with: openssl rand -base64 32; keep it in the environment or a file");
        }
    }
}

/// Whether an option of an object store carries a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let secret = ["secret", "password", "token", "_key", "sas"].iter().any(|part| name.contains(part));
    (secret && !PUBLIC_OPTIONS.contains(&name.as_str())) || Options::is_secret(&name)
}

/// Reads the URL of a store.
///
/// # Errors
/// What is wrong with it; credentials in it are not repeated.
pub fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("the URL cannot be read: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL holds credentials; give them as state.options or in the environment".into());
    }
    if !SCHEMES.contains(&url.scheme()) {
        return Err(format!("'{}://' is no store that Tripline knows", url.scheme()));
    }
    if url.scheme() == "file" && (url.host_str().is_some_and(|host| !host.is_empty()) || !url.path().starts_with('/')) {
        return Err("a directory needs three slashes and its whole path, as in file:///var/lib/tripline".into());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_every_store_are_read_and_others_are_named() {
        for url in ["file:///var/lib/tripline", "s3://bucket/a/b", "gs://bucket", "az://container/x"] {
            assert!(parse_url(url).is_ok(), "{url}");
        }
        for (url, word) in [
            ("file://tmp/x", "three slashes"),
            ("/var/lib", "cannot be read"),
            ("http://x/y", "http://"),
            ("s3://user:hunter2@bucket", "credentials"),
        ] {
            let what = parse_url(url).unwrap_err();
            assert!(what.contains(word) && !what.contains("hunter2"), "{what}");
        }
    }

    #[test]
    fn secrets_of_the_stores_are_recognised() {
        for name in
            ["aws_secret_access_key", "AWS_SESSION_TOKEN", "azure_storage_account_key", "azure_storage_sas_key", "x.password"]
        {
            assert!(is_secret(name), "{name}");
        }
        for name in ["aws_access_key_id", "aws_endpoint", "aws_region", "google_service_account"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}

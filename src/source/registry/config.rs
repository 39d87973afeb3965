//! Settings of the schema registry: section `[source.registry]` of the configuration.

use std::path::Path;

use serde::Deserialize;
use url::Url;

use crate::document::secret::Secret;
use crate::document::{Faults, Period};

/// Where the schemas of records are.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryConfig {
    /// URL of a registry with Confluent's interface; empty for none.
    pub url: String,
    /// User, or API key; empty for none.
    pub user: String,
    /// Password, or API secret: `${env:NAME}` or `${file:/path}`.
    pub password: Secret,
    /// Longest wait for one answer.
    pub timeout: Period,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        // A registry answers in milliseconds; one that is started anew takes some seconds.
        Self { url: String::new(), user: String::new(), password: Secret::default(), timeout: Period::seconds(5) }
    }
}

// === impl RegistryConfig ===

impl RegistryConfig {
    /// Whether there is a registry.
    pub fn is_used(&self) -> bool {
        !self.url.trim().is_empty()
    }

    /// The URL without a slash at its end.
    ///
    /// # Errors
    /// What is wrong with it; credentials in it are not repeated.
    pub fn base(&self) -> Result<String, String> {
        let url = Url::parse(self.url.trim()).map_err(|error| format!("the URL cannot be read: {error}"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL holds credentials; give them as source.registry.user and password".into());
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("'{}://' is no registry", url.scheme()));
        }
        Ok(url.as_str().trim_end_matches('/').to_owned())
    }

    /// The password; none if none is set.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub fn secret(&self, directory: &Path) -> Result<Option<String>, String> {
        if self.password.is_empty() { Ok(None) } else { self.password.reveal(directory).map(Some) }
    }

    /// Adds every fault of the section; relative paths of secrets begin at `directory`.
    pub fn validate(&self, faults: &mut Faults<'_>, directory: &Path) {
        if !self.is_used() {
            return;
        }
        if let Err(what) = self.base() {
            faults.add("source.registry.url", what, "write url = \"https://registry:8081\"");
        }
        if let Err(what) = self.secret(directory) {
            faults.add("source.registry.password", what, "set the variable or create the file, readable by this user");
        }
        let (low, high) = (Period::millis(100), Period::seconds(60));
        if self.timeout < low || self.timeout > high {
            let what = format!("{} is outside {low} to {high}", self.timeout);
            faults.add("source.registry.timeout", what, format!("choose a duration from {low} to {high}"));
        }
    }
}

//! Settings of cases and of privacy: sections `[cases]` and `[privacy]` of the configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::seal::Seal;
use crate::document::secret::Secret;
use crate::document::{Faults, Period};
use crate::store::StoreConfig;

/// Smallest spool: some thousand verdicts.
const MIN_SPOOL: u64 = 1024 * 1024;

/// How verdicts become cases.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CasesConfig {
    /// Directory of the spool, in which verdicts wait for the database. Empty: beside SQLite's file.
    pub spool: PathBuf,
    /// Most bytes in the spool. What does not fit is lost for the cases, and counted.
    pub spool_bytes: u64,
    /// A new incident joins the running case of its actor if that was heard of within this time.
    pub join_within: Period,
    /// How long a dismissed pattern stays dismissed, unless the person says otherwise.
    pub dismissed_for: Period,
    /// Queries that a case keeps with their content; the later ones are kept in the verdicts alone.
    pub queries_per_case: u32,
}

/// What is kept of people, how, and for how long.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrivacyConfig {
    /// Key of the pseudonyms at rest: 32 bytes in base64, given as `${env:NAME}` or `${file:/path}`. Empty: addresses and accounts are stored
    /// as they are.
    pub key: Secret,
    /// Keys of before, which older rows were sealed with.
    pub old_keys: Vec<Secret>,
    /// What is kept of a feature's values in the queries of a case, by name.
    pub features: BTreeMap<String, Redaction>,
    /// The same for features that are not named.
    pub other_features: Redaction,
    /// How long cases that are over are kept, with all that belongs to them.
    pub keep_cases: Period,
    /// How long verdicts without a case are kept.
    pub keep_verdicts: Period,
}

/// What is kept of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redaction {
    /// The value.
    #[default]
    Keep,
    /// The bin of the reference in which it lies.
    Bucket,
    /// A hash under the key of the pseudonyms: equal values can be told to be equal.
    Hash,
    /// Nothing.
    Drop,
}

impl Default for CasesConfig {
    fn default() -> Self {
        Self {
            spool: PathBuf::new(),
            // A verdict line has two to ten kilobytes, so a hundred thousand verdicts: more than a database is away for.
            spool_bytes: 1024 * 1024 * 1024,
            join_within: Period::seconds(30 * 86_400),
            dismissed_for: Period::seconds(30 * 86_400),
            queries_per_case: 500,
        }
    }
}

impl Default for PrivacyConfig {
    fn default() -> Self {
        Self {
            key: Secret::default(),
            old_keys: Vec::new(),
            features: BTreeMap::new(),
            other_features: Redaction::Keep,
            // A year, in which an attack is reported, looked into and billed.
            keep_cases: Period::seconds(365 * 86_400),
            keep_verdicts: Period::seconds(90 * 86_400),
        }
    }
}

// === impl CasesConfig ===

impl CasesConfig {
    /// The directory of the spool.
    ///
    /// # Errors
    /// The setting, and what is wrong with it.
    pub fn spool(&self, store: &StoreConfig, directory: &Path) -> Result<PathBuf, (&'static str, String)> {
        if !self.spool.as_os_str().is_empty() {
            return Ok(directory.join(&self.spool));
        }
        match store.file(directory)? {
            Some(mut file) => {
                file.as_mut_os_string().push(".spool");
                Ok(file)
            }
            None => Err(("cases.spool", "PostgreSQL has no file beside which the spool could lie".into())),
        }
    }

    /// Adds every fault of the section; relative paths begin at `directory`.
    pub fn validate(&self, faults: &mut Faults<'_>, store: &StoreConfig, directory: &Path) {
        if !store.is_used() {
            return;
        }
        if let Err((setting, what)) = self.spool(store, directory)
            && setting == "cases.spool"
        {
            faults.add(setting, what, "write spool = \"/var/lib/tripline/spool\" below [cases]");
        }
        if self.spool_bytes < MIN_SPOOL {
            faults.add("cases.spool_bytes", format!("{} is too small", self.spool_bytes), format!("choose at least {MIN_SPOOL}"));
        }
    }
}

// === impl PrivacyConfig ===

impl PrivacyConfig {
    /// The pseudonyms.
    ///
    /// # Errors
    /// The setting, and what is wrong with it.
    pub fn seal(&self, directory: &Path) -> Result<Seal, (String, String)> {
        Seal::read(&self.key, &self.old_keys, directory)
    }

    /// What is kept of a feature.
    pub fn of_feature(&self, name: &str) -> Redaction {
        self.features.get(name).copied().unwrap_or(self.other_features)
    }

    /// Adds every fault of the section; relative paths begin at `directory`.
    pub fn validate(&self, faults: &mut Faults<'_>, directory: &Path) {
        if let Err((setting, what)) = self.seal(directory) {
            faults.add(&setting, what, "make one with: openssl rand -base64 32; keep it in the environment or a file");
        }
        let hashed = self.features.iter().find(|(_, redaction)| **redaction == Redaction::Hash).map(|(name, _)| name.as_str());
        let hashed = hashed.map(|name| format!("privacy.features.{name}"));
        let hashed = hashed.or_else(|| (self.other_features == Redaction::Hash).then(|| "privacy.other_features".to_owned()));
        if let Some(setting) = hashed.filter(|_| self.key.is_empty()) {
            faults.add(&setting, "a hash without a key can be guessed", "set privacy.key, or choose bucket or drop");
        }
        let (low, high) = (Period::seconds(3_600), Period::seconds(3_650 * 86_400));
        for (setting, period) in [("privacy.keep_cases", self.keep_cases), ("privacy.keep_verdicts", self.keep_verdicts)] {
            if period < low || period > high {
                faults.add(
                    setting,
                    format!("{period} is outside {low} to {high}"),
                    format!("choose a duration from {low} to {high}"),
                );
            }
        }
    }
}

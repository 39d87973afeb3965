//! Settings of the audit: section `[audit]` of the configuration.

use std::path::Path;

use serde::Deserialize;

use super::keys::AuditKeys;
use crate::document::Faults;
use crate::document::secret::Secret;

/// The keys of the chain.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Key of the chain: 32 bytes in base64, given as `${env:NAME}` or `${file:/path}`. Empty: a key that everybody knows.
    pub key: Secret,
    /// Keys of before, which older entries were made with.
    pub old_keys: Vec<Secret>,
}

// === impl AuditConfig ===

impl AuditConfig {
    /// The keys, from the environment or files.
    ///
    /// # Errors
    /// The setting, and what is wrong with it.
    pub fn keys(&self, directory: &Path) -> Result<AuditKeys, (String, String)> {
        AuditKeys::read(&self.key, &self.old_keys, directory)
    }

    /// Adds every fault of the section; relative paths begin at `directory`.
    pub fn validate(&self, faults: &mut Faults<'_>, directory: &Path) {
        if let Err((setting, what)) = self.keys(directory) {
            faults.add(&setting, what, "make one with: openssl rand -base64 32; keep it in the environment or a file");
        }
    }
}

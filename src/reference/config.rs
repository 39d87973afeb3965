//! What a configuration says of reference profiles: which ones are watched, and whose are trusted.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Trust;
use super::load::{self, LoadError};
use crate::document::Faults;

/// One model, as an entry of `[[models]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Its reference profile, as `tripline fit` makes it.
    pub reference: PathBuf,
}

/// Trust in reference profiles, as `[reference]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReferenceConfig {
    /// Refuse profiles that no trusted key has signed.
    pub require_signature: bool,
    /// Files with Ed25519 public keys (PEM).
    pub trusted_keys: Vec<PathBuf>,
}

// === impl ModelConfig ===

impl ModelConfig {
    /// Notes the faults of the list of models.
    pub fn validate_all(models: &[Self], faults: &mut Faults<'_>) {
        if models.is_empty() {
            faults.add("models", "no model is named, so nothing would be watched", "add [[models]] with reference = \"…\"");
        }
        for (index, model) in models.iter().enumerate() {
            if model.reference.as_os_str().is_empty() {
                let setting = format!("models.{index}.reference");
                faults.add(&setting, "no reference profile is named", "make one with 'tripline fit' and name its path");
            }
        }
    }
}

// === impl ReferenceConfig ===

impl ReferenceConfig {
    /// Notes the faults of this section.
    pub fn validate(&self, faults: &mut Faults<'_>) {
        if self.require_signature && self.trusted_keys.is_empty() {
            let remedy = "name the files of public keys in reference.trusted_keys";
            faults.add("reference.trusted_keys", "signatures are required, but no key is trusted", remedy);
        }
    }

    /// Whose profiles are believed. The key files are read even when no signature is required, so that a wrong path is found;
    /// relative paths begin at `directory`.
    ///
    /// # Errors
    /// [`LoadError`] of a key file.
    pub fn trust(&self, directory: &Path) -> Result<Trust, LoadError> {
        let paths: Vec<PathBuf> = self.trusted_keys.iter().map(|path| directory.join(path)).collect();
        let keys = load::verifying_keys(&paths)?;
        Ok(if self.require_signature { Trust::SignedBy(keys) } else { Trust::Anyone })
    }
}

//! What a command reads before it begins: its configuration and the reference profiles, with the exit code of every fault.
//!
//! [`reference::load`](crate::reference::load) reads the profiles and [`Config`] the file. A profile that is the input of a command
//! is data, so a damaged one ends with 65. A profile that the configuration names, or that stands in for it, is configuration, so a
//! damaged one ends with 64.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Config, ConfigError};
use crate::exit::{Exit, Failure};
use crate::reference::load::{self, LoadError};
use crate::reference::{Reference, Trust};

/// Reads the configuration of the service, with every fault in the message.
///
/// # Errors
/// 66 if the file is missing, 64 if it has faults, 74 if it cannot be read.
pub fn config(path: &Path) -> Result<Config, Failure> {
    Config::load(path).map_err(config_failure)
}

/// Reads a configuration for `replay` and `drill`. Settings that only the service needs may be missing; faults are still reported.
///
/// # Errors
/// As [`config`].
pub fn partial_config(path: &Path) -> Result<Config, Failure> {
    Config::load_partial(path).map_err(config_failure)
}

/// Reads a configuration that serves the service, or `replay` and `drill` alone if it names no source.
///
/// # Errors
/// As [`config`].
pub fn any_config(path: &Path) -> Result<Config, Failure> {
    Config::load_any(path).map_err(config_failure)
}

/// Reads a profile that is the input of a command. Signatures are not asked for.
///
/// # Errors
/// 66 if there is no such file, 65 if the profile is damaged or of another version, 74 if it cannot be read.
pub fn profile(path: &Path) -> Result<Reference, Failure> {
    load::profile(path, &Trust::Anyone).map_err(|error| failure(error, Exit::Data))
}

/// Reads the profiles of a configuration and checks their signatures if it says so.
///
/// # Errors
/// 66 for a missing file, 64 for a profile that is damaged, of another version or not signed by a trusted key, 74 if one cannot be
/// read.
pub fn references(config: &Config) -> Result<Vec<Arc<Reference>>, Failure> {
    named_references(&[], config)
}

/// Reads the named profiles, or else those of the configuration, and checks their signatures if the configuration says so.
///
/// # Errors
/// As [`references`], and 64 if no profile is named.
pub fn named_references(named: &[PathBuf], config: &Config) -> Result<Vec<Arc<Reference>>, Failure> {
    let configuration = |error| failure(error, Exit::Usage);
    let trust = config.reference.trust(&config.directory).map_err(configuration)?;
    let configured = || config.models.iter().map(|model| config.path(&model.reference)).collect();
    let paths: Vec<PathBuf> = if named.is_empty() { configured() } else { named.to_vec() };
    if paths.is_empty() {
        let message = "no reference profile is named; give one with --reference FILE (`tripline fit` makes it)";
        return Err(Failure::new(Exit::Usage, message));
    }
    load::profiles(&paths, &trust).map_err(configuration)
}

/// A fault of the loader with its exit code; `damaged` is the code for a file of the right kind with wrong content.
pub(super) fn failure(error: LoadError, damaged: Exit) -> Failure {
    let exit = match &error {
        LoadError::Missing { .. } => Exit::NoInput,
        LoadError::Read { .. } => Exit::Io,
        LoadError::Key { .. } => Exit::Usage,
        LoadError::TooLarge { .. } | LoadError::Profile { .. } => damaged,
    };
    Failure::new(exit, error.to_string())
}

fn config_failure(error: ConfigError) -> Failure {
    let (exit, hint) = match &error {
        ConfigError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            (Exit::NoInput, " (`tripline check --example` prints one to begin with)")
        }
        ConfigError::Read { .. } => (Exit::Io, ""),
        ConfigError::NotUtf8 { .. } | ConfigError::Faults { .. } => (Exit::Usage, ""),
    };
    Failure::new(exit, format!("{error}{hint}"))
}

//! What a command reads before it begins: its configuration, and the reference profiles that are named there or beside it.
//!
//! The service wants a whole configuration, and says where a path is to be corrected; `replay` and `drill` take a part of one,
//! and profiles from the command line. What both ask of a profile is the same: it can be read, and a trusted key has signed it
//! if that is required.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Config, ConfigError, document};
use crate::exit::{Exit, Failure};
use crate::reference::{Reference, sign};

/// Reads the configuration of the service, with every fault in the message.
///
/// # Errors
/// 66 if the file is missing, 64 if it has faults, 74 if it cannot be read.
pub fn config(path: &Path) -> Result<Config, Failure> {
    Config::load(path).map_err(|error| {
        let exit = match &error {
            ConfigError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::NoInput,
            ConfigError::Read { .. } => Exit::Io,
            ConfigError::Faults { .. } => Exit::Usage,
        };
        let hint = if exit == Exit::NoInput { "; copy tripline.example.toml to begin with" } else { "" };
        Failure::new(exit, format!("{error}{hint}"))
    })
}

/// Loads the reference profiles of a configuration and checks their signatures if that is required.
///
/// # Errors
/// A missing file (66); a profile that is damaged, of another version, or not signed by a trusted key (64).
pub fn references(config: &Config) -> Result<Vec<Arc<Reference>>, Failure> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| {
            let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NoInput } else { Exit::Io };
            Failure::new(exit, format!("cannot read {}: {error}; correct its path in the configuration", path.display()))
        })
    };
    let mut keys = Vec::new();
    for path in &config.reference.trusted_keys {
        let path = config.path(path);
        let found = sign::verifying_keys(&String::from_utf8_lossy(&read(&path)?));
        keys.extend(found.map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", path.display())))?);
    }
    let mut references = Vec::new();
    for model in &config.models {
        let path = config.path(&model.reference);
        let usage = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, format!("{}: {error}", path.display()));
        let reference = Reference::from_json(&read(&path)?).map_err(|error| usage(&error))?;
        if config.reference.require_signature {
            sign::require_signature(&reference, &keys).map_err(|error| usage(&error))?;
        }
        references.push(Arc::new(reference));
    }
    Ok(references)
}

/// Reads a configuration for `replay` and `drill`; what only the service needs may be missing, but a slip in it is still said.
///
/// # Errors
/// 66 if the file is missing, 64 if it has faults, 74 if it cannot be read.
pub fn partial_config(path: &Path) -> Result<Config, Failure> {
    let usage = |what: &dyn std::fmt::Display| Failure::new(Exit::Usage, format!("{}: {what}", path.display()));
    let text = String::from_utf8(read(path)?).map_err(|_| usage(&"not UTF-8"))?;
    let (config, faults) = document::read::<Config>(&text);
    let faults = faults.into_sorted();
    match config {
        Some(mut config) if faults.is_empty() => {
            config.directory = path.parent().unwrap_or(Path::new("")).to_path_buf();
            Ok(config)
        }
        _ => Err(usage(&faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))),
    }
}

/// Loads the named profiles, or else those of the configuration, and checks their signatures if it says so.
///
/// # Errors
/// 66 for a missing file, 64 for a profile that cannot be used or if none is named, 74 if one cannot be read.
pub fn named_references(named: &[PathBuf], config: &Config) -> Result<Vec<Arc<Reference>>, Failure> {
    let usage = |path: &Path, error: &dyn std::fmt::Display| Failure::new(Exit::Usage, format!("{}: {error}", path.display()));
    let mut keys = Vec::new();
    for path in config.reference.trusted_keys.iter().map(|path| config.path(path)) {
        let found = sign::verifying_keys(&String::from_utf8_lossy(&read(&path)?));
        keys.extend(found.map_err(|error| usage(&path, &error))?);
    }
    let configured = || config.models.iter().map(|model| config.path(&model.reference)).collect();
    let paths: Vec<PathBuf> = if named.is_empty() { configured() } else { named.to_vec() };
    if paths.is_empty() {
        let message = "no reference profile is named; give one with --reference FILE (`tripline fit` makes it)";
        return Err(Failure::new(Exit::Usage, message));
    }
    let load = |path: PathBuf| {
        let reference = Reference::from_json(&read(&path)?).map_err(|error| usage(&path, &error))?;
        if config.reference.require_signature {
            sign::require_signature(&reference, &keys).map_err(|error| usage(&path, &error))?;
        }
        Ok(Arc::new(reference))
    };
    paths.into_iter().map(load).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::new(Exit::NoInput, format!("{}: there is no such file", path.display())),
        _ => Failure::new(Exit::Io, format!("{}: {error}", path.display())),
    })
}

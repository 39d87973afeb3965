//! Private keys from files and from the environment. No message ever holds a part of a key.

use std::path::Path;

use crate::exit::{Exit, Failure};
use crate::reference::sign::{self, KeyError, SigningKey};

/// Environment variable that may hold the private key itself (PEM), for build machines that keep secrets there.
pub const SIGNING_KEY_VARIABLE: &str = "TRIPLINE_SIGNING_KEY";
/// Largest key file in bytes. A PEM key has about 120; a larger file is a wrong path.
const MAX_KEY_FILE: u64 = 1 << 20;

/// Reads a private key from a PEM file.
///
/// # Errors
/// 66 if there is no such file, 74 if it cannot be read, 64 if it is not an Ed25519 private key.
pub fn signing_key(path: &Path) -> Result<SigningKey, Failure> {
    let key = sign::signing_key(&read(path)?).map_err(|e| wrong(&path.display().to_string(), e))?;
    warn_if_readable_by_others(path);
    Ok(key)
}

/// Reads the private key from [`SIGNING_KEY_VARIABLE`]; `None` if that is not set.
///
/// # Errors
/// 64 if it is set to something else than an Ed25519 private key.
pub fn signing_key_from_environment() -> Result<Option<SigningKey>, Failure> {
    match std::env::var(SIGNING_KEY_VARIABLE) {
        Ok(pem) => sign::signing_key(&pem).map(Some).map_err(|e| wrong(SIGNING_KEY_VARIABLE, e)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(wrong(SIGNING_KEY_VARIABLE, KeyError::NotPem)),
    }
}

fn wrong(place: &str, error: KeyError) -> Failure {
    Failure::new(Exit::Usage, format!("{place}: {error}"))
}

fn read(path: &Path) -> Result<String, Failure> {
    let bytes = super::output::read_file(path, MAX_KEY_FILE)?;
    String::from_utf8(bytes).map_err(|_| wrong(&path.display().to_string(), KeyError::NotPem))
}

#[cfg(unix)]
fn warn_if_readable_by_others(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    if std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o077 != 0) {
        super::output::say(&format!("tripline: warning: the private key {} is readable by others; chmod 600 it", path.display()));
    }
}

#[cfg(not(unix))]
fn warn_if_readable_by_others(_path: &Path) {}
